"""How far the agent's inventory may be believed. Pure.

Of a journal that lacks its end the agent says so (`sure` is False). What such an inventory does not name is for the hub
to give up as soon as it is `settled`: when no manager of the earlier generation has anything that this agent does not
know.
"""

from __future__ import annotations

from collections.abc import Container

from jupyter_fx.ids import is_id
from jupyter_fx.protocol.messages import Inventory

__all__ = ["Trust", "foreign"]


def foreign(user: str, owner: str, *ids: str) -> str:
    """Why work of `owner` is not taken by the endpoint of `user` ("" before it is known); "": it may be.

    `ids` are those of a task and a session, or empty: they become names of files here, so they must be ids.
    """
    if not all(is_id(one) for one in ids if one):
        return "the id of a task or session is 32 hexadecimal digits"
    return "this endpoint runs its owner's tasks only" if user and owner != user else ""


class Trust:
    """`why`: the reason for which the journal is not sure."""

    def __init__(self, generation: str, boot_id: str, *, sure: bool, why: str) -> None:
        self._generation, self._boot_id, self._sure, self._why = generation, boot_id, sure, why
        self._waiting = False
        self._ended: set[str] = set()
        self.strangers: dict[str, str] = {}
        """Tasks in managers (which) that outlived an agent whose journal was lost: nobody can be told of them."""

    def began(self, *, adopting: bool) -> None:
        """The journal was replayed; with `adopting` a manager that outlived the last agent will report."""
        self._waiting = adopting

    def reported(self, held: list[str], known: Container[str], manager: str = "", *, last: bool = True) -> bool:
        """A manager holds these (`last`: no other one has still to speak); whether the inventory is settled by that."""
        before = self.settled
        self._waiting = self._waiting and not last
        others = {task_id: at for task_id, at in self.strangers.items() if at != manager}
        here = {task_id: manager for task_id in held if task_id not in known and task_id not in self._ended}
        self.strangers = {**others, **here}
        if last:
            self._ended.clear()
        return self.settled and not before

    def gone(self, task_id: str) -> bool:
        """The manager will not have this task any more; whether the inventory is settled by that."""
        if task_id not in self.strangers:
            if self._waiting:
                self._ended.add(task_id)
            return False
        del self.strangers[task_id]
        return self.settled

    def strangers_at(self, manager: str) -> list[str]:
        """Those in one of the managers."""
        return [task_id for task_id, at in self.strangers.items() if at == manager]

    @property
    def settled(self) -> bool:
        """Whether nothing more will become known of what the inventory lacks."""
        return not self._sure and not self._waiting and not self.strangers

    def inventory(self) -> Inventory:
        """The inventory, still empty."""
        return Inventory(self._generation, self._boot_id, self._sure, [], True, self._why, self.settled)
