"""What accounts have left, where Slurm limits them: the limit and the use that it enforces, in hours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from jupyter_fx.endpoint.providers.base import run

__all__ = ["Budget", "budgets"]

_NAMES: Final = {"node": "node-hours", "cpu": "core-hours", "gres/gpu": "GPU-hours", "billing": "billing hours"}
_KEYS: Final = re.compile(r"(\w+)=(\S*)")
_LIMITS: Final = re.compile(r"([^,=]+)=(\d+)\((\d+)\)")


class Budget(NamedTuple):
    """`used` and `limit` of an account, in `unit` ("node-hours")."""

    account: str
    unit: str
    used: float
    limit: float


def budgets(accounts: Sequence[str]) -> list[Budget]:
    """The limits of these accounts as a whole; nothing where there are none, or where Slurm tells nobody."""
    if not accounts:
        return []
    text = run(["scontrol", "-o", "show", "assoc_mgr", "flags=assoc", f"accounts={','.join(accounts)}"])
    found = []
    for line in text.splitlines():
        keys = dict(_KEYS.findall(line))
        # Of a user's share there is a line of its own: what the account has is for all of them.
        if keys.get("UserName") or keys.get("Account") not in accounts:
            continue
        limits = {name: (int(limit) / 60, int(used) / 60) for name, limit, used in _LIMITS.findall(keys["GrpTRESMins"])}
        for name, unit in _NAMES.items():
            if name in limits:
                limit, used = limits[name]
                found.append(Budget(keys["Account"], unit, used, limit))
    return found
