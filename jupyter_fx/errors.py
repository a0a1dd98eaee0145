"""Every error that jupyter-fx raises on purpose.

::

    FxError
    ├── UsageError (also ValueError)      what you asked for cannot be done as asked
    │   └── ConfigError                   a configuration file or trait is wrong
    ├── RemoteError                       your code failed there
    ├── InfrastructureError               the machinery failed, not your code
    │   ├── WorkerLost
    │   ├── EndpointUnreachable
    │   ├── HubUnavailable
    │   ├── StorageFull
    │   ├── TaskLost
    │   ├── TaskPoisoned
    │   ├── TaskExpired
    │   ├── TaskTimeout
    │   ├── DependencyFailed
    │   ├── RefLost
    │   └── QuotaExceeded
    ├── ProtocolError
    │   ├── LocalProtocolError            this side broke the protocol: a bug here
    │   └── RemoteProtocolError           the other side did: refuse it
    │       └── VersionMismatch
    ├── PayloadError                      a value cannot travel
    ├── AuthError
    └── UntrustedResult

The docstring of a class is its default message. ``retry_is_safe`` says whether doing the same again can do no harm:
``True``: nothing has run; ``False``: something may have run; ``None``: it depends on the user's code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

__all__ = [
    "AuthError",
    "ConfigError",
    "DependencyFailed",
    "EndpointUnreachable",
    "FxError",
    "HubUnavailable",
    "InfrastructureError",
    "LocalProtocolError",
    "PayloadError",
    "ProtocolError",
    "QuotaExceeded",
    "RefLost",
    "RemoteError",
    "RemoteProtocolError",
    "StorageFull",
    "TaskExpired",
    "TaskLost",
    "TaskPoisoned",
    "TaskTimeout",
    "UntrustedResult",
    "UsageError",
    "VersionMismatch",
    "WorkerLost",
    "by_name",
    "notebook_lines",
]


class FxError(Exception):
    """Something went wrong in jupyter-fx."""

    retry_is_safe: ClassVar[bool | None] = None

    def __init__(self, message: str | None = None, *, task_id: str | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
        self.task_id = task_id
        self.details = details
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.task_id, self.details)

    def _render_traceback_(self) -> list[str]:
        # IPython asks for it.
        return notebook_lines(self)


def _rebuild(cls: type[FxError], message: str, task_id: str | None, details: dict[str, Any]) -> FxError:
    return cls(message, task_id=task_id, **details)


draw_remote: Callable[[BaseException, TracebackType | None], list[str] | None] | None = None
"""Draws an error of a task below its caller's frames; the kernel's extension puts its own here. None: it cannot."""


def notebook_lines(error: BaseException) -> list[str]:
    """How IPython shows `error`: with the frames of whoever called us, and none of ours."""
    drawn = draw_remote(error, _callers(error.__traceback__)) if draw_remote is not None else None
    if drawn is not None:
        return drawn
    shell = sys.modules["IPython"].get_ipython()
    cause, suppressed = error.__cause__, error.__suppress_context__
    if isinstance(cause, RemoteError):
        # The note with the remote traceback says the same.
        error.__cause__, error.__suppress_context__ = None, True
    try:
        found: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, _callers(error.__traceback__))
    finally:
        error.__cause__, error.__suppress_context__ = cause, suppressed
    return found


def _callers(traceback: TracebackType | None) -> TracebackType | None:
    kept = []
    while traceback is not None:
        if str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("jupyter_fx"):
            break
        kept.append(traceback)
        traceback = traceback.tb_next
    made: TracebackType | None = None
    for one in reversed(kept):
        made = TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return made


class UsageError(FxError, ValueError):
    """What was asked for cannot be done as asked."""

    retry_is_safe = True


class ConfigError(UsageError):
    """The configuration is wrong."""


class RemoteError(FxError):
    """The code failed where it ran.

    ``etype``, ``module`` and ``remote_traceback`` (text) describe the original exception, which is the
    ``__cause__`` where it could be brought home.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        task_id: str | None = None,
        etype: str = "Exception",
        module: str = "builtins",
        remote_traceback: str = "",
        **details: Any,
    ) -> None:
        super().__init__(
            message, task_id=task_id, etype=etype, module=module, remote_traceback=remote_traceback, **details
        )
        self.etype = etype
        self.module = module
        self.remote_traceback = remote_traceback


class InfrastructureError(FxError):
    """The machinery failed, not your code."""

    retry_is_safe = False


class WorkerLost(InfrastructureError):
    """The worker process died while it ran this task.

    ``details`` holds ``signal`` (name or None), ``exit_code``, ``rss`` (peak resident bytes) and ``last_lines``.
    """


class EndpointUnreachable(InfrastructureError):
    """The endpoint does not answer; its tasks may still be running there."""


class HubUnavailable(InfrastructureError):
    """The fx hub does not answer. What it acknowledged is safe on its disk; start it again or wait."""

    retry_is_safe = True


class StorageFull(InfrastructureError):
    """The disk of the fx hub is nearly full, so it takes no new tasks. Free space there and submit again."""

    retry_is_safe = True


class TaskLost(InfrastructureError):
    """The task was started; whether it ended cannot be known. Declare retries=N if running it twice does no harm."""


class TaskPoisoned(InfrastructureError):
    """The task killed its worker three times and is not tried again."""


class TaskExpired(InfrastructureError):
    """The task waited longer than its `expires` and was not started."""

    retry_is_safe = True


class TaskTimeout(InfrastructureError):
    """The task ran longer than its `timeout` and was stopped."""


class DependencyFailed(InfrastructureError):
    """A task that this one waits for did not succeed."""

    retry_is_safe = True


class RefLost(InfrastructureError):
    """The value that this reference names is gone with the session or the store that held it."""


class QuotaExceeded(InfrastructureError):
    """A quota of the fx hub is used up."""

    retry_is_safe = True


class ProtocolError(FxError):
    """The two sides of a link do not understand each other."""


class LocalProtocolError(ProtocolError):
    """This side used the protocol wrongly."""


class RemoteProtocolError(ProtocolError):
    """The other side of the link broke the protocol."""


class VersionMismatch(RemoteProtocolError):
    """The two sides speak versions of the protocol that have none in common. Upgrade the older one."""

    retry_is_safe = True


class PayloadError(FxError):
    """A value cannot travel between here and there."""

    retry_is_safe = True


class AuthError(FxError):
    """The fx hub does not accept this token."""

    retry_is_safe = True


class UntrustedResult(FxError):
    """The result comes from an endpoint that you do not own, in a format that could run code here."""


def by_name(name: str) -> type[FxError] | None:
    """The class of this tree that is called `name`, or None: how errors that crossed the wire find their type."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, FxError) else None
