"""The kinds of records in an agent's journal, and what `data` holds in each. Pure."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCEPT",
    "DOUBT",
    "FORGET",
    "HEAD",
    "KEEP",
    "LEASE",
    "RESULT",
    "SESSION",
    "SESSION_AT",
    "SESSION_END",
    "START",
    "START_AT",
    "UNSTART",
]

HEAD: Final = 0
"""[generation, boot id]"""
ACCEPT: Final = 1
"""[LeasedTask, …]"""
START: Final = 2
"""[task_id, …]"""
UNSTART: Final = 3
"""[task_id, …]: they did not start after all."""
RESULT: Final = 4
"""[[Result, path of the file that is to be uploaded, or ""], …]"""
LEASE: Final = 8
"""[LeasedTask, …]: tasks that are held already come under a later lease."""
FORGET: Final = 5
"""[task_id, …]"""
SESSION: Final = 6
"""[SessionSpec, owner]: it is being opened."""
SESSION_END: Final = 7
"""[session_id]"""
DOUBT: Final = 9
"""why: what stood between what is before it and what follows is lost. A task that had not started may have."""
KEEP: Final = 10
"""[task_id, …]: finished tasks that the hub did not know; it asks for their results when it does."""
START_AT: Final = 11
"""[manager, [task_id, …]]: START at one of many managers."""
SESSION_AT: Final = 12
"""[SessionSpec, owner, manager]: it is being opened at one of many managers."""
