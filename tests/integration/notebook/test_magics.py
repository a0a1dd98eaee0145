"""Remote cells in a real kernel, on a real endpoint, through a real hub: what its user sees."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_fx import embedded
from jupyter_fx.client import HubClient
from tests.integration.notebook.conftest import Kernel

MIME = "application/vnd.jupyter-fx.task+json"


def test_status_tells_where_we_are(kernel: Any) -> None:
    told = kernel.run("%fx").stream()
    assert "hub " in told
    assert "→local: online" in told


def test_output_arrives_while_the_cell_runs(kernel: Any) -> None:
    ran = kernel.remote("import time\nprint('first', flush=True)\ntime.sleep(1.5)\nprint('second')")
    assert ran.stream() == "first\nsecond\n"
    assert ran.when("first") < ran.when("second") - 1
    assert "✓ local" in ran.shown


def test_the_value_is_the_cells_result_and_names_come_home(kernel: Any) -> None:
    kernel.run("x = [1, 2, 3]")
    ran = kernel.remote("total = sum(x)\n{'total': total}")
    assert ran.result == "{'total': 6}"
    assert kernel.value("total, _") == "(6, {'total': 6})"


def test_a_module_imported_there_is_known_here_and_loaded_when_it_is_used(kernel: Any) -> None:
    kernel.remote("import fractions as fr")
    assert kernel.value("fr.Fraction(1, 2) + 1") == "Fraction(3, 2)"
    assert kernel.remote("fr.Fraction(3, 4)").result == "Fraction(3, 4)"


def test_stderr_is_stderr(kernel: Any) -> None:
    assert kernel.remote("import sys\nprint('hm', file=sys.stderr)").stream("stderr") == "hm\n"


def test_interrupt_reaches_the_remote_cell_and_keeps_its_variables(kernel: Any) -> None:
    sent = []

    def interrupt_once(ran: Any) -> None:
        if "going" in ran.stream() and not sent:
            sent.append(True)
            kernel.interrupt()

    ran = kernel.remote(
        "import time\nkept = 41\nprint('going', flush=True)\nwhile True:\n    time.sleep(0.05)",
        while_running=interrupt_once,
    )
    assert ran.error["ename"] == "KeyboardInterrupt"
    assert "time.sleep(0.05)" in ran.traceback
    assert kernel.remote("kept + 1").result == "42"


def test_a_remote_error_shows_the_cells_own_line(kernel: Any) -> None:
    kernel.run("def divide(a):\n    half = a / 2\n    return half / 0")
    ran = kernel.remote("good = 1\ndivide(good)")
    assert ran.error["ename"] == "ZeroDivisionError"
    assert "--> 3 divide(good)" in ran.traceback
    assert "--> 3     return half / 0" in ran.traceback
    assert "jupyter_fx" not in ran.traceback
    assert kernel.value("import sys\ngood, sys.last_type.__name__") == "(1, 'ZeroDivisionError')"


def test_an_unpicklable_name_is_named_before_anything_travels(kernel: Any) -> None:
    kernel.run("import threading\nclass Job: pass\njob = Job()\njob.lock = threading.Lock()")
    ran = kernel.remote("print(job)")
    assert ran.error["ename"] == "PayloadError"
    assert "job.lock is of type _thread.lock" in ran.traceback
    assert ran.stream() == ""


def test_a_syntax_error_is_found_here(kernel: Any) -> None:
    ran = kernel.remote("x = 1\ny = = 2")
    assert ran.error["ename"] == "SyntaxError"
    assert "y = = 2" in ran.traceback
    assert "site-packages" not in ran.traceback


def test_an_unknown_endpoint_is_answered_with_the_nearest(kernel: Any) -> None:
    ran = kernel.remote("1", "locl")
    assert ran.error["ename"] == "UsageError"
    assert "nearest: local" in ran.traceback


def test_input_cannot_be_asked_for_there(kernel: Any) -> None:
    ran = kernel.remote("name = input('who? ')")
    assert ran.error["ename"] == "RuntimeError"
    assert "ask in a local cell" in ran.traceback


def test_sys_exit_ends_the_cell_and_not_the_session(kernel: Any) -> None:
    kernel.remote("before_exit = 1")
    assert kernel.remote("import sys\nsys.exit(3)").error["ename"] == "SystemExit"
    assert kernel.remote("before_exit").result == "1"


def test_figures_and_updates_of_displays_appear(kernel: Any) -> None:
    ran = kernel.remote("import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert any("image/png" in c["data"] for _, kind, c in ran.outputs if kind == "display_data")
    ran = kernel.remote("h = display('one', display_id=True)\nprint('between')\nh.update('two')")
    kinds = [kind for _, kind, c in ran.outputs if "✓" not in str(c)]
    assert kinds == ["display_data", "stream", "update_display_data"]


def test_large_values_stay_there_and_can_be_fetched(kernel: Any) -> None:
    ran = kernel.remote("import numpy as np\nbig = np.ones((500, 500))")
    assert "big stays on local (larger than 1.0 MiB)" in ran.shown
    assert "remote big: ndarray, (500, 500), float64" in kernel.value("big")
    assert kernel.remote("float(big.sum())").result == "250000.0"
    assert kernel.value("big.get().shape") == "(500, 500)"


def test_background_cells_go_on_under_their_own_cell(kernel: Any) -> None:
    kernel.others.clear()
    kernel.remote("import time\ntime.sleep(0.5)\nprint('from behind')\nbehind = 7\nbehind * 6", "--bg")
    assert kernel.value("job = _\njob.result(60)") == "42"
    assert kernel.value("behind") == "7"
    assert any(kind == "stream" and "from behind" in content["text"] for kind, content in kernel.others)


def test_other_magics_stand_below_and_above(kernel: Any) -> None:
    assert "Wall time" in kernel.remote("%%time\nquick = 1").stream()
    assert kernel.remote("%%bash\necho from bash").stream() == "from bash\n"
    ran = kernel.run("%%time\n%%remote\n2 + 3")
    assert ran.result == "5"
    assert "Wall time" in ran.stream()


def test_line_magic_evaluates_there(kernel: Any) -> None:
    assert kernel.run("import os\n%remote __import__('os').getpid() != 0").result == "True"


def test_methods_see_the_sessions_variables_and_not_old_copies(kernel: Any) -> None:
    kernel.run(
        "class Shape:\n    n = 3\n    def area(self):\n        return self.n * scale\nscale = 10\nshape = Shape()"
    )
    assert kernel.remote("shape.area()").result == "30"
    kernel.run("scale = 100")
    assert kernel.remote("other = Shape()\nshape.area(), other.area()").result == "(300, 300)"
    kernel.run("scale = 7")
    assert kernel.value("other.area(), isinstance(other, Shape)") == "(21, True)"
    assert kernel.remote("scale = 5\nother.area()").result == "15"
    assert kernel.value("other.area()") == "15"


def test_a_timeout_is_named_and_the_session_lives(kernel: Any) -> None:
    kernel.remote("before_timeout = 1")
    ran = kernel.remote("import time\ntime.sleep(30)", "--timeout 0.7")
    assert ran.error["ename"] == "TaskTimeout"
    assert "timeout of 0.7 s" in ran.traceback
    assert "time.sleep(30)" in ran.traceback
    assert kernel.remote("before_timeout").result == "1"


def test_an_exception_that_cannot_be_rebuilt_keeps_its_type(kernel: Any) -> None:
    body = "class Odd(Exception):\n    def __init__(self, a, b):\n        super().__init__(a)\nraise Odd(1, 2)"
    ran = kernel.remote(body)
    assert ran.error["ename"] == "Odd"
    assert kernel.value("import sys\nisinstance(sys.last_value, Odd)") == "True"


def test_endless_recursion_is_told_in_few_lines(kernel: Any) -> None:
    ran = kernel.remote("def deep(n):\n    return deep(n + 1)\ndeep(0)")
    assert ran.error["ename"] == "RecursionError"
    assert "skipping similar frames" in ran.traceback
    assert len(ran.traceback.splitlines()) < 40


def test_a_session_that_dies_says_so_and_the_next_cell_opens_another(kernels: Callable[[], Any]) -> None:
    kernel = kernels()
    kernel.remote("import os\nmine = 1")
    ran = kernel.remote("print('last words', flush=True)\nos._exit(3)")
    assert ran.error["ename"] == "WorkerLost"
    assert "last words" in ran.stream()
    # One sentence; what else is known is folded on the card.
    assert len(ran.traceback.splitlines()) == 1
    assert "exited with code 3" in ran.traceback
    cards = [content["data"] for _, kind, content in ran.outputs if "display_data" in kind]
    assert "exit code: 3" in cards[-1][MIME]["details"]
    assert "    last words" in cards[-1][MIME]["details"]
    assert "<details><summary" in cards[-1]["text/html"]
    ran = kernel.remote("print('alive')\n'mine' in globals()")
    assert "alive" in ran.stream()
    assert ran.result == "False"
    assert "a new session on local" in ran.shown
    assert "its 2 variables are here, too" in ran.shown


def test_a_kernel_that_ends_takes_its_session_with_it(stack: Path) -> None:
    kernel = Kernel(Path(tempfile.mkdtemp(prefix="k", dir=stack)))
    kernel.remote("x = 1")
    asked = {"kernel_id": f"process-{kernel.manager.provisioner.pid}", "ended": True}
    kernel.close()
    client = HubClient(embedded.ensure_hub().address)
    try:
        end = time.monotonic() + 60
        while not (ended := client.request("sessions.list", asked)):
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        client.close()
    # Not minutes later, because its link was closed.
    assert [one["reason"] for one in ended] == ["its kernel ended"]


def test_two_notebooks_share_one_hub_and_not_their_variables(kernel: Any, kernels: Callable[[], Any]) -> None:
    other = kernels()
    kernel.remote("secret = 1\nimport os\npid = os.getpid()")
    other.remote("import os\npid = os.getpid()")
    assert kernel.value("pid") != other.value("pid")
    assert other.remote("secret").error["ename"] == "NameError"
    mine, theirs = (k.run("%fx").stream().splitlines()[0] for k in (kernel, other))
    assert mine == theirs


def test_closing_a_session_frees_it(kernels: Callable[[], Any]) -> None:
    kernel = kernels()
    kernel.remote("held = 1")
    assert "closed" in kernel.run("%fx close").stream()
    assert kernel.remote("held", "--no-capture").error["ename"] == "NameError"


def test_a_stateless_cell_runs_in_the_pool(kernel: Any) -> None:
    kernel.run("base = 5")
    assert kernel.remote("base * 2", "--stateless").result == "10"


def test_tasks_and_logs_are_on_record(kernel: Any) -> None:
    kernel.remote("print('for the record')", "--name recorded")
    assert "recorded" in kernel.run("%fx tasks 5").stream()
    assert "for the record" in kernel.run("%fx logs recorded").stream()


def test_seeds_and_print_options_hold_on_both_sides(kernel: Any) -> None:
    kernel.remote("import numpy as np\nnp.set_printoptions(precision=2)\nnp.random.seed(3)")
    assert kernel.remote("np.array([1 / 3])").result == "array([0.33])"
    assert kernel.value("np.array([2 / 3])") == "array([0.67])"
    first = kernel.value("np.random.rand()")
    second = kernel.remote("np.random.rand()").result
    assert kernel.value("np.random.seed(3); [np.random.rand(), np.random.rand()]") == f"[{first}, {second}]"


def test_a_figure_stands_below_the_result(kernel: Any) -> None:
    ran = kernel.remote("import matplotlib.pyplot as plt\nplt.plot([1, 2])")
    kinds = [
        kind for _, kind, content in ran.outputs if kind == "execute_result" or "image/png" in content.get("data", {})
    ]
    assert kinds == ["execute_result", "display_data"]


def test_tables_are_as_wide_as_in_a_notebook(kernel: Any) -> None:
    body = "import pandas as pd\npd.DataFrame([range(100_000, 100_012)])"
    there = kernel.remote(body).result
    assert "..." not in there
    assert there == kernel.value(body)
