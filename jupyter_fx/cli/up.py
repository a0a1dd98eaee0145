"""`jupyter fx up`: an fx hub and a local endpoint in the foreground."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from typing import Any

from traitlets import Bool

from jupyter_fx.cli.base import ClientCommand
from jupyter_fx.errors import FxError

__all__ = ["UpApp"]


class UpApp(ClientCommand):
    """jupyter fx up: start hub and endpoint if need be, show what they do, stop them with Ctrl-C."""

    name = "jupyter-fx-up"
    description = (
        "Run an fx hub and the endpoint `local` and show what they do. Ctrl-C stops what this command started; "
        "tasks that wait stay on the hub's disk. Notebooks find this hub by themselves."
    )
    down = Bool(False, help="Stop the running hub and endpoint instead.").tag(config=True)
    detach = Bool(False, help="Start them and return.").tag(config=True)
    flags = {
        "down": ({"UpApp": {"down": True}}, "Stop the running hub and endpoint instead."),
        "detach": ({"UpApp": {"detach": True}}, "Start them and return."),
    }

    def start(self) -> None:
        """Run until Ctrl-C."""
        from jupyter_fx import embedded

        if self.down:
            stopped = [
                name for name, stop in (("endpoint", embedded.stop_endpoint), ("hub", embedded.stop_hub)) if stop()
            ]
            print(f"stopped: {' and '.join(stopped)}" if stopped else "nothing was running")
            return
        ours = embedded.read_hub_file() is None
        hub = embedded.ensure_hub()
        embedded.ensure_endpoint(hub)
        print(f"fx hub {'started' if ours else 'found'}: {hub.address}  (process {hub.pid}, {hub.url})")
        print(
            "notebooks on this machine find it by themselves; Ctrl-C " + ("stops it" if ours else "leaves it running")
        )
        if self.detach:
            return
        # Both end it the same way, also where a shell has told its background jobs to ignore SIGINT.
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.default_int_handler)
        try:
            self._watch(hub)
        except KeyboardInterrupt:
            sys.stdout.write("\n")
        if ours:
            embedded.stop_endpoint()
            embedded.stop_hub()
            print("stopped; what waits is on disk and goes on with the next start")

    def _watch(self, hub: Any) -> None:
        from jupyter_fx import embedded
        from jupyter_fx.client.hub import HubClient

        client = HubClient(hub.address, token=hub.token, revive=lambda: embedded.ensure_endpoint(embedded.ensure_hub()))
        wide = shutil.get_terminal_size().columns - 1
        last = ""
        try:
            while True:
                try:
                    line = _status(client.request("endpoints.list", timeout=5.0))
                    embedded.ensure_endpoint(hub)
                except FxError as error:
                    line = str(error)
                if sys.stdout.isatty():
                    sys.stdout.write("\r" + line[:wide].ljust(wide))
                    sys.stdout.flush()
                elif line != last:
                    print(line, flush=True)
                last = line
                time.sleep(1.0)
        finally:
            client.close(timeout=0.0)


def _status(endpoints: list[dict[str, Any]]) -> str:
    parts = []
    for one in endpoints:
        info = one.get("info") or {}
        workers = info.get("workers")
        size = f", {workers} workers" if isinstance(workers, int) else ""
        parts.append(
            f"{one['name']}: {str(one['state']).lower()}{size}, "
            f"{one.get('running', 0)} running, {one.get('queued', 0)} queued"
            + (f" ({one['why']})" if one.get("why") else "")
        )
    return " · ".join(parts) or "no endpoint yet"
