"""A task's options, as callers give them."""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.limits import NAME_MAX
from jupyter_fx.protocol.messages import TaskOptions

__all__ = ["task_options", "with_options"]


def with_options(options: TaskOptions, **changes: Any) -> TaskOptions:
    """A copy of options with changes."""
    return msgspec.structs.replace(options, **changes)


def task_options(**options: Any) -> TaskOptions | None:
    """TaskOptions of those that are not at their default, None when all are. `name` is cut to NAME_MAX characters."""
    given = {key: value for key, value in options.items() if value not in (None, "", 0, 0.0)}
    if "name" in given:
        given["name"] = str(given["name"])[:NAME_MAX]
    for key in ("timeout", "expires"):
        if key in given and given[key] < 0:
            raise UsageError(f"{key} is {given[key]} s: use a positive number of seconds")
    return TaskOptions(**given) if given else None
