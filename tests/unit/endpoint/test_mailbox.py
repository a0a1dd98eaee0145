"""Messages between agent and manager through cuts, and through a new agent."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jupyter_fx.endpoint.mailbox import Mailbox
from jupyter_fx.endpoint.talk import Back, Drain, FromManager, ToManager

LARGE = "x" * (2 << 20)
"""Goes in three pieces."""


def connect(one: Mailbox, other: Mailbox) -> None:
    mine, theirs = one.connected(), other.connected()
    other.take(mine)
    one.take(theirs)


def passed(source: Mailbox, target: Mailbox) -> list[Any]:
    return [message for frame in source.frames() for message in target.take(frame)]


@given(st.lists(st.sampled_from(["post", "post large", "pass", "pass one", "pass back", "cut", "lose"]), max_size=60))
def test_each_message_comes_once_and_in_order_whatever_is_cut(steps: list[str]) -> None:
    agent, manager = Mailbox("agent", FromManager), Mailbox("manager", ToManager)
    connect(agent, manager)
    came: list[Any] = []
    count = 0
    for step in steps:
        if step.startswith("post"):
            count += 1
            manager.post(Back([str(count)], reason=LARGE if step == "post large" else ""))
        elif step == "pass":
            came += passed(manager, agent)
        elif step == "pass one":
            # The connection breaks after the first frame.
            for frame in manager.frames()[:1]:
                came += agent.take(frame)
            connect(agent, manager)
        elif step == "pass back":
            passed(agent, manager)
        elif step == "lose":
            manager.frames()
            connect(agent, manager)
        else:
            connect(agent, manager)
    connect(agent, manager)
    came += passed(manager, agent)
    assert [message.tasks for message in came] == [[str(n)] for n in range(1, count + 1)]
    assert {message.reason for message in came} <= {"", LARGE}
    passed(agent, manager)
    assert manager.size == 0


def test_a_new_agent_gets_what_the_old_one_had_not_acknowledged_and_numbers_anew() -> None:
    old, manager = Mailbox("old", FromManager), Mailbox("manager", ToManager)
    connect(old, manager)
    for n in range(5):
        old.post(Drain(str(n)))
        manager.post(Back([str(n)]))
    assert len(passed(old, manager)) == 5
    assert len(passed(manager, old)) == 5
    passed(old, manager)
    manager.post(Back(["held"]))
    new = Mailbox("new", FromManager)
    new.post(Drain("first"))
    connect(new, manager)
    assert passed(manager, new) == [Back(["held"])]
    assert passed(new, manager) == [Drain("first")]
    assert manager.other == "new"
    assert manager.size == 0


def test_nothing_goes_before_the_other_side_has_greeted_and_frames_stay_small() -> None:
    agent, manager = Mailbox("agent", FromManager), Mailbox("manager", ToManager)
    for _ in range(10):
        manager.post(Back(["x" * 300_000]))
    assert manager.frames() == []
    connect(agent, manager)
    frames = manager.frames()
    assert len(frames) > 3
    assert all(len(frame) <= 1 << 20 for frame in frames)
    assert sum(len(agent.take(frame)) for frame in frames) == 10


def test_a_new_agent_gets_all_pieces_of_what_the_old_one_had_a_part_of() -> None:
    old, manager = Mailbox("old", FromManager), Mailbox("manager", ToManager)
    connect(old, manager)
    manager.post(Back(["small"]))
    manager.post(Back(["large"], reason=LARGE))
    frames = manager.frames()
    assert len(frames) >= 3
    assert all(len(frame) <= 1 << 20 for frame in frames)
    assert [message.tasks for frame in frames[:2] for message in old.take(frame)] == [["small"]]
    passed(old, manager)
    new = Mailbox("new", FromManager)
    connect(new, manager)
    assert passed(manager, new) == [Back(["large"], reason=LARGE)]
    passed(new, manager)
    assert manager.size == 0
