"""Remote errors in a real kernel: as IPython would show them, in every mode, with their causes, notes and groups."""

from __future__ import annotations

import re
from typing import Any

import pytest

DEEP = (
    "def inner(d):\n    key = 'missing'\n    secret_token = 'hu' + 'sh'\n    return d[key]\n"
    "def outer():\n    table = {'a': 1}\n    return inner(table)\nouter()"
)


def lines(ran: Any) -> str:
    """The traceback without colours."""
    return str(ran.traceback)


def test_it_is_drawn_by_ipython_with_the_cells_own_lines_and_its_place(kernel: Any) -> None:
    ran = kernel.remote(DEEP)
    shown = lines(ran)
    assert ran.error["ename"] == "KeyError"
    assert re.search(r"Cell In\[\d+\] on local, line 9", shown), shown
    assert "in inner" in shown
    assert "----> 5     return d[key]" in shown
    assert re.search(r"\(remote: local, task [0-9a-f]{8}\)", shown)
    assert "jupyter_fx" not in shown
    assert "run_cell_magic" not in shown
    assert "\x1b[" in "\n".join(ran.error["traceback"])


@pytest.mark.parametrize(
    ("mode", "there", "absent"),
    [
        ("Plain", "return d[key]", "d = "),
        ("Context", "----> 5", "d = "),
        ("Verbose", "d = {'a': 1}", "hush"),
        ("Minimal", "KeyError: 'missing'", "return d[key]"),
        ("Docs", "Traceback (most recent call last)", "return d[key]"),
    ],
)
def test_every_xmode_is_honoured(kernel: Any, mode: str, there: str, absent: str) -> None:
    kernel.run(f"%xmode {mode}")
    try:
        shown = lines(kernel.remote(DEEP))
    finally:
        kernel.run("%xmode Context")
    assert there in shown
    assert absent not in shown
    assert "jupyter_fx" not in shown


def test_tb_shows_it_again(kernel: Any) -> None:
    kernel.remote(DEEP)
    ran = kernel.run("%tb Plain")
    again = ran.stream() + lines(ran)
    assert "return d[key]" in again
    assert "jupyter_fx" not in again


def test_causes_contexts_and_notes_are_kept(kernel: Any) -> None:
    body = (
        "def parse(text):\n    try:\n        return int(text)\n    except ValueError as error:\n"
        "        bad = RuntimeError('no number')\n        bad.add_note('see line 7')\n        raise bad from error\n"
    )
    ran = kernel.remote(body + "parse('x')")
    shown = lines(ran)
    assert "ValueError: invalid literal" in shown
    assert "The above exception was the direct cause" in shown
    assert "see line 7" in shown
    kernel.remote(body)
    ran = kernel.run(
        "try:\n    get_ipython().run_cell_magic('remote', '', \"parse('y')\")\nexcept RuntimeError as error:\n"
        "    print(type(error.__cause__).__name__, error.__notes__)"
    )
    assert ran.stream() == "ValueError ['see line 7']\n"
    shown = lines(kernel.remote("try:\n    {}['a']\nexcept KeyError:\n    1 / 0"))
    assert "During handling of the above exception, another exception occurred" in shown
    assert "KeyError: 'a'" in shown


def test_groups_are_shown_with_the_frames_of_their_members(kernel: Any) -> None:
    body = (
        "def bad(n):\n    raise ValueError(n)\nfound = []\nfor n in (1, 2):\n    try:\n        bad(n)\n"
        "    except ValueError as e:\n        found.append(e)\nraise ExceptionGroup('both', found)"
    )
    ran = kernel.remote(body)
    assert ran.error["ename"] == "ExceptionGroup"
    shown = lines(ran)
    assert "both (2 sub-exceptions)" in shown
    assert shown.count("raise ValueError(n)") == 2
    assert "Cell In[" in shown
    assert "jupyter_fx" not in shown
    ran = kernel.run("raise ExceptionGroup('here', [ValueError(3)])")
    assert "here (1 sub-exception)" in lines(ran) + ran.stream("stderr")


def test_frames_of_libraries_there_are_marked_with_their_place(kernel: Any) -> None:
    shown = lines(kernel.remote("import json\njson.loads('{')"))
    assert re.search(r"File local:\S*json/decoder\.py, line \d+", shown), shown
    assert "JSONDecodeError" in shown


def test_debug_opens_on_frames_that_stand_for_those_there(kernel: Any) -> None:
    assert "send the reprs" in kernel.run("%fx debug on").stream()
    kernel.remote(DEEP)
    kernel.client.allow_stdin = True
    asked = kernel.client.execute("%debug", allow_stdin=True)
    said = ""
    for command in ("p d, key, secret_token", "up", "p table", "where", "quit"):
        said += until_prompt(kernel)
        kernel.client.input(command)
    assert asked
    said += rest(kernel, asked)
    assert "These frames stand for those of a remote error" in said
    assert "({'a': 1}, 'missing', <not sent: its name sounds like a secret>)" in said
    assert "inner(table)" in said
    assert "send no values" in kernel.run("%fx debug off").stream()


def until_prompt(kernel: Any) -> str:
    """What is printed until the debugger asks."""
    import queue

    message = kernel.client.get_stdin_msg(timeout=30)
    assert message["msg_type"] == "input_request"
    said = ""
    while True:
        try:
            told = kernel.client.get_iopub_msg(timeout=0.3)
        except queue.Empty:
            return said
        if told["msg_type"] == "stream":
            said += told["content"]["text"]


def rest(kernel: Any, asked: str) -> str:
    """What is printed until the cell ends."""
    said = ""
    while True:
        told = kernel.client.get_iopub_msg(timeout=30)
        if told["msg_type"] == "stream":
            said += told["content"]["text"]
        ends = told["msg_type"] == "status" and told["content"]["execution_state"] == "idle"
        if ends and told["parent_header"].get("msg_id") == asked:
            return re.sub(r"\x1b\[[0-9;]*m", "", said)


def test_a_warning_names_the_cell_and_shows_its_line(kernel: Any) -> None:
    said = kernel.remote("import warnings\n\nwarnings.warn('careful')").stream("stderr")
    assert re.search(r"Cell In\[\d+\], line 4: UserWarning: careful\n +warnings.warn\('careful'\)", said), said


def test_an_error_goes_through_a_pickle(kernel: Any) -> None:
    kernel.run(
        "import pickle\ntry:\n    get_ipython().run_cell_magic('remote', '', '1 / 0')\nexcept ZeroDivisionError as e:\n"
        "    again = pickle.loads(pickle.dumps(e))"
    )
    assert "ZeroDivisionError" in kernel.value("again._render_traceback_()[-2]") + kernel.value(
        "'\\n'.join(again._render_traceback_())"
    )


def test_errors_of_calls_and_maps_are_drawn_below_the_callers_frames(kernel: Any) -> None:
    kernel.run(
        "import jupyter_fx as fx\n@fx.remote\ndef f(x):\n    return helper(x - 3)\n\n"
        "def helper(y):\n    try:\n        return 1 / y\n    except ZeroDivisionError as e:\n"
        "        raise ValueError('wrapped') from e"
    )
    chunked = "list(fx.Executor().map(f.function, [1, 3], chunksize=2))"
    for call in ("f.remote(3)", "f.submit(3).result()", "list(f.map([1, 3]))", chunked):
        ran = kernel.run(call)
        shown = lines(ran)
        assert ran.error["ename"] == "ValueError"
        assert f"----> 1 {call}" in shown
        assert re.search(r"Cell In\[\d+\] on local, line 10, in helper", shown), shown
        assert re.search(r"\(remote: local, task [0-9a-f]{8}\)", shown), shown
        assert "raise ValueError('wrapped') from e" in shown
        assert "ZeroDivisionError: division by zero" in shown
        assert "jupyter_fx" not in shown
        assert "It was raised there" not in shown
    assert "Cell In" in kernel.run("%tb Plain").stream() + lines(kernel.run("%tb Plain"))
    shown = lines(kernel.run("f.remote(3, 4)"))
    assert re.search(r"positional arguments? but 2 were given\n\(remote: local, task [0-9a-f]{8}\)$", shown), shown
    kernel.run("try:\n    f.remote(3)\nexcept ValueError as e:\n    kept = e")
    assert kernel.value("type(kept.__cause__).__name__, 'It was raised there' in str(kept.__notes__)") == (
        "('RemoteError', True)"
    )


@pytest.mark.parametrize(
    "how", ["die.remote(1)", "list(die.map([1]))", "fx.Executor().submit(die.function, 1).result()"]
)
def test_what_is_known_of_a_calls_lost_worker_is_folded(kernel: Any, how: str) -> None:
    kernel.run("import jupyter_fx as fx, os\n@fx.remote\ndef die(n):\n    print('its last <word>')\n    os._exit(3)")
    kernel.others.clear()
    ran = kernel.run(how)
    assert ran.error["ename"] == "WorkerLost"
    assert "it exited with code 3" in ran.traceback
    assert re.search(r"\(remote: local, task [0-9a-f]{8}\)", ran.traceback), ran.traceback
    assert "exit code: 3" not in ran.traceback
    shown = [c["data"] for _, kind, c in ran.outputs if kind == "display_data"]
    (fold,) = [data for data in shown if "<summary>Details</summary>" in data.get("text/html", "") and len(data) == 2]
    assert "exit code: 3" in fold["text/html"]
    assert "its last &lt;word&gt;" in fold["text/html"]
    assert "its last <word>" in fold["text/plain"]
