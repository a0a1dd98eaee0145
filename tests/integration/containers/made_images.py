"""What the fixtures of this folder give."""

from __future__ import annotations

from typing import NamedTuple


class Images(NamedTuple):
    """A bare Python as a directory, as a SquashFS file, and in podman's store (empty where there is no podman)."""

    directory: str
    squashfs: str
    podman: str
