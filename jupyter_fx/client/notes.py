"""Remarks in the story of a task: what hub or endpoint says about it while it runs."""

from __future__ import annotations

from jupyter_fx.protocol.messages import Event, EventKind

__all__ = ["remark"]


def remark(event: Event) -> str:
    """The sentence that a NOTE says; empty for other events, and for notes that stand for something else."""
    if event.kind != EventKind.NOTE:
        return ""
    if isinstance(event.data, dict):
        return str(event.data.get("text") or "")
    return event.data if isinstance(event.data, str) else ""
