"""What tests of jupyter-fx, ours and yours, are made of: a clock that stands, links joined in memory.

Shipped, and imported by no module of the product. Names load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_fx.testing.clocks import FakeClock
    from jupyter_fx.testing.wires import FakeLink, FakeWire

__all__ = ["FakeClock", "FakeLink", "FakeWire"]

_HOMES = {"FakeClock": "clocks", "FakeLink": "wires", "FakeWire": "wires"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
