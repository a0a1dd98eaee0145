"""What a running task shows, on its way to the agent."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_fx.client.displays import whole_events
from jupyter_fx.endpoint import stories
from jupyter_fx.endpoint.stories import PART_BYTES, Stories
from jupyter_fx.protocol.messages import Event, EventKind


def told(header: dict[str, Any], body: bytes = b"") -> list[Any]:
    """The displays that are sent on for a worker's frame."""
    sent: list[Any] = []
    loop: Any = SimpleNamespace(call_soon=lambda _flush: None)
    logs: Any = None
    stories = Stories(sent.append, logs, loop)
    job: Any = SimpleNamespace(text=None, said=0, work=SimpleNamespace(task_id="t"))
    stories.told(job, {"op": "display", "kind": "execute_result", **header}, body)
    stories.flush()
    assert all(len(message.pieces) == 1 for message in sent if message.pieces[0][3]["kind"] == "part")
    return [piece[3] for message in sent for piece in message.pieces]


def heard(displays: list[Any]) -> list[Any]:
    """What a client makes of them."""
    events = [Event("t", n, EventKind.DISPLAY, 0.0, data) for n, data in enumerate(displays)]
    return [event.data for event in whole_events(events)]


def test_a_small_display_is_one_event() -> None:
    assert told({"content": {"data": {"text/plain": "5"}}}) == [
        {"kind": "execute_result", "content": {"data": {"text/plain": "5"}}}
    ]


@pytest.mark.parametrize("size", [300_000, 1_500_000, 9 << 20])
def test_a_large_display_comes_in_parts_and_is_whole_again(size: int) -> None:
    content = {"data": {"text/plain": "<Figure>", "image/png": "x" * size}, "metadata": {"a": "ä"}}
    if size < 900_000:
        displays = told({"content": content})
    else:
        body = json.dumps(content, ensure_ascii=False).encode()
        displays = told({"content": {"data": {"text/plain": "a stub"}}, "body": "json"}, body)
    assert all(len(data["bytes"]) <= PART_BYTES for data in displays[:-1])
    assert heard(displays) == [{"kind": "execute_result", "content": content}]
    # Who has not heard all of them shows what is small.
    left = heard(displays[1:])[0]["content"]["data"]
    assert set(left) == {"text/plain"}
    assert left["text/plain"] in {"<Figure>", "a stub"}


def test_beyond_the_limit_a_display_keeps_its_small_representations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stories, "DISPLAY_MAX", 1 << 20)
    content = {"data": {"text/plain": "<Animation>", "text/html": "x" * 1_500_000}, "metadata": {}}
    body = json.dumps(content).encode()
    (found,) = told({"content": {"data": {"text/plain": "a stub"}}, "body": "json"}, body)
    text = found["content"]["data"]["text/plain"]
    assert text.startswith("[text/html of 1.4 MiB is too large to be shown")
    assert text.endswith("<Animation>")
    assert "text/html" not in found["content"]["data"]


def test_a_huge_display_is_its_stub() -> None:
    (found,) = told({"content": {"data": {"text/plain": "a stub"}}, "body": "json"}, b"[" * (17 << 20))
    assert found["content"]["data"] == {"text/plain": "a stub"}
