"""Talks to an fx hub: HubClient, futures, Executor, @remote, refs, sessions.

Used by the kernel's magics, the command line and by users through `jupyter_fx`; it knows nothing of who started
the hub.
"""

from __future__ import annotations

from jupyter_fx.client.bars import progress
from jupyter_fx.client.default import Address, attach, connect, default_client, disconnect, endpoints, tasks
from jupyter_fx.client.executor import Executor
from jupyter_fx.client.futures import TaskFuture, as_completed, wait
from jupyter_fx.client.hub import HubClient
from jupyter_fx.client.refs import Ref, ref
from jupyter_fx.client.remoting import MapResult, RemoteFunction, remote
from jupyter_fx.client.sessions import SessionHandle

__all__ = [
    "Address",
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
    "default_client",
    "disconnect",
    "endpoints",
    "progress",
    "ref",
    "remote",
    "tasks",
    "wait",
]
