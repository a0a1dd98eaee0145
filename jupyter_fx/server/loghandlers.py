"""REST about logs: `tasks/ID/log` and `tasks/ID/log/download`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from jupyter_fx.client.logs import FAR, STREAMS, Reading
from jupyter_fx.errors import FxError
from jupyter_fx.server.base import Handler, Parts
from jupyter_fx.server.hublink import HubLink

__all__ = ["LOG_MAX", "handlers", "whole"]

LOG_MAX: Final = 1024 * 1024 * 1024
"""Bytes of each stream that are handed on, piece by piece."""


class LogPart(msgspec.Struct, forbid_unknown_fields=True):
    """Query of GET tasks/ID/log."""

    stream: str = ""
    offset: int = 0


class LogHandler(Handler):
    """GET tasks/ID/log?stream=&offset=."""

    @web.authenticated
    @authorized
    async def get(self, task_id: str) -> None:
        """{text, next, size, dropped, lines}."""
        part = self.query(LogPart)
        await self.answer("tasks.log", {"task_id": task_id, **msgspec.structs.asdict(part)})


class DownloadHandler(Handler):
    """GET tasks/ID/log/download: all of what a task printed, as a file of plain text."""

    @web.authenticated
    @authorized
    async def get(self, task_id: str) -> None:
        """Goes on piece by piece, so that no log is ever whole in memory."""
        first = True
        try:
            async for text in whole(self._parts.link, task_id):
                if first:
                    self._head(task_id)
                    first = False
                self.write(text)
                await self.flush()
        except FxError as error:
            if first:
                self.fail(error)
                return
            self.write(f"\n[the rest could not be read: {error.message}]\n")
        except StreamClosedError:
            return  # whoever asked for it has gone
        self.finish(set_content_type="text/plain; charset=utf-8")

    def _head(self, task_id: str) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="task-{task_id[-8:]}.log"')
        self.set_header("X-Content-Type-Options", "nosniff")


async def whole(link: HubLink, task_id: str) -> AsyncIterator[str]:
    """What the hub keeps if that is all of it, else the complete log from the endpoint; without that a line says so."""
    page = await link.ask("tasks.log", {"task_id": task_id, "offset": 0})
    begun = False
    try:
        # Text that came too fast was dropped on its way, too: what is kept says so, but not its size.
        printed = [await _printed(link, task_id, stream) for stream in STREAMS]
        if sum(printed) > page["size"] or page["dropped"]:
            async for text in _complete(link, task_id):
                begun = True
                yield text
    except FxError as error:
        if begun:
            raise
        if page["dropped"]:
            yield f"[the complete log could not be read: {error.message}; this is what the fx hub keeps]\n"
    if begun:
        return
    yield page["text"]
    while page["next"] is not None:
        page = await link.ask("tasks.log", {"task_id": task_id, "offset": page["next"]})
        yield page["text"]


async def _printed(link: HubLink, task_id: str, stream: str) -> int:
    """How long the complete text is."""
    args = {"task_id": task_id, "stream": stream, "offset": 0, "length": 1}
    return int((await link.ask("tasks.output", args, timeout=FAR))["size"])


async def _complete(link: HubLink, task_id: str) -> AsyncIterator[str]:
    """As `client.logs.whole`, but for what is said if there is no such log: nothing."""
    reading = Reading(task_id, most=LOG_MAX)
    while (args := reading.asks()) is not None:
        if text := reading.take(await link.ask("tasks.output", args, timeout=FAR)):
            yield text


def handlers(parts: Parts) -> list[tuple[str, type[Any], dict[str, Any]]]:
    """The rows for the server's table of handlers."""
    log, settings = "/jupyter-fx/tasks/([0-9a-f]{32})/log", {"parts": parts}
    return [(log, LogHandler, settings), (f"{log}/download", DownloadHandler, settings)]
