"""Endpoints and hubs through the Jupyter server: what the panel's forms do, and who may."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_server_process import Server, eventually

from jupyter_fx.endpoint import launch
from jupyter_fx.server.base import Parts
from jupyter_fx.server.handlers import handlers

AUTHORIZER = """
import pathlib
from jupyter_server.auth import Authorizer

class Some(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        allowed = pathlib.Path(__file__).with_name("allowed").read_text().split()
        return resource != "jupyter-fx" or action in allowed
"""


@pytest.fixture(scope="module")
def server(stack: Path) -> Iterator[Server]:
    folder = stack / "srv-endpoints"
    folder.mkdir()
    (folder / "only_some.py").write_text(AUTHORIZER)
    (folder / "allowed").write_text("read write")
    options = ["--ServerApp.authorizer_class=only_some.Some"]
    started = Server(folder, *options, env={"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])})
    eventually(lambda: started.ask("jupyter-fx/status")[1]["connected"], "the server knows its hub")
    yield started
    started.close()


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    """For an endpoint of the test's own."""
    found = f"t{os.urandom(3).hex()}"
    yield found
    if found in launch.names():
        launch.stop(found)
        launch.delete(found)


def post(server: Server, path: str, **body: Any) -> tuple[int, Any]:
    return server.ask(f"jupyter-fx/{path}", "POST", body)


def endpoints(server: Server) -> dict[str, Any]:
    return {one["name"]: one for one in server.ask("jupyter-fx/endpoints")[1]["endpoints"]}


def here(server: Server) -> dict[str, Any]:
    return {one["name"]: one for one in server.ask("jupyter-fx/agents")[1]["agents"]}


def test_an_endpoint_is_made_changed_started_and_deleted(server: Server, name: str) -> None:
    form = server.ask("jupyter-fx/agent-form")[1]
    values = form["values"]
    values["Endpoint"] |= {"workers": 1, "max_sessions": 3}
    values["Blocks"] |= {"provider": "local", "walltime": "", "min_blocks": 1}
    assert post(server, "agent-check", values=values, name=name) == (200, {"problems": {}})
    assert post(server, "agents", name=name, values=values) == (201, {"name": name})
    assert not here(server)[name]["running"]
    status, told = post(server, f"agents/{name}/start")
    assert (status, told["state"], told["log"]) == (200, "ONLINE", [])
    assert here(server)[name]["running"]

    def ready() -> Any:
        found = endpoints(server)[name]
        return found["info"].get("images", {}).get("host", {}).get("idle") and found

    found = eventually(ready, "its block has a manager with a worker")
    assert [block["state"] for block in found["info"]["blocks"]] == ["running"]
    assert found["info"]["images"]["host"]["warm"] == 1
    assert found["info"]["max_sessions"] == 3

    # What it is now, and another value; nothing else of the file is touched.
    now = server.ask(f"jupyter-fx/agent-form?name={name}")[1]["values"]
    assert now == values
    now["Endpoint"]["max_sessions"] = 5
    assert post(server, f"agents/{name}/configure", values=now) == (200, {"changed": True})
    assert post(server, f"agents/{name}/configure", values=now) == (200, {"changed": False})
    assert post(server, f"agents/{name}/restart")[1]["state"] == "ONLINE"
    eventually(lambda: endpoints(server)[name]["info"]["max_sessions"] == 5, "it has the new setting")

    assert post(server, f"agents/{name}/stop") == (200, {"stopped": True})
    assert post(server, f"agents/{name}/stop") == (200, {"stopped": False})
    assert any("agent" in line for line in server.ask(f"jupyter-fx/agents/{name}/log?lines=50")[1]["lines"])
    assert post(server, f"endpoints/{name}/delete") == (200, {})
    assert name not in endpoints(server)
    assert name not in here(server)
    assert post(server, f"endpoints/{name}/delete")[0] == 400


def test_what_is_wrong_is_told_by_field_and_nothing_is_made(server: Server, name: str) -> None:
    values = {"Blocks": {"provider": "local", "walltime": "an hour"}, "Endpoint": {"workers": -1}}
    told = post(server, "agent-check", values=values, name="Not a name")[1]["problems"]
    assert set(told) == {"Blocks.walltime", "Endpoint.workers", "name"}
    status, answer = post(server, "agents", name=name, values=values)
    assert (status, set(answer["problems"])) == (400, {"Blocks.walltime", "Endpoint.workers"})
    status, answer = post(server, "agents", name="local", values={})
    assert (status, set(answer["problems"])) == (400, {"name"})
    assert name not in here(server)
    for path, body in (("agents", {"name": name}), ("agent-check", {"values": []}), ("agents/x/start", {"now": 1})):
        assert post(server, path, **body)[0] == 400
    for path in ("agents/nobody/start", "agents/nobody/configure", "endpoints/nobody/delete"):
        status, answer = post(server, path, **({"values": {}} if path.endswith("configure") else {}))
        assert (status, "nobody" in answer["message"]) == (400, True)
    assert server.ask("jupyter-fx/agent-form?name=nobody")[0] == 400


def test_an_agent_that_does_not_come_up_says_why(server: Server, name: str) -> None:
    assert post(server, "agents", name=name, values={"Endpoint": {"python": "/nowhere/python"}})[0] == 201
    status, answer = post(server, f"agents/{name}/start")
    assert status == 409
    assert "/nowhere/python" in answer["message"]
    assert any("/nowhere/python" in line for line in answer["log"])
    assert here(server)[name]["last"] == answer["log"][-1]


@pytest.fixture
def other_hub(stack: Path) -> Iterator[dict[str, Any]]:
    """Another fx hub, as one on another machine would be: an address and a token for it."""
    top = stack / "other"
    env = {**os.environ, **{f"JUPYTER_FX_{place}_DIR": str(top / place) for place in ("RUNTIME", "STATE", "CONFIG")}}
    with (stack / "other.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "jupyter_fx_hub"], env=env, stdout=log, stderr=log)
    file = top / "RUNTIME" / "hub.json"
    try:
        eventually(file.exists, "the other hub listens")
        yield json.loads(file.read_text())
    finally:
        process.terminate()
        process.wait(20)


def test_another_hub_is_chosen_and_left_and_its_token_is_never_told(
    server: Server, other_hub: dict[str, Any], stack: Path
) -> None:
    url, token = other_hub["url"], other_hub["token"]
    own = server.ask("jupyter-fx/status")[1]
    assert own["hub"] == "own"
    for address, given, said in (
        ("ftp://x", "t", "begins with https://"),
        (url.replace("http://", "http://me:secret@"), "t", "holds no user"),
        (url, "", "no token was given"),
        (url, "wrong", "token"),
        ("http://127.0.0.1:9", "t", "127.0.0.1:9"),
    ):
        status, answer = post(server, "hub/sign-in", address=address, token=given)
        assert status in {400, 502, 503}, answer
        assert said in answer["message"]
        assert "secret" not in answer["message"]
    assert server.ask("jupyter-fx/status")[1] == own, "what did not work has changed nothing"

    status, answer = post(server, "hub/sign-in", address=url, token=token)
    assert (status, answer) == (200, {"user": answer["user"]})
    told = eventually(lambda: (s := server.ask("jupyter-fx/status")[1])["connected"] and s, "it is connected there")
    assert (told["address"], told["hub"]) == (url, "chosen")
    assert endpoints(server) == {}
    kernel_id = server.start_kernel()
    printed = server.run(kernel_id, "import os; print(os.environ['JUPYTER_FX_HUB'], sorted(os.environ))")
    assert printed.startswith(url)
    assert "JUPYTER_FX_TOKEN'" not in printed
    server.run(kernel_id, "%load_ext jupyter_fx")
    assert url in server.run(kernel_id, "%fx")
    server.ask(f"api/kernels/{kernel_id}", "DELETE")
    assert token not in server.log.read_text()

    assert post(server, "hub/leave")[1]["hub"] == "own"
    eventually(lambda: server.ask("jupyter-fx/status")[1]["address"] == own["address"], "it is as it was")
    assert "local" in endpoints(server)
    # The token was kept, where `jupyter fx login` keeps it, until it is to be forgotten.
    kept = [file for file in (Path(os.environ["JUPYTER_FX_CONFIG_DIR"]) / "tokens").iterdir() if file.is_file()]
    assert [oct(file.stat().st_mode & 0o777) for file in kept] == ["0o600"]
    assert post(server, "hub/sign-in", address=url)[0] == 200
    assert post(server, "hub/leave", forget=True)[0] == 200
    assert not kept[0].exists()


def test_who_may_only_look_changes_nothing_and_who_may_not_sees_nothing(server: Server) -> None:
    """Every route, asked of the server's authorizer: a route without that would answer something else."""
    allowed = server.folder / "allowed"
    samples = {r"([0-9a-f]{32})": "0" * 32, r"([a-z0-9][a-z0-9-]{0,62})": "nobody"}
    routes = []
    for pattern, kind, _ in handlers(Parts(*[None] * 5)):  # type: ignore[arg-type]
        for group, sample in samples.items():
            pattern = pattern.replace(group, sample)
        for path in [pattern.replace(found, word) for found in re.findall(r"\(\w+(?:\|\w+)+\)", pattern)
                     for word in found[1:-1].split("|")] or [pattern]:  # fmt: skip
            routes += [(verb, path.lstrip("/")) for verb in ("GET", "POST") if kind.SUPPORTED_METHODS and
                       verb.lower() in vars(kind)]  # fmt: skip
    assert len(routes) > 20
    written = {("GET", "jupyter-fx/agent-form")}
    try:
        for words, refused in (("", {"GET", "POST"}), ("read", {"POST"})):
            allowed.write_text(words)
            for verb, path in routes:
                if path.endswith("/live"):
                    continue
                status, _ = server.ask(path, verb, {} if verb == "POST" else None)
                assert (status == 403) == (verb in refused or (verb, path) in written), (words, verb, path, status)
    finally:
        allowed.write_text("read write")
