"""Whether notebooks give under `%%remote` what they give locally, cell by cell.

    python tests/acceptance/fidelity.py FOLDER_OR_NOTEBOOK… [--mode every|second] [--json FILE]

Each notebook runs in real kernels, each time in a fresh copy of its folder: twice locally, and once with `%%remote`
above every cell, or above every second one. Cells whose two local runs differ (clocks, unseeded random numbers) say
nothing about remote ones: they are counted apart. Compared are standard output and the result's text (addresses,
times and paths made alike), the type of the error, and the kinds of displays.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager

__all__ = ["MODES", "Comparison", "Shown", "compare", "notebooks_in", "private_hub", "report"]

CELL_LIMIT = 60.0
"""Seconds that a cell may take before it is interrupted."""
NOTEBOOK_LIMIT = 600.0
"""Seconds for one run of a notebook; the cells after that are not run."""
HERE = ("JUPYTER_FX_RUNTIME_DIR", "JUPYTER_FX_STATE_DIR", "JUPYTER_FX_CONFIG_DIR")
MODES: dict[str, Callable[[int], bool]] = {"every": lambda _number: True, "second": lambda number: number % 2 == 1}
"""Which cells are remote, by their number from 0."""

_TIME = r"\d+(?:[.,]\d+)?(?:e[+-]?\d+)? ?(?:ns|[µμu]s|ms|s|min|h)\b"
_ALIKE = [
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"0x[0-9a-fA-F]{6,}"), "0x…"),
    # `%timeit` adds this line when the machine was busy.
    (re.compile(r"^.*\b(?:slowest run|intermediate result).*\n", re.MULTILINE), ""),
    (re.compile(r"^.*\b(?:per loop|CPU times|Wall time).*$", re.MULTILINE), "<timing>"),
    (re.compile(_TIME), "<time>"),
    # A command locally writes to a pseudo terminal.
    (re.compile(r"\r\n"), "\n"),
    (re.compile(r"<(?:fx-cell|ipython-input)[^>]*>|\S*/ipykernel_\d+/\d+\.py"), "<cell>"),
]


@dataclass
class Shown:
    """What one cell showed. `displays` holds the MIME types of each display, of the result too."""

    stdout: str = ""
    result: str = ""
    error: str = ""
    displays: list[list[str]] = field(default_factory=list)
    said: str = ""
    """The error's message, and what a card said: to understand a difference, not compared."""

    def differs(self, other: Shown) -> list[str]:
        """The names of what is not the same."""
        return [
            part for part in ("stdout", "result", "error", "displays") if getattr(self, part) != getattr(other, part)
        ]


@dataclass
class Comparison:
    """One notebook in one mode, cell by cell."""

    name: str
    mode: str
    sources: list[str]
    local: list[Shown]
    again: list[Shown]
    remote: list[Shown]

    @property
    def repeatable(self) -> list[int]:
        """The cells that show the same in two local runs."""
        runs = zip(self.local, self.again, self.remote, strict=False)
        return [number for number, (one, two, _) in enumerate(runs) if not one.differs(two)]

    @property
    def different(self) -> list[int]:
        """The repeatable cells that show something else remotely."""
        return [number for number in self.repeatable if self.local[number].differs(self.remote[number])]


def code_cells(path: Path) -> list[str]:
    """The sources of a notebook's code cells, empty ones left out."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def alike(text: str, folder: Path) -> str:
    """`text` without what differs from run to run."""
    text = text.replace(str(folder.resolve()), "<folder>").replace(str(folder), "<folder>")
    for pattern, instead in _ALIKE:
        text = pattern.sub(instead, text)
    return text


class Run:
    """A kernel in a copy of the notebook's folder."""

    def __init__(self, path: Path, extension: bool) -> None:
        self._top = Path(tempfile.mkdtemp(prefix="fxf"))
        self.folder = self._top / "nb"
        shutil.copytree(path.parent, self.folder, ignore=shutil.ignore_patterns(".git", ".ipynb_checkpoints"))
        self._manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(self._top / "k"))
        self._manager.start_kernel(cwd=str(self.folder), env=dict(os.environ))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=CELL_LIMIT)
        if extension:
            self.cell("%load_ext jupyter_fx")

    def cell(self, code: str) -> Shown:
        """Run a cell; after `CELL_LIMIT` it is interrupted."""
        shown, began, interrupted = Shown(), time.monotonic(), False
        asked = self._client.execute(code, allow_stdin=False)
        while True:
            late = time.monotonic() - began - CELL_LIMIT
            if late > CELL_LIMIT:
                raise TimeoutError(f"this cell did not stop when it was interrupted: {code!r}")
            if late > 0 and not interrupted:
                interrupted = True
                self._manager.interrupt_kernel()
            with contextlib.suppress(queue.Empty):
                message = self._client.get_iopub_msg(timeout=0.5)
                kind, content = message["msg_type"], message["content"]
                if message["parent_header"].get("msg_id") != asked:
                    continue
                if kind == "status" and content["execution_state"] == "idle":
                    break
                self._note(shown, kind, content)
        shown.stdout, shown.result = alike(shown.stdout, self.folder), alike(shown.result, self.folder)
        return shown

    def _note(self, shown: Shown, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream" and content["name"] == "stdout":
            shown.stdout += content["text"]
        elif kind == "error":
            shown.error = content["ename"]
            shown.said += content["evalue"][:1000]
        elif kind in {"display_data", "update_display_data"}:
            if str(content.get("transient", {}).get("display_id", "")).startswith("fx-"):
                shown.said += content["data"].get("text/plain", "")[:1000]
            else:
                shown.displays.append(sorted(content["data"]))
        elif kind == "execute_result":
            shown.result = content["data"].get("text/plain", "")
            shown.displays.append(sorted(content["data"]))

    def close(self) -> None:
        """End the kernel, and with it its session; nothing stays."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=False)
        self._manager.cleanup_resources()
        shutil.rmtree(self._top, ignore_errors=True)


def run(path: Path, sources: Sequence[str], remote: Callable[[int], bool] | None = None) -> list[Shown]:
    """What each cell shows, locally or with `%%remote` above those whose number `remote` picks."""
    kernel = Run(path, extension=remote is not None)
    shown: list[Shown] = []
    began = time.monotonic()
    try:
        for number, source in enumerate(sources):
            if time.monotonic() - began > NOTEBOOK_LIMIT:
                break
            there = remote is not None and remote(number)
            shown.append(kernel.cell(f"%%remote\n{source}" if there else source))
    finally:
        kernel.close()
    return shown


def compare(path: Path, modes: Sequence[str]) -> list[Comparison]:
    """Run a notebook locally, again, and in each mode. A hub has to be there: see `private_hub`."""
    sources = code_cells(path)
    local, again = run(path, sources), run(path, sources)
    return [Comparison(path.stem, mode, sources, local, again, run(path, sources, MODES[mode])) for mode in modes]


def notebooks_in(places: Sequence[Path]) -> list[Path]:
    """The notebooks in these folders, and those named themselves."""
    return [found for place in places for found in (sorted(place.rglob("*.ipynb")) if place.is_dir() else [place])]


@contextlib.contextmanager
def private_hub() -> Iterator[None]:
    """A hub and its endpoint that only this process and its kernels find."""
    from jupyter_fx import embedded

    top = Path(tempfile.mkdtemp(prefix="fxh"))
    before = {name: os.environ.get(name) for name in (*HERE, "JUPYTER_FX_HUB", "PYTHONHASHSEED", "IPYTHONDIR")}
    for number, name in enumerate(HERE):
        (top / str(number)).mkdir(mode=0o700)
        os.environ[name] = str(top / str(number))
    os.environ.pop("JUPYTER_FX_HUB", None)
    # Sets of strings in the same order in every process; nobody's own IPython settings.
    os.environ.update(PYTHONHASHSEED="0", IPYTHONDIR=str(top / "ipython"))
    try:
        embedded.find_hub()
        yield
    finally:
        embedded.stop_endpoint()
        embedded.stop_hub()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(top, ignore_errors=True)


def report(found: Sequence[Comparison]) -> str:
    """The differing cells with both outputs, then the share that is the same."""
    lines: list[str] = []
    for one in found:
        for number in one.different:
            here, there = one.local[number], one.remote[number]
            parts = here.differs(there)
            lines += [f"--- {one.name} cell {number}, {one.mode}: {', '.join(parts)}", one.sources[number][:400]]
            for part in parts:
                lines += [
                    f"  {part} here:  {getattr(here, part)!r:.600}",
                    f"  {part} there: {getattr(there, part)!r:.600}",
                ]
            if here.said or there.said:
                lines += [f"  said here:  {here.said[:400]}", f"  said there: {there.said[:400]}"]
    for one in found:
        lines.append(f"{one.name} {one.mode}: {_share([one])}")
    for mode in dict.fromkeys(one.mode for one in found):
        lines.append(f"all, {mode}: {_share([one for one in found if one.mode == mode])}")
    return "\n".join(lines)


def share(found: Sequence[Comparison]) -> float:
    """The share of repeatable cells that show the same, from 0 to 1."""
    cells = sum(len(one.repeatable) for one in found)
    return 1 - sum(len(one.different) for one in found) / cells if cells else 0.0


def _share(found: Sequence[Comparison]) -> str:
    cells = sum(len(one.repeatable) for one in found)
    alone = sum(len(one.remote) for one in found) - cells
    same = cells - sum(len(one.different) for one in found)
    missing = sum(len(one.sources) - len(one.remote) for one in found)
    return f"{same} of {cells} the same ({share(found):.1%}); {alone} differ between local runs, {missing} not run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and report; 0 whatever the share is."""
    parser = argparse.ArgumentParser(description="Compare notebooks under %%remote with local runs.")
    parser.add_argument("places", nargs="+", type=Path, metavar="FOLDER_OR_NOTEBOOK")
    parser.add_argument("--mode", choices=sorted(MODES), action="append")
    parser.add_argument("--json", type=Path, help="write everything that was shown there")
    asked = parser.parse_args(arguments)
    found: list[Comparison] = []
    with private_hub():
        for path in notebooks_in(asked.places):
            found += compare(path, asked.mode or list(MODES))
            print(f"{path.stem}: " + "; ".join(f"{one.mode} {_share([one])}" for one in found if one.name == path.stem))
            sys.stdout.flush()
            if asked.json:
                asked.json.write_text(json.dumps([asdict(one) for one in found], indent=1))
    print(report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
