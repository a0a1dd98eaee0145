"""Links over real sockets: what passes, who is refused, and that nothing is lost when one side is restarted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.errors import AuthError, HubUnavailable, RemoteProtocolError, UsageError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.protocol.messages import Detach, Hello, Submit, TaskSpec
from jupyter_fx.transport import Channel, connect, unix
from jupyter_fx.transport.pipe import connect_pipes
from tests.integration.transport_ends import (
    Client,
    Hub,
    converse,
    make_file,
    make_mode,
    names,
    remove,
    run,
    until,
)


@pytest.fixture
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fx"))
    yield directory
    shutil.rmtree(directory)


# Unix sockets


@contextlib.asynccontextmanager
async def unix_hub(place: Path, **options: Any) -> AsyncIterator[tuple[Hub, unix.UnixServer]]:
    hub = Hub(**options)
    server = await unix.serve(place / "hub.sock", hub.on_channel)
    try:
        yield hub, server
    finally:
        server.close()
        hub.end()
        await asyncio.sleep(0.01)


def test_a_conversation_over_a_unix_socket(place: Path) -> None:
    async def story() -> None:
        async with unix_hub(place) as (hub, server):
            client = Client(server.address)
            await converse(client)
            assert client.peer.welcome is not None
            assert client.peer.welcome.user == str(os.getuid())
            assert [number for number, _ in hub.kept] == list(range(1, 3002))
            client.peer.close()
        assert names(place) == []

    run(story)


def test_another_user_is_refused_before_a_byte_is_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with unix_hub(place) as (hub, server):
            credentials = struct.pack("3i", 1, os.getuid() + 1, 1)
            monkeypatch.setattr("asyncio.trsock.TransportSocket.getsockopt", lambda *_: credentials)
            reader, writer = await asyncio.open_unix_connection(server.path)
            assert await reader.read() == b""
            assert hub.served == []
            writer.close()

    run(story)


def test_a_socket_of_another_user_is_not_talked_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with unix_hub(place) as (_, server):
            monkeypatch.setattr(unix, "peer_of", lambda _: (os.getuid() + 1, 1))
            with pytest.raises(AuthError, match="not by you"):
                await connect(server.address)

    run(story)


def test_an_oversized_frame_ends_the_connection_on_sight_of_its_length(place: Path) -> None:
    async def story() -> None:
        async with unix_hub(place) as (hub, server):
            reader, writer = await asyncio.open_unix_connection(server.path)
            writer.write(struct.pack("!I", FRAME_MAX + 1))
            assert await reader.read() == b""
            writer.close()
            assert isinstance(hub.closed[0], RemoteProtocolError)
            assert "over the limit" in hub.closed[0].message

    run(story)


def test_who_does_not_greet_in_time_is_shown_out(place: Path) -> None:
    async def story() -> None:
        async with unix_hub(place, hello_within=0.1) as (hub, server):
            reader, writer = await asyncio.open_unix_connection(server.path)
            writer.write(b"\x00\x00")
            assert b"no Hello" in await reader.read()
            writer.close()
            assert len(hub.closed) == 1

    run(story)


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(place: Path) -> None:
    async def story() -> None:
        with socket.socket(socket.AF_UNIX) as left_over:
            left_over.bind(str(place / "hub.sock"))
        async with unix_hub(place) as (_, server):
            with pytest.raises(UsageError, match="served already"):
                await unix.serve(place / "hub.sock", Hub().on_channel)
            client = Client(server.address)
            await client.peer.opened(5)
            client.peer.close()
        assert names(place) == []

    run(story)


def test_a_closing_server_leaves_its_successors_socket_alone(place: Path) -> None:
    async def story() -> None:
        async with unix_hub(place) as (_, server):
            remove(server.path)
            successor = await unix.serve(place / "hub.sock", Hub().on_channel)
            server.close()
            assert names(place) == ["hub.sock"]
            successor.close()

    run(story)


def test_sockets_are_made_in_private_directories_only(place: Path) -> None:
    async def story() -> None:
        make_mode(place, 0o755)
        with pytest.raises(UsageError, match="0700"):
            await unix.serve(place / "s", Hub().on_channel)
        make_mode(place, 0o700)
        make_file(place / "s")
        with pytest.raises(UsageError, match="no socket"):
            await unix.serve(place / "s", Hub().on_channel)
        with pytest.raises(UsageError, match="too long"):
            await unix.serve(place / ("s" * 120), Hub().on_channel)
        with pytest.raises(HubUnavailable, match="nobody serves"):
            await connect(f"unix:{place / 'nothing'}")

    run(story)


def test_what_was_not_acked_goes_again_when_the_hub_is_restarted(place: Path) -> None:
    async def story() -> None:
        async with unix_hub(place, ack=False) as (first, server):
            client = Client(server.address)
            await client.peer.opened(5)
            for n in range(100):
                client.peer.send(Detach([str(n)]), keep=True)
            assert await client.peer.request("whoami")
            assert len(first.kept) == 100
            unanswered = client.peer.request("whoami")
            server.close()
            for served in first.served:
                assert served.channel is not None
                served.channel.abort()
            with pytest.raises(HubUnavailable):
                await unanswered
        waiting = client.peer.request("whoami")
        client.peer.send(Detach(["meanwhile"]), keep=True)
        async with unix_hub(place) as (second, _):
            await client.all_acked()
            assert [message.tasks[0] for _, message in second.kept] == [*map(str, range(100)), "meanwhile"]
            assert [number for number, _ in second.kept] == list(range(1, 102))
            assert await waiting == {"op": "whoami"}
            assert client.opens == 2
            client.peer.close()

    run(story)


def test_a_refused_hello_is_not_said_again(place: Path) -> None:
    async def story() -> None:
        async with unix_hub(place) as (hub, server):
            client = Client(server.address, Hello(1, 1, "client", "0" * 32, token="wrong"))
            with pytest.raises(AuthError, match="not known"):
                await client.peer.opened(5)
            assert [error.message for error in client.refused] == ["this token is not known"]
            assert len(hub.served) == 1

    run(story)


def test_a_peer_that_does_not_read_is_cut_off(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_fx.transport.served.UNACKED_MAX", 2_000_000)

    async def story() -> None:
        async with unix_hub(place) as (hub, server):
            client = Client(server.address)
            await client.peer.opened(5)
            client.peer.pause_reading()
            piece = Submit([TaskSpec("t", 0, "f", bytes(200_000))])
            for _ in range(200):
                hub.served[0].send(piece)
                await asyncio.sleep(0)
                if hub.closed:
                    break
            assert len(hub.closed) == 1
            client.peer.close()

    run(story)


# Pipes


def test_a_conversation_over_pipes() -> None:
    async def story() -> None:
        hub = Hub()
        down, up = os.pipe(), os.pipe()
        serving = await connect_pipes(os.fdopen(down[0], "rb", 0), os.fdopen(up[1], "wb", 0))
        hub.on_channel(serving)
        serving.start()

        async def connector() -> Channel:
            return await connect_pipes(os.fdopen(up[0], "rb", 0), os.fdopen(down[1], "wb", 0))

        client = Client("pipe", connector=connector)
        await converse(client)
        client.peer.close()
        await until(lambda: hub.closed)

    run(story)
