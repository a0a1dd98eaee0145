"""A laptop, an account of an ordinary user on a login node that ssh alone leads to, and a link that falls silent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from network import Network, wait
from ordinary_user import Account, Unreadable, ordinary_user, why_no_ordinary_user

from jupyter_fx.client.hub import HubClient

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
MARK = "JUPYTER_FX_TEST_RUN"
pytestmark = [
    pytest.mark.skipif(not SSHD, reason="no sshd on this machine (openssh-server)"),
    pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh on this machine (openssh-client)"),
]


class Laptop:
    """`fx` is typed there; its own hub, once it runs, is asked by `client`."""

    def __init__(self, folder: Path, net: Network, account: Account) -> None:
        self.folder, self.net, self.account = folder, net, account
        self._client: HubClient | None = None
        folder.mkdir()

    def env(self) -> dict[str, str]:
        """What programs start with there."""
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        places = {f"JUPYTER_FX_{what}_DIR": str(self.folder / what[0]) for what in ("RUNTIME", "STATE", "CONFIG")}
        return {**env, **places, "HOME": str(self.folder)}

    def fx(self, *words: str, within: float = 90.0) -> str:
        """`jupyter fx WORDS`."""
        line = [sys.executable, "-m", "jupyter_fx.cli.app", *words]
        done = self.net.run("laptop", *line, env=self.env(), within=within)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def keys(self) -> None:
        """A key pair, and how the host is reached."""
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "key"]
        subprocess.run(make, check=True)
        (self.folder / "config").write_text(
            f"Host cluster\n  HostName login\n  Port 2222\n  User {self.account.name}\n"
            f"  IdentityFile {self.folder / 'key'}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile {self.folder / 'known'}\n"
        )

    @property
    def client(self) -> HubClient:
        """Of the embedded hub: over its socket, which is no matter of the network."""
        if self._client is None:
            self._client = HubClient(f"unix:{self.folder}/R/hub.sock")
        return self._client

    def close(self) -> None:
        """Away with what it started."""
        if self._client is not None:
            self._client.close(timeout=0.0)
        self.net.firewall("heal", "laptop")
        if (self.folder / "S").exists():
            line = [sys.executable, "-m", "jupyter_fx.cli.app"]
            self.net.run("laptop", *line, "endpoint", "delete", "polaris", "--yes", env=self.env())
            self.net.run("laptop", *line, "up", "--down", env=self.env())


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    if why := why_no_ordinary_user():
        pytest.skip(why)
    try:
        with ordinary_user(Path(tempfile.mkdtemp(prefix="fxo"))) as found:
            subprocess.run(["usermod", "-p", "*", found.name], check=True)  # without a password, but not locked
            yield found
    except Unreadable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def laptop(net: Network, account: Account) -> Iterator[Laptop]:
    found = Laptop(account.folder / "laptop", net, account)
    found.folder.chmod(0o700)
    found.keys()
    ssh = account.folder / "sshd"
    ssh.mkdir(mode=0o755)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "hostkey"], check=True)
    shutil.copy(found.folder / "key.pub", ssh / "authorized")
    Path("/run/sshd").mkdir(exist_ok=True)
    (ssh / "config").write_text(
        f"Port 2222\nListenAddress 10.77.4.2\nHostKey {ssh / 'hostkey'}\nAuthorizedKeysFile {ssh / 'authorized'}\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin no\n"
        f"SetEnv {MARK}={os.environ[MARK]}\n"
    )
    net.start("login", SSHD, "-D", "-f", ssh / "config", "-E", ssh / "log")
    knock = [sys.executable, "-c", "import socket; socket.create_connection(('login', 2222), 1)"]
    wait(lambda: net.run("laptop", *knock).returncode == 0, 20, "sshd does not listen")
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def polaris(laptop: Laptop, account: Account) -> str:
    """The endpoint, added as a newcomer adds it; ssh notices silence early, so that no test waits for it."""
    options = ["-F", str(laptop.folder / "config"), "-oServerAliveInterval=1", "-oServerAliveCountMax=2"]
    options += ["-oConnectTimeout=3"]
    said = laptop.fx(
        "endpoint",
        "add",
        "polaris",
        "--ssh=cluster",
        f"--python={account.python}",
        *[f"--ssh-option={one}" for one in options],
    )
    assert "is linked: its agent runs on" in said
    return "polaris"


def who(folder: str, until: str = "") -> dict[str, object]:
    """Leaves marks of its beginning and its end, which is not before there is a file of this name."""
    with open(f"{folder}/begun", "a") as file:
        file.write("x")
    while until and not Path(folder, until).exists():
        time.sleep(0.05)
    with open(f"{folder}/ended", "w") as file:
        file.write("x")
    import pwd

    return {"user": pwd.getpwuid(os.getuid()).pw_name, "home": os.environ["HOME"]}


def test_an_ordinary_user_runs_it_there_and_nobody_else_reads_it(
    laptop: Laptop, polaris: str, account: Account
) -> None:
    folder = Path(tempfile.mkdtemp(dir=account.folder))
    folder.chmod(0o777)
    told = laptop.client.submit_call(who, (str(folder),), endpoint=polaris).result(60)
    assert told["user"] == account.name
    assert told["home"] == str(account.home)
    agent = int(next(account.home.glob(".local/state/jupyter-fx/*/endpoints/polaris/lock")).read_text())
    assert laptop.net.is_on(agent) == "login"
    assert Path(f"/proc/{agent}").stat().st_uid == account.uid
    # No TCP connection and no TCP port: ssh's streams are its only way.
    sockets = Path(f"/proc/{agent}/net/tcp").read_text().splitlines()[1:]
    assert not [line for line in sockets if line.split()[7] == str(account.uid)]
    home = next(account.home.glob(".local/state/jupyter-fx/*/endpoints/polaris"))
    for path in [home, *home.rglob("*")]:
        assert path.stat().st_uid == account.uid
        # What user code writes has the mask of its user's shell; it is below a directory that is closed.
        assert path.stat().st_mode & 0o077 == 0 or home / "scratch" in path.parents, path


def test_a_link_that_falls_silent_is_survived(laptop: Laptop, polaris: str, account: Account) -> None:
    """The laptop falls silent, as when it sleeps. The agent goes on; what it finished waits there and comes home."""
    folder = Path(tempfile.mkdtemp(dir=account.folder))
    folder.chmod(0o777)
    home = next(account.home.glob(".local/state/jupyter-fx/*/endpoints/polaris"))
    agent = (home / "lock").read_text()
    future = laptop.client.submit_call(who, (str(folder), "go"), endpoint=polaris)
    wait((folder / "begun").exists, 30)
    laptop.net.firewall("cut", "laptop")
    try:
        (folder / "go").touch()
        wait((folder / "ended").exists, 30)
        # The laptop's side sees that there is no answer; it has not heard of the end.
        keeping = laptop.folder / "S" / "endpoints" / "polaris" / "keeper.json"
        wait(lambda: json.loads(keeping.read_text())["state"] != "linked", 30, keeping.read_text())
        assert not future.done()
        waiting = laptop.client.submit_call(who, (str(folder),), endpoint=polaris)
    finally:
        laptop.net.firewall("heal", "laptop")
    begun = time.monotonic()
    assert future.result(60)["user"] == account.name
    print("home after", time.monotonic() - begun, "s")
    assert waiting.result(60)["user"] == account.name
    assert (folder / "begun").read_text() == "xx"
    assert (home / "lock").read_text() == agent
