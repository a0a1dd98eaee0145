"""Envelopes: values with their buffers, headers that can be read without opening, and refusals before harm is done."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx_worker import binding, envelope, inputs

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=5000),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.tuples(inner, inner)
    ),
    max_leaves=10,
)


def joined(*args, **kwargs):
    return bytearray(b"".join(envelope.dumps(*args, **kwargs)))


@given(values)
def test_values_come_back_equal(value):
    header, back = envelope.loads(joined(value, "result"))
    assert back == value
    assert header["k"] == "result"


@given(st.binary(max_size=100))
def test_garbage_is_refused_as_such(noise):
    with pytest.raises(envelope.EnvelopeError):
        envelope.loads(noise)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10_000),
        np.asfortranarray(np.arange(10_000.0).reshape(100, 100)),
        np.arange(10_000)[::3],
        np.zeros((0, 3)),
        np.array(5.0),
        np.array(["a", "bcd"]),
        np.array([b"x"]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([1 + 2j]),
        np.zeros(2000, dtype=[("a", "i4"), ("b", "f8")]),
        np.array([None, {}], dtype=object),
        np.zeros(3, dtype="S0"),
        np.arange(6, dtype=">i4"),
    ],
    ids=str,
)
def test_arrays_come_back_whole_and_writable(array):
    for data in (joined(array, "result"), bytes(joined(array, "result"))):
        _, back = envelope.loads(data)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert (back == array).all()
        assert back.flags.writeable


def test_a_large_array_is_not_copied_into_the_envelope_and_is_aligned():
    array = np.arange(100_000)
    pieces = envelope.dumps({"a": array}, "result")
    assert any(isinstance(piece, memoryview) and piece.nbytes == array.nbytes for piece in pieces)
    data = bytearray(b"".join(pieces))
    header, _ = envelope.peek(data)
    assert header["b"][1] == array.nbytes
    assert (len(data) - array.nbytes) % envelope.ALIGN == 0
    _, back = envelope.loads(data)
    assert np.shares_memory(back["a"], np.frombuffer(data, np.uint8))


def test_many_small_arrays_do_not_overflow_the_header():
    _, back = envelope.loads(joined([np.arange(300) for _ in range(30_000)], "results"))
    assert len(back) == 30_000


def test_code_is_marked():
    data = joined(lambda x: x, "result")
    assert envelope.peek(data)[0]["code"] is True
    assert "code" not in envelope.peek(joined([1, "a"], "result"))[0]


def test_a_cut_envelope_is_refused():
    data = joined(np.arange(10_000), "result")
    with pytest.raises(envelope.EnvelopeError, match="cut off"):
        envelope.loads(data[:-1])


def test_pickling_stops_at_its_limit():
    with pytest.raises(envelope.TooBig):
        envelope.pickled([list(range(1000))] * 1 + [str(n) for n in range(100_000)], limit=10_000)
    with pytest.raises(envelope.TooBig):
        envelope.pickled(np.zeros(100_000), limit=10_000)
    with pytest.raises(TypeError):
        envelope.pickled(threading.Lock(), limit=10_000)


def test_cached_functions_travel_by_value():
    @functools.lru_cache(maxsize=7)
    def twice(x):
        return 2 * x

    _, back = envelope.loads(joined(twice, "fn"))
    assert back(4) == 8
    assert back.cache_parameters() == {"maxsize": 7, "typed": False}


def test_results_of_others_stand_behind_the_arguments():
    class Waits:
        def __reduce__(self):
            return inputs.take, (0,)

    data = joined(((Waits(),), {}), "args", refs=1) + joined(np.arange(5000), "result")
    _, (args, _) = inputs.loads(data)
    assert args[0].tolist() == list(range(5000))


def test_bound_functions_see_the_namespace_and_unbound_ones_take_nothing_along():
    def reads(extra=1, *, more=2):
        return shared + extra + more  # noqa: F821

    namespace = {"__name__": "__main__", "shared": 39}
    bound = binding.bind(reads, namespace)
    assert bound() == 42
    namespace["shared"] = 0
    assert bound(extra=5) == 7
    assert binding.unbound(bound).__globals__.keys() <= {"__name__", "__builtins__"}
    assert binding.bind(len, namespace) is len


def test_classes_with_slots_keep_them_on_the_other_side():
    module = types.ModuleType("__main__")
    exec(
        "from dataclasses import dataclass\n"
        "class Slots:\n    __slots__ = ('q', '__dict__')\n"
        "class Bare:\n    __slots__ = 'q'\n"
        "@dataclass(slots=True)\nclass Data:\n    x: int = 3\n",
        module.__dict__,
    )
    data, _buffers, _code = envelope.pickled([module.Bare, module.Slots, module.Data])
    program = (
        (
            "import pickle, sys; sys.path[:0] = [PATH]; from jupyter_fx_worker import envelope\n"
            "Bare, Slots, Data = pickle.loads(DATA)\n"
            "bare = Bare(); bare.q = 1\n"
            "print(hasattr(bare, '__dict__'), hasattr(Slots(), '__dict__'), hasattr(Data(4), '__dict__'), Data().x)\n"
        )
        .replace("PATH", repr(str(Path(envelope.__file__).parents[1])))
        .replace("DATA", repr(data))
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "False True False 3\n", done.stderr
