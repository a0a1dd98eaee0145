"""Environments from specifications, built and used in batch jobs of a real Slurm."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from slurm_cluster import Cluster


@pytest.mark.parametrize("story", ["an_environment_is_built_once_in_a_batch_job_and_used_in_others"])
def test_story(cluster: Cluster, story: str) -> None:
    uv = cluster.folder / "uv"
    shutil.copy(Path(sys.executable).with_name("uv"), uv)
    print(cluster.tell(story, script="stories_environments.py", FX_TEST_UV=str(uv)))
