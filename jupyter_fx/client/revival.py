"""Starts a hub again that went away, if it is one that this client's maker has started or found."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from jupyter_fx.errors import FxError

if TYPE_CHECKING:
    from jupyter_fx.client.core import Core

__all__ = ["Revival"]


class Revival:
    """`revive` starts the hub, and waits; None: it is not ours to start. `keeper` looks after its endpoint. `core` is
    the link that there is.
    """

    def __init__(
        self,
        revive: Callable[[], None] | None,
        keeper: Callable[[], str | None] | None,
        core: Callable[[], Core | None],
    ) -> None:
        self.down = False
        """Whether the link was lost and has not come back."""
        self._revive, self._keeper, self._core = revive, keeper, core
        self._reviving = threading.Lock()
        self._closed = False

    @property
    def looks_after(self) -> bool:
        """Whether there is anything to look after."""
        return self._keeper is not None

    def lost(self, _error: FxError) -> None:
        """The link is lost."""
        self.down = True
        core = self._core()
        # A hub that was stopped on purpose stays so until somebody wants something of it.
        if core is not None and (core.futures or not core.idle):
            self.begin()

    def back(self) -> None:
        """The link is there again."""
        self.down = False

    def start(self) -> None:
        """Start the hub if it is gone. Waits; raises why not."""
        if self._revive is not None:
            self._revive()

    def begin(self) -> None:
        """The same, in a thread of its own, again and again as it is asked for."""
        if self._revive is not None and not self._closed and not self._reviving.locked():
            threading.Thread(target=self._once, name="jupyter-fx-revive", daemon=True).start()

    def look_after(self) -> str | None:
        """Now and then, on a thread that may wait, while something is waited for."""
        if self.down:
            self._once()
        elif self._keeper is not None:
            return self._keeper()
        return None

    def _once(self) -> None:
        if self._revive is None or not self._reviving.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(FxError, OSError):
                self._revive()
            core = self._core()
            if core is not None and core.thread.is_alive():
                core.loop.call_soon_threadsafe(core.peer.retry_now)
        finally:
            self._reviving.release()

    def close(self) -> None:
        """The client is closed: nobody wants a hub."""
        self._closed = True

    def after_fork(self) -> None:
        """In a forked child: whoever held the lock is not here."""
        self._reviving = threading.Lock()
