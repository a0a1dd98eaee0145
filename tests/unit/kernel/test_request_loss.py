"""Which kernels are mended: those alone that send their replies beside the stream."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_fx_kernel import requestloss

STREAM = SimpleNamespace(send_multipart=print)


def kernel(**manager: Any) -> SimpleNamespace:
    return SimpleNamespace(
        shell_stream=STREAM, shell_channel_thread=SimpleNamespace(manager=SimpleNamespace(**manager))
    )


def test_replies_go_through_the_stream_then() -> None:
    mended = kernel(_shell_socket=object())
    assert requestloss.mend(mended)
    assert mended.shell_channel_thread.manager._shell_socket is STREAM
    assert not requestloss.mend(mended)


@pytest.mark.parametrize(
    "other",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(shell_stream=STREAM),
        SimpleNamespace(shell_stream=STREAM, shell_channel_thread=None),
        SimpleNamespace(shell_stream=None, shell_channel_thread=SimpleNamespace(manager=None)),
        kernel(_shell_stream=STREAM),
    ],
)
def test_others_are_left_as_they_are(other: Any) -> None:
    assert not requestloss.mend(other)
