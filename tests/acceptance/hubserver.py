"""A real JupyterHub with a real proxy in front of it: users log in by name, servers are local processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROXY = "configurable-http-proxy@4.6.3"
PASSWORD = "sesame"
TOKEN = "a-token-of-the-tests-alone-0123456789abcdef"
START = 120.0

CONFIG = """
import os, sys
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{ports[0]}/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{ports[1]}"
c.JupyterHub.db_url = "sqlite:///{top}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{top}/cookie_secret"
c.JupyterHub.cleanup_servers = True
c.ConfigurableHTTPProxy.command = {proxy!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{ports[2]}"
c.ConfigurableHTTPProxy.pid_file = "{top}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{top}/home/{{username}}"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
c.Spawner.start_timeout = c.Spawner.http_timeout = {start:g}
c.Spawner.environment = {{
    "JUPYTERLAB_SETTINGS_DIR": "{top}/settings",
    **{{name: "{top}/places/" + name for name in {places!r}}},
    "{mark}": os.environ["{mark}"],
    "PATH": os.environ["PATH"],
}}
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "tests", "scopes": ["admin:users", "admin:servers", "access:servers", "tokens"], "services": ["tests"]}}
]
"""
PLACES = ("JUPYTER_FX_RUNTIME_DIR", "JUPYTER_FX_STATE_DIR", "JUPYTER_FX_CONFIG_DIR")
PLACES += ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
MARK = "JUPYTER_FX_TEST_RUN"


def proxy_command() -> list[str]:
    """The proxy that JupyterHub runs, installed below .make/ the first time. Raises LookupError with why there is
    none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise LookupError("there is no node with npm (apt-get install nodejs npm): JupyterHub's proxy needs them")
    place = ROOT / ".make" / PROXY.replace("@", "-")
    program = place / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(place), PROXY]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
            if done.returncode or not program.exists():
                raise LookupError(f"npm could not install {PROXY}: {done.stderr.strip()[-300:]}")
    return [node, str(program)]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class JupyterHub:
    """A running JupyterHub. `url` ends in a slash; each user's notebooks are in `home(name)`."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.log = top / "jupyterhub.log"
        ports = free_ports(3)
        self.url = f"http://127.0.0.1:{ports[0]}/"
        self.places = {name: top / "places" / name for name in PLACES}
        for place in self.places.values():
            place.mkdir(parents=True, mode=0o700)
        quiet = top / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        quiet.parent.mkdir(parents=True)
        quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        config = top / "jupyterhub_config.py"
        config.write_text(
            CONFIG.format(
                ports=ports, top=top, proxy=proxy_command(), password=PASSWORD, token=TOKEN, start=START,
                places=PLACES, mark=MARK,
            )
        )  # fmt: skip
        # With the environment's own programs first: the spawner looks its command up on the PATH.
        environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(config)],
                cwd=top, env=environ, stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def home(self, name: str) -> Path:
        """Where the user's server starts."""
        place = self.top / "home" / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def wait(self) -> JupyterHub:
        """Until it answers, by way of its proxy."""
        until = time.monotonic() + START
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            if self.ask("hub/api/")[0] == 200:
                return self
            time.sleep(0.2)
        raise AssertionError("JupyterHub did not start:\n" + self.log.read_text()[-3000:])

    def ask(self, path: str, *, token: str = "", method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
        """(status, text) of a request; 0 when nobody listens. Redirects are not followed."""
        request = urllib.request.Request(self.url + path, method=method, data=body)
        if token:
            request.add_header("Authorization", f"token {token}")
        opener = urllib.request.build_opener(_Stay)
        try:
            with opener.open(request, timeout=30) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError:
            return 0, ""

    def close(self) -> None:
        """End it with its proxy and its users' servers."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer."""

    def redirect_request(self, *_args: Any) -> None:
        """No."""
