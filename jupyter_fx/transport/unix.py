"""Unix sockets: the way on one host. The other side is known by its uid, which the kernel tells; no token is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from jupyter_fx.errors import AuthError, HubUnavailable, UsageError
from jupyter_fx.transport.channel import Channel
from jupyter_fx.transport.framing import StreamChannel

__all__ = ["BACKLOG", "UnixServer", "connect", "peer_of", "serve"]

PATH_MAX: Final = 107 if sys.platform == "linux" else 103
"""Bytes of a socket's path (sockaddr_un)."""
BACKLOG: Final = 512
"""Connections that may wait to be accepted: clients that all come back at once are not sent away."""


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """(uid, pid) of the process at the other end, from the kernel; pid is 0 where it does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid, pid
    # LOCAL_PEERCRED of the BSDs and macOS: struct xucred {version, uid, …}
    _, uid = struct.unpack("2I", sock.getsockopt(0, 1, 76)[:8])
    return uid, 0


class _Accepted(StreamChannel):
    """The serving end of a connection: refuses other users before it reads a byte."""

    def __init__(self, address: str, on_channel: Callable[[Channel], None]) -> None:
        super().__init__(address)
        self._on_channel = on_channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look who is there."""
        super().connection_made(transport)
        try:
            uid, pid = peer_of(transport.get_extra_info("socket"))
        except OSError:
            uid, pid = -1, 0
        if uid != os.getuid():
            self._refuse(AuthError(f"user {uid} may not use the socket of user {os.getuid()}"))
            return
        self.info |= {"uid": uid, "pid": pid}
        self._on_channel(self)
        self.start()


class UnixServer:
    """A socket that listens; `close` it. Connections that it accepted live on."""

    def __init__(self, server: asyncio.Server, path: Path, inode: int) -> None:
        self.path = path
        self.address = f"unix:{path}"
        self._server = server
        self._inode = inode

    def close(self) -> None:
        """Listen no more and remove the socket file, unless somebody else's has taken its place."""
        self._server.close()
        with contextlib.suppress(OSError):
            if os.lstat(self.path).st_ino == self._inode:
                self.path.unlink()


async def connect(path: str | Path) -> Channel:
    """A channel to the socket at `path`, or HubUnavailable. Call its `start` when its callbacks are set.

    A socket that is served by another user is refused too: it could be a trap in a shared directory.
    """
    _check(path)
    loop = asyncio.get_running_loop()
    try:
        _, channel = await loop.create_unix_connection(lambda: StreamChannel(f"unix:{path}"), str(path))
    except OSError as error:
        why = error.strerror or error
        raise HubUnavailable(f"nobody serves {path} ({why}): `jupyter fx up` starts an fx hub") from error
    uid, pid = peer_of(channel.known("socket"))
    if uid not in {os.getuid(), 0}:
        channel.abort()
        raise AuthError(f"{path} is served by user {uid}: not by you")
    channel.info |= {"uid": uid, "pid": pid}
    return channel


async def serve(path: str | Path, on_channel: Callable[[Channel], None]) -> UnixServer:
    """Listen at `path`; `on_channel` gets each connection of this same user and sets its callbacks there and then.

    The directory must be ours alone (0700). A socket file that nobody listens on any more is replaced; UsageError when
    somebody does, when it is no socket, or when the path is too long.
    """
    path = Path(path)
    _check(path)
    _check_directory(path.parent)
    _check_free(path)
    # Bound beside its place and renamed into it: at no moment could somebody else's file be removed.
    beside = path.with_name(f".{secrets.token_hex(3)}")
    _check(beside)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(beside))
        beside.chmod(0o600)
        sock.listen(BACKLOG)
        beside.rename(path)
        inode = os.lstat(path).st_ino
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Accepted(f"unix:{path}", on_channel), sock=sock, backlog=BACKLOG
        )
    except BaseException:
        sock.close()
        beside.unlink(missing_ok=True)
        raise
    return UnixServer(server, path, inode)


def _check(path: str | Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("this system has no Unix sockets: use the hub's ws:// address")
    if len(os.fsencode(path)) > PATH_MAX:
        raise UsageError(
            f"{path} is too long for a socket (limit {PATH_MAX} bytes): set JUPYTER_FX_RUNTIME_DIR to a short directory"
        )


def _check_directory(directory: Path) -> None:
    info = os.lstat(directory)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise UsageError(f"{directory} must be a directory of yours with mode 0700 to hold a socket")


def _check_free(path: Path) -> None:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise UsageError(f"{path} is there and is no socket: remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise UsageError(f"{path} cannot be probed ({error}): remove it if nobody uses it") from error
    raise UsageError(f"{path} is served already: stop that process first")
