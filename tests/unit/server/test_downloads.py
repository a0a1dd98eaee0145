"""Logs as files, piece by piece, to browsers that may go away."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from jupyter_fx.server import loghandlers
from jupyter_fx.server.loghandlers import DownloadHandler


class Unguarded(RequestHandler):
    """The download without Jupyter's authentication around it."""

    _parts = SimpleNamespace(link=None)
    _head = DownloadHandler._head
    get = inspect.unwrap(DownloadHandler.get)


def test_a_download_that_is_broken_off_ends_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []

    async def endless(*_: Any) -> AsyncIterator[str]:
        pieces = 0
        try:
            while True:
                pieces += 1
                yield "x" * 100_000
        finally:
            ended.append(pieces)

    async def story() -> None:
        socket, port = bind_unused_port()
        server = HTTPServer(Application([("/(.*)", Unguarded)]))
        server.add_socket(socket)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /0123456789 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b'filename="task-23456789.log"' in await reader.read(1000)
            writer.close()
            async with asyncio.timeout(30):
                while not ended:
                    await asyncio.sleep(0.01)
        finally:
            writer.close()
            server.stop()
            await server.close_all_connections()

    monkeypatch.setattr(loghandlers, "whole", endless)
    asyncio.run(story())
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
