"""What engines of others are asked, told and refused, without any engine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint.engines import limits
from jupyter_fx.endpoint.engines.base import Done as Told
from jupyter_fx.endpoint.engines.base import Health
from jupyter_fx.endpoint.engines.fence import Fence, forget, left_behind, name_of, started
from jupyter_fx.endpoint.engines.harvest import harvest, lost
from jupyter_fx.endpoint.engines.link import check
from jupyter_fx.endpoint.engines.manager import EngineManager
from jupyter_fx.endpoint.engines.parsl_engine import load_config
from jupyter_fx.endpoint.engines.spec import EngineSpec
from jupyter_fx.endpoint.settings import load_blocks, load_settings
from jupyter_fx.endpoint.talk import (
    Back,
    CancelWork,
    Capacity,
    Code,
    Done,
    Drain,
    Ended,
    Go,
    Halt,
    OpenWorker,
    Place,
    Said,
    SessionGone,
    Want,
    Work,
)
from jupyter_fx.errors import FxError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import Resources, TaskOptions
from jupyter_fx_worker import envelope, frames, parcels

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def pack(value: Any, kind: str) -> bytes:
    return b"".join(bytes(piece) for piece in envelope.dumps(value, kind))


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


def log_of(*headers: dict[str, Any]) -> bytes:
    return b"".join(bytes(piece) for header in headers for piece in frames.pack(header))


def test_a_fence_that_is_closed_says_what_had_started(tmp_path: Path) -> None:
    fence = Fence(tmp_path / "fence", "a")
    ids = [new_id() for _ in range(6)]
    names = [name_of(ids[0], 1, 1), name_of(ids[1], 2, 1), name_of(ids[2], 1, 3), name_of(ids[5], 1, 2)]
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


# A manager over an engine that a test moves step by step.


class Slow:
    """Runs a parcel in a thread when it is told to, or loses it."""

    def __init__(self) -> None:
        self.given: list[tuple[tuple[str, dict[str, Any]], Told]] = []
        self.health_now = Health("", 2, {})
        self.ended = ""
        self.sees = False

    def attests(self, error: BaseException | None) -> bool:
        return self.sees

    def start(self) -> None:
        pass

    def submit(self, name: str, job: tuple[str, dict[str, Any]], done: Told) -> None:
        self.given.append((job, done))

    def dead(self) -> str:
        return self.ended

    def health(self) -> Health:
        return self.health_now

    def close(self) -> None:
        self.given.clear()

    def run(self, at: int = 0) -> None:
        (_text, names), done = self.given.pop(at)
        threading.Thread(target=lambda: done(parcels.run(names["fx_parcel"]), None)).start()

    def lose(self, error: Exception, at: int = 0) -> None:
        self.given.pop(at)[1](None, error)


class World:
    def __init__(self, folder: Path) -> None:
        self.engine = Slow()
        self.said: list[Any] = []
        self.gone: list[str] = []
        self.changed = asyncio.Event()
        spec = EngineSpec(folder=str(folder), slots=0, engine="parsl", config="")
        self.manager = EngineManager(
            spec, self._say, asyncio.get_running_loop(), make=lambda: self.engine, gone=self.gone.append
        )
        self.manager.start()

    def _say(self, message: Any) -> None:
        self.said.append(message)
        self.changed.set()
        if isinstance(message, Want):
            self.manager.receive(Go(message.ticket, message.tasks))

    def give(self, function: Callable[..., Any], *values: tuple[Any, ...], attempt: int = 1) -> list[str]:
        self.manager.receive(Code("f", pack(function, "fn")))
        work = [Work(new_id(), 0, "f", pack((one, {}), "args"), attempt=attempt) for one in values]
        self.manager.receive(Place(work))
        return [one.task_id for one in work]

    async def until(self, true: Callable[[], Any]) -> Any:
        async with asyncio.timeout(20):
            while not (found := true()):
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.05)
                except TimeoutError:
                    continue
        return found

    def ends(self) -> dict[str, Ended]:
        return {end.task_id: end for one in self.said if isinstance(one, Done) for end in one.results}

    async def end(self, task_id: str) -> Ended:
        await self.until(lambda: task_id in self.ends())
        return self.ends()[task_id]

    def started(self) -> list[str]:
        return [task for one in self.said if isinstance(one, Want) for task in one.tasks]


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Callable[[Callable[[World], Any]], None]]:
    before = sys.stdout, sys.stderr

    def tell(steps: Callable[[World], Any]) -> None:
        async def main() -> None:
            world = World(tmp_path)
            try:
                await world.until(lambda: any(isinstance(one, Capacity) and one.ready for one in world.said))
                await steps(world)
            finally:
                world.manager.close()

        asyncio.run(main())

    yield tell
    sys.stdout, sys.stderr = before
    parcels._functions.clear()


Story = Callable[[Callable[[World], Any]], None]


def test_start_is_told_when_a_worker_has_it_and_its_text_before_its_end(story: Story) -> None:
    async def steps(world: World) -> None:
        (one,) = world.give(lambda x: print("hi") or x, (7,))
        await world.until(lambda: world.engine.given)
        await asyncio.sleep(0)
        assert world.started() == []
        world.engine.run()
        end = await world.end(one)
        assert envelope.loads(bytearray(end.payload))[1] == 7
        kinds = [
            type(m) for m in world.said if not isinstance(m, Capacity) and not (isinstance(m, Want) and not m.tasks)
        ]
        assert kinds == [Want, Said, Done]
        await world.until(lambda: not world.manager._fence.claimed())

    story(steps)


def test_what_waits_in_the_engine_can_be_cancelled_and_never_starts(story: Story, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    async def steps(world: World) -> None:
        (one,) = world.give(lambda: ran.touch(), ())
        await world.until(lambda: world.engine.given)
        world.manager.receive(CancelWork(one, 0))
        assert (await world.end(one)).outcome == "cancelled"
        world.engine.run()
        await world.until(lambda: not world.manager.busy)
        (other,) = world.give(lambda: 5, ())
        await world.until(lambda: world.engine.given)
        world.engine.run()
        await world.end(other)
        assert not ran.exists()

    story(steps)


def test_what_runs_is_not_cancelled_and_says_so(story: Story, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)

    async def steps(world: World) -> None:
        (one,) = world.give(lambda path: Path(path).read_text(), (str(fifo),))
        await world.until(lambda: world.engine.given)
        world.engine.run()
        await world.until(world.started)
        world.manager.receive(CancelWork(one, 2))
        said = await world.until(lambda: [m for m in world.said if isinstance(m, Said)])
        assert "cannot stop a running task" in said[0].pieces[0][3]["text"]
        assert one not in world.ends()
        await asyncio.to_thread(fifo.write_text, "x")
        assert (await world.end(one)).outcome == "ok"

    story(steps)


def test_a_task_that_the_engine_loses_before_it_starts_is_given_again_and_not_for_ever(story: Story) -> None:
    async def steps(world: World) -> None:
        (one,) = world.give(lambda: 1, ())
        for _ in range(3):
            await world.until(lambda: world.engine.given)
            world.engine.lose(RuntimeError("manager 7 is gone"))
        end = await world.end(one)
        assert end.outcome == "error"
        assert end.error is not None
        assert "Parsl could not start it, 3 times; at last: RuntimeError: manager 7 is gone" in end.error.message

    story(steps)


def test_a_task_whose_worker_falls_silent_keeps_its_outcome(story: Story, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)

    async def steps(world: World) -> None:
        (one,) = world.give(lambda path: Path(path).read_text(), (str(fifo),))
        await world.until(lambda: world.engine.given)
        job, done = world.engine.given[0]
        world.engine.run()
        await world.until(world.started)
        done(None, RuntimeError("manager 3 is gone"))
        said = await world.until(lambda: [m for m in world.said if isinstance(m, Said)])
        assert "manager 3 is gone. Its worker may still be running" in said[0].pieces[0][3]["text"]
        # Engines repeat on their own what they lost: it is refused.
        assert parcels.run(job[1]["fx_parcel"])["refused"] == "taken"
        assert one not in world.ends()
        await asyncio.to_thread(fifo.write_text, "x")
        end = await world.end(one)
        assert (end.outcome, envelope.loads(bytearray(end.payload))[1]) == ("ok", "x")

    story(steps)


def test_a_task_is_lost_once_its_workers_death_is_attested(story: Story) -> None:
    async def steps(world: World) -> None:
        (one,) = world.give(lambda: 1, ())
        await world.until(lambda: world.engine.given)
        (_text, names), done = world.engine.given.pop()
        path = Path(names["fx_parcel"]["fence"]) / names["fx_parcel"]["name"]
        # A worker on another node, which wrote no more than that it began.
        with open(path, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(log_of({"op": "parcel", "tasks": [one], "host": "n7", "locked": True}))
            file.flush()
            await world.until(world.started)
            done(None, RuntimeError("manager 3 is gone"))
            await world.until(lambda: [m for m in world.said if isinstance(m, Said)])
            assert one not in world.ends()
        end = await world.end(one)
        assert (end.outcome, end.error.etype if end.error else "") == ("lost", "WorkerLost")

    story(steps)


@pytest.mark.parametrize("attested", [False, True])
def test_a_lock_that_nobody_saw_held_attests_nothing(story: Story, attested: bool) -> None:
    async def steps(world: World) -> None:
        world.engine.sees = attested
        (one,) = world.give(lambda: 1, ())
        await world.until(lambda: world.engine.given)
        (_text, names), done = world.engine.given.pop()
        path = Path(names["fx_parcel"]["fence"]) / names["fx_parcel"]["name"]
        path.write_bytes(log_of({"op": "parcel", "tasks": [one], "host": "n7", "locked": True}))
        done(None, RuntimeError("manager 3 is gone"))
        await world.until(lambda: one in world.ends() or [m for m in world.said if isinstance(m, Said)])
        assert (one in world.ends()) is attested

    story(steps)


def test_short_tasks_travel_together_and_what_had_not_begun_goes_again(story: Story) -> None:
    async def steps(world: World) -> None:
        (first,) = world.give(lambda x: x, (0,))
        await world.until(lambda: world.engine.given)
        world.engine.run()
        await world.end(first)
        ids = world.give(lambda x: x, *[(at,) for at in range(40)])
        await world.until(lambda: world.engine.given)
        _text, names = world.engine.given[0][0]
        parcel = names["fx_parcel"]
        count = len(parcel["tasks"])
        assert 10 <= count <= 64
        # The worker died in the second task.
        ours = {"host": socket.gethostname(), "locked": True}
        log = [{"op": "parcel", "tasks": [task["id"] for task in parcel["tasks"]], **ours}]
        log += [{"op": "start", "no": 0, "t": 1.0}, {"op": "done", "no": 0, "outcome": "ok", "t0": 1.0, "t1": 1.1}]
        log += [{"op": "start", "no": 1, "t": 1.1}]
        (Path(parcel["fence"]) / parcel["name"]).write_bytes(log_of(*log))
        world.engine.lose(RuntimeError("worker 3 is gone"))
        assert (await world.end(ids[0])).outcome == "ok"
        assert (await world.end(ids[1])).outcome == "lost"
        back = [one for one in world.said if isinstance(one, Back)]
        assert back[0].tasks == ids[2:count]
        while len(world.ends()) < 41:
            await world.until(lambda: world.engine.given or len(world.ends()) == 41)
            if world.engine.given:
                world.engine.run()
        assert {end.outcome for one, end in world.ends().items() if one != ids[1]} == {"ok"}

    story(steps)


def test_a_drain_gives_back_what_no_worker_has_and_a_halt_tells_the_rest(story: Story, tmp_path: Path) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)

    async def steps(world: World) -> None:
        running, waiting = world.give(lambda path: Path(path).read_text(), (str(fifo),), (str(fifo),))
        await world.until(lambda: len(world.engine.given) == 2)
        world.engine.run()
        await world.until(world.started)
        world.manager.receive(Drain("it is being stopped"))
        back = [one for one in world.said if isinstance(one, Back)]
        assert [(one.tasks, one.home) for one in back] == [([waiting], True)]
        world.manager.receive(Halt("the endpoint was stopped while it ran"))
        assert (await world.end(running)).outcome == "lost"
        assert not world.manager.busy
        await asyncio.to_thread(fifo.write_text, "x")

    story(steps)


def test_a_dead_engine_is_told_to_whoever_starts_another(story: Story) -> None:
    async def steps(world: World) -> None:
        world.engine.ended = "Parsl's executor htex lost its interchange"
        await world.until(lambda: world.gone)
        assert "lost its interchange" in world.gone[0]
        world.manager.receive(OpenWorker("s" * 32, ""))
        gone = [one for one in world.said if isinstance(one, SessionGone)]
        assert "no session" in gone[0].reason

    story(steps)


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
