"""Error records: what is sent about an exception, beside the exception itself.

A record is complete without the pickle: type, message, text and frames. The traceback begins with the user's first
frame; frames of this package and of the machinery that ran the cell are left out.
"""

from __future__ import annotations

import linecache
import os
import pickle
import sys
import traceback
from types import TracebackType
from typing import Any

from jupyter_fx_worker import envelope, frames_told

__all__ = ["PayloadError", "Record", "UsageError", "dumps_error", "record", "travelling"]

Record = dict[str, Any]
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Frames of these in front of the user's first frame ran the cell; further down they are part of the story.
_MACHINERY = ("interactiveshell.py", "async_helpers.py", "base_events.py", "events.py", "runners.py", "tasks.py")
_PICKLES = os.sep + "cloudpickle" + os.sep
_MAX_FRAMES = 60
_MAX_TEXT = 64 * 1024
_MAX_CAUSES = 8
_MAX_MEMBERS = 8

values_wanted = False
"""Whether records tell the values in frames: what the cell in hand asked for."""


class PayloadError(Exception):
    """A value cannot travel. Known over there as `jupyter_fx.errors.PayloadError`; the record is enough to make one."""


class UsageError(Exception):
    """Something was asked for that this environment cannot do. Known over there as `jupyter_fx.errors.UsageError`."""


PayloadError.__module__ = UsageError.__module__ = "jupyter_fx.errors"


def _short(text: str, limit: int = _MAX_TEXT) -> str:
    return text if len(text) <= limit else text[: limit - 20] + " … (shortened)"


def message_of(error: BaseException) -> str:
    """Return `str(error)`, or a sentence when that itself fails."""
    try:
        return _short(str(error))
    except BaseException as problem:
        return f"(the message of this exception cannot be read: its __str__ raised {type(problem).__name__})"


def _user_frames(tb: TracebackType | None) -> list[tuple[Any, int]]:
    frames = [(frame, line) for frame, line in traceback.walk_tb(tb) if not frame.f_code.co_filename.startswith(_OURS)]
    if frames and _PICKLES in frames[0][0].f_code.co_filename:
        # What travelled could not be opened: no frame of the user's has been reached.
        frames = [pair for pair in frames if _PICKLES not in pair[0].f_code.co_filename]
    first = 0
    while first < len(frames):
        path = frames[first][0].f_code.co_filename
        machinery = os.path.basename(path) in _MACHINERY and ("IPython" in path or "asyncio" in path)
        if not machinery and not path.startswith("<frozen"):
            break
        first += 1
    return frames[first:] or frames


def _text(error: BaseException, summary: traceback.StackSummary) -> list[str]:
    lines: list[str] = []
    if summary:
        lines.append("Traceback (most recent call last):")
        for entry in summary.format():
            lines += entry.rstrip("\n").split("\n")
    try:
        for entry in traceback.format_exception_only(type(error), error):
            lines += _short(entry).rstrip("\n").split("\n")
    except BaseException:
        lines.append(f"{type(error).__name__}: {message_of(error)}")
    return lines


def _own(error: BaseException) -> Record:
    frames = _user_frames(error.__traceback__)
    if len(frames) > _MAX_FRAMES:
        frames = frames[:20] + frames[-(_MAX_FRAMES - 20) :]
    summary = traceback.StackSummary.extract(iter(frames))
    kind = type(error)
    return {
        "etype": kind.__qualname__,
        "module": kind.__module__,
        "message": message_of(error),
        "traceback": _text(error, summary),
        "frames": [
            [f.filename, f.lineno, f.name, _short(f.line or "", 500), more]
            for f, more in zip(summary, frames_told.more_of(frames, values_wanted))
        ],
        "notes": _notes(error),
        "cause": None,
    }


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)
    return [_short(str(note), 4096) for note in notes[:20]] if isinstance(notes, list) else []


def explain(error: BaseException) -> None:
    """Say more about an error that ends a task: which package is missing where, and how it gets there."""
    top = str(getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not top or top == "__main__" or top in sys.modules:
        return
    version = ".".join(map(str, sys.version_info[:3]))
    note = (
        f"{top} is not installed where this ran (Python {version}, {sys.executable}): install it there with "
        f"`{sys.executable} -m pip install {top}`, or choose an endpoint that has it. A module of your own files "
        f"travels where the cell or function says `import {top}`"
    )
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:  # Python before 3.11 shows no notes, and keeps these all the same
        error.__notes__ = [note]


def record(error: BaseException, _depth: int = 0) -> Record:
    """Describe `error` as JSON-able data.

    Causes are nested under `cause`, and their text stands in front of the error's own.
    """
    own = _own(error)
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple) and _depth < _MAX_CAUSES:
        # An exception group: what it holds has frames of its own.
        own["members"] = [record(one, _depth + 1) for one in members[:_MAX_MEMBERS] if isinstance(one, BaseException)]
    explicit = error.__cause__
    own["explicit"] = explicit is not None
    cause = explicit or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and cause is not error and _depth < _MAX_CAUSES:
        own["cause"] = record(cause, _depth + 1)
        between = (
            "The above exception was the direct cause of the following exception:"
            if explicit
            else "During handling of the above exception, another exception occurred:"
        )
        own["traceback"] = [*own["cause"]["traceback"], "", between, "", *own["traceback"]]
        if _depth == 0:
            own["traceback"] = own["traceback"][-1000:]
    return own


class _AsItWas:
    """An exception whose own pickle does not open: its class, its `args` and what it holds, without its `__init__`."""

    def __init__(self, error: BaseException, state: dict[str, Any]) -> None:
        self.error, self.state = error, state

    def __reduce__(self) -> Any:
        return _as_it_was, (type(self.error), self.error.args, self.state)


def _as_it_was(kind: Any, args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    made: BaseException = kind.__new__(kind)
    made.args = args
    made.__dict__.update(state)
    return made


def _opens(travels: Any, kind: type) -> bytes | None:
    try:
        data, buffers, _code = envelope.pickled(travels, limit=1 << 20)
        opened = pickle.loads(data, buffers=[bytearray(b) for b in buffers])
        if type(opened) is not kind and type(opened).__qualname__ != kind.__qualname__:
            return None
        return data if not buffers else pickle.dumps(opened, 5)
    except BaseException:
        return None


def travelling(error: BaseException) -> tuple[Any, bytes | None]:
    """Return what to pickle for an exception, and its pickle, known to open again; (None, None) when nothing does.

    An `__init__` with two arguments makes an exception that pickles but does not open: that one goes without it.
    """
    if isinstance(error, PayloadError):
        return None, None
    data = _opens(error, type(error))
    if data is not None:
        return error, data
    held = {name: value for name, value in vars(error).items() if not name.startswith("__")}
    held = {name: value for name, value in held.items() if _opens(value, type(value)) is not None}
    bare = _AsItWas(error, held)
    data = _opens(bare, type(error))
    return (bare, data) if data is not None else (None, None)


def item_record(error: BaseException) -> Record:
    """Return the record of one failed item of a map: `record`, and the pickled exception (or None) as `exception`."""
    explain(error)
    return {**record(error), "exception": travelling(error)[1]}


def dumps_error(error: BaseException, names: dict[str, Any] | None = None, **extra: Any) -> list[envelope.Buffer]:
    """Return an `error` envelope.

    For a cell, `names` is what it had assigned: the value is then `(exception, names)`.
    """
    linecache.checkcache()
    if isinstance(error, (envelope.PythonMismatch, envelope.VersionMismatch)):
        error = PayloadError(str(error))
    explain(error)
    described = {**record(error), **extra}
    travels = travelling(error)[0]
    value = travels if names is None else (travels, names)
    try:
        return _dumps(value, described)
    except Exception:
        # The names were checked one by one; together they may still fail. The error itself must arrive.
        return _dumps(None if names is None else (None, {}), described)


def _dumps(value: Any, described: Record) -> list[envelope.Buffer]:
    try:
        return envelope.dumps(value, "error", **described)
    except envelope.EnvelopeError:
        small = {
            **described,
            "traceback": described["traceback"][-40:],
            "frames": described["frames"][-10:],
            "cause": None,
        }
        small["message"] = _short(small["message"], 4096)
        small["traceback"] = [_short(line, 2048) for line in small["traceback"]]
        return envelope.dumps(value, "error", **small)
