from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jupyter_fx import errors
from jupyter_fx.embedded import files, hub, local, spawn
from jupyter_fx.embedded.files import HubFile
from jupyter_fx.endpoint.reap import PidFile


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fxe") as place:
        monkeypatch.setenv("JUPYTER_FX_RUNTIME_DIR", f"{place}/r")
        monkeypatch.setenv("JUPYTER_FX_STATE_DIR", f"{place}/s")
        (Path(place) / "r").mkdir(mode=0o700)
        yield Path(place) / "r"


@pytest.fixture
def listener(runtime: Path) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(runtime / "hub.sock"))
        sock.listen()
        yield str(runtime / "hub.sock")


def say(path: str, **changes: object) -> None:
    me = psutil.Process()
    content = {"pid": me.pid, "start_time": me.create_time(), "boot_id": files.boot_id(), "socket": path, "token": "t"}
    files.write_private(files.hub_file(), {**content, **changes})


def test_a_hub_that_lives_and_listens_is_found(listener: str) -> None:
    say(listener)
    found = files.read_hub_file()
    assert found is not None
    assert found.address == f"unix:{listener}"
    assert stat.S_IMODE(files.hub_file().stat().st_mode) == 0o600


def test_the_token_is_not_shown(listener: str) -> None:
    assert "secret" not in repr(HubFile(1, 0.0, "", listener, token="secret"))


def test_no_file_is_no_hub(runtime: Path) -> None:
    assert files.read_hub_file() is None


def test_a_file_that_is_cut_off_is_no_hub(runtime: Path) -> None:
    files.hub_file().write_text('{"pid": 1, "sta')
    assert files.read_hub_file() is None


def test_a_pid_that_was_given_to_another_process_is_no_hub(listener: str) -> None:
    say(listener, start_time=psutil.Process().create_time() - 100)
    assert files.read_hub_file() is None


def test_a_clock_that_was_set_makes_nobody_another_process(listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {**files.identity(os.getpid()), "boot_id": files.boot_id(), "socket": listener}
    files.write_private(files.hub_file(), content)
    written = PidFile(Path(listener).with_name("pids"))
    written.add(os.getpid())
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 7200)
    assert files.read_hub_file() is not None
    ended: list[int] = []
    monkeypatch.setattr("jupyter_fx.endpoint.reap.kill_tree", ended.append)
    assert (written.kill_left(), ended) == (1, [os.getpid()])


def test_a_file_from_before_the_last_boot_is_no_hub(listener: str) -> None:
    say(listener, boot_id="another")
    assert files.read_hub_file() is None


def test_a_process_that_lives_but_does_not_listen_is_no_hub(runtime: Path) -> None:
    say(str(runtime / "hub.sock"))
    assert files.read_hub_file() is None


def test_a_zombie_does_not_live(runtime: Path) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert not files.alive(pid, 0.0)
    finally:
        os.waitpid(pid, 0)


def test_one_starter_at_a_time(runtime: Path) -> None:
    with (
        files.locked("x.lock", 1.0),
        pytest.raises(errors.HubUnavailable, match="another process"),
        files.locked("x.lock", 0.0),
    ):
        pass
    with files.locked("x.lock", 0.0):
        pass


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make a directory that belongs to another user")
    place = tmp_path / "r"
    place.mkdir()
    os.chown(place, 12345, 12345)
    monkeypatch.setenv("JUPYTER_FX_RUNTIME_DIR", str(place))
    with pytest.raises(errors.UsageError, match="belongs to somebody else"):
        files.read_hub_file()


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("OSError: [Errno 28] No space left on device", "JUPYTER_FX_STATE_DIR"),
        ("Address already in use", "JUPYTER_FX_RUNTIME_DIR"),
        ("the database is on a network file system (nfs4)", "local disk"),
        ("No module named 'tornado'", "install jupyter-fx"),
        ("something else", "hub.log"),
    ],
)
def test_a_hub_that_ends_is_told_with_cause_cure_and_log(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, said: str, cure: str
) -> None:
    monkeypatch.setattr(hub, "hub_command", lambda: ["/bin/sh", "-c", f'echo "{said}" >&2; exit 3'])
    monkeypatch.setattr(hub, "RACE", 0.0)
    with pytest.raises(errors.HubUnavailable) as caught:
        hub.ensure_hub(10.0)
    assert "status 3" in str(caught.value)
    assert said in str(caught.value)
    assert cure in str(caught.value)


def test_a_hub_that_never_listens_is_ended_and_told(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hub_command", lambda: ["/bin/sh", "-c", "exec sleep 60"])
    with pytest.raises(errors.HubUnavailable, match="did not start in time"):
        hub.ensure_hub(0.1)


def test_children_get_no_address_and_agents_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "JUPYTER_FX_HUB",
        "JUPYTER_FX_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "JPY_API_TOKEN",
        "FINE",
    ):
        monkeypatch.setenv(name, "x")
    plain, scrubbed = spawn.clean_environment(), spawn.clean_environment({"MORE": "y"}, scrub=True)
    assert "JUPYTER_FX_TOKEN" not in plain
    assert "JUPYTER_FX_HUB" not in plain
    assert plain["GITHUB_TOKEN"] == "x"
    assert not {"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "JPY_API_TOKEN"} & set(scrubbed)
    assert (scrubbed["FINE"], scrubbed["MORE"]) == ("x", "y")


def test_no_secret_is_in_a_command_line() -> None:
    for command in (hub.hub_command(), local.agent_command("unix:/x")):
        assert not any("token" in word.lower() or "code" in word.lower() for word in command)


def test_an_agent_that_died_is_not_taken_for_alive(runtime: Path) -> None:
    child = spawn.spawn(["/bin/sh", "-c", "exit 0"], runtime / "log", spawn.clean_environment())
    files.write_private(local.agent_file(), {**files.identity(child.pid), "started": 0.0})
    child.wait(5)
    assert local.agent() is None
    local.agent_file().write_text(json.dumps({"pid": "what"}))
    assert local.agent() is None


def test_under_jupyterhub_the_hub_is_the_servers_child(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ["/bin/sh", "-c", "exec sleep 30"]
    groups = []
    for user in ("", "ada"):
        if user:
            monkeypatch.setenv("JUPYTERHUB_USER", user)
        else:
            monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
        child = spawn.spawn(script, runtime / "log", spawn.clean_environment())
        groups.append(os.getsid(child.pid) == os.getsid(0))
        # Never in our group: a kernel that is interrupted or restarted signals all of its own.
        assert os.getpgid(child.pid) == child.pid
        child.kill()
        child.wait(5)
    assert groups == [False, True]
