"""How many blocks there should be."""

from __future__ import annotations

from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.scaling import BlockView, Decision, Load, Plan, decide

PLAN = Plan(max_blocks=4, node=NodeSize(8), idle_seconds=60.0)


def up(name: str, idle: float = 0.0) -> BlockView:
    return BlockView(name, up=True, leaving=False, idle=idle)


def test_zero_blocks_become_one_when_anything_waits() -> None:
    assert decide(Load(), [], PLAN) == Decision()
    assert decide(Load(slots=1), [], PLAN) == Decision(start=1)


def test_blocks_follow_what_waits_and_runs_up_to_the_most() -> None:
    assert decide(Load(slots=17), [], PLAN) == Decision(start=3)
    assert decide(Load(slots=9, used=8, busy={"a"}), [up("a")], PLAN) == Decision(start=2)
    assert decide(Load(slots=1000), [up("a")], PLAN) == Decision(start=3)


def test_a_block_that_waits_for_its_job_counts_so_that_none_is_asked_for_twice() -> None:
    waiting = BlockView("a", up=False, leaving=False, idle=10.0)
    assert decide(Load(slots=8), [waiting], PLAN) == Decision()


def test_a_block_that_leaves_does_not_serve_what_waits_but_counts_against_the_most() -> None:
    leaving = BlockView("a", up=True, leaving=True)
    assert decide(Load(slots=8, used=8, busy={"a"}), [leaving], PLAN) == Decision(start=2)
    assert decide(Load(slots=8), [leaving], PLAN._replace(max_blocks=1)) == Decision()


def test_parallelism_asks_for_fewer_slots_than_there_is_work() -> None:
    assert decide(Load(slots=32), [], PLAN._replace(parallelism=0.25)) == Decision(start=1)
    assert decide(Load(slots=32), [], PLAN._replace(parallelism=0.0)) == Decision()


def test_init_blocks_are_for_the_beginning_and_min_blocks_for_ever() -> None:
    plan = PLAN._replace(init_blocks=2, min_blocks=1)
    assert decide(Load(), [], plan, first=True) == Decision(start=2)
    assert decide(Load(), [up("a", 100.0), up("b", 100.0)], plan) == Decision(stop=("a",))
    assert decide(Load(), [up("a", 100.0)], plan) == Decision()


def test_only_blocks_that_have_been_idle_long_enough_are_given_back_the_idlest_first() -> None:
    there = [up("busy"), up("young", 59.0), up("old", 70.0), up("oldest", 80.0)]
    assert decide(Load(used=8, busy={"busy"}), there, PLAN) == Decision(stop=("oldest", "old"))
    assert decide(Load(used=24, busy={"busy"}), there, PLAN) == Decision(stop=("oldest",))


def test_a_block_with_a_session_is_never_given_back_however_idle_the_rest() -> None:
    assert decide(Load(used=1, busy={"a"}), [up("a", 1000.0)], PLAN._replace(max_blocks=1)) == Decision()


def test_whole_nodes_gpus_and_memory_are_wanted_too() -> None:
    assert decide(Load(nodes=2), [], PLAN) == Decision(start=2)
    node = NodeSize(8, 1, memory=16 << 30, gpus=2)
    assert decide(Load(slots=3, gpus=6), [], PLAN._replace(node=node)) == Decision(start=3)
    assert decide(Load(slots=2, memory=32 << 30), [], PLAN._replace(node=node)) == Decision(start=2)


def test_blocks_of_several_nodes_are_counted_in_nodes() -> None:
    assert decide(Load(slots=33), [], PLAN._replace(nodes=4)) == Decision(start=2)
