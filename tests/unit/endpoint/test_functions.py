"""Functions that a manager was told: few in memory, all of them usable."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint import functions, worker_proc
from jupyter_fx.endpoint.functions import Told
from jupyter_fx.endpoint.manager import Manager
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.store import Store
from jupyter_fx.endpoint.talk import Code, Done, Go, Place, Want, Work
from jupyter_fx_worker import envelope

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")


def test_what_was_used_last_is_in_memory_and_the_rest_where_the_agent_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "MOST", 10_000)
    store, told = Store(tmp_path), Told(tmp_path)
    for n in range(100):
        store.put_function(f"f{n}", bytes([n]) * 1000)
        told.put(f"f{n}", bytes([n]) * 1000)
        assert told.get("f0") == bytes(1000)
        assert sum(map(len, told._here.values())) <= 10_000
    assert "f0" in told._here
    for n in range(100):
        assert told.get(f"f{n}") == bytes([n]) * 1000
        assert sum(map(len, told._here.values())) <= 10_000
    assert told.names() == [f"f{n}" for n in range(100)]
    (tmp_path / "functions" / "f5").unlink()
    assert told.get("f5") is None
    # What lies there and was never told is none: who may run what is the agent's to say.
    store.put_function("other", b"x")
    assert told.get("other") is None
    assert told.get("../functions/f1") is None


def test_one_that_could_not_be_stored_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MOST", 1000)
    told = Told(tmp_path)
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "half").write_bytes(b"x")
    for name in ("half", "b", "c"):
        told.put(name, name.encode() * 500)
    assert [told.get(name) for name in ("half", "b", "c")] == [name.encode() * 500 for name in ("half", "b", "c")]


def test_a_function_that_left_memory_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MOST", 1)
    monkeypatch.setattr(worker_proc, "_FUNCTIONS", 1)
    tmp_path.chmod(0o700)
    store = Store(tmp_path)

    def first() -> str:
        return "first"

    def second() -> str:
        return "second"

    async def story() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Queue[Any] = asyncio.Queue()

        def send(message: Any) -> None:
            if isinstance(message, Want):
                loop.call_soon(manager.receive, Go(message.ticket, message.tasks))
            elif isinstance(message, Done):
                for one in message.results:
                    ended.put_nowait(one)

        spec = ManagerSpec(folder=str(tmp_path), slots=1, python=sys.executable, env=dict(os.environ))
        manager = Manager(spec, send, loop)
        manager.start()
        try:
            for function in (first, second):
                code = b"".join(bytes(piece) for piece in envelope.dumps(function, "fn", name=function.__name__))
                store.put_function(function.__name__, code)
                manager.receive(Code(function.__name__, code))
            nothing = b"".join(bytes(piece) for piece in envelope.dumps(((), {}), "args"))
            for number, name in enumerate(["first", "second", "first", "second"]):
                assert len(manager._functions._here) == 1
                manager.receive(Place([Work(f"{number:032x}", 0, name, nothing)]))
                one = await asyncio.wait_for(ended.get(), 60)
                assert one.outcome == "ok", one.error
                assert envelope.loads(one.payload)[1] == name
        finally:
            manager.close()

    asyncio.run(story())
