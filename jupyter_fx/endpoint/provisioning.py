"""What an agent needs to have nodes: settings, provider, and what one node has. Looked up before it serves."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from jupyter_fx.auth.scrub import scrubbed
from jupyter_fx.endpoint.allocations import Allocations, sized
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.providers import Provider, ProviderError, make_provider
from jupyter_fx.endpoint.settings import Blocks, Endpoint

__all__ = ["Provision", "on_nodes", "provision"]

log = logging.getLogger(__name__)


class Provision(NamedTuple):
    """See the module."""

    settings: Blocks
    provider: Provider
    node: NodeSize
    allocations: Allocations


async def provision(home: Path, settings: Endpoint, blocks: Blocks) -> Provision | None:
    """What `c.Blocks` says; None when it names no provider. UsageError for what the scheduler will never run.

    From here on the agent's own environment is scrubbed: batch jobs inherit it.
    """
    if not blocks.provider:
        return None
    if not settings.keep_secrets:
        for name in set(os.environ) - set(scrubbed(os.environ)):
            del os.environ[name]
    provider = make_provider(blocks, home / "blocks")
    try:
        await asyncio.to_thread(provider.look)
    except ProviderError as error:
        # It may answer later; what a node has is not known until a manager says so.
        log.warning("%s cannot be asked what there is: %s", provider.label, error)
    node = sized(await asyncio.to_thread(provider.check), blocks, settings.workers)
    return Provision(blocks, provider, node, Allocations(provider, blocks, node, settings.workers))


def on_nodes(spec: ManagerSpec, settings: Endpoint, blocks: Blocks) -> ManagerSpec:
    """What managers on nodes are told: the rest (cores, memory, GPUs, environment) they find where they are.

    What has to outlive a block, results and logs, is written below the endpoint's directory, which nodes see too.
    """
    home = Path(spec.folder)
    return msgspec.structs.replace(
        spec,
        folder="",
        slots=settings.workers,
        python=settings.python,
        env={name: str(value) for name, value in settings.env.items()},
        spill=str(home / "spill"),
        logs=str(home / "task-logs"),
        sessions=str(home / "sessions"),
        files=str(home),
        sessions_hold_slots=True,
        scratch=blocks.scratch,
        gpus=list(blocks.gpu_devices),
        # Blocks on one machine would all pin to the same processors.
        pin_cores=blocks.pin_cores and blocks.provider != "local",
        keep_secrets=settings.keep_secrets,
    )
