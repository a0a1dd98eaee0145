"""The table of operations: what a row is, and how a method enters it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from jupyter_fx_hub import auth

__all__ = ["OPERATIONS", "Arg", "Caller", "Operation", "operation"]


class Caller(NamedTuple):
    """Who asks. `local`: over the Unix socket of the hub's own user."""

    identity: auth.Identity
    local: bool = False

    @property
    def user(self) -> str:
        """Their name."""
        return self.identity.user


class Arg(NamedTuple):
    """One argument of an operation."""

    type: type
    about: str
    needed: bool = False


class Operation(NamedTuple):
    """One row of the table."""

    name: str
    scope: str
    about: str
    args: dict[str, Arg]
    method: str
    path: str
    run: Callable[[Any, Caller, dict[str, Any]], Any]


OPERATIONS: Final[dict[str, Operation]] = {}
_Run = Callable[[Any, Caller, dict[str, Any]], Any]


def operation(name: str, scope: str, rest: str = "", /, **args: Arg) -> Callable[[_Run], _Run]:
    """Enter a method into the table. `rest`: "METHOD /path"; parts of the path in braces are arguments."""

    def enter(run: _Run) -> _Run:
        method, _, path = rest.partition(" ")
        about = (run.__doc__ or "").strip().splitlines()[0]
        OPERATIONS[name] = Operation(name, scope, about, args, method, path, run)
        return run

    return enter
