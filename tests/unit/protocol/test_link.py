from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.errors import (
    AuthError,
    HubUnavailable,
    LocalProtocolError,
    RemoteProtocolError,
    UsageError,
    VersionMismatch,
)
from jupyter_fx.protocol import link as link_module
from jupyter_fx.protocol.codec import decode_frame, encode_frame, encode_message
from jupyter_fx.protocol.limits import FRAME_MAX, TASKS_PER_FRAME
from jupyter_fx.protocol.link import Acked, Closed, Link, LinkState, Opened, Received
from jupyter_fx.protocol.messages import (
    Cancel,
    Detach,
    ErrorInfo,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Submit,
    TaskSpec,
    Welcome,
)
from jupyter_fx.testing import FakeWire

HELLO = Hello(1, 1, "client", "0" * 32, sent=0)
WELCOME = Welcome(1, 1, "tester", 0)


def detach(n: int) -> Detach:
    return Detach([str(n)])


def frame(*messages: object, first: int = 0, ack: int = 0) -> bytes:
    return encode_frame(first, ack, [encode_message(message) for message in messages])


def open_wire() -> FakeWire:
    wire = FakeWire(HELLO)
    wire.run()
    assert wire.client.link.is_open
    assert wire.server.link.is_open
    return wire


def accepting() -> Link:
    link = Link("accepts", now=0.0, welcome=lambda _: WELCOME)
    link.receive_data(frame(HELLO), 0.0)
    link.events()
    link.data_to_send()
    return link


def test_hello_then_welcome_opens_both_sides() -> None:
    wire = open_wire()
    assert wire.client.opened[0].user == "tester"  # type: ignore[union-attr]
    assert wire.server.opened[0].link_id == HELLO.link_id  # type: ignore[union-attr]
    assert wire.client.link.version == wire.server.link.version == 1


def test_order_is_kept_across_passing_and_kept_messages() -> None:
    wire = open_wire()
    for n in range(20):
        wire.client.send(detach(n), keep=n % 3 == 0)
    wire.run()
    assert wire.server_got == [detach(n) for n in range(20)]
    assert [number for number, _ in wire.server.got if number] == list(range(1, 8))


def test_small_messages_share_a_frame_and_large_ones_do_not_outgrow_it() -> None:
    link = accepting()
    for n in range(1000):
        link.send(detach(n))
    assert len(link.data_to_send()) == 1
    for _ in range(10):
        link.send(Submit([TaskSpec("t", 0, "f", bytes(300_000))]), keep=True)
    frames = link.data_to_send()
    assert len(frames) == 4
    assert max(map(len, frames)) <= FRAME_MAX
    assert [decode_frame(data).first for data in frames] == [1, 4, 7, 10]


def test_an_ack_travels_with_data_and_alone_only_if_it_must() -> None:
    link = accepting()
    link.receive_data(frame(detach(1), detach(2), first=1), 1.0)
    link.acknowledge(2)
    assert link.ack_pending
    assert link.data_to_send(ack_alone=False) == []
    link.send(detach(9))
    (data,) = link.data_to_send()
    assert decode_frame(data).ack == 2
    assert not link.ack_pending
    assert link.data_to_send() == []
    link.receive_data(frame(detach(3), first=3), 1.0)
    link.acknowledge(3)
    (data,) = link.data_to_send()
    assert decode_frame(data) == (0, 3, [])


def test_an_acked_message_is_forgotten_and_the_owner_is_told() -> None:
    wire = open_wire()
    wire.server.auto_ack = False
    for n in range(3):
        wire.client.send(detach(n), keep=True)
    wire.run()
    assert wire.client.link.unacked_count == 3
    wire.server.link.acknowledge(2)
    wire.run()
    assert wire.client.acked == 2
    assert wire.client.link.unacked_count == 1
    assert wire.client.link.unacked_bytes == len(encode_message(detach(2)))
    wire.server.link.acknowledge(1)
    wire.run()
    assert wire.client.acked == 2


def test_a_server_that_was_restarted_and_knows_nothing_is_given_what_was_not_acked() -> None:
    wire = open_wire()
    wire.client.send(detach(1), keep=True)
    wire.run()
    wire.server.auto_ack = False
    wire.client.send(detach(2), keep=True)
    wire.run()
    wire.reconnect(forget=True)
    wire.run()
    assert wire.server.got == [(2, detach(2))]
    assert wire.client.link.unacked_count == 0


def test_what_the_server_kept_is_numbered_on_where_the_client_stands_after_a_restart() -> None:
    wire = open_wire()
    for n in range(3):
        wire.server.send(detach(n), keep=True)
    wire.run()
    wire.reconnect(forget=True)
    wire.run()
    assert wire.server.send(detach(3), keep=True) == 4
    wire.run()
    assert wire.client.got == [(n + 1, detach(n)) for n in range(4)]


def test_passing_messages_are_dropped_while_the_link_is_not_open() -> None:
    wire = open_wire()
    wire.cut()
    assert wire.client.send(detach(1)) == 0
    assert wire.client.send(detach(2), keep=True) == 1
    wire.reconnect()
    wire.run()
    assert wire.server_got == [detach(2)]


def test_reordered_and_repeated_frames_cannot_lose_or_double_a_kept_message() -> None:
    wire = open_wire()
    with wire.duplicate():
        wire.client.send(detach(0), keep=True)
        wire.run()
    with wire.reorder():
        for n in range(1, 4):
            wire.client.send(Submit([TaskSpec(str(n), 0, "f", bytes(600_000))]), keep=True)
        wire.run()
    assert isinstance(wire.client.closed[-1].error, RemoteProtocolError)
    assert wire.client.closed[-1].retry
    wire.reconnect()
    wire.run()
    assert [number for server in wire.servers for number, _ in server.got] == [1, 2, 3, 4]


def test_a_gap_right_after_the_welcome_is_seen() -> None:
    link = accepting()
    link.receive_data(frame(detach(3), first=3), 0.0)
    (closed,) = link.events()
    assert isinstance(closed, Closed)
    assert closed.retry


def test_quiet_sides_ping_and_a_dead_one_is_noticed() -> None:
    wire = open_wire()
    wire.tick(10.0)
    assert wire.client.link.is_open
    assert wire.server.link.is_open
    assert wire.client.link.next_timer() == wire.clock.monotonic() + 10.0
    wire.clock.advance(10.0)
    wire.client.link.handle_timer(wire.clock.monotonic())
    assert isinstance(decode_frame(wire.client.link.data_to_send()[0]).messages[0], Ping)
    wire.clock.advance(19.9)
    wire.client.link.handle_timer(wire.clock.monotonic())
    assert wire.client.link.is_open
    wire.clock.advance(0.1)
    wire.client.link.handle_timer(wire.clock.monotonic())
    (closed,) = wire.client.link.events()
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, HubUnavailable)
    assert closed.retry
    assert wire.client.link.state is LinkState.DOWN
    wire.reconnect()
    wire.run()
    assert wire.client.link.is_open


def test_talk_puts_off_pings() -> None:
    wire = open_wire()
    for n in range(10):
        wire.client.send(detach(n), keep=True)
        wire.tick(5.0)
    assert Ping not in {type(message) for message in wire.server_got}
    assert wire.client.link._pings == wire.server.link._pings == 0


def test_a_side_that_does_not_listen_on_purpose_is_not_taken_for_dead_nor_takes_the_other_for_it() -> None:
    wire = open_wire()
    for _ in range(10):
        wire.clock.advance(10.0)
        wire.server.link.not_listening(wire.clock.monotonic())
        for data in wire.server.link.data_to_send():
            wire.client.feed(data)
        for end in (wire.client, wire.server):
            end.link.handle_timer(wire.clock.monotonic())
        assert wire.client.link.is_open
        assert wire.server.link.is_open


def test_nobody_greets_in_time() -> None:
    server = Link("accepts", now=0.0)
    assert server.next_timer() == 10.0
    server.handle_timer(9.9)
    assert server.events() == []
    server.handle_timer(10.0)
    assert server.state is LinkState.CLOSED
    client = Link("connects", hello=HELLO, now=0.0)
    client.handle_timer(10.0)
    assert client.state is LinkState.DOWN
    assert client.data_to_send() == []


@pytest.mark.parametrize(
    ("hello", "which"),
    [
        (Hello(3, 3, "client", "l"), "upgrade the fx hub"),
        (Hello(0, 0, "client", "l"), "upgrade the side that connects"),
    ],
)
def test_versions_without_a_common_one_are_refused_and_told_which_to_upgrade(hello: Hello, which: str) -> None:
    wire = FakeWire(hello)
    wire.run()
    (closed,) = wire.client.closed
    assert isinstance(closed.error, VersionMismatch)
    assert which in closed.error.message
    assert f"{hello.version}" in closed.error.message
    assert not closed.retry
    assert wire.client.link.state is LinkState.CLOSED


def test_they_speak_the_highest_version_that_both_know(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = FakeWire(Hello(4, 1, "client", "l"))
    wire.run()
    assert wire.client.link.version == wire.server.link.version == 1
    monkeypatch.setattr(link_module, "VERSION", 3)
    wire = FakeWire(Hello(2, 1, "client", "l"))
    wire.run()
    assert wire.client.link.version == wire.server.link.version == 2


def test_a_welcome_in_a_version_that_this_side_lacks_is_refused() -> None:
    link = Link("connects", hello=HELLO, now=0.0)
    link.receive_data(frame(Welcome(2, 1, "u", 0)), 0.0)
    (closed,) = link.events()
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, VersionMismatch)
    assert "upgrade this side" in closed.error.message


def test_a_refusal_brings_its_error_home() -> None:
    wire = FakeWire(HELLO)
    wire.server.on_hello = None
    wire.run()
    wire.server.link.refuse(AuthError("no such token", scope="run"))
    wire.run()
    (closed,) = wire.client.closed
    assert isinstance(closed.error, AuthError)
    assert closed.error.message == "no such token"
    assert closed.error.details == {"scope": "run"}
    assert not closed.retry


def test_a_goodbye_with_retry_leaves_the_way_open() -> None:
    wire = open_wire()
    wire.client.send(detach(1), keep=True)
    wire.server.link.close(HubUnavailable("restarting"), retry=True)
    wire.run()
    assert wire.client.link.state is LinkState.DOWN
    wire.reconnect()
    wire.run()
    assert wire.server_got == [detach(1)]


def test_closing_is_told_without_an_error() -> None:
    wire = open_wire()
    wire.client.link.close()
    wire.run()
    assert wire.server.closed == [Closed(None, False)]


@pytest.mark.parametrize(
    "data",
    [
        frame(detach(1)),
        frame(WELCOME),
        frame(Ping(1)),
        frame(detach(1), first=1),
        frame(HELLO, HELLO),
        frame(HELLO, detach(1)),
        frame(HELLO, ack=1),
        b"rubbish",
    ],
)
def test_anything_but_one_hello_first_is_refused(data: bytes) -> None:
    link = Link("accepts", now=0.0)
    link.receive_data(data, 0.0)
    assert link.state is LinkState.CLOSED
    closed = link.events()[-1]
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, RemoteProtocolError)
    (said,) = link.data_to_send()
    assert isinstance(decode_frame(said).messages[0], Goodbye)


@pytest.mark.parametrize(
    "data",
    [
        frame(HELLO),
        frame(WELCOME),
        frame(Ping(1), first=1),
        frame(ack=1),
        frame(detach(2), first=2),
        frame(Submit([TaskSpec("t", 0, "f", b"")] * (TASKS_PER_FRAME + 1))),
        bytes(FRAME_MAX + 1),
    ],
)
def test_what_has_no_place_on_an_open_link_closes_it(data: bytes) -> None:
    link = accepting()
    link.receive_data(data, 0.0)
    assert link.state is LinkState.CLOSED
    link.receive_data(frame(detach(1)), 0.0)
    link.receive_eof(0.0)
    assert [type(event) for event in link.events()] == [Closed]


def test_a_welcome_cannot_claim_what_was_never_sent() -> None:
    link = Link("connects", hello=HELLO, now=0.0)
    link.receive_data(frame(Welcome(1, 1, "u", 5)), 0.0)
    assert link.state is LinkState.CLOSED


def snapshot(link: Link) -> object:
    return (link.state, link.unacked_count, link.unacked_bytes, link.pending_bytes, link.received, list(link._events))


@pytest.mark.parametrize(
    "use",
    [
        lambda link: link.send(HELLO),
        lambda link: link.send(Goodbye(ErrorInfo("", ""), True), keep=True),
        lambda link: link.send(Submit([TaskSpec("t", 0, "f", bytes(FRAME_MAX))]), keep=True),
        lambda link: link.acknowledge(1),
        lambda link: link.accept(WELCOME),
        lambda link: link.refuse(UsageError("no")),
        lambda link: link.reconnected(1.0),
    ],
)
def test_illegal_use_raises_and_changes_nothing(use: Callable[[Link], object]) -> None:
    link = accepting()
    before = snapshot(link)
    with pytest.raises(LocalProtocolError):
        use(link)
    assert snapshot(link) == before
    assert link.send(detach(1), keep=True) == 1


def test_nothing_is_sent_on_a_closed_link() -> None:
    link = accepting()
    link.close()
    with pytest.raises(LocalProtocolError):
        link.send(detach(1), keep=True)
    with pytest.raises(LocalProtocolError):
        Link("connects", now=0.0)
    with pytest.raises(LocalProtocolError):
        Link("accepts", hello=HELLO, now=0.0)
    with pytest.raises(LocalProtocolError):
        Link("accepts", now=0.0).send(detach(1), keep=True)


def test_events_tell_the_whole_story_in_order() -> None:
    link = Link("connects", hello=HELLO, now=0.0)
    link.send(detach(1), keep=True)
    (hello,) = link.data_to_send()
    assert [type(message) for message in decode_frame(hello).messages] == [Hello]
    link.receive_data(frame(WELCOME, Pong(1)), 0.0)
    link.receive_data(frame(Cancel(["a"]), ack=1), 0.0)
    assert link.events() == [Opened(WELCOME), Acked(1), Received(Cancel(["a"]), 0)]
    assert link.events() == []


FRAMES = st.one_of(
    st.binary(max_size=30),
    st.builds(
        lambda first, ack, messages: frame(*messages, first=first, ack=ack),
        st.integers(0, 4),
        st.integers(0, 3),
        st.lists(st.sampled_from([HELLO, WELCOME, Ping(1), Pong(1), detach(1), Goodbye(ErrorInfo("X", "y"), True)])),
    ),
)


@given(st.booleans(), st.lists(FRAMES, max_size=6), st.integers(0, 3))
def test_nothing_that_the_other_side_says_makes_a_link_raise(connects: bool, frames: list[bytes], sent: int) -> None:
    link = Link("connects", hello=HELLO, now=0.0) if connects else accepting()
    for n in range(sent):
        link.send(detach(n), keep=True)
    for data in frames:
        link.receive_data(data, 1.0)
        link.validate()
        link.handle_timer(20.0)
        link.events()
        link.data_to_send()
        link.validate()


def test_a_goodbye_too_long_for_a_frame_is_shortened() -> None:
    link = accepting()
    link.close(UsageError("x" * FRAME_MAX))
    (said,) = link.data_to_send()
    (goodbye,) = decode_frame(said).messages
    assert isinstance(goodbye, Goodbye)
    assert len(goodbye.error.message) == 1000


def test_hello_of_an_older_peer_without_the_appended_fields_is_read() -> None:
    old = msgspec.msgpack.encode([1, 1, 1, "client", "l"])
    link = Link("accepts", now=0.0, welcome=lambda _: WELCOME)
    link.receive_data(encode_frame(0, 0, [old]), 0.0)
    assert link.is_open
