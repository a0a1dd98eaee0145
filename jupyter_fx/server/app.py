"""FxExtension: what runs inside of the Jupyter server.

It never delays the server nor breaks it: the hub is found or started on a thread, and a failure is a warning that names
the cure.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Unicode

from jupyter_fx import paths
from jupyter_fx.errors import FxError
from jupyter_fx.server.agents import Agents
from jupyter_fx.server.base import Parts
from jupyter_fx.server.choice import Choice
from jupyter_fx.server.feeds import Feeds
from jupyter_fx.server.handlers import handlers
from jupyter_fx.server.hublink import HubLink
from jupyter_fx.server.overview import Overview

__all__ = ["FxExtension"]

KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
_ENDED = {"shutdown": "shut down", "restart": "restarted"}


class FxExtension(ExtensionApp):
    """Finds or starts the fx hub, tells kernels where it is, and frees remote sessions when their kernels end."""

    name = "jupyter_fx"
    extension_url = "/jupyter-fx/status"
    load_other_extensions = True

    hub_url = Unicode("", help="Address of the fx hub: https://…, wss://… or unix:/path. Empty: the embedded hub.").tag(
        config=True
    )
    token_file = Unicode(
        "", help="File (0600) that holds the token for the fx hub. A token is never given itself."
    ).tag(config=True)
    start_hub = Bool(
        True, help="Find or start the hub when the server starts, so that the first cell need not wait."
    ).tag(config=True)

    def initialize_settings(self) -> None:
        """Tell kernels, listen to their ends, look for the hub on a thread."""
        self._tell_kernels()
        self._choice = Choice()
        self._link = HubLink(where=lambda: self._choice.where)
        assert self.serverapp is not None
        assert self.serverapp.event_logger is not None
        self.serverapp.event_logger.add_listener(schema_id=KERNEL_ACTIONS, listener=self._kernel_acted)
        if self.start_hub:
            threading.Thread(target=self._find_hub, name="jupyter-fx-start", daemon=True).start()

    def initialize_handlers(self) -> None:
        """The REST routes."""
        agents = Agents()
        feeds, overview = Feeds(self._link), Overview(self._link, agents=agents.here)
        feeds.on_tick.append(overview.tick)
        self.handlers.extend(handlers(Parts(self._link, feeds, overview, agents, self._choice)))

    # --- the hub ---

    def _tell_kernels(self) -> None:
        """Kernels inherit our environment. The embedded hub is told by its directory: a kernel can start it again."""
        if self.hub_url:
            os.environ["JUPYTER_FX_HUB"] = self.hub_url
        if self.token_file:
            os.environ["JUPYTER_FX_TOKEN_FILE"] = self.token_file
        if not os.environ.get("JUPYTER_FX_HUB"):
            try:
                os.environ["JUPYTER_FX_RUNTIME_DIR"] = str(paths.runtime_dir())
            except (FxError, OSError) as error:
                self.log.warning("jupyter-fx: %s", error)

    def _find_hub(self) -> None:
        """Say in the log how it went; on a thread of its own."""
        try:
            client = self._link.begin().result()
        except (FxError, OSError) as error:
            self.log.warning(
                "jupyter-fx: remote cells have no hub yet: %s. `jupyter fx doctor` looks for the cause.", error
            )
        else:
            self.log.info("jupyter-fx: the hub is at %s", client.address)

    # --- kernels ---

    async def _kernel_acted(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        """A kernel that ends or begins anew leaves its remote sessions: their workers are freed."""
        del logger, schema_id  # jupyter_events wants these three names
        if data.get("action") in _ENDED and data.get("status") != "error" and data.get("kernel_id"):
            await self._release(str(data["kernel_id"]), f"its kernel was {_ENDED[data['action']]}")

    async def _release(self, kernel_id: str, why: str) -> None:
        """Close the sessions that the kernel has now; one that it opens after its restart is not among them."""
        if not self._link.connected:
            return
        try:
            sessions = await self._link.ask("sessions.list", {"kernel_id": kernel_id})
            for session in sessions:
                if session.get("state") not in {"CLOSED", "LOST"}:
                    # A cell that runs there goes on to its end: its result is found again by its id or name.
                    asked = {"session_id": session["session_id"], "reason": why, "when_idle": True}
                    await self._link.ask("sessions.close", asked)
        except FxError as error:
            self.log.warning("jupyter-fx: the remote sessions of kernel %s could not be closed: %s", kernel_id, error)

    async def stop_extension(self) -> None:
        """The server ends and takes its kernels along: free their sessions, then leave the hub to others."""
        if self._link.client is None or self.serverapp is None:
            return
        ids = list(self.serverapp.kernel_manager.list_kernel_ids())
        try:
            async with asyncio.timeout(5):
                await asyncio.gather(*(self._release(kernel_id, "its Jupyter server ended") for kernel_id in ids))
                await asyncio.to_thread(self._link.close)
        except TimeoutError:
            self.log.warning("jupyter-fx: the fx hub did not answer in time; idle sessions end by themselves")
