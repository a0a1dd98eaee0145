"""A real Jupyter server with the extension: what its users, its kernels and its idle culler see."""

from __future__ import annotations

import http.cookiejar
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_server_process import DEADLINE, Server, eventually
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


@pytest.fixture(scope="module")
def server(stack: Path) -> Iterator[Server]:
    folder = stack / "srv"
    folder.mkdir()
    started = Server(folder)
    yield started
    started.close()


def sessions(kernel_id: str) -> list[dict[str, Any]]:
    from jupyter_fx.client import default_client

    found = default_client().request("sessions.list", {"kernel_id": kernel_id})
    return [session for session in found if session["state"] not in {"CLOSED", "LOST"}]


@pytest.fixture(scope="module", autouse=True)
def own_client(stack: Path) -> Iterator[None]:
    import jupyter_fx
    from jupyter_fx.client import disconnect

    disconnect()
    jupyter_fx.use_embedded()
    yield
    disconnect()


def test_the_hub_is_found_without_being_asked_for(server: Server) -> None:
    told = eventually(lambda: (s := server.ask("jupyter-fx/status")[1])["connected"] and s, "the server knows its hub")
    assert told["problem"] == ""
    assert told["address"].startswith("unix:")


def test_everything_needs_the_servers_token(server: Server) -> None:
    missing = "0" * 32
    for path in ("status", "endpoints", "sessions", "tasks"):
        assert server.ask(f"jupyter-fx/{path}", token="")[0] == 403
        assert server.ask(f"jupyter-fx/{path}")[0] == 200
    for path in ("", "/events", "/log", "/log/download"):
        assert server.ask(f"jupyter-fx/tasks/{missing}{path}", token="")[0] == 403
        assert server.ask(f"jupyter-fx/tasks/{missing}{path}")[0] == 404
    for path in (f"tasks/{missing}/cancel", f"sessions/{missing}/close"):
        assert server.ask(f"jupyter-fx/{path}", "POST", {}, token="")[0] == 403
        assert server.ask(f"jupyter-fx/{path}", "POST", {})[0] == 404


def test_endpoints_and_tasks_are_those_of_the_hub(server: Server) -> None:
    told = server.ask("jupyter-fx/endpoints")[1]
    assert "local" in [endpoint["name"] for endpoint in told["endpoints"]]
    assert told["stale"] is False
    kernel_id = server.start_kernel()
    server.run(kernel_id, "%load_ext jupyter_fx")
    server.run(kernel_id, "%%remote --name from-the-server\n1 + 1")
    assert server.ask("jupyter-fx/tasks?limit=1")[1]["tasks"][0]["name"] == "from-the-server"
    # JupyterLab appends the time, to get past caches.
    assert server.ask("jupyter-fx/tasks?limit=1&1763709000000")[0] == 200
    status, told = server.ask("jupyter-fx/tasks?limit=many")
    assert (status, "limit" in told["message"]) == (400, True)
    assert server.ask(f"api/kernels/{kernel_id}", "DELETE")[0] == 204


def test_a_task_is_cancelled_through_the_server(server: Server) -> None:
    kernel_id = server.start_kernel()
    server.run(kernel_id, "%load_ext jupyter_fx")
    server.run(kernel_id, "%%remote --bg --name endless\nimport time\nwhile True: time.sleep(0.05)")

    def running() -> Any:
        tasks = server.ask("jupyter-fx/tasks?limit=5")[1]["tasks"]
        return next((t["task_id"] for t in tasks if t["name"] == "endless" and t["state"] == "RUNNING"), None)

    task_id = eventually(running, "the task runs")
    assert server.ask(f"jupyter-fx/tasks/{task_id}/cancel", "POST", {"mode": "cancel"})[1] == {"cancelled": 1}
    eventually(lambda: server.ask("jupyter-fx/tasks?state=CANCELLED")[1]["tasks"], "it is cancelled")
    assert server.ask(f"jupyter-fx/tasks/{task_id}/cancel", "POST", {"mode": "nuke"})[0] == 400
    server.ask(f"api/kernels/{kernel_id}", "DELETE")


class Tab:
    """What a browser tab is to the server."""

    def __init__(self, server: Server, **more: Any) -> None:
        url = server.url.replace("http", "ws") + "jupyter-fx/live"
        opened = connect(url, additional_headers={"Authorization": "token sesame"}, max_size=None, **more)
        self.link = opened.__enter__()
        self.heard: list[dict[str, Any]] = []

    def say(self, **message: Any) -> None:
        self.link.send(json.dumps(message))

    def until(self, found: Callable[[dict[str, Any]], Any]) -> Any:
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            message = json.loads(self.link.recv(timeout=DEADLINE))
            self.heard.append(message)
            if what := found(message):
                return what
        raise AssertionError(f"not heard; heard {self.heard}")

    def rows(self, task_id: str) -> list[list[Any]]:
        of_it = [m for m in self.heard if m["type"] == "events" and m["task_id"] == task_id]
        return [row for message in of_it for row in message["events"]]

    def text(self, task_id: str) -> str:
        return "".join(row[3] for row in self.rows(task_id) if row[1] == "stdout")


COUNTS = """%%remote --bg --name counts
import time
for n in range(40):
    print("line", n, flush=True)
    time.sleep(0.05)
"""
LINES = "".join(f"line {n}\n" for n in range(40))


def named(server: Server, name: str) -> Any:
    tasks = server.ask("jupyter-fx/tasks?limit=20")[1]["tasks"]
    return next((t["task_id"] for t in tasks if t["name"] == name), None)


def test_tabs_follow_a_task_whole_whenever_they_come(server: Server) -> None:
    kernel_id = server.start_kernel()
    server.run(kernel_id, "%load_ext jupyter_fx")
    server.run(kernel_id, COUNTS)
    task_id = eventually(lambda: named(server, "counts"), "the task is there")
    first, second, quiet = Tab(server), Tab(server), Tab(server)
    quiet.say(op="follow", task_id=task_id)
    first.say(op="follow", task_id=task_id, output=True)
    first.until(lambda m: "line 3" in first.text(task_id))
    assert "line 39" not in first.text(task_id)
    # A second one from its beginning while it runs, and one that first wanted its states alone.
    second.say(op="follow", task_id=task_id, output=True)
    quiet.until(lambda m: m["type"] == "info" and m["info"]["state"] == "RUNNING")
    quiet.say(op="follow", task_id=task_id, output=True)
    for tab in (first, second, quiet):
        ended = tab.until(lambda m: m["type"] == "info" and m["info"]["state"] == "SUCCEEDED" and m["info"])
        assert ended["task_id"] == task_id
        assert tab.text(task_id) == LINES
        if tab is not quiet:
            numbers = [row[0] for row in tab.rows(task_id)]
            assert numbers == sorted(set(numbers))
    # After its end, from the middle of its story.
    late = Tab(server)
    late.say(op="follow", task_id=task_id, output=True, first=numbers[len(numbers) // 2])
    late.until(lambda m: "line 39" in late.text(task_id))
    assert LINES.endswith(late.text(task_id))
    assert late.text(task_id) != LINES
    status, text = server.ask(f"jupyter-fx/tasks/{task_id}/log")
    assert (status, text["text"]) == (200, LINES)
    assert server.ask(f"jupyter-fx/tasks/{task_id}/events?from=0&limit=3")[1]["next"] == 3
    for tab in (first, second, quiet, late):
        tab.link.close()
    server.ask(f"api/kernels/{kernel_id}", "DELETE")


def test_a_log_is_downloaded_as_a_file(server: Server) -> None:
    task_id = named(server, "counts")
    request = urllib.request.Request(
        f"{server.url}jupyter-fx/tasks/{task_id}/log/download", headers={"Authorization": "token sesame"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.read().decode() == LINES
        assert answer.headers["Content-Disposition"] == f'attachment; filename="task-{task_id[-8:]}.log"'
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_log_of_which_the_hub_keeps_a_part_is_downloaded_whole(server: Server) -> None:
    import jupyter_fx as fx

    def talk() -> None:
        for n in range(40_000):
            print(f"line {n} of many, {'x' * 40}")

    future = fx.remote(talk).submit()
    future.result(60)
    url = f"{server.url}jupyter-fx/tasks/{future.task_id}/log/download"
    request = urllib.request.Request(url, headers={"Authorization": "token sesame"})
    assert server.ask(f"jupyter-fx/tasks/{future.task_id}/log")[1]["size"] < 2_000_000
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    assert [line.split()[1] for line in lines] == [str(n) for n in range(40_000)]


def test_a_task_that_is_not_ours_is_said_to_be_unknown(server: Server) -> None:
    tab, task_id = Tab(server), "0" * 32
    tab.say(op="follow", task_id=task_id, output=True)
    told = tab.until(lambda m: m["type"] == "unknown" and m)
    assert told["task_id"] == task_id
    assert "no task" in told["message"]
    tab.link.close()
    assert server.ask(f"jupyter-fx/tasks/{task_id}")[0] == 404


def test_a_tab_that_shows_the_state_is_sent_it(server: Server) -> None:
    tab = Tab(server)
    assert tab.until(lambda m: m["type"] == "status" and m)["connected"]
    tab.say(op="look", on=True)
    told = tab.until(lambda m: m["type"] == "state" and not m["stale"] and "tasks" in m and m)
    assert "local" in [endpoint["name"] for endpoint in told["endpoints"]]
    assert "counts" in [task["name"] for task in told["tasks"]]
    tab.link.close()


@pytest.mark.parametrize("said", ["no json", '{"op": "follow"}', '{"op": "follow", "task_id": "../x"}', '{"op": "x"}'])
def test_a_tab_that_talks_nonsense_is_sent_away(server: Server, said: str) -> None:
    tab = Tab(server)
    tab.link.send(said)
    with pytest.raises(ConnectionClosed) as closed:
        tab.until(lambda m: False)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_the_socket_is_for_who_may_come_in(server: Server) -> None:
    url = server.url.replace("http", "ws") + "jupyter-fx/live"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == 403
    # A page of another site has the browser's cookie, and no token.
    jar = http.cookiejar.CookieJar()
    urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar)).open(f"{server.url}?token=sesame", timeout=30)
    cookie = {"Cookie": "; ".join(f"{c.name}={c.value}" for c in jar)}
    with connect(url, additional_headers=cookie, origin=server.url.rstrip("/")) as link:  # type: ignore[arg-type]
        assert json.loads(link.recv(timeout=DEADLINE))["type"] == "status"
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, additional_headers=cookie, origin="http://elsewhere.example"),  # type: ignore[arg-type]
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_session_is_closed_through_the_server(server: Server) -> None:
    kernel_id = server.start_kernel()
    server.run(kernel_id, "%load_ext jupyter_fx")
    server.run(kernel_id, "%%remote\nx = 1")
    found = [s for s in server.ask("jupyter-fx/sessions")[1]["sessions"] if s["kernel_id"] == kernel_id]
    assert server.ask(f"jupyter-fx/sessions/{found[0]['session_id']}/close", "POST", {"why": 1})[0] == 400
    assert server.ask(f"jupyter-fx/sessions/{found[0]['session_id']}/close", "POST", {})[1] == {"closed": 1}
    eventually(lambda: not sessions(kernel_id), "the session ended")
    server.ask(f"api/kernels/{kernel_id}", "DELETE")


def test_a_kernels_sessions_end_with_it_and_with_its_restart(server: Server) -> None:
    kernel_id = server.start_kernel()
    server.run(kernel_id, "%load_ext jupyter_fx")
    server.run(kernel_id, "%%remote\nx = 1")
    assert len(sessions(kernel_id)) == 1
    assert server.ask(f"api/kernels/{kernel_id}/restart", "POST", {})[0] == 200
    eventually(lambda: not sessions(kernel_id), "the session ended with the restart")
    server.run(kernel_id, "%load_ext jupyter_fx")
    assert "NameError" in server.run(kernel_id, "%%remote\nx")
    assert len(sessions(kernel_id)) == 1
    assert server.ask(f"api/kernels/{kernel_id}", "DELETE")[0] == 204
    eventually(lambda: not sessions(kernel_id), "the session ended with the kernel")


def test_asking_is_no_activity(server: Server) -> None:
    before = server.ask("api/status?no_track_activity=1")[1]["last_activity"]
    for path in ("jupyter-fx/status", "jupyter-fx/endpoints", "jupyter-fx/tasks"):
        server.ask(path)
    assert server.ask("api/status?no_track_activity=1")[1]["last_activity"] == before


def test_a_server_without_a_hub_works_and_says_what_is_wrong(stack: Path) -> None:
    folder = stack / "nohub"
    folder.mkdir()
    server = Server(folder, "--FxExtension.hub_url=unix:/nowhere/hub.sock")
    try:
        told = eventually(lambda: (s := server.ask("jupyter-fx/status")[1])["problem"] and s, "the problem is known")
        assert "/nowhere/hub.sock" in told["problem"]
        assert server.ask("jupyter-fx/endpoints")[0] == 503
        assert server.ask("api/status")[0] == 200
        assert "jupyter fx doctor" in server.log.read_text()
    finally:
        server.close()


MAPPED = """import time, jupyter_fx as fx
@fx.remote(endpoint="local")
def slow(n):
    time.sleep({pause})
    assert n != 3, "three"
    return n
going = slow.map(range({count}), chunksize=2)
going.group"""


def test_a_map_is_told_as_one_and_cancelled_as_one(server: Server) -> None:
    kernel_id = server.start_kernel()
    server.run(kernel_id, "%load_ext jupyter_fx")
    tab = Tab(server)
    groups = {task["group"] for task in server.ask("jupyter-fx/tasks?limit=100")[1]["tasks"]}

    def mapped(count: int, pause: float) -> str:
        server.run(kernel_id, MAPPED.format(count=count, pause=pause))

        def found() -> Any:
            seen = {task["group"] for task in server.ask("jupyter-fx/tasks?limit=100")[1]["tasks"]}
            return next(iter(seen - groups), None)

        group: str = eventually(found, "the map is there")
        groups.add(group)
        tab.say(op="follow", task_id=group, group=True)
        return group

    whole = mapped(8, 0.05)
    told = tab.until(lambda m: m["type"] == "group" and not m["info"]["active"] and m["info"])
    assert (told["items"], told["done"], told["failed"], told["tasks"]) == (8, 8, 1, 4)
    assert (told["states"], told["endpoint"]) == ({"SUCCEEDED": 4}, "local")
    assert told["failures"] == [{"index": 3, "input": "3", "error": "AssertionError: three"}]
    assert server.ask(f"jupyter-fx/groups/{whole}")[1] == told
    # What its kernel still has to send is not sent once somebody has cancelled what was.
    endless = mapped(100_000, 0.5)
    tab.until(lambda m: m["type"] == "group" and m["task_id"] == endless and m["info"]["running"])
    assert server.ask(f"jupyter-fx/groups/{endless}/cancel", "POST", {})[1]["cancelled"] > 0
    told = tab.until(
        lambda m: m["type"] == "group" and m["task_id"] == endless and not m["info"]["active"] and m["info"]
    )
    assert told["cancelled"] > 0
    assert set(told["states"]) <= {"CANCELLED", "SUCCEEDED"}
    assert told["done"] == told["items"] < 100_000
    assert server.ask(f"jupyter-fx/groups/{endless}/cancel", "POST", {})[1] == {"cancelled": 0}
    missing = "0" * 32
    tab.say(op="follow", task_id=missing, group=True)
    assert "no map" in tab.until(lambda m: m["type"] == "unknown" and m["message"])
    assert server.ask(f"jupyter-fx/groups/{missing}")[0] == 404
    assert server.ask(f"jupyter-fx/groups/{missing}/cancel", "POST", {}, token="")[0] == 403
    assert server.ask(f"jupyter-fx/groups/{endless}/cancel", "POST", {"mode": "nuke"})[0] == 400
    server.ask(f"api/kernels/{kernel_id}", "DELETE")
