"""What a cell of another notebook, or of this one before it was restarted, left: its names, bound here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_fx.payload.cells import CellHome, bind, decode_cell, encode_cell
from jupyter_fx.protocol.limits import HOME_LIMIT
from jupyter_fx.protocol.messages import TaskOptions
from jupyter_fx_kernel.modules import come_home
from jupyter_fx_kernel.session import Notebook

__all__ = ["bring"]

_SHOWN = 8


def bring(
    notebook: Notebook, home: CellHome, info: Mapping[str, Any], wanted: Sequence[str], *, settled: bool = False
) -> list[str]:
    """Bind what the notebook lacks, and what is wanted; what there is to say about the others.

    With `settled` only `wanted` counts, and so it does for a cell of a session that this notebook has now: what it left
    was brought home when it ended.
    """
    user_ns = notebook.shell.user_ns
    settled = settled or any(s.session_id == info.get("session_id") for s in notebook.sessions.values())
    bound, kept, notices = [], [], []
    for name, value in home.values.items():
        if name in wanted or (name not in user_ns and not settled):
            user_ns[name] = bind(value, user_ns) if name in home.bind else value
            bound.append(name)
        elif not settled:
            kept.append(name)
    for name, module in home.modules.items():
        if name not in user_ns and not settled:
            come_home(user_ns, name, module)
    for name in home.stay:
        if name in wanted:
            notices += _fetched(notebook, str(info.get("session_id") or ""), name)
        elif not settled:
            kind = home.stay[name].get("type", "object")
            notices.append(
                f"{name} ({kind}) stayed in its session: `%fx attach … -o {name}` brings it while that lives"
            )
    if bound and not settled:
        notices.append(f"bound here: {_list(bound)}")
    if kept:
        notices.append(f"kept as they are here: {_list(kept)}; `%fx attach … -o {kept[0]}` takes the task's")
    missing = [name for name in wanted if name not in home.values and name not in home.stay]
    if missing:
        notices.append(f"-o {','.join(missing)}: the task assigned no such name")
    if home.problem:
        notices.append(home.problem)
    return notices


def _list(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _fetched(notebook: Notebook, session_id: str, name: str) -> list[str]:
    """Ask the session that it stayed in for the value; what there is to say."""
    user_ns = notebook.shell.user_ns
    pieces = encode_cell(
        {},
        namespace=user_ns,
        source="",
        filename="<fx-cell:fetch>",
        count=0,
        want=[name],
        home_limit=HOME_LIMIT,
        silent=True,
    )
    options = TaskOptions(name=f"{name}.get()", timeout=600.0)
    future = notebook.client.submit_cell(session_id, pieces, options=options)
    try:
        home = decode_cell(future.result())
    except Exception as error:  # noqa: BLE001 - said, not raised: the rest of the task is here
        return [f"{name} stayed in its session, which cannot give it any more: {error}"]
    if name not in home.values:
        return [f"{name} cannot come home: {home.why.get(name, 'it is not in its session any more')}"]
    user_ns[name] = bind(home.values[name], user_ns) if name in home.bind else home.values[name]
    return []
