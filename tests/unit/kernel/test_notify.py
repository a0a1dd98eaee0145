"""The bell of a terminal: rung for what took long, when it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_fx.errors import UsageError
from jupyter_fx_kernel import notify
from jupyter_fx_kernel.card import Card


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    yield
    notify._after = 0.0


def over(seconds: float) -> Card:
    return Card("a" * 32, "polaris", name="train", state="succeeded", elapsed=seconds)


def test_it_is_silent_until_asked(notebook: Any, capsys: Any) -> None:
    notify.ended(over(500), None)
    assert capsys.readouterr().err == ""


def test_it_rings_for_what_took_long_and_for_nothing_else(notebook: Any, capsys: Any) -> None:
    notebook.run("%fx notify 1m")
    notify.ended(over(59), None)
    assert capsys.readouterr().err == ""
    notify.ended(over(61), None)
    assert capsys.readouterr().err == "\atrain on polaris: succeeded after 1 min 1 s\n"
    notebook.run("%fx notify off")
    notify.ended(over(61), None)
    assert capsys.readouterr().err == ""


def test_in_a_notebook_the_wish_goes_with_the_cards(notebook: Any) -> None:
    assert "notify" not in Card("a" * 32, "local").snapshot()
    notebook.shell.kernel = object()
    try:
        notebook.run("%fx notify 5")
        assert Card("a" * 32, "local").snapshot()["notify"] == 5
        notebook.run("%fx notify off")
        assert "notify" not in Card("a" * 32, "local").snapshot()
    finally:
        del notebook.shell.kernel


def test_nonsense_is_refused(notebook: Any) -> None:
    with pytest.raises(UsageError, match="say a duration"):
        notebook.run("%fx notify soon")
