"""What is asked of the peers' workers: next to nothing, so that what is measured is the way there and back."""

from __future__ import annotations

import os
import time

__all__ = ["inc", "whoami"]


def inc(x: int) -> int:
    """One more than ``x``."""
    return x + 1


def whoami(seconds: float) -> int:
    """The worker's process id, after holding its slot for ``seconds`` so that the next one goes to another worker."""
    time.sleep(seconds)
    return os.getpid()
