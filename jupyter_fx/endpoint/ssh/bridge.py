"""The far side: `python -m jupyter_fx.endpoint.ssh.bridge NAME`, started by ssh, ends with it. The agent outlives it.

It listens on a Unix socket of this user to which the agent links as to a hub, carries those connections over its
standard streams, and sees to it that the agent is enrolled and runs. Its standard error is the keeper's log.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

from jupyter_fx import __version__, paths
from jupyter_fx.endpoint import identity as who
from jupyter_fx.endpoint import launch
from jupyter_fx.endpoint.ssh.pump import Streams, Tunnel
from jupyter_fx.errors import FxError, InfrastructureError, UsageError
from jupyter_fx.ids import check_name
from jupyter_fx.protocol.mux import MARK
from jupyter_fx.transport.unix import peer_of

__all__ = ["main", "socket_path"]

ENROL_WITHIN = 60.0
"""Seconds within which a code must come and be redeemed."""


def socket_path(name: str) -> Path:
    """Where the agent finds its way to the hub."""
    return paths.runtime_dir() / f"ssh-{name}.sock"


async def _standard_streams() -> Streams:
    """Our standard input and output, as streams."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(1), "wb"))
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


class Bridge:
    """One bridge: `serve` until standard input ends."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = socket_path(name)
        self._code: asyncio.Future[str] | None = None

    async def serve(self) -> int:
        """Carry connections; start the agent."""
        streams = await _standard_streams()
        streams[1].write(MARK)
        self.tunnel = Tunnel(streams, on_control=self._told)
        self.path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._accepted, str(self.path))
        self.path.chmod(0o600)
        inode = self.path.stat().st_ino
        self.tunnel.tell(node=socket.gethostname(), version=__version__, pid=os.getpid())
        starting = asyncio.get_running_loop().create_task(self._start())
        try:
            await self.tunnel.run()
        finally:
            starting.cancel()
            server.close()
            with contextlib.suppress(OSError):
                if self.path.stat().st_ino == inode:  # a bridge that came after us has its own
                    self.path.unlink()
        return 0

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid, _pid = peer_of(writer.get_extra_info("socket"))
        if uid != os.getuid() or not self.tunnel.join((reader, writer)):
            writer.close()

    def _told(self, told: dict[str, Any]) -> None:
        if "code" in told and self._code is not None and not self._code.done():
            self._code.set_result(str(told["code"]))

    async def _start(self) -> None:
        """Enrol if need be, then start the agent if it does not run."""
        try:
            self._only_here()
            home = paths.endpoint_dir(self.name)
            if who.load(home) is None:
                await self._enrol(home)
            pid = await asyncio.to_thread(launch.start, self.name)
            self.tunnel.tell(agent=pid)
        except FxError as error:
            self.tunnel.tell(failed=error.message)
        except Exception as error:  # noqa: BLE001 whatever it is, the near side shall hear of it
            self.tunnel.tell(failed=f"{type(error).__name__}: {error}")

    def _only_here(self) -> None:
        """State is per host: an agent that runs on another login node must not get a twin here."""
        if self.name in launch.names() or "JUPYTER_FX_STATE_DIR" in os.environ:
            return
        found = paths.state_dir().parent.glob(f"*/endpoints/{self.name}/identity.json")
        hosts = sorted({one.parents[2].name for one in found})
        if hosts:
            raise UsageError(
                f"this is {socket.gethostname()}, but the agent of {self.name} lives on {', '.join(hosts)}: name one "
                "login node in your ssh configuration (HostName), so that every connection leads to the same one"
            )

    async def _enrol(self, home: Path) -> None:
        """Ask the near side for a one-use code and redeem it through the tunnel."""
        self._code = asyncio.get_running_loop().create_future()
        self.tunnel.tell(need="code")
        try:
            code = await asyncio.wait_for(self._code, ENROL_WITHIN)
        except TimeoutError:
            raise InfrastructureError("no enrolment code came within a minute") from None
        found = await who.enrol(f"unix:{self.path}", self.name, code, timeout=ENROL_WITHIN)
        who.save(home, found)
        self.tunnel.tell(enrolled=found.endpoint_id)


def main(argv: list[str] | None = None) -> int:
    """Serve the bridge of one endpoint."""
    parser = argparse.ArgumentParser(prog="jupyter_fx.endpoint.ssh.bridge")
    parser.add_argument("name")
    args = parser.parse_args(argv)
    os.umask(0o077)
    try:
        return asyncio.run(Bridge(check_name(args.name, "name of an endpoint")).serve())
    except FxError as error:
        sys.stderr.write(f"jupyter fx: {error}\n")
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
