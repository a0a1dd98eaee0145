"""Run a notebook cell or a function on a supercomputer as if it were local.

The public names are loaded when they are first used: `import jupyter_fx as fx` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_fx.client import (
        Executor,
        HubClient,
        MapResult,
        Ref,
        RemoteFunction,
        SessionHandle,
        TaskFuture,
        as_completed,
        attach,
        connect,
        disconnect,
        endpoints,
        progress,
        ref,
        remote,
        tasks,
        wait,
    )
    from jupyter_fx.errors import (
        AuthError,
        FxError,
        HubUnavailable,
        InfrastructureError,
        PayloadError,
        RemoteError,
        UsageError,
        WorkerLost,
    )

__version__ = "0.1.0.dev0"

_CLIENT = (
    "Executor",
    "HubClient",
    "MapResult",
    "Ref",
    "RemoteFunction",
    "SessionHandle",
    "TaskFuture",
    "as_completed",
    "attach",
    "connect",
    "disconnect",
    "endpoints",
    "progress",
    "ref",
    "remote",
    "tasks",
    "wait",
)
_ERRORS = (
    "AuthError",
    "FxError",
    "HubUnavailable",
    "InfrastructureError",
    "PayloadError",
    "RemoteError",
    "UsageError",
    "WorkerLost",
)

__all__ = [
    "AuthError",
    "Executor",
    "FxError",
    "HubClient",
    "HubUnavailable",
    "InfrastructureError",
    "MapResult",
    "PayloadError",
    "Ref",
    "RemoteError",
    "RemoteFunction",
    "SessionHandle",
    "TaskFuture",
    "UsageError",
    "WorkerLost",
    "__version__",
    "as_completed",
    "attach",
    "connect",
    "disconnect",
    "endpoints",
    "progress",
    "ref",
    "remote",
    "tasks",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name == "progress" and (told := _workers_progress()) is not None:
        value = told
    elif name in _CLIENT:
        from jupyter_fx import client

        use_embedded()
        value = getattr(client, name)
    elif name in _ERRORS:
        from jupyter_fx import errors

        value = getattr(errors, name)
    else:
        raise AttributeError(f"module 'jupyter_fx' has no attribute {name!r}")
    globals()[name] = value
    return value


def _workers_progress() -> Any:
    """Inside of a worker: its own `progress`, for which nothing else has to be loaded."""
    import sys

    bars = sys.modules.get("jupyter_fx_worker.bars")
    return bars.progress if bars is not None and bars.reporting() else None


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


def use_embedded() -> None:
    """Let clients that are told no hub find or start the embedded one.

    The client knows nothing of the embedded hub (it is a layer above): this module, above all layers, joins the two.
    """
    from jupyter_fx.client import default

    if default.finder is None:
        from jupyter_fx.embedded import find_hub

        default.finder = find_hub


def load_ipython_extension(ipython: Any) -> None:
    """Implement `%load_ext jupyter_fx`."""
    import jupyter_fx_kernel

    use_embedded()
    jupyter_fx_kernel.load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Implement `%unload_ext jupyter_fx`."""
    import jupyter_fx_kernel

    jupyter_fx_kernel.unload_ipython_extension(ipython)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from jupyter_fx.server import FxExtension

    return [{"module": "jupyter_fx.server", "app": FxExtension}]
