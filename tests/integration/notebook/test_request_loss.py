"""Kernels that lose requests by themselves: the extension mends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.environments import packages

CELLS = 2_000
"""Sent each as soon as the one before is idle. Without the mend, kernels of ipykernel 7.0 to 7.3 lost one after 16 to
857, in ten trials of ten.
"""


def test_a_kernel_of_ipykernel_7_3_loses_no_cell(kernels: Callable[..., Any]) -> None:
    kernel = kernels(PYTHONPATH=str(packages("ipykernel==7.3.0")))
    assert kernel.value("__import__('ipykernel').__version__") == "'7.3.0'"
    kernel.run("n = 0")
    for _ in range(CELLS):
        kernel.run("n += 1")
    assert kernel.value("n") == str(CELLS)


def test_a_kernel_that_loses_none_is_left_as_it_is(kernel: Any) -> None:
    kernel.run(
        "k = get_ipython().kernel; manager = k.shell_channel_thread.manager; import jupyter_fx_kernel.requestloss"
    )
    assert kernel.value("jupyter_fx_kernel.requestloss.mend(k)") == "False"
    assert kernel.value("getattr(manager, '_shell_socket', k.shell_stream) is k.shell_stream") == "True"
