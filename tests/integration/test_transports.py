"""Links over real sockets: what passes, who is refused, and that nothing is lost when one side is restarted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq as libzmq
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from websockets.asyncio.client import connect as raw_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from jupyter_fx.errors import AuthError, FxError, HubUnavailable, RemoteProtocolError, UsageError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.protocol.messages import Detach, Hello, Request, Submit, TaskSpec, Welcome
from jupyter_fx.transport import Channel, Peer, Served, connect, unix, zmq
from jupyter_fx.transport.pipe import connect_pipes
from jupyter_fx.transport.websocket_server import SUBPROTOCOL, TICKET_PREFIX, LinkHandler

HELLO = Hello(1, 1, "client", "0" * 32)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


async def until(true: Callable[[], object]) -> None:
    """Wait for what no callback tells."""
    while not true():
        await asyncio.sleep(0.005)


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def remove(path: Path) -> None:
    path.unlink()


def make_file(path: Path) -> None:
    path.touch()


def make_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


class NoPause(random.Random):
    """Reconnects come at once."""

    def uniform(self, a: float, b: float) -> float:
        return 0.01


class Hub:
    """Answers every connection: keeps what is kept, echoes what is passing."""

    def __init__(self, ack: bool = True, **options: Any) -> None:
        self.ack = ack
        self.options = options
        self.kept: list[tuple[int, Any]] = []
        self.served: list[Served] = []
        self.closed: list[FxError | None] = []

    def on_channel(self, channel: Channel) -> None:
        def on_message(message: Any, number: int) -> None:
            if not number:
                served.send(message)
                return
            self.kept.append((number, message))
            if self.ack:
                served.acknowledge(number)

        served = Served(
            channel,
            on_hello=self.welcome,
            on_message=on_message,
            on_request=self.answer,
            on_closed=self.closed.append,
            **self.options,
        )
        self.served.append(served)

    def welcome(self, hello: Hello, served: Served) -> Welcome:
        if hello.token == "wrong":
            raise AuthError("this token is not known")
        return Welcome(1, 1, str(served.peer.get("user", served.peer.get("uid", ""))), 0)

    async def answer(self, request: Request) -> Any:
        if request.op == "fail":
            raise UsageError("no endpoint 'polari'")
        await asyncio.sleep(0)
        return {"op": request.op, **request.args}

    def end(self) -> None:
        for served in self.served:
            served.close()


class Client:
    def __init__(self, address: str, hello: Hello = HELLO, **options: Any) -> None:
        self.got: asyncio.Queue[Any] = asyncio.Queue()
        self.acked = asyncio.Event()
        self.opens = 0
        self.wanted = 0
        self.refused: list[FxError] = []
        self.lost: list[FxError] = []
        self.peer = Peer(
            address,
            hello,
            on_message=lambda message, _: self.got.put_nowait(message),
            on_acked=self.note,
            on_open=self.opened,
            on_lost=self.lost.append,
            on_refused=self.refused.append,
            rng=NoPause(),
            **options,
        ).start()

    def opened(self, _: Welcome) -> None:
        self.opens += 1

    def note(self, number: int) -> None:
        if number >= self.wanted:
            self.acked.set()

    async def all_acked(self) -> None:
        self.wanted = self.peer.link._last
        self.acked.clear()
        if self.peer.link.unacked_count:
            await self.acked.wait()


async def converse(client: Client) -> None:
    """A little of everything: echo, requests, a burst of kept messages, one nearly as large as a frame."""
    await client.peer.opened(10)
    client.peer.send(Detach(["a"]))
    assert await client.got.get() == Detach(["a"])
    assert await client.peer.request("whoami", {"x": 1}) == {"op": "whoami", "x": 1}
    with pytest.raises(UsageError, match="polari"):
        await client.peer.request("fail")
    for n in range(3000):
        client.peer.send(Detach([str(n)]), keep=True)
    large = Submit([TaskSpec("t", 0, "f", os.urandom(FRAME_MAX - 200))])
    client.peer.send(large)
    client.peer.send(large, keep=True)
    await client.all_acked()
    assert client.peer.link.unacked_bytes == 0
    assert await client.got.get() == large


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


# WebSocket


def authenticate(token: str, ticket: str, _: LinkHandler) -> dict[str, Any] | None:
    if token == "good" or ticket == "once":
        return {"user": "ada"}
    return {"user": ""} if not token and not ticket else None


@contextlib.asynccontextmanager
async def web_hub(tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[tuple[Hub, str]]:
    hub = Hub(**options)
    settings = {"authenticate": authenticate, "on_channel": hub.on_channel, "origins": {"https://lab.example"}}
    (listening,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([("/hub/api/v1/link", LinkHandler, settings)]), ssl_options=tls)
    server.add_socket(listening)
    scheme = "https" if tls else "http"
    try:
        yield hub, f"{scheme}://localhost:{listening.getsockname()[1]}/hub/"
    finally:
        hub.end()
        server.stop()
        await asyncio.sleep(0.05)
        await server.close_all_connections()


def with_token(token: str) -> Hello:
    return Hello(1, 1, "client", "0" * 32, token=token)


def test_a_conversation_over_a_websocket_with_the_token_in_its_header_only() -> None:
    async def story() -> None:
        async with web_hub() as (hub, address):
            client = Client(address, with_token("good"))
            await converse(client)
            assert client.peer.welcome is not None
            assert client.peer.welcome.user == "ada"
            assert hub.served[0].hello is not None
            assert hub.served[0].hello.token == ""
            client.peer.close()

    run(story)


def test_a_bad_token_is_refused_with_the_handshake() -> None:
    async def story() -> None:
        async with web_hub() as (hub, address):
            client = Client(address, with_token("bad"))
            with pytest.raises(AuthError, match="does not take this token"):
                await client.peer.opened(5)
            assert hub.served == []
            with pytest.raises(HubUnavailable, match="404"):
                await connect(address.replace("/hub/", "/elsewhere/"))
            with pytest.raises(UsageError, match="no user, password or query"):
                await connect(address.replace("//", "//user:secret@"))

    run(story)


def test_pages_need_an_exact_origin_and_may_bring_a_ticket() -> None:
    async def story() -> None:
        async with web_hub() as (hub, address):
            url = address.replace("http", "ws") + "api/v1/link"
            for origin in ("https://evil.example", "https://lab.example.evil", "http://lab.example", "null"):
                with pytest.raises(InvalidStatus, match="403"):
                    await raw_websocket(url, proxy=None, origin=origin)  # type: ignore[arg-type]
            protocols = [SUBPROTOCOL, f"{TICKET_PREFIX}once"]
            page = await raw_websocket(url, proxy=None, origin="https://lab.example", subprotocols=protocols)  # type: ignore[arg-type]
            assert page.subprotocol == SUBPROTOCOL
            assert hub.served[0].peer["user"] == "ada"
            await page.close()
            with pytest.raises(InvalidStatus, match="401"):
                await raw_websocket(url, proxy=None, subprotocols=[SUBPROTOCOL, f"{TICKET_PREFIX}used"])  # type: ignore[list-item]

    run(story)


def test_text_and_oversized_messages_end_a_websocket() -> None:
    async def story() -> None:
        async with web_hub() as (hub, address):
            url = address.replace("http", "ws") + "api/v1/link"
            for rubbish in ("text", bytes(FRAME_MAX + 1)):
                raw = await raw_websocket(url, proxy=None)
                await raw.send(rubbish)
                with pytest.raises(ConnectionClosed):
                    await raw.recv()
            assert len(hub.closed) == 2

    run(story)


def test_a_websocket_comes_back_and_delivers_again() -> None:
    async def story() -> None:
        async with web_hub(ack=False) as (hub, address):
            client = Client(address, with_token("good"))
            await client.peer.opened(5)
            client.peer.send(Detach(["kept"]), keep=True)
            await client.peer.request("whoami")
            hub.ack = True
            assert hub.served[0].channel is not None
            hub.served[0].channel.abort()
            await client.all_acked()
            assert hub.kept == [(1, Detach(["kept"]))] * 2
            client.peer.close()

    run(story)


class Proxy:
    """The smallest HTTP proxy: CONNECT with a password."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.server: asyncio.Server | None = None

    async def listen(self) -> str:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"http://ada:lovelace@127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        password = base64.b64encode(b"ada:lovelace").decode()
        if not head.startswith("CONNECT ") or f"Basic {password}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        # Names of hubs are known to the proxy alone.
        port = head.split()[1].rpartition(":")[2]
        there, back = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(self.pass_on(reader, back), self.pass_on(there, writer))

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@pytest.fixture(scope="module")
def certificate() -> Iterator[Path]:
    """A self-made certificate for localhost, with its key, in one file."""
    directory = Path(tempfile.mkdtemp(prefix="fx"))
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,DNS:hub.test", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *names], cwd=directory, check=True, capture_output=True)
    both = directory / "both.pem"
    both.write_text((directory / "key.pem").read_text() + (directory / "cert.pem").read_text())
    yield both
    shutil.rmtree(directory)


def test_tls_is_verified_and_works_through_a_proxy(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=str(certificate))
        proxy = Proxy()
        url = await proxy.listen()
        async with web_hub(tls) as (_, address):
            with pytest.raises(HubUnavailable, match="SSL_CERT_FILE"):
                await connect(address, token="good")
            monkeypatch.setenv("https_proxy", url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            direct = Client(address, with_token("good"), ssl=trusting)
            await converse(direct)
            direct.peer.close()
            assert proxy.asked == []
            address = address.replace("localhost", "hub.test")
            by_environment = Client(address, with_token("good"), ssl=trusting)
            await converse(by_environment)
            by_environment.peer.close()
            monkeypatch.setenv("https_proxy", url.replace("lovelace", "babbage"))
            with pytest.raises(HubUnavailable, match="407"):
                await connect(address, token="good", ssl=trusting)
            by_option = Client(address, with_token("good"), ssl=trusting, proxy=url)
            await converse(by_option)
            by_option.peer.close()
            assert len(proxy.asked) == 3
            assert not any("good" in head for head in proxy.asked)
        assert proxy.server is not None
        proxy.server.close()

    run(story)


# ZeroMQ


def test_an_admitted_key_converses_and_others_do_not_get_in() -> None:
    async def story() -> None:
        agent, manager, stranger = zmq.new_keys(), zmq.new_keys(), zmq.new_keys()
        hub = Hub()
        server = zmq.ZmqServer(
            "tcp://127.0.0.1:*", keys=agent, admit={manager[0]}.__contains__, on_channel=hub.on_channel
        )
        try:
            with pytest.raises(AuthError, match="does not admit this key"):
                await connect(server.address, server_key=agent[0], keys=stranger, timeout=5)
            with pytest.raises(AuthError, match="another one than expected"):
                await connect(server.address, server_key=stranger[0], keys=manager, timeout=5)
            plain: libzmq.Socket[bytes] = libzmq.Context.instance().socket(libzmq.DEALER)
            plain.connect(server.address)
            plain.send(b"hello")
            client = Client(server.address, server_key=agent[0], keys=manager)
            await converse(client)
            plain.close(linger=0)
            assert [served.peer["key"] for served in hub.served] == [manager[0]]
            client.peer.close()
            await until(lambda: hub.closed)
        finally:
            server.close()

    run(story)


def test_the_agent_hears_at_once_of_a_manager_that_vanishes() -> None:
    async def story() -> None:
        agent, manager = zmq.new_keys(), zmq.new_keys()
        hub = Hub()
        server = zmq.ZmqServer("tcp://127.0.0.1:*", keys=agent, admit=lambda _: True, on_channel=hub.on_channel)
        stays = Client(server.address, server_key=agent[0], keys=manager)
        await stays.peer.opened(10)
        vanishes = Client(server.address, server_key=agent[0], keys=manager)
        await vanishes.peer.opened(10)
        assert vanishes.peer.channel is not None
        vanishes.peer.channel.abort()
        await until(lambda: hub.closed)
        assert [served.is_open for served in hub.served[:2]] == [True, False]
        await until(lambda: vanishes.opens == 2)
        assert hub.served[2].is_open
        stays.peer.close()
        vanishes.peer.close()
        server.close()

    run(story)


def test_an_oversized_message_ends_a_zeromq_connection() -> None:
    async def story() -> None:
        agent, manager = zmq.new_keys(), zmq.new_keys()
        hub = Hub()
        server = zmq.ZmqServer("tcp://127.0.0.1:*", keys=agent, admit=lambda _: True, on_channel=hub.on_channel)
        channel = await connect(server.address, server_key=agent[0], keys=manager)
        gone = asyncio.get_running_loop().create_future()
        channel.on_closed = gone.set_result
        channel.start()
        channel.write([bytes(FRAME_MAX + 1000)])
        await gone
        assert hub.served == []
        server.close()

    run(story)


def test_a_manager_comes_back_to_a_restarted_agent_and_delivers_again() -> None:
    async def story() -> None:
        agent, manager = zmq.new_keys(), zmq.new_keys()
        first, second = Hub(ack=False), Hub()
        server = zmq.ZmqServer("tcp://127.0.0.1:*", keys=agent, admit=lambda _: True, on_channel=first.on_channel)
        client = Client(server.address, server_key=agent[0], keys=manager)
        await client.peer.opened(10)
        client.peer.send(Detach(["kept"]), keep=True)
        await client.peer.request("whoami")
        address = server.address
        server.close()
        await until(lambda: client.lost)
        for _ in range(200):
            try:
                server = zmq.ZmqServer(address, keys=agent, admit=lambda _: True, on_channel=second.on_channel)
                break
            except libzmq.ZMQError:
                await asyncio.sleep(0.02)
        await client.all_acked()
        assert first.kept == second.kept == [(1, Detach(["kept"]))]
        client.peer.close()
        first.end()
        server.close()

    run(story)


def test_an_address_that_means_nothing_is_a_usage_error() -> None:
    async def story() -> None:
        for address in ("", "hub", "ftp://hub", "polaris:/x"):
            with pytest.raises(UsageError, match="no address"):
                await connect(address)

    run(story)
