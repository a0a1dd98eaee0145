"""A hub, an endpoint, a call and a cell, with secrets planted around them, and how secrets are found again."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import re
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient

from jupyter_fx import embedded
from jupyter_fx.client import HubClient, MapResult
from jupyter_fx.embedded import local
from jupyter_fx.endpoint.settings import config_path
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import Function, Functions, Hello
from jupyter_fx.transport import Peer
from jupyter_fx_hub.auth import SCOPES, new_token
from jupyter_fx_hub.store import registry
from jupyter_fx_hub.store.ops import PutUser

CANARY = "canary" + str(7_390_131)  # in no source: functions travel with those of their own modules
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-aws",
    "GITHUB_TOKEN": f"{CANARY}-github",
    "JUPYTERHUB_API_TOKEN": f"{CANARY}-jupyterhub",
    "DATABASE_URL": f"postgresql://me:{CANARY}@host/db",
}
OURS = re.compile(rb"jfxe?_[A-Za-z0-9_-]{43}|jfxc(-[a-z2-7]{4}){4}")
CELLS = (
    "%load_ext jupyter_fx",
    "%fx",
    "%%remote\nimport os\nprint('in the cell')\nseen = ' '.join(os.environ.values())",
    "canary = 'canary' + '7f3a9c'\nassert canary not in seen and seen",
    "%%remote\n1 / 0",
    "import jupyter_fx as fx\nfx.endpoints(), fx.tasks(), fx.connect()",
)


class Site:
    """An embedded hub with its endpoint in this process's directories, what was done there, and two foreign tokens."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.tokens: dict[str, str] = {}
        self.seen: set[bytes] = set()
        """Every command line that any process had meanwhile."""
        self.notebook: Any = None
        self.environment: dict[str, str] = {}
        self.umask = -1
        self.own: dict[str, str] = {}
        self.hub: Any = None
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for pid in psutil.pids():
                with contextlib.suppress(OSError):
                    self.seen.add(Path("/proc", str(pid), "cmdline").read_bytes())

    def close(self) -> None:
        self._over.set()
        self._watcher.join(5)

    def rest(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        request = urllib.request.Request(self.hub.url + path, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def processes(self) -> dict[str, list[psutil.Process]]:
        """The hub, the agent, and all that the agent has started (manager, zygote, workers)."""
        agent = psutil.Process((local.agent() or {})["pid"])
        below = agent.children(recursive=True)
        manager = self.top.glob("1/endpoints/local/blocks/*/manager.json")
        for path in manager:
            process = psutil.Process(json.loads(path.read_text())["pid"])
            below += [process, *process.children(recursive=True)]
        assert len(below) >= 3
        return {"hub": [psutil.Process(self.hub.pid)], "agent": [agent], "below": below}


def stranger_tokens(database: Path, user: str) -> dict[str, str]:
    """Tokens of another user, and one of this user that only reads, written into the database of a hub at rest."""
    made = {}
    with sqlite3.connect(database) as connection:
        for name, owner, scopes in (("stranger", "mallory", SCOPES), ("reader", user, ["read"])):
            made[name], op = new_token(owner, scopes, time.time())
            registry.apply(connection.cursor(), PutUser(owner, time.time()))
            registry.apply(connection.cursor(), op)
    connection.close()
    return made


@contextlib.contextmanager
def prepared(site: Site) -> Iterator[None]:
    """Start everything, then a call, a large call, a task that goes on, and a notebook with a session."""
    config_path(local.NAME).write_text('c.Endpoint.manager = "process"\n')
    embedded.ensure_hub()
    embedded.stop_hub()
    site.tokens = stranger_tokens(site.top / "1" / "hub" / "hub.db", getpass.getuser())
    site.hub = embedded.ensure_hub()
    embedded.ensure_endpoint(site.hub)
    client = HubClient(site.hub.address, token=site.hub.token, endpoint=local.NAME)
    try:
        site.environment, site.umask = client.submit(lambda: (dict(os.environ), os.umask(0o022))).result(60)
        assert client.submit(len, os.urandom(400_000)).result(60) == 400_000
        running = client.submit(time.sleep, 300)
        group = MapResult(client, abs, ([1, -2],)).wait().group
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
        kernel = NotebookClient(book, timeout=60, allow_errors=True)
        with kernel.setup_kernel():
            for number, cell in enumerate(book.cells):
                kernel.execute_cell(cell, number)
            site.notebook = book
            client.request("tokens.create", {"note": "another"})
            site.own = {
                "task_id": running.task_id,
                "session_id": client.request("sessions.list")[0]["session_id"],
                "endpoint_id": client.request("endpoints.list")[0]["endpoint_id"],
                "token_id": client.request("tokens.list")[0]["token_id"],
                "blob": next(iter((site.top / "1" / "hub" / "blobs").glob("??/*"))).name,
                "ref_id": new_id(),
                "function": "f" * 64,
                "group": group,
            }
            asyncio.run(_function(site))
            yield
        client.request("tasks.cancel", {"task_ids": [running.task_id], "mode": 2})
    finally:
        client.close()


async def _function(site: Site) -> None:
    peer = Peer(site.hub.address, Hello(1, 1, "client", new_id()), on_message=lambda *_: None).start()
    peer.send(Functions([Function(site.own["function"], b"code", "f")]), keep=True)
    await peer.request("whoami")
    peer.close()


def secrets_in(data: bytes) -> list[bytes]:
    """What of ours, or of what was planted, stands in some bytes."""
    found = [match.group(0) for match in OURS.finditer(data)]
    return found + [CANARY.encode()] * (CANARY.encode() in data)
