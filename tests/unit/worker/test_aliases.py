"""Names that share objects go on sharing them where they are opened."""

from __future__ import annotations

import numpy as np

from jupyter_fx_worker import envelope
from jupyter_fx_worker.aliases import parts, shared_roots


def there(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with envelope.sharing_memory(values.values()):
        pieces = envelope.dumps(values, "names")
    return envelope.loads(bytearray(b"".join(bytes(piece) for piece in pieces)))[1]


def test_a_view_shows_its_arrays_memory_there_too() -> None:
    a = np.arange(24)
    views = {"a": a, "row": a[2:5], "table": a.reshape(4, 6).T, "back": a[::-1]}
    came = there(views)
    for name, view in views.items():
        assert np.array_equal(came[name], view)
    came["row"][0] = 99
    assert came["a"][2] == came["table"][2, 0] == came["back"][21] == 99


def test_two_views_of_a_nameless_array_share_it_too() -> None:
    nameless = np.arange(6.0)
    came = there({"one": nameless[:4], "two": nameless[2:]})
    came["one"][3] = -1
    assert came["two"][1] == -1


def test_small_views_do_not_take_a_large_array_along() -> None:
    large = np.zeros(1 << 20)
    assert shared_roots([large[:10], large[5:20]]) == {}
    assert list(shared_roots([large, large[:10]])) == [id(large)]
    assert shared_roots([large[:10]]) == {}


def test_what_can_be_changed_through_two_names_is_found() -> None:
    inner: list[int] = [1]
    array = np.zeros(3)
    assert parts({"k": (inner,)}) & parts([inner])
    assert parts(array[1:]) & parts([array])
    assert not parts([1, "a", None, (), 2.5]) & parts([1, "a", None, (), 2.5])
    assert len(parts(list(range(100_000)))) == 1
