"""Real kernels and a real hub with its local endpoint, in directories of their own."""

from __future__ import annotations

import os
import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

DEADLINE = 60.0
sys.path.insert(0, str(Path(__file__).parents[1]))
HERE = ("JUPYTER_FX_RUNTIME_DIR", "JUPYTER_FX_STATE_DIR", "JUPYTER_FX_CONFIG_DIR")


@pytest.fixture(scope="package")
def stack() -> Iterator[Path]:
    """A hub and its local endpoint, found by whoever asks in this environment; ended with the tests."""
    from jupyter_fx import embedded

    top = Path(tempfile.mkdtemp(prefix="fxn"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(HERE):
            place = top / str(number)
            place.mkdir(mode=0o700)
            patch.setenv(name, str(place))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        embedded.find_hub()
        try:
            yield top
        finally:
            embedded.stop_endpoint()
            embedded.stop_hub()
    shutil.rmtree(top, ignore_errors=True)


@dataclass
class Ran:
    """What a cell showed. `outputs` are (seconds since its start, message type, content)."""

    outputs: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    elapsed: float = 0.0

    def stream(self, name: str = "stdout") -> str:
        return "".join(
            content["text"] for _, kind, content in self.outputs if kind == "stream" and content["name"] == name
        )

    @property
    def result(self) -> str:
        found = [content["data"]["text/plain"] for _, kind, content in self.outputs if kind == "execute_result"]
        return found[-1] if found else ""

    @property
    def error(self) -> dict[str, Any]:
        found = [content for _, kind, content in self.outputs if kind == "error"]
        return found[-1] if found else {}

    @property
    def traceback(self) -> str:
        import re

        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(self.error.get("traceback", [])))

    @property
    def shown(self) -> str:
        """All plain text of displays."""
        kinds = {"display_data", "update_display_data"}
        return "\n".join(c["data"].get("text/plain", "") for _, kind, c in self.outputs if kind in kinds)

    def when(self, text: str) -> float:
        """Seconds after which `text` was seen on stdout."""
        return next(at for at, kind, c in self.outputs if kind == "stream" and text in c["text"])


class Kernel:
    """A real ipykernel with the extension loaded."""

    def __init__(self, folder: Path, python: str = "", **env: str) -> None:
        self.manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(folder / "k"))
        if python and self.manager.kernel_spec is not None:
            self.manager.kernel_spec.argv[0] = python
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, **env})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=DEADLINE)
        self.others: list[tuple[str, dict[str, Any]]] = []
        self.run("%load_ext jupyter_fx")

    def run(self, code: str, while_running: Callable[[Ran], None] | None = None) -> Ran:
        """Run a cell to its end; `while_running` is called after each of its outputs."""
        ran, begun = Ran(), time.monotonic()
        asked = self.client.execute(code)
        while True:
            if time.monotonic() - begun > DEADLINE:
                raise AssertionError(f"the cell did not end: {code!r}; it showed {str(ran.outputs)[-3000:]}")
            try:
                message = self.client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                continue
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != asked:
                self.others.append((kind, content))
                continue
            if kind == "status" and content["execution_state"] == "idle":
                ran.elapsed = time.monotonic() - begun
                return ran
            if kind in {"stream", "error", "execute_result", "display_data", "update_display_data", "clear_output"}:
                ran.outputs.append((time.monotonic() - begun, kind, content))
                if while_running is not None:
                    while_running(ran)

    def remote(self, body: str, line: str = "", **how: Any) -> Ran:
        return self.run(f"%%remote {line}\n{body}", **how)

    def value(self, expression: str) -> str:
        return self.run(expression).result

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)
        self.manager.cleanup_resources()


@pytest.fixture(scope="module")
def kernels(stack: Path) -> Iterator[Callable[..., Kernel]]:
    """Start kernels that are ended with the module."""
    started: list[Kernel] = []

    def start(**env: str) -> Kernel:
        folder = Path(tempfile.mkdtemp(prefix="k", dir=stack))
        started.append(Kernel(folder, **env))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()


@pytest.fixture(scope="module")
def kernel(kernels: Callable[[], Kernel]) -> Kernel:
    """One notebook's kernel for a module."""
    return kernels()
