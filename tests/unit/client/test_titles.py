"""What tasks are called: who asks for a function's name, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_fx.client import titles
from jupyter_fx.errors import UsageError


class Hub:
    """Knows the names of some functions."""

    def __init__(self, **names: str) -> None:
        self.names = names
        self.asked: list[str] = []

    def request(self, _op: str, args: dict[str, Any]) -> dict[str, str]:
        self.asked.append(args["digest"])
        if args["digest"] not in self.names:
            raise UsageError("no function of yours has this digest")
        return {"name": self.names[args["digest"]]}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(titles, "_names", {})


def test_a_functions_name_is_asked_once() -> None:
    hub = Hub(d="train")
    assert [titles.name_of_task(hub, {"function": "d"}) for _ in range(3)] == ["train"] * 3
    assert hub.asked == ["d"]
    assert titles.name_of_task(hub, {"name": "mine", "function": "e"}) == "mine"
    assert titles.name_of_task(hub, {"name": "", "function": ""}) == ""
    assert hub.asked == ["d"]


def test_one_that_a_hub_does_not_have_may_be_at_another() -> None:
    assert titles.name_of_task(Hub(), {"function": "d"}) == ""
    assert titles.name_of_task(Hub(d="train"), {"function": "d"}) == "train"


def test_a_list_asks_once_for_what_is_not_there() -> None:
    hub, known = Hub(), dict[str, str]()
    assert [titles.name_of_task(hub, {"function": "d"}, known) for _ in range(3)] == [""] * 3
    assert hub.asked == ["d"]


def test_names_are_remembered_within_bounds() -> None:
    hub = Hub(**{f"d{n}": f"f{n}" for n in range(2500)})
    for n in range(2500):
        titles.name_of_task(hub, {"function": f"d{n}"})
    assert len(titles._names) <= 1000
