"""The end of the interpreter: whatever goes wrong before, what was submitted is waited for."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
from jupyter_fx.client import exits

class Executor:
    def shutdown(self, wait):
        print("waited for", wait)

kept = Executor()
exits.register(kept)
exits.first(lambda: 1 / 0)
exits.first(lambda: print("left"))
"""


def test_who_cannot_leave_keeps_nobody_from_being_waited_for() -> None:
    ended = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.splitlines() == ["left", "waited for True"]
    assert "ZeroDivisionError" in ended.stderr
