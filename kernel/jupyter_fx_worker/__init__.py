"""The remote side of jupyter-fx: zygote and workers, and the two codecs that they share with the rest.

Runs inside environments that are not ours: Python >= 3.9, standard library and cloudpickle, nothing else. Imports
nothing of the other packages; `payload` and `endpoint` may import `frames`, `envelope`, `binding` and `bundle` from
here.
"""

from __future__ import annotations

from typing import Any, Callable

__all__ = ["progress", "report_to"]

_report: Callable[[str, Any], None] | None = None


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Tell whoever watches this task how far it is. Does nothing outside of a worker.

    `done` and `total` are in any unit that the caller likes; `note` is one short line of text.
    """
    if _report is not None:
        _report("progress", {"done": done, "total": total, "note": note[:500]})


def report_to(report: Callable[[str, Any], None]) -> None:
    """Send what this module is told to `report(kind, data)`. The worker's own business."""
    global _report  # noqa: PLW0603 - one worker per process
    _report = report
