"""What tasks may choose about how nodes are asked for, what that comes to, and which blocks it brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from jupyter_fx.endpoint.allocations import Allocations, sized
from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.blocks import BlockBook
from jupyter_fx.endpoint.books import Books
from jupyter_fx.endpoint.fleet import Fleet
from jupyter_fx.endpoint.need import Need, NodeSize
from jupyter_fx.endpoint.providers import slurm
from jupyter_fx.endpoint.providers.batch import ParslProvider
from jupyter_fx.endpoint.providers.local import LocalProvider
from jupyter_fx.endpoint.scaling import BlockView, Decision, Load, Plan, decide_all
from jupyter_fx.endpoint.settings import Blocks
from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.allocation import text_of
from jupyter_fx.protocol.messages import Resources

ANSWERS = {
    "partition": "PartitionName=debug Default=YES MaxTime=02:00:00 State=UP\nPartitionName=short MaxTime=1 State=UP\n"
    "PartitionName=gpu AllowAccounts=physics MaxTime=UNLIMITED State=UP\n",
    "%R|%c|%m|%G|%f": "debug|16|64000|(null)|(null)\nshort|4|64000|(null)|(null)\ngpu|64|512000|gpu:4|a100\n",
    "format=account": "physics\nchemistry\n",
    "format=qos": "normal,high\n",
    "reservation": "No reservations in the system\n",
}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Allocations:
    pytest.importorskip("parsl")

    def answer(command: Sequence[str], **_how: Any) -> str:
        return ANSWERS[command[-1]]

    monkeypatch.setattr(slurm, "run", answer)
    settings = Blocks(
        provider="slurm",
        account="physics",
        cores_per_node=4,
        walltime="01:00:00",
        partitions={"gpu": "gpus_per_node=4 cores_per_node=32", "short": "cores_per_node=8"},
    )
    provider = ParslProvider("slurm", settings)
    provider.look()
    return Allocations(provider, settings, sized(provider.check(), settings, 0))


@pytest.mark.parametrize(
    ("choice", "allocation", "cores", "gpus", "seconds"),
    [
        ({}, "", 4, 0, 3540.0),
        ({"partition": "debug", "account": "physics"}, "", 4, 0, 3540.0),
        ({"partition": "gpu", "account": "physics"}, "partition=gpu", 32, 4, 3540.0),
        ({"account": "chemistry"}, "account=chemistry", 4, 0, 3540.0),
        ({"qos": "high", "walltime": "00:20:00"}, "qos=high;walltime=00:20:00", 4, 0, 1140.0),
    ],
)
def test_a_choice_comes_to_what_differs_from_the_usual(
    there: Allocations, choice: dict[str, str], allocation: str, cores: int, gpus: int, seconds: float
) -> None:
    place = there.place(text_of(choice))
    assert (place.allocation, place.refusal) == (allocation, "")
    assert (place.most.slots, place.most.gpus, place.most.seconds) == (cores, gpus, seconds)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"partition": "gpus"}, "Slurm has no partition 'gpus'; there are debug, gpu, short"),
        ({"account": "biology"}, "Slurm lets you charge no account 'biology'; there are chemistry, physics"),
        ({"partition": "gpu", "account": "chemistry"}, "partition gpu may be charged to physics only"),
        ({"partition": "short"}, "c.Blocks.cores_per_node is 8, but partition short has 4 at most"),
        ({"walltime": "03:00:00"}, "walltime is 03:00:00, but partition debug allows 120 min at most"),
        ({"reservation": "mine"}, "Slurm has no reservation 'mine'; there are none"),
    ],
)
def test_what_is_not_offered_is_refused_with_what_is(there: Allocations, choice: dict[str, str], said: str) -> None:
    books = Books(0, 1, NodeSize(4), place_of=there.place)
    assert said in books.refusal(Resources(allocation=text_of(choice)))


def test_a_partition_that_is_chosen_gives_no_more_time_than_it_allows(there: Allocations) -> None:
    assert there.blocks("partition=gpu").walltime == "01:00:00"
    settings = Blocks(provider="slurm", walltime="01:00:00")
    provider = ParslProvider("slurm", settings)
    provider.look()
    assert provider.settings_of("partition=short").walltime == "00:01:00"


@pytest.mark.parametrize("text", ["nonsense", "partition=a,b", "partition=x\n#SBATCH", "qos=a;account=b"])
def test_what_anybody_may_send_is_refused_and_breaks_nothing(there: Allocations, text: str) -> None:
    assert there.place(text).refusal
    assert there.blocks(text) is there.blocks("")


def test_no_more_is_to_be_had_than_a_node_of_the_chosen_partition_has(there: Allocations) -> None:
    books = Books(0, 1, there.place("").most, place_of=there.place)
    assert "has no GPUs, 1 were asked for" in books.refusal(Resources(gpus=1))
    assert books.refusal(Resources(gpus=4, allocation="partition=gpu")) == ""
    assert "4 GPUs on a node at most, 5" in books.refusal(Resources(gpus=5, allocation="partition=gpu"))
    assert "can give a task 1140 s at most" in books.refusal(Resources(allocation="walltime=00:20:00"), timeout=3000.0)
    assert books.need(Resources(2, allocation="account=physics;partition=gpu")) == Need(2, allocation="partition=gpu")


def test_where_there_are_no_batch_jobs_nothing_can_be_chosen(tmp_path: Any) -> None:
    asks = Resources(allocation="partition=gpu")
    assert "there is no account or partition to choose" in Books(4, 1).refusal(asks)
    local = LocalProvider(tmp_path)
    places = Allocations(local, Blocks(provider="local", walltime=""), NodeSize(2))
    assert "processes of its machine" in Books(0, 1, NodeSize(2), place_of=places.place).refusal(asks)


@pytest.mark.parametrize("words", ["gpu_per_node=4", "cores_per_node=many", "account=x", "walltime=5"])
def test_wrong_settings_of_a_partition_are_found_when_the_file_is_read(words: str) -> None:
    ((name, _said),) = Blocks(partitions={"gpu": words}).problems()
    assert name == "partitions"


def test_torque_has_no_qos() -> None:
    provider = ParslProvider("torque", Blocks(provider="torque"))
    with pytest.raises(UsageError, match="Torque has no qos that could be chosen"):
        provider.settings_of("qos=high")


# Blocks.


PLAN = Plan(max_blocks=2, node=NodeSize(4), idle_seconds=60.0, min_blocks=0)


def plans(_allocation: str) -> Plan:
    return PLAN


def block(name: str, allocation: str = "", idle: float = 0.0) -> BlockView:
    return BlockView(name, up=True, leaving=False, idle=idle, allocation=allocation)


def test_each_allocation_gets_blocks_of_its_own_and_all_together_no_more_than_the_most() -> None:
    loads = {"": Load(slots=1), "a": Load(slots=4), "b": Load(slots=1)}
    found = decide_all(loads, [], plans)
    assert sum(one.start for one in found.values()) == 2
    assert decide_all({"": Load(), "a": Load(slots=8)}, [block("x", idle=1.0)], plans)["a"] == Decision(start=1)


def test_an_idle_block_makes_room_at_once_for_another_allocation() -> None:
    there = [block("x", idle=6.0), block("y", idle=4.0)]
    found = decide_all({"": Load(busy=set()), "a": Load(slots=1)}, there, plans)
    assert found == {"": Decision(stop=("x",)), "a": Decision()}
    busy = decide_all({"": Load(used=1, busy={"x"}), "a": Load(slots=1)}, there, plans)
    assert busy[""] == Decision(), "what is in use is not given back, nor what was idle for a moment"


def test_a_manager_takes_only_what_was_meant_for_its_block() -> None:
    fleet = Fleet()
    for name, allocation in (("m1", ""), ("m2", "partition=gpu")):
        fleet.came(name, f"b-{name}", ends=float("inf"), host="n", allocation=allocation)
        fleet.has(name, slots=4, memory=0, gpus=0, ready=True, info={})
    assert fleet.pick(Need(), 1, 0.0) == "m1"
    assert fleet.pick(Need(allocation="partition=gpu"), 1, 0.0) == "m2"
    assert fleet.pick(Need(allocation="account=a"), 1, 0.0) == ""


def test_what_one_allocation_is_refused_holds_up_no_other() -> None:
    book = BlockBook(label="Slurm", wall=0.0)
    book.ask([("b1", "fx1")], 0.0, "account=a")
    book.refused("b1", "Invalid account", 0.0)
    assert book.ask([("b2", "fx2")], 1.0, "account=a") == []
    assert book.ask([("b3", "fx3")], 1.0)
    assert "Invalid account" in book.why(1.0, "account=a")
    assert book.why(1.0) == "a job is being submitted to Slurm"
    book.submitted("b3", "7", 1.0)
    book.looked({"7": JobInfo("7", "fx3", "pending", "Priority")}, 2.0)
    assert book.why(2.0) == "Slurm job 7 pending (Priority)"
    book.forget_tries({""})
    assert book.why(2.0, "account=a") == ""
