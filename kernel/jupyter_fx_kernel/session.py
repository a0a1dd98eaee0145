"""The notebook's sessions: one per (kernel, epoch, endpoint, name), opened by the first cell that needs it."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_fx.client import HubClient, SessionHandle, TaskFuture
from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.payload.cells import Ambient, encode_keep
from jupyter_fx.protocol.messages import Resources, SessionSpec, TaskOptions, Watch
from jupyter_fx_kernel.capture import Ledger
from jupyter_fx_kernel.modules import Served
from jupyter_fx_kernel.refs import RemoteValue

__all__ = ["Notebook", "Session", "kernel_id_of"]

ENDING_SOON = 300.0
"""Seconds before the end of a session's job from which on each cell says so."""
_SAME_WITHIN = 5.0
"""Seconds that a worker has for finding out whether a value is still the one that was kept."""
_SAID_ENDED = float("inf")
_NAMES_KEPT = 10.0
_NAMES_WITHIN = 0.3
_CONNECTION_FILE = re.compile(r"kernel-(.+)\.json$")


def kernel_id_of(shell: Any) -> str:
    """The id that the Jupyter server gave this kernel, by its connection file's name; else this process's own."""
    try:
        file = shell.kernel.config["IPKernelApp"]["connection_file"]
    except (AttributeError, KeyError, TypeError):
        file = ""
    if not file:
        try:
            from ipykernel.connect import get_connection_file

            file = get_connection_file()
        except Exception:  # noqa: BLE001 - not a kernel: a terminal, or a shell embedded in something else
            file = ""
    found = _CONNECTION_FILE.search(str(file))
    return found.group(1) if found else f"process-{os.getpid()}"


class Kept(NamedTuple):
    """A variable that its endpoint keeps. `cells`: how many cells its session had been given by then."""

    task: TaskFuture
    version: int
    cells: int
    asked: bool
    """Whether the user asked for it; else it was an argument of a call outside of the session."""


class Session:
    """One remote session of this notebook, and what it holds of the notebook's names."""

    def __init__(self, handle: SessionHandle, endpoint: str, name: str) -> None:
        self.handle = handle
        self.endpoint = endpoint
        self.name = name
        self.resources = Resources()
        """What it was opened with."""
        self.ledger = Ledger(str(handle.session_id))
        self.ambient = Ambient()
        self.modules = Served()
        self.names: set[str] = set()
        """Variables that are known to live there."""
        self.table: dict[str, dict[str, Any]] = {}
        """What its worker told of them last."""
        self.versions: dict[str, int] = {}
        """How many objects each name has stood for, as far as is known."""
        self.kept: dict[str, Kept] = {}
        self.cells = 0
        self.lost = ""
        self.announced = 0.0
        """Until when it lives, as was said last; infinity: it was said that it has ended."""

    def ends_soon(self, now: float) -> str:
        """What its user should know in time: the batch job that it lives in has an end. Empty while that is far off."""
        ends = self.handle.info.get("ends")
        if not isinstance(ends, int | float) or ends - now > ENDING_SOON:
            return ""
        left = max(0.0, ends - now)
        said = f"{left / 60:.0f} min" if left >= 120 else f"{left:.0f} s"
        keeps = "`-o NAME` brings home what you need, `%fx keep NAME` has the endpoint keep it"
        return f"the job of this session ends in {said}, and its variables with it: {keeps}"

    @property
    def session_id(self) -> str:
        """Its id at the hub."""
        return str(self.handle.session_id)

    def assigned(self, name: str) -> int:
        """The name stands for another object now; its version."""
        self.versions[name] = version = self.versions.get(name, 0) + 1
        return version

    @property
    def alive(self) -> bool:
        """Whether the next cell may use it."""
        return not self.gone

    @property
    def gone(self) -> str:
        """Why it cannot be used any more; empty while it can."""
        if self.lost:
            return self.lost
        if self.handle.ended:
            return str(self.handle.reason or f"it is {self.handle.state.name.lower()}")
        return ""


class Notebook:
    """This kernel's side: its hub, its default endpoint, its sessions."""

    def __init__(self, shell: Any, connect: Callable[[], HubClient]) -> None:
        self.shell = shell
        self.kernel_id = kernel_id_of(shell)
        self.epoch = secrets.token_hex(8)
        self.endpoint = os.environ.get("JUPYTER_FX_ENDPOINT", "")
        self.sessions: dict[tuple[str, str], Session] = {}
        self.wanted: dict[tuple[str, str], Resources] = {}
        """(endpoint, session): what that session opens with; one that is not named here as `main` does."""
        self.cells: dict[str, tuple[int, list[str]]] = {}
        """Cells that ran remotely: filename -> (execution count, lines), for tracebacks."""
        self.notices: list[str] = []
        self.debug = False
        """Whether remote cells send the reprs of their values when they fail: `%fx debug on`."""
        self.environments: dict[Any, dict[str, Any]] = {}
        """What environments of endpoints were found to be like, for `%fx env`."""
        self._connect = connect
        self._client: HubClient | None = None
        self._endpoints: tuple[float, list[str]] = (0.0, [])

    def wants_values(self) -> bool:
        """Whether a failing cell shall send the reprs in its frames: somebody means to look at them."""
        drawer = getattr(self.shell, "InteractiveTB", None)
        return self.debug or getattr(drawer, "mode", "") == "Verbose" or bool(getattr(self.shell, "call_pdb", False))

    @property
    def client(self) -> HubClient:
        """The client of this process's hub, found or started at its first use."""
        self._client = self._connect()
        return self._client

    def endpoint_of(self, asked: str) -> str:
        """The endpoint's name: `asked`, the notebook's own, or the hub's default."""
        return asked or self.endpoint or self.client.endpoint or "local"

    @property
    def known_endpoint(self) -> str:
        """The same as far as it is known without a hub, else empty: what front ends ask (labextension/src/front)."""
        return self.endpoint or (self._client.endpoint if self._client is not None else "")

    def session_names(self) -> list[str]:
        """Names of the sessions that are open."""
        return sorted({name for (_, name), session in self.sessions.items() if session.alive})

    def endpoint_names(self) -> list[str]:
        """Names of endpoints, as far as they can be told at once: for completion. Finds no hub and starts none."""
        asked, names = self._endpoints
        if self._client is not None and time.monotonic() - asked > _NAMES_KEPT:
            try:
                told = self._client.request("endpoints.list", {}, timeout=_NAMES_WITHIN, again=False)
                names = [str(endpoint["name"]) for endpoint in told]
            except FxError:
                pass
            self._endpoints = (time.monotonic(), names)
        return sorted({*names, *(endpoint for endpoint, _ in self.sessions)})

    def check_endpoint(self, name: str) -> None:
        """Raise UsageError naming the nearest ones if there is no endpoint of this name."""
        if not any(key[0] == name and session.alive for key, session in self.sessions.items()):
            self.client.request("endpoints.get", {"name": name})

    def find(self, asked: str, name: str) -> Session | None:
        """The session if it is open."""
        session = self.sessions.get((self.endpoint_of(asked), name))
        return session if session is not None and session.alive else None

    def resources(self, endpoint: str, name: str) -> Resources:
        """What a session that is opened now is to have."""
        return self.wanted.get((endpoint, name)) or self.wanted.get((endpoint, "main")) or Resources()

    def session(self, asked: str, name: str) -> Session:
        """The session of this name at the endpoint, opened if need be; a notice says what went with a lost one."""
        endpoint = self.endpoint_of(asked)
        session = self.sessions.get((endpoint, name))
        if session is not None:
            if session.alive:
                return session
            session.announced = _SAID_ENDED
            if session.handle.error is None:  # else there was none, and its cells have said why
                self.notices.append(
                    f"a new session on {endpoint}: the one before ended ({_how(session)}); "
                    f"{self.lost_with(session)}{_again(session)}"
                )
        self.check_endpoint(endpoint)
        spec = SessionSpec(
            session_id=new_id(),
            endpoint=endpoint,
            kernel_id=self.kernel_id,
            epoch=self.epoch,
            name=self._lease_name(endpoint, name),
            cwd=str(Path.cwd()),
            notebook=os.environ.get("JPY_SESSION_NAME", ""),
            resources=self.resources(endpoint, name),
        )
        handle = self.client.open_session(spec)
        session = self.sessions[endpoint, name] = Session(handle, endpoint, name)
        session.resources = spec.resources
        return session

    def _lease_name(self, endpoint: str, name: str) -> str:
        """(kernel, epoch, name) is a lease: the same name at a second endpoint needs another."""
        taken = any(key[1] == name and key[0] != endpoint and s.alive for key, s in self.sessions.items())
        return f"{name}-{endpoint}"[:63].rstrip("-") if taken else name

    def news(self) -> list[str]:
        """What ought to be said about sessions: one ends soon, or has ended by itself. Each is told once."""
        told: list[str] = []
        for session in self.sessions.values():
            ends_at = float(session.handle.info.get("ends_at") or 0.0)
            where = f"the session {session.name} on {session.endpoint}"
            if session.gone:
                if session.announced < _SAID_ENDED and not session.lost and session.handle.error is None:
                    told.append(f"{where} ended: {_how(session)}; {self.lost_with(session)}{_again(session)}")
                session.announced = _SAID_ENDED
            elif not ends_at:
                session.announced = 0.0
            elif session.announced != ends_at and (left := ends_at - time.time()) > 0:
                session.announced = ends_at
                why = session.handle.info.get("ends_why") or "it is idle"
                told.append(f"{where} ends in {max(1, round(left / 60))} min ({why}): `%fx session renew` keeps it")
        return told

    def keep(self, session: Session, name: str, *, asked: bool = False) -> TaskFuture:
        """Have the session's endpoint keep the variable as it is now; the task whose result it is.

        What is kept already is used again as long as it is the same: the worker says so, when a cell has run since.
        """
        version, old = session.versions.get(name, 0), session.kept.get(name)
        if old is not None and old.version == version and not (old.task.done() and old.task.exception()):
            same = old.cells == session.cells
            if not same and old.task.done():
                answer, _why = session.handle.ask("unchanged", {"name": name}, within=_SAME_WITHIN)
                same = bool(answer.get("same"))
            if same:
                session.kept[name] = old._replace(cells=session.cells, asked=old.asked or asked)
                return old.task
        options = TaskOptions(name=f"keep {name}", result_max=1, origin={"kernel_id": self.kernel_id})
        task = self.client.submit_cell(session.handle, encode_keep(name), options=options, watch=Watch.STATES)
        session.kept[name] = Kept(task, version, session.cells, asked)
        if old is not None and not old.asked:
            self._drop_kept(old.task.task_id)
        return task

    def _drop_kept(self, task_id: str) -> None:
        """Nobody asked for it to be kept: let it be forgotten if no task could take it any more."""
        try:
            active = self.client.request("tasks.list", {"state": "active", "limit": 2})["tasks"]
            if all(str(info.get("name") or "").startswith("keep ") for info in active):
                self.client.request("refs.drop", {"ref_id": task_id})
        except FxError:
            return  # its endpoint forgets it by itself, later

    def close(self, asked: str, name: str, *, kill: bool = False) -> Session:
        """Close the session. Raises UsageError when there is none."""
        session = self.find(asked, name)
        if session is None:
            raise UsageError(
                f"this notebook has no session {name!r} on {self.endpoint_of(asked)}; `%fx session` lists them"
            )
        session.handle.close(kill=kill)
        session.lost = "you closed it"
        return session

    def lost_with(self, session: Session) -> str:
        """What went with a session: the variables that this notebook has nothing of but a handle."""
        if not session.names:
            return "it held no variables"
        here = self.shell.user_ns
        gone = sorted(name for name in session.names if name not in here or isinstance(here[name], RemoteValue))
        rest = len(session.names) - len(gone)
        if not gone:
            return f"{'its variable is' if rest == 1 else f'its {rest} variables are'} here, too"
        named = ", ".join(gone[:8]) + (f" and {len(gone) - 8} more" if len(gone) > 8 else "")
        also = f"; {rest} other{'s are' if rest > 1 else ' is'} here, too" if rest else ""
        return f"gone with it: {named}{also}"

    def leave(self) -> None:
        """The kernel ends: its sessions end when their cells have. Does not wait."""
        for session in self.sessions.values():
            if session.alive:
                try:
                    session.handle.close("its kernel ended", when_idle=True)
                except (FxError, OSError):
                    return


def _again(session: Session) -> str:
    return "; `%fx session restore` runs its cells again (`--dry-run` shows which)" if session.cells else ""


def _how(session: Session) -> str:
    return (
        session.gone.removeprefix("the worker process died while it ran this task: ")
        .partition("; ")[0]
        .partition(" (")[0]
    )
