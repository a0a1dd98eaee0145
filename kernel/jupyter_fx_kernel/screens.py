"""Where what a task shows is put: the cell that runs now, or one cell whatever else runs.

ipykernel sends what a thread prints to the cell that is newest at that moment, and each of its versions has another way
(or none) to tell a thread where it belongs. So the output of a background cell does not go through `sys.stdout` at
all: it is sent as the messages that the front end knows, each naming the cell it belongs to. That holds for every
ipykernel since 6, and while other cells replace `sys.stdout` (`%%capture`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["PinnedShell", "is_rich", "message_of", "pinned", "show_error", "streams_of"]

log = logging.getLogger(__name__)

_SEND_AT = 64 * 1024
"""Characters after which text is sent although nobody said flush."""


def is_rich(shell: Any) -> bool:
    """Whether the front end can update a display in place: a kernel's can, a terminal cannot."""
    return getattr(shell, "kernel", None) is not None


def pinned(shell: Any) -> Any:
    """`shell`, as the cell that runs now sees it: what is shown through it lands under that cell, from any thread.

    In a terminal there are no cells to land under: `shell` itself.
    """
    publisher = shell.display_pub
    kernel = getattr(shell, "kernel", None)
    if kernel is None or not all(hasattr(publisher, name) for name in ("session", "pub_socket", "topic")):
        return shell
    return PinnedShell(shell, _parent_of(shell, kernel))


def _parent_of(shell: Any, kernel: Any) -> Any:
    parent = shell.get_parent() if hasattr(shell, "get_parent") else getattr(shell, "parent_header", None)
    return parent or kernel.get_parent("shell")


def message_of(shell: Any) -> str:
    """The id of the message by which the front end had the cell run that runs now; of a shell with a kernel."""
    return str((_parent_of(shell, shell.kernel).get("header") or {}).get("msg_id") or "")


class _Stream:
    """stdout or stderr of one cell. Used by one thread."""

    def __init__(self, shell: PinnedShell, name: str) -> None:
        self._shell, self._name = shell, name
        self._parts: list[str] = []
        self._size = 0

    def write(self, text: str) -> int:
        """Keep the text until `flush`, as long as it is not too much."""
        self._parts.append(text)
        self._size += len(text)
        if self._size >= _SEND_AT:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what was written."""
        text, self._parts, self._size = "".join(self._parts), [], 0
        if text:
            self._shell.send("stream", {"name": self._name, "text": text}, f"stream.{self._name}")


class _Publisher:
    """Displays of one cell."""

    def __init__(self, shell: PinnedShell) -> None:
        self._shell = shell

    def publish(
        self,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **_more: Any,
    ) -> None:
        """Show a display, or update one."""
        for stream in self._shell.fx_streams:
            stream.flush()
        content = {"data": dict(data), "metadata": dict(metadata or {}), "transient": dict(transient or {})}
        self._shell.send("update_display_data" if update else "display_data", content)

    def clear_output(self, wait: bool = False) -> None:
        """Clear what stands under the cell."""
        for stream in self._shell.fx_streams:
            stream.flush()
        self._shell.send("clear_output", {"wait": wait})


class PinnedShell:
    """A shell of which everything is another's but where its output goes."""

    def __init__(self, shell: Any, parent: Any) -> None:
        self._fx_shell, self._fx_parent = shell, parent
        # The shell's own, for a cell that captures its output puts another in its place for as long as it runs.
        self._fx_publisher = shell.display_pub
        self.fx_streams = (_Stream(self, "stdout"), _Stream(self, "stderr"))
        self.display_pub = _Publisher(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fx_shell, name)

    def send(self, kind: str, content: dict[str, Any], topic: str = "") -> None:
        """Send an output message that belongs to the cell."""
        publisher = self._fx_publisher
        name = topic.encode() if topic else publisher.topic
        try:
            publisher.session.send(publisher.pub_socket, kind, _clean(content), parent=self._fx_parent, ident=name)
        except Exception as error:  # noqa: BLE001 - the kernel is ending and its sockets are closed: the fx hub keeps it
            log.debug("output of a background cell was not shown: %s", error)


def _clean(content: dict[str, Any]) -> dict[str, Any]:
    from ipykernel.jsonutil import encode_images, json_clean

    if "data" in content:
        content["data"] = encode_images(content["data"])
    cleaned: dict[str, Any] = json_clean(content)
    return cleaned


def streams_of(shell: Any) -> tuple[Any, Any]:
    """(stdout, stderr) as `shell` has them."""
    found: tuple[Any, Any] = getattr(shell, "fx_streams", None) or (sys.stdout, sys.stderr)
    return found


def show_error(shell: Any, error: BaseException, lines: list[str]) -> None:
    """Show an error that nobody is there to be raised for: in a notebook as the error of its cell."""
    if isinstance(shell, PinnedShell):
        content = {"ename": type(error).__name__, "evalue": str(error), "traceback": lines}
        shell.send("error", content)
        return
    print("\n".join(lines), file=sys.stderr, flush=True)
