"""Code that another Python opens: from its source, proven to be the one that was compiled, or not at all.

Another version is played by changing what this one is called between writing and reading; the real ones are in
tests/integration/worker/test_pythons.py.
"""

from __future__ import annotations

import collections
import dataclasses
import linecache
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jupyter_fx_worker import codes, envelope


@contextmanager
def another_python() -> Iterator[None]:
    before = list(codes.PYTHON)
    codes.PYTHON[:] = [before[0], before[1] + 1]
    try:
        yield
    finally:
        codes.PYTHON[:] = before


def defined(text: str, **names: Any) -> dict[str, Any]:
    """What a cell with this text defines; its source is known as a notebook's cells are."""
    name = f"<cell-{abs(hash(text))}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space = {"__name__": "__main__", **names}
    exec(compile(text, name, "exec"), space)
    return space


def sent(value: Any) -> bytes:
    return b"".join(bytes(piece) for piece in envelope.dumps(value, "result"))


def abroad(value: Any) -> Any:
    data = sent(value)
    with another_python():
        return envelope.loads(data)[1]


def test_closures_defaults_and_decorators_need_no_care() -> None:
    space = defined("""
import functools
def twice(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return 2 * function(*args, **kwargs)
    return wrapper
def adding(n):
    @twice
    def add(x, y=10, *, z=n):
        return x + y + z + n
    return add
add = adding(5)
""")
    opened = abroad(space["add"])
    assert opened(1) == space["add"](1) == 42
    assert opened.__wrapped__.__code__.co_name == "add"


def test_two_lambdas_of_one_line_are_told_apart() -> None:
    space = defined("pair = (lambda x: x + 1), (lambda x: x * 10)\nsame = [lambda: 1, lambda: 1]\n")
    first, second = abroad(space["pair"])
    assert (first(4), second(4)) == (5, 40)
    assert [one() for one in abroad(space["same"])] == [1, 1]


def test_a_cell_with_magics_is_read_around_them() -> None:
    text = "%matplotlib inline\n!ls\ndef f(x):\n    return x - 1\n"
    space: dict[str, Any] = {"__name__": "__main__"}
    linecache.cache["<magic>"] = (len(text), None, text.splitlines(keepends=True), "<magic>")
    exec(compile("\n\ndef f(x):\n    return x - 1\n", "<magic>", "exec"), space)
    assert abroad(space["f"])(3) == 2


def test_names_are_mangled_and_super_is_found_in_methods() -> None:
    space = defined("""
class Base:
    __hidden = 3
    def get(self):
        return self.__hidden
class Derived(Base):
    def get(self):
        return super().get() + 1
""")
    assert abroad(space["Derived"])().get() == 4


def test_code_keeps_its_lines() -> None:
    space = defined("\n\n\ndef f(x):\n    return 1 / x\n")
    opened = abroad(space["f"])
    with pytest.raises(ZeroDivisionError) as raised:
        opened(0)
    assert raised.traceback[-1].lineno + 1 == 5


def test_source_that_changed_since_is_not_used() -> None:
    text = "def changing(x):\n    return x + 1\n"
    space = defined(text)
    name = space["changing"].__code__.co_filename
    linecache.cache[name] = (0, None, ["def changing(x):\n", "    return x + 2\n"], name)
    with pytest.raises(envelope.PythonMismatch, match=r"changing was made by Python .* because its source has changed"):
        abroad(space["changing"])


def test_code_without_source_is_refused_by_name_and_opens_at_home() -> None:
    space: dict[str, Any] = {}
    exec("def made_up():\n    return 1", space)
    data = sent({"here": space["made_up"]})
    assert envelope.pickled(space["made_up"])[2] == envelope.BOUND
    assert envelope.loads(data)[1]["here"]() == 1
    with another_python(), pytest.raises(envelope.PythonMismatch, match=r"made_up was made .*its source is not known"):
        envelope.loads(data)


def test_syntax_that_the_other_side_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sent(defined("\n\ndef fine(x):\n    return x\n")["fine"])

    def older(*_args: Any) -> Any:
        raise SyntaxError("invalid syntax", ("<c>", 2, 1, "    match x:", 2, 9))

    monkeypatch.setattr(codes, "_compiled", older)
    with another_python(), pytest.raises(envelope.PythonMismatch, match=r"fine .*does not have \(line 4: match x:\)"):
        envelope.loads(data)


def test_bytecode_of_another_version_is_never_made() -> None:
    import cloudpickle

    data = cloudpickle.dumps(defined("def f(x):\n    return x\n")["f"])
    with pytest.raises(TypeError, match="bytecode of another version"):
        envelope.unpickled(data, (), [3, 7])


@dataclasses.dataclass
class Outside:
    base: int = 1


DATA = """
from dataclasses import dataclass, field
@dataclass(order=True)
class Point:
    x: int
    y: float = 2.0
    none: object = None
    tags: list = field(default_factory=list, compare=False, metadata={"a": 1})
    def norm(self):
        return self.x + self.y
@dataclass(frozen=True)
class Fixed:
    x: int = 3
@dataclass(init=False)
class Own(Outside):
    z: int = 0
    def __init__(self, z):
        self.z = z + 1
        self.base = 5
"""


def test_a_dataclass_is_made_anew_by_the_other_python() -> None:
    space = defined(DATA, Outside=Outside)
    assert envelope.pickled(space["Point"])[2] == envelope.PORTABLE
    # As in another process: the class is not known there by its identity.
    for name in ("Point", "Fixed", "Own"):
        forget(space[name])
    point, fixed, own = abroad([space["Point"], space["Fixed"], space["Own"]])
    assert repr(point(1)) == "Point(x=1, y=2.0, none=None, tags=[])"
    assert point(1) < point(2) and point(1) == point(1) and point(3).norm() == 5.0
    assert [f.metadata.get("a") for f in dataclasses.fields(point)] == [None, None, None, 1]
    assert hash(fixed()) == hash(fixed())
    with pytest.raises(dataclasses.FrozenInstanceError):
        fixed().x = 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        fixed().new = 4
    assert (own(1).z, own(1).base, repr(own(1))) == (2, 5, "Own(base=5, z=2)")


def forget(kind: type) -> None:
    import cloudpickle.cloudpickle as inside

    tracker = inside._DYNAMIC_CLASS_TRACKER_BY_CLASS.pop(kind, None)
    inside._DYNAMIC_CLASS_TRACKER_BY_ID.pop(tracker, None)


def test_a_dataclass_keeps_what_missing_means() -> None:
    space = defined(DATA, Outside=Outside)
    opened = envelope.loads(sent(space["Point"]))[1]
    field = dataclasses.fields(opened)[0]
    assert field.default is dataclasses.MISSING
    derived = dataclasses.dataclass(type("Derived", (opened,), {"__annotations__": {"z": int}, "z": 1}))
    assert derived(1, z=4).z == 4


def test_tuples_with_names_are_made_anew() -> None:
    space = defined("""
import collections, typing
class Named(typing.NamedTuple):
    a: int
    b: str = "b"
    def both(self):
        return self.a, self.b
Plain = collections.namedtuple("Plain", "x y", defaults=[5])
""")
    for kind in (space["Named"], space["Plain"]):
        assert envelope.pickled(kind)[2] == envelope.PORTABLE
        forget(kind)
    named, plain, value = abroad([space["Named"], space["Plain"], space["Plain"](1, 2)])
    assert named(1).both() == (1, "b") and named._make([2, "c"]).b == "c" and named(1)._replace(a=3).a == 3
    assert plain(1) == (1, 5) and plain(1)._asdict() == {"x": 1, "y": 5}
    assert tuple(value) == (1, 2) and type(value) is plain


def test_protocols_and_cached_properties_travel() -> None:
    space = defined("""
import functools, typing
class Sized(typing.Protocol):
    def size(self) -> int: ...
class Thing:
    @functools.cached_property
    def size(self):
        return 7
""")
    for back in (abroad, lambda value: envelope.loads(sent(value))[1]):
        protocol, thing = back([space["Sized"], space["Thing"]])
        assert typing.is_protocol(protocol) if hasattr(typing, "is_protocol") else protocol._is_protocol
        assert thing().size == 7


def test_an_exec_made_method_of_the_users_own_is_not_dropped_silently() -> None:
    space = defined(DATA, Outside=Outside)
    made: dict[str, Any] = {}
    exec("def odd(self):\n    return 1", made)
    space["Point"].odd = made["odd"]
    with pytest.raises(envelope.PythonMismatch, match="odd was made by"):
        abroad(space["Point"])


def test_a_statement_travels_once_however_many_methods_it_has() -> None:
    methods = "".join(f"    def m{n}(self):\n        return {n}\n" for n in range(50))
    space = defined(f"class Many:\n    TEXT = '{'x' * 20_000}'\n{methods}")
    assert len(sent(space["Many"])) < 80_000


def test_a_recipe_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    function: Callable[..., Any] = defined("def once():\n    return 1\n")["once"]
    sent(function)
    monkeypatch.setattr(codes, "_find", lambda _code: pytest.fail("looked for again"))
    sent(function)


def test_what_moved_is_found_where_it_went() -> None:
    data = b"\x80\x05cpathlib._local\nPurePosixPath\n\x8c\x01a\x85R."
    assert str(envelope.unpickled(data, (), codes.PYTHON)) == "a"
    with pytest.raises(ModuleNotFoundError):
        envelope.unpickled(b"\x80\x05cno_such_module\nx\n.", (), codes.PYTHON)


def test_a_mismatch_of_packages_is_named_when_opening_fails() -> None:
    numpy = pytest.importorskip("numpy")
    pickled = b"\x80\x05cnumpy\nno_such_thing\n."
    made = str(int(numpy.__version__.partition(".")[0]) - 1) + ".26.4"
    pieces = envelope.assemble(pickled, (), "cell", {"made": {"numpy": made}})
    with pytest.raises(envelope.VersionMismatch, match=f"made with numpy {made} cannot be opened with numpy"):
        envelope.loads(b"".join(bytes(piece) for piece in pieces))


def test_a_deque_of_functions_is_no_special_case() -> None:
    opened = abroad(collections.deque([defined("def f():\n    return 5\n")["f"]]))
    assert opened[0]() == 5


def test_what_came_goes_on_and_what_it_makes_too() -> None:
    space = defined("def outer(n):\n    def inner(x):\n        return x + n\n    return inner\n")
    data = sent(space["outer"])
    linecache.cache.pop(space["outer"].__code__.co_filename)
    with another_python():
        there = envelope.loads(data)[1]
        assert envelope.pickled(there)[2] == envelope.PORTABLE
        back = sent(there(5))
    assert envelope.loads(back)[1](1) == 6
    here = envelope.loads(data)[1]
    assert envelope.pickled(here(3))[2] == envelope.PORTABLE


@pytest.mark.filterwarnings("error")
def test_what_the_compiler_warned_of_is_not_said_again() -> None:
    text = "def odd():\n    return '\\d', 1 is 1\n"
    with pytest.warns(Warning):  # noqa: PT030 - of one kind or the other, by version
        function = defined(text)["odd"]
    assert abroad(function)() == ("\\d", True)
