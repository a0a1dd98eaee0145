"""A card that tests have in common."""

from __future__ import annotations

from typing import Any

from jupyter_fx.ids import new_id
from jupyter_fx_kernel.card import Card

__all__ = ["full"]


def full(**changes: Any) -> Card:
    card = Card(
        new_id(),
        "polaris",
        name="train(net)",
        session={"id": new_id(), "name": "main", "variables": 3},
        origin={"kernel_id": "k", "cell": 4},
        state="running",
        elapsed=12.0,
    )
    for name, value in changes.items():
        setattr(card, name, value)
    return card
