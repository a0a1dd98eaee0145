"""What `fx.progress` shares with the worker: there it tells the task's card, here whoever draws it is asked."""

from __future__ import annotations

from jupyter_fx_worker.bars import at_home, progress

__all__ = ["at_home", "progress"]
