"""A person at IPython's terminal and at `jupyter console`: live lines, the card as text, an interrupt."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed: pip install pexpect")
LIVE = """%%remote
import pathlib, time
for n in range(4):
    print("li" + f"ne {{n}}", flush=True)
    time.sleep(0.3)  # a cell that is over at once has no card
    while not pathlib.Path({folder!r}, f"seen{{n}}").exists():
        time.sleep(0.05)
n * 1414"""
ENDLESS = """%%remote
import itertools, time
for n in itertools.count():
    print("li" + f"ne {n}", flush=True)
    time.sleep(0.1)"""


class Terminal:
    """A program in a terminal of its own, and who types there."""

    def __init__(self, module: str, folder: Path) -> None:
        environ = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.child: Any = pexpect.spawn(
            sys.executable, ["-m", module],
            cwd=str(folder), env=environ, encoding="utf-8", timeout=40, dimensions=(40, 160),
        )  # fmt: skip
        self._marks = 0
        self.child.expect(r"In ")

    def paste(self, cell: str) -> None:
        """A cell from the clipboard, and Return on the empty line below it."""
        self.child.send(f"\x1b[200~{cell}\n\x1b[201~\r\r")

    def said(self, until: str = "") -> str:
        """What was written before this; before the next prompt took a line."""
        if not until:
            # A prompt is drawn again with every key: what an own line prints is not.
            self._marks += 1
            self.child.send(f"print('mark' + '{self._marks}')\r")
            until = f"mark{self._marks}\r\n"
        self.child.expect(until)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", str(self.child.before))

    def run(self, cell: str) -> str:
        self.paste(cell)
        return self.said()

    def close(self) -> None:
        self.child.send("exit\r")
        with contextlib.suppress(pexpect.TIMEOUT):
            self.child.expect(pexpect.EOF, timeout=20)
        self.child.close(force=True)


@pytest.mark.parametrize("module", ["IPython", "jupyter_console"])
def test_a_cell_in_a_terminal(module: str, stack: Path, tmp_path: Path) -> None:
    pytest.importorskip(module, reason=f"{module} is not installed")
    with started(module, tmp_path) as terminal:
        terminal.run("%load_ext jupyter_fx")
        terminal.paste(LIVE.format(folder=str(tmp_path)))
        for line in range(4):
            # Each as it comes: the cell goes on when it was seen.
            terminal.said(f"line {line}\r\n")
            (tmp_path / f"seen{line}").touch()
        ended = terminal.said()
        assert "4242" in ended.split("Out", 1)[1]
        assert re.search(r"✓ local · \d\.\d s", ended)
        # Another process, whose variables came home.
        terminal.run("import os\nhere = os.getpid()")
        assert "another: True" in terminal.run("%%remote\nimport os\nprint('another:', os.getpid() != here)")
        assert "came home: 3" in terminal.run("print('came home:', n)")

        terminal.paste(ENDLESS)
        terminal.said("line 2\r\n")
        terminal.child.sendintr()
        # The card's last state comes before or after the error.
        stopped = terminal.said(r"\(remote: local, task") + terminal.said()
        assert re.search(r"local · cancelled · .* · interrupted after \d+\.\d s", stopped)
        assert re.search(r"for n in itertools\.count\(\)", stopped) and "KeyboardInterrupt" in stopped
        # An interrupt costs nothing: the session has its variables.
        assert "True" in terminal.run("%remote n > 1").split("Out", 1)[1]

        failed = terminal.run("%%remote\n1 / 0")
        assert "ZeroDivisionError: division by zero" in failed and "(remote: local, task" in failed

        if module == "IPython":  # the console has a kernel, and folds it as a notebook does
            terminal.run("import jupyter_fx as fx")
            lost = terminal.run("fx.remote(os._exit).remote(3)")
            assert re.search(r"WorkerLost.*it exited with code 3", lost)
            assert "exit code: 3" in lost


@contextlib.contextmanager
def started(module: str, folder: Path) -> Iterator[Terminal]:
    terminal = Terminal(module, folder)
    try:
        yield terminal
    finally:
        terminal.close()
