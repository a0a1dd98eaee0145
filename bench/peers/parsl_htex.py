"""Parsl's HighThroughputExecutor through python apps, the way its users call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.peers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class PeerUnderTest:
    """One block on this machine, loopback, no encryption (its default)."""

    def setup(self, scratch: Path) -> None:
        """Load a data flow kernel and wait for nothing: blocks come up by themselves."""
        import parsl
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        self.parsl = parsl
        provider = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1)
        executor = HighThroughputExecutor(
            label="htex", address="127.0.0.1", max_workers_per_node=WORKERS, provider=provider, cores_per_worker=1e-6
        )
        self.kernel = parsl.load(parsl.Config(executors=[executor], run_dir=str(scratch / "parsl"), strategy="none"))
        self.apps: dict[Callable[[Any], Any], Callable[[Any], Any]] = {}

    def app(self, fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The python app of ``fn``, made once."""
        if fn not in self.apps:
            self.apps[fn] = self.parsl.python_app(fn)
        return self.apps[fn]

    def call(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """Call the app and wait."""
        return self.app(fn)(x).result()

    def submit_many(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any]:
        """One app future each."""
        app = self.app(fn)
        return [future.result() for future in [app(x) for x in xs]]

    def map(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any] | None:
        """Parsl has none."""
        return None

    def role(self, command: str) -> str | None:
        """Interchange and manager by their programs."""
        if "interchange" in command:
            return "interchange"
        return "manager" if "process_worker_pool" in command else None

    def close(self) -> None:
        """Clean up the kernel and forget it."""
        self.kernel.cleanup()
        self.parsl.clear()
