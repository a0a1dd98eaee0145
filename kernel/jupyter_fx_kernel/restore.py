"""`%fx session restore`: the cells that made a session that is gone, run again in the order in which they ran.

What each cell took along is at the hub with its task (for as long as results are kept), so nothing of it has to be in
this notebook any more: it works after a restart of the kernel, too. Cells that failed are left out unless asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.ids import short_id
from jupyter_fx.payload import Encoded
from jupyter_fx.payload.cells import decode_cell, peek_cell
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import BlobRef, TaskOptions
from jupyter_fx_kernel.card import Card
from jupyter_fx_kernel.card import duration as span
from jupyter_fx_kernel.cell import RemoteCell
from jupyter_fx_kernel.options import Options
from jupyter_fx_kernel.refs import KeptValue, RemoteValue
from jupyter_fx_kernel.session import Notebook, Session

__all__ = ["Again", "Plan", "carry_out", "plan", "table"]

_PAGE = 200
_CELLS_MAX = 5000
_WIDEST = 60


@dataclass(frozen=True)
class Again:
    """One cell. `left_out`: why it will not run again; "" if it will."""

    task_id: str
    name: str
    count: int
    took: float
    left_out: str


@dataclass
class Plan:
    """The session that is gone, and its cells in their order."""

    session_id: str
    endpoint: str
    name: str
    notebook: str
    ended: float
    reason: str
    cells: list[Again] = field(default_factory=list)


def plan(notebook: Notebook, word: str, *, everything: bool = False) -> Plan:
    """Which cells would run. `word`: the end of a session's id, or a name; without it the one that ended last.

    Raises UsageError when there is none.
    """
    info = _ended(notebook, word)
    made = Plan(
        str(info["session_id"]),
        str(info.get("endpoint") or ""),
        str(info.get("name") or "main"),
        str(info.get("notebook") or ""),
        float(info.get("ended") or 0),
        str(info.get("reason") or ("its kernel is gone" if _left(notebook, info) else "")),
    )
    made.cells = [_again(row, everything=everything) for row in _tasks(notebook, made.session_id)]
    if not made.cells:
        raise UsageError(f"the session {short_id(made.session_id)} ran no cells: there is nothing to run again")
    return made


def _ended(notebook: Notebook, word: str) -> dict[str, Any]:
    """SessionInfo of the one that is meant: of this kernel, else of this notebook's file, else (by its id) any."""
    open_ = notebook.client.request("sessions.list", {})
    rows: list[dict[str, Any]] = [row for row in open_ if row.get("state") == "CLOSING" or _left(notebook, row)]
    rows += notebook.client.request("sessions.list", {"ended": True})
    path = os.environ.get("JPY_SESSION_NAME", "")
    own = [row for row in rows if row.get("kernel_id") == notebook.kernel_id]
    own = own or [row for row in rows if path and row.get("notebook") == path]
    if word:
        found = [row for row in own if row.get("name") == word]
        found = found or [row for row in rows if len(word) >= 6 and str(row["session_id"]).endswith(word)]
    else:
        found = own
    for row in found:
        if _tasks(notebook, str(row["session_id"]), first=True):
            return row
    what = f"no session {word!r} that ended" if word else "no session of this notebook that ended and had run cells"
    others = ", ".join(
        f"{short_id(str(row['session_id']))} ({row.get('notebook') or row.get('name')})" for row in rows[:5]
    )
    raise UsageError(f"there is {what}" + (f"; others are {others}: `%fx session restore ID`" if others else ""))


def _left(notebook: Notebook, row: dict[str, Any]) -> bool:
    """Whether it is open still, but of a kernel that is gone: nobody will use it again."""
    return not row.get("attended", True) and row.get("epoch") != notebook.epoch


def _tasks(notebook: Notebook, session_id: str, *, first: bool = False) -> list[dict[str, Any]]:
    """Its cells in the order of their submission; with `first` one of them, if there is one."""
    found: list[dict[str, Any]] = []
    before: int | None = None
    while len(found) < _CELLS_MAX:
        asked = {"session": session_id, "limit": 20 if first else _PAGE, "details": True}
        page = notebook.client.request("tasks.list", {**asked, **({"before": before} if before is not None else {})})
        found += [row for row in page["tasks"] if _is_cell(row)]
        before = page.get("next")
        if before is None or (first and found):
            break
    return found[::-1]


def _is_cell(row: dict[str, Any]) -> bool:
    name = str(row.get("name") or "")
    return row.get("kind") == "cell" and not name.startswith("keep ") and not name.endswith(".get()")


def _again(row: dict[str, Any], *, everything: bool) -> Again:
    state = TaskState[str(row["state"])]
    error = row.get("error") or {}
    left_out = ""
    if not state.terminal:
        left_out = "it has not ended"
    elif state is not TaskState.SUCCEEDED and (not everything or not row.get("started")):
        left_out = f"{state.name.lower()}" + (f": {error['etype']}" if error.get("etype") else "")
    took = max(0.0, float(row.get("finished") or 0) - float(row.get("started") or 0)) if row.get("started") else 0.0
    count = int((row.get("origin") or {}).get("cell") or 0)
    return Again(str(row["task_id"]), str(row.get("name") or "cell"), count, took, left_out)


def table(made: Plan) -> str:
    """The text that shows a plan."""
    ended = f", {span(time.time() - made.ended)} ago" if made.ended else ""
    lines = [
        f"session {made.name} on {made.endpoint} ({short_id(made.session_id)}) ended{ended}: {made.reason or 'closed'}"
    ]
    for cell in made.cells:
        label = f"In[{cell.count}]" if cell.count else "cell"
        what = f"left out ({cell.left_out})" if cell.left_out else f"took {span(cell.took)}"
        lines.append(f"  {label:<8} {cell.name[:_WIDEST]:<{_WIDEST}}  {what}")
    runs = sum(not cell.left_out for cell in made.cells)
    lines.append(
        f"{runs} of {len(made.cells)} cells are to run again; what they did outside of the session, they do again"
    )
    return "\n".join(lines)


def carry_out(notebook: Notebook, made: Plan) -> None:
    """Run the cells in this notebook's session, one after another, until one fails."""
    session = notebook.session(made.endpoint, _plain_name(made))
    notebook.notices.clear()
    done = 0
    for cell in made.cells:
        if cell.left_out:
            continue
        label = f"In[{cell.count}]" if cell.count else short_id(cell.task_id)
        begun = time.monotonic()
        if why := _run(notebook, session, cell):
            print(f"  {label} {cell.name[:_WIDEST]}: {why}")
            print(f"stopped there, after {done} cell{'s' * (done != 1)}; run what is missing by hand")
            return
        done += 1
        print(f"  {label} {cell.name[:_WIDEST]}  {span(time.monotonic() - begun)}")
    print(f"{done} cell{' has' if done == 1 else 's have'} run again; `%fx who` shows what is there")


def _plain_name(made: Plan) -> str:
    """The name that the notebook knows the session by: at a second endpoint the hub knows it by a longer one."""
    return made.name.removesuffix(f"-{made.endpoint}")


def _run(notebook: Notebook, session: Session, cell: Again) -> str:
    """Run one again as it was submitted; why it did not succeed, or nothing."""
    client = notebook.client
    try:
        found = client.request("tasks.payload", {"task_id": cell.task_id})
    except FxError as error:
        return error.message
    options = TaskOptions(
        name=cell.name[:200], origin={"kernel_id": notebook.kernel_id, "cell": cell.count, "again": cell.task_id}
    )
    options.parts = [BlobRef(str(name), int(size)) for name, size in found.get("parts") or ()]
    pieces: Sequence[Any] = [b""]
    if found.get("blob"):
        options.blob = BlobRef(str(found["blob"]), int(found["size"]))
    else:
        pieces = [bytes(found["payload"])]
        source, filename = peek_cell(pieces[0])
        notebook.cells[filename] = (cell.count, source.split("\n"))
    encoded = Encoded(pieces, len(pieces[0]), list(found.get("inputs") or ()))
    future = client.submit_cell(session.handle, encoded, options=options)
    session.cells += 1
    try:
        failed = future.exception()
    except KeyboardInterrupt:
        future.interrupt()
        raise
    if future.outcome is not None:
        _bring_home(notebook, session, cell, future)
    if failed is None:
        return ""
    return f"{type(failed).__name__}: {failed}".partition("\n")[0][:300]


def _bring_home(notebook: Notebook, session: Session, cell: Again, future: Any) -> None:
    """Bind what came home where this notebook has nothing of its own under that name: what is here is newer."""
    home = decode_cell(future.outcome)
    namespace = notebook.shell.user_ns
    mine = {
        name
        for name in {*home.values, *home.stay, *home.modules}
        if name in namespace and not isinstance(namespace[name], RemoteValue)
    }
    for names in (home.values, home.stay, home.modules):
        for name in mine & set(names):
            if not isinstance(namespace[name], KeptValue):
                del names[name]
    session.names |= mine
    runner = RemoteCell(notebook, Options(endpoint=session.endpoint, session=session.name), "")
    runner.settle(session, home, Card(future.task_id, session.endpoint), cell.count)
