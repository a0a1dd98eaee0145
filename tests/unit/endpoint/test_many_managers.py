"""An agent with managers on several nodes: who gets what, who may start it, and what a death decides about."""

from __future__ import annotations

from typing import Any

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.endpoint.entry import ACCEPTED, STARTED
from jupyter_fx.endpoint.events import (
    Away,
    BlockDrains,
    Came,
    From,
    Opened,
    Patience,
    Record,
    Replayed,
    Send,
    Tell,
    Write,
)
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import Need, NodeSize
from jupyter_fx.endpoint.state import AgentState
from jupyter_fx.endpoint.talk import Back, Capacity, Done, Drain, Ended, Go, OpenWorker, Place, Report, SessionUp, Want
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import (
    AgentStatus,
    Credit,
    Demand,
    DemandItem,
    Dispatch,
    LeasedTask,
    Nack,
    Resources,
    Result,
    Results,
    SessionClosed,
    SessionLease,
    SessionSpec,
    TaskOptions,
)


class Many:
    """An agent's state, and everything that it asks for: journal, messages to the hub, words to managers."""

    def __init__(self, most: NodeSize | None = None, **how: Any) -> None:
        self.state = AgentState(
            endpoint_id="e",
            slots=0,
            worker_cores=1,
            max_sessions=8,
            wall=0.0,
            generation="g",
            boot_id="b",
            fleet=Fleet(),
            most=most or NodeSize(4, 1),
            functions={"f"},
            **how,
        )
        self.now = 0.0
        self.journal: list[Record] = []
        self.sent: list[Any] = []
        self.told: list[tuple[str, Any]] = []
        self.fence = 0
        self(Replayed([]))
        self(Opened("me"))

    def __call__(self, event: Any) -> None:
        self._perform(self.state.handle(event, self.now))
        self.state.validate()

    def _perform(self, out: list[Any]) -> None:
        for one in out:
            if isinstance(one, Write):
                self.journal.append(one.record)
                self._perform(one.then)
            elif isinstance(one, Send):
                self.sent.append(one.message)
            elif isinstance(one, Tell):
                self.told.append((one.to, one.message))

    def manager(self, name: str, slots: int = 2, seconds: float = float("inf"), **info: Any) -> None:
        self(Came(name, f"block-{name}", seconds, f"node-{name}"))
        self(From(name, Report([], [], to="a")))
        self(From(name, Capacity(slots, True, info)))

    def tasks(self, n: int, timeout: float = 0.0, **resources: Any) -> list[str]:
        options = TaskOptions(timeout=timeout, resources=Resources(**resources)) if timeout or resources else None
        made = []
        for _ in range(n):
            self.fence += 1
            made.append(LeasedTask(new_id(), "me", 1, (1, self.fence), 0, "f", b"", "", options))
        self(Dispatch(made))
        return [task.task_id for task in made]

    def at(self, manager: str) -> list[str]:
        """The tasks that this manager was given."""
        return [w.task_id for to, m in self.told if to == manager and isinstance(m, Place) for w in m.work]

    def start(self, manager: str, *tasks: str) -> list[str]:
        """The manager asks for START; those that it may start."""
        self(From(manager, Want(1, list(tasks))))
        to, go = next((to, m) for to, m in reversed(self.told) if isinstance(m, Go))
        assert to == manager
        return list(go.tasks)

    def results(self) -> dict[str, Result]:
        return {one.task_id: one for m in self.sent if isinstance(m, Results) for one in m.results}

    def session(self, **resources: Any) -> str:
        spec = SessionSpec(new_id(), "e", "k", "1", resources=Resources(**resources))
        self(Demand([DemandItem(f"s:{spec.session_id}", 1, spec.resources, spec, "me")]))
        return spec.session_id


def test_without_managers_nothing_is_asked_for_and_what_waits_is_load() -> None:
    one = Many()
    one(Demand([DemandItem("", 5, Resources()), DemandItem("x", 2, Resources(exclusive=True))]))
    assert [dict(m.shapes)[""] for m in one.sent if isinstance(m, Credit)][-1] == 0
    load = one.state.load()
    assert (load.slots, load.nodes, load.used) == (5, 2, 0)


def test_work_goes_to_the_freest_and_no_further_than_there_is_room() -> None:
    one = Many()
    one.manager("a", 2)
    one.manager("b", 4)
    ids = one.tasks(8)
    assert len(one.at("a")) == 2
    assert len(one.at("b")) == 4
    assert one.state.load().slots == 2
    assert one.start("b", one.at("b")[0]) == [one.at("b")[0]]
    one(From("b", Done([Ended(one.at("b")[0], "ok", b"r", 0.0, 5.0)])))
    assert one.at("b")[-1] == ids[6]


def test_start_is_journaled_with_its_manager_and_another_one_may_not_start_it() -> None:
    one = Many()
    one.manager("a")
    one.manager("b")
    (task,) = one.tasks(1)
    holder, other = ("a", "b") if task in one.at("a") else ("b", "a")
    assert one.start(other, task) == []
    assert one.start(holder, task) == [task]
    assert Record(kinds.START_AT, [holder, [task]]) in one.journal
    assert one.start(other, task) == []
    assert one.start(holder, task) == [task], "asked again by the same one after a reconnect"


def test_a_managers_death_decides_about_its_own_work_alone() -> None:
    one = Many()
    one.manager("a", 2)
    one.manager("b", 2)
    one.tasks(4)
    ran, unstarted = one.at("a")
    assert one.start("a", ran) == [ran]
    spared = one.at("b")
    one.start("b", *spared)
    one(From("a", Report([], [], gone=True, why="a node of it failed")))
    assert list(one.results()) == [ran]
    lost = one.results()[ran]
    assert (lost.state, lost.lost) == (TaskState.LOST, True)
    assert lost.error is not None
    assert "a node of it failed" in lost.error.message
    one.manager("c", 2)
    assert one.at("c") == [unstarted]
    assert {one.state.tasks[task].phase for task in spared} == {STARTED}


def test_a_silent_manager_is_given_nothing_and_keeps_what_it_has() -> None:
    one = Many()
    one.manager("a", 2)
    (task,) = one.tasks(1)
    one.start("a", task)
    one(Away("a"))
    one.tasks(1)
    assert one.at("a") == [task]
    assert one.results() == {}
    one(Came("a", "block-a"))
    assert len(one.at("a")) == 2


def test_what_a_draining_block_had_not_started_goes_to_another_one() -> None:
    one = Many()
    one.manager("a", 2)
    ids = one.tasks(2)
    assert one.start("a", ids[0]) == [ids[0]]
    one(BlockDrains("block-a", back=True, reason="its time is nearly up"))
    assert ("a", Drain("its time is nearly up")) in one.told
    one.manager("b", 2)
    one(From("a", Back([ids[1]], home=True)))
    assert one.at("b") == [ids[1]]
    assert one.state.tasks[ids[0]].manager == "a"
    assert one.state.tasks[ids[1]].phase == ACCEPTED


def test_a_task_that_could_not_end_in_time_is_not_started_and_holds_up_no_shorter_one() -> None:
    one = Many()
    one.manager("a", 4, seconds=100.0)
    (long,) = one.tasks(1, timeout=200.0)
    (short,) = one.tasks(1, timeout=50.0)
    assert one.at("a") == [short]
    one.manager("b", 4, seconds=1000.0)
    assert one.at("b") == [long]


def test_gpus_memory_and_whole_nodes_are_counted() -> None:
    one = Many(NodeSize(4, 1, 8 << 30, 2))
    one.manager("a", 4, memory=8 << 30, gpus=["0", "1"])
    assert len([one.tasks(1, gpus=1) for _ in range(3)]) == 3
    assert len(one.at("a")) == 2
    one.tasks(1, memory=6 << 30)
    one.tasks(1, memory=6 << 30)
    assert len(one.at("a")) == 3
    (whole,) = one.tasks(1, exclusive=True)
    assert whole not in one.at("a")
    one.manager("b", 4, memory=8 << 30, gpus=["0", "1"])
    one.tasks(1)
    given = [w for to, m in one.told if to == "b" and isinstance(m, Place) for w in m.work]
    assert any(work.task_id == whole for work in given) == (len(one.at("b")) == 1)


def test_what_no_node_can_hold_is_refused_with_the_largest_that_can_be_had() -> None:
    one = Many(NodeSize(4, 2, 8 << 30, 2))
    for resources, said in (
        ({"gpus": 3}, "this endpoint has 2 GPUs on a node at most, 3 were asked for"),
        ({"cores": 9}, "this endpoint has 8 cores on a node at most, 9 were asked for"),
        ({"memory": 9 << 30}, "this endpoint has 8.0 GiB of memory on a node at most, 9.0 GiB were asked for"),
    ):
        one.tasks(1, **resources)
        nack = one.sent[-1]
        assert isinstance(nack, Nack)
        assert nack.final
        assert nack.error.message == f"{said}: ask for no more than there is, or use another endpoint"
    assert one.state.load().slots == 0
    session = one.session(gpus=5)
    closed = next(m for m in one.sent if isinstance(m, SessionClosed))
    assert (closed.session_id, closed.lost) == (session, True)
    assert closed.error is not None
    assert closed.error.etype == "UsageError"
    assert "2 GPUs on a node at most, 5 were asked for" in closed.error.message
    assert "`%fx use e`" in closed.error.message
    assert one.state.load().slots == 0


def test_a_session_that_can_never_be_had_is_refused_before_it_has_a_cell() -> None:
    one = Many(NodeSize(0, 1))
    wide = SessionSpec(new_id(), "e", "k", "1", resources=Resources(cores=8))
    one(SessionLease(wide, "me"))
    one(SessionLease(SessionSpec(new_id(), "e", "k", "1", "boxed", Resources(environment="a.sqfs")), "me"))
    (closed,) = [m for m in one.sent if isinstance(m, SessionClosed)]
    assert "no environment 'a.sqfs'" in closed.error.message
    # Nobody knew how large a node is: its first cell is told once there is one.
    one.manager("a", 4, worker_cores=1)
    one(Demand([DemandItem(f"s:{wide.session_id}", 1, wide.resources, wide, "me")]))
    closed = [m for m in one.sent if isinstance(m, SessionClosed)][-1]
    assert closed.session_id == wide.session_id
    assert "has 4 cores on a node at most, 8 were asked for" in closed.error.message


def test_a_task_that_no_block_can_hold_to_its_end_is_refused() -> None:
    one = Many(NodeSize(4, 1, seconds=600.0))
    one.tasks(1, timeout=601.0)
    (nack,) = [m for m in one.sent if isinstance(m, Nack)]
    assert nack.error.message == (
        "a block of this endpoint can give a task 600 s at most (c.Blocks.walltime), and its timeout is 601 s"
    )
    one.tasks(1, timeout=600.0)
    assert one.state.load().slots == 1


def test_what_a_node_has_is_learned_from_the_first_manager_if_nobody_else_says_it() -> None:
    one = Many(NodeSize(0, 1))
    one.tasks(1, cores=8)
    one.manager("a", 4, worker_cores=1)
    one.tasks(1, cores=8)
    (nack,) = [m for m in one.sent if isinstance(m, Nack)]
    assert "has 4 cores on a node at most, 8 were asked for" in nack.error.message


def test_a_session_waits_for_room_takes_it_and_gives_it_back() -> None:
    one = Many()
    first = one.session()
    assert not any(isinstance(m, OpenWorker) for _, m in one.told)
    assert one.state.load().slots == 1
    one.manager("a", 1)
    assert [(to, m.session_id) for to, m in one.told if isinstance(m, OpenWorker)] == [("a", first)]
    assert one.state.load() == one.state.load()._replace(slots=0, used=1, busy={"block-a"})
    second = one.session()
    one(From("a", SessionUp(first, {})))
    one(From("a", Report([], [], gone=True, why="gone")))
    closed = [m for m in one.sent if isinstance(m, SessionClosed)]
    assert [(m.session_id, m.lost) for m in closed] == [(first, True)]
    one.manager("b", 1)
    assert [m.session_id for to, m in one.told if isinstance(m, OpenWorker) and to == "b"] == [second]


def test_a_session_does_not_begin_in_a_block_that_is_nearly_over() -> None:
    one = Many(session_floor=60.0)
    one.manager("a", 4, seconds=30.0)
    one.session()
    assert not any(isinstance(m, OpenWorker) for _, m in one.told)
    one.manager("b", 4, seconds=90.0)
    assert [to for to, m in one.told if isinstance(m, OpenWorker)] == ["b"]


def again(old: Many, *managers: str) -> Many:
    """Another agent, with the journal of a killed one, while these managers live."""
    one = Many()
    one(Replayed(old.journal, bool(managers), list(managers)))
    return one


def test_after_a_restart_each_manager_decides_about_its_own() -> None:
    one = Many()
    one.manager("a", 1)
    one.manager("b", 1)
    one.tasks(3)
    (at_a,), (at_b,) = one.at("a"), one.at("b")
    one.start("a", at_a)
    one.start("b", at_b)
    two = again(one, "a", "b")
    assert two.results() == {}
    two(Came("a", "block-a"))
    two(From("a", Report([at_a], [], to="x")))
    assert two.results() == {}, "b has not spoken"
    two(Came("b", "block-b"))
    two(From("b", Report([], [], to="x")))
    assert list(two.results()) == [at_b]
    assert two.start("a", at_a) == [at_a]


def test_after_a_restart_what_a_dead_blocks_manager_had_is_lost_at_once() -> None:
    one = Many()
    one.manager("a", 1)
    one.manager("b", 1)
    one.tasks(2)
    one.start("a", *one.at("a"))
    one.start("b", *one.at("b"))
    two = again(one, "b")
    assert list(two.results()) == one.at("a")
    assert list(again(one).results()) == sorted([*one.at("a"), *one.at("b")], key=[*one.at("a"), *one.at("b")].index)


def test_after_a_restart_a_manager_may_start_what_it_was_given_before_it_has_reported() -> None:
    one = Many()
    one.manager("a", 2)
    ids = one.tasks(2)
    two = again(one, "a")
    two(Came("a", "block-a"))
    # Wants that were open come again before the report, which was made when they still were.
    assert two.start("a", *ids) == ids
    two(From("a", Report(ids, [], to="x")))
    two(From("a", Capacity(2, True, {})))
    assert two.state.load().used == 2
    two(From("a", Done([Ended(one, "ok", b"r", 0.0, 1.0) for one in ids])))
    assert two.state.load().used == 0
    assert list(two.results()) == ids


def test_what_had_not_started_waits_for_reports_but_not_for_ever_and_starts_once() -> None:
    one = Many()
    one.manager("a", 1)
    (task,) = one.tasks(1)
    two = again(one, "a")
    two.manager("b", 1)
    assert two.at("b") == []
    two(Patience())
    assert two.at("b") == [task]
    two(Came("a", "block-a"))
    two(From("a", Report([task], [], to="x")))
    assert two.start("a", task) == []
    assert two.start("b", task) == [task]


def test_status_adds_up_what_managers_have() -> None:
    one = Many()
    one.manager("a", 2, workers={"idle": 2}, python=[3, 11, 2])
    one.manager("b", 4, workers={"idle": 1, "busy": 3}, python=[3, 11, 2])
    told = [m.info for m in one.sent if isinstance(m, AgentStatus)][-1]
    assert (told["slots"], told["managers"], told["workers"]) == (6, 2, {"idle": 3, "busy": 3})
    assert told["python"] == [3, 11, 2]


def test_tasks_of_an_image_go_where_it_is_warm_and_the_books_say_so() -> None:
    fleet = Fleet()
    for name, containers in (("cold", []), ("warm", [{"environment": "torch.sqfs"}])):
        fleet.came(name, "block", ends=float("inf"), host="n1")
        info = {"containers": [{"environment": "host"}, *containers]}
        fleet.has(name, slots=2, memory=0, gpus=0, ready=True, info=info)
    need = Need()
    assert fleet.lease("s1", need, 0.0, "torch.sqfs") == "warm"
    # The host's own Python is warm everywhere: the most free slots decide.
    assert fleet.lease("s2", need, 0.0) == "cold"
    assert fleet.lease("s3", need, 0.0, "torch.sqfs") == "warm"
    # It is full; where its first task goes it is warm from then on.
    assert fleet.lease("s4", need, 0.0, "torch.sqfs") == "cold"
    fleet.unleased("warm", "s1")
    fleet.left("warm")
    assert fleet.lease("s5", need, 0.0, "torch.sqfs") == ""


def test_short_tasks_go_to_one_manager_in_a_row_and_evenly_all_the_same() -> None:
    one = Many()
    for name in "abcd":
        one.manager(name, 16)
    # Known to be short: a first one has said so.
    (first,) = one.tasks(1)
    (manager,) = [name for name in "abcd" if one.at(name)]
    one.start(manager, first)
    one(From(manager, Done([Ended(first, "ok", b"r", 0.0, 0.0001)])))
    one.told.clear()
    one.tasks(8)
    # One, and a quarter of what is free after it: two messages in place of four.
    assert [len(m.work) for _to, m in one.told if isinstance(m, Place)] == [5, 3]
    one.tasks(56)
    counts = [len(one.at(name)) for name in "abcd"]
    assert sum(counts) == 64
    assert max(counts) - min(counts) <= 4
