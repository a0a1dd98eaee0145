"""Frames of the other side as frames of this one, so that IPython draws and debugs them as it does its own.

A stand-in frame has the file name, the line and the function of the frame there; its code does nothing, and its locals
are the reprs that came along, if the notebook asked for them. With these every `%xmode`, the colours, `%tb` and
`%debug` work on a remote error. What they cannot do is evaluate anything there, and `%debug` says so.
"""

from __future__ import annotations

import builtins
import linecache
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["RemoteText", "below", "chained", "install", "is_standin", "traceback_of"]

_FRAMES = 200
_MARK = "__remote_frame__"
_NO_VALUES = "values were not sent: `%fx debug on` has the next remote cells send the reprs of theirs when they fail"

Lines = Callable[[str], Sequence[str] | None]
Place = Callable[[str], str | None]

_labels: dict[str, tuple[str, str]] = {}
"""What IPython calls the code of a file: `Cell`, `In[3] on polaris`."""


class RemoteText:
    """Stands for a value of the other side: all that is known of it is its repr."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def install(shell: Any) -> None:
    """Teach the shell's compiler what stand-in code is called, and its debugger what it is about to show."""
    compiler = shell.compile
    known = compiler.format_code_name
    if getattr(known, "_fx_standins", False):
        return

    def format_code_name(name: str) -> Any:
        return _labels[name] if name in _labels else known(name)

    format_code_name._fx_standins = True  # type: ignore[attr-defined]  # noqa: SLF001 - a mark of ours
    compiler.format_code_name = format_code_name
    drawer = shell.InteractiveTB
    debug = drawer.debugger

    def debugger(force: bool = False) -> None:
        if (force or drawer.call_pdb) and is_standin(getattr(sys, "last_value", None)):
            print(
                "These frames stand for those of a remote error: source, lines and names are theirs, values are the "
                "reprs that came along; nothing can be evaluated there from here."
            )
        debug(force)

    drawer.debugger = debugger


def is_standin(error: BaseException | None) -> bool:
    """Whether the error's traceback ends in a stand-in frame."""
    tb = error.__traceback__ if error is not None else None
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    return tb is not None and _MARK in tb.tb_frame.f_globals


def traceback_of(
    frames: Sequence[Sequence[Any]], lines: Lines, place: Place, endpoint: str
) -> types.TracebackType | None:
    """A traceback of stand-in frames, outermost first, for the frames of an error record."""
    made: types.TracebackType | None = None
    valued = any(len(frame) > 4 and isinstance(frame[4], Mapping) and "locals" in frame[4] for frame in frames)
    for frame in reversed(frames[-_FRAMES:]):
        file, line, function = str(frame[0]), max(1, int(frame[1] or 1)), str(frame[2])
        more = frame[4] if len(frame) > 4 and isinstance(frame[4], Mapping) else {}
        name = _named(file, line, str(frame[3]), more, lines, place, endpoint)
        if valued:
            _as_python(name)
        standin = _frame(name, line, function, more.get("locals"))
        made = types.TracebackType(made, standin, max(0, standin.f_lasti), line)
    return made


def below(callers: types.TracebackType | None, there: types.TracebackType | None) -> types.TracebackType | None:
    """One traceback: the frames of who called here, then those of what ran there."""
    frames = []
    while callers is not None:
        if _MARK not in callers.tb_frame.f_globals:
            frames.append(callers)
        callers = callers.tb_next
    made = there
    for one in reversed(frames):
        made = types.TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return made


def _named(file: str, line: int, text: str, more: Mapping[str, Any], lines: Lines, place: Place, endpoint: str) -> str:
    """The name of the stand-in's code, under which its lines can be found."""
    called = place(file)
    known = lines(file)
    name = f"<remote {file} on {endpoint}>"
    _labels[name] = ("File", f"{endpoint}:{file}") if called is None else ("Cell", called.removeprefix("Cell "))
    if known is not None:
        rows = [f"{row.rstrip()}\n" for row in known]
    else:
        first, around = more.get("around") or (line, [text])
        # `inspect` looks for a whole block from the first line on, and must not get as far as the fragment.
        rows = list(linecache.cache[name][2]) if name in linecache.cache else ["def _(): ...\n", "...\n"]  # type: ignore[misc]
        rows += ["\n"] * (int(first) + len(around) - 1 - len(rows))
        rows[int(first) - 1 : int(first) - 1 + len(around)] = [f"{row}\n" for row in around]
    linecache.cache[name] = (sum(map(len, rows)), None, rows, name)
    return name


def _as_python(name: str) -> None:
    """Make a comment of a cell's magic: IPython finds the values that a line mentions in lines that are Python."""
    size, mtime, rows, full = linecache.cache[name]  # type: ignore[misc]
    if rows and rows[0].startswith("%%"):
        linecache.cache[name] = (size + 2, mtime, [f"# {rows[0]}", *rows[1:]], full)


def _frame(name: str, line: int, function: str, values: Any) -> types.FrameType:
    found: list[types.FrameType] = []
    # Something stands in the first line, too: code begins where its first statement does.
    code = compile("_fx_here_" * (line > 1) + "\n" * (line - 1) + "_fx_here_()", name, "exec")
    here: dict[str, Any] = {
        "__name__": "__main__" if function == "<module>" else "remote",
        "__builtins__": builtins,
        "_fx_here_": lambda: found.append(sys._getframe(1)),  # noqa: SLF001 - the frame is the point
        _MARK: True,
    }
    told = values if isinstance(values, Mapping) else {"__remote__": _NO_VALUES}
    shown = {str(key): RemoteText(str(value)) for key, value in told.items()}
    named = code.replace(co_name=function, co_qualname=function)
    exec(named, here, shown)  # noqa: S102 - code of ours, that says where it is
    return found[0]


def chained(
    error: BaseException, record: Mapping[str, Any], made: Callable[[Mapping[str, Any]], BaseException], depth: int = 0
) -> None:
    """Give `error` the causes and contexts, and a group's members their own, that its record tells.

    `made` turns the record of another exception into one with a traceback.
    """
    cause = record.get("cause")
    error.__cause__ = error.__context__ = None
    if isinstance(cause, Mapping) and depth < 8:
        other = made(cause)
        chained(other, cause, made, depth + 1)
        if _explicit(record):
            error.__cause__ = other
        else:
            error.__context__ = other
            error.__suppress_context__ = False
    members = record.get("members")
    if isinstance(error, BaseExceptionGroup) and isinstance(members, Sequence):
        for member, told in zip(error.exceptions, members, strict=False):
            if isinstance(told, Mapping):
                member.__traceback__ = made(told).__traceback__
                chained(member, told, made, depth + 1)


def _explicit(record: Mapping[str, Any]) -> bool:
    if "explicit" in record:
        return bool(record["explicit"])
    return any("direct cause" in line for line in record.get("traceback") or ())
