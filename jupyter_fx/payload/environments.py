"""What an environment is like, asked by name: the worker package knows, on this side and on the other."""

from __future__ import annotations

from jupyter_fx_worker import inventory

__all__ = ["describe", "digest", "versions"]

describe = inventory.describe
digest = inventory.digest
versions = inventory.versions
