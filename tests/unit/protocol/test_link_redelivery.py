"""Whatever a network does to a link, kept messages arrive: in order, and once."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jupyter_fx.protocol.link import LinkState
from jupyter_fx.protocol.messages import Detach, Hello
from jupyter_fx.testing import FakeWire

SIZES = st.integers(0, 400_000)


class KeptMessagesArrive(RuleBasedStateMachine):
    """A client and a server over a bad network; the server may forget (restart) what it has not made durable."""

    @initialize()
    def begin(self) -> None:
        self.wire = FakeWire(Hello(1, 1, "client", "0" * 32))
        self.wire.run()
        self.sent: list[str] = []
        self.back: list[str] = []

    def message(self, kind: str, n: int, size: int) -> Detach:
        return Detach([f"{kind}{n}", "x" * size])

    @rule(sizes=st.lists(SIZES, max_size=4))
    def client_sends(self, sizes: list[int]) -> None:
        for size in sizes:
            message = self.message("c", len(self.sent), size)
            if self.wire.client.link.state is not LinkState.CLOSED:
                self.sent.append(message.tasks[0])
                assert self.wire.client.send(message, keep=True) == len(self.sent)

    @rule(size=SIZES)
    def server_sends(self, size: int) -> None:
        if self.wire.server.link.is_open:
            self.wire.server.send(self.message("s", len(self.back), size))

    @rule()
    def frames_travel(self) -> None:
        self.wire.run()

    @rule(period=st.integers(1, 3))
    def frames_are_lost(self, period: int) -> None:
        with self.wire.drop(keep=lambda n: n % (period + 1) != 0):
            self.wire.run()

    @rule()
    def frames_come_twice(self) -> None:
        with self.wire.duplicate():
            self.wire.run()

    @rule()
    def frames_change_places(self) -> None:
        with self.wire.reorder():
            self.wire.run()

    @rule()
    def frames_come_late(self) -> None:
        with self.wire.delay():
            self.wire.run()

    @rule()
    def the_connection_breaks(self) -> None:
        self.wire.cut()

    @rule(forget=st.booleans(), ack=st.booleans())
    def the_client_comes_again(self, forget: bool, ack: bool) -> None:
        if self.wire.client.link.state is LinkState.CLOSED:
            return
        self.wire.reconnect(forget=forget)
        self.wire.server.auto_ack = ack

    @invariant()
    def each_connection_sees_them_in_order(self) -> None:
        for server in self.wire.servers:
            numbers = [number for number, _ in server.got]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True

    @invariant()
    def every_link_is_sound(self) -> None:
        for end in (self.wire.client, *self.wire.servers):
            end.link.validate()

    @invariant()
    def nothing_acked_is_missing(self) -> None:
        seen = self.first_seen()
        assert list(seen)[: self.wire.client.acked] == self.sent[: self.wire.client.acked]

    def first_seen(self) -> dict[str, Any]:
        """What the server knows after it has dropped what it had by number."""
        by_number: dict[int, str] = {}
        for server in self.wire.servers:
            for number, message in server.got:
                name = message.tasks[0]
                assert by_number.setdefault(number, name) == name
        return dict.fromkeys(by_number[number] for number in sorted(by_number))

    def teardown(self) -> None:
        if self.wire.client.link.state is not LinkState.CLOSED:
            self.wire.reconnect()
            self.wire.run()
            assert list(self.first_seen()) == self.sent
            assert self.wire.client.link.unacked_count == 0


KeptMessagesArrive.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestKeptMessagesArrive = KeptMessagesArrive.TestCase
