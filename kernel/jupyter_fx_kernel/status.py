"""`%fx` and its words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from jupyter_fx.errors import UsageError
from jupyter_fx_kernel import taskverbs
from jupyter_fx_kernel.refs import RemoteValue
from jupyter_fx_kernel.session import Notebook

__all__ = ["command"]


def command(notebook: Notebook, line: str) -> None:
    """Carry out `%fx LINE`; prints. Raises UsageError for a word that is none."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"the line of %fx cannot be read: {error}") from None
    if not words:
        _status(notebook)
        return
    verb, *rest = words
    action = _VERBS.get(verb)
    if action is None:
        raise UsageError(f"%fx {verb}: there is no such command; there are {', '.join(sorted(_VERBS))}, and %fx alone")
    action(notebook, rest)


def _status(notebook: Notebook) -> None:
    client = notebook.client
    who = client.request("whoami", {})
    print(f"hub       {client.address} (version {who.get('version')}), you are {who.get('user')}")
    for endpoint in client.request("endpoints.list", {}):
        chosen = "→" if endpoint["name"] == notebook.endpoint_of("") else " "
        counts = f"{endpoint.get('running', 0)} running, {endpoint.get('queued', 0)} waiting"
        why = f" ({endpoint['why']})" if endpoint.get("why") else ""
        print(f"endpoint {chosen}{endpoint['name']}: {str(endpoint.get('state', '')).lower()}{why}, {counts}")
    _session(notebook, [])


def _use(notebook: Notebook, words: Sequence[str]) -> None:
    if len(words) != 1 or words[0].startswith("-"):
        raise UsageError("%fx use NAME chooses the endpoint of this notebook's remote cells, as in `%fx use local`")
    notebook.check_endpoint(words[0])
    notebook.endpoint = words[0]
    print(f"remote cells of this notebook run on {words[0]}; its session opens with the first one")


def _who(notebook: Notebook, words: Sequence[str]) -> None:
    session = notebook.find("", words[0] if words else "main")
    if session is None:
        print("no session is open, so no variable lives there")
        return
    for name in sorted(session.names):
        value = notebook.shell.user_ns.get(name)
        here = "stays there" if isinstance(value, RemoteValue) else "here and there"
        print(f"{name}  {here}")


def _keep(notebook: Notebook, words: Sequence[str]) -> None:
    """Bring values that stayed home, for a session that ends takes them along."""
    from jupyter_fx_kernel.cell import fetch

    for name in words:
        value = notebook.shell.user_ns.get(name)
        if not isinstance(value, RemoteValue):
            raise UsageError(f"%fx keep {name}: {name} is no remote value of this notebook; `%fx who` lists them")
        place = value._fx_place_
        session = next((s for s in notebook.sessions.values() if s.session_id == place.session), None)
        place.check()
        if session is not None:
            notebook.shell.user_ns[name] = fetch(notebook, session, place.name)
            print(f"{name} is here now")


def _session(notebook: Notebook, words: Sequence[str]) -> None:
    if words:
        raise UsageError(
            "%fx session takes no argument; `%%remote --session NAME` opens a second one, `%fx close NAME` closes it"
        )
    if not notebook.sessions:
        print("session   none yet: the first %%remote cell opens it")
    for session in notebook.sessions.values():
        info = session.handle.info
        state = session.gone or session.handle.state.name.lower()
        python = (
            ".".join(map(str, info["python"][:3]))
            if isinstance(info.get("python"), list | tuple)
            else info.get("python")
        )
        details = [
            f"python {python}" if python else "",
            f"pid {info['pid']}" if info.get("pid") else "",
            str(info.get("cwd") or ""),
        ]
        told = ", ".join(part for part in details if part)
        counts = f"{session.cells} cells, {len(session.names)} variables"
        print(f"session   {session.name} on {session.endpoint}: {state}, {counts}; {told}")


def _close(notebook: Notebook, words: Sequence[str]) -> None:
    kill = "--kill" in words
    names = [word for word in words if word != "--kill"]
    session = notebook.close("", names[0] if names else "main", kill=kill)
    print(f"session {session.name} on {session.endpoint} closed; {len(session.names)} variables are gone there")


_VERBS: dict[str, Callable[[Notebook, Sequence[str]], None]] = {
    "attach": taskverbs.attach,
    "cancel": taskverbs.cancel,
    "close": _close,
    "keep": _keep,
    "logs": taskverbs.logs,
    "session": _session,
    "tasks": taskverbs.tasks,
    "use": _use,
    "who": _who,
}
