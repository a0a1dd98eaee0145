"""The words of `%fx` that are about sessions and what lives in them: `who`, `session`, `close`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.ids import short_id
from jupyter_fx_kernel import namespace, restore
from jupyter_fx_kernel.card import duration as span
from jupyter_fx_kernel.refs import size_text
from jupyter_fx_kernel.session import Notebook, Session

__all__ = ["WORDS", "close", "session", "who"]

ALL_IDLE = 600.0
"""Seconds after which `%fx session close --all-idle` takes a session for idle, when it is not told."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def who(notebook: Notebook, words: Sequence[str]) -> None:
    """Show the variables of a session."""
    found = notebook.find("", words[0] if words else "main")
    if found is None:
        print("no session is open, so no variable lives there")
        return
    user_ns = notebook.shell.user_ns
    print(namespace.table(namespace.look(found, user_ns), found, user_ns))


def session(notebook: Notebook, words: Sequence[str]) -> None:
    """Show this notebook's sessions, or do something with one of them."""
    if not words:
        _show(notebook)
        return
    action = _ACTIONS.get(words[0])
    if action is None:
        raise UsageError(
            f"%fx session {words[0]}: there are `%fx session`, {', '.join(f'`%fx session {word}`' for word in WORDS)}; "
            "`%%remote --session NAME` opens a second session"
        )
    action(notebook, words[1:])


# --- show ---


def _show(notebook: Notebook) -> None:
    if not notebook.sessions:
        print("session   none yet: the first %%remote cell opens it")
    told = _infos(notebook)
    for one in notebook.sessions.values():
        for line in _lines(one, told.pop(one.session_id, {})):
            print(line)
    if told:
        print("sessions of other notebooks:")
        for info in sorted(told.values(), key=lambda info: -float(info.get("idle") or 0)):
            print(f"          {_other(info)}")


def _infos(notebook: Notebook) -> dict[str, dict[str, Any]]:
    """SessionInfo of the user's sessions that are open, by id; nothing while the hub is away."""
    try:
        return {str(info["session_id"]): info for info in notebook.client.request("sessions.list", {})}
    except FxError:
        return {}


def _lines(one: Session, info: dict[str, Any]) -> list[str]:
    state = one.gone or one.handle.state.name.lower()
    if one.handle.error is not None:
        return [f"session   {one.name} on {one.endpoint}: not opened: {one.handle.error.message}"]
    if one.gone:
        lost = "; `%fx session restore` runs its cells again" if one.cells else ""
        return [f"session   {one.name} on {one.endpoint}: ended ({state}){lost}"]
    clock = "a cell runs" if info.get("busy") else f"idle {span(float(info.get('idle') or 0))}"
    if info.get("ends_at"):
        clock += f", ends in {span(float(info['ends_at']) - time.time())} if it stays so"
    about = namespace.look(one, {}, within=1.0).about if not info.get("busy") else {}
    known = one.handle.info
    python = about.get("python") or known.get("python")
    details = [
        f"id {short_id(one.session_id)}",
        f"on node {known['node']}" if known.get("node") else "",
        f"its job ends at {time.strftime('%H:%M', time.localtime(known['ends']))}" if known.get("ends") else "",
        f"python {'.'.join(map(str, python[:3]))}" if isinstance(python, list | tuple) else "",
        f"pid {known['pid']}" if known.get("pid") else "",
        f"{size_text(int(about['rss']))} of memory" if about.get("rss") else "",
        f"{one.cells} cell{'s' * (one.cells != 1)}, {len(one.names)} variable{'s' * (len(one.names) != 1)}",
        f"in {about.get('cwd') or known.get('cwd') or ''}",
    ]
    first = f"session   {one.name} on {one.endpoint}: {state}" + (f", {clock}" if info else "")
    return [first, "          " + ", ".join(part for part in details if part)]


def _other(info: dict[str, Any]) -> str:
    kernel = str(info.get("kernel_id"))
    notebook = str(info.get("notebook") or "") or (kernel if kernel.startswith("process-") else f"kernel {kernel[:8]}")
    clock = "a cell runs" if info.get("busy") else f"idle {span(float(info.get('idle') or 0))}"
    alone = "" if info.get("attended", True) else ", its kernel is gone"
    who = f"{notebook} ({info.get('name')}) on {info.get('endpoint')}"
    return f"{short_id(str(info['session_id']))}  {who}: {clock}{alone}"


# --- renew, new, close ---


def _one(notebook: Notebook, words: Sequence[str], verb: str) -> Session:
    if len(words) > 1:
        raise UsageError(f"%fx session {verb} takes the name of one session, or nothing for the main one")
    name = words[0] if words else "main"
    found = notebook.find("", name)
    if found is None:
        raise UsageError(
            f"this notebook has no open session {name!r} on {notebook.endpoint_of('')}; `%fx session` lists"
        )
    return found


def _renew(notebook: Notebook, words: Sequence[str]) -> None:
    one = _one(notebook, words, "renew")
    info = one.handle.renew()
    ends = info.get("ends_at")
    left = f"; it ends in {span(float(ends) - time.time())} if it stays idle" if ends else ""
    print(f"session {one.name} on {one.endpoint} begins its idle time anew{left}")


def _new(notebook: Notebook, words: Sequence[str]) -> None:
    name = words[0] if words else "main"
    if notebook.find("", name) is not None:
        close(notebook, words)
    opened = notebook.session("", name)
    notebook.notices.clear()
    print(f"a new session {opened.name} on {opened.endpoint}, with no variables")


def close(notebook: Notebook, words: Sequence[str]) -> None:
    """Close a session of this notebook, one by its id, or all of the user's that have been idle."""
    if "--all-idle" in words:
        _close_idle(notebook, [word for word in words if word != "--all-idle"])
        return
    kill = "--kill" in words
    names = [word for word in words if word != "--kill"]
    if len(names) > 1:
        raise UsageError("%fx close takes one NAME or id, and --kill; or --all-idle")
    name = names[0] if names else "main"
    if notebook.find("", name) is None and (other := _by_id(notebook, name)):
        asked = {"session_id": other["session_id"], "reason": "its user closed it from another notebook", "kill": kill}
        notebook.client.request("sessions.close", asked)
        print(f"closed {_other(other)}")
        return
    closed = notebook.close("", name, kill=kill)
    print(f"session {closed.name} on {closed.endpoint} closed; {notebook.lost_with(closed)}")


def _by_id(notebook: Notebook, word: str) -> dict[str, Any] | None:
    if len(word) < 6:
        return None
    found = [info for key, info in _infos(notebook).items() if key.endswith(word)]
    return found[0] if len(found) == 1 else None


def _close_idle(notebook: Notebook, words: Sequence[str]) -> None:
    least = _seconds(words[0]) if words else ALL_IDLE
    own = {one.session_id for one in notebook.sessions.values()}
    idle = [
        info
        for key, info in _infos(notebook).items()
        if key not in own and not info.get("busy") and float(info.get("idle") or 0) >= least
    ]
    for info in idle:
        asked = {"session_id": info["session_id"], "reason": "its user closed all idle sessions", "when_idle": True}
        notebook.client.request("sessions.close", asked)
        print(f"closed {_other(info)}")
    if not idle:
        print(f"no session of another notebook has been idle for {span(least)}; `%fx session` lists them")


def _seconds(text: str) -> float:
    number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1.0)
    try:
        value = float(number) * unit
    except ValueError:
        value = -1.0
    if not 0 <= value < 10**9:
        raise UsageError(f"{text!r} is no duration: write 90, 90s, 5m, 2h or 1d")
    return value


def _restore(notebook: Notebook, words: Sequence[str]) -> None:
    options = [word for word in words if word.startswith("-")]
    rest = [word for word in words if not word.startswith("-")]
    if set(options) - {"--dry-run", "--all"} or len(rest) > 1:
        raise UsageError("%fx session restore takes the id or name of an ended session, --dry-run and --all")
    plan = restore.plan(notebook, rest[0] if rest else "", everything="--all" in options)
    print(restore.table(plan))
    if "--dry-run" in options:
        print("nothing was run")
    else:
        restore.carry_out(notebook, plan)


_ACTIONS: dict[str, Callable[[Notebook, Sequence[str]], None]] = {
    "close": close,
    "new": _new,
    "renew": _renew,
    "restore": _restore,
}
WORDS = tuple(_ACTIONS)
