"""Coming back to tasks: from the same notebook, another one, after a restart, from IPython and from a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SLOWLY = "import time\nfor i in range({n}):\n    print('tick', i)\n    time.sleep(0.3)\n"


def until_running(kernel: Any, name: str) -> None:
    """Wait until the task runs."""
    begun = time.monotonic()
    while name not in kernel.run("%fx tasks running").stream():
        assert time.monotonic() - begun < 60
        time.sleep(0.1)


def test_a_story_is_told_again_and_its_error_shown(kernel: Any) -> None:
    kernel.remote("print('once upon a time')\nlost = 0\n1 / lost", "--name tale")
    ran = kernel.run("tale = %fx attach tale")
    assert "once upon a time" in ran.stream()
    assert kernel.value("type(tale.exception()).__name__") == "'ZeroDivisionError'"
    shown = [content for kind, content in kernel.others if kind == "error"] + [ran.error]
    assert any("1 / lost" in "\n".join(found.get("traceback", [])) for found in shown)


def test_live_output_comes_as_it_is_made(kernel: Any) -> None:
    kernel.remote(SLOWLY.format(n=5) + "live = 'over'\nlive", "--bg --name clock")
    kernel.run("job = _")
    ran = kernel.run("again = %fx attach clock")
    assert [f"tick {i}" in ran.stream() for i in range(5)] == [True] * 5
    assert ran.when("tick 4") - ran.when("tick 1") > 0.6
    assert kernel.value("again is job, again.result(), live") == "(True, 'over', 'over')"
    assert kernel.value("job.attach() is job") == "True"


def test_it_begins_where_it_is_told_to(kernel: Any) -> None:
    kernel.remote("for i in range(50): print('row', i)", "--name rows")
    assert kernel.run("%fx attach rows --tail 3").stream().split("\n")[:3] == ["row 47", "row 48", "row 49"]
    assert "row 0\n" not in kernel.run("%fx attach rows --from 100;").stream()


def test_an_interrupt_leaves_and_the_task_hears_nothing(kernel: Any) -> None:
    kernel.remote(SLOWLY.format(n=8) + "'whole'", "--bg --name left")
    kernel.run("job = _")
    pressed: list[bool] = []

    def press(ran: Any) -> None:
        if "tick 1" in ran.stream() and not pressed:
            pressed.append(True)
            kernel.interrupt()

    ran = kernel.run("%fx attach left", while_running=press)
    assert "goes on" in ran.stream()
    assert not ran.error
    assert kernel.value("job.result(60)") == "'whole'"


def test_another_notebook_gets_output_value_and_the_names_it_lacks(kernels: Callable[..., Any]) -> None:
    one, two = kernels(), kernels()
    one.remote(SLOWLY.format(n=4) + "trained = {'loss': 0.5}\nmine = 'theirs'\nlen(trained)", "--bg --name training")
    two.run("mine = 'kept'")
    ran = two.run("job = %fx attach training")
    assert "tick 3" in ran.stream()
    assert two.value("job.result(), trained, mine") == "(1, {'loss': 0.5}, 'kept')"
    assert "bound here: i, time, trained" in ran.shown or "bound here: i, trained" in ran.shown
    assert "kept as they are here: mine" in ran.shown
    two.run("%fx attach training -o mine")
    assert two.value("mine") == "'theirs'"


def test_what_stayed_is_fetched_from_a_session_that_lives(kernels: Callable[..., Any]) -> None:
    one, two = kernels(), kernels()
    one.remote("large = bytearray(3_000_000)", "--name heavy")
    assert "stayed in its session" in two.run("%fx attach heavy").shown
    two.run("%fx attach heavy -o large")
    assert two.value("len(large)") == "3000000"
    one.run("%fx close")
    three = kernels()
    ran = three.run("%fx attach heavy -o large")
    assert "cannot give it any more" in ran.shown


def test_several_of_one_name_are_told_apart(kernel: Any) -> None:
    kernel.remote("'older'", "--name twin")
    kernel.remote("'newer'", "--name twin")
    ran = kernel.run("%fx attach twin")
    assert "several tasks are called twin" in ran.stream()
    assert "'newer'" in ran.shown


def test_tasks_are_listed_by_what_is_asked_for(kernels: Callable[..., Any]) -> None:
    one, two = kernels(), kernels()
    one.remote("1 / 0", "--name broken")
    two.remote("import time; time.sleep(30)", "--bg --name busy")
    until_running(one, "busy")
    table = one.run("%fx tasks failed --limit 5").stream()
    assert "ZeroDivisionError: division by zero" in table
    assert "In[" in table
    assert "busy" not in table
    assert "busy" not in one.run("%fx tasks --mine").stream()
    assert "broken" in one.run("%fx tasks --mine").stream()
    assert "In[2] elsewhere" in one.run("%fx tasks running").stream()
    assert "running" in one.run("%fx tasks sideways").error["evalue"]
    told = two.run("%fx cancel --all").stream()
    assert "(busy) is interrupted, its session keeps its variables" in told
    assert "%fx close --kill" in told


def test_the_tasks_of_a_map_are_one_row_one_card_and_one_cancel(kernel: Any) -> None:
    kernel.run(
        "import jupyter_fx as fx\n@fx.remote(name='sweep')\ndef f(x):\n    import time\n    time.sleep(0.05)\n"
        "    return x * x\nm = f.map(range(30), chunksize=3)\n"
        "sour = f.using(name='sour').map([1, 'two', 3, 'four'], chunksize=2)"
    )
    ran = kernel.run("again = %fx attach sweep")
    assert "30 of 30 done" in ran.shown
    ran = kernel.run("%fx attach sour")
    assert "4 of 4 done · 2 failed" in ran.shown
    assert "item 3 ('four'): TypeError" in ran.shown
    assert kernel.value("again.result() == [x * x for x in range(30)]") == "True"
    rows = [row for row in kernel.run("%fx tasks 100").stream().splitlines() if "sweep" in row]
    assert len(rows) == 1
    assert "10 of 10 tasks done, 30 items" in rows[0]
    sour = next(row for row in kernel.run("%fx tasks 100").stream().splitlines() if "sour" in row).split(maxsplit=2)
    assert sour[1] == "failed"
    assert "2 of 2 tasks done, 4 items, 2 of them failed" in sour[2]
    kernel.run("m = f.using(name='endless').map(range(3000), chunksize=20)")
    assert "tasks of the map" in kernel.run("%fx cancel endless").stream()
    assert "cancelled" in kernel.run("%fx attach endless").shown
    assert " cancelled " in next(row for row in kernel.run("%fx tasks 1").stream().splitlines() if "endless" in row)
    kernel.run("def called(x):\n    return x\nlist(fx.remote(called).map([1]))")
    assert "called" in kernel.run("%fx tasks 1").stream()


def test_a_restarted_kernel_finds_its_task_running_and_its_names(kernels: Callable[..., Any]) -> None:
    kernel = kernels()
    kernel.remote(SLOWLY.format(n=12) + "found_again = 11\nfound_again", "--bg --name survivor")
    until_running(kernel, "survivor")
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("%load_ext jupyter_fx")
    ran = kernel.run("job = %fx attach survivor")
    assert "tick 0" in ran.stream()
    assert "tick 11" in ran.stream()
    assert kernel.value("job.result(), found_again") == "(11, 11)"


def test_a_script_gets_value_names_and_story(kernel: Any) -> None:
    kernel.remote(
        "print('said there')\nnumbers = [1, 2]\ndef double(x):\n    return x * len(numbers)\nsum(numbers)",
        "--name cellular",
    )
    code = (
        "import jupyter_fx as fx\njob = fx.attach('cellular')\nprint(job.result(60))\n"
        "names = job.names()\nprint(names['numbers'], names['double'](4))\njob.attach()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ}, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "3\n[1, 2] 8\nsaid there\n3\n"


def test_plain_ipython_comes_back_too(kernel: Any) -> None:
    kernel.remote("print('heard in a terminal')\nwhere = 'there'\nwhere.upper()", "--name terminal")
    lines = "%load_ext jupyter_fx\njob = %fx attach terminal\nprint(job.result(), where)\n"
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]
    ran = subprocess.run(
        command,
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "IPYTHONDIR": str(os.environ["JUPYTER_FX_RUNTIME_DIR"]) + "/ipython"},
        check=False,
    )
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", ran.stdout)
    assert "heard in a terminal" in said
    assert "THERE there" in said


def test_a_log_beyond_what_the_hub_keeps_is_read_from_the_endpoint(kernel: Any) -> None:
    kernel.remote("for i in range(40_000):\n    print(f'{i:08d} ' + 'x' * 60)", "--bg --name wordy")
    kernel.run("job = _\njob.result(60);")
    kernel.run("%%capture kept\n%fx logs wordy")
    kernel.run("%%capture whole\n%fx logs wordy --all")
    assert kernel.value("'dropped]' in kept.stdout, len(kept.stdout) < 1_600_000") == "(True, True)"
    assert kernel.value("[int(row[:8]) for row in whole.stdout.splitlines()] == list(range(40_000))") == "True"
    command = [str(Path(sys.executable).with_name("jupyter-fx")), "logs", "wordy", "--all"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout.count("\n") == 40_000, ran.stderr
