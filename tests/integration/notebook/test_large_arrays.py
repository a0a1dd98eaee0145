"""Large arrays travel once: to the hub, and from there to an endpoint. Counted are the bytes that a kernel writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MAKE = "import numpy as np\nbig = np.arange(8 << 20, dtype='f8')\nlittle = 1"
SIZE = 64 << 20
COUNT = """
from jupyter_fx.transport.framing import StreamChannel
_sent, _write = 0, StreamChannel.write
def _counted(self, frames):
    global _sent
    _sent += sum(map(len, frames))
    _write(self, frames)
StreamChannel.write = _counted
"""


@pytest.fixture(scope="module")
def notebook(kernels: Callable[[], Any]) -> Callable[[], Any]:
    """Start notebooks that count what they send and have the array."""

    def start() -> Any:
        kernel = kernels()
        kernel.run(COUNT)
        kernel.run(MAKE)
        return kernel

    return start


def remote(kernel: Any, body: str) -> tuple[Any, int]:
    """What a remote cell showed, and how many bytes it cost."""
    before = int(kernel.value("_sent"))
    ran = kernel.remote(body)
    assert not ran.error, ran.traceback
    return ran, int(kernel.value("_sent")) - before


def kept(stack: Path) -> list[tuple[int, int]]:
    """(inode, size) of the large files that the endpoint keeps."""
    files = [path.stat() for path in stack.rglob("inputs/*")]
    return sorted((info.st_ino, info.st_size) for info in files if info.st_size >= SIZE)


def test_an_array_is_sent_once_per_endpoint_whatever_session_asks_for_it(
    notebook: Callable[[], Any], stack: Path
) -> None:
    first = notebook()
    ran, sent = remote(first, "float(big[-1]), big.flags.writeable")
    assert ran.result == f"({float(SIZE // 8 - 1)}, True)"
    assert SIZE < sent < SIZE * 1.01
    there = kept(stack)
    assert len(there) == 1
    again, sent = remote(first, "float(big[-2])")
    assert (again.result, sent < 10_000) == (f"{float(SIZE // 8 - 2)}", True)
    first.run("%fx close")
    renewed, sent = remote(first, "float(big[1]) + little")
    assert (renewed.result, sent < 10_000) == ("2.0", True)
    second, sent = remote(notebook(), "big[0] = 5.0\nfloat(big.sum() - big[1:].sum())")
    assert (second.result, sent < 10_000) == ("5.0", True)
    assert kept(stack) == there
    # What the other notebook wrote into its array is its own affair.
    assert first.remote("float(big[0])").result == "0.0"
    assert first.value("float(big[0])") == "0.0"


def test_a_part_of_what_a_cell_takes_that_did_not_change_is_not_sent_again(notebook: Callable[[], Any]) -> None:
    kernel = notebook()
    kernel.run("held = {'array': big, 'step': 1}")
    assert remote(kernel, "held['step'], float(held['array'][3])")[0].result == "(1, 3.0)"
    kernel.run("held['step'] = 2")
    ran, sent = remote(kernel, "held['step'], float(held['array'][3])")
    assert (ran.result, sent < 10_000) == ("(2, 3.0)", True)


def test_calls_send_it_once_too_and_frames_share_the_way(notebook: Callable[[], Any]) -> None:
    kernel = notebook()
    kernel.run("import jupyter_fx as fx, pandas as pd\nframe = pd.DataFrame({'x': big, 'y': big * 2})")
    assert kernel.value("fx.remote(lambda a: float(a[7])).remote(big)") == "7.0"
    before = int(kernel.value("_sent"))
    assert kernel.value("fx.remote(lambda a, b: float(a[b])).remote(big, 9)") == "9.0"
    with_frame = "fx.remote(lambda f: float(f.y.iloc[4])).remote(frame)"
    assert int(kernel.value("_sent")) - before < 10_000
    assert kernel.value(with_frame) == "8.0"
    before = int(kernel.value("_sent"))
    assert kernel.value(with_frame) == "8.0"
    assert int(kernel.value("_sent")) - before < 10_000


def test_an_array_that_changed_here_goes_again(notebook: Callable[[], Any]) -> None:
    kernel = notebook()
    remote(kernel, "float(big[0])")
    kernel.run("big[0] = 42")
    ran, sent = remote(kernel, "float(big[0])")
    assert ran.result == "42.0"
    assert sent > SIZE
