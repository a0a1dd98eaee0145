"""A real hub process as a service: REST and its tokens, clear refusals, how it ends."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from hub_process import FakeAgent, FakeClient, HubProcess, enrol, until

from jupyter_fx.errors import FxError
from jupyter_fx.ids import new_id

pytestmark = pytest.mark.timeout(240)


def test_rest_needs_the_token_and_answers_in_json(hub: HubProcess) -> None:
    assert hub.rest("GET", "/health", token=None) == (200, {"ready": True, "why": ""})
    status, answer = hub.rest("GET", "/api/v1/whoami")
    assert (status, answer["hub_boot"]) == (200, 1)
    for token in (None, "jfx_wrong", "x" * 5000):
        status, answer = hub.rest("GET", "/api/v1/tasks", token=token)
        assert (status, answer["error"]["etype"]) == (401, "AuthError")
    assert hub.rest("GET", "/api/v1/tasks") == (200, {"tasks": [], "next": None})
    status, answer = hub.rest("GET", "/api/v1/tasks?state=SLEEPING")
    assert (status, answer["error"]["etype"]) == (400, "UsageError")
    missing = hub.rest("GET", f"/api/v1/tasks/{new_id()}")
    assert missing[0] == 404
    assert "no task" in missing[1]["error"]["message"]
    status, answer = hub.rest("POST", "/api/v1/endpoints", {"name": "polaris"})
    assert status == 200
    assert answer["code"].startswith("jfxc-")
    assert hub.rest("POST", "/api/v1/endpoints", {"name": "../x"})[0] == 400
    assert hub.rest("POST", "/api/v1/endpoints", {})[0] == 400
    assert hub.rest("POST", "/api/v1/endpoints", {"name": "x"}, token=None, Cookie="token=1")[0] == 401
    assert hub.rest("PUT", "/api/v1/tasks")[0] == 405
    assert hub.rest("GET", "/nothing")[0] == 404
    status, document = hub.rest("GET", "/api/v1/openapi.json", token=None)
    assert document["openapi"] == "3.1.0"
    for path, methods in document["paths"].items():
        for method in methods:
            if path not in {"/health", "/api/v1/openapi.json", "/api/v1/link"}:
                assert hub.rest(method.upper(), path.replace("{", "").replace("}", ""), token=None)[0] == 401, path
    status, text = hub.rest("GET", "/metrics")
    assert "jupyter_fx_submitted_total 0" in text
    status, _ = hub.rest("POST", "/api/v1/stop")
    assert status == 200
    assert hub.process is not None
    assert hub.process.wait(10) == 0


def test_a_token_allows_what_it_says_until_it_is_revoked_or_over(hub: HubProcess) -> None:
    status, made = hub.rest("POST", "/api/v1/tokens", {"scopes": ["read"], "note": "a look"})
    assert status == 200
    assert hub.rest("GET", "/api/v1/tasks", token=made["token"])[0] == 200
    status, refused = hub.rest("POST", "/api/v1/endpoints", {"name": "x"}, token=made["token"])
    assert status == 403
    assert "does not allow 'endpoints'" in refused["error"]["message"]
    assert hub.rest("POST", "/api/v1/tokens", {"scopes": ["root"]})[0] == 400
    assert hub.rest("POST", "/api/v1/tokens", {"lifetime": -1})[0] == 400
    status, listed = hub.rest("GET", "/api/v1/tokens")
    assert made["token"] not in json.dumps(listed)
    assert "a look" in [one["note"] for one in listed]
    status, wide = hub.rest("POST", "/api/v1/tokens", {"scopes": ["read", "run"]})
    assert hub.rest("POST", "/api/v1/tokens", {"scopes": ["admin"]}, token=wide["token"])[0] == 403

    async def story() -> None:
        client = FakeClient(hub.told["url"], token=wide["token"])
        await client.peer.opened(5)
        assert hub.rest("DELETE", f"/api/v1/tokens/{wide['token_id']}")[0] == 200
        with pytest.raises(FxError):
            await client.peer.request("whoami", {}, 5)
        client.peer.close()

    asyncio.run(story())
    assert hub.rest("GET", "/api/v1/tasks", token=wide["token"])[0] == 401
    status, brief = hub.rest("POST", "/api/v1/tokens", {"lifetime": 1})
    end = time.monotonic() + 60
    while hub.rest("GET", "/api/v1/tasks", token=brief["token"])[0] != 401 and time.monotonic() < end:
        time.sleep(0.1)
    assert "expired" in hub.rest("GET", "/api/v1/tasks", token=brief["token"])[1]["error"]["message"]


def test_a_second_hub_is_refused_with_cause_and_cure(hub: HubProcess) -> None:
    again = subprocess.run(
        [sys.executable, "-m", "jupyter_fx_hub"], env=hub.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert again.returncode == 2
    assert f"pid {hub.told['pid']}" in again.stderr
    other = {
        **hub.env,
        "JUPYTER_FX_RUNTIME_DIR": str(hub.folder / "r2"),
        "JUPYTER_FX_STATE_DIR": str(hub.folder / "s2"),
    }
    port = hub.told["url"].rsplit(":", 1)[1]
    taken = subprocess.run(
        [sys.executable, "-m", "jupyter_fx_hub", f"--port={port}"],
        env=other,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert taken.returncode == 2
    assert f"port {port} on 127.0.0.1 cannot be listened on" in taken.stderr
    secret = hub.told["token"]
    assert secret not in hub.log.read_text()
    assert (hub.folder / "r" / "hub.json").stat().st_mode & 0o777 == 0o600


def test_an_idle_embedded_hub_stops_its_agent_and_ends(hub: HubProcess) -> None:
    hub.stop()
    hub.start("--embedded", "--HubApp.idle_shutdown=1.0")

    async def story() -> None:
        client = FakeClient(hub.address)
        asked: list[str] = []
        credential = await enrol(hub, client)
        agent = FakeAgent(hub.address, credential)
        agent.peer._on_request = lambda request: asked.append(request.op)
        await agent.peer.opened(5)
        client.peer.close()
        await until(lambda: asked == ["agent.stop"])
        agent.peer.close()

    asyncio.run(story())
    assert hub.process is not None
    assert hub.process.wait(10) == 0


def test_an_embedded_hub_whose_runtime_directory_was_removed_ends(hub: HubProcess) -> None:
    hub.stop()
    hub.start("--embedded", "--HubApp.idle_shutdown=8.0")
    shutil.rmtree(hub.folder / "r")
    assert hub.process is not None
    assert hub.process.wait(20) == 0
    assert "its runtime directory was removed" in hub.log.read_text()


def signals() -> list[int]:
    return [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", signals())
def test_signals_end_it_cleanly(hub: HubProcess, number: int) -> None:
    assert hub.process is not None
    hub.process.send_signal(number)
    assert hub.process.wait(10) == 0
    assert not (hub.folder / "r" / "hub.json").exists()
