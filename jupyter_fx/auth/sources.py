"""Where a client's token comes from.

A source is asked again at each connect, because tokens are renewed. A token is never logged, put into a URL or an
argument of a command; a file that holds one must be its owner's alone.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jupyter_fx.errors import AuthError, ConfigError

__all__ = [
    "EnvironmentToken",
    "FileToken",
    "HubFileToken",
    "JupyterHubToken",
    "TokenSource",
    "find_token",
    "read_secret",
    "sources_for",
]


class TokenSource(Protocol):
    """One place where a token may be."""

    name: str
    """For people: where it looked."""

    def token(self) -> str:
        """The token, or "" if there is none here; ConfigError when what is there cannot be used."""


class EnvironmentToken:
    """A token in an environment variable."""

    def __init__(self, variable: str = "JUPYTER_FX_TOKEN", environ: Mapping[str, str] | None = None) -> None:
        self.name = f"${variable}"
        self._variable, self._environ = variable, os.environ if environ is None else environ

    def token(self) -> str:
        """Its value."""
        return self._environ.get(self._variable, "").strip()


class FileToken:
    """A token alone in a file, which only its owner may read; a missing file is no token."""

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self._path = Path(path)

    def token(self) -> str:
        """The file's text."""
        return read_secret(self._path).strip()


class HubFileToken:
    """The token of the embedded hub, in the ``hub.json`` that it writes."""

    def __init__(self, path: str | Path) -> None:
        self.name = str(path)
        self._path = Path(path)

    def token(self) -> str:
        """Its `token`; "" while no hub runs."""
        text = read_secret(self._path)
        if not text:
            return ""
        try:
            found = json.loads(text)["token"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self._path} is no hub.json: stop the fx hub and remove the file") from error
        return str(found)


class JupyterHubToken(EnvironmentToken):
    """The token that JupyterHub gives each server: it names the user, and what it may do is in its scopes."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        super().__init__("JUPYTERHUB_API_TOKEN", environ)


def sources_for(
    address: str, *, hub_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> list[TokenSource]:
    """Where to look for a token for the hub at `address`, in order.

    The token of JupyterHub is a key to the user's account: it goes only to the hub that the same environment names
    (JUPYTER_FX_HUB), never to an address that somebody typed. `hub_file`: the embedded hub's hub.json, if it is that.
    """
    environ = os.environ if environ is None else environ
    found: list[TokenSource] = [EnvironmentToken(environ=environ)]
    if path := environ.get("JUPYTER_FX_TOKEN_FILE"):
        found.append(FileToken(path))
    if hub_file is not None:
        found.append(HubFileToken(hub_file))
    elif address and address == environ.get("JUPYTER_FX_HUB"):
        found.append(JupyterHubToken(environ))
    return found


def find_token(sources: Sequence[TokenSource]) -> str:
    """The first token that a source has; AuthError names where it was looked for."""
    for source in sources:
        if token := source.token():
            return token
    raise AuthError(f"no token was found in {', '.join(source.name for source in sources)}: see `jupyter fx login`")


def read_secret(path: Path) -> str:
    """The text of a file that only its owner may read ("" if it is missing), or ConfigError saying what is wrong."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_size > 65536:
            raise ConfigError(f"{path} does not look like a file with a token")
        if sys.platform != "win32":
            if info.st_uid != os.getuid():
                raise ConfigError(f"{path} belongs to another user: a token must be in a file of your own")
            if info.st_mode & 0o077:
                raise ConfigError(f"{path} can be read by others: chmod 600 it")
        return file.read()
