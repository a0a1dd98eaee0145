"""PROMISES §1 under faults: the pure hub in a small world that loses, repeats, cuts and kills, one seed after
another.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def _world() -> Any:
    spec = importlib.util.spec_from_file_location("fx_simulated_world", Path(__file__).with_name("world.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


WORLD = _world()


def run(seed: int, steps: int) -> Any:
    world = WORLD.World(seed)
    for number in range(steps):
        world.step()
        if number % 25 == 0:
            world.state.validate()
    world.heal()
    world.state.validate()
    world.check_end()
    return world


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_nothing_acknowledged_is_lost_and_nothing_starts_twice(seed: int) -> None:
    world = run(seed, 2_500)
    assert world.starts


def test_ten_thousand_steps_with_every_fault() -> None:
    world = run(2026, 12_000)
    assert world.steps >= 10_000
    assert set(world.faults) == {
        "hub dies", "client cut", "agent cut", "agent dies", "agent dies torn", "old message again", "submitted again",
    }  # fmt: skip
    ended = {WORLD.TaskState(row.outcome.state).name for row in world.disk.rows.values()}
    assert ended >= {"SUCCEEDED", "FAILED", "CANCELLED", "LOST", "EXPIRED"}


def test_a_hub_that_acknowledged_before_writing_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Any, side: Any, number: int) -> None:
        if number:
            side.back.send(("ack", number))

    monkeypatch.setattr(WORLD.World, "acknowledge", at_once)
    with pytest.raises((AssertionError, KeyError)):
        for seed in range(20):
            run(seed, 2_500)
