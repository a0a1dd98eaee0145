"""The WebSocket /jupyter-fx/live: what a browser tab follows. Messages: docs/server-api.md."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketHandler

from jupyter_fx.ids import is_id
from jupyter_fx.server.feeds import Feeds
from jupyter_fx.server.overview import REFRESH, Overview
from jupyter_fx.server.tabs import Tab

__all__ = ["LiveHandler"]

MESSAGE_MAX: Final = 16 * 1024
"""Bytes of one message from a tab."""


class Follow(msgspec.Struct, tag_field="op", tag="follow", forbid_unknown_fields=True):
    """Tell me this task's story from event `first` on; without `output` its states alone. `group`: of a map, how it
    stands."""

    task_id: str
    first: int = 0
    output: bool = False
    group: bool = False


class Unfollow(msgspec.Struct, tag_field="op", tag="unfollow", forbid_unknown_fields=True):
    """No more of this task, or map."""

    task_id: str
    group: bool = False


class Look(msgspec.Struct, tag_field="op", tag="look", forbid_unknown_fields=True):
    """I show endpoints, sessions and tasks, or no longer. Again: something was done, look soon."""

    on: bool
    every: float = REFRESH
    """Seconds between looks at the hub while nothing is known to have changed; at least `REFRESH`."""


_DECODER: Final = msgspec.json.Decoder(Follow | Unfollow | Look)


class LiveHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One per browser tab. Being open is no activity."""

    auth_resource = "jupyter-fx"

    def initialize(self, feeds: Feeds, overview: Overview) -> None:
        """Take what tabs follow."""
        self._feeds, self._overview = feeds, overview
        self._tab: Tab | None = None

    def set_default_headers(self) -> None:
        """The handshake has its own headers."""

    def get_compression_options(self) -> dict[str, Any] | None:
        """Off: the way is short and text is bounded."""
        return None

    @property
    def max_message_size(self) -> int:
        """Bytes."""
        return MESSAGE_MAX

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open it for who may read."""
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", self.auth_resource)):
            raise web.HTTPError(403)
        res = super().get(*args, **kwargs)
        if res is not None:
            await res

    def open(self, *args: Any, **kwargs: Any) -> None:
        """A tab is there."""
        super().open(*args, **kwargs)
        self._tab = Tab(self.write_message)
        self._feeds.opened(self._tab)

    def on_message(self, message: str | bytes) -> None:
        """Something that it shows, or no longer."""
        if self._tab is None:
            return
        try:
            said = _DECODER.decode(message)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            self.close(1008, f"this message is not understood: {error}"[:120])
            return
        if isinstance(said, Look):
            self._tab.looks, self._tab.every = said.on, max(REFRESH, said.every)
            self._overview.looked(self._tab)
        elif not is_id(said.task_id):
            self.close(1008, "a task is named by its 32 digits")
        elif said.group and isinstance(said, Follow):
            self._feeds.groups.follow(self._tab, said.task_id)
        elif said.group:
            self._feeds.groups.unfollow(self._tab, said.task_id)
        elif isinstance(said, Follow):
            self._feeds.follow(self._tab, said.task_id, max(0, said.first), output=said.output)
        else:
            self._feeds.unfollow(self._tab, said.task_id)

    def on_close(self) -> None:
        """The tab is gone."""
        if self._tab is not None:
            self._feeds.closed(self._tab)
            self._tab = None
