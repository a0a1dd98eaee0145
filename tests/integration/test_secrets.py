"""A hub, an endpoint, a call and a cell, seen by those who should not: where secrets lie, who can read what, and what
other users of the hub, of the machine and of the network get to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import itertools
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from jupyter_fx import embedded
from jupyter_fx.client import HubClient, MapResult
from jupyter_fx.embedded import local
from jupyter_fx.endpoint.settings import config_path
from jupyter_fx.errors import FxError
from jupyter_fx.ids import new_id
from jupyter_fx.protocol.messages import (
    Attach,
    BlobData,
    BlobGet,
    BlobRef,
    Cancel,
    CloseSession,
    Detach,
    Function,
    Functions,
    Hello,
    OpenSession,
    SessionSpec,
    Submit,
    TaskOptions,
    TaskSpec,
)
from jupyter_fx.transport import Peer
from jupyter_fx_hub.auth import SCOPES, new_token
from jupyter_fx_hub.links import _NEEDS
from jupyter_fx_hub.operations import OPERATIONS
from jupyter_fx_hub.store import registry
from jupyter_fx_hub.store.ops import PutUser

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]
CANARY = "canary" + str(7_390_131)  # in no source: functions travel with those of their own modules
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-aws",
    "GITHUB_TOKEN": f"{CANARY}-github",
    "JUPYTERHUB_API_TOKEN": f"{CANARY}-jupyterhub",
    "DATABASE_URL": f"postgresql://me:{CANARY}@host/db",
}
OURS = re.compile(rb"jfxe?_[A-Za-z0-9_-]{43}|jfxc(-[a-z2-7]{4}){4}")
"""Tokens, credentials and enrolment codes."""
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


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    top = Path(tempfile.mkdtemp(prefix="fxz"))
    # As open as a home directory on a careless machine: what lies in it has to protect itself.
    top.chmod(0o755)
    old = os.umask(0o022)
    found = Site(top)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for number, name in enumerate(("RUNTIME", "STATE", "CONFIG")):
                patch.setenv(f"JUPYTER_FX_{name}_DIR", str(top / str(number)))
            for name, value in PLANTED.items():
                patch.setenv(name, value)
            try:
                with prepared(found):
                    yield found
            finally:
                embedded.stop_endpoint()
                embedded.stop_hub()
    finally:
        found.close()
        os.umask(old)
        shutil.rmtree(top, ignore_errors=True)


def secrets_in(data: bytes) -> list[bytes]:
    """What of ours, or of what was planted, stands in some bytes."""
    found = [match.group(0) for match in OURS.finditer(data)]
    return found + [CANARY.encode()] * (CANARY.encode() in data)


def test_no_secret_is_in_a_command_line_or_the_environment_of_a_worker(site: Site) -> None:
    (secret,) = [path.read_bytes() for path in site.top.glob("1/endpoints/local/blocks/*/secret")]
    lines = b"\n".join(site.seen)
    assert b"jupyter_fx_hub" in lines
    assert b"manager_main" in lines
    assert not secrets_in(lines)
    assert secret.hex().encode() not in lines
    for process in site.processes()["agent"] + site.processes()["below"]:
        environ = Path("/proc", str(process.pid), "environ").read_bytes()
        assert not secrets_in(environ), process
        assert secret not in environ
    told = site.environment
    assert not secrets_in(json.dumps(told).encode())
    assert not set(PLANTED) & set(told)
    assert told["PATH"] == os.environ["PATH"]


def test_secrets_are_in_their_two_files_and_nowhere_else(site: Site) -> None:
    allowed = {"hub.json": rb"jfx_", "identity.json": rb"jfxe_"}
    held = set()
    for folder, _, names in os.walk(site.top):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found = secrets_in(path.read_bytes())
                assert all(one.startswith(allowed.get(name, b"nothing")) for one in found), (path, found)
                held |= {name} if found else set()
    assert held == set(allowed)


def test_what_is_made_is_its_owners_alone_and_user_code_keeps_its_umask(site: Site) -> None:
    made = [
        Path(folder, name)
        for root in ("0", "1", "2")
        for folder, dirs, names in os.walk(site.top / root)
        for name in (".", *dirs, *names)
    ]
    modes = {str(path.relative_to(site.top)): path.lstat().st_mode for path in made}
    # Configuration is a person's to edit (this test wrote it); IPython copies a file with its mode.
    wrong = [name for name, mode in modes.items() if mode & 0o077 and not name.endswith(("config.py", "README"))]
    assert len(modes) > 20
    assert not wrong
    assert site.umask == 0o022


def test_a_notebook_holds_no_secret_nor_do_errors(site: Site) -> None:
    outputs = [output for cell in site.notebook.cells for output in cell.get("outputs", ())]
    assert "ZeroDivisionError" in json.dumps(outputs)
    assert "in the cell" in json.dumps(outputs)
    assert [o.ename for o in outputs if o.output_type == "error"] == ["ZeroDivisionError"]
    assert not secrets_in(json.dumps(site.notebook).encode())
    assert not secrets_in(site.hub.url.encode())
    wrong = "jfx_" + "w" * 43
    with pytest.raises(FxError) as caught:
        HubClient(site.hub.url, token=wrong, timeout=5.0).request("whoami", timeout=5.0)
    assert wrong not in repr(caught.value) + repr(caught.value.details)
    assert site.hub.token not in repr(site.hub)


NOBODY = """
import json, os, socket, sys
told, got = json.load(sys.stdin), []
for path in told["paths"]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
        got.append(path)
    except OSError:
        pass
for path in told["sockets"]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        got.append(path)
    except OSError:
        pass
print(json.dumps([os.getuid(), got]))
"""


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="becomes another user")
def test_another_user_of_the_machine_can_read_and_reach_nothing(site: Site) -> None:
    paths = [str(Path(folder, name)) for folder, dirs, names in os.walk(site.top) for name in [".", *dirs, *names]]
    paths.remove(str(Path(site.top, ".")))
    for process in itertools.chain(*site.processes().values()):
        paths += [f"/proc/{process.pid}/{what}" for what in ("environ", "fd", "mem", "cwd/.")]
    sockets = [path for path in paths if Path(path).is_socket()]
    assert sockets
    line = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-c", NOBODY]
    told = json.dumps({"paths": paths, "sockets": sockets})
    done = subprocess.run(line, input=told, capture_output=True, text=True, timeout=30, check=True, cwd="/")
    assert json.loads(done.stdout) == [65534, []]


# What each operation is asked about: something of the owner's, by the names of `Site.own`, or plain values.
MATRIX: dict[str, dict[str, Any]] = {
    "whoami": {},
    "tasks.list": {},
    "tasks.get": {"task_id": "=task_id"},
    "tasks.events": {"task_id": "=task_id"},
    "tasks.log": {"task_id": "=task_id"},
    "tasks.cancel": {"task_id": "=task_id"},
    "tasks.delete": {"task_id": "=task_id"},
    "groups.get": {"group": "=group"},
    "groups.cancel": {"group": "=group"},
    "endpoints.list": {},
    "endpoints.get": {"name": "=endpoint_id"},
    "endpoints.code": {"name": "polaris"},
    "endpoints.delete": {"name": "=endpoint_id"},
    "tokens.list": {},
    "tokens.create": {},
    "tokens.revoke": {"token_id": "=token_id"},
    "sessions.list": {},
    "sessions.close": {"session_id": "=session_id"},
    "sessions.renew": {"session_id": "=session_id"},
    "functions.get": {"digest": "=function"},
    "refs.fetch": {"ref_id": "=ref_id"},
    "refs.drop": {"ref_id": "=ref_id"},
    "hub.stop": {},
}


def asked(site: Site, name: str, token: str, own: dict[str, str]) -> tuple[int, str]:
    """Ask an operation by REST; the answer as text, without the ids that were asked about."""
    operation, body, path = OPERATIONS[name], {}, OPERATIONS[name].path
    for arg, value in MATRIX[name].items():
        value = own[value[1:]] if value.startswith("=") else value
        if f"{{{arg}}}" in path:
            path = path.replace(f"{{{arg}}}", value)
        else:
            body[arg] = value
    status, answer = site.rest(operation.method, path, body or None, token)
    return status, neutral(json.dumps(answer), own)


def neutral(text: str, own: dict[str, str]) -> str:
    """The text without these ids, whole or cut as messages cut them."""
    parts = {part for value in own.values() for part in (value, value[:32], value[:16], value[:12], value[-8:])}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "ID")
    return text


def missing(own: dict[str, str]) -> dict[str, str]:
    """The same things, which nobody has."""
    return {name: os.urandom(len(value) // 2).hex() for name, value in own.items()}


def test_the_matrix_of_rest_is_whole(site: Site) -> None:
    assert set(MATRIX) == {name for name, operation in OPERATIONS.items() if operation.path}
    assert all(
        f"={name}"[1:] in {*site.own}
        for args in MATRIX.values()
        for name in [v[1:] for v in args.values() if v[0] == "="]
    )


@pytest.mark.parametrize("name", sorted(MATRIX))
def test_a_strangers_id_answers_like_a_missing_one(site: Site, name: str) -> None:
    nobodys = missing(site.own)
    theirs, none = (asked(site, name, site.tokens["stranger"], own) for own in (site.own, nobodys))
    if any(str(value).startswith("=") for value in MATRIX[name].values()):
        assert theirs == none
        assert theirs[0] in {404, 503}
    for value in [*site.own.values(), getpass.getuser() + '"']:
        assert value not in theirs[1]
    assert asked(site, name, "", site.own)[0] == 401
    allowed = OPERATIONS[name].scope in {"", "read"}
    assert (asked(site, name, site.tokens["reader"], site.own)[0] == 403) is not allowed
    assert name != "hub.stop" or theirs[0] == 403


def test_after_all_that_everything_of_the_owner_is_as_it_was(site: Site) -> None:
    own, token = site.own, site.hub.token
    assert asked(site, "tasks.get", token, own)[0] == 200
    assert '"RUNNING"' in asked(site, "tasks.get", token, own)[1]
    for name in ("endpoints.get", "functions.get", "tasks.log", "tasks.events", "whoami"):
        assert asked(site, name, token, own)[0] == 200
    for name, what in (("sessions.list", "session_id"), ("tokens.list", "token_id")):
        assert own[what] in json.dumps(site.rest("GET", OPERATIONS[name].path, token=token)[1])


def test_metrics_name_ones_own_endpoints_only(site: Site) -> None:
    def metrics(token: str) -> str:
        request = urllib.request.Request(site.hub.url + "/metrics", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read(), "utf-8")

    assert 'endpoint="local"' in metrics(site.hub.token)
    assert "endpoint=" not in metrics(site.tokens["stranger"])


def messages(own: dict[str, str], task_id: str) -> dict[str, list[Any]]:
    """What a client may send, about these things. `task_id`: of a task that the sender would like to have."""
    function = Function(own["function"], b"mine", "mine")

    def submit(endpoint: str, **more: Any) -> Submit:
        return Submit([TaskSpec(task_id, 0, own["function"], b"", endpoint, **more)])

    session = SessionSpec(new_id(), own["endpoint_id"], "kernel", "1")
    return {
        "Functions": [Functions([function]), submit("x")],
        "Submit": [Functions([function]), submit(own["endpoint_id"])],
        "Submit to a session": [Functions([function]), submit("", session=own["session_id"])],
        "Submit with an input": [
            Functions([function]),
            submit("", options=TaskOptions(inputs=[own["task_id"]])),
        ],
        "Cancel": [Cancel([own["task_id"]], 2, "")],
        "Attach": [Attach([(own["task_id"], 0, 2)])],
        "Detach": [Detach([own["task_id"]])],
        "OpenSession": [OpenSession(session)],
        "CloseSession": [CloseSession(own["session_id"], "", True)],
    }


def test_a_strangers_messages_about_others_things_answer_like_missing_ones(site: Site) -> None:
    assert set(_NEEDS) <= set(messages(site.own, new_id()))

    async def told(own: dict[str, str], name: str) -> list[str]:
        heard: list[Any] = []
        hello = Hello(1, 1, "client", new_id(), token=site.tokens["stranger"])
        peer = Peer(site.hub.url, hello, on_message=lambda message, _: heard.append(message)).start()
        try:
            task_id, last = new_id(), new_id()
            for message in messages(own, task_id)[name]:
                peer.send(message, keep=True)
                await peer.request("whoami")
            # What is refused is told once the hub has stored it: all before this one was told before it.
            peer.send(Submit([TaskSpec(last, 0, own["function"], b"", "no-such-endpoint")]), keep=True)
            async with asyncio.timeout(30):
                while not any(last in repr(message) for message in heard):
                    await asyncio.sleep(0.01)
            names = {**own, "wish": task_id}
            sessions = re.compile(r"session_id='\w+'")
            before = [message for message in heard if last not in repr(message)]
            return [sessions.sub("", neutral(repr(message), names)) for message in before]
        finally:
            peer.close()

    async def story() -> None:
        for name in messages(site.own, ""):
            theirs, none = await told(site.own, name), await told(missing(site.own), name)
            assert theirs == none, name
            assert not any("code" in one and "b'code'" in one for one in theirs)

    asyncio.run(story())


async def blob(site: Site, digest: str) -> BlobData:
    """Ask for a blob with the stranger's token."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    hello = Hello(1, 1, "blobs", new_id(), token=site.tokens["stranger"])
    peer = Peer(site.hub.url, hello, on_message=lambda message, _: answer.done() or answer.set_result(message)).start()
    await peer.opened(10)
    peer.send(BlobGet(digest))
    try:
        found: BlobData = await asyncio.wait_for(answer, 10)
        return found
    finally:
        peer.close()


def test_a_digest_that_is_known_opens_nothing_not_even_by_ones_own_agent(site: Site) -> None:
    """A stranger's endpoint says that a reference's value is the owner's blob, and has a task that names it."""

    async def story() -> None:
        digest = site.own["blob"]
        size = next((site.top / "1" / "hub" / "blobs").glob(f"??/{digest}")).stat().st_size
        first = await blob(site, digest)
        assert first.error is not None
        hello = Hello(1, 1, "client", new_id(), token=site.tokens["stranger"])
        client = Peer(site.hub.url, hello, on_message=lambda *_: None).start()
        code = (await client.request("endpoints.code", {"name": "liar"}))["code"]
        guest = Peer(site.hub.url, Hello(1, 1, "endpoint", new_id()), on_message=lambda *_: None).start()
        made = await guest.request("endpoints.enrol", {"code": code, "name": "liar", "info": {}})
        guest.close()
        agent = Peer(
            site.hub.url,
            Hello(1, 1, "endpoint", new_id(), token=made["credential"]),
            on_message=lambda *_: None,
            on_request=lambda request: {"digest": digest, "size": size},
        ).start()
        await agent.opened(10)
        with pytest.raises(FxError, match="not put"):
            await client.request("refs.fetch", {"ref_id": "x"})
        client.send(Functions([Function("e" * 64, b"", "f", BlobRef(digest, size))]), keep=True)
        client.send(Submit([TaskSpec(new_id(), 0, "e" * 64, b"", "liar")]), keep=True)
        await client.request("whoami")
        again, never = await blob(site, digest), await blob(site, "0" * 64)
        assert again.error is not None
        assert never.error is not None
        assert not again.data
        assert again.error.message.replace(digest[:12], "") == never.error.message.replace("0" * 12, "")
        await client.request("endpoints.delete", {"name": "liar"})
        client.close()
        agent.close()

    asyncio.run(story())


def raw(site: Site, data: bytes, *, unix: bool = False) -> socket.socket:
    if unix:
        one = socket.socket(socket.AF_UNIX)
        one.connect(site.hub.socket)
    else:
        host, port = site.hub.url.removeprefix("http://").split(":")
        one = socket.create_connection((host, int(port)))
    one.settimeout(10)
    one.sendall(data)
    return one


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", b"403"), ("http://127.0.0.1", b"403"), ("", b"101")]
)
def test_a_foreign_page_cannot_open_a_link(site: Site, origin: str, status: bytes) -> None:
    line = f"Origin: {origin}\r\n" if origin else ""
    head = f"GET /api/v1/link HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{line}"
    head += f"Authorization: Bearer {site.hub.token}\r\nSec-WebSocket-Version: 13\r\n"
    with raw(site, f"{head}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode()) as one:
        assert one.recv(4096).split()[1] == status


def test_bodies_that_are_too_much_are_refused_in_a_sentence(site: Site) -> None:
    deep = b'{"name": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    for body in (deep, b"\xff\xfe", b"[]", b'{"name": 7}', b'{"name": "../x"}', b'{"name": "a/b"}'):
        status, answer = site.rest("POST", "/api/v1/endpoints", body, site.hub.token)
        assert (status, answer["error"]["etype"]) == (400, "UsageError"), body[:20]
    status, answer = site.rest("POST", "/api/v1/tokens", b'{"lifetime": 1' + b"0" * 30 + b"}", site.hub.token)
    assert (status, answer["error"]["etype"]) == (400, "UsageError")
    for path in ("/api/v1/tasks/..%2f..%2fhub.json", "/api/v1/functions/%00", "/api/v1/endpoints/%ff%fe"):
        assert site.rest("GET", path, token=site.hub.token)[0] in {400, 404}, path
    head = b"POST /api/v1/endpoints HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with raw(
        site, head.replace(b"Host", b"Authorization: Bearer %b\r\nHost" % site.hub.token.encode()) % (1 << 40)
    ) as one:
        assert one.recv(4096).split()[1] == b"400"
    # Nobody's body is not even waited for.
    with raw(site, head % 1_000_000) as one:
        assert one.recv(4096).split()[1] == b"401"


def test_who_floods_the_port_takes_no_descriptor_that_the_hub_needs(site: Site) -> None:
    """A hub that may have 300 files: strangers get half of them, and its own user goes on by the socket."""
    top = Path(tempfile.mkdtemp(prefix="fxz"))
    places = {f"JUPYTER_FX_{name}_DIR": str(top / name[0]) for name in ("RUNTIME", "STATE", "CONFIG")}
    few = subprocess.Popen(
        ["/bin/sh", "-c", 'ulimit -n 300 && exec "$@"', "sh", *embedded.hub.hub_command()],
        env=os.environ | places,
        stderr=subprocess.DEVNULL,
    )
    held: list[socket.socket] = []
    try:
        end = time.monotonic() + 60
        while not (top / "R" / "hub.json").exists() and time.monotonic() < end:
            time.sleep(0.02)
        told = json.loads((top / "R" / "hub.json").read_text())
        host, port = told["url"].removeprefix("http://").split(":")
        held += [socket.create_connection((host, int(port))) for _ in range(400)]
        client = HubClient(f"unix:{told['socket']}", timeout=10.0)
        assert client.request("whoami", timeout=10.0)["user"]
        client.close()
        assert len(os.listdir(f"/proc/{few.pid}/fd")) < 200  # noqa: PTH208 -- names in /proc
    finally:
        for one in held:
            one.close()
        few.terminate()
        few.wait(10)
        shutil.rmtree(top, ignore_errors=True)


def test_many_slow_and_mad_connections_leave_the_hub_answering(site: Site) -> None:
    held = [raw(site, b"GET /api/v1/tasks HTTP/1.1\r\nX-Slow: ") for _ in range(300)]
    held += [raw(site, b"\x00\x00", unix=True) for _ in range(100)]
    mad = [
        raw(site, junk, unix=True) for junk in (b"\xff" * 64, b"\x00\x00\x00\x05\x93\x00\x00\x91\xc1", os.urandom(4096))
    ]
    try:
        for _ in range(20):
            assert site.rest("GET", "/api/v1/whoami", token=site.hub.token)[0] == 200
        for one in mad:
            # A goodbye, or nothing, then the end.
            while one.recv(65536):
                pass
    finally:
        for one in held + mad:
            one.close()
    assert not secrets_in((site.top / "1" / "hub" / "hub.log").read_bytes())
    assert b"Traceback" not in (site.top / "1" / "hub" / "hub.log").read_bytes()
