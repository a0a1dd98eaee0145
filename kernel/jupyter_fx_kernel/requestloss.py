"""Kernels of ipykernel 7.0 to 7.3 lose requests: they are mended when the extension is loaded.

Such a kernel sends its replies straight on the socket that its ZMQStream reads. A ZeroMQ socket tells once that there
is something to read (its descriptor is edge-triggered), and sending takes that word in: a request that comes just then
lies in the socket unseen, and so does all that follows it. The cells stay at [*] in an idle kernel until a restart.
ipykernel 7.4 sends through the stream, which looks for what came whenever it has sent.
"""

from __future__ import annotations

from typing import Any

__all__ = ["mend"]


def mend(kernel: Any) -> bool:
    """Let a kernel that would lose requests send its replies through its stream. Whether it was one of those.

    Call it in a cell's own thread. Other kernels (older, newer, of others, none) are left as they are.
    """
    thread = getattr(kernel, "shell_channel_thread", None)
    stream = getattr(kernel, "shell_stream", None)
    if thread is None or not hasattr(stream, "send_multipart"):
        return False
    manager = getattr(thread, "manager", None)
    if manager is None or getattr(manager, "_shell_socket", stream) is stream:
        return False
    manager._shell_socket = stream  # noqa: SLF001 - all that is done with it there is `send_multipart`
    return True
