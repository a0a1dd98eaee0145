"""Cells in a real worker: what a notebook user sees."""

from __future__ import annotations

import numpy as np
import pytest


def test_output_of_every_kind_stands_in_the_order_of_the_code(worker):
    source = """
import ctypes, subprocess, sys
from IPython.display import display
libc = ctypes.CDLL(None)
for i in range(3):
    print('python', i)
    libc.printf(b'c %d\\n', i)
    subprocess.run(['echo', f'child {i}'])
    display(i)
print('end')
"""
    for _ in range(30):
        del worker.log[:]
        no = worker.cell_no(source)
        worker.wait(no)
        seen, text = [], ""
        for kind, entry in worker.log:
            if kind == "out":
                text += entry
            else:
                seen += [text, kind]
                text = ""
        expected = []
        for i in range(3):
            expected += [{f"python {i}", f"c {i}", f"child {i}"}, "display"]
        assert [set(x.split("\n")) - {""} if n % 2 == 0 else x for n, x in enumerate(seen)] == [
            *expected,
            {"end"},
            "done",
        ]


def test_the_last_expression_is_the_result_and_names_come_home(worker):
    outcome, names, _ = worker.cell("x = a + 1\nx", {"a": 4}, count=7)
    assert outcome == "ok"
    assert names["values"] == {"x": 5}
    shown = worker.displays()[0]
    assert shown["kind"] == "execute_result"
    assert shown["content"]["execution_count"] == 7
    assert shown["content"]["data"] == {"text/plain": "5"}


def test_names_live_between_cells_and_large_or_strange_ones_stay(worker):
    worker.cell("import numpy as np, threading\nbig = np.zeros((1000, 1000))\nlock = threading.Lock()\n_private = 1")
    _, names, _ = worker.results[1]
    assert names["values"] == {"_private": 1}
    assert names["stay"]["big"]["shape"] == [1000, 1000]
    assert names["stay"]["big"]["dtype"] == "float64"
    assert "cannot pickle" in names["why"]["lock"]
    _, names, _ = worker.cell("small = big[:2, :2].copy()", want=["big"])
    assert set(names["values"]) == {"small", "big"}
    _, names, _ = worker.cell("del small")
    assert names["deleted"] == ["small"]


def test_a_name_assigned_its_old_value_counts_as_assigned_unless_the_cell_failed(worker):
    worker.cell("x = 1")
    assert worker.cell("x = 1")[1]["values"] == {"x": 1}
    assert worker.cell("1/0\nx = 1")[1]["value"][1] == {}


def test_a_value_changed_in_place_comes_home_and_an_unchanged_one_does_not(worker):
    captured = {"xs": [1], "ys": [2], "arr": np.arange(4), "view": np.arange(3)}
    _, names, _ = worker.cell("xs.append(3); arr[0] = 9; len(ys); view.sum(); None", captured)
    assert set(names["values"]) == {"xs", "arr"}
    names["values"]["arr"][1] = 5
    assert names["values"]["arr"].tolist() == [9, 5, 2, 3]


def test_a_repr_that_raises_or_never_ends_does_no_harm(worker):
    source = """
class Bad:
    def __repr__(self): raise KeyError('x')
    def __reduce__(self): raise TypeError('no')
b = Bad()
"""
    _, names, _ = worker.cell(source)
    assert "raised KeyError" in names["stay"]["b"]["repr"] or "Bad" in names["stay"]["b"]["repr"]


def test_bound_functions_share_the_namespace_of_the_session(worker):
    def bump():
        global counter  # noqa: PLW0603
        counter += 1
        return counter

    _, names, _ = worker.cell("counter = 10\nbump()\nbump()", {"bump": bump}, bind=["bump"])
    assert names["values"]["counter"] == 12
    _, names, _ = worker.cell("counter = 50\nz = bump()")
    assert names["values"] == {"counter": 51, "z": 51}
    _, names, _ = worker.cell("def late(): return counter")
    assert names["bind"] == ["late"]


def test_an_error_carries_the_cells_own_lines_and_what_was_assigned(worker):
    outcome, error, _ = worker.cell("%%remote polaris\n\ny = 1\ndef f():\n    raise OSError(2, 'gone')\nf()")
    assert outcome == "error"
    exception, names = error["value"]
    assert isinstance(exception, OSError)
    assert names["y"] == 1
    assert [frame[1] for frame in error["frames"]] == [6, 5]
    assert error["frames"][1][3] == "raise OSError(2, 'gone')"
    assert all(frame[0].startswith("<fx-cell:") for frame in error["frames"])
    assert worker.text("err") == "", "the record is the traceback"


def test_a_syntax_error_names_its_line(worker):
    outcome, error, _ = worker.cell("%%remote\n\nx = (1,\ny = 2 3")
    assert outcome == "error"
    assert error["etype"] == "SyntaxError"
    assert any("line 4" in line or "line 3" in line for line in error["traceback"])


def test_interrupts_of_code_and_of_waiting_keep_the_session(worker):
    worker.cell("kept = 41\nimport time, asyncio")
    for source in (
        "print('go'); time.sleep(60)",
        "print('go'); await asyncio.sleep(60)",
        "print('go')\nwhile True: pass",
    ):
        del worker.log[:]
        no = worker.cell_no(f"during = {source!r}\n{source}")
        worker.until(lambda: "go" in worker.text())
        while no not in worker.results:
            worker.interrupt()
            worker.step()
        outcome, error, _ = worker.results[no]
        assert outcome == "interrupted"
        assert error["etype"] == "KeyboardInterrupt"
        assert error["value"][1]["during"] == source
    _, names, _ = worker.cell("kept += 1")
    assert names["values"]["kept"] == 42


def test_await_and_background_tasks_share_one_loop(worker):
    worker.cell("import asyncio\nseen = []\nasync def tick():\n    await asyncio.sleep(0.01); print('ticked')")
    worker.cell("t = asyncio.create_task(tick())")
    worker.until(lambda: "ticked" in worker.text())
    _, names, _ = worker.cell("r = await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2)); done = t.done()")
    assert names["values"]["r"] == [1, 2]
    assert names["values"]["done"] is True


def test_a_background_task_that_exits_does_not_end_the_cell(worker):
    source = """
import asyncio
async def leave(): raise SystemExit
t = asyncio.create_task(leave())
await asyncio.sleep(0.05)
late = 1
"""
    outcome, names, _ = worker.cell(source)
    assert (outcome, names["values"]["late"]) == ("ok", 1)


def test_displays_of_threads_are_whole(worker):
    source = """
import threading
from IPython.display import display
def show(k):
    for i in range(20):
        print(k, i); display({'text/plain': f'{k} {i}'}, raw=True)
threads = [threading.Thread(target=show, args=(k,)) for k in range(4)]
[t.start() for t in threads]; [t.join() for t in threads];
"""
    assert worker.cell(source)[0] == "ok"
    assert len(worker.displays()) == 80


def test_magics_work_below_the_remote_line(worker):
    outcome, names, _ = worker.cell("%%remote\n%%time\nq = 5")
    assert (outcome, names["values"]) == ("ok", {"q": 5})
    assert "Wall time" in worker.text()
    worker.cell("%%bash\necho from bash")
    worker.cell("!echo from shell")
    worker.cell("words = !echo a b\nwords[0]")
    assert "from bash" in worker.text()
    assert "from shell" in worker.text()


def test_displays_update_clear_and_carry_bytes(worker):
    source = """
from IPython.display import display, clear_output, Image, HTML
h = display(HTML('<b>1</b>'), display_id=True)
h.update(HTML('<b>2</b>'))
clear_output(wait=True)
display({'image/png': b'\\x89PNG'}, raw=True)
display({'text/html': 'x' * 2_000_000}, raw=True)
"""
    assert worker.cell(source)[0] == "ok"
    kinds = [entry["kind"] for entry in worker.displays()]
    assert kinds[:4] == ["display_data", "update_display_data", "clear_output", "display_data"]
    first, second, clear, png, large = worker.displays()[:5]
    assert first["content"]["transient"]["display_id"] == second["content"]["transient"]["display_id"]
    assert clear["content"] == {"wait": True}
    assert png["content"]["data"]["image/png"] == "iVBORw=="
    assert len(large["content"]["data"]["text/html"]) == 2_000_000


def test_what_was_imported_in_advance_knows_that_it_is_in_a_notebook(start):
    pytest.importorskip("pandas")
    worker = start(preload=["pandas"]).fork()
    assert worker.cell("import pandas as pd\npd.DataFrame([range(100_000, 100_012)])")[0] == "ok"
    (shown,) = worker.displays()
    assert "..." not in shown["content"]["data"]["text/plain"]


def test_figures_are_shown_at_the_end_of_the_cell(start, monkeypatch):
    pytest.importorskip("matplotlib")
    # Clusters say so in their profiles, for who has no window.
    monkeypatch.setenv("MPLBACKEND", "Agg")
    worker = start().fork()
    outcome, _, _ = worker.cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('after');")
    assert outcome == "ok"
    shown = [entry for entry in worker.displays() if "image/png" in entry["content"]["data"]]
    assert len(shown) == 1
    kinds = [kind for kind, _ in worker.log]
    assert "out" in kinds[: kinds.index("display")]


@pytest.mark.parametrize("source", ["exit()", "quit", "exit"])
def test_exit_does_not_end_the_session(worker, source):
    assert worker.cell(source)[0] == "ok"
    assert worker.cell("1")[0] == "ok"


def test_sys_exit_is_an_error_and_input_a_sentence(worker):
    outcome, error, _ = worker.cell("import sys; sys.exit(3)")
    assert (outcome, error["etype"]) == ("error", "SystemExit")
    for source in ("input('x')", "import getpass; getpass.getpass()", "import sys; sys.stdin.readline()"):
        outcome, error, _ = worker.cell(source)
        assert outcome == "error"
        assert "nobody sits at the keyboard" in error["message"]


def test_a_child_that_falls_through_neither_answers_nor_displays(worker):
    outcome, names, _ = worker.cell("import os\npid = os.fork()\nchild = pid == 0\nprint('both')\ndisplay('rich')")
    assert (outcome, names["values"]["child"]) == ("ok", False)
    assert worker.cell("os.waitpid(pid, 0)[1]")[0] == "ok"
    assert worker.displays()[-1]["content"]["data"]["text/plain"] == "0"
    assert len([entry for entry in worker.displays() if "'rich'" in str(entry)]) == 1


def test_magic_and_module_names_stay_out(worker):
    _, names, _ = worker.cell("import os as operating\n1 + 1\n_fx_x = 1\nIn, Out; None")
    assert names["values"] == {}
