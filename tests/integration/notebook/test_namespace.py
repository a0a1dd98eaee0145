"""What lives in a session, seen from a notebook: `%fx who`, completion and `?` through Jupyter's own messages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("stack")


def completed(kernel: Any, code: str, at: int | None = None) -> list[str]:
    asked = kernel.client.complete(code, len(code) if at is None else at)
    return list(answer(kernel, asked)["matches"])


def inspected(kernel: Any, code: str, detail: int = 0) -> str:
    asked = kernel.client.inspect(code, len(code), detail)
    content = answer(kernel, asked)
    return str(content["data"].get("text/plain", "")) if content["found"] else ""


def answer(kernel: Any, asked: str) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        message = kernel.client.get_shell_msg(timeout=30)
        if message["parent_header"].get("msg_id") == asked:
            return dict(message["content"])
    raise AssertionError("no answer")


def test_who_tells_what_the_session_has_where_it_was_made_and_where_it_is(kernel: Any) -> None:
    kernel.run("factor = 3")
    kernel.remote("import math\nbig = bytearray(3_000_000)\nsmall = [factor] * 10")
    kernel.remote("def make():\n    global inner\n    inner = 1")
    kernel.remote("make()")
    kernel.run("del inner")
    told = kernel.run("%fx who").stream()
    print(told)
    lines = {line.split()[0]: line for line in told.splitlines()}
    assert "sent from here" in lines["factor"] and lines["factor"].endswith("here and there")
    assert "In[" in lines["big"] and lines["big"].endswith("stays there") and "2.9 MiB" in lines["big"]
    assert "list of 10" in lines["small"]
    assert lines["inner"].endswith("only there")
    assert "math" in lines["modules:"]


MADE = """
class Thing:
    alpha_one = 1
    def alpha_two(self, x: int, y=2):
        'What it does.'
        return x
only_there = Thing()
table = {'first_key': 1, 'second': 2}
"""


def test_completion_offers_what_the_session_has_and_a_local_cell_does_not(kernel: Any) -> None:
    kernel.remote(MADE)
    kernel.run("del only_there, table, Thing")
    assert "only_there" in completed(kernel, "%%remote\nonly_")
    found = completed(kernel, "%%remote\nonly_there.al")
    assert [match.rpartition(".")[2] for match in found] == ["alpha_one", "alpha_two"]
    found = completed(kernel, "%%remote\nx = 1\nonly_there.al")
    assert [match.rpartition(".")[2] for match in found] == ["alpha_one", "alpha_two"]
    assert any("first_key" in match for match in completed(kernel, "%%remote\ntable['fi"))
    assert any(match.endswith("alpha_one") for match in completed(kernel, "y = %remote only_there.alpha_o"))
    assert not completed(kernel, "only_there.al")


def test_completion_knows_the_columns_of_frames(kernel: Any) -> None:
    pytest.importorskip("pandas")
    kernel.remote("import pandas\nframe = pandas.DataFrame({'column_one': range(300_000), 'other': 1.5})")
    kernel.run("del frame")
    assert any("column_one" in match for match in completed(kernel, "%%remote\nframe['col"))
    assert any("column_one" in match for match in completed(kernel, "%%remote\nframe.column_o"))
    assert any("median" in match for match in completed(kernel, "%%remote\nframe.column_one.med"))
    assert "DataFrame (300000, 2)" in kernel.run("%fx who").stream()


def test_completion_merges_what_is_here_and_would_travel(kernel: Any) -> None:
    kernel.remote("merged_there = 1")
    kernel.run("del merged_there\nmerged_here = 2")
    assert {"merged_there", "merged_here"} <= set(completed(kernel, "%%remote\nmerged_"))


def test_inspection_tells_signature_docstring_and_source_from_the_session(kernel: Any) -> None:
    kernel.remote(MADE)
    kernel.run("del only_there, table, Thing")
    told = inspected(kernel, "%%remote\nonly_there.alpha_two")
    assert "x: int, y=2" in told
    assert "What it does." in told
    assert "return x" in inspected(kernel, "%%remote\nonly_there.alpha_two", 1)
    assert not inspected(kernel, "only_there.alpha_two")


def test_own_words_are_completed(kernel: Any) -> None:
    kernel.remote("1")
    assert {"who", "use"} <= set(completed(kernel, "%fx "))
    assert completed(kernel, "%fx use lo") == ["local"]
    assert completed(kernel, "%%remote lo") == ["local"]
    assert completed(kernel, "%%remote --st") == ["--stateless"]
    assert "main" in completed(kernel, "%%remote --session ")


def test_a_session_that_is_busy_or_slow_does_not_hold_up_the_notebook(kernel: Any) -> None:
    kernel.remote(
        "class Slow:\n    def __dir__(self):\n        import time; time.sleep(600)\nslow = Slow()\nseen_before = 1"
    )
    kernel.run("del slow, Slow, seen_before")
    completed(kernel, "%%remote\nslow.a")
    assert kernel.remote("1 + 1").result == "2"
    kernel.run("%fx who")
    kernel.remote("import time\ntime.sleep(3)", "--bg")
    completed(kernel, "%%remote\nseen_be")
    told = kernel.run("%fx who").stream()
    # It has not been waited for.
    assert "it runs a cell" in told
    assert "seen_before" in told


GATED = (
    "import os, time\nend = time.monotonic() + 60\n"
    "while not os.path.exists(gate) and time.monotonic() < end:\n    time.sleep(0.05)\n"
)
"""What a cell begins with that does its work when the notebook has made the file `gate`."""


def test_what_a_reset_forgets_there_is_forgotten_here_unless_it_is_another_value(kernel: Any) -> None:
    kernel.run("sent, changed, mine = [1], [2], [3]")
    kernel.remote("sent, changed\nmade = {'a': 1}\nlarge = bytearray(2_000_000)")
    kernel.run("changed = [4]")
    assert kernel.remote("%reset -f").error == {}
    names = "['sent', 'changed', 'mine', 'made', 'large']"
    assert kernel.value(f"[name for name in {names} if name in globals()]") == "['changed', 'mine']"
    assert kernel.remote("changed + mine").result == "[4, 3]"


DISPLAYS = {"display_data", "update_display_data"}


def test_what_changed_here_stays_when_a_background_cell_deletes_it(kernel: Any, tmp_path: Path) -> None:
    kernel.run(f"import time; gate, kept, dropped = {str(tmp_path / 'gate')!r}, 1, 2")
    kernel.others.clear()
    kernel.remote(f"{GATED}del kept, dropped", "--bg")
    kernel.run("job = _\nkept = 'mine'\nopen(gate, 'w').close()\njob.result(60)")
    assert kernel.value("kept, 'dropped' in globals()") == "('mine', False)"
    for _ in range(100):
        kernel.run("time.sleep(0.05)")
        told = "".join(c["data"]["text/plain"] for kind, c in kernel.others if kind in DISPLAYS)
        if "kept changed here meanwhile and was kept: this cell deleted it there" in told:
            break
    else:
        pytest.fail(f"the card does not say that it was kept: {told}")


def test_what_was_sent_anew_while_a_background_cell_ran_outlives_its_reset(kernel: Any, tmp_path: Path) -> None:
    """The session holds the value that is here, and yet not because of what that cell forgot."""
    kernel.run(f"gate, grown, other, idle = {str(tmp_path / 'gate')!r}, [1], [1], [1]")
    kernel.remote("grown, other, idle")
    kernel.remote(f"{GATED}%reset -f", "--bg")
    kernel.run("first = _\ngrown.append(2)\nother = [2]")
    kernel.remote("grown, other = grown + [3], other + [3]\ngrown, other", "--bg")
    kernel.run("second = _\nopen(gate, 'w').close()\nfirst.result(60)")
    assert kernel.value("(grown, other, 'idle' in globals())") in {"([1, 2], [2], False)", "([1, 2, 3], [2, 3], False)"}
    assert kernel.run("second.result(60)").result == "([1, 2, 3], [2, 3])"
    assert kernel.value("(grown, other)") == "([1, 2, 3], [2, 3])"
