"""Links over WebSockets: tokens, origins, TLS and proxies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from websockets.asyncio.client import connect as raw_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from jupyter_fx.errors import AuthError, HubUnavailable, UsageError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.protocol.messages import Detach, Hello
from jupyter_fx.transport import connect
from jupyter_fx.transport.websocket_server import SUBPROTOCOL, TICKET_PREFIX, LinkHandler
from tests.integration.transport_ends import (
    Client,
    Hub,
    converse,
    run,
)


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
