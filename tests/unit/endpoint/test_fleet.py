"""Which shapes get the slots that there are."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_fx.endpoint.entry import FINISHED, Entry
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import Need
from jupyter_fx.endpoint.routing import POLICIES, Routes
from jupyter_fx.endpoint.talk import Work
from jupyter_fx.protocol.messages import Kind, LeasedTask

START = 10.0


class Nodes:
    """A fleet of nodes with some slots each; tasks by the image that they want."""

    def __init__(self, nodes: int, slots: int, policy: str = "warm") -> None:
        self.fleet = Fleet(Routes(policy))
        self.entries: dict[str, Entry] = {}
        self.slots = slots
        self.mean = 0.0
        for number in range(nodes):
            self.fleet.came(f"n{number}", "block", ends=float("inf"), host="")
            self.says(f"n{number}")

    def says(self, node: str, *images: str, seconds: float = 0.0) -> None:
        info = {"containers": [{"environment": one, "seconds": seconds} for one in images]}
        self.fleet.has(node, slots=self.slots, memory=0, gpus=0, ready=True, info=info)

    def queue(self, image: str, count: int, width: int = 1) -> None:
        for _ in range(count):
            task_id = f"t{len(self.entries)}"
            entry = Entry(LeasedTask(task_id, "me", 1, (1, 1), Kind.CALL, "f", b""), image, 0.0)
            entry.placed = True
            self.entries[task_id] = entry
            self.fleet.queue([(entry, Work(task_id, Kind.CALL, "f", b"", environment=image), Need(width))])

    def assign(self) -> Counter[tuple[str, str]]:
        """How many of each image each node was given."""
        given: Counter[tuple[str, str]] = Counter()
        for tell in self.fleet.assign(lambda _shape: self.mean):
            given.update((tell.to, work.environment) for work in tell.message.work)
        return given

    def end(self, node: str, image: str, count: int) -> None:
        those = [e for e in self.entries.values() if e.manager == node and e.shape == image and e.phase != FINISHED]
        for entry in those[:count]:
            entry.phase = FINISHED
            self.fleet.released(entry)

    @property
    def waiting(self) -> int:
        return sum(count for count, _need in self.fleet.waiting())


def test_images_take_turns_so_that_each_starts_once_and_at_once() -> None:
    nodes = Nodes(3, 4)
    for image in "abc":
        nodes.queue(image, 100)
    given = nodes.assign()
    assert sorted(given.values()) == [4, 4, 4]
    assert {image for _node, image in given} == {"a", "b", "c"}


def test_short_tasks_that_queue_at_full_nodes_are_shared_by_all_of_them() -> None:
    nodes = Nodes(4, 4)
    nodes.mean = 0.005
    nodes.queue("", 16)
    assert set(nodes.assign().values()) == {4}
    nodes.queue("", 128)
    given = nodes.assign()
    assert len(given) == 4
    assert max(given.values()) <= 32


def test_a_few_short_tasks_go_to_one_full_node_in_one_message() -> None:
    nodes = Nodes(4, 4)
    nodes.mean = 0.005
    nodes.queue("", 16)
    nodes.assign()
    nodes.queue("", 8)
    assert list(nodes.assign().values()) == [8]


def test_a_row_that_its_node_cannot_take_whole_starts_nothing_elsewhere() -> None:
    nodes = Nodes(2, 16)
    nodes.says("n0", "a", seconds=START)
    nodes.mean = 0.5
    nodes.queue("a", 12, width=8)
    assert nodes.assign() == {("n0", "a"): 4}
    assert nodes.fleet.due == START
    # Who was served is held back anew, also if the row ended early.
    nodes.fleet.now = 5.0
    nodes.end("n0", "a", 2)
    assert nodes.assign() == {("n0", "a"): 2}
    assert nodes.fleet.due == 5.0 + START


def test_shapes_of_short_tasks_take_turns_at_full_nodes_too() -> None:
    nodes = Nodes(2, 4)
    for node in ("n0", "n1"):
        nodes.says(node, "a", "b")
    nodes.mean = 0.5
    for image in "ab":
        nodes.queue(image, 20)
    given = nodes.assign()
    assert given.total() == 16
    assert given["n0", "a"] + given["n1", "a"] == given["n0", "b"] + given["n1", "b"]


def test_a_slot_goes_to_who_is_warm_there_whoever_came_first() -> None:
    nodes = Nodes(2, 2)
    for image in "ab":
        nodes.queue(image, 6)
    nodes.assign()
    nodes.end("n1", "b", 1)
    assert nodes.assign() == {("n1", "b"): 1}
    nodes.end("n0", "a", 1)
    assert nodes.assign() == {("n0", "a"): 1}


def test_those_who_are_warm_at_one_node_share_it() -> None:
    nodes = Nodes(1, 4)
    for image in "ab":
        nodes.queue(image, 50)
    for _ in range(5):
        assert nodes.assign() == {("n0", "a"): 2, ("n0", "b"): 2}
        nodes.end("n0", "a", 2)
        nodes.end("n0", "b", 2)


def test_a_newcomer_need_not_wait_for_the_work_of_others_to_end() -> None:
    nodes = Nodes(2, 2)
    nodes.queue("a", 100)
    nodes.assign()
    nodes.queue("new", 1)
    nodes.end("n1", "a", 1)
    nodes.assign()
    nodes.end("n1", "a", 1)
    nodes.assign()
    assert not [one for one in nodes.entries.values() if one.shape == "new" and not one.manager]


def test_a_node_is_left_alone_when_those_at_work_are_sooner_done_than_a_start() -> None:
    nodes = Nodes(2, 2)
    nodes.says("n0", "a", seconds=START)
    nodes.mean = 1.0
    nodes.queue("a", 12)
    assert nodes.assign() == {("n0", "a"): 2}
    assert nodes.fleet.due == START
    # 20 more, and it is worth it: 30 s of work for two slots.
    nodes.queue("a", 20)
    assert nodes.assign() == {("n1", "a"): 2}


def test_what_is_still_to_come_counts_as_what_waits() -> None:
    nodes = Nodes(2, 2)
    nodes.says("n0", "a", seconds=START)
    nodes.queue("a", 4)
    assert sum(len(tell.message.work) for tell in nodes.fleet.assign(lambda _shape: 1.0, lambda _shape: 20)) == 4


def test_who_is_held_back_waits_no_longer_than_a_start_takes() -> None:
    nodes = Nodes(2, 2)
    nodes.says("n0", "a", seconds=START)
    nodes.mean = 1.0
    nodes.queue("a", 4)
    nodes.assign()
    # The two that run never end.
    nodes.fleet.now = START - 0.001
    assert not nodes.assign()
    # Something else may come first when the time is over, and change nothing.
    nodes.fleet.now = START + 1
    assert nodes.fleet.due == START
    assert nodes.assign() == {("n1", "a"): 2}
    assert nodes.fleet.due == float("inf")


def test_who_has_just_been_given_out_soon_tells_how_long_such_tasks_take() -> None:
    nodes = Nodes(2, 2)
    nodes.says("n0", "other", seconds=START)
    nodes.queue("other", 2)
    nodes.assign()
    nodes.queue("a", 4)
    assert nodes.assign() == {("n1", "a"): 2}
    nodes.end("n0", "other", 2)
    nodes.fleet.now = START - 1
    assert not nodes.assign()
    nodes.end("n1", "a", 1)
    nodes.mean = 3 * START
    # 30 s of work for two slots.
    assert nodes.assign() == {("n1", "a"): 1, ("n0", "a"): 1}


def test_who_tells_nothing_in_time_is_not_waited_for() -> None:
    nodes = Nodes(2, 2)
    nodes.says("n0", "other", seconds=START)
    nodes.queue("other", 2)
    nodes.assign()
    nodes.queue("a", 4)
    nodes.assign()
    nodes.end("n0", "other", 2)
    nodes.fleet.now = START
    assert not nodes.assign()
    nodes.fleet.now = nodes.fleet.due
    assert nodes.fleet.now == 2 * START
    assert nodes.assign() == {("n0", "a"): 2}


def test_what_runs_is_counted_until_its_node_is_gone() -> None:
    nodes = Nodes(2, 2)
    nodes.says("n0", "a", seconds=START)
    nodes.mean = 1.0
    nodes.queue("a", 4)
    nodes.assign()
    nodes.fleet.left("n0")
    assert nodes.assign() == {("n1", "a"): 2}


@settings(deadline=None)
@given(
    st.sampled_from(POLICIES),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 9)), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.001, 0.5, 3.0]),
)
def test_no_slot_stays_idle_while_anything_waits(
    policy: str, work: list[tuple[str, int]], slots: int, mean: float
) -> None:
    nodes = Nodes(3, slots, policy)
    nodes.says("n0", "a", seconds=START)
    nodes.mean = mean
    for image, count in work:
        nodes.queue(image, count)
    nodes.assign()
    nodes.fleet.now += 2 * START
    nodes.assign()
    used = sum(view.used for view in nodes.fleet.managers.values())
    assert nodes.waiting == 0 or used >= 3 * slots
    assert used + nodes.waiting == sum(count for _image, count in work)
    for view in nodes.fleet.managers.values():
        assert sum(view.running.values()) == view.used
    for entry in nodes.entries.values():
        if entry.manager:
            entry.phase = FINISHED
            nodes.fleet.released(entry)
    assert not any(view.used or view.running for view in nodes.fleet.managers.values())
