"""`%fx` and its words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx_kernel import envverbs, keeping, sessionverbs, taskverbs
from jupyter_fx_kernel.attach import attach
from jupyter_fx_kernel.choosing import known_names
from jupyter_fx_kernel.notify import WORDS, notify
from jupyter_fx_kernel.session import Notebook
from jupyter_fx_kernel.using import OPTIONS, use

__all__ = ["command", "words"]


def command(notebook: Notebook, line: str) -> Any:
    """Carry out `%fx LINE`; prints, and returns what the verb gives. Raises UsageError for a word that is none."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"the line of %fx cannot be read: {error}") from None
    if not words:
        return _status(notebook)
    verb, *rest = words
    action = _VERBS.get(verb)
    if action is None:
        raise UsageError(f"%fx {verb}: there is no such command; there are {', '.join(sorted(_VERBS))}, and %fx alone")
    return action(notebook, rest)


def _status(notebook: Notebook) -> None:
    client = notebook.client
    who = client.request("whoami", {})
    print(f"hub       {client.address} (version {who.get('version')}), you are {who.get('user')}")
    for endpoint in client.request("endpoints.list", {}):
        chosen = "→" if endpoint["name"] == notebook.endpoint_of("") else " "
        counts = f"{endpoint.get('running', 0)} running, {endpoint.get('queued', 0)} waiting"
        why = f" ({endpoint['why']})" if endpoint.get("why") else ""
        print(f"endpoint {chosen}{endpoint['name']}: {str(endpoint.get('state', '')).lower()}{why}, {counts}")
        for line in _hours(endpoint.get("info") or {}):
            print(f"          {line}")
    sessionverbs.session(notebook, [])


def _hours(info: Mapping[str, Any]) -> Iterable[str]:
    """What an endpoint on a batch system has used, and what its accounts have left."""
    if "node_hours" in info:
        jobs = len(info.get("blocks") or ())
        yield f"{info['node_hours']:.1f} node-hours used, {jobs} job{'' if jobs == 1 else 's'} now"
    for one in info.get("budgets") or ():
        left = max(0.0, one["limit"] - one["used"])
        yield f"account {one['account']}: {left:,.1f} of {one['limit']:,.1f} {one['unit']} left"


_VERBS: dict[str, Callable[[Notebook, Sequence[str]], Any]] = {
    "attach": attach,
    "cancel": taskverbs.cancel,
    "close": sessionverbs.close,
    "debug": taskverbs.debug,
    "env": envverbs.env,
    "keep": keeping.keep,
    "logs": taskverbs.logs,
    "notify": notify,
    "session": sessionverbs.session,
    "tasks": taskverbs.tasks,
    "use": use,
    "who": sessionverbs.who,
}

# What may follow a verb, for completion; of other verbs nothing is known.
_FOLLOWS: dict[str, Callable[[Notebook], Iterable[str]]] = {
    "attach": known_names,
    "cancel": known_names,
    "logs": known_names,
    "notify": lambda _notebook: WORDS,
    "tasks": lambda _notebook: taskverbs.WORDS,
    "close": Notebook.session_names,
    "env": lambda _notebook: envverbs.WORDS,
    "keep": keeping.keepable,
    "session": lambda _notebook: sessionverbs.WORDS,
    "use": lambda notebook: [*notebook.endpoint_names(), *OPTIONS],
    "who": Notebook.session_names,
}


def words() -> dict[str, Callable[[Notebook], Iterable[str]]]:
    """Every verb, and what may follow it."""
    return {verb: _FOLLOWS.get(verb, lambda _notebook: ()) for verb in _VERBS}
