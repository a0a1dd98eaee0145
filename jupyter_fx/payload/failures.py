"""Failures of a map in words: the same here and where they happen."""

from __future__ import annotations

from jupyter_fx_worker.failures import said, shown_item

__all__ = ["said", "shown_item"]
