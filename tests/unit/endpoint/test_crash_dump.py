"""What is left of a fatal error's dump: the user's frames, however the pipe cuts it."""

from __future__ import annotations

import pytest

from jupyter_fx.endpoint.crash import Dump, lost_error

DUMP = b"""before
Fatal Python error: Segmentation fault

Current thread 0x00007f0d595e1b80 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/ann/work.py", line 54 in crash
  File "/opt/site-packages/IPython/core/interactiveshell.py", line 3823 in run_code
  File "/usr/lib/python3.11/asyncio/events.py", line 80 in _run
  File "/opt/jupyter_fx_worker/calls.py", line 85 in run_call
  File "<string>", line 1 in <module>
"""
LEFT = b"".join(DUMP.splitlines(keepends=True)[:6])


@pytest.mark.parametrize("size", [1, 7, 60, 10_000])
def test_the_machinerys_frames_are_left_out_wherever_the_pipe_cuts(size: int) -> None:
    dump = Dump()
    # The line that announces the dump is written at once.
    head, tail = DUMP[:40], DUMP[40:]
    got = dump.feed(head) + b"".join(dump.feed(tail[at : at + size]) for at in range(0, len(tail), size)) + dump.rest()
    assert got == LEFT


def test_other_text_passes_at_once_and_unchanged() -> None:
    dump = Dump()
    for text in (b"no newline", b' File "/x/jupyter_fx_worker/y.py"', b"\n", b""):
        assert dump.feed(text) == text
    assert dump.rest() == b""


def test_the_message_names_the_users_innermost_frame() -> None:
    error = lost_error(doing="it ran this task", status=11, rss=0, last_words=DUMP)
    assert error.message.endswith('it crashed at File "/home/ann/work.py", line 54 in crash')
