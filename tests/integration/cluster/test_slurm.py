"""An endpoint whose nodes are batch jobs of a real Slurm, run by an ordinary user."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_cluster import Cluster

STORIES = [
    "tasks_run_on_several_nodes_and_blocks_end_with_the_endpoint",
    "the_time_limit_of_a_block_is_kept_in_mind",
    "a_job_that_is_refused_is_tried_again_later_and_says_why",
    "why_a_block_waits_is_said",
    "a_block_of_two_nodes_brings_two_managers",
    "tasks_get_the_gpus_cores_and_memory_that_they_ask_for",
    "a_thousand_tasks_over_four_nodes_each_once",
    "three_waves_of_work_are_followed_up_and_back_to_zero",
    "the_commands_of_torque_do_as_well",
    "remote_cells_of_a_notebook_run_in_a_batch_job",
]


@pytest.mark.parametrize("story", STORIES)
def test_story(cluster: Cluster, story: str) -> None:
    print(cluster.tell(story, within=240.0))
