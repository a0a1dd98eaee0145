"""Two links joined in memory, with the faults of a network as context managers.

::

    wire = FakeWire(hello)
    wire.client.send(message, keep=True)
    with wire.drop():                 # frames vanish; a byte stream that loses some is cut at the end of the block
        wire.run()
    wire.reconnect()
    wire.run()
    assert wire.server_got == […]

Frames of one connection stay in order, as on a stream; `reorder` and `duplicate` break that on purpose, to show that a
link refuses what no stream does instead of believing it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_fx.protocol.link import Acked, Closed, Link, Opened, Received
from jupyter_fx.protocol.messages import VERSION, Hello, Welcome
from jupyter_fx.testing.clocks import FakeClock

__all__ = ["FakeLink", "FakeWire"]

Fault = Callable[[list[bytes]], list[bytes]]


class FakeLink:
    """One end of a FakeWire: a Link that notes what it is told."""

    def __init__(self, link: Link, clock: FakeClock) -> None:
        self.link = link
        self.clock = clock
        self.got: list[tuple[int, Any]] = []
        """(number, message) of everything received, over all connections."""
        self.acked = 0
        self.opened: list[Hello | Welcome] = []
        self.closed: list[Closed] = []
        self.on_hello: Callable[[Hello], Welcome] | None = None
        self.auto_ack = True
        """Acknowledge what comes in at once."""

    def send(self, message: Any, *, keep: bool = False) -> int:
        """See Link.send."""
        return self.link.send(message, keep=keep)

    @property
    def messages(self) -> list[Any]:
        """What was received, without numbers."""
        return [message for _, message in self.got]

    def feed(self, frame: bytes) -> None:
        """Receive a frame and note what it means."""
        self.link.receive_data(frame, self.clock.monotonic())
        self.note()

    def note(self) -> None:
        """Take the link's events."""
        for event in self.link.events():
            if isinstance(event, Received):
                self.got.append((event.number, event.message))
                if event.number and self.auto_ack and self.link.is_open:
                    self.link.acknowledge(event.number)
            elif isinstance(event, Acked):
                self.acked = event.number
            elif isinstance(event, Opened):
                self.opened.append(event.peer)
                if isinstance(event.peer, Hello) and self.on_hello is not None:
                    self.link.accept(self.on_hello(event.peer))
            else:
                self.closed.append(event)


class FakeWire:
    """A client's and a server's link, joined. The server remembers what it acknowledged unless it is told to forget."""

    def __init__(self, hello: Hello, *, clock: FakeClock | None = None, user: str = "tester") -> None:
        self.clock = clock or FakeClock()
        self.user = user
        self.hub_boot = 1
        self.durable = 0
        """What the server says it has received: what it acknowledged."""
        self.client = FakeLink(Link("connects", hello=hello, now=self.clock.monotonic()), self.clock)
        self.servers: list[FakeLink] = []
        self._faults: list[Fault] = []
        self._delayed: list[tuple[FakeLink, bytes]] = []
        self._delaying = False
        self._up = True
        self._new_server()

    @property
    def server(self) -> FakeLink:
        """The server's end of the present connection."""
        return self.servers[-1]

    @property
    def server_got(self) -> list[Any]:
        """All that the server received, over all connections."""
        return [message for server in self.servers for message in server.messages]

    def run(self, rounds: int = 100) -> None:
        """Carry frames both ways until nobody has anything to say."""
        for _ in range(rounds):
            if not (self._carry(self.client, self.server) | self._carry(self.server, self.client)):
                return
        raise AssertionError(f"the two links still talk after {rounds} rounds")

    def tick(self, seconds: float) -> None:
        """Let time go by, with timers, and carry what they make."""
        self.clock.advance(seconds)
        for end in (self.client, self.server):
            end.link.handle_timer(self.clock.monotonic())
            end.note()
        self.run()

    def cut(self) -> None:
        """The connection breaks; what was on its way is lost."""
        self._up = False
        self._delayed.clear()
        for end in (self.client, self.server):
            end.link.data_to_send()
            end.link.receive_eof(self.clock.monotonic())
            end.note()

    def reconnect(self, *, forget: bool = False) -> None:
        """A new connection. `forget`: the server was restarted and knows nothing of this link."""
        if self._up:
            self.cut()
        if forget:
            self.durable = 0
            self.hub_boot += 1
        self._new_server()
        self._up = True
        self.client.link.reconnected(self.clock.monotonic())

    @contextlib.contextmanager
    def drop(self, keep: Callable[[int], bool] = lambda _: False) -> Iterator[None]:
        """Frames vanish, except those whose index (from 0) `keep` likes; the connection is cut at the end."""
        count = iter(range(1_000_000))
        with self._fault(lambda frames: [frame for frame in frames if keep(next(count))]):
            yield
        self.cut()

    @contextlib.contextmanager
    def duplicate(self) -> Iterator[None]:
        """Each frame comes twice."""
        with self._fault(lambda frames: [frame for frame in frames for _ in range(2)]):
            yield

    @contextlib.contextmanager
    def reorder(self) -> Iterator[None]:
        """Frames that are sent together come in the opposite order."""
        with self._fault(lambda frames: frames[::-1]):
            yield

    @contextlib.contextmanager
    def delay(self) -> Iterator[None]:
        """Frames come at the end of the block."""
        self._delaying = True
        try:
            yield
        finally:
            self._delaying = False
            delayed, self._delayed = self._delayed, []
            for target, frame in delayed:
                target.feed(frame)

    @contextlib.contextmanager
    def _fault(self, fault: Fault) -> Iterator[None]:
        self._faults.append(fault)
        try:
            yield
        finally:
            self._faults.remove(fault)

    def _new_server(self) -> None:
        server = FakeLink(Link("accepts", now=self.clock.monotonic()), self.clock)
        server.on_hello = lambda _: Welcome(VERSION, self.hub_boot, self.user, self.durable)
        self.servers.append(server)

    def _carry(self, source: FakeLink, target: FakeLink) -> bool:
        frames = source.link.data_to_send()
        said = bool(frames)
        for fault in self._faults:
            frames = fault(frames)
        if not self._up:
            return False
        if self._delaying:
            self._delayed += [(target, frame) for frame in frames]
            return said
        for frame in frames:
            target.feed(frame)
            if target is self.server and target.auto_ack:
                self.durable = max(self.durable, target.link.received)
        return said
