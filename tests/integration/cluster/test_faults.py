"""What goes wrong with jobs of a real Slurm, and on its nodes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_cluster import Cluster

STORIES = [
    "a_preempted_block_loses_what_ran_and_nothing_else",
    "a_requeued_block_loses_what_ran_and_nothing_else",
    "a_held_block_says_who_holds_it_and_goes_on_when_it_is_released",
]


@pytest.mark.parametrize("story", STORIES)
def test_story(cluster: Cluster, story: str) -> None:
    print(cluster.tell(story, script="stories_faults.py"))
