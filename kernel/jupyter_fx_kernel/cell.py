"""One remote cell from its text to its value: what travels, what is shown, what comes home, what is raised."""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from jupyter_fx import payload
from jupyter_fx.digest import digest
from jupyter_fx.errors import DependencyFailed, InfrastructureError, PayloadError, RemoteError, UsageError
from jupyter_fx.ids import new_id, short_id
from jupyter_fx.payload.cells import CLOSED, CellHome, Pickled, bind, decode_cell, encode_cell, pickled, value_in
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.limits import HOME_LIMIT, WANTED_MAX
from jupyter_fx.protocol.messages import CancelMode, Outcome, Resources, TaskOptions
from jupyter_fx_kernel import failures, tracebacks
from jupyter_fx_kernel.capture import Capture, Ledger, capture, digest_of, nearest_names
from jupyter_fx_kernel.card import Card
from jupyter_fx_kernel.endings import close_line, ending, why_not
from jupyter_fx_kernel.mentions import Mentions, mentions
from jupyter_fx_kernel.modules import Served, come_home
from jupyter_fx_kernel.notify import ended
from jupyter_fx_kernel.options import Options
from jupyter_fx_kernel.outputs import show_as_there
from jupyter_fx_kernel.refs import LARGER, Place, RemoteValue, pickling, size_text
from jupyter_fx_kernel.running import Follower
from jupyter_fx_kernel.screens import is_rich
from jupyter_fx_kernel.session import Notebook, Session

__all__ = ["RemoteCell"]

VALUE = "_remote_value_"
"""The name under which the value of `%remote expression` comes home."""
_LONG_WAY = 64 << 20
"""Bytes of arrays on whose way to the hub something is said: the task is there when they are."""
_MISSING = object()


class RemoteCell:
    """A cell on its way. `source` is the whole cell, the magic's own line included: line numbers are the notebook's."""

    def __init__(self, notebook: Notebook, options: Options, source: str, *, value_only: bool = False) -> None:
        self.notebook = notebook
        self.options = options
        self.source = source
        self.shell = notebook.shell
        self.screen = self.shell
        """Through which its output is shown: the shell, or the shell as one cell of the notebook sees it."""
        self.count = count_of(self.shell)
        self.filename = f"<fx-cell:{digest(source.encode())[:12]}-{self.count}>"
        self.place = notebook.endpoint_of(options.endpoint)
        self.stores: frozenset[str] = frozenset()
        self._managed: frozenset[str] = frozenset()
        self._value_only = value_only
        self.fetches = False
        """Whether it runs nothing and only brings its outputs here."""
        self._session: Session | None = None
        self._capture = Capture()
        self._before: dict[str, Any] = {}
        self._number = 0

    def _pickled(self, value: Any, found: list[FunctionType]) -> Pickled:
        with pickling(self._session.session_id if self._session is not None else "", weighing=True):
            return pickled(value, self.shell.user_ns, found)

    # --- before anything travels ---

    def mentioned(self) -> Mentions:
        """What the cell mentions. Raises CellSyntaxError with the notebook's line numbers."""
        first, _, body = self.source.partition("\n")
        text, before = (body, 1) if first.lstrip().startswith("%%remote") else (self.source, 0)
        try:
            if self._value_only:
                self._check_expression()
            found = mentions(text, self.shell.transform_cell)
        except SyntaxError as error:
            name = f"In[{self.count}]"
            raise tracebacks.syntax_error(error, before, name, self.source) from None
        self.stores, self._managed = found.stores, found.managed
        return found

    def _check_expression(self) -> None:
        """Raise CellSyntaxError that shows the line of `%remote` as it was typed."""
        expression = self.source.removeprefix(f"{VALUE} = (").removesuffix(")")
        try:
            ast.parse(expression, mode="eval")
        except SyntaxError as error:
            before = "%remote "
            text = error.text if error.text is not None else expression
            error.text = before + text
            error.offset = (error.offset or 1) + len(before)
            error.end_offset = None if error.end_offset is None else error.end_offset + len(before)
            raise tracebacks.syntax_error(error, 0, f"In[{self.count}]", before + expression) from None

    def plan(self, ledger: Ledger, served: Served) -> Capture:
        """Choose what travels; the session has what the ledger and `served` say. Raises UsageError and PayloadError."""
        options = self.options
        self._capture = capture(
            self.mentioned(),
            self.shell.user_ns,
            ledger,
            pickler=self._pickled,
            explain=payload.diagnose,
            include=options.inputs,
            outputs=options.outputs,
            hidden=self.shell.user_ns_hidden,
            automatic=options.capture,
            modules=served.names,
            tolerant=options.dry_run,
        )
        return self._capture

    # --- there and back ---

    def submit(self) -> Any:
        """Send it; returns (future, follower). The session is opened if need be."""
        notebook, options = self.notebook, self.options
        self.mentioned()  # a syntax error opens no session
        if not options.stateless:
            self._session = notebook.session(options.endpoint, options.session)
        else:
            notebook.check_endpoint(self.place)
        ledger = self._session.ledger if self._session is not None else Ledger()
        served = self._session.modules if self._session is not None else Served()
        plan = self.plan(ledger, served)
        modules = served.news(plan.modules)
        if edited := served.edited(modules):
            notebook.notices.append(f"edited here, and loaded anew there: {', '.join(edited)}")
        notebook.notices += [f"{item.name} {item.warning}" for item in plan.items if item.warning]
        self._before = {name: self.shell.user_ns.get(name, _MISSING) for name in self.stores | set(plan.digests)}
        wanted = [VALUE] if self._value_only else list(options.outputs)
        with pickling(ledger.session):
            encoded = encode_cell(
                plan.values,
                namespace=self.shell.user_ns,
                source=self.source,
                filename=self.filename,
                count=self.count,
                want=wanted,
                home_limit=HOME_LIMIT,
                silent=self._value_only,
                around=self._session.ambient.changed() if self._session is not None else None,
                modules=modules,
                needs=plan.needs,
                reprs=notebook.wants_values(),
                known=self._known_last(),
                background=options.background,
            )
        lines = [f"%remote {options.name}"] if self._value_only else self.source.rstrip().split("\n")
        notebook.cells[self.filename] = (self.count, lines)
        task_id = new_id()
        card = Card(
            task_id,
            self.place,
            name=options.name or _title(lines),
            session=_named(self._session) if self._session is not None else None,
            origin={"kernel_id": notebook.kernel_id, "cell": self.count},
        )
        follower = Follower(self.screen, card, rich=is_rich(self.shell))
        follower.on_end = lambda over: ended(over, getattr(self.shell, "kernel", None))
        if self._session is not None and (ending := self._session.ends_soon(time.time())):
            notebook.notices.append(ending)
        card.notices += notebook.notices
        notebook.notices.clear()
        large = sum(part.nbytes for part in encoded.parts)
        if large > _LONG_WAY:
            card.why = f"sending up to {size_text(large)} of arrays to the hub: what it has is not sent again"
        if card.notices or large > _LONG_WAY:
            follower.view.refresh(force=True)
        future = notebook.client.submit_cell(
            self._session.handle if self._session is not None else "",
            encoded,
            on_event=follower.put,
            endpoint=self.place,
            task_id=task_id,
            options=TaskOptions(
                name=card.name,
                timeout=options.timeout,
                expires=options.expires,
                retries=options.retries,
                resources=notebook.resources(self.place, "main") if self._session is None else Resources(),
                origin={"kernel_id": notebook.kernel_id, "cell": self.count},
            ),
        )
        if self._session is not None:
            self._number = ledger.cell()
            ledger.sent(plan.digests, self._number)
            served.sent(modules)
            self._session.names |= set(plan.values)
            for name in plan.values:
                self._session.assigned(name)
            self._session.cells += not self.fetches
        follower.ask = lambda: str(future.why)
        future.add_done_callback(follower.finish)
        return future, follower

    def run(self) -> Any:
        """Run it and wait; returns the value of its last expression. Raises what it raised."""
        future, follower = self.submit()
        follower.last_resort = self._last_resort()
        if not follower.follow(self._stopper(future)):
            from jupyter_fx_kernel.background import BackgroundCell

            BackgroundCell(self, (future, follower))
            short = short_id(future.task_id)
            said = (
                "KeyboardInterrupt: you have your prompt back, and the remote cell goes on with its output here; "
                f"`%fx attach {short}` shows it again, `%fx cancel {short}` interrupts it; {self._last_resort()}"
            )
            raise tracebacks.show_as(KeyboardInterrupt(), [said])
        return self.conclude(future, follower)

    def _last_resort(self) -> str:
        """What ends code that takes no notice of interrupts, and what that costs."""
        if self._session is None:
            return "what takes no notice of it gets SIGTERM after 5 s and SIGKILL after 10 s"
        return f"then {close_line(self._session)}"

    def _stopper(self, future: Any) -> Callable[[], None]:
        """What an interrupt does: a session's cell gets SIGINT and keeps its session, pool work is stopped for good."""
        if self._session is not None:
            stop: Callable[[], None] = future.interrupt
            return stop
        return lambda: future.cancel_running(CancelMode.CANCEL, "interrupted")

    def conclude(self, future: Any, follower: Follower, *, background: bool = False) -> Any:
        """Bring home what it assigned; return its value or raise its error."""
        outcome: Outcome | None = future.outcome
        if outcome is None:
            error = why_not(future)
            follower.end(None, "failed", str(error))
            self._forget()
            raise failures.as_said(error)
        home = decode_cell(outcome)
        if self._session is not None and not background:
            # After a background cell nobody could say between which of the notebook's own cells that happened.
            self._session.ambient.take(home.ambient)
        if home.error is None or home.record is not None:
            self._settle(home, follower.card, background=background)
            if home.record is not None and "stay" not in home.record:
                self._forget()  # what was sent could not be opened there
        else:
            self._forget()
        state = TaskState(outcome.state)
        if state is TaskState.SUCCEEDED:
            follower.outputs.after_result(shown=not background)
            follower.end(outcome, "succeeded", ending(outcome, asked=follower.interrupts > 0))
            value = self._value(home, follower, background=background)
            if not background and follower.outputs.result is not None:
                show_as_there(self.shell, value, follower.outputs.result)
            return value
        follower.outputs.flush_result()
        raise self._failure(outcome, home, follower)

    def _failure(self, outcome: Outcome, home: CellHome, follower: Follower) -> BaseException:
        state = TaskState(outcome.state)
        error = home.error if home.error is not None else RemoteError(task_id=outcome.task_id)
        reason = outcome.error.message if outcome.error is not None else ""
        if (
            self._session is not None
            and isinstance(error, InfrastructureError)
            and type(error).__name__ == "WorkerLost"
        ):
            self._session.lost = reason or "its worker died"
        if isinstance(error, DependencyFailed) and (names := sorted(self._capture.inputs)):
            error = failures.of_input(error, names)
        failures.detailed(self.notebook, self.place, home, follower.card)
        # A KeyboardInterrupt that nobody sent is an error as any other, here as in the list of tasks.
        if state is TaskState.CANCELLED and not (self._session is not None and self._session.gone):
            follower.end(outcome, "cancelled", ending(outcome))
            error = error if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt(reason)
        else:
            follower.end(outcome, state.name.lower())
        more = self._session.modules.lines_of if self._session is not None else None
        error = failures.of_other_versions(error, self._capture.values)
        return failures.shown(self.notebook, self.place, error, home, more)

    def _value(self, home: CellHome, follower: Follower, *, background: bool) -> Any:
        if self._value_only:
            value = self.shell.user_ns.pop(VALUE, None)
            if isinstance(value, RemoteValue):
                raise PayloadError(
                    f"the value of the expression cannot be pickled ({home.why.get(VALUE, 'it is too large')}): "
                    "make plain data from it there, or assign it in a %%remote cell and use it in remote cells",
                    task_id=follower.card.task_id,
                )
            return value
        content = follower.outputs.result
        if content is None:
            return None
        last, user_ns = _last_name(self.source), self.shell.user_ns
        came = last in home.values or last in home.stay
        if last in user_ns and (came or last == self._known_last()) and not (background and self._changed_here(last)):
            return user_ns[last]
        if background and last in home.values:
            return home.values[last]
        return value_in(home, content)

    def _known_last(self) -> str:
        """The variable that is the last expression, if the session has it from here: it need not come back."""
        last = _last_name(self.source)
        captured = {item.name for item in self._capture.items if item.state in {"sent", "there"}}
        return last if last in captured else ""

    def settle(self, session: Session, home: CellHome, card: Card, count: int) -> None:
        """Bind what a cell brought home that ran in this session before, as In[count]."""
        self._session, self.count = session, count
        session.ambient.take(home.ambient)
        self._settle(home, card, background=False)

    def _settle(self, home: CellHome, card: Card, *, background: bool) -> None:
        """Bind what came home in the notebook; after a background cell, only what did not change here meanwhile."""
        user_ns = self.shell.user_ns
        session = self._session
        for name, value in home.values.items():
            value = bind(value, user_ns) if name in home.bind else value
            if background and self._changed_here(name):
                if session is not None:
                    session.ledger.conflict(name, f"by the background cell In[{self.count}]")
                card.notices.append(
                    f"{name} changed here meanwhile and was kept: `%%remote -o {name}` brings the session's"
                )
                continue
            user_ns[name] = value
            if session is not None and name != VALUE and not self.fetches:
                self._holds(session, name, value, same=name in home.same)
        for name, module in home.modules.items():
            if not (background and self._changed_here(name)):
                come_home(user_ns, name, module)
        for name, described in home.stay.items():
            self._stays(name, described, home.why.get(name, ""), card)
        for name in home.deleted:
            self._deleted(name, card, background=background)
        if home.problem and not home.stay:
            card.notices.append(home.problem)
        for name in self.options.outputs:
            if name in home.why and name not in home.stay:
                known = {*user_ns, *self.stores, *(session.names if session is not None else ())}
                near = nearest_names(name, known) if name not in known else ""
                card.notices.append(f"-o {name}: {home.why[name]}{near}")

    def _deleted(self, name: str, card: Card, *, background: bool) -> None:
        """The cell deleted that variable there: it goes here too, unless what stands here is another one's."""
        user_ns, session = self.shell.user_ns, self._session
        gone = name in self.stores or any(item.name == name for item in self._capture.items)
        if session is not None:
            # What a cell behind this one took along or made is no longer what this one forgot.
            later = background and session.ledger.touched_after(name, self._number)
            gone = gone or (name in user_ns and not later and self._is_of(session, name, user_ns[name]))
            session.names.discard(name)
            session.assigned(name)
            session.ledger.forget([name])
        if not gone or name not in user_ns:
            return
        if background and self._changed_here(name):
            card.notices.append(f"{name} changed here meanwhile and was kept: this cell deleted it there")
        else:
            del user_ns[name]

    def _is_of(self, session: Session, name: str, value: Any) -> bool:
        """Whether `value` is what the session had under that name, as `%reset` forgets it without mentioning it."""
        if isinstance(value, RemoteValue):
            return value._fx_place_.is_in(session.session_id, name)
        known = session.ledger.known(name)
        return session.ledger.has(name, digest_of(value, self._pickled) if known else "", value)

    def _holds(self, session: Session, name: str, value: Any, *, same: bool) -> None:
        """The session has what came home; `same`: it is the object that the name stood for before."""
        session.names.add(name)
        if not same:
            session.assigned(name)
        session.ledger.came_home(name, value, self._pickled, self._number)

    def _stays(self, name: str, described: dict[str, Any], why: str, card: Card) -> None:
        session = self._session
        if session is None:
            card.notices.append(
                f"{name} ({described.get('type')}) is gone with its worker: {why}; -o {name} brings it home"
            )
            return
        session.ledger.forget([name])
        if name != VALUE:
            session.names.add(name)
        known = self.shell.user_ns.get(name)
        if described.get("same") and isinstance(known, RemoteValue):
            old = known._fx_place_
            if old.is_in(session.session_id, name):
                # The object that it stands for has changed, as all that stands for it.
                known.described = dict(described)
                return
        place = Place(
            name=name,
            session=session.session_id,
            endpoint=session.endpoint,
            kind=str(described.get("type", "object")),
            cell=f"In[{self.count}]",
            version=session.assigned(name),
            alive=lambda: session.alive,
            current=lambda: session.versions.get(name, 0),
            fetch=lambda wanted: fetch(self.notebook, session, wanted),
            keep=lambda wanted: self.notebook.keep(session, wanted).task_id,
        )
        self.shell.user_ns[name] = RemoteValue(place, described, why)
        if name != VALUE:
            if why.startswith(LARGER) and name in self.options.outputs:
                said = f"({_in_units(why)}, the most that comes home at a time): bring parts of it, `%remote {name}[…]`"
            elif why.startswith(LARGER):
                said = f"({_in_units(why)}); {name}.get() brings it here"
            elif name in self._managed:
                return  # a file that was closed, say: who uses it all the same is told by the name itself
            else:
                told = why if why.startswith(CLOSED) else f"it cannot be pickled ({why})"
                said = f"because {told}: use it in remote cells"
            card.notices.append(f"{name} stays on {session.endpoint} {said}")

    def _changed_here(self, name: str) -> bool:
        """Whether the notebook's variable is another one, or has another value, than when the cell was submitted."""
        now = self.shell.user_ns.get(name, _MISSING)
        if name in self._before and now is not self._before[name]:
            return True
        sent = self._capture.digests.get(name)
        return sent is not None and now is not _MISSING and digest_of(now, self._pickled) != sent

    def _forget(self) -> None:
        """Nobody knows whether what was sent arrived."""
        if self._session is not None:
            self._session.ledger.forget(self._capture.digests)
            self._session.ambient.forget()
            self._session.modules.forget()


def fetch(notebook: Notebook, session: Session, name: str) -> Any:
    """Bring the session's variable home, whatever its size."""
    options = Options(
        endpoint=session.endpoint, session=session.name, outputs=(name,), capture=False, name=f"{name}.get()"
    )
    cell = RemoteCell(notebook, options, "")
    cell.fetches = True
    user_ns = notebook.shell.user_ns
    kept = user_ns.get(name)
    if isinstance(kept, RemoteValue) and kept.nbytes > WANTED_MAX:
        raise UsageError(
            f"{name} has {size_text(kept.nbytes)}, and at most {size_text(WANTED_MAX)} come home at a time: "
            f"make it smaller there, or bring parts of it, `%remote {name}[…]`"
        )
    try:
        cell.run()
        value = user_ns[name]
    finally:
        if kept is not None:
            user_ns[name] = kept
    if isinstance(value, RemoteValue):
        raise UsageError(f"{name} cannot come home: {_in_units(value._why)}")  # noqa: SLF001
    return value


def count_of(shell: Any) -> int:
    """The execution count of the cell that runs now; `execution_count` is the next one's already in newer IPythons."""
    named = getattr(shell.compile, "_filename_map", {})
    frame = sys._getframe(1)  # noqa: SLF001 - the cell's own code is on the stack, under its file name
    while frame is not None:
        if frame.f_code.co_filename in named:
            return int(named[frame.f_code.co_filename])
        frame = frame.f_back  # type: ignore[assignment]
    return int(shell.execution_count)


def _in_units(why: str) -> str:
    """`larger than 1048576 bytes` with a unit that people read."""
    return re.sub(r"(\d+) bytes", lambda found: size_text(int(found[1])), why)


def _named(session: Session) -> dict[str, Any]:
    return {"id": session.session_id, "name": session.name, "variables": len(session.names)}


def _title(lines: Sequence[str]) -> str:
    for line in lines:
        if line.strip() and not line.lstrip().startswith("%%remote"):
            return line.strip()[:60]
    return "cell"


def _last_name(source: str) -> str:
    last = source.rstrip().rsplit("\n", 1)[-1].strip()
    return last if last.isidentifier() else ""
