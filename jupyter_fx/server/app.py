"""FxExtension: what runs inside of the Jupyter server.

It never delays the server nor breaks it: the hub is found or started on a thread, and a failure is a warning that names
the cure.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Unicode

from jupyter_fx import paths
from jupyter_fx.client import default
from jupyter_fx.errors import FxError, HubUnavailable
from jupyter_fx.server.handlers import handlers

if TYPE_CHECKING:
    from jupyter_fx.client import HubClient

__all__ = ["FxExtension"]

KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
_TRY_AGAIN = 15.0
"""Seconds for which a hub that could not be reached is not looked for again: a panel asks every few seconds."""
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
        self._client: HubClient | None = None
        self._problem = ""
        self._not_before = 0.0
        self._connecting = threading.Lock()
        self._tell_kernels()
        assert self.serverapp is not None
        assert self.serverapp.event_logger is not None
        self.serverapp.event_logger.add_listener(schema_id=KERNEL_ACTIONS, listener=self._kernel_acted)
        if self.start_hub:
            threading.Thread(target=self._find_hub, name="jupyter-fx-start", daemon=True).start()

    def initialize_handlers(self) -> None:
        """The REST routes."""
        self.handlers.extend(handlers(self.ask, self.status))

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
        try:
            client = self._connected()
        except (FxError, OSError) as error:
            self.log.warning(
                "jupyter-fx: remote cells have no hub yet: %s. `jupyter fx doctor` looks for the cause.", error
            )
        else:
            self.log.info("jupyter-fx: the hub is at %s", client.address)

    def _connected(self) -> HubClient:
        """The client, made at the first call. May wait: never on the server's own thread."""
        with self._connecting:
            if self._client is None or not self._client.usable:
                if time.monotonic() < self._not_before:
                    raise HubUnavailable(self._problem)
                if default.finder is None:
                    from jupyter_fx.embedded import find_hub

                    default.finder = find_hub
                try:
                    self._client = default.connect()
                except (FxError, OSError) as error:
                    self._problem, self._not_before = str(error), time.monotonic() + _TRY_AGAIN
                    raise
                self._problem = ""
            return self._client

    async def ask(self, op: str, args: dict[str, Any]) -> Any:
        """Ask the hub on a thread. Raises FxError."""

        def request() -> Any:
            try:
                return self._connected().request(op, args)
            except OSError as error:
                raise HubUnavailable(f"the fx hub cannot be reached: {error}") from error

        return await asyncio.to_thread(request)

    def status(self) -> dict[str, Any]:
        """{connected, address, user, problem}: how we stand to the hub, without asking it."""
        client = self._client
        return {
            "connected": client is not None and client.connected,
            "address": client.address if client is not None else "",
            "user": client.user if client is not None and client.connected else "",
            "problem": self._problem,
        }

    # --- kernels ---

    async def _kernel_acted(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        """A kernel that ends or begins anew leaves its remote sessions: their workers are freed."""
        del logger, schema_id  # jupyter_events wants these three names
        if data.get("action") in _ENDED and data.get("status") != "error" and data.get("kernel_id"):
            await self._release(str(data["kernel_id"]), f"its kernel was {_ENDED[data['action']]}")

    async def _release(self, kernel_id: str, why: str) -> None:
        """Close the sessions that the kernel has now; one that it opens after its restart is not among them."""
        if self._client is None or not self._client.connected:
            return
        try:
            sessions = await self.ask("sessions.list", {"kernel_id": kernel_id})
            for session in sessions:
                if session.get("state") not in {"CLOSED", "LOST"}:
                    await self.ask("sessions.close", {"session_id": session["session_id"], "reason": why})
        except FxError as error:
            self.log.warning("jupyter-fx: the remote sessions of kernel %s could not be closed: %s", kernel_id, error)

    async def stop_extension(self) -> None:
        """The server ends and takes its kernels along: free their sessions, then leave the hub to others."""
        if self._client is None or self.serverapp is None:
            return
        ids = list(self.serverapp.kernel_manager.list_kernel_ids())
        try:
            async with asyncio.timeout(5):
                await asyncio.gather(*(self._release(kernel_id, "its Jupyter server ended") for kernel_id in ids))
                await asyncio.to_thread(default.disconnect)
        except TimeoutError:
            self.log.warning("jupyter-fx: the fx hub did not answer in time; idle sessions end by themselves")
