"""Everything in a server that a real JupyterHub spawned, behind its proxy, under /user/NAME/."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hubserver import PASSWORD, TOKEN, JupyterHub, proxy_command

WAIT = 60_000
SPAWN = 120_000
USER = "fresh"
LIVE = """%%remote --name counted
import pathlib, time
n = 0
while not pathlib.Path("enough").exists():
    print(f"line {n}", flush=True)
    n += 1
    time.sleep(0.1)
total = sum(range(100))
total"""
UNTIL_TOLD = """%%remote --name told
import pathlib, time
n = 0
while not pathlib.Path("stop").exists():
    print(f"line {n}", flush=True)
    n += 1
    time.sleep(0.1)
print("the end")"""
ENDLESS = """%%remote
import time
n = 0
while True:
    print(f"line {n}", flush=True)
    n += 1
    time.sleep(0.1)"""
STOP = "from jupyter_fx import embedded; embedded.stop_endpoint(); embedded.stop_hub()"


@pytest.fixture(scope="module")
def jupyterhub(chromium: Any) -> Iterator[JupyterHub]:
    pytest.importorskip("jupyterhub", reason="JupyterHub is not installed: pip install jupyterhub")
    try:
        proxy_command()
    except LookupError as why:
        pytest.skip(str(why))
    top = Path(tempfile.mkdtemp(prefix="fxh"))
    hub = JupyterHub(top)
    try:
        yield hub.wait()
    finally:
        hub.close()
        # What a server started of ours goes on without it, for the next one: that is the point.
        environ = {name: str(place) for name, place in hub.places.items()}
        subprocess.run([sys.executable, "-c", STOP], env=environ, check=False, timeout=60)
        shutil.rmtree(top, ignore_errors=True)


class Home:
    """A user's server, as the fixtures of JupyterLab know theirs."""

    def __init__(self, hub: JupyterHub, user: str) -> None:
        self.hub, self.user = hub, user
        self.url, self.folder = f"{hub.url}user/{user}/", hub.home(user)

    def saved(self, name: str) -> Any:
        """The notebook as its file has it."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def write(folder: Path, name: str, *cells: str) -> None:
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, folder / name)


@pytest.fixture(scope="module")
def home(jupyterhub: JupyterHub) -> Home:
    folder = jupyterhub.home(USER)
    write(folder, "first.ipynb", "%load_ext jupyter_fx", LIVE)
    write(folder, "second.ipynb", "%load_ext jupyter_fx", ENDLESS, UNTIL_TOLD)
    return Home(jupyterhub, USER)


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """Every address that the page asked, or opened a WebSocket to."""
    return []


@pytest.fixture(scope="module")
def page(chromium: Any, jupyterhub: JupyterHub, home: Home, asked: list[str]) -> Iterator[Any]:
    """Logged in, and in JupyterLab: what a person types is a name and a password."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(jupyterhub.url)
    page.get_by_label("Username").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile(f"/user/{USER}/lab"), timeout=SPAWN)
    page.wait_for_selector(".jp-DirListing-content", timeout=SPAWN)
    yield page
    context.close()


def opened(page: Any, home: Home, new_sheet: Any, name: str) -> Any:
    """A notebook that was opened by a double click in the file browser."""
    page.get_by_role("listitem", name=re.compile(f"Name: {re.escape(name)}")).dblclick()
    return new_sheet(home, page, name).ready()


def run(sheet: Any, number: int) -> Any:
    """Run a cell by the toolbar's button."""
    sheet.cell(number).locator(".jp-InputPrompt").click()
    sheet.panel.get_by_role("button", name=re.compile("Run this cell and advance")).click()
    return sheet.cell(number).locator(".jp-OutputArea").first


def test_a_fresh_user_sees_a_remote_cell_through_by_mouse_alone(
    page: Any, home: Home, new_sheet: Any, expect: Callable[[Any], Any], picture: Any
) -> None:
    sheet = opened(page, home, new_sheet, "first.ipynb")
    run(sheet, 0)
    area = run(sheet, 1)
    expect(area).to_contain_text("line 1", timeout=WAIT)
    card = sheet.card(1)
    expect(card).to_have_attribute("data-state", "running", timeout=WAIT)
    page.locator(".jp-SideBar [data-id='jupyter-fx-panel']").click()
    panel = page.locator("#jupyter-fx-panel")
    expect(panel.locator(".fx-hub")).to_contain_text("Connected to the fx hub", timeout=WAIT)
    task = panel.get_by_role("region", name="Tasks").locator(".fx-item").filter(has_text="counted")
    expect(task).to_be_visible(timeout=WAIT)
    picture(page, "jupyterhub-running")
    (home.folder / "enough").touch()
    expect(card).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(area).to_contain_text("4950")
    expect(task).to_contain_text("succeeded", timeout=WAIT)
    expect(task).to_contain_text("first.ipynb · In[2]")
    where = sheet.panel.locator(".fx-where")
    expect(where).to_contain_text("local", timeout=WAIT)
    expect(where).to_contain_text("warm, idle", timeout=WAIT)
    where.click()
    expect(page.get_by_role("menu").filter(has_text="New Remote Session")).to_be_visible(timeout=WAIT)
    picture(page, "jupyterhub-done")
    page.keyboard.press("Escape")
    # What the panel asks of the server is done, too: the toolbar hears of it.
    panel.get_by_role("region", name="Sessions").get_by_role("button", name="Close").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(where).to_contain_text("cold", timeout=WAIT)
    page.locator(".jp-SideBar [data-id='filebrowser']").click()


def test_a_blocking_cell_is_cancelled_by_its_card(
    page: Any, home: Home, new_sheet: Any, expect: Callable[[Any], Any]
) -> None:
    sheet = opened(page, home, new_sheet, "second.ipynb")
    run(sheet, 0)
    area = run(sheet, 1)
    expect(area).to_contain_text("line 3", timeout=WAIT)
    sheet.card(1).get_by_role("button", name="Cancel").click()
    expect(sheet.card(1)).to_have_attribute("data-state", "cancelled", timeout=WAIT)
    expect(area).to_contain_text("KeyboardInterrupt", timeout=WAIT)


def test_a_reload_in_the_middle_of_a_run_loses_nothing(
    page: Any, home: Home, new_sheet: Any, expect: Callable[[Any], Any]
) -> None:
    sheet = new_sheet(home, page, "second.ipynb")
    area = run(sheet, 2)
    expect(area).to_contain_text("line 3", timeout=WAIT)
    expect(sheet.card(2)).to_have_attribute("data-state", "running", timeout=WAIT)
    sheet.save()
    sheet.reload()
    card = sheet.card(2)
    expect(card.locator(".fx-rows")).to_contain_text("line 0", timeout=WAIT)
    expect(card).to_have_attribute("data-state", "running", timeout=WAIT)
    (home.folder / "stop").touch()
    expect(card).to_have_attribute("data-state", "succeeded", timeout=WAIT)
    expect(card.locator(".fx-rows")).to_contain_text("the end", timeout=WAIT)


def test_all_of_ours_went_below_the_users_prefix(page: Any, home: Home, asked: list[str]) -> None:
    ours = [urllib.parse.urlsplit(url) for url in asked if "jupyter-fx" in url]
    assert any(url.scheme == "ws" for url in ours), "no WebSocket of ours was opened"
    assert {url.path.split("/jupyter-fx")[0] for url in ours} <= {
        f"/user/{USER}",
        f"/user/{USER}/static",
        f"/user/{USER}/lab/extensions",
        f"/user/{USER}/lab/api/settings",
    }
    # And nothing went anywhere else.
    assert {urllib.parse.urlsplit(url).netloc for url in asked if url.startswith(("http", "ws"))} == {
        urllib.parse.urlsplit(home.url).netloc
    }


def token_of(hub: JupyterHub, user: str) -> str:
    """A token with which the user's own programs ask."""
    if user != USER:
        assert hub.ask(f"hub/api/users/{user}", token=TOKEN, method="POST", body=b"{}")[0] in {201, 409}
    code, text = hub.ask(f"hub/api/users/{user}/tokens", token=TOKEN, method="POST", body=b"{}")
    assert code == 201, text
    return str(json.loads(text)["token"])


def first_word(hub: JupyterHub, token: str) -> str:
    """What the WebSocket says first; the status with which it is refused."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    url = f"{hub.url.replace('http', 'ws', 1)}user/{USER}/jupyter-fx/live"
    try:
        with connect(url, additional_headers={"Authorization": f"token {token}"} if token else {}) as socket:
            return str(json.loads(socket.recv(timeout=30))["type"])
    except InvalidStatus as refused:
        return str(refused.response.status_code)


def test_only_who_may_use_the_server_hears_of_its_tasks(jupyterhub: JupyterHub, page: Any, home: Home) -> None:
    own, stranger = token_of(jupyterhub, USER), token_of(jupyterhub, "stranger")
    code, text = jupyterhub.ask(f"user/{USER}/jupyter-fx/status", token=own)
    assert code == 200 and json.loads(text)["connected"] is True
    code, text = jupyterhub.ask(f"user/{USER}/jupyter-fx/tasks", token=own)
    assert code == 200 and "counted" in text
    assert first_word(jupyterhub, own) == "status"
    # A stranger with a good token of their own, nobody, and one with a bad one.
    for token in (stranger, "", "no-such-token"):
        for route in ("status", "tasks"):
            code, text = jupyterhub.ask(f"user/{USER}/jupyter-fx/{route}", token=token)
            assert code in {302, 401, 403}, (token, route, code)
            assert "counted" not in text
        assert first_word(jupyterhub, token) in {"302", "401", "403"}


def until(what: str, true: Callable[[], Any]) -> Any:
    """Wait for it, as long as a server may take to start."""
    end = time.monotonic() + SPAWN / 1000
    while not (found := true()):
        assert time.monotonic() < end, f"never seen: {what}"
        time.sleep(0.2)
    return found


def test_the_next_server_finds_the_tasks_of_the_one_before(jupyterhub: JupyterHub, page: Any, home: Home) -> None:
    server = f"hub/api/users/{USER}/server"
    assert jupyterhub.ask(server, token=TOKEN, method="DELETE")[0] in {202, 204}
    until("the server gone", lambda: f'"{USER}/"' not in jupyterhub.ask(f"hub/api/users/{USER}", token=TOKEN)[1])
    until("a start", lambda: jupyterhub.ask(server, token=TOKEN, method="POST", body=b"{}")[0] in {201, 202})
    own = token_of(jupyterhub, USER)
    tasks = f"user/{USER}/jupyter-fx/tasks"
    text = until("its tasks", lambda: (found := jupyterhub.ask(tasks, token=own))[0] == 200 and found[1])
    assert {task["name"]: task["state"] for task in json.loads(text)["tasks"]}["counted"] == "SUCCEEDED"
