"""What is said of a worker that died."""

from __future__ import annotations

import signal
from typing import Any

from jupyter_fx.endpoint.crash import lost_error


def test_who_killed_the_worker_and_who_only_lost_its_result_are_told_apart() -> None:
    died: dict[str, Any] = {"doing": "it ran this task", "status": int(signal.SIGKILL), "rss": 1 << 20}
    died["last_words"] = b"on my way\n"
    killer, other = lost_error(**died), lost_error(**died, over=True)
    assert killer.etype == "WorkerLost"
    assert killer.message.startswith("the worker process died while it ran this task: it was ended by SIGKILL")
    # The hub counts WorkerLost alone towards POISONED.
    assert other.etype == "TaskLost"
    assert "this task had ended" in other.message
    assert killer.details == other.details
    assert killer.details["last_lines"] == ["on my way"]
