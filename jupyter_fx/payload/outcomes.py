"""What comes home: values, runs of items, errors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from jupyter_fx.errors import (
    FxError,
    InfrastructureError,
    PayloadError,
    RemoteError,
    TaskExpired,
    TaskLost,
    TaskPoisoned,
    UsageError,
    by_name,
)
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import ErrorInfo, Outcome
from jupyter_fx_worker import envelope, inputs

__all__ = [
    "ItemError",
    "Items",
    "decode_error",
    "decode_value",
    "finished_items",
    "from_info",
    "lost_item",
    "note_origins",
    "remote_traceback",
]

_BY_STATE: Final = {TaskState.EXPIRED: TaskExpired, TaskState.LOST: TaskLost, TaskState.POISONED: TaskPoisoned}


class ItemError:
    """In the place of an item of a map that failed: `error` is what to raise."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Items(list[Any]):
    """The values of a chunk of a map in order, an ItemError where one failed. `failed` counts those."""

    failed: int = 0


def decode_value(payload: bytes | bytearray | memoryview) -> Any:
    """The value of a `result` envelope, or the Items of a row of `results` envelopes. Raises what the unpickling
    raises."""
    header, value = _loads(payload)
    if header["k"] != "results":
        return value
    return _items(payload, header, value)


def _loads(payload: bytes | bytearray | memoryview) -> tuple[dict[str, Any], Any]:
    try:
        return envelope.loads(payload)
    except (envelope.PythonMismatch, envelope.VersionMismatch) as error:
        raise PayloadError(str(error)) from error
    except ImportError as error:
        raise PayloadError(_missing(error)) from error


def _missing(error: ImportError) -> str:
    name = error.name or "a module"
    if name.startswith("numpy._core"):
        return (
            "the value was made by numpy 2 and numpy 1 is here: install the same major version of numpy on both sides"
        )
    if name.startswith("numpy.core"):
        return (
            "the value was made by numpy 1 and numpy 2 is here: install the same major version of numpy on both sides"
        )
    return f"the value needs {name!r}, which cannot be imported here ({error}): install it, or return plain data"


def _items(payload: bytes | bytearray | memoryview, header: dict[str, Any], values: list[Any]) -> Items:
    """All runs of a chunk: their envelopes follow one another."""
    items = Items()
    view = memoryview(payload)
    while True:
        for at, position in header.get("errors", {}).items():
            values[int(at)] = ItemError(from_record(values[position]))
            items.failed += 1
        items += values
        end = inputs.end_of(view)
        if end >= len(view):
            return items
        view = view[end:]
        header, values = _loads(view)


def from_record(record: dict[str, Any]) -> BaseException:
    """The exception that an error record describes: the original one where it can be opened, else a RemoteError."""
    original: Any = None
    if record.get("exception"):
        with contextlib.suppress(Exception):
            original = envelope.unpickled(record["exception"])
    return _raised(original, record, None)


def decode_error(outcome: Outcome) -> BaseException:
    """What `result()` raises for an outcome that is no success."""
    error = _decoded(outcome)
    note_origin(error, outcome)
    return error


def note_origin(error: BaseException, outcome: Outcome) -> None:
    """Let an error know which task it is of, and the id of the endpoint where that ran: who draws it names them."""
    for told in (error, error.__cause__):
        if isinstance(told, FxError):
            told.task_id = told.task_id or outcome.task_id
            if outcome.endpoint_id:
                told.details.setdefault("endpoint_id", outcome.endpoint_id)


def note_origins(value: Any, outcome: Outcome | None) -> None:
    """The same for the items of a chunk of a map that failed, if `value` is one."""
    if outcome is not None and isinstance(value, Items) and value.failed:
        for item in value:
            if type(item) is ItemError:
                note_origin(item.error, outcome)


def _decoded(outcome: Outcome) -> BaseException:
    if outcome.payload:
        try:
            header, _ = envelope.peek(outcome.payload)
            if header.get("k") == "error":
                return _of_envelope(outcome, header)
        except envelope.EnvelopeError:
            pass
    default = _BY_STATE.get(TaskState(outcome.state), RemoteError)
    return from_info(outcome.error, default, outcome.task_id)


def _of_envelope(outcome: Outcome, header: dict[str, Any]) -> BaseException:
    original: Any = None
    with contextlib.suppress(Exception):
        original = envelope.loads(outcome.payload)[1]
    if type(original) is tuple:
        original = original[0] if original else None
    # The machinery's word about a failure (a timeout, say) goes before what the code raised when it was stopped.
    if outcome.error is not None:
        known = by_name(outcome.error.etype)
        if known is not None and issubclass(known, InfrastructureError):
            return from_info(outcome.error, known, outcome.task_id)
    return _raised(original, header, outcome.task_id)


def from_info(
    info: ErrorInfo | None, default: type[FxError] = RemoteError, task_id: str | None = None
) -> BaseException:
    """The error that an ErrorInfo names: a class of jupyter_fx.errors, or RemoteError about the user's class."""
    if info is None:
        return default(task_id=task_id)
    known = by_name(info.etype)
    details = dict(info.details or {})
    if known is not None and not issubclass(known, RemoteError):
        return known(
            info.message, task_id=task_id, **{k: v for k, v in details.items() if k not in {"message", "task_id"}}
        )
    traceback = details.get("remote_traceback") or details.get("traceback") or ""
    if isinstance(traceback, list):
        traceback = "\n".join(traceback)
    return RemoteError(
        f"{info.etype}: {info.message}" if info.etype else info.message,
        task_id=task_id,
        etype=info.etype or "Exception",
        module=str(details.get("module", "builtins")),
        remote_traceback=str(traceback),
    )


def _raised(original: Any, record: dict[str, Any], task_id: str | None) -> BaseException:
    lines = record.get("traceback") or []
    text = "\n".join(lines) if isinstance(lines, list) else str(lines)
    etype, message = str(record.get("etype", "Exception")), str(record.get("message", ""))
    for kind in (PayloadError, UsageError):
        # The worker's own words, said by classes of these names.
        if etype == kind.__name__ and record.get("module") == kind.__module__:
            return kind(message, task_id=task_id)
    remote = RemoteError(
        f"{etype}: {message}" if message else etype,
        task_id=task_id,
        etype=etype,
        module=str(record.get("module", "builtins")),
        remote_traceback=text,
        frames=record.get("frames") or [],
        cause=record.get("cause"),
        explicit=record.get("explicit"),
        members=record.get("members"),
    )
    if isinstance(original, SystemExit):
        # It ended its task; raised here it would end a program that never called sys.exit.
        called = "sys.exit()" if original.code is None else f"sys.exit({original.code!r})"
        remote.message = f"the remote code called {called}, which ended its task; return a value or raise an exception"
        remote.args = (remote.message,)
        original = None
    if not isinstance(original, BaseException):
        if text:
            remote.add_note(f"It was raised there:\n{text}")
        return remote
    if isinstance(original, FxError) and original.task_id is None:
        original.task_id = task_id
    if text:
        original.add_note(f"It was raised there:\n{text}")
    if original.__cause__ is None:
        original.__cause__ = remote
        original.__suppress_context__ = True
    found: BaseException = original
    return found


def remote_traceback(error: BaseException) -> str:
    """The text of the traceback over there that came with `error`; empty when none did."""
    if isinstance(error, RemoteError):
        return error.remote_traceback
    return remote_traceback(error.__cause__) if error.__cause__ is not None else ""


def lost_item(outcome: Outcome | None) -> BaseException:
    """The error of an item of a map that has no outcome of its own, though its chunk has one."""
    if outcome is not None and outcome.error is not None:
        return from_info(outcome.error, TaskLost, outcome.task_id)
    return TaskLost(task_id=outcome.task_id if outcome is not None else None)


def finished_items(runs: Mapping[int, Any], count: int, missing: Callable[[], BaseException]) -> Items:
    """The items of a chunk of `count`, from its runs: {index of the first item: `results` envelope, or an error in
    words}.

    Where no run tells of an item, there is an ItemError with what `missing` makes.
    """
    items = Items()
    error: BaseException | None = None
    for first in sorted(runs):
        if len(items) < first:
            error = error or missing()
            _pad(items, first, error)
        run = _run(runs[first])
        items.failed += getattr(run, "failed", 0)
        items += run[len(items) - first :] if len(items) > first else run
    if len(items) < count:
        _pad(items, count, error or missing())
    return items


def _run(run: Any) -> Items:
    if not isinstance(run, str):
        try:
            found = decode_value(run)
        except Exception as error:  # noqa: BLE001 of the user's classes
            broken = Items([ItemError(error)])
            broken.failed = 1
            return broken
        return found if isinstance(found, Items) else Items([found])
    broken = Items([ItemError(InfrastructureError(run))])
    broken.failed = 1
    return broken


def _pad(items: Items, length: int, error: BaseException) -> None:
    items.failed += length - len(items)
    items += [ItemError(error)] * (length - len(items))
