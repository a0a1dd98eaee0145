"""The agent's side of a manager that is a process of its own: starts it or finds it again, and passes messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from jupyter_fx.endpoint.bootstrap import AgentAddress, Block
from jupyter_fx.endpoint.functions import Told
from jupyter_fx.endpoint.logfiles import tail
from jupyter_fx.endpoint.logs import TaskLogs
from jupyter_fx.endpoint.mailbox import Mailbox
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.talk import Capacity, Code, FromManager, Halt, Report
from jupyter_fx.ids import new_id
from jupyter_fx.processes import began
from jupyter_fx.transport.zmq import ZmqServer, new_keys

__all__ = ["RemoteManager"]

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
SLOWEST: Final = 60.0
"""Seconds after which one that does not come up is started again, at most."""


class RemoteManager:
    """Has the methods of `Manager` that an agent uses. `held()`: how many tasks the agent holds that have not ended."""

    module = "jupyter_fx.endpoint.manager_main"
    """The program of the manager."""

    def __init__(
        self, spec: ManagerSpec, send: Callable[[Any], None], loop: asyncio.AbstractEventLoop, held: Callable[[], int]
    ) -> None:
        self.spec = spec
        self.logs = TaskLogs(Path(spec.folder) / "task-logs")
        self._send = send
        self._loop = loop
        self._held = held
        self._capacity = Capacity(spec.slots, False, {"slots": spec.slots, "why": "its manager is starting"})
        self._functions = Told(Path(spec.folder))
        self._keys = new_keys()
        self._me = new_id()
        self._mail = Mailbox(self._me, FromManager)
        self._channel: Any = None
        self._armed = False
        self._halted = False
        self._looking: asyncio.TimerHandle | None = None
        self._child: subprocess.Popen[bytes] | None = None
        """What we have started; None: nothing yet, or it was there."""
        self._pause = 0.0
        self._starting: asyncio.TimerHandle | None = None
        self.adopted = False
        """Whether the manager was there before this agent."""
        blocks = Path(spec.folder) / "blocks"
        there = sorted(blocks.iterdir()) if blocks.is_dir() else []
        found = next((b for b in map(Block, there) if _process(b) is not None), None)
        self._block = found or Block(blocks / new_id(), make=True)
        for path in there:
            if path != self._block.folder:
                Block(path).delete()
        self.adopted = _process(self._block) is not None
        self._server: ZmqServer | None = None

    def start(self) -> None:
        """Listen; start the manager unless it is there."""
        self._block.make_secret()
        admits = self._block.admits
        self._server = ZmqServer("tcp://127.0.0.1:*", keys=self._keys, admit=admits, on_channel=self._came)
        self._block.announce(AgentAddress(self._server.address, self._server.public_key))
        if not self.adopted:
            self._spawn()
        self._look()

    def _spawn(self) -> None:
        spec = self._block.folder / "spec.json"
        spec.touch(0o600)
        spec.write_bytes(msgspec.json.encode(self.spec))
        command = [sys.executable, "-m", self.module, str(self._block.folder)]
        with open(self._block.folder / "manager.log", "ab") as out:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd="/",
                env=self.environment(),
            )

    def environment(self) -> dict[str, str] | None:
        """What the manager starts with; None: what we have."""
        return None

    def settle(self) -> None:
        """The manager is dead: tell what it had not told, if that can be known."""

    def _look(self) -> None:
        """See whether the manager lives; a dead one has ended everything that it held."""
        self._looking = self._loop.call_later(LOOK_EVERY, self._look)
        known = self._block.manager()
        if known is None:
            self._look_at_child()
            return
        self._pause = 0.0
        if _process(self._block) is not None or self._halted:
            return
        log.error("the manager (pid %d) has died; another one is started", known.pid)
        self._block.delete()
        self._block = Block(self._block.folder.with_name(new_id()), make=True)
        self._me = new_id()
        self._mail = Mailbox(self._me, FromManager)
        self._capacity = Capacity(self.spec.slots, False, {"slots": self.spec.slots, "why": "its manager is starting"})
        for name in self._functions.names():
            if (code := self._functions.get(name)) is not None:
                self._mail.post(Code(name, code))
        self._send(self._capacity)
        self.settle()
        self._send(Report([], [], gone=True))
        if self._server is not None:
            self._server.close()
        self.adopted = False
        self._looking.cancel()
        self.start()

    def _look_at_child(self) -> None:
        """One that ends before it is a manager holds nothing: it is started again, later and later."""
        if self._child is None or (status := self._child.poll()) is None or self._halted:
            return
        self._child = None
        path = self._block.folder / "manager.log"
        last = next((line.strip()[:300] for line in reversed(tail(path)) if line.strip()), "it said nothing")
        why = f"its manager does not come up (exit status {status}): {last}; see {path}"
        log.error("%s", why)
        self._capacity = Capacity(self.spec.slots, False, {"slots": self.spec.slots, "why": why})
        self._send(self._capacity)
        self._pause = min(SLOWEST, max(2.0, 2 * self._pause))
        self._starting = self._loop.call_later(self._pause, self._spawn)

    def _came(self, channel: Any) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = channel
        channel.on_frame = self._frame
        channel.on_closed = lambda _error: self._gone(channel)
        channel.start()
        channel.write([self._mail.connected()])

    def _gone(self, channel: Any) -> None:
        if self._channel is channel:
            self._channel = None
            self._mail.greeted = False

    def _frame(self, frame: bytes) -> None:
        try:
            messages = self._mail.take(frame)
        except msgspec.MsgspecError as error:
            log.error("the manager sent what cannot be read: %s", error)
            return
        for message in messages:
            if type(message) is Capacity:
                self._capacity = message
            if type(message) is not Report or message.to == self._me:
                self._send(message)
        if messages or self._mail.size:
            self._arm()

    def receive(self, message: Any) -> None:
        """Pass a message on."""
        if type(message) is Code:
            self._functions.put(message.digest, message.payload)
        elif type(message) is Halt:
            self._halted = True
        self._mail.post(message)
        self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._armed = False
        if self._channel is not None and (frames := self._mail.frames()):
            self._channel.write(frames)

    def capacity(self) -> Capacity:
        """What the manager said last."""
        return self._capacity

    @property
    def busy(self) -> bool:
        """Whether any task has not ended."""
        return self._held() > 0

    def close(self) -> None:
        """The agent stops: so does the manager."""
        if self._looking is not None:
            self._looking.cancel()
        if self._starting is not None:
            self._starting.cancel()
        process = _process(self._block)
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.terminate()
                process.wait(3)
        elif self._child is not None:
            # It has not even said that it is one.
            self._child.kill()
            self._child.wait()
        if self._server is not None:
            self._server.close()
        self._block.delete()
        self.logs.close()


def _process(block: Block) -> psutil.Process | None:
    """The manager's process, if it lives."""
    known = block.manager()
    if known is None:
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(known.pid)
        if began(known.pid) == known.started and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None
