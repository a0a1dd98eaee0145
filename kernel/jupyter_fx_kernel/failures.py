"""What is raised here for a cell that failed there: the original exception, drawn with the frames of the other side."""

from __future__ import annotations

import logging
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jupyter_fx import errors
from jupyter_fx.client.places import name_of_endpoint
from jupyter_fx.errors import FxError, InfrastructureError, PayloadError, RemoteError
from jupyter_fx.ids import short_id
from jupyter_fx.payload.cells import CellHome
from jupyter_fx.payload.summaries import summary
from jupyter_fx_kernel import dryrun, standins, tracebacks
from jupyter_fx_kernel.card import Card
from jupyter_fx_kernel.details import details_of, folded
from jupyter_fx_kernel.screens import is_rich, message_of
from jupyter_fx_kernel.session import Notebook

__all__ = ["as_said", "detailed", "draw_calls", "of_input", "of_other_versions", "shown"]

log = logging.getLogger(__name__)

_FILE = re.compile(r'File "([^"]+)"')
_UNDEFINED = re.compile(r"name '([^\W\d]\w*)' is not defined")
_COUNT = re.compile(r"<fx-cell:[0-9a-f]+-(\d+)>")
_SOMEWHERE = "remote"
"""What an endpoint is called whose name nobody can tell."""
_SAID_THERE = "It was raised there:"
"""How the note begins that holds the remote traceback as text; here the traceback is shown instead."""


def as_said(error: BaseException, *, folded: bool = False) -> BaseException:
    """`error`, shown as what it says; `folded`: its details are shown elsewhere."""
    return tracebacks.show_as(error, tracebacks.plain(error, folded=folded))


def detailed(notebook: Notebook, place: str, home: CellHome, card: Card) -> None:
    """Let the card say what else is known of an error of the machinery, before it is drawn for the last time."""
    if isinstance(home.error, InfrastructureError) and home.record is None:
        Source(notebook, place).in_cells_words(home.error)
        card.details = details_of(home.error)


Lines = Callable[[str], Sequence[str] | None]


def shown(
    notebook: Notebook, place: str, error: BaseException, home: CellHome, more: Lines | None = None
) -> BaseException:
    """The exception to raise for a cell that ran at the endpoint `place`; `more` knows lines of further files."""
    source = Source(notebook, place, more)
    if home.record is None:
        return as_said(error, folded=is_rich(notebook.shell))
    error.__cause__ = None
    error.__notes__ = [note for note in getattr(error, "__notes__", ()) if not note.startswith(_SAID_THERE)]
    if home.record.get("etype") == "SystemExit":
        return tracebacks.as_exit(notebook.shell, str(home.record.get("message", "")))
    if isinstance(error, RemoteError):
        error = _of_its_type(notebook, error)
    if lacks := home.record.get("lacks"):
        return as_said(dryrun.refusal(lacks, place, error, notebook.resources(place, "main").environment))
    said = dict(home.record)
    if isinstance(error, InfrastructureError | PayloadError):
        said |= {"etype": type(error).__name__, "message": error.message}
    tail = [*_hint(notebook, error), _ran(place, home.task_id)]
    plain = [*tracebacks.render(said, source.lines, source.place), *tail]
    if isinstance(error, PayloadError):
        return tracebacks.show_as(error, plain)
    try:
        made = _Made(notebook, source, place)
        standins.chained(error, home.record, made.error)
        return tracebacks.draw(notebook.shell, error, made.frames(home.record), plain, tail)
    except Exception as problem:  # noqa: BLE001 - an error that cannot be dressed up is shown as it came
        log.debug("no stand-in frames for %s: %s", type(error).__name__, problem)
        return tracebacks.show_as(error, plain)


def draw_calls(notebook: Notebook) -> None:
    """Have errors of calls and maps drawn as those of cells are, below the frames of who called."""

    def draw(error: BaseException, callers: types.TracebackType | None) -> list[str] | None:
        try:
            drawn = _of_call(notebook, error, callers)
            if drawn is None and isinstance(error, InfrastructureError):
                return _of_machinery(notebook, error, callers)
            return drawn
        except Exception as problem:  # noqa: BLE001 - an error that cannot be dressed up is shown as it came
            log.debug("no stand-in frames for %s: %s", type(error).__name__, problem)
            return None

    errors.draw_remote = draw


def _of_call(notebook: Notebook, error: BaseException, callers: types.TracebackType | None) -> list[str] | None:
    # A RemoteError may be the user's own, raised there: what came along with it is told by its cause.
    remote = error.__cause__ if isinstance(error.__cause__, RemoteError) else error
    if not isinstance(remote, RemoteError):
        return None
    known = _place_of(remote)
    place = known or _SOMEWHERE
    made = _Made(notebook, Source(notebook, place), place)
    there = made.frames(remote.details)
    whole = standins.below(callers, there)
    kept = error.__cause__, error.__context__, error.__suppress_context__, list(getattr(error, "__notes__", ()))
    try:
        standins.chained(error, remote.details, made.error)
        # Its text stays where its frames did not come along; that of an error without frames says nothing new.
        if there is not None or "\n" not in remote.remote_traceback.strip():
            error.__notes__ = [note for note in kept[3] if not note.startswith(_SAID_THERE)]
        lines = list(notebook.shell.InteractiveTB.structured_traceback(type(error), error, whole))
    finally:
        error.__cause__, error.__context__, error.__suppress_context__, error.__notes__ = kept
    if there is not None:
        error.__traceback__ = whole
    return lines if notebook.shell.InteractiveTB.mode == "Minimal" else [*lines, _ran(known, remote.task_id)]


def _place_of(error: FxError) -> str:
    """The name of the endpoint where a call ran; empty when nobody can tell it."""
    return name_of_endpoint(str(error.details.get("endpoint_id") or ""))


def _ran(place: str, task_id: str | None) -> str:
    """The line below a remote traceback."""
    said = ", ".join([*([place] if place else []), *([f"task {short_id(task_id)}"] if task_id else [])])
    return f"(remote: {said})" if said else "(remote)"


def _of_machinery(
    notebook: Notebook, error: InfrastructureError, callers: types.TracebackType | None
) -> list[str] | None:
    """A call has no card: what else is known is folded above its sentence, and in a terminal it stands below."""
    place = _place_of(error)
    Source(notebook, place or _SOMEWHERE).in_cells_words(error)
    shell = notebook.shell
    if shell.InteractiveTB.mode == "Minimal":
        return None
    lines = list(shell.InteractiveTB.structured_traceback(type(error), error, callers))
    if place:
        lines.append(_ran(place, error.task_id))
    told = details_of(error)
    if not is_rich(shell):
        return [*lines, *(tracebacks.printable(line) for line in told.splitlines())]
    # IPython draws an error twice: to show it, and for its history.
    cell = message_of(shell)
    if told and getattr(error, "_fx_folded_at_", "") != cell:
        error._fx_folded_at_ = cell  # type: ignore[attr-defined]
        folded(shell, error)
    return lines


class _Made:
    """Makes what records tell of: frames that stand for those there, and the exceptions behind an exception."""

    def __init__(self, notebook: Notebook, source: Source, endpoint: str) -> None:
        self._notebook, self._source, self._endpoint = notebook, source, endpoint

    def frames(self, record: Mapping[str, Any]) -> types.TracebackType | None:
        """The traceback of a record."""
        told = record.get("frames") or ()
        return standins.traceback_of(told, self._source.lines, self._source.place, self._endpoint)

    def error(self, record: Mapping[str, Any]) -> BaseException:
        """An exception of the type that a record names, or one that is called so, with its traceback."""
        name, message = str(record.get("etype", "Exception")), str(record.get("message", ""))
        kind = _kind(self._notebook, str(record.get("module", "builtins")), name) or Exception
        own = {"__module__": record.get("module"), "__qualname__": name, "__str__": lambda _self: message}
        made: Any
        try:
            named: Any = type(name, (kind,), own)
            made = named.__new__(named)
        except TypeError:  # a class that wants more of who makes one, such as a group
            made = type(name, (Exception,), own)(message)
        made.__notes__ = [str(note) for note in record.get("notes") or ()]
        made.__traceback__ = self.frames(record)
        found: BaseException = made
        return found


class Source:
    """What this notebook knows of the code in a traceback: the lines of cells, and what to call them."""

    def __init__(self, notebook: Notebook, endpoint: str, more: Lines | None = None) -> None:
        self._notebook, self._endpoint, self._more = notebook, endpoint, more

    def lines(self, file: str) -> Sequence[str] | None:
        """The lines of a cell or a module of this notebook."""
        known = self._notebook.cells.get(file)
        if known is not None:
            return known[1]
        own = self._more(file) if self._more is not None else None
        return own if own is not None else tracebacks.local_lines(file)

    def place(self, file: str) -> str | None:
        """What a cell is called; None for what is no cell."""
        known = self._notebook.cells.get(file)
        if known is not None:
            return f"Cell In[{known[0]}] on {self._endpoint}"
        elsewhere = _COUNT.fullmatch(file)
        if elsewhere is not None:
            return f"Cell In[{elsewhere[1]}] on {self._endpoint}"
        try:
            label, name = self._notebook.shell.compile.format_code_name(file)
        except (AttributeError, TypeError, ValueError):
            return None
        return f"{label} {name} on {self._endpoint}" if label == "Cell" else None

    def in_cells_words(self, error: InfrastructureError) -> None:
        """Call cells by their numbers in what is said about a crash."""

        def said(text: str) -> str:
            return _FILE.sub(lambda found: self.place(found[1]) or found[0], text)

        error.message = said(error.message)
        error.args = (error.message,)
        lines = error.details.get("last_lines")
        if isinstance(lines, list):
            error.details["last_lines"] = [said(str(line)) for line in lines]


def _of_its_type(notebook: Notebook, error: RemoteError) -> BaseException:
    """An exception whose pickle does not open, as one of its class all the same, where that is known here."""
    kind = _kind(notebook, error.module, error.etype)
    if kind is None:
        return error
    made: Any = kind.__new__(kind)
    made.args = (error.message.removeprefix(f"{error.etype}: "),)
    found: BaseException = made
    return found


def of_other_versions(error: BaseException, values: Mapping[str, Any]) -> BaseException:
    """`error`, which says that what travelled cannot be opened there, with the names that it can be about."""
    message = getattr(error, "message", "")
    if not isinstance(error, PayloadError) or "cannot be opened with" not in message:
        return error
    versioned = [name for name in ("numpy", "pandas") if f"{name} " in message]
    names = [n for n, value in values.items() if type(value).__module__.partition(".")[0] in versioned]
    if names:
        error.message = message.replace("what was made with", f"what was sent ({', '.join(names)}) and made with", 1)
        error.args = (error.message,)
    return error


def of_input(error: FxError, names: Sequence[str]) -> FxError:
    """`error`, which says that an input failed, with the notebook's names that can hold that future."""
    error.message = f"{error.message}; the cell takes futures along in {', '.join(names)}, and needs their results"
    error.args = (error.message,)
    return error


def _kind(notebook: Notebook, module: str, name: str) -> type[BaseException] | None:
    """The class of that name, as far as it is known here without importing anything."""
    known = notebook.shell.user_ns.get(name) if module == "__main__" else getattr(sys.modules.get(module), name, None)
    return known if isinstance(known, type) and issubclass(known, BaseException) else None


def _hint(notebook: Notebook, error: BaseException) -> list[str]:
    """What to do about a name that is known here and was not there; its pickle does not keep which one it was."""
    if not isinstance(error, NameError) or isinstance(error, UnboundLocalError):
        return []
    said = _UNDEFINED.search(str(error))
    name = getattr(error, "name", None) or (said[1] if said is not None else None)
    if name is None or name not in notebook.shell.user_ns or name.startswith("__"):
        return []
    what = summary(notebook.shell.user_ns[name])
    hint = f"{name} exists in this notebook ({what}) and did not travel: `%%remote -i {name}` sends it"
    return [hint]
