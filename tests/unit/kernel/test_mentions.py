"""What a cell mentions, told by cells that people write."""

from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from jupyter_fx_kernel.mentions import mentions

transform = TransformerManager().transform_cell


def hard(source: str) -> set[str]:
    return set(mentions(source, transform).hard) - {"print", "range", "len", "get_ipython", "eval", "sum", "__name__"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("y = x + 1", {"x"}),
        ("from __future__ import annotations\nprint(annotations, x)", {"x"}),
        ("x += 1", {"x"}),
        ("del x", {"x"}),
        ("x = 1\nprint(x)", set()),
        ("print(x)\nx = 1", {"x"}),
        ("df = load(path)\ndf.head()", {"load", "path"}),
        ("if flag:\n    x = 1\nprint(x)", {"flag", "x"}),
        ("for i in range(n):\n    total += i", {"n", "total"}),
        ("for i in range(n):\n    pass\nprint(i)", {"n", "i"}),
        ("for x[k] in items:\n    if x:\n        break", {"x", "k", "items"}),
        ("if a:\n    x = 1\nelse:\n    x = 2\nprint(x)", {"a"}),
        ("with open_it(p) as (f, g):\n    lines = [x for x in f]\nprint(f, lines)", {"open_it", "p", "lines"}),
        ("[f(a) for a in items if a > limit]", {"f", "items", "limit"}),
        ("(lambda q: q + w)(1)", {"w"}),
        ("def f(a, b=default):\n    return a + b + k\nf(1)", {"default", "k"}),
        ("def f():\n    return f", set()),
        ("@f\ndef f():\n    return 1", {"f"}),
        ("def f():\n    global hits\n    hits += 1\nf()", {"hits"}),
        ("def f():\n    global fresh\n    fresh = 1\nf()", set()),
        ("class A(Base):\n    z = other\n    def m(self):\n        return deep", {"Base", "other", "deep"}),
        ("import numpy as np\nnp.ones(3) * a", {"a"}),
        ("a, (b, *c) = source\nprint(a, b, c)", {"source"}),
        ("x[0] = 1", {"x"}),
        ("obj.field = value", {"obj", "value"}),
        ("f'{a!r:>{width}} {b.c}'", {"a", "width", "b"}),
        ("await coro(z)", {"coro", "z"}),
        ("try:\n    q = risky()\nexcept Trouble as e:\n    print(e)\nq", {"risky", "Trouble", "q", "e"}),
        ("with open_it(p) as h:\n    h.read()", {"open_it", "p"}),
        ("match command:\n    case Point(x=0):\n        pass", {"command", "Point"}),
        ("%time y = slow(x)", {"slow", "x"}),
        ("%timeit -n 10 -r 3 f(x)", set()),
        ("%%time\ny = slow(x)\ny + z", {"slow", "x", "z"}),
        ("%%timeit -n 5\nf(x)", {"f", "x"}),
    ],
)
def test_the_names_that_a_cell_needs(source: str, names: set[str]) -> None:
    found = mentions(source, transform)
    if "-n 10" in source:
        assert {"f", "x"} <= found.hard | found.soft
    else:
        assert hard(source) == names


def test_names_in_strings_are_soft_when_something_reads_strings() -> None:
    assert {"limit", "age"} <= mentions("df.query('age > @limit')").soft
    assert mentions("eval('a + b')").soft >= {"a", "b"}
    assert mentions("print('a + b')").soft == frozenset()


def test_names_that_commands_expand_are_soft() -> None:
    found = mentions("!ls {folder} $name", transform)
    assert {"folder", "name"} <= found.soft
    assert "ls" not in found.soft


def test_bodies_of_other_languages_give_only_what_they_expand() -> None:
    found = mentions("%%bash\necho data {x} $y", transform)
    assert {"x", "y"} <= found.soft
    assert "data" not in found.soft | found.hard


def test_a_syntax_error_is_found_here() -> None:
    with pytest.raises(SyntaxError):
        mentions("for x in", transform)


names = st.from_regex(r"[a-z]{1,3}", fullmatch=True).filter(
    lambda n: not keyword.iskeyword(n) and n not in dir(__builtins__)
)


@given(st.lists(st.tuples(names, st.lists(names, max_size=3)), min_size=1, max_size=8))
def test_running_with_just_the_names_found_never_misses_one(lines: list[tuple[str, list[str]]]) -> None:
    """A cell given only what was captured runs as it does with everything."""
    source = "\n".join(f"{target} = sum([{', '.join(reads)}])" for target, reads in lines)
    everything = {name: 1 for target, reads in lines for name in [target, *reads]}
    needed = {name: everything[name] for name in mentions(source).hard if name in everything}
    full, part = dict(everything), dict(needed)
    exec(source, full)
    exec(source, part)
    assert {t: part[t] for t, _ in lines} == {t: full[t] for t, _ in lines}
