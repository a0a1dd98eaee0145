"""A JupyterLab and a browser for all tests of this folder, and notebooks of a test's own in them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "tests" / "artefacts"
BUILT = ROOT / "jupyter_fx" / "labextension" / "package.json"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PLACES = (
    "JUPYTER_FX_RUNTIME_DIR",
    "JUPYTER_FX_STATE_DIR",
    "JUPYTER_FX_CONFIG_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTER_CONFIG_DIR",
)
WAIT = 60_000
HEIGHT = 1400
CELLS = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell"


class Lab:
    """A running JupyterLab. `folder` holds its notebooks."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, folder: Path, log: Path) -> None:
        self.process, self.url, self.folder, self.log = process, url, folder, log

    def write(self, cells: list[str], name: str = "", **metadata: Any) -> str:
        """A notebook of these cells; returns its name."""
        import nbformat

        name = name or f"t{uuid.uuid4().hex[:8]}.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book.metadata.update(metadata)
        nbformat.write(book, self.folder / name)
        return name

    def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """What the server answers to this; an error is one here, too."""
        asked = urllib.request.Request(
            self.url + path,
            data=json.dumps(body or {}).encode(),
            method=method,
            headers={"Authorization": "token sesame", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def saved(self, name: str) -> Any:
        """The notebook as its file has it."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


class Sheet:
    """A notebook, open in a page."""

    def __init__(self, lab: Lab, page: Any, name: str) -> None:
        self.lab, self.page, self.name = lab, page, name

    def open(self, app: str = "lab") -> Sheet:
        """Open it in JupyterLab, or in Notebook 7 (`notebooks`)."""
        # A workspace of its own: else JupyterLab opens what an earlier test had open, too.
        space = f"lab/workspaces/{uuid.uuid4().hex[:8]}/tree" if app == "lab" else app
        self.page.goto(f"{self.lab.url}{space}/{urllib.parse.quote(self.name)}?token=sesame")
        return self.ready()

    def reload(self) -> Sheet:
        """Load the page anew. A kernel that is at work tells its new page nothing before it is through."""
        self.page.reload()
        self.page.wait_for_selector(CELLS, timeout=WAIT)
        return self

    def ready(self) -> Sheet:
        """Wait until its cells can be run: a notebook whose kernel is not known yet takes no keys."""
        self.page.wait_for_selector(CELLS, timeout=WAIT)
        self.page.wait_for_function(
            """() => {
                const context = window.jupyterapp.shell.currentWidget?.sessionContext;
                return context?.isReady && ['idle', 'busy'].includes(context.session?.kernel?.status);
            }""",
            timeout=WAIT,
        )
        return self

    @property
    def panel(self) -> Any:
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def cell(self, number: int) -> Any:
        """The code cell of this number, from 0."""
        return self.panel.locator(".jp-CodeCell").nth(number)

    def card(self, number: int) -> Any:
        """The card of a cell."""
        return self.cell(number).locator(".fx-card")

    def run(self, number: int) -> Any:
        """Start a code cell, and see it started; does not wait for its end."""
        found = self.cell(number)
        found.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        expecting(found.locator(".jp-InputPrompt")).not_to_have_text("[ ]:", timeout=WAIT)
        return found.locator(".jp-OutputArea").first

    def done(self, number: int) -> Any:
        """Run a cell to its end."""
        area = self.run(number)
        expecting(self.cell(number).locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=WAIT)
        return area

    def save(self) -> None:
        """Save it, and see the server take it."""
        with self.page.expect_response(
            lambda answer: answer.request.method == "PUT" and f"/api/contents/{self.name}" in answer.url
        ):
            self.page.keyboard.press("Control+s")

    def command(self, command: str) -> None:
        """Do what a menu would."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", command)


def expecting(locator: Any) -> Any:
    from playwright.sync_api import expect as found

    return found(locator)


def restored(page: Any) -> None:
    """Wait until JupyterLab has its panels where they were, and ours can be opened."""
    page.wait_for_function(
        """() => {
            const lab = window.jupyterapp;
            // Asked anew each time: a page that is loaded again has forgotten.
            void lab?.restored.then(() => { lab.restoredForTests = true; });
            return lab?.restoredForTests === true && lab.commands.hasCommand('jupyter-fx:open');
        }""",
        timeout=WAIT,
    )


def address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the server listens, once it does."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        for file in Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json"):
            try:
                found = json.loads(file.read_text())
                # The server writes its file before it listens.
                socket.create_connection(("127.0.0.1", found["port"]), timeout=5).close()
            except (ValueError, ConnectionRefusedError):
                continue
            return str(found["url"])
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not start:\n" + log.read_text())


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    """Playwright, or the reason why there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    if not CHROMIUM:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as found:
        yield found


@pytest.fixture
def expect(driver: Any) -> Any:
    """Playwright's."""
    from playwright.sync_api import expect as found

    return found


@pytest.fixture
def expect_in(expect: Any) -> Any:
    """The same, by its earlier name."""
    return expect


@pytest.fixture(scope="session")
def chromium(driver: Any) -> Iterator[Any]:
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()


@contextlib.contextmanager
def running_lab() -> Iterator[Lab]:
    """A JupyterLab of a user who has nothing yet: its first remote cell has to start hub and endpoint."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab")
    from jupyter_fx import embedded

    top = Path(tempfile.mkdtemp(prefix="fxl"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(PLACES):
            (top / str(number)).mkdir(mode=0o700)
            patch.setenv(name, str(top / str(number)))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        quiet = top / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        quiet.parent.mkdir(parents=True)
        quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        patch.setenv("JUPYTERLAB_SETTINGS_DIR", str(top / "settings"))
        notebooks = top / "notebooks"
        shutil.copytree(ROOT / "notebooks", notebooks)
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1"]
        command += ["--IdentityProvider.token=sesame", f"--ServerApp.root_dir={notebooks}", "--allow-root"]
        # Under a prefix, as below a JupyterHub: whatever forgets it is not found.
        command += ["--ServerApp.base_url=/user/someone/"]
        command += ["--LabApp.collaborative=False", "--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True"]
        command += ["--JupyterNotebookApp.expose_app_in_browser=True"]
        log = top / "lab.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(command, env=dict(os.environ), stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield Lab(process, address(process, log), notebooks, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            embedded.stop_endpoint()
            embedded.stop_hub()
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The JupyterLab that most tests share."""
    with running_lab() as found:
        yield found


@pytest.fixture
def fresh_lab(labextension: Lab) -> Iterator[Lab]:
    """A JupyterLab of a user who has never run a remote cell. Meanwhile the environment names their places."""
    del labextension  # it says why there is none
    with running_lab() as found:
        yield found


@pytest.fixture(scope="module")
def second(labextension: Lab) -> Iterator[str]:
    """The name of an endpoint beside `local`, made as the panel would; gone with the module."""
    name = "aurora"
    labextension.ask("jupyter-fx/start")
    labextension.ask("jupyter-fx/agents", {"name": name, "values": {"Endpoint": {"workers": 1}}})
    try:
        labextension.ask(f"jupyter-fx/agents/{name}/start")
        yield name
    finally:
        labextension.ask(f"jupyter-fx/endpoints/{name}/delete")


@pytest.fixture(scope="session")
def labextension(lab: Lab) -> Lab:
    """The lab, when our labextension is there."""
    if not BUILT.exists():
        pytest.skip("the labextension is not built: tools/build-labextension (needs node)")
    return lab


@pytest.fixture(scope="session")
def new_sheet() -> type[Sheet]:
    """For tests that share one notebook."""
    return Sheet


@pytest.fixture
def sheets(labextension: Lab, chromium: Any) -> Iterator[Callable[..., Sheet]]:
    """Open notebooks, each in a tab of its own; their kernels end with the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": HEIGHT}, accept_downloads=True)
    opened: list[Sheet] = []

    def start(*cells: str, name: str = "", app: str = "lab", **metadata: Any) -> Sheet:
        name = name or labextension.write(["%load_ext jupyter_fx", *cells], **metadata)
        opened.append(Sheet(labextension, context.new_page(), name))
        return opened[-1].open(app)

    yield start
    shut = "() => window.jupyterapp.serviceManager.sessions.shutdownAll()"
    if opened:
        opened[0].page.evaluate(shut)
    context.close()


def panel_of(sheet: Any) -> Any:
    """The panel, opened."""
    sheet.command("jupyter-fx:open")
    return sheet.page.locator("#jupyter-fx-panel")


def row(panel: Any, section: str, text: str) -> Any:
    """What a section of the panel has with this text."""
    return panel.get_by_role("region", name=section).locator(".fx-item").filter(has_text=text)


def press(item: Any, name: str) -> None:
    """A button of it."""
    item.get_by_role("button", name=name, exact=True).click()


def wear(page: Any, theme: str) -> None:
    """Put a page into a theme of JupyterLab's: Light, Dark, Dark High Contrast."""
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
    )
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=f"JupyterLab {theme}")


@pytest.fixture
def picture() -> Callable[[Any, str], None]:
    """Keep a picture of a page, light and dark."""

    def take(page: Any, name: str) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        for theme in ("Light", "Dark"):
            wear(page, theme)
            page.wait_for_timeout(300)
            page.screenshot(path=str(ARTEFACTS / f"{name}-{theme.lower()}.png"))
        wear(page, "Light")

    return take


def hub_pid() -> int:
    """The embedded hub's process."""
    found = json.loads((Path(os.environ["JUPYTER_FX_RUNTIME_DIR"]) / "hub.json").read_text())
    return int(found["pid"])


@pytest.fixture
def kill_hub(labextension: Lab) -> Callable[[], None]:
    """Kill the hub as a power cut would."""

    def kill() -> None:
        os.kill(hub_pid(), signal.SIGKILL)

    return kill
