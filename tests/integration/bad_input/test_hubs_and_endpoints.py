"""What people get wrong around hubs and endpoints: tokens, ports, disks, configurations, second agents, versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from explanations import MET, SENTENCES, command, enrol, explained, own_places, until

from jupyter_fx import embedded, errors
from jupyter_fx.client import HubClient, core
from jupyter_fx.protocol.lifecycle import TaskState

pytestmark = pytest.mark.timeout(240)
CLUSTER = ("Slurm", "a block of this endpoint", "need Parsl", "(memory=)", "on a node at most", "crontab")
CLUSTER += ("the clock of", "speaks version")


def test_wrong_missing_and_expired_tokens(client: HubClient, top: Path, short: Path) -> None:
    hub = embedded.read_hub_file()
    assert hub is not None
    for token in ("jfx_wrong", ""):
        with pytest.raises(errors.AuthError) as caught:
            HubClient(hub.url, token=token)
        explained(caught.value)
    status, said = command("whoami", JUPYTER_FX_HUB=hub.url, JUPYTER_FX_TOKEN="jfx_wrong")
    assert status == 1
    assert explained(said).startswith("jupyter fx: the fx hub does not know this token")
    with another_hub(short, token_age=60.0) as (url, token), pytest.raises(errors.AuthError) as caught:
        HubClient(url, token=token)
    assert token not in explained(caught.value)


class another_hub:  # noqa: N801 - reads as a function
    """A second hub; `token_age`: its database has a token that expired so many seconds ago."""

    def __init__(self, folder: Path, *options: str, token_age: float = 0.0, **environment: str) -> None:
        self.environment = {**own_places(folder), **environment}
        self.options, self.token = options, self._put_token(token_age) if token_age else ""

    def _put_token(self, age: float) -> str:
        program = (
            "import asyncio, time, sys, getpass\n"
            "from jupyter_fx.paths import hub_dir\n"
            "from jupyter_fx_hub.auth import new_token\n"
            "from jupyter_fx_hub.store.ops import PutUser\n"
            "from jupyter_fx_hub.store.store import Store\n"
            "async def main():\n"
            "    told = asyncio.Event()\n"
            "    store = Store.open(hub_dir() / 'hub.db', loop=asyncio.get_running_loop(),"
            " on_commit=lambda n, problems: told.set())\n"
            "    user, old = getpass.getuser(), time.time() - 2 * float(sys.argv[1])\n"
            "    token, op = new_token(user, ['run'], old, float(sys.argv[1]))\n"
            "    store.write(PutUser(user, old)); store.write(op)\n"
            "    await told.wait(); await asyncio.sleep(0.05); store.close(); print(token)\n"
            "asyncio.run(main())\n"
        )
        status, said = command(str(age), program=program, **self.environment)
        assert status == 0, said
        return said.split()[-1]

    def __enter__(self) -> tuple[str, str]:
        line = [sys.executable, "-m", "jupyter_fx_hub", "--HubApp.min_free_fraction=0.0", *self.options]
        self.process = subprocess.Popen(line, env={**os.environ, **self.environment}, stderr=-1, text=True)
        assert self.process.stderr is not None
        for text in self.process.stderr:
            if found := re.search(r"(http://\S+) and unix:", text):
                return found[1], self.token
        raise AssertionError("it did not start")

    def __exit__(self, *_how: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


def test_no_hub(short: Path) -> None:
    places = own_places(short)
    status, said = command("tasks", **places)
    assert status == 1
    explained(said)
    with pytest.raises(errors.HubUnavailable) as caught:
        HubClient(f"unix:{short}/no.sock", timeout=0.3)
    explained(caught.value)
    with pytest.raises(errors.HubUnavailable) as caught:
        HubClient("http://127.0.0.1:9", timeout=0.3)
    explained(caught.value)
    # An embedded hub that cannot start says why in one sentence, whoever asked for it.
    (short / "2" / "hub_config.py").write_text("c.HubApp.prot = 1\n")
    program = (
        "import jupyter_fx as fx\ntry: fx.connect()\nexcept Exception as error: print(type(error).__name__, error)"
    )
    _, said = command(program=program, **places)
    assert said.startswith("HubUnavailable the embedded fx hub did not start: ")
    assert "hub_config.py, line 1" in explained(said)


def test_port_or_socket_in_use(client: HubClient, short: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, said = command("hub", f"--port={taken.getsockname()[1]}", **own_places(short))
    assert status == 2
    explained(said)
    status, said = command("hub")
    assert status == 2
    assert f"pid {embedded.read_hub_file().pid}" in explained(said)  # type: ignore[union-attr]
    (short / "0" / "hub.sock").write_text("")
    status, said = command("hub", **own_places(short))
    assert status == 2
    explained(said)


needs_mounts = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can mount a small file system to fill"
)


class small_disk:  # noqa: N801 - reads as a function
    """A tmpfs of `size` MiB at `place`; skips where none can be mounted."""

    def __init__(self, place: Path, size: int) -> None:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.place, self.size = place, size

    def __enter__(self) -> small_disk:
        line = ["mount", "-t", "tmpfs", "-o", f"size={self.size}m,mode=700", "tmpfs", str(self.place)]
        ran = subprocess.run(line, capture_output=True, text=True, check=False)
        if ran.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {ran.stderr.strip()}")
        return self

    def fill(self, leave: int = 0) -> None:
        with (self.place / "filler").open("wb") as file:
            left = shutil.disk_usage(self.place).free - leave
            file.write(b"\0" * left)

    def free(self) -> None:
        (self.place / "filler").unlink(missing_ok=True)

    def __exit__(self, *_how: object) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=True)


@needs_mounts
def test_disk_full_at_the_hub(short: Path) -> None:
    limits = ("--HubApp.min_free=6000000", "--HubApp.ballast=1000000")
    with small_disk(short / "1", 24) as disk:
        with another_hub(short, *limits, JUPYTER_FX_CONFIG_DIR=str(short / "2")):
            client = HubClient(f"unix:{short}/0/hub.sock", endpoint="")
            kept = client.submit(abs, -1)
            client.drain(5)
            disk.fill(leave=3_000_000)
            time.sleep(1.1)  # the hub looks at most once a second
            refused = client.submit(abs, -2)
            with pytest.raises(errors.StorageFull) as caught:
                refused.result(60)
            explained(caught.value)
            disk.free()
            time.sleep(1.1)
            again = client.submit(abs, -3)
            client.drain(5)
            assert [one.state for one in (kept, again)] == [TaskState.QUEUED] * 2
            client.close(0.0)
        shutil.rmtree(short / "1" / "hub")
        disk.fill()
        program = "import jupyter_fx as fx\ntry: fx.connect()\nexcept Exception as error: print(error)"
        _, said = command(program=program, **own_places(short))
        explained(said)


@needs_mounts
def test_disk_full_at_the_endpoint(client: HubClient, top: Path) -> None:
    with small_disk(top / "1" / "endpoints" / "small", 24) as disk:
        settings = top / "2" / "endpoints" / "small" / "config.py"
        settings.parent.mkdir(parents=True, mode=0o700)
        settings.write_text("c.Endpoint.disk_reserve_mb = 8\nc.Endpoint.workers = 1\n")
        enrol(client, "small")
        disk.fill(leave=4_000_000)
        try:
            assert command("endpoint", "start", "small")[0] == 0
            future = client.submit_call(abs, (-5,), endpoint="small")
            until(lambda: "disk" in future.why)
            explained(future.why)
            assert future.state is TaskState.QUEUED
            disk.free()
            assert future.result(60) == 5
        finally:
            command("endpoint", "stop", "small")


def test_a_home_on_a_network_file_system(short: Path) -> None:
    # No NFS server is at hand: the one place that tells the type of a file system is replaced in the hub's process.
    program = (
        "from jupyter_fx_hub import app\nfrom jupyter_fx_hub.store import guard\n"
        "guard.file_system_of = lambda path, mounts=None: 'nfs4'\napp.main()\n"
    )
    status, said = command(program=program, **own_places(short))
    assert status == 2
    explained(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c = get_config()\nc.HubApp.idle_shutdwn = 5\n", "line 2: HubApp has no setting 'idle_shutdwn'"),
        ("c.HubAp.port = 1\n", "line 1: there is no c.HubAp here"),
        ("c.HubApp.port = 'x'\n", "line 1: "),
        ("c.HubApp.port = = 1\n", "line 1: SyntaxError"),
        ("c.HubApp.port = 1 / 0\n", "line 1: ZeroDivisionError"),
    ],
)
def test_a_configuration_with_a_typo(short: Path, text: str, said: str) -> None:
    places = own_places(short)
    (short / "2" / "hub_config.py").write_text(text)
    status, told = command(program="from jupyter_fx_hub import app; app.main()", **places)
    assert status == 2
    assert f"hub_config.py, {said}" in told
    if "setting" in said:
        explained(told)


def test_an_endpoint_whose_configuration_has_a_typo(client: HubClient, farm: str, top: Path) -> None:
    settings = top / "2" / "endpoints" / farm / "config.py"
    before = settings.read_text()
    settings.write_text(before + "c.Endpoint.wrokers = 3\n")
    try:
        for verb in ("run", "start"):
            status, said = command("endpoint", verb, farm)
            assert status != 0
            assert f"line {len(before.splitlines()) + 1}: Endpoint has no setting 'wrokers'" in explained(said)
    finally:
        settings.write_text(before)
    status, said = command("hub", "--prt=1")
    assert status == 2
    explained(said)
    assert "did you mean 'list'" in command("endpoint", "lst")[1]


def test_two_agents_for_one_endpoint(client: HubClient, top: Path, short: Path) -> None:
    identity = top / "1" / "endpoints" / "local" / "identity.json"
    until(lambda: client.request("endpoints.get", {"name": "local"})["state"] == "ONLINE")
    serve = "import sys; from jupyter_fx.endpoint.main import main; sys.exit(main(['local']))"
    status, said = command(program=serve)
    assert status == 2
    explained(said)
    # Another host has another state directory, and so another lock: there the hub refuses it.
    places = own_places(short)
    (short / "1" / "endpoints" / "local").mkdir(parents=True, mode=0o700)
    shutil.copy(identity, short / "1" / "endpoints" / "local")
    status, said = command(program=serve, **places)
    assert status == 3
    explained(said)
    assert client.submit(abs, -1).result(60) == 1


def test_a_client_of_another_version(client: HubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, upgrade in ((99, "upgrade the fx hub"), (0, "upgrade the side that connects")):
        monkeypatch.setattr(core, "VERSION", version)
        monkeypatch.setattr(core, "OLDEST_VERSION", version)
        with pytest.raises(errors.VersionMismatch, match=upgrade) as caught:
            HubClient(client.address)
        explained(caught.value)


def test_every_sentence_of_the_page_was_met(request: pytest.FixtureRequest) -> None:
    folder = request.path.parent
    here = [item for item in request.session.items if item.path.parent == folder]
    known = {
        (path, name)
        for path in folder.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    if {(item.path, item.originalname) for item in here} != known:  # type: ignore[attr-defined]
        pytest.skip("only some of this folder's tests ran")
    assert here[-1] is request.node, "what was met is known when all others have run: this is to be the last test"
    full = {row for row in SENTENCES if "disk" in row} if os.getuid() != 0 else set()
    # Clusters have tests of their own (cluster, test_endpoint_blocks, test_keep, unit/endpoint).
    cluster = {row for row in SENTENCES if any(word in row for word in CLUSTER)}
    # An endpoint that nobody has started is told so after a minute (unit/hub).
    later = {row for row in SENTENCES if "has never connected" in row}
    assert sorted(set(SENTENCES) - MET - full - cluster - later) == []
