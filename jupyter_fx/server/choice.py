"""Which fx hub this server and the kernels that it starts use, and how another one is chosen in the panel.

The address is in the environment, where kernels inherit it, and in a file, so that it is still so after a restart of
the server; what its administrator configured goes first then. The token is where `jupyter fx login` keeps it and is
told to nobody.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from jupyter_fx import paths
from jupyter_fx.client import logins
from jupyter_fx.errors import InfrastructureError, UsageError

__all__ = ["Choice"]

_OURS: Final = ("JUPYTER_FX_HUB", "JUPYTER_FX_TOKEN", "JUPYTER_FX_TOKEN_FILE")


@contextlib.contextmanager
def _kept_in(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"which hub is used cannot be kept in {file}: {error.strerror}; make room or give write permission there"
        ) from error


class Choice:
    """Used before the server serves, then on one thread."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._configured = {name: environ[name] for name in _OURS if name in environ}
        self.chosen = False
        """Whether the hub is one that was chosen in the panel."""
        if "JUPYTER_FX_HUB" not in self._configured and (address := self._kept()):
            self._use(address)

    def sign_in(self, address: str, token: str) -> str:
        """Try a hub, with a token or the one that was kept for it; who we are there. From now on it is the one.

        UsageError for what is no address; HubUnavailable or AuthError, and everything as it was, when it does not take
        us; InfrastructureError, the same, when the choice cannot be kept.
        """
        address = address.strip()
        parts = urlsplit(address)
        if parts.scheme not in {"https", "http", "wss", "ws"} or not parts.hostname:
            raise UsageError("the address of an fx hub begins with https:// (or http:// on your own machine)")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError("the address of an fx hub holds no user, password or token: the token has its own field")
        file = self._file()
        with _kept_in(file):
            user = logins.sign_in(address, token.strip() or None)
            file.write_text(address + "\n", encoding="utf-8")
        self._use(address)
        return user

    def leave(self, *, forget: bool) -> None:
        """Go back to the hub that was configured, else to the one of this machine. `forget`: the token, too."""
        address = self._environ.get("JUPYTER_FX_HUB", "")
        file = self._file()
        with _kept_in(file):
            if forget and self.chosen and address:
                logins.forget_token(address)
            file.unlink(missing_ok=True)
        self.chosen = False
        for name in _OURS:
            self._environ.pop(name, None)
        self._environ.update(self._configured)

    @property
    def where(self) -> str:
        """ "chosen", "configured", or "own": the hub of this machine."""
        return "chosen" if self.chosen else "configured" if self._environ.get("JUPYTER_FX_HUB") else "own"

    def _use(self, address: str) -> None:
        # What the environment holds is for the hub that it named.
        for name in _OURS:
            self._environ.pop(name, None)
        self._environ["JUPYTER_FX_HUB"] = address
        self.chosen = True

    def _file(self) -> Path:
        return paths.config_dir() / "server-hub"

    def _kept(self) -> str:
        try:
            return self._file().read_text(encoding="utf-8").strip()
        except (OSError, ValueError, UsageError):
            return ""
