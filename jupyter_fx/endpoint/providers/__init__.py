"""How batch jobs are asked for, watched and ended: one small interface, this machine, Parsl's providers
and Kubernetes behind it.

Used by the agent alone, from a thread of its own: every method may take as long as the scheduler's commands do.
"""

from __future__ import annotations

from jupyter_fx.endpoint.providers.base import JobSpec, Provider, ProviderError
from jupyter_fx.endpoint.providers.choice import make_provider

__all__ = ["JobSpec", "Provider", "ProviderError", "make_provider"]
