"""The words of `%fx` that are about sessions and what lives in them: `who`, `keep`, `session`, `close`."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_fx.errors import UsageError
from jupyter_fx_kernel import namespace
from jupyter_fx_kernel.refs import RemoteValue
from jupyter_fx_kernel.session import Notebook

__all__ = ["WORDS", "close", "keep", "keepable", "session", "who"]


def who(notebook: Notebook, words: Sequence[str]) -> None:
    """Show the variables of a session."""
    found = notebook.find("", words[0] if words else "main")
    if found is None:
        print("no session is open, so no variable lives there")
        return
    user_ns = notebook.shell.user_ns
    print(namespace.table(namespace.look(found, user_ns), found, user_ns))


WORDS: tuple[str, ...] = ()


def keepable(notebook: Notebook) -> list[str]:
    """Names that `%fx keep` takes."""
    return [name for name, value in notebook.shell.user_ns.items() if isinstance(value, RemoteValue)]


def keep(notebook: Notebook, words: Sequence[str]) -> None:
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


def session(notebook: Notebook, words: Sequence[str]) -> None:
    """Show this notebook's sessions."""
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


def close(notebook: Notebook, words: Sequence[str]) -> None:
    """Close a session."""
    kill = "--kill" in words
    names = [word for word in words if word != "--kill"]
    session = notebook.close("", names[0] if names else "main", kill=kill)
    print(f"session {session.name} on {session.endpoint} closed; {len(session.names)} variables are gone there")
