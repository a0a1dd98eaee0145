"""The link: what two sides of a connection owe each other, without the connection.

==========  ============================  =====================================================================
state       side                          leaves it
==========  ============================  =====================================================================
GREETING    connects: Hello is out        Welcome -> OPEN; Goodbye, silence -> DOWN or CLOSED
AWAITING    accepts: no Hello yet         Hello -> DECIDING (or refused); silence -> CLOSED
DECIDING    accepts: Opened was told      accept() -> OPEN; refuse() -> CLOSED
OPEN        both                          end of the transport -> DOWN (connects) or CLOSED (accepts); Goodbye
DOWN        connects: no transport        reconnected() -> GREETING; close() -> CLOSED
CLOSED      both                          nothing
==========  ============================  =====================================================================

*Kept* messages are numbered 1, 2, 3 … per direction and stay here until the other side has acknowledged them; after a
reconnect those that the other side lacks go again, in order, before anything else. *Passing* messages are told at most
once: sent while the link is not open, they are dropped, since what they say (credit, status, attach) is said anew by
whoever handles `Opened`.

Faults of the other side never raise: the link says Goodbye and tells `Closed`. Wrong use by this side raises
LocalProtocolError and changes nothing. Time is an argument (`now`: monotonic seconds), after aioquic; events and
`data_to_send` follow h11.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from jupyter_fx.errors import (
    FxError,
    HubUnavailable,
    InfrastructureError,
    LocalProtocolError,
    RemoteProtocolError,
    VersionMismatch,
)
from jupyter_fx.protocol.codec import FRAME_OVERHEAD, decode_frame, encode_frame, encode_message
from jupyter_fx.protocol.faults import error_from, error_info
from jupyter_fx.protocol.limits import FRAME_MAX, TASKS_PER_FRAME
from jupyter_fx.protocol.messages import (
    OLDEST_VERSION,
    VERSION,
    Dispatch,
    ErrorInfo,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Submit,
    Welcome,
)

__all__ = ["Acked", "Closed", "Link", "LinkEvent", "LinkState", "Opened", "Received"]

HELLO_WITHIN: Final = 10.0
"""Seconds in which the other side must have greeted."""


class LinkState(enum.Enum):
    """See the table at the top of this module."""

    GREETING = 1
    AWAITING = 2
    DECIDING = 3
    OPEN = 4
    DOWN = 5
    CLOSED = 6


class Opened(msgspec.Struct, frozen=True):
    """The other side greeted: a Hello (answer it with `accept` or `refuse`) or a Welcome (the link is open)."""

    peer: Hello | Welcome


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message; `number` is 0 for a passing one, else to be acknowledged when it is durable."""

    message: Any
    number: int


class Acked(msgspec.Struct, frozen=True, gc=False):
    """All kept messages up to `number` are durable at the other side (or need not be)."""

    number: int


class Closed(msgspec.Struct, frozen=True):
    """The transport is of no use any more: close it. `retry`: a new one may bring the link back."""

    error: FxError | None
    retry: bool


LinkEvent = Opened | Received | Acked | Closed

_CONTROL: Final = frozenset((Hello, Welcome, Goodbye, Ping, Pong))


class Link:
    """One side of a link.

    `side` is "connects" (give a `hello`; it is ready to be sent at once) or "accepts" (`welcome`, if given, answers
    every Hello by itself). `ping_interval`: seconds of silence after which this side asks whether the other lives;
    `dead_after`: seconds of silence after which it is taken for dead.
    """

    def __init__(
        self,
        side: Literal["connects", "accepts"],
        *,
        hello: Hello | None = None,
        now: float,
        ping_interval: float = 10.0,
        dead_after: float = 30.0,
        hello_within: float = HELLO_WITHIN,
        welcome: Callable[[Hello], Welcome] | None = None,
    ) -> None:
        if (side == "connects") != (hello is not None):
            raise LocalProtocolError("the side that connects has a Hello to say, the side that accepts has none")
        self.side = side
        self.hello = hello
        """What the connecting side said; on the accepting side None until it has."""
        self.version = 0
        """The version that both speak; 0 until they have met."""
        self.state = LinkState.AWAITING
        self._answer = welcome
        self._ping_interval, self._dead_after, self._hello_within = ping_interval, dead_after, hello_within
        self._heard = self._since = now
        self._pings = 0
        self._asked = False
        self._events: list[LinkEvent] = []
        # What goes out: frames ready to write, and the run of messages of one sort that the next one will hold.
        self._ready: list[bytes] = []
        self._ready_size = 0
        self._run: list[bytes] = []
        self._run_first = 0
        self._run_size = FRAME_OVERHEAD
        # Kept messages, numbers _acked + 1 … _last.
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._acked = self._last = 0
        # Those of the other side: last received, last acknowledged by us, last told so.
        self._received = self._durable = self._told = 0
        if hello is not None:
            self._greet()

    # What the shell reads.

    @property
    def is_open(self) -> bool:
        """Whether messages pass now."""
        return self.state is LinkState.OPEN

    @property
    def unacked_count(self) -> int:
        """Kept messages that wait for their ack."""
        return len(self._kept)

    @property
    def unacked_bytes(self) -> int:
        """Their bytes; a sender waits while they are over UNACKED_MAX."""
        return self._kept_bytes

    @property
    def pending_bytes(self) -> int:
        """Bytes that `data_to_send` would give."""
        return self._ready_size + (self._run_size if self._run else 0)

    @property
    def ack_pending(self) -> bool:
        """Whether an acknowledgement has not been told yet."""
        return self._durable > self._told and self.state is LinkState.OPEN

    @property
    def received(self) -> int:
        """Number of the last kept message that came in."""
        return self._received

    def events(self) -> list[LinkEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def data_to_send(self, *, ack_alone: bool = True) -> list[bytes]:
        """Frames ready to write. Acks travel with them; one alone makes a frame only when `ack_alone`."""
        if self._run:
            self._seal()
        if ack_alone and not self._ready and self._durable > self._told and self.state is LinkState.OPEN:
            self._told = self._durable
            return [encode_frame(0, self._told, ())]
        frames, self._ready = self._ready, []
        self._ready_size = 0
        return frames

    # What the owner does.

    def send(self, message: Any, *, keep: bool = False) -> int:
        """Send a message; the number of a kept one, else 0. A passing one is dropped while the link is not open.

        Raises LocalProtocolError, and changes nothing, when the message is over the limit, is one of the link's own
        (Hello, Ping …), or the link is closed for good.
        """
        if self.state is LinkState.CLOSED:
            raise LocalProtocolError("the link is closed: nothing can be sent on it")
        if type(message) in _CONTROL:
            raise LocalProtocolError(f"a {type(message).__name__} is the link's own to send")
        if keep and self.side == "accepts" and self.state is not LinkState.OPEN:
            raise LocalProtocolError(
                "the accepting side numbers its messages from what the Hello says: accept it first"
            )
        data = encode_message(message)
        if not keep:
            if self.state is LinkState.OPEN:
                self._put(0, data)
            return 0
        self._last += 1
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self.state is LinkState.OPEN:
            self._put(self._last, data)
        return self._last

    def acknowledge(self, number: int) -> None:
        """Everything received up to `number` is durable here, or need not be. An older number changes nothing."""
        if number > self._received:
            raise LocalProtocolError(f"message {number} cannot be acknowledged: {self._received} is the last that came")
        self._durable = max(self._durable, number)

    def accept(self, welcome: Welcome) -> None:
        """Answer a Hello: the link is open. `welcome.version` is set to what both speak, whatever it was.

        Messages up to `welcome.received` count as received and acknowledged.
        """
        if self.state is not LinkState.DECIDING or self.hello is None:
            raise LocalProtocolError(f"a Welcome has no place in state {self.state.name}")
        welcome.version = self.version
        self._put(0, encode_message(welcome))
        self._seal()
        self.state = LinkState.OPEN
        self._received = self._durable = self._told = max(welcome.received, self.hello.acked)
        # A link that the accepting side has forgotten goes on with numbers that the other side has not seen.
        self._last = self._acked = self.hello.received

    def refuse(self, error: FxError, retry: bool = False) -> None:
        """Answer a Hello with Goodbye; tells Closed."""
        if self.state not in {LinkState.AWAITING, LinkState.DECIDING}:
            raise LocalProtocolError(f"nobody can be refused in state {self.state.name}")
        self._end(error, retry, goodbye=True)

    def close(self, error: FxError | None = None, *, retry: bool = False) -> None:
        """Say Goodbye and be closed for good. Kept messages that are not acknowledged are given up. Tells no event."""
        if self.state is not LinkState.CLOSED:
            self._end(error, retry, goodbye=True, tell=False, final=True)

    def reconnected(self, now: float) -> None:
        """There is a new transport: Hello is ready to be sent, and after Welcome the kept messages that it lacks."""
        if self.side != "connects" or self.state is LinkState.CLOSED:
            raise LocalProtocolError(f"a side that {self.side} cannot reconnect in state {self.state.name}")
        self._heard = self._since = now
        self._asked = False
        self._greet()

    # What the transport brings.

    def receive_data(self, frame: bytes | bytearray | memoryview, now: float) -> None:
        """Take a frame. What it means is told by `events`."""
        if self.state in {LinkState.CLOSED, LinkState.DOWN}:
            return
        self._heard = now
        self._asked = False
        try:
            self._take(*decode_frame(frame))
        except RemoteProtocolError as error:
            # A gap is mended by a redelivery; whatever else is wrong would be wrong again.
            self._end(error, bool(error.details.get("retry")), goodbye=True)

    def receive_eof(self, now: float, error: FxError | None = None) -> None:
        """The transport ended, because of `error` if it is known."""
        self._heard = now
        if self.state in {LinkState.CLOSED, LinkState.DOWN}:
            return
        self._end(error or self._unheard("the connection ended"), True, goodbye=False)

    # Time.

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called. While frames come it only moves later: arm it, look again then."""
        if self.state in {LinkState.GREETING, LinkState.AWAITING}:
            return self._since + self._hello_within
        if self.state is LinkState.OPEN:
            return self._heard + (self._dead_after if self._asked else self._ping_interval)
        return None

    def handle_timer(self, now: float) -> None:
        """Ask whether the other side lives, or take it for dead."""
        due = self.next_timer()
        if due is None or now < due:
            return
        if self.state is LinkState.OPEN and not self._asked and now < self._heard + self._dead_after:
            self._asked = True
            self._ask()
        elif self.state is LinkState.OPEN:
            error = self._unheard(f"nothing was heard for {now - self._heard:.0f} s")
            error.details["silent"] = True  # the other side may live, and be frozen or asleep
            self._end(error, True, goodbye=True)
        else:
            missing = "Welcome" if self.side == "connects" else "Hello"
            self._end(self._unheard(f"no {missing} came within {self._hello_within:.0f} s"), True, goodbye=True)

    def not_listening(self, now: float) -> None:
        """This side does not read for now, by its own choice.

        So silence is no sign of death, and since no Pong can be given, a Ping shows the other side that this one lives.
        """
        if self.state is LinkState.OPEN:
            self._heard = now
            self._ask()

    def validate(self) -> None:
        """Raise AssertionError unless what this link holds fits together; for tests, after every step."""
        assert len(self._kept) == self._last - self._acked, "a kept message is missing or too many"
        assert self._kept_bytes == sum(map(len, self._kept))
        assert self._told <= self._durable <= self._received
        assert not self._run or self._run_size == FRAME_OVERHEAD + sum(map(len, self._run)) <= FRAME_MAX
        assert self._ready_size == sum(map(len, self._ready))
        assert self._run_first <= self._last
        assert (self.version == 0) or self.hello is not None

    # Inside.

    def _ask(self) -> None:
        self._pings += 1
        self._put(0, encode_message(Ping(self._pings)))

    def _unheard(self, what: str) -> FxError:
        if self.side == "connects":
            return HubUnavailable(f"{what}; what the fx hub acknowledged is safe on its disk")
        return InfrastructureError(what)

    def _greet(self) -> None:
        assert self.hello is not None
        self._drop_output()
        self._told = 0
        self.state = LinkState.GREETING
        hello = msgspec.structs.replace(self.hello, received=self._received, acked=self._acked, sent=self._last)
        self._put(0, encode_message(hello))

    def _drop_output(self) -> None:
        self._ready, self._run = [], []
        self._ready_size = 0

    def _put(self, number: int, data: bytes) -> None:
        """Append to the run if it is of the same sort and has room, else begin another one."""
        if self._run:
            if (number != 0) == (self._run_first != 0) and self._run_size + len(data) <= FRAME_MAX:
                self._run.append(data)
                self._run_size += len(data)
                return
            self._seal()
        self._run.append(data)
        self._run_first = number
        self._run_size = FRAME_OVERHEAD + len(data)

    def _seal(self) -> None:
        # A greeting acknowledges nothing: what counts as received is in the greeting itself.
        if self.state is not LinkState.GREETING and self.state is not LinkState.DECIDING:
            self._told = self._durable
        frame = encode_frame(self._run_first, self._told, self._run)
        self._ready.append(frame)
        self._ready_size += len(frame)
        self._run = []

    def _redeliver(self, received: int) -> None:
        """Put every kept message after `received` once more."""
        for number, data in enumerate(self._kept, self._acked + 1):
            if number > received:
                self._put(number, data)

    def _end(
        self, error: FxError | None, retry: bool, *, goodbye: bool, tell: bool = True, final: bool = False
    ) -> None:
        """Be DOWN if the link can come back, else CLOSED; say Goodbye if there is somebody to say it to."""
        greeted = self.state in {LinkState.OPEN, LinkState.DECIDING, LinkState.AWAITING}
        comes_back = self.side == "connects" and retry and not final
        if self.state is not LinkState.OPEN or not goodbye:
            self._drop_output()
        self.state = LinkState.DOWN if comes_back else LinkState.CLOSED
        if goodbye and greeted:
            info = error_info(error) if error is not None else ErrorInfo("", "")
            try:
                data = encode_message(Goodbye(info, retry))
            except LocalProtocolError:
                data = encode_message(Goodbye(ErrorInfo(info.etype, info.message[:1000]), retry))
            self._put(0, data)
        if tell:
            self._events.append(Closed(error, retry))

    def _take(self, first: int, ack: int, messages: list[Any]) -> None:
        if ack > self._acked:
            self._take_ack(ack)
        if first:
            self._take_kept(first, messages)
            return
        for message in messages:
            kind = type(message)
            if kind in _CONTROL or self.state is not LinkState.OPEN:
                self._take_control(message)
                if self.state in {LinkState.CLOSED, LinkState.DOWN}:
                    return
            else:
                self._check(kind, message)
                self._events.append(Received(message, 0))

    def _take_ack(self, ack: int) -> None:
        if self.state is not LinkState.OPEN or ack > self._last:
            raise RemoteProtocolError(f"message {ack} is acknowledged, but {self._last} is the last that was sent")
        self._forget(ack)

    def _forget(self, ack: int) -> None:
        for _ in range(ack - self._acked):
            self._kept_bytes -= len(self._kept.popleft())
        self._acked = ack
        self._events.append(Acked(ack))

    def _take_kept(self, first: int, messages: list[Any]) -> None:
        """Tell those that are new. A redelivery may begin before what is known here, never after it."""
        if self.state is not LinkState.OPEN:
            raise RemoteProtocolError(f"kept messages in state {self.state.name}")
        if first > self._received + 1:
            lost = f"message {first} came after {self._received}: the ones between are missing"
            raise RemoteProtocolError(lost, retry=True)
        for number, message in enumerate(messages, first):
            kind = type(message)
            if kind in _CONTROL:
                raise RemoteProtocolError(f"a {kind.__name__} cannot be a kept message")
            if number > self._received:
                self._check(kind, message)
                self._received = number
                self._events.append(Received(message, number))

    @staticmethod
    def _check(kind: type, message: Any) -> None:
        if kind in {Submit, Dispatch} and len(message.tasks) > TASKS_PER_FRAME:
            raise RemoteProtocolError(
                f"{len(message.tasks)} tasks in one {kind.__name__} are over the limit of {TASKS_PER_FRAME}"
            )

    def _take_control(self, message: Any) -> None:
        state, kind = self.state, type(message)
        if kind is Goodbye:
            error = error_from(message.error) if message.error.etype else None
            self._end(error, message.retry, goodbye=False)
        elif kind is Hello and state is LinkState.AWAITING:
            self._take_hello(message)
        elif kind is Welcome and state is LinkState.GREETING:
            self._take_welcome(message)
        elif kind is Ping and state is LinkState.OPEN:
            self._put(0, encode_message(Pong(message.n)))
        elif kind is not Pong or state is not LinkState.OPEN:
            raise RemoteProtocolError(f"a {kind.__name__} has no place in state {state.name}")

    def _take_hello(self, hello: Hello) -> None:
        common = min(hello.version, VERSION)
        if common < max(hello.oldest, OLDEST_VERSION):
            who = "the side that connects" if hello.version < VERSION else "the fx hub"
            raise VersionMismatch(
                f"it speaks versions {hello.oldest} to {hello.version} of the protocol, "
                f"the fx hub speaks {OLDEST_VERSION} to {VERSION}: upgrade {who}"
            )
        self.hello, self.version = hello, common
        self.state = LinkState.DECIDING
        self._events.append(Opened(hello))
        if self._answer is not None:
            self.accept(self._answer(hello))

    def _take_welcome(self, welcome: Welcome) -> None:
        hello = self.hello
        assert hello is not None
        if not hello.oldest <= welcome.version <= hello.version:
            who = "the fx hub" if welcome.version < hello.oldest else "this side"
            raise VersionMismatch(
                f"the fx hub speaks version {welcome.version} of the protocol, "
                f"this side {hello.oldest} to {hello.version}: upgrade {who}"
            )
        if welcome.received > self._last:
            raise RemoteProtocolError(
                f"message {welcome.received} is said to be received, but {self._last} is the last that was sent"
            )
        self.version = welcome.version
        self.state = LinkState.OPEN
        if welcome.received > self._acked:
            self._forget(welcome.received)
        self._events.append(Opened(welcome))
        self._redeliver(0)
