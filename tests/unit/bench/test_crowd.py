"""What the bench of the panel reads out of a trace."""

from __future__ import annotations

import json
from typing import Any

import pytest

crowd = pytest.importorskip("bench.crowd")


def event(name: str, ts: int, took: int, cpu: int, **data: Any) -> dict[str, Any]:
    told = {"ph": "X", "pid": 1, "tid": 2, "name": name, "ts": ts * 1000, "dur": took * 1000, "tdur": cpu * 1000}
    return {**told, "args": {"data": data}}


def test_a_long_turn_is_one_of_cpu_time_and_ours_when_our_scripts_ran_in_it() -> None:
    ours = "http://host/lab/extensions/jupyter-fx/static/1.js"
    events = [
        {"ph": "M", "pid": 1, "tid": 2, "name": "thread_name", "args": {"name": "CrRendererMain"}},
        event("RunTask", 0, 200, 10),  # another process had the core
        event("RunTask", 300, 90, 80),
        event("FunctionCall", 310, 60, 55, url=ours),
        event("RunTask", 500, 70, 60),
        event("Layout", 510, 50, 50),
        {**event("RunTask", 700, 90, 90), "tid": 3},
    ]
    trace = json.dumps({"traceEvents": events}).encode()
    every, own = crowd.turns(trace)
    assert [took for took, _ in every] == [80, 60]
    assert own == [80]
    assert every[0][1] == {"FunctionCall 1.js": 55}
    assert crowd.longest_call(trace) == 55
