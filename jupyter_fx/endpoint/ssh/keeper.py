"""The near side: `python -m jupyter_fx.endpoint.ssh.keeper NAME` runs ssh to an endpoint's host and joins what comes
out of it to the embedded hub. It tries again when the connection breaks (a laptop sleeps, a network changes): the agent
there goes on meanwhile and keeps results. It ends when there is no hub any more, or when only a person can help.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_fx import __version__, paths
from jupyter_fx.client.hub import HubClient
from jupyter_fx.embedded import read_hub_file
from jupyter_fx.endpoint.ssh import command, record
from jupyter_fx.endpoint.ssh.pump import Streams, Tunnel
from jupyter_fx.endpoint.ssh.record import Keeping
from jupyter_fx.errors import FxError, HubUnavailable, UsageError
from jupyter_fx.ids import check_name
from jupyter_fx.processes import lock_holder

__all__ = ["Keeper", "main", "running"]

log = logging.getLogger("jupyter_fx.ssh")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
LINKED_FOR = 30.0
"""Seconds after which a connection counts as a good one: the next pause is short again."""
HUB_GONE_FOR = 60.0
"""Seconds without a hub after which the keeper ends; whoever starts the hub again starts the keeper."""
SAID_KEPT = 4000


class Keeper:
    """Keeps the way to one endpoint open."""

    def __init__(self, name: str, home: Path, kept: record.Record) -> None:
        self.name, self.home, self.kept = name, home, kept
        self._tunnel: Tunnel | None = None
        self._said = ""
        self._failed = ""
        self._hopeless = False
        """Whether what failed fails again: nothing is gained by another connection."""
        self._giving: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    # --- what others see ---

    def note(self, state: str, why: str = "") -> None:
        """Write down how it is."""
        log.info("%s%s", state, f": {why}" if why else "")
        record.save_keeping(self.home, Keeping(os.getpid(), state, why, time.time()))

    # --- the loop ---

    async def run(self) -> int:
        """Until told to stop (0), the hub is gone (0), or a person is needed (3)."""
        pause, hub_seen = FIRST_PAUSE, time.monotonic()
        while not self._stopped.is_set():
            if read_hub_file() is None:
                if time.monotonic() - hub_seen > HUB_GONE_FOR:
                    self.note("stopped", "the fx hub is gone; the next use of it starts this again")
                    return 0
                await self._sleep(1.0)
                continue
            hub_seen = time.monotonic()
            self.note("connecting", f"ssh {self.kept.host}")
            began = time.monotonic()
            try:
                why = await self._once()
            except FxError as error:
                why = error.message
            if self._stopped.is_set():
                break
            if self._hopeless:
                self.note("stopped", why)
                return 3
            if command.needs_person(self._said):
                self.note("stopped", f"{why}; sign in by `jupyter fx endpoint start {self.name}`")
                return 3
            pause = FIRST_PAUSE if time.monotonic() - began > LINKED_FOR else min(pause * 2, LONGEST_PAUSE)
            self.note("waiting", f"{why}; it tries again in {pause:g} s")
            await self._sleep(pause)
        self.note("stopped", "as asked")
        return 0

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    def stop(self) -> None:
        """End soon."""
        self._stopped.set()
        self._end_ssh()

    def _end_ssh(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def _once(self) -> str:
        """One connection, from its start to its end; why it ended."""
        self._said = self._failed = ""
        remote = command.bridge_command(self.kept.python, self.name)
        line = command.argv(self.kept.host, self.kept.options, remote, alone=True)
        process = self._process = await asyncio.create_subprocess_exec(
            *line,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        listening = asyncio.get_running_loop().create_task(self._listen(process.stderr))
        tunnel = self._tunnel = Tunnel(
            (process.stdout, process.stdin), greeting=True, connect=self._hub, on_control=self._told
        )
        try:
            await tunnel.run()
        finally:
            self._tunnel = None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 5.0)
            except TimeoutError:
                process.kill()
                await process.wait()
            self._process = None
            # A shared connection that stays in the background keeps our end of its stderr.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listening, 1.0)
        return self._why(process.returncode, tunnel.reader.talk)

    def _why(self, status: int | None, talk: str) -> str:
        if self._failed:
            return self._failed
        lines = [line for line in (self._said.strip() or talk).splitlines() if line.strip()]
        told = lines[-1].strip()[:300] if lines else "the connection ended"
        if "No module named" in self._said:
            told = f"jupyter-fx is gone from {self.kept.python} there: add the endpoint again"
        return f"ssh {self.kept.host}: {told}" + (f" (status {status})" if status and not lines else "")

    async def _listen(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while data := await stream.read(4096):
            text = data.decode("utf-8", "replace")
            self._said = (self._said + text)[-SAID_KEPT:]
            for line in text.splitlines():
                log.info("%s says: %s", self.kept.host, line)

    # --- what the far side asks for ---

    async def _hub(self) -> Streams:
        found = read_hub_file()
        if found is None or not found.agents:
            raise HubUnavailable("there is no embedded fx hub at this moment")
        return await asyncio.open_unix_connection(found.agents)

    def _told(self, told: dict[str, Any]) -> None:
        if "node" in told:
            self._hello(str(told["node"]), str(told.get("version", "")))
        elif told.get("need") == "code":
            self._giving = asyncio.get_running_loop().create_task(self._give_code())
        elif "enrolled" in told:
            self.kept.enrolled = True
            record.save(self.home, self.kept)
        elif "agent" in told:
            self.note("linked", f"agent {int(told['agent'])} on {self.kept.node}")
        elif "failed" in told:
            self._failed = f"{self.kept.node}: {str(told['failed'])[:500]}"
            self.note("linked", self._failed)

    def _hello(self, node: str, version: str) -> None:
        if node != self.kept.node:
            self.kept.node = node[:200]
            record.save(self.home, self.kept)
        if version != __version__:
            log.warning("jupyter-fx is %s there and %s here", version, __version__)

    async def _give_code(self) -> None:
        """A one-use code for this endpoint's name: once, for the far side is no more trusted than an endpoint."""
        if self.kept.enrolled:
            again = f"jupyter fx endpoint add {self.name} --ssh {self.kept.host}"
            self._give_up(f"the endpoint has lost its credential there: delete it here and add it again ({again})")
            return
        try:
            code = await asyncio.to_thread(_code, self.name)
        except FxError as error:
            self._give_up(error.message)
            return
        if self._tunnel is not None:
            self._tunnel.tell(code=code)

    def _give_up(self, why: str) -> None:
        """End this connection and make no other."""
        self._failed, self._hopeless = why, True
        self._end_ssh()


def _code(name: str) -> str:
    hub = read_hub_file()
    if hub is None:
        raise HubUnavailable("there is no embedded fx hub at this moment")
    client = HubClient(hub.address, token=hub.token)
    try:
        return str(client.request("endpoints.code", {"name": name})["code"])
    finally:
        client.close(timeout=0.0)


def running(home: Path) -> int:
    """The pid of the keeper that holds the lock; 0 when there is none."""
    return lock_holder(home / "keeper.lock")


def _lock(home: Path) -> int:
    descriptor = os.open(home / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


async def _run(keeper: Keeper) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, keeper.stop)
    return await keeper.run()


def main(argv: list[str] | None = None) -> int:
    """Keep one endpoint linked."""
    parser = argparse.ArgumentParser(prog="jupyter_fx.endpoint.ssh.keeper")
    parser.add_argument("name")
    name = check_name(parser.parse_args(argv).name, "name of an endpoint")
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    home = paths.endpoint_dir(name)
    try:
        kept = record.load(home)
        if kept is None:
            raise UsageError(f"endpoint {name} is not behind ssh")
        descriptor = _lock(home)
    except BlockingIOError:
        return 0
    except FxError as error:
        sys.stderr.write(f"jupyter fx: {error}\n")
        return 2
    try:
        return asyncio.run(_run(Keeper(name, home, kept)))
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
