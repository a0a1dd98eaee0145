"""Managers that only say that they ran what they were given.

`python -m bench.simulated_managers BLOCK_DIR COUNT SLOTS`: they enrol in the block, come by CURVE and answer every
message as a real manager does: WANT before a start, results after GO. Many of them share one process, so that an
agent's fleet can be larger than this machine.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from jupyter_fx.endpoint.bootstrap import AgentAddress, Block
from jupyter_fx.endpoint.mailbox import Mailbox
from jupyter_fx.endpoint.talk import Capacity, Done, Ended, Go, Halt, Place, Report, ToManager, Want
from jupyter_fx.errors import FxError
from jupyter_fx.transport import zmq as transport
from jupyter_fx_worker import envelope

NOTHING = b"".join(bytes(piece) for piece in envelope.dumps(None, "value"))
"""The value of every task."""
TOOK = 0.0001
"""Seconds that a task is said to have run: an agent asks for more of what is known to be short."""
AT_ONCE = 16
"""Managers that come at the same time: a handshake has a time limit."""


class Simulated:
    """One manager."""

    def __init__(self, block: Block, slots: int) -> None:
        self._keys = transport.new_keys()
        self._name = secrets.token_hex(16)
        self._slots = slots
        self._mail = Mailbox(self._name, ToManager)
        self._agent = ""
        self._tickets: dict[int, list[str]] = {}
        self._ticket = 0
        self._armed = False
        self._channel: Any = None
        block.enrol(self._keys[0], self._name, f"node-{self._name[:8]}")

    async def come(self, agent: AgentAddress) -> None:
        """Link to the agent."""
        address = next(one for one in [agent.address, *agent.others] if "127.0.0.1" in one)
        self._channel = await transport.connect(address, server_key=agent.key, keys=self._keys, timeout=60.0)
        self._channel.on_frame = self._frame
        self._channel.start()
        self._channel.write([self._mail.connected()])

    def _frame(self, frame: bytes) -> None:
        messages = self._mail.take(frame)
        if self._mail.greeted and self._mail.other != self._agent:
            self._agent = self._mail.other
            self._mail.post(Report([], [], to=self._agent))
            workers = {"idle": self._slots}
            info = {"host": f"node-{self._name[:8]}", "workers": workers, "images": {"host": {"warm": 1, **workers}}}
            self._mail.post(Capacity(self._slots, True, info))
        for message in messages:
            self._take(message)
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _take(self, message: Any) -> None:
        if type(message) is Place:
            self._ticket += 1
            self._tickets[self._ticket] = tasks = [work.task_id for work in message.work]
            self._mail.post(Want(self._ticket, tasks))
        elif type(message) is Go:
            now = time.time()
            del self._tickets[message.ticket]
            self._mail.post(Done([Ended(one, "ok", NOTHING, now - TOOK, now) for one in message.tasks]))
        elif type(message) is Halt:
            asyncio.get_running_loop().stop()

    def _flush(self) -> None:
        self._armed = False
        if frames := self._mail.frames():
            self._channel.write(frames)


async def serve(folder: Path, count: int, slots: int) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    zmq.Context.instance().set(zmq.MAX_SOCKETS, 8 * count + 100)
    block = Block(folder)
    agent = block.agent()
    assert agent is not None
    gate = asyncio.Semaphore(AT_ONCE)

    async def come() -> None:
        async with gate:
            one = Simulated(block, slots)
            try:
                await one.come(agent)
            except FxError as error:
                sys.stderr.write(f"once more: {error}\n")
                await one.come(agent)

    await asyncio.gather(*(come() for _ in range(count)))
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
