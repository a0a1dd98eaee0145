"""RemoteValue: a variable that stayed in the remote session, under its name in the notebook."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_fx.errors import FxError, PayloadError, RefLost
from jupyter_fx_kernel import tracebacks

__all__ = ["LARGER", "Place", "RemoteValue"]

LARGER = "larger than"
"""How the reason begins that a value which can travel stayed where it is."""


@dataclass
class Place:
    """Where a value is. `alive()` says whether its session still lives, `fetch()` brings it home."""

    name: str
    session: str
    endpoint: str
    kind: str
    cell: str
    alive: Callable[[], bool]
    fetch: Callable[[str], Any]

    def check(self) -> None:
        """Raise RefLost when the session is gone."""
        if not self.alive():
            raise RefLost(
                f"{self.name} lived in a remote session on {self.endpoint} that is gone: "
                f"run {self.cell} again, which made it"
            )


class _There:
    """The session's own namespace, when this is unpickled in it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("__main__",)


class RemoteValue:
    """Stands for a variable that is too large to come home by itself, or cannot be pickled.

    In remote cells of the same session its name means the variable itself. `.get()` brings the value home whatever its
    size.
    """

    def __init__(self, place: Place, described: Mapping[str, Any], why: str = "") -> None:
        self._fx_place_ = place
        self.described = dict(described)
        self._why = why

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The value's shape, where it has one."""
        shape = self.described.get("shape")
        return tuple(shape) if isinstance(shape, list | tuple) else None

    @property
    def dtype(self) -> str | None:
        """The name of the value's dtype, where it has one."""
        return self.described.get("dtype")

    @property
    def nbytes(self) -> int:
        """Bytes, as estimated there."""
        return int(self.described.get("size") or 0)

    def get(self) -> Any:
        """Bring the value home. Raises RefLost when its session is gone, PayloadError when it cannot be pickled."""
        place = self._fx_place_
        try:
            place.check()
            if not self._can_travel:
                raise PayloadError(
                    f"{place.name} cannot come home because it cannot be pickled ({self._why}): use it in remote "
                    "cells, or make plain data from it there"
                )
            return place.fetch(place.name)
        except FxError as error:
            if "_render_traceback_" not in vars(error):
                tracebacks.show_as(error, tracebacks.plain(error))
            raise

    @property
    def _can_travel(self) -> bool:
        return not self._why or self._why.startswith(LARGER)

    def __reduce__(self) -> tuple[Any, ...]:
        self._fx_place_.check()
        return operator.attrgetter(self._fx_place_.name), (_There(),)

    def __repr__(self) -> str:
        described = self.described
        words = [str(described.get("type", "object")).removeprefix("numpy.")]
        if self.shape is not None:
            words.append(str(self.shape))
        if self.dtype:
            words.append(self.dtype)
        words.append(size_text(self.nbytes))
        place = self._fx_place_
        gone = "" if place.alive() else " (lost)"
        how = ".get() brings it here" if self._can_travel else "it cannot be pickled: use it in remote cells"
        return f"<remote {place.name}: {', '.join(words)}, on {place.endpoint}{gone}; {how}>"


def size_text(size: int) -> str:
    """`812 B`, `3.4 KiB`, `12.0 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
