"""The client's way to a hub elsewhere: WebSocket with the `websockets` library, one binary message per frame.

Proxies of the environment (HTTPS_PROXY, NO_PROXY …) are honoured, TLS is verified, redirects are not followed: they
would carry the token to where nobody meant it to go. The library's connection is used through its hooks for subclasses,
because its own receive queue costs a task switch per message.
"""

from __future__ import annotations

import ipaddress
import ssl as ssl_module
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response

from jupyter_fx.errors import AuthError, FxError, HubUnavailable, InfrastructureError, RemoteProtocolError, UsageError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.transport.channel import WRITE_HIGH, Channel

__all__ = ["LINK_PATH", "connect", "link_url"]

LINK_PATH = "/api/v1/link"
"""Where a hub's WebSocket is, after its prefix."""


class _WebSocketChannel(Channel):
    """A Channel on a connection of the library."""

    def __init__(self, address: str, connection: _Connection) -> None:
        super().__init__(address)
        self._connection = connection

    def start(self) -> None:
        """Hand over what came in meanwhile, and all that comes."""
        self._connection.listen(self)

    def write(self, frames: Sequence[bytes]) -> None:
        """Write frames."""
        for frame in frames:
            broadcast((self._connection,), frame)

    def close(self) -> None:
        """Say goodbye in the WebSocket's way."""
        self._connection.say_goodbye()

    def abort(self) -> None:
        """Close at once."""
        self._connection.transport.abort()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._connection.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._connection.transport.resume_reading()


class _Connection(ClientConnection):
    """The library's connection, with callbacks instead of its queue."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._channel: Channel | None = None
        self._early: list[bytes] = []
        self._fragments: list[bytes] = []
        self._fault: Exception | None = None
        self._lost = False

    def listen(self, channel: Channel) -> None:
        """Give everything to `channel`."""
        self._channel = channel
        early, self._early = self._early, []
        for frame in early:
            channel.on_frame(frame)
        if self._lost:
            channel.on_closed(self._fault)

    def say_goodbye(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Send a close frame; the other side closes the connection."""
        if not self._lost and self.response is not None and self.protocol.close_sent is None:
            self.protocol.send_close(code)
            self.send_data()

    def process_event(self, event: Any) -> None:
        """Take a frame of the WebSocket; the first event is the response to the handshake."""
        if (
            self.response is None
            or not isinstance(event, Frame)
            or event.opcode in {Opcode.PING, Opcode.PONG, Opcode.CLOSE}
        ):
            if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                return
            super().process_event(event)
            return
        if event.opcode is Opcode.TEXT:
            self._fault = RemoteProtocolError("text came where frames are binary")
            self.say_goodbye(CloseCode.UNSUPPORTED_DATA)
            return
        data = bytes(event.data)
        if not event.fin:
            self._fragments.append(data)
            return
        if self._fragments:
            data = b"".join((*self._fragments, data))
            self._fragments.clear()
        if self._channel is None:
            self._early.append(data)
        else:
            self._channel.on_frame(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell it once."""
        super().connection_lost(exc)
        self._lost = True
        if self._fault is None:
            self._fault = exc or _told_why(self)
        if self._channel is not None:
            self._channel.on_closed(self._fault)

    def pause_writing(self) -> None:
        """The write buffer is full."""
        super().pause_writing()
        if self._channel is not None:
            self._channel.paused = True

    def resume_writing(self) -> None:
        """It has room again."""
        super().resume_writing()
        if self._channel is not None:
            self._channel.paused = False
            self._channel.on_writable()


def _told_why(connection: _Connection) -> FxError | None:
    code = connection.protocol.close_code
    if code == CloseCode.MESSAGE_TOO_BIG:
        return RemoteProtocolError(
            f"a frame over the limit of {FRAME_MAX} bytes: {connection.protocol.close_reason or 'refused'}"
        )
    return None


class _Connect(ws_connect):
    """The library's connect without redirects."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none."""
        return exc


def link_url(address: str) -> str:
    """The WebSocket URL that an address means: ``https://host/prefix`` is ``wss://host/prefix/api/v1/link``."""
    parts = urlsplit(address)
    if parts.username or parts.password or parts.query or not parts.hostname:
        raise UsageError(
            "the address of an fx hub has a host, no user, password or query: a token goes into JUPYTER_FX_TOKEN"
        )
    if parts.scheme in {"ws", "wss"}:
        return address
    path = parts.path.rstrip("/").removesuffix(LINK_PATH) + LINK_PATH
    return urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, path, "", ""))


def _is_here(host: str) -> bool:
    """Whether a host is this machine itself, which a proxy elsewhere cannot reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def connect(
    address: str,
    *,
    token: str = "",
    ssl: ssl_module.SSLContext | None = None,
    proxy: str | bool | None = True,
    headers: dict[str, str] | None = None,
    open_timeout: float = 15.0,
) -> Channel:
    """A channel to the hub at `address` (see `link_url`); `proxy`: True (the environment's; none on loopback), None or
    a URL.

    Raises AuthError when it does not take the token, HubUnavailable when it does not answer like a hub, UsageError when
    the address or the proxy's means nothing.
    """
    url = link_url(address)
    if proxy is True and _is_here(urlsplit(url).hostname or ""):
        proxy = None
    extra = dict(headers or {})
    if token:
        extra["Authorization"] = f"Bearer {token}"
    options: dict[str, Any] = {} if ssl is None or not url.startswith("wss:") else {"ssl": ssl}
    try:
        connection = await _Connect(
            url,
            additional_headers=extra,
            proxy=cast(Any, proxy or None),
            compression=None,
            max_size=FRAME_MAX,
            ping_interval=None,
            open_timeout=open_timeout,
            close_timeout=2.0,
            write_limit=WRITE_HIGH,
            create_connection=_Connection,
            **options,
        )
    except InvalidStatus as error:
        raise _refusal(url, error.response) from error
    except (InvalidURI, InvalidProxy) as error:
        raise UsageError(str(error)) from error
    except ssl_module.SSLCertVerificationError as error:
        raise HubUnavailable(
            f"the certificate of {url} is not trusted ({error.verify_message}): set SSL_CERT_FILE to its authority's"
        ) from error
    except (InvalidHandshake, OSError, TimeoutError, EOFError) as error:
        raise HubUnavailable(
            f"the fx hub at {url} cannot be reached ({str(error) or type(error).__name__}): check the address, and "
            "that it runs"
        ) from error
    assert isinstance(connection, _Connection)
    return _WebSocketChannel(url, connection)


def _said(response: Response) -> str:
    """The sentence of a refusal, where a hub wrote one; nothing that could be a proxy's page."""
    if not response.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    text = bytes(response.body or b"")[:400].decode("utf-8", "replace").strip()
    return text if text.isprintable() else ""


def _refusal(url: str, response: Response) -> FxError:
    status = response.status_code
    if status in {301, 302, 303, 307, 308, 401, 403}:
        said = _said(response) or "it does not take this token: get a new one and keep it with `jupyter fx login`"
        return AuthError(f"{said} ({url}, HTTP {status})")
    if status == 404:
        return HubUnavailable(f"there is no fx hub at {url} (HTTP 404): check the address")
    if status >= 500 or status == 429:
        return HubUnavailable(f"{url} answered HTTP {status}: the fx hub or its proxy is not ready")
    return InfrastructureError(f"{url} answered HTTP {status}")
