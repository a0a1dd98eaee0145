"""What a running task shows, on its way to the agent."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from jupyter_fx.endpoint.stories import Stories


def shown(header: dict[str, Any], body: bytes = b"") -> Any:
    """The display that is sent on for a worker's frame."""
    sent: list[Any] = []
    loop: Any = SimpleNamespace(call_soon=lambda _flush: None)
    logs: Any = None
    stories = Stories(sent.append, logs, loop)
    job: Any = SimpleNamespace(text=None, said=0, work=SimpleNamespace(task_id="t"))
    stories.told(job, {"op": "display", "kind": "execute_result", **header}, body)
    stories.flush()
    return sent[0].pieces[0][3]["content"]


def test_a_large_display_keeps_its_small_representations() -> None:
    content = {"data": {"text/plain": "<Animation>", "text/html": "x" * 1_500_000}, "metadata": {}}
    found = shown({"content": {"data": {"text/plain": "a stub"}}, "body": "json"}, json.dumps(content).encode())
    assert found["data"]["text/plain"].startswith("[text/html of 1.4 MiB is too large to be shown")
    assert found["data"]["text/plain"].endswith("<Animation>")
    assert "text/html" not in found["data"]


def test_a_huge_display_is_its_stub() -> None:
    found = shown({"content": {"data": {"text/plain": "a stub"}}, "body": "json"}, b"[" * (9 << 20))
    assert found["data"] == {"text/plain": "a stub"}


def test_a_small_display_is_in_the_header() -> None:
    assert shown({"content": {"data": {"text/plain": "5"}}})["data"] == {"text/plain": "5"}
