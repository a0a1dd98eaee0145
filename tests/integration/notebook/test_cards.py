"""Cards of a real notebook: where they stand, what they hold, what becomes of them when the notebook is exported."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import nbformat
import pytest
from nbclient import NotebookClient

from jupyter_fx_kernel.snapshot import MIME, schema
from tests.integration.notebook.conftest import Kernel, Ran

VALIDATOR = jsonschema.Draft202012Validator(schema())


def cards(ran: Ran) -> list[dict[str, Any]]:
    """Every snapshot that was shown, in order; each keeps to its page."""
    kinds = {"display_data", "update_display_data"}
    found = [content["data"][MIME] for _, kind, content in ran.outputs if kind in kinds and MIME in content["data"]]
    for shot in found:
        VALIDATOR.validate(shot)
    return found


def left(ran: Ran) -> list[tuple[str, str]]:
    """What stands under the cell in the end: (what it is, its text)."""
    shown: list[list[Any]] = []
    for _, kind, content in ran.outputs:
        if kind == "update_display_data":
            name = content["transient"]["display_id"]
            for entry in shown:
                if entry[2] == name:
                    entry[1] = content["data"].get("text/plain", "")
        elif kind == "stream":
            if shown and shown[-1][0] == content["name"]:
                shown[-1][1] += content["text"]
            else:
                shown.append([content["name"], content["text"], None])
        elif kind in {"display_data", "execute_result"}:
            name = content.get("transient", {}).get("display_id")
            shown.append([kind, content["data"].get("text/plain", ""), name])
    return [(kind, text) for kind, text, _ in shown if text]


def test_a_cell_that_takes_a_while_has_its_card_under_its_output_and_its_value(kernel: Kernel) -> None:
    ran = kernel.remote("import time\nfor n in range(5):\n    print('line', n)\n    time.sleep(0.3)\nn * 10")
    kinds = [kind for kind, _ in left(ran)]
    assert kinds[-2:] == ["execute_result", "display_data"]
    assert re.match(r"✓ local · \d", left(ran)[-1][1])
    states = [shot["state"] for shot in cards(ran)]
    assert states[-1] == "succeeded"
    assert "running" in states
    last = cards(ran)[-1]
    assert [hop["hop"] for hop in last["times"]] == ["queue", "start", "run", "back"]
    assert 1.4 < next(hop["seconds"] for hop in last["times"] if hop["hop"] == "run") < last["elapsed"]
    assert last["session"]["name"] == "main"
    assert last["origin"]["cell"] > 0


def test_what_a_card_holds_is_no_address_and_no_token(kernel: Kernel, stack: Path) -> None:
    ran = kernel.remote("import time; time.sleep(0.7)")
    whole = repr(ran.outputs)
    assert cards(ran)
    for secret in ("unix:", "http://", str(stack), "token"):
        assert secret not in whole


def test_a_quick_cell_has_no_card(kernel: Kernel) -> None:
    kernel.remote("1")
    assert cards(kernel.remote("1 + 1")) == []


def test_bars_are_drawn_on_the_card_and_not_written(kernel: Kernel) -> None:
    pytest.importorskip("tqdm", reason="tqdm is not installed: pip install tqdm")
    ran = kernel.remote(
        "import time\nfrom tqdm.auto import tqdm\nimport jupyter_fx as fx\n"
        "for a in fx.progress(range(4), label='epochs'):\n"
        "    for b in tqdm(range(20), desc='batches', leave=False):\n        time.sleep(0.02)"
    )
    labels = {bar.get("label", "") for shot in cards(ran) for bar in shot.get("progress", ())}
    assert labels == {"epochs", "batches"}
    assert ran.stream("stderr") == ""
    assert "progress" not in cards(ran)[-1]
    assert len(cards(ran)) < 4 * ran.elapsed + 6


def test_bars_of_a_program_that_a_cell_starts_are_drawn_too(kernel: Kernel) -> None:
    pytest.importorskip("tqdm", reason="tqdm is not installed: pip install tqdm")
    program = (
        "import time; from tqdm import tqdm; print('begun')\n"
        "for _ in tqdm(range(40), desc='epochs', unit='epoch'): time.sleep(0.04)\nprint('ended')"
    )
    ran = kernel.remote(f"import subprocess, sys\n_ = subprocess.run([sys.executable, '-uc', {program!r}], check=True)")
    bars = [bar for shot in cards(ran) for bar in shot.get("progress", ())]
    assert {(bar["label"], bar["total"], bar["unit"]) for bar in bars} == {("epochs", 40, "epoch")}
    assert any(0 < bar["done"] < 40 for bar in bars)
    assert ran.stream() == "begun\nended\n"
    left = ran.stream("stderr")
    assert left.startswith("epochs: 100%|") and left.count("\n") == 1 and "\r" not in left


def test_a_map_has_one_card_with_its_failures(kernel: Kernel) -> None:
    kernel.run(
        "import jupyter_fx as fx\n"
        "@fx.remote\ndef third(x):\n    import time\n    time.sleep(0.05)\n    return 3 / (x % 10)"
    )
    ran = kernel.run("out = list(third.map(range(40)).results(errors=True))")
    shown = cards(ran)
    assert len({shot["task_id"] for shot in shown}) == 1
    last = shown[-1]
    assert (last["kind"], last["state"], last["name"]) == ("map", "failed", "third")
    assert {key: last["map"][key] for key in ("total", "done", "running", "failed", "cancelled")} == {
        "total": 40,
        "done": 40,
        "running": 0,
        "failed": 4,
        "cancelled": 0,
    }
    assert [(f["index"], f["input"]) for f in last["map"]["failures"]] == [(0, "0"), (10, "10"), (20, "20"), (30, "30")]
    assert last["map"]["failures"][0]["error"] == "ZeroDivisionError: division by zero"
    assert [kind for kind, _ in left(ran)] == ["display_data"]


def test_cancelling_the_tasks_of_a_map_from_elsewhere_ends_the_map(kernel: Kernel) -> None:
    kernel.run("@fx.remote\ndef slow(x):\n    import time\n    time.sleep(0.3)\n    return x")
    kernel.run("going = slow.map(range(10_000), chunksize=1)\nimport time; time.sleep(1.2)")
    kernel.run("fx.connect().request('tasks.cancel', {'task_ids': [f.task_id for f in going.unfinished()]})")
    ran = kernel.run("going.wait(); going.counts(), going.was_cancelled")
    assert "True" in ran.result
    assert int(re.search(r"done=(\d+)", ran.result)[1]) < 10_000  # type: ignore[index]
    states = [c["data"][MIME]["state"] for _, c in kernel.others if MIME in c.get("data", {})]
    states += [shot["state"] for shot in cards(ran)]
    assert states[-1] == "cancelled"


def test_a_wait_for_submitted_tasks_has_one_card(kernel: Kernel) -> None:
    ran = kernel.run("jobs = [slow.submit(x) for x in range(6)]\nassert not fx.wait(jobs).not_done")
    last = cards(ran)[-1]
    assert (last["kind"], last["state"], last["map"]["done"]) == ("wait", "succeeded", 6)
    assert cards(kernel.run("jobs = [slow.submit(x) for x in range(3)]\nfx.wait(jobs, card=False)")) == []


def test_a_waits_failures_are_listed_with_what_the_calls_were_given(kernel: Kernel, tmp_path: Path) -> None:
    # They end when the card is there, and those of another client when they have been attached to.
    kernel.run(
        "import jupyter_fx as fx, os, pathlib, time\n"
        "@fx.remote\ndef risky(x, scale=1, *, gate):\n"
        "    end = time.monotonic() + 60\n"
        "    while not os.path.exists(gate) and time.monotonic() < end:\n        time.sleep(0.05)\n"
        "    return scale / x\n"
        "def over(futures, gate):\n    completed = fx.as_completed(futures)\n    pathlib.Path(gate).touch()\n"
        "    return sum(future.exception() is not None for future in completed)"
    )
    ran = kernel.run(f"gate = '{tmp_path / 'a'}'\nover([risky.submit(x, 2, gate=gate) for x in (1, 0)], gate)")
    assert ran.result == "1"
    (told,) = cards(ran)[-1]["map"]["failures"]
    assert (told["index"], told["error"]) == (1, "ZeroDivisionError: division by zero")
    assert told["input"].startswith("risky(0, 2, gate='/")
    kernel.run("client = fx.connect()\nelsewhere = type(client)(client.address)")
    ran = kernel.run(
        f"gate = '{tmp_path / 'b'}'\n"
        "tasks = [risky.submit(0, gate=gate), elsewhere.submit(risky.function, 0, gate=gate)]\n"
        "client.drain(60), elsewhere.drain(60)\nover([client.attach(task.task_id) for task in tasks], gate)"
    )
    assert ran.result == "2"
    # Of a task that was submitted elsewhere its name and its id are known.
    here, there = (failure["input"] for failure in cards(ran)[-1]["map"]["failures"])
    assert here.startswith("risky(0, gate='/")
    assert there == f"risky (task {kernel.value('tasks[1].task_id[-8:]')[1:-1]})"
    kernel.run("elsewhere.close()")


def test_an_exported_notebook_shows_the_last_card_of_each_cell(stack: Path, kernels: Callable[..., Kernel]) -> None:
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed: pip install nbconvert")
    cells = [
        "%load_ext jupyter_fx",
        "%%remote\nimport time\nprint('before')\ntime.sleep(0.7)\nprint('<i>after</i>')\ntime.sleep(0.2)\n6 * 7",
        "import jupyter_fx as fx\nimport time as clock\nlist(fx.remote(clock.sleep).map([0.4] * 6))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(stack)}}).execute()
    nbformat.validate(notebook)
    for cell in notebook.cells:
        for output in cell.outputs:
            assert output.get("data", {}).get(MIME, {}).get("state") not in {"sent", "queued", "running"}
    page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert page.count('role="status"') == 2
    assert page.count("<details") == 1
    assert "as of" not in page
    assert "not able to be represented" not in page
    plain, _ = nbconvert.MarkdownExporter().from_notebook_node(notebook)
    assert "<i>after</i>" in plain
