"""jupyter-fx: the embedded hub and its `local` endpoint, found or started as for any notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# What a process of ours is called on its command line -> its role; the first that fits.
ROLES = (("zygote", "zygote"), ("worker", "zygote"), ("endpoint", "agent"), ("agent", "agent"), ("hub", "hub"))


class PeerUnderTest:
    """Durable on purpose: every task is on disk before it is acknowledged."""

    def setup(self, scratch: Path) -> None:
        """An executor on the local endpoint; hub and endpoint start with the first task, in directories of this run."""
        import jupyter_fx

        self.fx: Any = jupyter_fx
        self.executor: Any = jupyter_fx.Executor("local")
        self.remotes: dict[Callable[[Any], Any], Any] = {}

    def call(self, fn: Callable[[Any], Any], x: Any) -> Any:
        """Submit and wait."""
        return self.executor.submit(fn, x).result()

    def submit_many(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any]:
        """One TaskFuture each."""
        submit = self.executor.submit
        return [future.result() for future in [submit(fn, x) for x in xs]]

    def map(self, fn: Callable[[Any], Any], xs: Sequence[Any]) -> list[Any] | None:
        """`f.map(xs)`, which chooses its chunks itself."""
        if fn not in self.remotes:
            self.remotes[fn] = self.fx.remote(endpoint="local")(fn)
        return list(self.remotes[fn].map(xs))

    def role(self, command: str) -> str | None:
        """Hub, agent (with the manager in it) and zygote by their command lines."""
        return next((role for word, role in ROLES if word in command), None)

    def close(self) -> None:
        """Shut the executor down. The embedded hub outlives its clients by design: the runner ends it by its pid."""
        self.executor.shutdown()
