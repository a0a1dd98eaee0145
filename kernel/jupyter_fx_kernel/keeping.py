"""`%fx keep`: values that outlive their session, and how they are found again."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_fx.client import Ref, TaskFuture
from jupyter_fx.errors import RefLost, UsageError
from jupyter_fx_kernel.refs import KeptValue, RemoteValue, size_text
from jupyter_fx_kernel.session import Notebook

__all__ = ["keep", "keepable"]

_KEEP_WITHIN = 3600.0
"""Seconds that `%fx keep` waits: the session may be at a long cell, and the value may be large."""


def keepable(notebook: Notebook) -> list[str]:
    """Names that `%fx keep` takes."""
    return [name for name, value in notebook.shell.user_ns.items() if isinstance(value, RemoteValue)]


def keep(notebook: Notebook, words: Sequence[str]) -> None:
    """Have endpoints keep values beyond the end of their session, or find again what they keep."""
    if not words:
        _list_kept(notebook)
    for name in words:
        value = notebook.shell.user_ns.get(name)
        kept = _find_kept(notebook, name) if value is None else _keep(notebook, name, value)
        notebook.shell.user_ns[name] = kept
        print(f"{name} ({size_text(kept.size)}) is kept by {kept.endpoint}, whatever becomes of its session")


def _keep(notebook: Notebook, name: str, value: object) -> KeptValue:
    if isinstance(value, KeptValue):
        return value
    place = value._fx_place_ if isinstance(value, RemoteValue) else None
    if place is None:
        session = notebook.find("", "main")
        if session is None or name not in session.names:
            raise UsageError(
                f"%fx keep {name}: {name} is here and in no session of this notebook; `%fx who` lists what lives there"
            )
        described: dict[str, object] = {}
    else:
        place.check()
        session = next(s for s in notebook.sessions.values() if s.session_id == place.session)
        described = value.described if isinstance(value, RemoteValue) else {}
    task = notebook.keep(session, place.name if place is not None else name, asked=True)
    found = _ref_of(notebook, task)
    found.summary |= {key: described[key] for key in ("type", "shape", "dtype", "size") if described.get(key)}
    return KeptValue(found, name, session.endpoint, place)


def _find_kept(notebook: Notebook, name: str) -> KeptValue:
    """What was kept under this name, perhaps before this kernel started."""
    try:
        task = notebook.client.attach(f"keep {name}")
    except UsageError:
        raise UsageError(
            f"%fx keep {name}: there is no such variable here, and no endpoint keeps one; `%fx keep` lists what is kept"
        ) from None
    endpoint = notebook.client.request("tasks.get", {"task_id": task.task_id}).get("endpoint") or ""
    return KeptValue(_ref_of(notebook, task), name, str(endpoint))


def _ref_of(notebook: Notebook, task: TaskFuture) -> Ref:
    """The ref that a `keep` task left. Raises why it left none."""
    error = task.exception(_KEEP_WITHIN)
    if error is not None:
        raise error
    if task.outcome is None or task.outcome.ref is None:
        raise RefLost(f"the endpoint kept nothing under {task.name!r}: `%fx keep` again")
    return notebook.client.result_ref(task.task_id, task.outcome.ref)


def _list_kept(notebook: Notebook) -> None:
    rows = notebook.client.request("tasks.list", {"state": "SUCCEEDED", "limit": 1000})["tasks"]
    names = {str(row["name"])[5:]: row for row in reversed(rows) if str(row.get("name") or "").startswith("keep ")}
    for name, row in names.items():
        print(f"{name}  kept by {row.get('endpoint')}; `%fx keep {name}` finds it again")
    if not names:
        print("nothing is kept; `%fx keep NAME` has an endpoint keep a value beyond the end of its session")
