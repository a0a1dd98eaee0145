"""PROMISES §1 under faults: the pure states of a hub and two agents in a small world that loses, repeats, cuts and
kills, one seed after another.

No double start beyond what retries allow; one outcome; nothing acknowledged lost; nothing told before it is on disk;
stories in order; cells of a session in order and in one worker; everything comes to its end.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

sys.path.insert(0, str(Path(__file__).parent))
import agents as simulated_agents
import world as simulated

from jupyter_fx.endpoint import journal_kinds as kinds
from jupyter_fx.protocol.lifecycle import TaskState


def run(seed: int, steps: int) -> Any:
    world = simulated.World(seed)
    for number in range(steps):
        world.step()
        if number % 25 == 0:
            world.state.validate()
    world.heal()
    world.state.validate()
    world.check_end()
    return world


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_nothing_acknowledged_is_lost_and_nothing_starts_twice(seed: int) -> None:
    world = run(seed, 2_500)
    assert world.starts


def test_ten_thousand_steps_with_every_fault() -> None:
    world = run(2026, 24_000)
    assert set(world.faults) == set(simulated.FAULTS)
    ended = {TaskState(row.outcome.state).name for row in world.disk.rows.values()}
    assert ended >= {"SUCCEEDED", "FAILED", "CANCELLED", "LOST", "EXPIRED"}
    assert any(world.starts.get(cell) for cells in world.cells.values() for cell in cells)


class Promises(RuleBasedStateMachine):
    """Faults where hypothesis puts them, so that a failure is shown by as few as it takes."""

    @initialize(seed=st.integers(0, 2**32))
    def begins(self, seed: int) -> None:
        self.world = simulated.World(seed, chaos=False)

    @rule(steps=st.integers(100, 1_200))
    def goes_on(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    @rule(kind=st.sampled_from(simulated.FAULTS), after=st.integers(0, 60))
    def breaks(self, kind: str, after: int) -> None:
        for _ in range(after):
            self.world.step()
        self.world.fault(kind)

    @invariant()
    def books_agree(self) -> None:
        if hasattr(self, "world"):
            self.world.state.validate()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.heal()
            self.world.check_end()


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=8, stateful_step_count=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def caught(seeds: int = 40) -> bool:
    """Whether some seed shows that a promise is broken."""
    with pytest.raises((AssertionError, KeyError)):
        for seed in range(seeds):
            run(seed, 2_500)
    return True


def test_a_hub_that_acknowledged_before_writing_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Any, side: Any, number: int) -> None:
        if number:
            side.back.send(("ack", number))

    monkeypatch.setattr(simulated.World, "acknowledge", at_once)
    assert caught()


def test_an_agent_that_believed_a_torn_journal_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = simulated_agents.judged

    def believed(data: bytes, boot: str, *, expected: bool) -> Any:
        found = real(data, boot, expected=expected)
        found.records = [record for record in found.records if record.kind != kinds.DOUBT]
        return found

    monkeypatch.setattr(simulated_agents, "judged", believed)
    assert caught()
