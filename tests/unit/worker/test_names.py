"""Which names a cell is seen to assign, and how what stays is described."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from jupyter_fx_worker import envelope, names, pristine


def run(source, ns, want=(), limit=1000, *, whole=True):
    before = names.Snapshot(ns, source, limit)
    exec(source, ns)
    return before.compare(ns, frozenset(want), same_python=True, whole=whole)


@pytest.mark.parametrize(
    ("source", "ns", "home"),
    [
        ("x = 1", {}, {"x"}),
        ("x = 1", {"x": 1}, {"x"}),
        ("y = x", {"x": [1]}, {"x", "y"}),
        ("y = x", {"x": (1,)}, {"y"}),
        ("x += [2]", {"x": [1]}, {"x"}),
        ("x.append(2)", {"x": [1]}, {"x"}),
        ("len(x)", {"x": [1]}, set()),
        ("x[0] = 5", {"x": np.zeros(3)}, {"x"}),
        ("x.sum()", {"x": np.zeros(3)}, set()),
        ("def f():\n    global g\n    g = 1\nf()", {}, {"f", "g"}),
        ("import os", {}, set()),
        ("_ = 1; _fx = 2; __d__ = 3; _i5 = 4; _7 = 5; In = 6", {}, set()),
        ("_mine = 1", {}, {"_mine"}),
        ("for i in range(2): pass", {}, {"i"}),
    ],
)
def test_assigned_and_changed_names(source, ns, home):
    assert set(run(source, ns).values) == home


def test_too_big_stays_unless_wanted_and_is_never_pickled_for_nothing():
    class Dear:
        nbytes = 10**9

        def __reduce__(self):
            raise AssertionError("pickled for nothing")

    found = run("y = x; z = list(range(10**5)); t = 'a' * 5000", {"x": Dear()}, want=["t"])
    assert set(found.stay) == {"y", "z"}
    assert set(found.values) == {"t"}
    assert found.stay["y"]["size"] == 10**9
    assert "larger than 1000 bytes" in found.why["z"]


def test_values_that_share_objects_share_them_at_home():
    from jupyter_fx_worker import envelope

    found = run("a = [1]; b = {'a': a}", {})
    _, back = envelope.loads(b"".join(found.dumps()))
    assert back["b"]["a"] is back["a"]


def test_deleted_and_missing_names_are_told():
    found = run("del x", {"x": 1}, want=["never"])
    assert found.deleted == ["x"]
    assert "no variable" in found.why["never"]


def test_code_stays_when_home_runs_another_python():
    ns = {"__name__": "__main__"}
    before = names.Snapshot(ns, "", 1000)
    exec("f = lambda: 1\ng = 2", ns)
    found = before.compare(ns, frozenset(), same_python=False, whole=True)
    assert set(found.values) == {"g"}
    assert found.bind == []
    assert "code without a source" in found.why["f"]


def test_a_hostile_value_is_described_all_the_same():
    class Hostile:
        def __getattr__(self, name):
            raise RuntimeError(name)

        def __repr__(self):
            raise KeyboardInterrupt

        def __reduce_ex__(self, protocol):
            raise RuntimeError("no")

    found = run("y = x", {"x": Hostile()})
    assert found.stay["y"]["type"].endswith("Hostile")
    assert len(found.stay["y"]["repr"]) <= 500


def test_a_frame_is_as_large_as_its_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": range(100_000), "b": 1.0})
    assert names.estimate(frame) >= 1_600_000
    assert names.estimate(frame["a"]) >= 800_000


def test_what_is_larger_than_what_comes_home_is_seen_to_change_in_place():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": np.arange(5000), "y": ["a"] * 5000})
    assert set(run("frame.loc[3, 'x'] = 7", {"frame": frame}).stay) == {"frame"}
    assert set(run("frame.loc[3, 'y'] = 'b'", {"frame": frame}).stay) == {"frame"}
    assert set(run("frame.x.sum()", {"frame": frame}).stay) == set()
    assert set(run("long[77] = 0", {"long": list(range(5000))}).stay) == {"long"}
    assert set(run("len(long)", {"long": list(range(5000))}).stay) == set()


def test_looking_at_a_value_keeps_no_copy_of_it_and_ends_at_the_limit():
    array = np.arange(10**6)
    one = envelope.fingerprint({"a": array}, 10_000, 10**8)
    array[5] = 0
    assert envelope.fingerprint({"a": array}, 10_000, 10**8) != one
    for limits in ((10_000, 10**6), (10, 10**8)):
        with pytest.raises(envelope.TooBig):
            envelope.fingerprint({"a": array, "b": "text" * 10}, *limits)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells which pages were written to")
def test_a_mapped_array_is_as_it_came_until_it_is_written_to(tmp_path):
    path = tmp_path / "part"
    np.arange(200_000, dtype="f8").tofile(path)
    with open(path, "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    array = np.frombuffer(view, "f8")
    assert array.sum() > 0
    assert pristine.is_pristine(array)
    assert pristine.is_pristine(array[1000:5000].reshape(40, 100))
    assert not pristine.is_pristine(array[::2])
    assert not pristine.is_pristine(np.arange(200_000.0))
    array[70_000] = 0
    assert not pristine.is_pristine(array)


def test_a_large_array_that_came_is_not_read_to_see_that_it_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "_LARGE", 0)
    asked = iter([True, True, True, False])
    monkeypatch.setattr(names.pristine, "is_pristine", lambda _array: next(asked))
    array = np.zeros(3)
    assert set(run("x.sum()", {"x": array}).values) == set()
    assert set(run("x[0] = 1", {"x": array}).values) == {"x"}
