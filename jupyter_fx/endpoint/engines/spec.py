"""What an engine's host is told."""

from __future__ import annotations

from jupyter_fx.endpoint.managerspec import ManagerSpec

__all__ = ["EngineSpec"]


class EngineSpec(ManagerSpec, kw_only=True):
    """`config`: the endpoint's configuration file, which has the engine's settings; `shared`: the directory that agent
    and workers share, where that is not the endpoint's own; `wait`: seconds before the engine is started; `slots` 0: as
    many as the engine says.
    """

    engine: str
    config: str
    shared: str = ""
    wait: float = 0.0
