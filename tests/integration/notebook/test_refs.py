"""Values that stay where they were made, and what can be done with their handles."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture(scope="module")
def big(kernel: Any) -> Any:
    """A kernel whose session has `big`, 3 MB, and `numbers`, 2 MB in a list."""
    kernel.remote("big = bytearray(b'ab' * 1_500_000)\nnumbers = list(range(700_000))")
    return kernel


def test_a_handle_says_what_it_is_and_what_to_do_instead(big: Any) -> None:
    assert big.value("big").startswith("<remote big: bytearray, 2.9 MiB, on local; .get()")
    for code, cure in [
        ("big.upper()", "big.get().upper"),
        ("big[3]", "big.get()[…]"),
        ("len(big)", "big.get()"),
        ("big + 1", "%%remote"),
        ("if big: pass", "%%remote"),
    ]:
        assert cure in big.run(code).traceback, code
    assert big.value("len(big.get())") == "3000000"


def test_what_is_asked_for_comes_home_whatever_its_size_up_to_a_limit_that_is_said(big: Any) -> None:
    big.remote("import numpy as np\nwide = np.ones((9, 1 << 20))\nbeside = 1")
    assert big.value("wide.get().shape, beside") == "((9, 1048576), 1)"
    ran = big.remote("wide += 1\nbeside = 2", "-o wide")
    assert big.value("float(wide[0, 0]), beside") == "(2.0, 2)"
    # Never written to, so it takes no memory.
    ran = big.remote("huge = np.zeros(150_000_000)\nbeside = 3", "-o huge")
    assert "huge stays on local (larger than 960.0 MiB, the most that comes home at a time)" in ran.shown
    assert big.value("beside") == "3"
    assert "huge has 1.1 GiB, and at most 960.0 MiB come home at a time" in big.run("huge.get()").traceback
    assert big.remote("del huge").error == {}
    assert "NameError" in big.run("huge").traceback


def test_it_is_an_argument_of_any_call_there_without_moving(big: Any) -> None:
    before = big.run("%fx tasks 50").stream().count("keep big")
    big.run("import jupyter_fx as fx\n@fx.remote\ndef size(x, n=0):\n    return len(x) + n")
    assert big.value("size.remote(big)") == "3000000"
    assert big.value("size.submit(big, n=1).result()") == "3000001"
    assert big.value("list(size.map([big, numbers]))") == "[3000000, 700000]"
    assert big.value("with fx.Executor('local') as ex:\n    found = ex.submit(len, big).result()\nfound") == "3000000"
    big.run("@fx.remote\ndef both(x, y):\n    return len(x) + len(y)")
    assert big.value("both.remote(big, y=numbers)") == "3700000"
    # Nothing was written twice, and nothing came here.
    told = big.run("%fx tasks 50").stream()
    assert told.count("keep big") == before + 1, told


def test_it_is_known_in_other_sessions_and_in_stateless_cells(big: Any) -> None:
    assert big.remote("len(big)", "--stateless").result == "3000000"
    assert big.remote("big[:2], len(big)", "--session other").result == "(bytearray(b'ab'), 3000000)"
    assert big.remote("pair = [big, 1]\nlen(pair[0])", "--session other").result == "3000000"
    big.run("import numpy as np\nlocal = np.ones(300_000)\nheavy = 'x' * 600_000")
    assert big.remote("len(big), len(numbers), local.sum(), len(heavy)", "--session other").result == (
        "(3000000, 700000, np.float64(300000.0), 600000)"
    )
    big.run("held = {'inner': big}")
    assert big.remote("len(held['inner']), held['inner'] is big").result == "(3000000, True)"
    assert big.remote("len(held['inner'])", "--stateless").result == "3000000"


def test_what_changed_since_is_written_again_and_what_did_not_is_not(big: Any) -> None:
    big.remote("changing = bytearray(2_000_000)")
    big.run("import jupyter_fx as fx\n@fx.remote\ndef first(x):\n    return x[0]")
    assert big.value("first.remote(changing)") == "0"
    big.remote("unrelated = 1")
    assert big.value("first.remote(changing)") == "0"
    assert big.run("%fx tasks 50").stream().count("keep changing") == 1
    big.run("alias = changing")
    big.remote("changing[0] = 7")
    assert big.value("first.remote(changing), first.remote(alias)") == "(7, 7)"


def test_a_handle_of_what_was_assigned_anew_says_so(big: Any) -> None:
    big.remote("renewed = bytearray(2_000_000)")
    big.run("earlier = renewed")
    big.remote("renewed = bytearray(3_000_000)")
    assert big.value("len(renewed.get())") == "3000000"
    shown = big.run("earlier.get()").traceback
    assert "RefLost" in shown
    assert "assigned anew" in shown


def test_keep_outlives_the_session(kernels: Any) -> None:
    kernel = kernels()
    kernel.remote("model = bytearray(2_000_000)\nlittle = {'a': 1}\nlost = bytearray(2_000_000)")
    told = kernel.run("%fx keep model little").stream()
    assert "model (1.9 MiB) is kept by local" in told, told
    assert kernel.value("model").startswith("<kept model: bytearray, 1.9 MiB")
    assert kernel.remote("len(model)").result == "2000000"
    kernel.run("%fx close")
    assert kernel.value("len(model.get()), little.get()") == "(2000000, {'a': 1})"
    assert kernel.remote("len(model)").result == "2000000"
    kernel.run("import jupyter_fx as fx\n@fx.remote\ndef size(x):\n    return len(x)")
    assert kernel.value("size.remote(model)") == "2000000"
    shown = kernel.run("lost.get()").traceback
    assert "RefLost" in shown
    assert "In[2]" in shown
    kernel.run("dropped = little")
    kernel.run("dropped.drop()")
    assert "RefLost" in kernel.run("dropped.get()").traceback
    # Another kernel finds it by its name.
    other = kernels()
    assert "model" in other.run("%fx keep").stream()
    other.run("%fx keep model")
    assert other.value("len(model.get())") == "2000000"


def test_what_cannot_be_pickled_stays_in_its_session_and_says_so(kernel: Any) -> None:
    kernel.remote("import threading\nguard = threading.Lock()")
    kernel.run("import jupyter_fx as fx\n@fx.remote\ndef same(x):\n    return 1")
    assert "cannot be pickled" in kernel.run("same.remote(guard)").traceback
    assert "cannot be pickled" in kernel.remote("guard", "--stateless").traceback
    assert kernel.remote("guard.locked()").result == "False"
