"""What other users of the hub, and of the network, get to know, and what they can do to it."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from observed_site import Site, secrets_in

from jupyter_fx import embedded
from jupyter_fx.client import HubClient
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
from jupyter_fx_hub.links import _NEEDS
from jupyter_fx_hub.operations import OPERATIONS

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]
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
