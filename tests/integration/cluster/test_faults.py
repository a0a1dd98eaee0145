"""What goes wrong with agents, jobs and nodes of a real Slurm, and with Slurm itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_cluster import Cluster

STORIES = [
    "an_agent_that_is_killed_finds_its_blocks_again",
    "a_killed_agent_leaks_and_doubles_no_block_at_any_step",
    "a_managers_death_is_told_within_seconds_and_nothing_of_it_is_left",
    "scancel_of_a_block_loses_what_ran_and_nothing_else",
    "a_node_that_goes_down_loses_what_ran_and_nothing_else",
    "a_restarted_slurmctld_is_survived",
    "whatever_is_killed_each_task_has_one_outcome_and_starts_at_most_once",
    "a_scheduler_that_hangs_or_answers_garbage_ends_nothing",
    "a_preempted_block_loses_what_ran_and_nothing_else",
    "a_requeued_block_loses_what_ran_and_nothing_else",
    "a_held_block_says_who_holds_it_and_goes_on_when_it_is_released",
]


@pytest.mark.parametrize("story", STORIES)
def test_story(cluster: Cluster, story: str) -> None:
    print(cluster.tell(story, script="stories_faults.py"))
