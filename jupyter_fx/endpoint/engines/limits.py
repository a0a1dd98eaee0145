"""What an engine cannot do: said when it is asked for, each in one sentence with a cure. Pure."""

from __future__ import annotations

from typing import Final

from jupyter_fx.protocol.messages import Kind, Resources, TaskOptions

__all__ = ["cancel_refusal", "output_note", "refusal", "resources_refusal", "session_refusal", "silence_note", "title"]

_TITLES: Final = {"parsl": "Parsl", "dask": "Dask"}
_ELSEWHERE: Final = "use an endpoint that runs tasks itself (without c.Endpoint.engine)"


def title(engine: str) -> str:
    """Its name for people."""
    return _TITLES.get(engine, engine)


def session_refusal(engine: str) -> str:
    """Why no session is opened; empty without an engine."""
    if not engine:
        return ""
    return (
        f"this endpoint runs its tasks on {title(engine)}, which keeps no session for a notebook: call functions there "
        f"(@fx.remote, fx.map), or {_ELSEWHERE}"
    )


def resources_refusal(engine: str, resources: Resources) -> str:
    """Why these resources cannot be had; empty when they can."""
    if not engine:
        return ""
    asked = [
        *([f"{resources.cores} cores"] if resources.cores > 1 else []),
        *([f"{resources.memory / 2**30:.1f} GiB of memory"] if resources.memory else []),
        *([f"{resources.gpus} GPUs"] if resources.gpus else []),
        *(["a whole node"] if resources.exclusive else []),
        *(["an allocation of its own"] if resources.allocation else []),
    ]
    if asked:
        return (
            f"this endpoint runs its tasks on {title(engine)}, whose own configuration says what a worker has, so "
            f"{' and '.join(asked)} cannot be asked for task by task: leave that out, or {_ELSEWHERE}"
        )
    if resources.environment not in {"", "host"}:
        return (
            f"this endpoint runs its tasks in {title(engine)}'s workers, which start no environment "
            f"{resources.environment[:100]!r}: leave it out, or {_ELSEWHERE}"
        )
    return ""


def refusal(engine: str, kind: int, options: TaskOptions | None) -> str:
    """Why this task is not taken, its resources apart; empty when it is."""
    if not engine:
        return ""
    if kind == Kind.CELL:
        return session_refusal(engine)
    if options is not None and options.timeout:
        return (
            f"this endpoint runs its tasks on {title(engine)}, which cannot stop a running task, so timeout="
            f"{options.timeout:g} cannot be kept: leave it out, or {_ELSEWHERE}"
        )
    return ""


def cancel_refusal(engine: str) -> str:
    """Why a task that runs is not stopped."""
    return (
        f"not cancelled: it runs already, and {title(engine)} cannot stop a running task; it goes on to its end "
        "(what had not started is cancelled)"
    )


def output_note(engine: str) -> str:
    """What is said of a task that has run for a while."""
    return f"{title(engine)} has no live output: what this task prints, and how far it is, comes when it ends"


def silence_note(engine: str, said: str) -> str:
    """What is said of a task whose worker the engine has lost."""
    return (
        f"{title(engine)} says: {said}. Its worker may still be running: the task ends when it has written its result "
        "or is known to be dead"
    )
