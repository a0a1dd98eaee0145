"""JupyterLab in a real browser: the quickstart opened, run and looked at. Screenshots go to tests/artefacts/."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "tests" / "artefacts"
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

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab")
if not CHROMIUM:
    pytest.skip("there is no chromium on this machine: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def lab() -> Iterator[str]:
    """The address of a JupyterLab whose first remote cell has to start hub and endpoint."""
    from jupyter_fx import embedded

    top = Path(tempfile.mkdtemp(prefix="fxl"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(PLACES):
            (top / str(number)).mkdir(mode=0o700)
            patch.setenv(name, str(top / str(number)))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        notebooks = top / "notebooks"
        shutil.copytree(ROOT / "notebooks", notebooks)
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1"]
        command += ["--IdentityProvider.token=sesame", f"--ServerApp.root_dir={notebooks}", "--allow-root"]
        command += ["--LabApp.collaborative=False", "--LabApp.news_url=None"]
        with (top / "lab.log").open("wb") as log:
            process = subprocess.Popen(command, env=dict(os.environ), stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _address(process, top)
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


def _address(process: subprocess.Popen[bytes], top: Path) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, (top / "lab.log").read_text()
        for file in Path(os.environ["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json"):
            try:
                found = json.loads(file.read_text())
                # The server writes its file before it listens.
                socket.create_connection(("127.0.0.1", found["port"]), timeout=5).close()
            except (ValueError, ConnectionRefusedError):
                continue
            return str(found["url"])
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not start:\n" + (top / "lab.log").read_text())


@pytest.fixture(scope="module")
def page(lab: str) -> Iterator[Any]:
    """The quickstart, open, its kernel idle."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.goto(f"{lab}lab/tree/quickstart.ipynb?token=sesame")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=WAIT)
        yield page
        browser.close()


def cell(page: Any, number: int) -> Any:
    """The code cell of this number, from 0."""
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number)


def run(page: Any, number: int) -> Any:
    """Start a code cell; does not wait for its end."""
    found = cell(page, number)
    found.scroll_into_view_if_needed()
    found.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")
    return found


def wait_for(locator: Any, text: str) -> None:
    playwright.expect(locator).to_contain_text(text, timeout=WAIT)


def picture(page: Any, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=str(ARTEFACTS / name))


def test_the_status_shows_the_local_endpoint(page: Any) -> None:
    wait_for(run(page, 0).locator(".jp-OutputArea"), "→local")


def test_a_remote_cell_shows_what_it_prints_and_its_card(page: Any) -> None:
    area = run(page, 1).locator(".jp-OutputArea")
    wait_for(area, "1347 images to learn from")
    wait_for(area, "✓ local")
    wait_for(area, "digits stays on local")
    picture(page, "lab-first-cell.png")


def test_lines_are_seen_while_the_cell_runs(page: Any) -> None:
    training = run(page, 3)
    area = training.locator(".jp-OutputArea")
    wait_for(area, "epoch 1")
    assert "epoch 8" not in area.inner_text()
    picture(page, "lab-training-live.png")
    wait_for(area, "epoch 8")
    wait_for(area, "✓ local")
    picture(page, "lab-training-done.png")


def test_a_figure_made_there_is_drawn_here(page: Any) -> None:
    wait_for(run(page, 4).locator(".jp-OutputArea"), "are read wrongly")
    area = run(page, 5).locator(".jp-OutputArea")
    playwright.expect(area.locator("img")).to_be_visible(timeout=WAIT)
    wait_for(area, "✓ local")
    picture(page, "lab-figure.png")


def test_an_error_shows_the_cells_own_line(page: Any) -> None:
    area = run(page, 7).locator(".jp-OutputArea")
    wait_for(area, "division by zero")
    wait_for(area, "share = half / 0")
    assert "jupyter_fx" not in area.inner_text()
    picture(page, "lab-error.png")


def test_a_background_cell_is_cancelled_and_says_so_under_itself(page: Any) -> None:
    background = run(page, 9).locator(".jp-OutputArea")
    wait_for(background, "remote cell In[")
    wait_for(run(page, 10).locator(".jp-OutputArea"), "cancelling")
    wait_for(background, "cancelled")
    picture(page, "lab-cancelled.png")
