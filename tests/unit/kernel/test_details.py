"""Errors of the machinery: one sentence, the rest folded where something can be folded, and lines where nothing can."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jupyter_fx.errors import FxError, InfrastructureError, WorkerLost
from jupyter_fx_kernel import tracebacks
from jupyter_fx_kernel.card import Card, bundle
from jupyter_fx_kernel.details import details_of, folded

LOST = WorkerLost("the worker died", signal="SIGKILL", exit_code=None, rss=3 * 2**20, last_lines=["a <b>", "c"])
SAID = "signal: SIGKILL\npeak memory: 3 MiB\nthe last lines that it wrote:\n    a <b>\n    c"


def test_what_is_known_is_told_in_lines() -> None:
    assert details_of(LOST) == SAID
    assert details_of(FxError("no")) == details_of(ValueError("no")) == ""


def test_a_terminal_has_all_of_it_as_text_and_a_notebook_one_sentence() -> None:
    assert tracebacks.plain(LOST)[1:] == SAID.splitlines()
    assert len(tracebacks.plain(LOST, folded=True)) == 1


def test_a_card_folds_it() -> None:
    shown = bundle(Card("a" * 32, "local", state="failed", details=details_of(LOST)))
    assert "<details><summary" in shown["text/html"]
    assert "a &lt;b&gt;" in shown["text/html"]
    assert "  signal: SIGKILL" in shown["text/plain"]


def test_an_error_without_a_card_folds_it_below_its_cell_where_there_is_one() -> None:
    published: list[Any] = []
    display = SimpleNamespace(publish=published.append)
    assert not folded(SimpleNamespace(display_pub=display), LOST)
    notebook = SimpleNamespace(display_pub=display, kernel=object())
    assert not folded(notebook, InfrastructureError("no details"))
    assert published == []
    assert folded(notebook, InfrastructureError("the endpoint did not start", log=["no <disk>"]))
    assert "<details>" in published[0]["text/html"]
    assert "no &lt;disk&gt;" in published[0]["text/html"]
    assert "no <disk>" in published[0]["text/plain"]
