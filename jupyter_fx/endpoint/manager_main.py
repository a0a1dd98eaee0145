"""A manager as a process of its own: `python -m jupyter_fx.endpoint.manager_main BLOCK_DIR [ID SCRATCH]`.

It goes on when its agent dies: tasks run, results wait here. It comes back to whatever agent `agent.json` of its block
names, tells that one what it has not acknowledged, asks again for every START that is open, and reports what it holds.

On a node of a block its keeper (`node`) names its id and the directory for what need not outlive it. It then takes what
the job has of the node, and ends when its agent halts it, or when the job ends: with SIGTERM it ends its work and tells
that before it goes.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_fx.auth.scrub import scrubbed
from jupyter_fx.endpoint.bootstrap import AgentAddress, Block, ManagerProcess
from jupyter_fx.endpoint.mailbox import Mailbox
from jupyter_fx.endpoint.manager import Manager
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.node import KEEPER, host_name, no_room
from jupyter_fx.endpoint.node_size import cores_of, gpus_of, memory_of
from jupyter_fx.endpoint.reach import reach
from jupyter_fx.endpoint.talk import Capacity, Halt, Report, Said, ToManager
from jupyter_fx.errors import FxError
from jupyter_fx.ids import new_id
from jupyter_fx.processes import began
from jupyter_fx.protocol.messages import EventKind
from jupyter_fx.transport import zmq as transport

__all__ = ["main"]

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5
"""Seconds between two tries to reach an agent."""
CONNECT_WITHIN: Final = 5.0
_PDEATHSIG: Final = 1
ALONE_MAX: Final = 24 * 3600.0
"""Seconds without an agent after which the manager ends."""
LAST_WORDS: Final = 2.0
"""Seconds that telling the last results may take."""
TEXT_HELD: Final = 16 * 1024 * 1024
"""Bytes that may wait for an agent before text is dropped."""
_TEXT: Final = frozenset((int(EventKind.STDOUT), int(EventKind.STDERR)))


class ManagerProgram:
    """See the module."""

    def __init__(self, block: Block, make: Callable[..., Any], name: str = "") -> None:
        """`make(send, loop)` makes the manager; `name`: its id, on a node."""
        self._block = block
        self._loop = asyncio.get_running_loop()
        self._keys = transport.new_keys()
        self._name = name
        self._mail = Mailbox(name or new_id(), ToManager)
        self._address = ""
        self._noted = ""
        self._going = False
        self._agent = ""
        self._channel: Any = None
        self._lost = asyncio.Event()
        self._stop = asyncio.Event()
        self._armed = False
        self.manager = make(self._post, self._loop)

    async def run(self) -> None:
        """Serve until stopped, or alone for too long."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._told_to_end if self._name else self.stop)
        me = os.getpid()
        if not self._name:
            self._block.is_manager(ManagerProcess(me, began(me)))
        self._block.enrol(self._keys[0], self._name, self.manager.spec.host)
        spec = self.manager.spec
        if self._name:
            log.info("manager %s: %d workers, %d GPUs", self._name[:8], spec.slots, len(spec.gpus))
        self.manager.start()
        coming = self._loop.create_task(self._come())
        try:
            await self._stop.wait()
        finally:
            coming.cancel()
            self.manager.close()
            if self._channel is not None:
                self._channel.close()

    def stop(self) -> None:
        """Begin to end."""
        self._stop.set()

    async def _come(self) -> None:
        """Keep a connection to the agent."""
        alone, gone = 0.0, 0
        while alone < ALONE_MAX:
            found = self._block.agent()
            if found is not None:
                began_at = self._loop.time()
                connect = functools.partial(
                    transport.connect, server_key=found.key, keys=self._keys, timeout=CONNECT_WITHIN
                )
                try:
                    self._address, channel = await reach(self._in_turn(found), connect)
                except FxError as error:
                    self._note(f"no agent at {', '.join(self._in_turn(found))}: {error}")
                else:
                    alone = 0.0
                    self._note(f"linked to the agent at {self._address}")
                    await self._serve(channel)
                    began_at = self._loop.time()
                alone += self._loop.time() - began_at
            # Twice: a file system of the network may hide it for a moment.
            gone = 0 if self._block.folder.is_dir() else gone + 1
            if gone > (4 if self._name else 0):
                break
            await asyncio.sleep(LOOK_EVERY)
            alone += LOOK_EVERY
        self._stop.set()

    def _note(self, words: str) -> None:
        """Log it, unless it was the last word already."""
        if words != self._noted:
            self._noted = words
            log.info("%s", words)

    def _in_turn(self, found: AgentAddress) -> list[str]:
        """The addresses of the agent, the one first at which it was found."""
        known = [found.address, *found.others]
        return sorted(known, key=lambda one: one != self._address)

    def _told_to_end(self) -> None:
        self._go("its job ended: its time was up, or it was cancelled")

    def _go(self, reason: str) -> None:
        """End all work, tell that, and go."""
        if not self._going:
            self._going = True
            self.manager.receive(Halt(reason))
            self._loop.create_task(self._gone(self._loop.time() + LAST_WORDS))

    def _has_words(self) -> bool:
        return self.manager.busy or (self._mail.size > 0 and self._channel is not None)

    async def _gone(self, until: float) -> None:
        # Looked at, not waited for: it happens once in a manager's life.
        while self._loop.time() < until and self._has_words():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        self._stop.set()

    async def _serve(self, channel: Any) -> None:
        self._channel = channel
        self._lost.clear()
        channel.on_frame = self._frame
        channel.on_closed = lambda _error: self._lost.set()
        channel.start()
        channel.write([self._mail.connected()])
        await self._lost.wait()
        self._channel = None
        self._mail.greeted = False

    def _frame(self, frame: bytes) -> None:
        before = self._mail.greeted
        try:
            messages = self._mail.take(frame)
        except msgspec.MsgspecError as error:
            log.error("the agent sent what cannot be read: %s", error)
            return
        if self._mail.greeted and not before and self._mail.other != self._agent:
            self._agent = self._mail.other
            self.manager.tell_again()
            sessions = list(self.manager.pool.sessions) if isinstance(self.manager, Manager) else []
            self._post(Report(list(self.manager.jobs), sessions, to=self._agent))
            self._post(self.manager.capacity())
        for message in messages:
            if type(message) is Halt and self._name:
                self._go(message.reason)
            else:
                self.manager.receive(message)
        self._arm()

    def _post(self, message: Any) -> None:
        if type(message) is Said and self._mail.size > TEXT_HELD:
            message = Said([piece for piece in message.pieces if piece[1] not in _TEXT])
        if type(message) is not Capacity or self._mail.greeted:
            self._mail.post(message)
        self._arm()

    def _arm(self) -> None:
        if not self._armed and self._channel is not None:
            self._armed = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._armed = False
        if self._channel is not None and (frames := self._mail.frames()):
            self._channel.write(frames)


def _on_node(spec: ManagerSpec, scratch: str, block: Path) -> ManagerSpec:
    """The same, with what this job has of this node."""
    env = dict(os.environ)
    spec.folder = scratch
    spec.host = host_name()
    # Where they are seen from the login node, and kept.
    spec.container_logs = f"{block}/{spec.host}--"
    cores = cores_of(env)
    spec.slots = spec.slots or cores
    spec.worker_cores = max(1, cores // spec.slots)
    bound = sorted(os.sched_getaffinity(0))
    spec.pin = bound if spec.pin_cores and len(bound) == cores else []
    spec.memory = memory_of(env)
    spec.gpus = gpus_of(env, spec.gpus)
    spec.env = {**(env if spec.keep_secrets else scrubbed(env)), **spec.env}
    spec.python = spec.python or sys.executable
    return spec


async def _serve(folder: Path, name: str, scratch: str) -> None:
    block = Block(folder)
    spec = msgspec.json.decode((folder / "spec.json").read_bytes(), type=ManagerSpec)
    try:
        spec = _on_node(spec, scratch, folder) if name else spec
        await ManagerProgram(block, lambda send, loop: Manager(spec, send, loop), name).run()
    except OSError as error:
        if name:
            block.complain(no_room(host_name(), error))
        raise


def _die_with_keeper() -> None:
    """Nobody could attest our end if the keeper died and we did not."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if str(os.getppid()) != os.environ.pop(KEEPER, ""):
        os._exit(1)


def main(argv: list[str] | None = None) -> int:
    """Be the manager of the block whose directory is named."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    folder, name, scratch = [*(argv if argv is not None else sys.argv[1:]), "", ""][:3]
    if name:
        _die_with_keeper()
    asyncio.run(_serve(Path(folder), name, scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
