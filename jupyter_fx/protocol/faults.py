"""Errors as they travel: an FxError to an ErrorInfo and back."""

from __future__ import annotations

from jupyter_fx.errors import FxError, InfrastructureError, RemoteError, by_name
from jupyter_fx.protocol.messages import ErrorInfo

__all__ = ["error_from", "error_info"]


def error_info(error: BaseException) -> ErrorInfo:
    """How `error` is told to the other side. An error that is not ours tells its type, and its text, nothing more."""
    if isinstance(error, FxError):
        return ErrorInfo(type(error).__name__, error.message, dict(error.details))
    return ErrorInfo(type(error).__name__, str(error))


def error_from(info: ErrorInfo, task_id: str | None = None) -> FxError:
    """The error that the other side tells of; InfrastructureError if its type is not one of jupyter_fx.errors."""
    found = by_name(info.etype)
    if found is None:
        return InfrastructureError(f"{info.etype}: {info.message}", task_id=task_id)
    error = found(info.message, task_id=task_id)
    error.details = dict(info.details)
    if isinstance(error, RemoteError):
        for name in ("etype", "module", "remote_traceback"):
            if isinstance(value := info.details.get(name), str):
                setattr(error, name, value)
    return error
