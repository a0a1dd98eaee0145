from __future__ import annotations

import threading

import numpy as np
import pytest

from jupyter_fx import payload
from jupyter_fx.errors import PayloadError
from jupyter_fx.payload import values
from jupyter_fx_worker import envelope, inputs


def opened(encoded: payload.Encoded) -> tuple[tuple[object, ...], dict[str, object]]:
    return envelope.loads(bytearray(payload.join(encoded.pieces)), [bytearray(part) for part in encoded.parts])[1]


def test_arguments_come_back_as_they_were() -> None:
    args, kwargs = opened(payload.encode_args((1, "a", [1, {"b": 2}]), {"k": None}))
    assert args == (1, "a", [1, {"b": 2}])
    assert kwargs == {"k": None}


def test_the_size_is_that_of_the_envelope() -> None:
    for args in [(1, 2), ("x" * 1000,), (np.zeros(10_000),)]:
        encoded = payload.encode_args(args, {})
        assert encoded.size == len(payload.join(encoded.pieces))


def test_a_large_array_is_not_copied() -> None:
    array = np.arange(1_000_000)
    encoded = payload.encode_args((array,), {})
    assert [np.shares_memory(np.asarray(part), array) for part in encoded.parts] == [True]
    assert encoded.size < 1000
    assert (opened(encoded)[0][0] == array).all()


class Model:
    def __init__(self) -> None:
        self.parts = {"guard": [1, threading.Lock()]}


def test_the_refusal_names_argument_path_type_and_cure() -> None:
    with pytest.raises(PayloadError) as caught:
        payload.encode_args((1,), {"model": Model()})
    text = str(caught.value)
    assert "argument 'model'" in text
    assert ".parts['guard'][1]" in text
    assert "_thread.lock" in text
    assert "inside of the function" in text


def test_a_generator_is_refused_with_its_position() -> None:
    with pytest.raises(PayloadError, match=r"argument 1 cannot be pickled.*generator.*pass list"):
        payload.encode_args((0, (i for i in range(3))), {})


def test_an_argument_above_the_limit_is_refused_before_it_is_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "BLOB_MAX", 1_000_000)
    monkeypatch.setattr(envelope, "pickled", lambda *_: pytest.fail("it was pickled"))
    with pytest.raises(PayloadError, match=r"argument 'x' \(ndarray\) has 2 MiB, the limit is 976,562 bytes|limit"):
        payload.encode_args((), {"x": [np.zeros(2_000_000, np.uint8)]})


def test_two_gigabytes_are_refused_by_their_size_alone() -> None:
    huge = np.broadcast_to(np.zeros(1, np.uint8), (2 * 2**30,))
    with pytest.raises(PayloadError, match=r"argument 0 .* 2,048 MiB, the limit is 1,024 MiB: keep the data there"):
        payload.encode_args((huge,), {})


class Later:
    def __init__(self, task_id: str) -> None:
        self.task_id = task_id

    def __reduce_ex__(self, _protocol: object) -> object:
        return payload.as_input(self.task_id, "a Later")


def test_what_stands_for_a_result_is_replaced_wherever_it_is() -> None:
    encoded = payload.encode_args((Later("a" * 32), {"deep": [Later("b" * 32), Later("a" * 32)]}), {})
    assert encoded.inputs == ["a" * 32, "b" * 32]
    results = b"".join(payload.join(envelope.dumps(value, "result")) for value in ("first", "second"))
    args, _ = inputs.loads(bytearray(payload.join(encoded.pieces) + results))[1]
    assert args == ("first", {"deep": ["second", "first"]})


def test_arguments_whose_inputs_did_not_come_are_refused() -> None:
    encoded = payload.encode_args((Later("a" * 32),), {})
    with pytest.raises(envelope.EnvelopeError, match="name 1 results of other tasks"):
        inputs.loads(payload.join(encoded.pieces))


def test_outside_of_arguments_a_placeholder_means_nothing() -> None:
    with pytest.raises(PayloadError, match="use its result"):
        payload.as_input("a" * 32, "a Later")


def test_the_items_of_a_chunk_travel_as_one_list() -> None:
    header, items = envelope.loads(payload.join(payload.encode_items([(1, 2), (3, 4)], star=True).pieces))
    assert header["star"] is True
    assert header["n"] == 2
    assert items == [(1, 2), (3, 4)]


def test_an_item_that_cannot_travel_is_named() -> None:
    with pytest.raises(PayloadError, match="item 2 of the chunk"):
        payload.encode_items([1, 2, threading.Lock()], star=False)
