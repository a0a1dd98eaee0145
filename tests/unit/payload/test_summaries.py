"""Values and calls in a few words: short whatever comes, cheap, and without what is called a secret."""

from __future__ import annotations

import dataclasses
import enum
import functools
from pathlib import PurePosixPath
from typing import Any

import pytest

from jupyter_fx.client import Ref
from jupyter_fx.payload.summaries import brief, brief_call
from jupyter_fx.protocol.messages import RefInfo


class Table:
    """As a data frame: its repr takes its time."""

    shape, dtype = (1000, 3), "float64"

    def __repr__(self) -> str:
        raise AssertionError("nobody asks for it")


class Bad:
    @property
    def shape(self) -> Any:
        raise RuntimeError("no")


class Mode(enum.Enum):
    FAST = 1


@dataclasses.dataclass
class Net:
    width: int
    table: Table
    api_key: str = "hush"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        ("a" * 5, "'aaaaa'"),
        ([1, Table()], "[1, <Table (1000, 3) float64>]"),
        ({"rate": 0.1, "password": "hush"}, "{'rate': 0.1, 'password': <not shown>}"),
        (dict.fromkeys(range(9), 0), "{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, ...}"),
        (set(range(5000)), "<set of 5000>"),
        (b"x" * 10**7, "<bytes of 10000000>"),
        (Net(3, Table()), "Net(width=3, table=<Table (1000, 3) float64>, api_key=<not shown>)"),
        (PurePosixPath("/data"), "PurePosixPath('/data')"),
        (Mode.FAST, "<Mode.FAST: 1>"),
        (Bad(), "<Bad>"),
        (Net, "Net"),
        ([[[[1]]]], "[[[[...]]]]"),
    ],
)
def test_values_are_shown_by_their_repr_where_that_is_cheap(value: Any, shown: str) -> None:
    assert brief(value) == shown


def test_what_stands_for_a_result_elsewhere_is_not_asked_for_it() -> None:
    class Client:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    client: Any = Client()
    ref = Ref("0" * 24 + "1234abcd", client=client, info=RefInfo("r", "e", 3, {}))
    assert brief([ref]) == "[<Ref 1234abcd>]"


def test_it_is_short_whatever_comes() -> None:
    for value in ("x" * 10**6, list(range(10**6)), ["y" * 1000] * 50):
        assert len(brief(value)) <= 80
        assert len(brief_call(print, [value] * 9, {"sep": value})) <= 160


def login(user: str, password: str, *more: str, port: int = 22) -> None:
    """Needs names only."""


class Site:
    def login(self, token: str) -> None:
        """Its own name for it."""


@pytest.mark.parametrize(
    ("function", "args", "shown"),
    [
        (login, ("ann", "hush", "m"), "login('ann', <not shown>, 'm', port=1)"),
        (functools.partial(login, "ann"), ("hush",), "login(<not shown>, port=1)"),
        (Site().login, ("hush",), "Site.login(<not shown>, port=1)"),
        (len, ([],), "len([], port=1)"),
    ],
)
def test_a_call_leaves_out_what_is_called_a_secret(function: Any, args: tuple[Any, ...], shown: str) -> None:
    assert brief_call(function, args, {"port": 1}) == shown
