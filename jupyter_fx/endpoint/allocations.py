"""What tasks and sessions may choose about how nodes are asked for, and what that comes to here.

The offer is the scheduler's, asked when the agent starts and now and then afterwards; what it does not tell is left to
it, so that a wrong choice is found at the latest when its job is refused.
"""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint.need import NodeSize, Place
from jupyter_fx.endpoint.providers import Provider
from jupyter_fx.endpoint.settings import Blocks
from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.allocation import chosen, offered, text_of

__all__ = ["Allocations", "sized"]


def sized(size: NodeSize, blocks: Blocks, workers: int) -> NodeSize:
    """A node as tasks see it: what it has, in slots, and for how long."""
    if blocks.seconds:
        size = size._replace(seconds=blocks.seconds - min(blocks.drain_lead_seconds, blocks.seconds / 4))
    if blocks.gpu_devices:
        size = size._replace(gpus=len(blocks.gpu_devices))
    if workers:
        size = size._replace(slots=workers, worker_cores=max(1, size.slots // workers))
    return size


class Allocations:
    """See the module. `base`: the largest node with nothing chosen; `workers`: on each node, 0: as cores."""

    def __init__(self, provider: Provider, settings: Blocks, base: NodeSize, workers: int = 0) -> None:
        self._provider = provider
        self._settings = settings
        self._base = base
        self._workers = workers
        self._known: dict[str, tuple[Place, Blocks]] = {}

    def place(self, text: str) -> Place:
        """What an allocation comes to. (What cannot be one is refused too: anybody may have sent it.)"""
        return self._looked(text)[0]

    def blocks(self, text: str) -> Blocks:
        """The settings of its blocks."""
        return self._looked(text)[1]

    def written(self) -> list[tuple[str, str]]:
        """(as it was written, what that comes to) of those that were seen."""
        return [(text, place.allocation) for text, (place, _) in self._known.items() if text and not place.refusal]

    def offer(self) -> dict[str, Any]:
        """For AgentStatus: what can be chosen, by word; what is so by itself; what accounts have left."""
        own = {word: getattr(self._settings, word) for word in ("account", "partition", "qos", "walltime")}
        return {
            "offers": self._provider.offers(),
            "itself": {word: value for word, value in own.items() if value},
            "budgets": [one._asdict() for one in self._provider.budgets()],
        }

    def look(self) -> None:
        """Ask the scheduler again; ProviderError. May take long."""
        self._provider.look()

    def looked(self) -> None:
        """It was asked: what was worked out before may be wrong."""
        self._known.clear()

    def _looked(self, text: str) -> tuple[Place, Blocks]:
        found = self._known.get(text)
        if found is None:
            if len(self._known) > 1000:
                self._known.clear()
            found = self._known[text] = self._work_out(text)
        return found

    def _work_out(self, text: str) -> tuple[Place, Blocks]:
        if not text:
            return Place("", self._base), self._settings
        try:
            normal = self._normal(text)
            if not normal:
                return Place("", self._base), self._settings
            if why := offered(normal, self._provider.offers(), self._provider.label):
                return Place(normal, self._base, why), self._settings
            blocks = self._provider.settings_of(normal)
            size = self._provider.check(normal)
        except UsageError as error:
            return Place(text, self._base, error.message), self._settings
        return Place(normal, sized(size, blocks, self._workers)), blocks

    def _normal(self, text: str) -> str:
        """Without what is so by itself: who asks for the usual partition gets the usual blocks."""
        usual = {word: getattr(self._settings, word) for word in chosen(text)}
        if not usual.get("partition"):
            usual["partition"] = self._provider.default_partition
        return text_of({word: value for word, value in chosen(text).items() if value != usual[word]})
