"""What is imported in advance because tasks imported it."""

from __future__ import annotations

from jupyter_fx.endpoint.learned import Learned


def test_what_two_workers_import_is_learned_once() -> None:
    one = Learned(["numpy", "scipy"])
    assert one.imported("w1", ["numpy", "scipy", "scipy.stats"]) == []
    assert one.imported("w1", ["numpy"]) == [], "the same worker counts once"
    assert one.imported("w2", ["scipy", "scipy.stats"]) == ["scipy", "scipy.stats"]
    assert one.imported("w3", ["scipy", "numpy"]) == ["numpy"]
    assert one.modules == ["scipy", "scipy.stats", "numpy"]


def test_nothing_else_is_learned_whatever_workers_say() -> None:
    one = Learned(["numpy"])
    for worker in ("w1", "w2", "w3"):
        assert one.imported(worker, ["keras", "numpyx", "os", ""]) == []
    none = Learned([])
    assert none.imported("w1", ["numpy"]) == none.imported("w2", ["numpy"]) == []
