"""Functions rebuilt from their source: only those that need nothing else."""

from __future__ import annotations

import pytest

from jupyter_fx_worker import portable


@pytest.mark.parametrize(
    ("source", "args", "value"),
    [
        ("def f(x, y=2):\n    return x * y", (21,), 42),
        ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)", (5,), 120),
        ("def f(xs):\n    import math\n    return [math.floor(x) for x in sorted(xs)]", ([2.5, 1.5],), [1, 2]),
        ("def f(x: np.ndarray) -> Missing:\n    return len(x)", ("ab",), 2),
        ("@fx.remote(endpoint='polaris')\ndef f(x):\n    return x", (1,), 1),
        ("@remote\ndef f(x):\n    def g(y):\n        return x + y\n    return g(1)", (1,), 2),
    ],
)
def test_a_self_contained_function_is_rebuilt(source, args, value):
    assert portable.rebuild(source)(*args) == value


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return np.sum(x)",
        "def f(x, y=SIZE):\n    return x",
        "def f():\n    global n\n    n += 1",
        "@cache\ndef f(x):\n    return x",
        "def f(x):\n    return sum(x)",
        "f = lambda x: x",
        "class C: pass",
        "def f(:",
        "",
    ],
)
def test_anything_else_is_refused(source):
    assert portable.rebuild(source) is None
