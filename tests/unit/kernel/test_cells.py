"""Stories of one notebook and its remote session: what travels, what comes home, who owns a name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jupyter_fx.errors import PayloadError, RefLost, UsageError
from jupyter_fx.protocol.lifecycle import SessionState
from jupyter_fx.protocol.messages import Event, EventKind
from jupyter_fx_kernel.outputs import Outputs
from jupyter_fx_kernel.refs import RemoteValue


def test_a_cell_takes_what_it_mentions_and_brings_home_what_it_assigns(notebook: Any) -> None:
    notebook.run("x = 20\nunused = object()")
    assert notebook.remote("y = x + 1\ny * 2") == 42
    assert notebook.ns["y"] == 21
    assert notebook.hub.sent == [{"x"}]


def test_what_the_session_has_is_not_sent_again(notebook: Any) -> None:
    notebook.run("data = list(range(100))")
    notebook.remote("a = sum(data)")
    notebook.remote("b = a + len(data)")
    notebook.run("data.append(1)")
    notebook.remote("c = len(data)")
    assert notebook.hub.sent == [{"data"}, set(), {"data"}]
    assert notebook.ns["c"] == 101


def test_functions_share_the_sessions_namespace(notebook: Any) -> None:
    notebook.run("hits = 0\ndef hit():\n    global hits\n    hits += 1\n    return hits")
    notebook.remote("hit(); hit()")
    assert notebook.hub.sent[0] == {"hit", "hits"}
    assert notebook.ns["hits"] == 2
    assert notebook.remote("hits") == 2
    notebook.run("hits = 10")
    assert notebook.remote("hit()") == 11


def test_functions_called_by_functions_travel_with_what_they_need(notebook: Any) -> None:
    notebook.run(
        "import math\nk = 3\ndef inner(v):\n    return v * k + math.floor(0.5)\ndef outer(v):\n    return inner(v)"
    )
    assert notebook.remote("outer(5)") == 15
    assert notebook.hub.sent[0] == {"outer", "inner", "k", "math"}


def test_a_function_made_there_comes_home_and_sees_this_namespace(notebook: Any) -> None:
    notebook.remote("base = 1\ndef shifted(v):\n    return v + base")
    notebook.run("base = 100")
    assert notebook.run("shifted(1)") == 101


def test_names_that_share_an_object_go_on_sharing_it(notebook: Any) -> None:
    notebook.run("inner = [1]\nouter = {'inner': inner}")
    notebook.remote("outer['inner'].append(2)\nsame = outer['inner'] is inner")
    assert notebook.ns["same"] is True
    assert notebook.ns["inner"] == [1, 2]
    notebook.run("inner.append(3)")
    notebook.remote("again = outer['inner'] is inner")
    assert notebook.ns["again"] is True


def test_large_values_stay_and_can_be_used_and_fetched(notebook: Any) -> None:
    notebook.run("import numpy as np")
    notebook.remote("big = np.zeros((600, 600))")
    big = notebook.ns["big"]
    assert isinstance(big, RemoteValue)
    assert "(600, 600)" in repr(big)
    assert "float64" in repr(big)
    assert "big stays on local" in notebook.out
    assert notebook.remote("float(big.sum())") == 0.0
    assert notebook.hub.sent[-1] == set()
    assert big.get().shape == (600, 600)
    assert notebook.ns["big"] is big


def test_dash_o_brings_a_large_value_home(notebook: Any) -> None:
    notebook.run("import numpy as np")
    notebook.remote("big = np.ones((600, 600))", "-o big")
    assert isinstance(notebook.ns["big"], np.ndarray)


def test_a_value_that_cannot_be_pickled_stays(notebook: Any) -> None:
    notebook.remote("import threading\nlock = threading.Lock()")
    assert isinstance(notebook.ns["lock"], RemoteValue)
    assert notebook.remote("lock.acquire()") is True


def test_an_unpicklable_capture_names_the_name_and_the_attribute(notebook: Any) -> None:
    notebook.run("import threading\nclass Job:\n    pass\njob = Job()\njob.lock = threading.Lock()")
    with pytest.raises(PayloadError, match=r"job cannot be pickled: job\.lock is of type _thread\.lock"):
        notebook.remote("job")
    assert notebook.hub.sent == []


def test_a_syntax_error_is_found_before_a_session_opens(notebook: Any) -> None:
    with pytest.raises(SyntaxError) as caught:
        notebook.remote("x = 1\ny = = 2")
    assert caught.value.lineno == 3
    assert notebook.hub.opened == []


def test_an_unknown_endpoint_is_named_with_the_nearest(notebook: Any) -> None:
    with pytest.raises(UsageError, match="nearest: local"):
        notebook.remote("1", "lcoal")


def test_a_remote_error_keeps_its_type_and_shows_the_cells_lines(notebook: Any) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        notebook.remote("good = 1\ngood / 0")
    shown = "\n".join(caught.value._render_traceback_())
    assert "----> 3 good / 0" in shown
    assert "on local" in shown
    assert "good / 0" in shown
    assert "jupyter_fx" not in shown
    assert notebook.ns["good"] == 1


def test_a_deleted_name_is_deleted_here_too(notebook: Any) -> None:
    notebook.run("gone = 5")
    notebook.remote("del gone")
    assert "gone" not in notebook.ns


def test_a_lost_session_is_replaced_and_said(notebook: Any) -> None:
    notebook.run("import numpy as np")
    notebook.remote("big = np.zeros((600, 600)); small = 1")
    notebook.hub.opened[0].state = SessionState.LOST
    notebook.hub.opened[0].reason = "its worker died"
    with pytest.raises(RefLost, match="run In"):
        notebook.ns["big"].get()
    assert notebook.remote("small + 1") == 2
    assert "its worker died" in notebook.out
    assert len(notebook.hub.opened) == 2


def test_both_sides_changed_a_name_and_the_next_cell_stops(notebook: Any) -> None:
    notebook.run("x = 1")
    notebook.hub.before_outcome = lambda: notebook.ns.update(x=50)
    future = notebook.remote("x = x + 1", "--bg")
    future.exception(5)
    notebook.hub.before_outcome = lambda: None
    assert notebook.ns["x"] == 50
    with pytest.raises(UsageError, match="-i x"):
        notebook.remote("x")
    assert notebook.remote("x", "-o x") == 2
    assert notebook.ns["x"] == 2


def test_mine_wins_when_i_say_so(notebook: Any) -> None:
    notebook.run("x = 1")
    notebook.hub.before_outcome = lambda: notebook.ns.update(x=50)
    notebook.remote("x = x + 1", "--bg").exception(5)
    notebook.hub.before_outcome = lambda: None
    assert notebook.remote("x", "-i x") == 50


def test_line_magic_gives_the_value(notebook: Any) -> None:
    notebook.run("a = [3, 4]")
    assert notebook.run("%remote sum(a)") == 7
    notebook.run("b = %remote {'sum': sum(a), 'n': len(a)}")
    assert notebook.ns["b"] == {"sum": 7, "n": 2}
    assert "_remote_value_" not in notebook.ns


class Busy:
    """A call that no worker takes."""

    def __init__(self) -> None:
        self.cancelled = False

    def result(self, within: float) -> Any:
        raise TimeoutError(within)

    def cancel(self) -> None:
        self.cancelled = True


def test_dry_run_says_what_would_travel_and_runs_nothing(notebook: Any) -> None:
    notebook.run("import math\nx = [1, 2]")
    call = Busy()
    notebook.hub.submit_call = lambda *_args, **_how: call
    notebook.remote("math.fsum(x)", "--dry-run")
    assert "were not checked: no worker there was free within 5 s; `%fx env` waits for one" in notebook.out
    assert call.cancelled
    assert "list of 2" in notebook.out
    assert "nothing was run" in notebook.out
    assert notebook.hub.sent == []


def test_no_capture_takes_nothing_but_what_is_named(notebook: Any) -> None:
    notebook.run("x = 1\ny = 2")
    with pytest.raises(NameError):
        notebook.remote("x + y", "--no-capture -i y")
    assert notebook.hub.sent == [{"y"}]


def test_options_that_make_no_sense_say_so(notebook: Any) -> None:
    with pytest.raises(UsageError, match="--retries needs --stateless"):
        notebook.remote("1", "--retries 2")
    with pytest.raises(UsageError, match="no duration"):
        notebook.remote("1", "--timeout soon")
    notebook.run("data = 1")
    with pytest.raises(UsageError, match=r"no variable called dta \(nearest: data\)"):
        notebook.remote("1", "-i dta")


def test_a_stateless_cell_shares_nothing_with_the_session(notebook: Any) -> None:
    notebook.remote("only_there = 1\ndel only_there\nkept = 1")
    notebook.ns.pop("kept")
    with pytest.raises(NameError):
        notebook.remote("kept", "--stateless")


def test_functions_inside_of_containers_share_the_namespace_too(notebook: Any) -> None:
    notebook.run("step = 1\ntable = {'up': lambda v: v + step}")
    assert notebook.remote("table['up'](1)") == 2
    notebook.run("step = 5")
    assert notebook.remote("table['up'](1)", "-i step") == 6


def test_a_recursive_inner_function_travels(notebook: Any) -> None:
    notebook.run("def make():\n    def down(n):\n        return n and down(n - 1) + one\n    return down")
    notebook.run("one = 1\nf = make()")
    assert notebook.remote("f(5)") == 5


def test_generators_and_options_travel_when_they_changed(notebook: Any) -> None:
    notebook.run("import random\nrandom.seed(1)")
    notebook.remote("1")
    notebook.remote("1")
    assert "random" in notebook.hub.around[0]
    assert notebook.hub.around[1] == {}
    notebook.run("random.seed(2)")
    notebook.remote("1")
    assert set(notebook.hub.around[2]) == {"random"}


def test_what_is_shown_after_the_result_is_shown_after_it_here_too(notebook: Any) -> None:
    seen: list[str] = []
    outputs = Outputs(notebook.shell)
    notebook.shell.display_pub.publish = lambda data, *_rest, **_more: seen.append(data["text/plain"])
    for kind, text in (("display_data", "first"), ("execute_result", "value"), ("display_data", "figure")):
        content = {"data": {"text/plain": text}, "metadata": {}}
        outputs.put(Event("t", 0, EventKind.DISPLAY, 0.0, {"kind": kind, "content": content}))
    assert seen == ["first"]
    outputs.after_result(shown=True)
    assert seen == ["first"]
    notebook.run("1")
    notebook.run("2")
    assert seen == ["first", "figure"]
    outputs.flush_result()
    assert seen == ["first", "figure", "value"]


def test_a_file_closed_long_ago_is_no_hindrance_to_a_cell_that_opens_its_own(notebook: Any) -> None:
    notebook.run("import os\nwith open(os.devnull) as f:\n    pass")
    assert notebook.remote("with open(os.devnull) as f:\n    lines = list(f)\nlen(lines)") == 0


def test_a_change_through_one_name_shows_through_the_other(notebook: Any) -> None:
    notebook.run("a = [1]\nb = a\nkept = {'a': a}")
    notebook.remote("a.append(2)")
    assert notebook.ns["b"] is notebook.ns["a"] is notebook.ns["kept"]["a"]
    assert notebook.ns["b"] == [1, 2]


def test_a_view_made_here_shows_what_was_changed_there(notebook: Any) -> None:
    notebook.run("import numpy as np\nwhole = np.arange(6)\npart = whole[2:4]")
    notebook.remote("part[:] = 0")
    assert notebook.ns["whole"].tolist() == [0, 1, 0, 0, 4, 5]
    notebook.run("whole[2] = 9")
    assert notebook.remote("part[0] == 9")


def test_what_a_large_array_is_shared_with_does_not_take_it_along(notebook: Any) -> None:
    notebook.run("import numpy as np\nlarge = np.zeros(1 << 20)\npart = large[:3]")
    notebook.remote("part.sum()")
    assert "large" not in notebook.hub.sent[0]


@pytest.mark.parametrize(
    ("slots", "asked", "said"),
    [(0, 0, "no node is up there, and a question would order one; `%fx env` does"), (4, 1, "no worker there was free")],
)
def test_a_dry_run_orders_no_node(notebook: Any, slots: int, asked: int, said: str) -> None:
    """A call that waits where no node is up makes the endpoint submit a batch job."""
    calls: list[Any] = []
    notebook.hub.submit_call = lambda *_args, **_how: calls.append(1) or Busy()
    notebook.hub.request = lambda *_: {"info": {"provider": "slurm", "slots": slots}}
    notebook.remote("1", "--dry-run")
    assert len(calls) == asked
    assert f"were not checked: {said}" in notebook.out


def test_what_it_takes_to_change_an_open_session_can_be_typed_as_it_is_said(notebook: Any) -> None:
    notebook.remote("1")
    with pytest.raises(UsageError, match=r"%fx use local --image 'my images/a b\.sqfs' --new$"):
        notebook.run("%fx use local --image 'my images/a b.sqfs'")
