"""Which provider the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_fx.endpoint.providers.base import Provider
from jupyter_fx.endpoint.providers.batch import ParslProvider
from jupyter_fx.endpoint.providers.kubernetes import KubernetesProvider
from jupyter_fx.endpoint.providers.local import LocalProvider

__all__ = ["make_provider"]


def make_provider(settings: Any, blocks: Path) -> Provider:
    """The provider of `c.Blocks`; `blocks` is the directory of all blocks' directories."""
    if settings.provider == "local":
        return LocalProvider(blocks, walltime=settings.seconds)
    if settings.provider == "kubernetes":
        return KubernetesProvider(settings, blocks)
    return ParslProvider(settings.provider, settings)
