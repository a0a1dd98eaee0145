"""What engines of others are asked, told and refused, without any engine."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
from engine_story import log_of, pack

from jupyter_fx.endpoint.engines import limits
from jupyter_fx.endpoint.engines.fence import Fence, forget, left_behind, name_of, started
from jupyter_fx.endpoint.engines.harvest import harvest, lost
from jupyter_fx.endpoint.engines.link import check
from jupyter_fx.endpoint.engines.parsl_engine import load_config
from jupyter_fx.endpoint.settings import load_blocks, load_settings
from jupyter_fx.errors import FxError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import Resources, TaskOptions
from jupyter_fx_worker import parcels

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


# What they cannot do.


@pytest.mark.parametrize(
    ("resources", "word"),
    [
        (Resources(cores=4), "4 cores"),
        (Resources(memory=2 << 30), "2.0 GiB"),
        (Resources(gpus=1), "1 GPUs"),
        (Resources(exclusive=True), "a whole node"),
        (Resources(environment="py.sqfs"), "no environment 'py.sqfs'"),
    ],
)
def test_what_an_engine_cannot_do_is_said_with_a_cure(resources: Resources, word: str) -> None:
    said = limits.resources_refusal("parsl", resources)
    assert word in said
    assert "Parsl" in said
    assert "leave" in said
    assert not limits.resources_refusal("", resources)


def test_a_timeout_a_cell_and_a_session_are_refused() -> None:
    assert "timeout=5" in limits.refusal("dask", 0, TaskOptions(timeout=5.0))
    assert "no session" in limits.refusal("dask", 2, None)
    assert not limits.refusal("dask", 0, TaskOptions())
    assert not limits.refusal("", 2, TaskOptions(timeout=5.0))


# Who has a parcel.


def test_a_fence_that_is_closed_says_what_had_started(tmp_path: Path) -> None:
    fence = Fence(tmp_path / "fence", "a")
    ids = [new_id() for _ in range(6)]
    names = [name_of(ids[0], 1, 1, 1), name_of(ids[1], 2, 1, 1), name_of(ids[2], 1, 3, 1), name_of(ids[5], 1, 2, 1)]
    (fence.path / names[0]).touch()
    assert fence.revoke(names[1])
    assert not fence.revoke(names[0])
    told = log_of({"op": "parcel", "tasks": ids[2:5]}, {"op": "start", "no": 0, "t": 1.0})
    (fence.path / names[2]).write_bytes(told + told[:9])
    (fence.path / names[3]).touch()
    assert fence.claimed() == set(names)
    for _ in range(2):
        found = left_behind(tmp_path / "fence")
        assert sorted(one.tasks for one in found) == sorted([[ids[0]], ids[2:5]])
        assert not fence.path.exists()
    assert {tuple(one.tasks): started(one.log, len(one.tasks)) for one in found} == {
        (ids[0],): {0},
        tuple(ids[2:5]): {0},
    }
    forget(tmp_path / "fence")
    assert left_behind(tmp_path / "fence") == []


def read_by_us() -> int:
    told = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in told if line.startswith("rchar:")).split()[1])


def test_what_a_silent_worker_has_written_is_read_once(tmp_path: Path) -> None:
    fence, name = Fence(tmp_path / "fence", "a"), name_of(new_id(), 1, 2, 1)
    start = log_of({"op": "start", "no": 0, "t": 1.0})
    text = log_of({"op": "text", "no": 0, "stream": 1}) * 20_000
    assert fence.log(name) == []
    (fence.path / name).write_bytes(start + text + start[:5])
    assert len(fence.log(name)) == 20_001
    before = read_by_us()
    assert len(fence.log(name)) == 20_001
    assert read_by_us() - before < 10_000
    with (fence.path / name).open("ab") as file:
        file.write(start[5:] + start)
    assert [header["op"] for header, _ in fence.log(name)[-3:]] == ["text", "start", "start"]
    assert len(fence.log(name)) == 20_003
    fence.forget(name)
    assert fence.log(name) == []


def test_a_file_that_is_no_log_says_nothing(tmp_path: Path) -> None:
    fence, name = Fence(tmp_path / "fence", "a"), name_of(new_id(), 1, 1, 1)
    (fence.path / name).write_bytes(log_of({"op": "start", "no": 0, "t": 1.0}) + b"\xff" * 100)
    assert fence.log(name) == []
    assert fence.log(name) == []


def test_finished_items_of_a_lost_map_are_kept(tmp_path: Path) -> None:
    values = pack([1, 2], "results")
    log = [
        ({"op": "parcel", "tasks": ["t"]}, memoryview(b"")),
        ({"op": "start", "no": 0, "t": 5.0}, memoryview(b"")),
        ({"op": "items", "no": 0, "first": 0, "count": 2}, memoryview(values)),
    ]
    (one,) = harvest(["t"], log, tmp_path)
    assert one.ended is None
    end = one.lost(lost("parsl", "node n3 is down"))
    assert (end.outcome, end.payload, end.t0) == ("lost", values, 5.0)
    assert end.error is not None
    assert "node n3 is down; 2 items" in end.error.message
    assert end.error.details["finished"] == 2


# Settings.


def settings(folder: Path, text: str) -> Path:
    path = folder / "config.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("c.Endpoint.engine = 'ray'", "'ray'"),
        ("c.Endpoint.engine = 'dask'", "engine_address"),
        ("c.Endpoint.engine = 'parsl'", "needs c.Endpoint.engine_config"),
        ("c.Endpoint.engine = 'parsl'\nc.Endpoint.engine_config = 'no_such_module:config'", "No module named"),
        ("c.Endpoint.engine = 'parsl'\nc.Endpoint.engine_config = '/no/such/file.py:config'", "there is no file"),
        ("c.Endpoint.engine = 'parsl'\nc.Endpoint.engine_config = 'os:config'", "os has no 'config'"),
        ("c.Endpoint.engine = 'parsl'\nc.Endpoint.engine_config = 'os:sep'", "is str, not a parsl.Config"),
        ("c.Endpoint.engine = 'dask'\nc.Endpoint.engine_address='local'\nc.Blocks.provider='local'", "exclude"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_their_reason(tmp_path: Path, text: str, says: str) -> None:
    path = settings(tmp_path, text)
    with pytest.raises(FxError, match=says):
        check(load_settings(path), load_blocks(path))


def test_a_parsl_config_is_taken_as_it_is_made_or_found(tmp_path: Path) -> None:
    from parsl.config import Config

    (tmp_path / "mine.py").write_text(
        "from parsl.config import Config\nfrom parsl.executors import ThreadPoolExecutor\n"
        "def make():\n    return Config(executors=[ThreadPoolExecutor(max_threads=3)])\nconfig = make()\n"
    )
    text = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport mine\nc.Endpoint.engine = 'parsl'\n"
    path = settings(tmp_path, text + "c.Endpoint.engine_config = mine.make()\n")
    try:
        assert isinstance(load_settings(path).engine_config, Config)
    finally:
        sys.path.remove(str(tmp_path))
    for place in (f"{tmp_path}/mine.py:make", f"{tmp_path}/mine.py", f"{tmp_path}/mine.py:config"):
        assert load_config(place).executors[0].max_threads == 3


def test_what_a_file_system_leaves_in_a_fence_stops_nobody(tmp_path: Path) -> None:
    fence, task = Fence(tmp_path / "fence", "a"), new_id()
    (fence.path / name_of(task, 1, 1, 7)).touch()
    (fence.path / ".nfs000000000012a4").touch()
    assert [one.tasks for one in left_behind(tmp_path / "fence")] == [[task]]


def test_items_that_cannot_be_fetched_are_an_error_of_their_chunk(tmp_path: Path) -> None:
    nothing = memoryview(b"")
    log = [
        ({"op": "parcel", "tasks": ["t"]}, nothing),
        ({"op": "start", "no": 0, "t": 5.0}, nothing),
        ({"op": "items", "no": 0, "first": 0, "count": 2, "path": str(tmp_path / "gone")}, nothing),
        ({"op": "done", "no": 0, "outcome": "ok", "t0": 5.0, "t1": 6.0, "n": 2}, nothing),
    ]
    (one,) = harvest(["t"], log, tmp_path)
    assert one.ended is not None
    assert one.ended.error is not None
    assert "its result cannot be fetched" in one.ended.error.message
    assert str(tmp_path / "gone") in one.ended.error.message
    assert not list(tmp_path.iterdir())


def test_a_parcel_is_revoked_on_a_full_disk_or_is_not(tmp_path: Path) -> None:
    fence, name = Fence(tmp_path / "fence", "a"), name_of(new_id(), 1, 1, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files can be made, and nothing can be written to them, as where the last block is used up.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        assert fence.revoke(name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = {"fence": str(fence.path), "name": name, "functions": {}, "tasks": [{}], "spill": str(tmp_path)}
    assert parcels.run(told)["refused"] == "taken"
    assert left_behind(tmp_path / "fence") == []
