"""Dask as an engine: a scheduler that is there, or a cluster of this machine's own for trials."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.engines.base import Done, Health
from jupyter_fx.errors import InfrastructureError, UsageError

__all__ = ["INSTALL", "LOCAL", "DaskEngine"]

log = logging.getLogger(__name__)

INSTALL: Final = "c.Endpoint.engine = 'dask' needs Dask, which is not installed here: pip install 'jupyter-fx[dask]'"
LOCAL: Final = "local"
CONNECT: Final = 15.0
"""Seconds that a scheduler has to answer."""


class DaskEngine:
    """See `Engine`. `address`: of the scheduler, or its scheduler file, or "local": a LocalCluster of `workers`."""

    def __init__(self, address: str, workers: int, folder: Path) -> None:
        self._address = address
        self._workers = workers or os.cpu_count() or 1
        self._folder = folder
        self._client: Any = None
        self._cluster: Any = None

    def start(self) -> None:
        """Connect; start the cluster if it is ours."""
        try:
            import dask
            import distributed
        except ImportError:
            raise UsageError(INSTALL) from None
        where: dict[str, Any]
        if self._address == LOCAL:
            dask.config.set({"temporary-directory": str(self._folder)})
            self._cluster = self._own_cluster()
            where = {"address": self._cluster}
        elif "://" in self._address or not self._address.endswith(".json"):
            where = {"address": self._address}
        else:
            path = Path(self._address).expanduser()
            if not path.is_file():
                raise UsageError(f"c.Endpoint.engine_address: there is no scheduler file {path}")
            where = {"scheduler_file": str(path)}
        try:
            self._client = distributed.Client(**where, timeout=CONNECT, set_as_default=False, name="jupyter-fx")
        except (OSError, ValueError) as error:
            self.close()
            raise InfrastructureError(f"no Dask scheduler answers at {self._address}: {error}") from error
        log.info("Dask: %s", self._client.scheduler.address)

    def _own_cluster(self) -> Any:
        """A cluster on this machine that only we can talk to: whoever reaches a scheduler can run code as its user."""
        import distributed

        try:
            security = distributed.Security.temporary()
        except ImportError:
            raise UsageError(INSTALL) from None
        return distributed.LocalCluster(
            n_workers=self._workers,
            threads_per_worker=1,
            host="tls://127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",
        )

    def submit(self, name: str, job: tuple[str, dict[str, Any]], done: Done) -> None:
        """See `Engine`."""
        future = self._client.submit(eval, *job, key=f"jupyter-fx-{name}", pure=False)
        future.add_done_callback(lambda ended: _told(ended, done))

    def attests(self, error: BaseException | None) -> bool:
        """See `Engine`. A scheduler knows no more than that a connection is gone."""
        return False

    def dead(self) -> str:
        """See `Engine`."""
        gone = self._client.status not in {"running", "connecting"}
        return f"the Dask scheduler at {self._address} is gone" if gone else ""

    def health(self) -> Health:
        """See `Engine`."""
        linked = self._client.status == "running"
        workers = self._client.scheduler_info(n_workers=-1).get("workers", {}) if linked else {}
        threads = sum(int(one.get("nthreads", 1)) for one in workers.values())
        why = "" if threads else f"the Dask scheduler at {self._address} has no workers"
        return Health(why, max(1, threads), {"engine": "dask", "workers": threads, "scheduler": self._address})

    def close(self) -> None:
        """See `Engine`."""
        for one in (self._client, self._cluster):
            if one is not None:
                with contextlib.suppress(Exception):  # whatever its end raises, we end, too
                    one.close()
        self._client = self._cluster = None


def _told(future: Any, done: Done) -> None:
    try:
        done(future.result(), None)
    except BaseException as error:  # noqa: BLE001 - of the engine, or a cancellation by it
        done(None, error)
