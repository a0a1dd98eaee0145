"""Environments as one file: packed by the real mksquashfs from what the real uv installs, without a network."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from jupyter_fx_worker import kept, specenvs, specpack
from tests.integration.wheels import fruit
from tests.mounts import need_mksquashfs, need_mounts

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")

TEXT = "fxfruit==1.5\n"
NAME = specenvs.name_of(TEXT)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_mksquashfs()
    fruit(tmp_path)
    told = {
        specenvs.ROOT: tmp_path / "environments",
        specenvs.UV: Path(sys.executable).parent / "uv",
        specpack.MODE: "always",
        "UV_FIND_LINKS": tmp_path,
        "UV_OFFLINE": 1,
        "UV_CACHE_DIR": tmp_path / "cache",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "environments"


def programs(folder: Path, **texts: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def test_a_whole_environment_is_one_file_with_its_byte_code(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert specenvs.build(TEXT)["built"]
    assert "packed into one file: 0.0 MiB instead of " in capfd.readouterr().out
    assert sorted(one.name for one in (root / NAME).iterdir()) == ["built.json", "environment.sqfs", "python"]
    assert not specenvs.python_of(str(root), NAME)
    assert not list(root.glob("*.part-*"))
    again = specenvs.build(TEXT)
    assert not again["built"]
    file = Path(specpack.packed_of(str(root), NAME))
    assert again["bytes"] == file.stat().st_size
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    from jupyter_fx.endpoint.unsquash import unpack

    assert unpack(file, root / "seen")
    assert list((root / "seen").glob("lib/python*/site-packages/__pycache__/fxfruit.*.pyc"))


def test_one_whose_python_is_gone_is_built_again(root: Path) -> None:
    specenvs.build(TEXT)
    link = root / NAME / "python"
    link.unlink()
    link.symlink_to("/nowhere/python")
    assert not specenvs.is_there(str(root), NAME)
    assert specenvs.build(TEXT)["built"]
    assert specenvs.is_there(str(root), NAME)


@pytest.mark.parametrize(
    ("mode", "texts", "says"),
    [
        ("never", {}, ""),
        ("always", {}, "there is no mksquashfs"),
        ("auto", {"mksquashfs": "exit 1"}, "there is no squashfuse"),
        ("auto", {"mksquashfs": "exit 1", "squashfuse": ""}, "there is no fusermount3"),
        ("always", {"mksquashfs": "echo 'FATAL ERROR: no room'; exit 1"}, "status 1: FATAL ERROR: no room"),
    ],
)
def test_where_it_is_not_packed_it_is_a_directory_and_it_is_said_why(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    mode: str,
    texts: dict[str, str],
    says: str,
) -> None:
    programs(tmp_path / "bin", **texts)
    monkeypatch.setenv(specpack.MODE, mode)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if says == "there is no fusermount3":
        monkeypatch.setattr(os, "getuid", lambda: 1000)
    specenvs.build(TEXT)
    out = capfd.readouterr().out
    assert (
        (f"kept as a directory: {says}" in out or f"mksquashfs ended with {says}" in out)
        if says
        else ("directory" not in out)
    )
    assert specenvs.python_of(str(root), NAME)
    assert not list(root.glob("*.part-*"))


def test_where_it_can_be_mounted_it_is_packed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_mounts()
    monkeypatch.setenv(specpack.MODE, "auto")
    specenvs.build(TEXT)
    assert specpack.packed_of(str(root), NAME)


def test_collection_counts_the_file_and_leaves_what_is_used(root: Path) -> None:
    specenvs.build(TEXT)
    used = root / f"{NAME}.used"
    when = time.time() - 40 * 86400
    with used.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        os.utime(used, (when, when))
        assert kept.collect(str(root), 30, 0) == []
    assert kept.collect(str(root), 30, 0) == [NAME]
    assert not [one for one in root.iterdir() if one.name.startswith(NAME)]
