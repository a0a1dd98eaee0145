from __future__ import annotations

import pytest

from jupyter_fx.errors import RemoteProtocolError
from jupyter_fx.protocol.mux import CHUNK, GREETING_MAX, MARK, WINDOW, Kind, Reader, Windows, control, frame, more


def test_frames_come_out_as_they_went_in_however_they_are_cut() -> None:
    data = control(node="login1") + frame(Kind.OPEN, 1) + frame(Kind.DATA, 1, b"x" * CHUNK) + more(1, 300_000)
    for step in (1, 7, 4096, len(data)):
        reader = Reader()
        found = [one for at in range(0, len(data), step) for one in reader.feed(data[at : at + step])]
        assert [one.kind for one in found] == [Kind.CONTROL, Kind.OPEN, Kind.DATA, Kind.MORE]
        assert found[0].told == {"node": "login1"}
        assert found[2].data == b"x" * CHUNK
        assert found[3].amount == 300_000


@pytest.mark.parametrize("talk", [b"", b"Welcome to the cluster!\nQuota: 90 %\n"])
def test_what_a_login_shell_says_first_is_left_out(talk: bytes) -> None:
    reader = Reader(greeting=True)
    assert [one.kind for one in reader.feed(talk + MARK + frame(Kind.OPEN, 1))] == [Kind.OPEN]


def test_a_mark_that_comes_in_pieces_is_found() -> None:
    reader = Reader(greeting=True)
    data = b"motd" + MARK + frame(Kind.CLOSE, 2)
    assert [one.kind for byte in data for one in reader.feed(bytes([byte]))] == [Kind.CLOSE]


def test_endless_talk_is_no_answer_and_is_quoted() -> None:
    reader = Reader(greeting=True)
    with pytest.raises(RemoteProtocolError, match="This account is not available"):
        list(reader.feed(b"." * GREETING_MAX + b"This account is not available."))


@pytest.mark.parametrize("data", [frame(9, 1), frame(0, 1), b"\x03\x00\x00\x00\x01\xff\xff\xff\xff"])
def test_a_frame_of_no_kind_or_size_ends_it_before_memory_is_spent(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="sent a frame of kind"):
        list(Reader().feed(data))


def test_a_control_frame_that_is_no_object_is_refused() -> None:
    (one,) = Reader().feed(frame(Kind.CONTROL, 0, b"[1]"))
    with pytest.raises(RemoteProtocolError, match="no object"):
        _ = one.told


def test_a_window_closes_and_is_opened_again_by_what_was_handed_on() -> None:
    near, far = Windows(), Windows()
    near.sent(WINDOW)
    far.came(WINDOW)
    assert near.free == 0
    assert far.handed_on(CHUNK) == 0
    told = far.handed_on(WINDOW // 2)
    assert told == WINDOW // 2 + CHUNK
    near.widened(told)
    assert near.free == told


def test_who_sends_more_than_its_window_is_cut_off() -> None:
    far = Windows()
    far.came(WINDOW)
    with pytest.raises(RemoteProtocolError, match="more than its window"):
        far.came(1)


def test_who_acknowledges_what_was_never_sent_is_cut_off() -> None:
    with pytest.raises(RemoteProtocolError, match="never sent"):
        Windows().widened(1)
