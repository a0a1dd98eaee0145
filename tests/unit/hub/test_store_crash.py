"""kill -9 while it writes: whatever was said to be on disk is there afterwards, and only whole."""

from __future__ import annotations

import subprocess
import sys

from jupyter_fx_hub.store.ops import AddEvents, EventRow

WRITER = """
import asyncio, sys
from pathlib import Path
from jupyter_fx_hub.store.ops import AddEvents, EventRow
from jupyter_fx_hub.store.space import Space
from jupyter_fx_hub.store.store import Store
sys.path.insert(0, sys.argv[2])
from conftest import Harness

folder = Path(sys.argv[1])

async def main():
    told = []
    def on_commit(position, problems):
        assert not problems
        # Position 3n + 3 is the last op of task n.
        sys.stdout.write(f"{position}\\n")
        sys.stdout.flush()
        told.append(position)
    store = Store.open(
        folder / "fx.db", loop=asyncio.get_running_loop(), on_commit=on_commit,
        space=Space(folder, min_free=0, fraction=0.0, ballast=0), batch=7,
    )
    for n in range(100_000):
        task = f"{n + 1:032x}"
        store.write(Harness.insert(task))
        size = 9000 if n % 10 == 0 else 20
        store.write(AddEvents(task, [EventRow(1, 1, 0, 1, 1.0, b"%06d" % n + b"x" * size)]))
        store.write(Harness.finish(task, payload=b"%d" % n))
        if n % 3 == 0:
            await asyncio.sleep(0)
        while store.queued > 300:
            await asyncio.sleep(0.001)

asyncio.run(main())
"""


def test_every_position_that_was_told_is_there_after_kill_9(harness, tmp_path):
    from pathlib import Path

    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    try:
        told = 0
        while told < 900:
            line = process.stdout.readline()
            assert line, "the writer ended by itself"
            told = int(line)
        process.kill()
        # What stands in the pipe was told before the kill, too.
        told = max(
            [told, *(int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n"))]
        )
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    one = harness()
    assert one.store.hub_boot == 2
    rows = one.store._raw.execute("SELECT count(*), min(state), max(pk) FROM tasks").fetchone()
    assert rows[0] >= (told + 2) // 3
    for n in range(told // 3):
        task = f"{n + 1:032x}"
        assert one.ask("outcome", "ann", task).payload == b"%d" % n
        assert one.ask("log_text", "ann", task)["text"] == b"%06d" % n + b"x" * (9000 if n % 10 == 0 else 20)
    last = f"{rows[0]:032x}"
    one.write(AddEvents(last, [EventRow(9, 1, 5, 1, 2.0, b"goes on")]))
    assert one.settle() == []
    assert one.ask("log_text", "ann", last)["text"].endswith(b"goes on")
