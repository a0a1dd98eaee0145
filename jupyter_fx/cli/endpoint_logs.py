"""Shows several growing files on a terminal, as `tail` does, each under the name of what writes it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from jupyter_fx.endpoint.logfiles import LogFile

__all__ = ["show"]

POLL: Final = 0.3
LOOK_EVERY: Final = 2.0
"""Seconds between two looks for files that are new."""
_TAIL_BYTES: Final = 4 << 20
_CONTROL: Final = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show(files: Callable[[], Sequence[LogFile]], lines: int, *, follow: bool) -> None:
    """The last `lines` of each of them; with `follow` what comes, and what is new, until somebody interrupts."""
    places: dict[str, int] = {}
    shown = ""
    there = list(files())
    if not there and not follow:
        print("There is no log yet.")
    looked = time.monotonic()
    first = True
    try:
        while True:
            for file in there:
                shown = _more(file, places, lines if first or str(file.path) not in places else -1, shown)
            first = False
            if not follow:
                return
            time.sleep(POLL)
            if time.monotonic() - looked > LOOK_EVERY:
                there, looked = list(files()), time.monotonic()
    except KeyboardInterrupt:
        return


def _more(file: LogFile, places: dict[str, int], lines: int, shown: str) -> str:
    """Print what is new in a file (`lines` >= 0: the last so many), under its name; whose name was printed last."""
    key = str(file.path)
    try:
        with file.path.open("rb") as opened:
            size = opened.seek(0, 2)
            begin = places.get(key, max(0, size - _TAIL_BYTES))
            opened.seek(begin if begin <= size else 0)
            data = opened.read()
    except OSError:
        return shown
    # A line that is not whole yet is shown when it is, unless nobody waits for it.
    end = data.rfind(b"\n") + 1 if lines < 0 else len(data)
    places[key] = _began(begin, size) + end
    found = data[:end].decode(errors="replace").splitlines()
    if file.words:
        found = [line for line in found if any(word in line for word in file.words)]
    found = found[len(found) - lines :] if 0 <= lines < len(found) else found
    if not found:
        return shown
    if shown != file.source:
        print(f"{'' if not shown else chr(10)}==> {file.source}: {file.path} <==")
    for line in found:
        print(_plain(line), flush=True)
    return file.source


def _began(begin: int, size: int) -> int:
    """Where reading began: at 0 again when the file is shorter than it was."""
    return begin if begin <= size else 0


def _plain(line: str) -> str:
    """Colours stay; nothing else that a terminal obeys does."""
    return _CONTROL.sub(lambda found: found[0] if found[0].startswith("\x1b[") else repr(found[0])[1:-1], line)
