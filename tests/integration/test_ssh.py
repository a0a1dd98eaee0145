"""An endpoint behind a real sshd on loopback, as a newcomer with a laptop and an account has it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import jupyter_fx as fx
from jupyter_fx import paths
from jupyter_fx.embedded import read_hub_file, stop_endpoint, stop_hub
from jupyter_fx.endpoint.ssh import command, keeper, record
from jupyter_fx.errors import AuthError, UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import OLDEST_VERSION, VERSION, Hello
from jupyter_fx.transport import Peer

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
pytestmark = [
    pytest.mark.skipif(not Path(SSHD).exists(), reason="no sshd on this machine (openssh-server)"),
    pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh on this machine (openssh-client)"),
]
MARK = "JUPYTER_FX_TEST_RUN"


class Far:
    """A host that is reached by ssh alone: an sshd of ours, with a home and state directories of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.extra: dict[str, str] = {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for name in ("hostkey", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "key.pub", folder / "authorized")
        self.config = folder / "config"
        self.config.write_text(
            f"Host far\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {folder / 'key'}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile {folder / 'known'}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **extra: str) -> None:
        """Listen."""
        environment = {
            "HOME": self.home,
            "XDG_RUNTIME_DIR": self.folder / "none",
            "TMPDIR": tempfile.gettempdir(),
            "JUPYTER_FX_RUNTIME_DIR": self.folder / "r",
            "JUPYTER_FX_STATE_DIR": self.folder / "s",
            "JUPYTER_FX_CONFIG_DIR": self.folder / "c",
            MARK: os.environ[MARK],
            **extra,
        }
        (self.folder / "sshd").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / 'hostkey'}\n"
            f"AuthorizedKeysFile {self.folder / 'authorized'}\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PasswordAuthentication no\nPermitRootLogin yes\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in environment.items())}\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it there, Debian's service makes it
        self.process = subprocess.Popen([SSHD, "-D", "-f", str(self.folder / "sshd"), "-E", str(self.folder / "log")])
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Listen no more, and cut whoever is connected."""
        if self.process is not None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if child.name().startswith("sshd"):
                        child.kill()
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    folder = Path(tempfile.mkdtemp(prefix="fxs"))
    host = Far(folder)
    host.start()
    yield host
    host.stop()
    shutil.rmtree(folder, ignore_errors=True)


def cli(*words: str, timeout: float = 180) -> tuple[int, str]:
    line = [sys.executable, "-m", "jupyter_fx.cli.app", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


def add(far: Far, name: str, *more: str) -> tuple[int, str]:
    return cli("endpoint", "add", name, "--ssh", "far", "--ssh-option=-F", f"--ssh-option={far.config}", *more)


@pytest.fixture(scope="module")
def polaris(far: Far) -> Iterator[str]:
    status, said = add(far, "polaris", "--python", sys.executable)
    assert status == 0, said
    assert "is linked: its agent runs on" in said
    yield "polaris"
    fx.disconnect()
    status, said = cli("endpoint", "delete", "polaris", "--yes")
    assert status == 0, said
    assert not record.names()
    stop_endpoint()
    stop_hub()


def keeper_pid() -> int:
    return keeper.running(paths.endpoint_dir("polaris"))


def ssh_of(pid: int) -> list[psutil.Process]:
    """The keeper's ssh (a shared connection in the background hides its environment)."""
    marked = psutil.process_iter(["name", "environ"])
    found = [
        one for one in marked if one.info["name"] == "ssh" and (one.info["environ"] or {}).get(MARK) == os.environ[MARK]
    ]
    assert psutil.Process(pid).is_running()
    return found


def test_calls_maps_and_large_values_go_through_ssh(polaris: str, far: Far) -> None:
    @fx.remote(endpoint=polaris)
    def where(x: int) -> tuple[int, str | None]:
        import os

        return x + 1, os.environ.get("HOME")

    assert where.remote(1) == (2, str(far.home))
    assert [x for x, _ in where.map(range(500))] == list(range(1, 501))

    @fx.remote(endpoint=polaris)
    def echo(data: bytes) -> bytes:
        return data[::-1]

    assert echo.remote(b"ab" * 2_000_000) == b"ba" * 2_000_000


def test_the_agent_goes_on_while_the_connection_is_gone(polaris: str, tmp_path: Path) -> None:
    starts, go = tmp_path / "starts", tmp_path / "go"

    @fx.remote(endpoint=polaris)
    def story(path: str, go: str) -> int:
        import os
        import time
        from pathlib import Path

        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
        while not Path(go).exists():
            time.sleep(0.05)
        return os.getpid()

    pid = keeper_pid()
    future = story.submit(str(starts), str(go))
    end = time.monotonic() + 60
    while not starts.exists() and time.monotonic() < end:
        time.sleep(0.05)
    cut = ssh_of(pid)
    assert cut
    for process in cut:
        process.kill()
    go.touch()
    worker = future.result(60)
    assert starts.read_text() == f"{worker}\n"  # once
    assert keeper_pid() == pid


def test_a_hub_that_is_killed_is_found_again_through_the_same_tunnel(polaris: str) -> None:
    @fx.remote(endpoint=polaris)
    def slow() -> str:
        import time

        time.sleep(1.5)
        return "done"

    future = slow.submit()
    time.sleep(0.3)
    hub = read_hub_file()
    assert hub is not None
    os.kill(hub.pid, signal.SIGKILL)
    assert future.result(60) == "done"


def test_stop_ends_the_agent_there_and_start_brings_it_back(polaris: str) -> None:
    status, said = cli("endpoint", "stop", polaris)
    assert status == 0, said
    assert keeper_pid() == 0
    assert "stopped" in cli("endpoint", "list")[1]
    future = fx.remote(endpoint=polaris)(abs).submit(-3)
    assert not future.done()
    status, said = cli("endpoint", "start", polaris)
    assert status == 0, said
    assert future.result(60) == 3
    status, said = cli("endpoint", "status", polaris)
    assert "linked" in said
    assert "linked to the hub" in cli("endpoint", "logs", polaris)[1]


def test_the_far_side_gets_in_as_an_endpoint_and_as_nobody_else(polaris: str) -> None:
    import asyncio

    hub = read_hub_file()
    assert hub is not None

    async def knock(role: str, token: str = "") -> None:
        hello = Hello(VERSION, OLDEST_VERSION, role, new_id(), token=token)
        peer = Peer(f"unix:{hub.agents}", hello, on_message=lambda _message, _number: None)
        peer.start()
        try:
            await peer.opened(10)
        finally:
            peer.close()

    for role, token in (("client", ""), ("client", hub.token), ("blobs", ""), ("blobs", hub.token)):
        with pytest.raises(AuthError, match="for endpoints alone"):
            asyncio.run(knock(role, token))


def test_what_is_wrong_is_said_in_one_sentence(far: Far, polaris: str) -> None:
    status, said = cli("endpoint", "add", "nowhere", "--ssh", "no-such-host.invalid")
    assert status == 1
    assert "see that `ssh no-such-host.invalid` works in a terminal" in said
    status, said = add(far, "old", "--python", "/bin/true")
    assert status == 1
    assert "has no Python 3.11 or newer" in said
    status, said = cli("endpoint", "add", "local", "--ssh", "far")
    assert status == 1
    assert "one of this host already" in said
    status, said = add(far, "empty", "--wheels", str(far.folder))
    assert status == 1
    assert "there are no wheels" in said
    assert cli("endpoint", "add", "what")[1].strip().endswith("--ssh HOST")
    status, said = add(far, "slurmy", "--scheduler", "slrm")
    assert status == 1
    assert "there is no scheduler 'slrm'" in said
    assert "slurm" in said.split("slrm")[-1]
    status, said = add(far, "slurmy", "--account", "physics")
    assert status == 1
    assert "say which one with --scheduler" in said
    assert record.names() == [polaris]


def test_a_host_is_no_option_of_ssh() -> None:
    from jupyter_fx.endpoint.ssh.command import argv

    with pytest.raises(UsageError, match="is no host for ssh"):
        argv("-oProxyCommand=x", [], "true", alone=True)


def stopped_when_cut(home: Path) -> str:
    """Cut the connection; why its keeper gives up."""
    for process in ssh_of(keeper_pid()):
        process.kill()
    end = time.monotonic() + 60
    while keeper_pid() and time.monotonic() < end:
        time.sleep(0.1)
    said = record.load_keeping(home)
    assert said is not None
    assert said.state == "stopped"
    return said.why


def test_what_only_a_person_can_cure_is_left_to_one(far: Far, polaris: str) -> None:
    home = paths.endpoint_dir(polaris)
    allowed = (far.folder / "authorized").read_text()
    (far.folder / "authorized").write_text("")
    try:
        command.end_master("far", ["-F", str(far.config)])
        why = stopped_when_cut(home)
        assert "Permission denied" in why
        assert "jupyter fx endpoint start polaris" in why
        status, told = cli("endpoint", "start", polaris)
        assert status == 1
        assert "Permission denied" in told
    finally:
        (far.folder / "authorized").write_text(allowed)
    status, told = cli("endpoint", "start", polaris)
    assert status == 0, told


def test_an_endpoint_that_lost_its_credential_there_is_given_no_other(far: Far, polaris: str) -> None:
    home = paths.endpoint_dir(polaris)
    (identity,) = (far.folder / "s").glob("endpoints/polaris/identity.json")
    kept = identity.read_bytes()
    identity.unlink()
    try:
        assert "lost its credential there: delete it here and add it again" in stopped_when_cut(home)
    finally:
        identity.write_bytes(kept)
    status, told = cli("endpoint", "start", polaris)
    assert status == 0, told


def test_its_nodes_can_be_batch_jobs_of_the_far_host(far: Far, polaris: str) -> None:
    status, said = add(far, "nodes", "--python", sys.executable, "--scheduler", "local")
    assert status == 0, said
    assert "Settings of endpoint nodes" in said
    try:

        @fx.remote(endpoint="nodes")
        def block() -> str:
            import os

            return os.environ.get("JUPYTER_FX_BLOCK", "")

        assert block.remote()
        assert "provider = 'local'" in (far.folder / "c" / "endpoints" / "nodes" / "config.py").read_text()
        # What was chosen there is not written over.
        status, said = add(far, "nodes", "--python", sys.executable, "--scheduler", "local")
        assert status == 1
        assert "is there already: change it, or remove it" in said
        assert "was not added" in said
        assert block.remote()
    finally:
        cli("endpoint", "delete", "nodes", "--yes")


def test_jupyter_fx_is_brought_there_when_it_is_not_there_yet(far: Far, polaris: str) -> None:
    # What ours needs is lent from here: fetching it is pip's work, and takes a minute.
    far.stop()
    far.start(PIP_NO_DEPS="1", PYTHONPATH=sysconfig.get_path("purelib"))
    status, said = add(far, "fresh", "--scheduler", "local")
    assert status == 0, said
    assert "installing jupyter-fx" in said
    try:
        kept = record.load(paths.endpoint_dir("fresh"))
        assert kept is not None
        assert str(far.home) in kept.python
        assert fx.remote(endpoint="fresh")(abs).remote(-4) == 4
        assert kept.python.endswith("-batch/venv/bin/python")
        assert f"jupyter-fx {fx.__version__} is there already" in add(far, "fresh", "--scheduler", "local")[1]
    finally:
        cli("endpoint", "delete", "fresh", "--yes")
        far.stop()
        far.start()
