"""Manager to agent over ZeroMQ: CURVE for secrecy, ZAP for who may come in.

The agent's ROUTER speaks only to public keys that `admit` knows, decided in the ZAP handler (RFC 27) before a message
passes; CURVE alone would let any key in. Nobody can take over another's identity (no ROUTER_HANDOVER), and a message
over the frame limit ends its connection. The sockets are driven by their file descriptor: that costs a fifth less than
zmq.asyncio. ZeroMQ's own reconnecting is off, because the link has to know that a connection is a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from jupyter_fx.errors import AuthError, HubUnavailable, RemoteProtocolError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.transport.channel import WRITE_HIGH, Channel

__all__ = ["ZmqServer", "connect", "new_keys"]

MESSAGE_MAX: Final = FRAME_MAX + 64
"""A frame as CURVE sends it: 33 bytes longer."""
SEND_HWM: Final = 256
BATCH: Final = 256
"""Messages that are read in one go before others on the loop have their turn."""
RETRY: Final = 0.005
"""Seconds after which a ROUTER is asked again whether a full peer has room: it does not tell."""
LINGER_MS: Final = 2000
HEARTBEAT_MS: Final = 10_000
SILENCE_MS: Final = 60_000

_FAILED = {
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH),
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL),
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL),
}


def new_keys() -> tuple[str, str]:
    """A CURVE key pair, (public, secret), each 40 characters of Z85."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


class _Pump:
    """Calls `on_message(frames)` for what a socket receives, driven by its edge-triggered descriptor."""

    def __init__(self, socket: zmq.Socket[bytes], on_message: Callable[[list[zmq.Frame]], None]) -> None:
        self.socket = socket
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.Handle | None = None
        self.stopped = False
        self._fd = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self.run)
        self.again()

    def again(self) -> None:
        """Look once more: needed after every use of the socket, since that may swallow the descriptor's edge."""
        if self._soon is None and not self.stopped:
            self._soon = self._loop.call_soon(self.run)

    def run(self) -> None:
        """Read what there is."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        for _ in range(BATCH):
            if self.stopped:
                return
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            except zmq.ZMQError:
                self.stop()
                return
            self._on_message(frames)
        self.again()

    def stop(self) -> None:
        """Read no more; before the socket is closed."""
        if not self.stopped:
            self.stopped = True
            self._loop.remove_reader(self._fd)
            if self._soon is not None:
                self._soon.cancel()
                self._soon = None


class _ZmqChannel(Channel):
    """What both ends share: a queue for what ZeroMQ does not take at once."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None

    def _send(self, frame: bytes) -> None:
        raise NotImplementedError

    def _sent(self) -> None:
        raise NotImplementedError

    def write(self, frames: Sequence[bytes]) -> None:
        """Write frames."""
        if self._closed:
            return
        self._waiting.extend(frames)
        self._waiting_bytes += sum(map(len, frames))
        self._push()

    def _push(self) -> None:
        self._retry = None
        try:
            while self._waiting and not self._closed:
                self._send(self._waiting[0])
                self._waiting_bytes -= len(self._waiting.popleft())
        except zmq.Again:
            self._retry = self._loop.call_later(RETRY, self._push)
        except zmq.ZMQError as error:
            self._fail(RemoteProtocolError(f"the connection is gone: {error}"))
            return
        self._sent()
        if self._waiting_bytes > WRITE_HIGH:
            self.paused = True
        elif self.paused and self._waiting_bytes < WRITE_HIGH // 2:
            self.paused = False
            self.on_writable()

    def _fail(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._let_go()
        self._loop.call_soon(self.on_closed, error)

    def _let_go(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Close; ZeroMQ goes on sending what it took for LINGER_MS."""
        self._fail(None)

    def abort(self) -> None:
        """The same: ZeroMQ has no harder way."""
        self._fail(None)


class _ClientChannel(_ZmqChannel):
    """The connecting end: a DEALER of its own."""

    def __init__(self, address: str, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        super().__init__(address)
        self._socket, self._monitor = socket, monitor
        self._pump: _Pump | None = None
        self._watch = _Pump(monitor, self._happened)
        self.ready: asyncio.Future[None] = self._loop.create_future()

    def _happened(self, frames: list[zmq.Frame]) -> None:
        """An event of the socket's monitor."""
        event = int(parse_monitor_message([frame.bytes for frame in frames])["event"])
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            if not self.ready.done():
                self.ready.set_result(None)
        elif event in _FAILED:
            self._fail(AuthError(f"{self.address} does not admit this key, or has another one than expected"))
        elif event in {zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_CLOSED}:
            if self._pump is not None:
                self._pump.run()
            self._fail(None if self.ready.done() else HubUnavailable(f"{self.address} refuses the connection"))

    def _fail(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(error or HubUnavailable(f"{self.address} closed the connection"))
        super()._fail(error)

    def start(self) -> None:
        """Begin to read."""
        if self._pump is None and not self._closed:
            self._pump = _Pump(self._socket, self._came)

    def _came(self, frames: list[zmq.Frame]) -> None:
        if len(frames) != 1:
            self._fail(RemoteProtocolError("a message of several parts"))
            return
        self.on_frame(frames[0].bytes)

    def _send(self, frame: bytes) -> None:
        self._socket.send(frame, zmq.NOBLOCK)

    def _sent(self) -> None:
        if self._pump is not None:
            self._pump.again()

    def _let_go(self) -> None:
        if self._pump is not None:
            self._pump.stop()
        self._watch.stop()
        # The monitor is closed later: this may be running inside one of its own events.
        self._loop.call_soon(_close_client, self._socket, self._monitor)

    def pause_reading(self) -> None:
        """Read no more for now: ZeroMQ's queue fills and the other side waits."""
        if self._pump is not None:
            self._pump.stop()
            self._pump = None

    def resume_reading(self) -> None:
        """Read again."""
        self.start()


def _close_client(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
    with contextlib.suppress(zmq.ZMQError):
        socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=LINGER_MS)


async def connect(address: str, *, server_key: str, keys: tuple[str, str], timeout: float = 15.0) -> Channel:
    """A channel to the ZmqServer at `address` (``tcp://host:port``) whose public key is `server_key`.

    `keys` is this side's (public, secret). Raises AuthError when the key is not admitted or the server has another key,
    HubUnavailable when nobody answers within `timeout` seconds.
    """
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    _limit(socket, address)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, int(timeout * 1000))
    socket.curve_serverkey = server_key.encode()
    socket.curve_publickey, socket.curve_secretkey = (key.encode() for key in keys)
    monitor = socket.get_monitor_socket()
    channel = _ClientChannel(address, socket, monitor)
    try:
        socket.connect(address)
        async with asyncio.timeout(timeout):
            await channel.ready
    except TimeoutError as error:
        raise HubUnavailable(f"{address} did not answer within {timeout:g} s") from error
    except zmq.ZMQError as error:
        raise HubUnavailable(f"{address} cannot be reached: {error}") from error
    finally:
        if not channel.ready.done() or channel.ready.cancelled() or channel.ready.exception() is not None:
            channel.ready.cancel()
            channel.abort()
    return channel


class _ServedChannel(_ZmqChannel):
    """The accepting end of one connection: a routing id of the server's ROUTER."""

    def __init__(self, server: ZmqServer, identity: bytes, key: str) -> None:
        super().__init__(f"manager {key[:8]}")
        self.info["key"] = key
        self._server, self._identity = server, identity

    def start(self) -> None:
        """The server reads for all."""

    def _send(self, frame: bytes) -> None:
        self._server.router.send_multipart((self._identity, frame), zmq.NOBLOCK)

    def _sent(self) -> None:
        self._server.again()

    def _let_go(self) -> None:
        self._server.forget(self._identity)

    def pause_reading(self) -> None:
        """Nothing: one ROUTER serves all, and credit limits what a manager has to say."""

    def resume_reading(self) -> None:
        """Nothing."""


class ZmqServer:
    """A ROUTER at `address` (``tcp://127.0.0.1:*`` for any port; `address` then says which) with CURVE `keys`.

    `admit(public_key)` says whether a key may come in, when it connects. `on_channel(channel)` makes a Served of each
    connection; `channel.info["key"]` is its public key. Make it on a running loop.
    """

    def __init__(
        self,
        address: str,
        *,
        keys: tuple[str, str],
        admit: Callable[[str], bool],
        on_channel: Callable[[Channel], None],
    ) -> None:
        self._admit, self._on_channel = admit, on_channel
        self._channels: dict[bytes, _ServedChannel] = {}
        # A context of its own: the ZAP handler's address is one per context.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        zap = self._context.socket(zmq.ROUTER)
        zap.bind("inproc://zeromq.zap.01")
        self.router = self._context.socket(zmq.ROUTER)
        _limit(self.router, address)
        self.router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.router.curve_server = True
        self.router.curve_secretkey = keys[1].encode()
        self.router.zap_domain = b"jupyter-fx"
        self.public_key = keys[0]
        try:
            self.router.bind(address)
        except zmq.ZMQError:
            self.router.close(linger=0)
            zap.close(linger=0)
            self._context.term()
            raise
        self.address = self.router.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")  # type: ignore[union-attr]
        self._descriptors: dict[int, bytes] = {}
        self._watch = _Pump(self.router.get_monitor_socket(zmq.EVENT_DISCONNECTED), self._happened)
        self._zap_pump = _Pump(zap, self._zap)
        self._pump = _Pump(self.router, self._came)

    def again(self) -> None:
        """Look for messages after a use of the socket."""
        self._pump.again()

    def forget(self, identity: bytes) -> None:
        """A channel is closed."""
        self._channels.pop(identity, None)

    def close(self) -> None:
        """Close every channel and the socket."""
        for channel in list(self._channels.values()):
            channel.close()
        for pump in (self._pump, self._zap_pump, self._watch):
            pump.stop()
        with contextlib.suppress(zmq.ZMQError):
            self.router.disable_monitor()
        self._watch.socket.close(linger=0)
        self.router.close(linger=200)
        self._zap_pump.socket.close(linger=0)
        # term() waits for the linger: not on the loop's thread.
        asyncio.get_running_loop().run_in_executor(None, self._context.term)

    def _zap(self, frames: list[zmq.Frame]) -> None:
        """Answer one authentication request (ZAP 1.0: https://rfc.zeromq.org/spec/27/)."""
        parts = [frame.bytes for frame in frames]
        identity, _, version, request, _domain, _address, _routing, mechanism, *credentials = parts
        key = ""
        if version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == 32:
            key = z85.encode(credentials[0]).decode()
        admitted = bool(key) and self._admit(key)
        code, text, user = (b"200", b"OK", key.encode()) if admitted else (b"400", b"not admitted", b"")
        self._zap_pump.socket.send_multipart((identity, b"", b"1.0", request, code, text, user, b""))
        self._zap_pump.again()

    def _happened(self, frames: list[zmq.Frame]) -> None:
        """A connection ended: `value` of the event is its descriptor, which its messages told."""
        identity = self._descriptors.pop(int(parse_monitor_message([frame.bytes for frame in frames])["value"]), None)
        if identity is not None and identity in self._channels:
            # Not here: this may be called from within the reading of a message.
            asyncio.get_running_loop().call_soon(self._end, identity)

    def _end(self, identity: bytes) -> None:
        self._pump.run()
        if (channel := self._channels.get(identity)) is not None:
            channel.abort()

    def _came(self, frames: list[zmq.Frame]) -> None:
        identity = frames[0].bytes
        channel = self._channels.get(identity)
        if channel is None:
            # First what ended: this connection may have got the descriptor of another one that is gone.
            self._watch.run()
            self._descriptors[int(cast(Any, frames[-1]).get(zmq.SRCFD))] = identity
            channel = _ServedChannel(self, identity, cast(Any, frames[-1]).get("User-Id"))
            self._channels[identity] = channel
            self._on_channel(channel)
        if len(frames) != 2:
            channel._fail(RemoteProtocolError("a message of several parts"))  # noqa: SLF001 - one module, one thing
            return
        channel.on_frame(frames[1].bytes)


def _limit(socket: zmq.Socket[bytes], address: str) -> None:
    """What every socket here is told before it binds or connects."""
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_MAX)
    socket.setsockopt(zmq.SNDHWM, SEND_HWM)
    socket.setsockopt(zmq.RCVHWM, SEND_HWM)
    socket.setsockopt(zmq.LINGER, 0)
    # A half-open connection (a node that was switched off) is noticed, and so is a peer that hangs.
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
    socket.setsockopt(zmq.IPV6, "[" in address)
