"""A pod with one core on a node of sixty-four starts one worker, not sixty-four."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jupyter_fx.endpoint.cores import host_cores


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)), raising=False)


def told(tmp_path: Path, group: str, **files: str) -> tuple[Path, Path]:
    ours = tmp_path / "cgroup-of-ours"
    ours.write_text(group + "\n")
    for name, text in files.items():
        path = tmp_path / "groups" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("cpu_max", "cpu.max")).write_text(text)
    return tmp_path / "groups", ours


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/", {"cpu_max": "max 100000\n"}, 64),
        ("0::/", {"cpu_max": "150000 100000\n"}, 2),
        ("0::/", {"cpu_max": "50000 100000\n"}, 1),
        ("0::/a/b", {"a__cpu_max": "400000 100000\n", "a__b__cpu_max": "max 100000\n"}, 4),
        ("0::/../the/hosts/path", {"cpu_max": "300000 100000\n"}, 3),
        ("0::/", {"cpu_max": "what is this\n"}, 64),
        ("0::/", {}, 64),
    ],
)
def test_a_control_groups_share_counts(tmp_path: Path, group: str, files: dict[str, str], cores: int) -> None:
    assert host_cores(*told(tmp_path, group, **files)) == cores


@pytest.mark.usefixtures("many")
def test_so_does_one_of_the_older_kind(tmp_path: Path) -> None:
    groups, ours = told(tmp_path, "9:cpu,cpuacct:/pod")
    folder = groups / "cpu,cpuacct" / "pod"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("200000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert host_cores(groups, ours) == 2


@pytest.mark.usefixtures("many")
def test_without_control_groups_all_count(tmp_path: Path) -> None:
    assert host_cores(tmp_path, tmp_path / "none") == 64
