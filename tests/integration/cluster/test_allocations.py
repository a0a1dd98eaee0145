"""What can be chosen about how nodes are asked for, on a real Slurm with accounting."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_cluster import Cluster


@pytest.mark.parametrize("story", ["each_choice_gets_blocks_of_its_own", "a_chain_of_jobs_keeps_an_agent"])
def test_story(cluster: Cluster, story: str) -> None:
    print(cluster.tell(story, script="stories_allocations.py"))
