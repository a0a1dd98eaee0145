"""Remote tracebacks as if the cell had run here: the user's frames, their own lines and numbers, nothing of ours.

IPython lets an exception render itself (`_render_traceback_`); so the exception keeps its type and what
`sys.last_value` holds is the exception, while what is shown are the frames of the other side.
"""

from __future__ import annotations

import linecache
import re
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jupyter_fx.errors import InfrastructureError
from jupyter_fx_kernel.details import details_of

__all__ = [
    "CellSyntaxError",
    "Drawn",
    "Shown",
    "draw",
    "plain",
    "printable",
    "render",
    "show_as",
    "show_custom",
    "show_group",
    "syntax_error",
]

_RED, _GREEN, _CYAN, _BOLD, _END = "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[1m", "\x1b[0m"
_CONTEXT = 2
"""Lines shown above and below the line of a frame."""
_CONTROL = {code: f"\\x{code:02x}" for code in [*range(9), *range(11, 27), *range(28, 32), 127]}

_STANDIN = re.compile(r'File "<remote <fx-cell:[0-9a-f]+-(\d+)> on ([^>]*)>"')
_CARETS = re.compile(r"^[ |]*[\^~]+\n", re.MULTILINE)
_STANDIN_FILE = re.compile(r'File "<remote ([^<>]*) on ([^ >]*)>"')

Source = Callable[[str], Sequence[str] | None]
Place = Callable[[str], str | None]


class CellSyntaxError(SyntaxError):
    """A syntax error in a remote cell, found here before anything travelled."""


class Shown:
    """Renders an exception as these lines. A class and not a closure, so that the exception can still be pickled."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = list(lines)

    def __call__(self) -> list[str]:
        """The lines that IPython shows."""
        return self._lines


class Drawn:
    """Renders an exception as IPython would if it had been raised here, in the `%xmode` and the colours of now."""

    def __init__(
        self, shell: Any, error: BaseException, tb: types.TracebackType, plain: Sequence[str], tail: Sequence[str]
    ) -> None:
        self._shell, self._error, self._tb = shell, error, tb
        self._plain, self._tail = list(plain), list(tail)

    def __call__(self) -> list[str]:
        """The lines that IPython shows. What `%debug` and `%tb` look at is these frames from now on."""
        lines = self.lines()
        self._error.__traceback__ = sys.last_traceback = self._shell.InteractiveTB.tb = self._tb
        return lines

    def lines(self) -> list[str]:
        """The same, and nothing is remembered: for an error that is shown in passing."""
        drawer, error = self._shell.InteractiveTB, self._error
        before, error.__traceback__ = getattr(drawer, "tb", None), self._tb
        try:
            lines = list(drawer.structured_traceback(type(error), error, self._tb, tb_offset=0))
        except Exception:  # noqa: BLE001 - a drawer that fails must not hide what is to be drawn
            return self._plain
        finally:
            drawer.tb = before
        return lines if drawer.mode == "Minimal" else [*lines, *self._tail]

    def group(self) -> str:
        """An exception group as Python draws it, for IPython does not."""
        told = "".join(traceback.format_exception(type(self._error), self._error, self._tb))
        told = _CARETS.sub("", told)  # where the stand-in's code stands says nothing
        told = _STANDIN_FILE.sub(r'File "\2:\1"', _STANDIN.sub(r"Cell In[\1] on \2", told))
        return told + "\n".join(self._tail)

    def __reduce__(self) -> tuple[Any, ...]:
        return Shown, (self._plain,)


def draw(
    shell: Any, error: BaseException, tb: types.TracebackType | None, plain: Sequence[str], tail: Sequence[str]
) -> BaseException:
    """Return `error`, to be drawn by IPython with these frames, and as `plain` where it cannot."""
    if tb is None:
        return show_as(error, plain)
    try:
        error._render_traceback_ = Drawn(shell, error, tb, plain, tail)  # type: ignore[attr-defined]
    except AttributeError:  # a class with __slots__ keeps the traceback that Python gives it
        error.__traceback__ = tb
    return error


def show_group(shell: Any, etype: type, value: BaseException, tb: Any, tb_offset: int | None = None) -> list[str]:
    """IPython's handler for exception groups: ours with the frames of the other side, others as IPython does it."""
    drawn = getattr(value, "_render_traceback_", None)
    if not isinstance(drawn, Drawn):
        # What IPython itself does with groups.
        traceback.print_exception(etype, value, tb)
        return []
    del tb_offset
    drawn()
    lines = drawn.group().splitlines()
    shell._showtraceback(etype, value, lines)  # noqa: SLF001 - what IPython's own showtraceback calls
    return lines


def show_as(error: BaseException, lines: Sequence[str]) -> BaseException:
    """Return `error`, to be shown as `lines` by IPython."""
    try:
        error._render_traceback_ = Shown(lines)  # type: ignore[attr-defined]
    except AttributeError:  # a class with __slots__ keeps the traceback that Python gives it
        pass
    return error


def as_exit(shell: Any, message: str) -> SystemExit:
    """A remote `sys.exit`, told as what it ended and what it did not; IPython's hint how to leave IPython is kept back.

    `message` is the text of the SystemExit there: its code.
    """
    import warnings

    code = int(message) if message.lstrip("-").isdigit() else None if message in {"", "None"} else message
    called = "sys.exit()" if code is None else f"sys.exit({code!r})"
    error = SystemExit(f"the remote cell called {called}, which ended the cell; its session goes on with its variables")
    error.code = code
    warnings.filterwarnings("ignore", message="To exit: use", category=UserWarning)
    ours = warnings.filters[0]

    def after(*_told: Any) -> None:
        shell.events.unregister("post_run_cell", after)
        if ours in warnings.filters:
            warnings.filters.remove(ours)  # type: ignore[attr-defined]

    shell.events.register("post_run_cell", after)
    return error


def render(record: Mapping[str, Any], source: Source, place: Place) -> list[str]:
    """Lines for an error record (docs/worker-protocol.md): its frames with their context, causes first.

    `source(file)` gives the lines of a file that this side knows (cells), `place(file)` what to call it.
    """
    lines: list[str] = []
    cause = record.get("cause")
    if isinstance(cause, Mapping):
        explicit = any("direct cause" in line for line in record.get("traceback") or ())
        lines += render(cause, source, place)
        between = (
            "The above exception was the direct cause of the following exception:"
            if explicit
            else "During handling of the above exception, another exception occurred:"
        )
        lines += ["", between, ""]
    etype, message = printable(record.get("etype", "Exception")), printable(record.get("message", ""))
    frames = record.get("frames") or ()
    lines.append(f"{_RED}{'-' * 75}{_END}")
    if frames:
        gap = " " * max(1, 75 - len(etype) - len("Traceback (most recent call last)"))
        lines.append(f"{_RED}{etype}{_END}{gap}Traceback (most recent call last)")
        for times, frame in _runs(frames):
            lines += [*_frame(frame, source, place), ""]
            if times > 1:
                lines += [f"    [this frame is repeated {times - 1} more times]", ""]
    if etype in {"SyntaxError", "IndentationError", "TabError"} and not frames:
        return [*lines, *map(printable, record.get("traceback") or ())]
    notes = [printable(note) for note in record.get("notes") or ()]
    return [*lines, f"{_RED}{etype}{_END}: {message}" if message else f"{_RED}{etype}{_END}", *notes]


def _runs(frames: Sequence[Any]) -> list[tuple[int, Any]]:
    """Frames that follow one another and are the same, once each, with how often."""
    found: list[tuple[int, Any]] = []
    for frame in frames:
        if found and list(found[-1][1]) == list(frame):
            found[-1] = (found[-1][0] + 1, frame)
        else:
            found.append((1, frame))
    return found


def _frame(frame: Sequence[Any], source: Source, place: Place) -> list[str]:
    file, number, function, line = str(frame[0]), int(frame[1] or 0), printable(frame[2]), printable(frame[3])
    called = place(file)
    where = f"{_CYAN}{printable(called or file)}{_END}, line {_GREEN}{number}{_END}"
    if called is None:
        where = f"File {where}"
    inside = "" if function in {"<module>", "<cell line>"} else f", in {_CYAN}{function}{_END}"
    lines = [where + inside]
    known = source(file)
    if known is None:
        return [*lines, f"----> {number} {line}"] if line else lines
    first, last = max(1, number - _CONTEXT), min(len(known), number + _CONTEXT)
    for at in range(first, last + 1):
        text = printable(known[at - 1].rstrip("\n"))
        arrow = f"{_BOLD}{'-' * max(1, 5 - len(str(at)))}> {at}{_END}" if at == number else f"{at:>7}"
        lines.append(f"{arrow} {text}")
    return lines


def plain(error: BaseException, *, folded: bool = False) -> list[str]:
    """Lines for an error that is not the cell's: what it is and what it says, without the frames that found it out.

    `folded`: its details are shown elsewhere.
    """
    lines = [f"{_RED}{type(error).__name__}{_END}: {printable(error)}"]
    if not folded and isinstance(error, InfrastructureError):
        lines += [printable(line) for line in details_of(error).splitlines()]
    traceback = getattr(error, "remote_traceback", "")
    return [*lines, *(printable(line) for line in traceback.splitlines())] if isinstance(traceback, str) else lines


def local_lines(file: str) -> list[str] | None:
    """The lines of a cell that ran in this kernel, for functions that were defined here and ran there."""
    found = linecache.getlines(file) if "ipykernel_" in file or file.startswith("<ipython-input") else []
    return found or None


def printable(text: object) -> str:
    """Text from elsewhere without control characters, colours excepted."""
    return str(text).translate(_CONTROL)


def syntax_error(error: SyntaxError, lines_before: int, filename: str, cell: str) -> CellSyntaxError:
    """The error with the line numbers of the whole cell, the magic's own line included."""
    number = (error.lineno or 1) + lines_before
    lines = cell.split("\n")
    text = error.text if error.text is not None else lines[min(number, len(lines)) - 1]
    end = None if error.end_lineno is None else error.end_lineno + lines_before
    details = (filename, number, error.offset, text, end, error.end_offset)
    return CellSyntaxError(error.msg, details)


def show_custom(shell: Any, etype: type, value: Any, tb: Any, tb_offset: int | None = None) -> list[str]:
    """IPython's handler for what it would not draw as it should."""
    show = show_syntax_error if isinstance(value, CellSyntaxError) else show_group
    return show(shell, etype, value, tb, tb_offset)


def show_syntax_error(
    shell: Any, _etype: type, value: CellSyntaxError, _tb: Any, tb_offset: int | None = None
) -> list[str]:
    """IPython's handler for CellSyntaxError: the line and the caret, as for a syntax error in a local cell."""
    del tb_offset
    shown = SyntaxError(*value.args)
    lines: list[str] = shell.SyntaxTB.structured_traceback(SyntaxError, shown, [])
    shell._showtraceback(SyntaxError, shown, lines)  # noqa: SLF001 - what IPython's own showsyntaxerror calls
    return lines
