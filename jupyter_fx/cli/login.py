"""`jupyter fx login`, `whoami`."""

from __future__ import annotations

import getpass
import os
import sys

from traitlets import Bool

from jupyter_fx.cli.base import ClientCommand, Command, json_flag
from jupyter_fx.errors import UsageError

__all__ = ["LoginApp", "WhoamiApp"]


class LoginApp(Command):
    """jupyter fx login URL: keep a token for an fx hub."""

    name = "jupyter-fx-login"
    description = "Ask for a token for the fx hub at URL, try it, and keep it in a file that only you can read."
    arguments = ("URL",)
    forget = Bool(False, help="Forget the token instead.").tag(config=True)
    flags = {"forget": ({"LoginApp": {"forget": True}}, "Forget the token instead.")}

    def start(self) -> None:
        """Ask, try, keep."""
        from jupyter_fx.client import logins

        url = self.argument(0, os.environ.get("JUPYTER_FX_HUB", ""))
        if not url or url.startswith("unix:"):
            raise UsageError(
                "login needs the https:// address of an fx hub: a hub of your own on this machine needs no token"
            )
        if self.forget:
            print("forgotten" if logins.forget_token(url) else "there was none")
            return
        # Never an argument: command lines are seen by every user of the machine.
        token = getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()
        user = logins.sign_in(url, token.strip())
        print(f"you are {user} at {url}; the token is kept in {logins.token_file(url)}")


class WhoamiApp(ClientCommand):
    """jupyter fx whoami: who you are to the fx hub."""

    name = "jupyter-fx-whoami"
    description = "Say who you are to the fx hub, and which one that is."
    aliases = {"hub": "WhoamiApp.hub"}
    flags = json_flag("WhoamiApp")

    def start(self) -> None:
        """Ask the hub."""
        client = self.client
        try:
            found = client.request("whoami")
        finally:
            client.close(timeout=0.0)
        scopes = ", ".join(found.get("scopes") or []) or "everything"
        hub = f"fx hub {found.get('version', '')}, start {found.get('hub_boot')}"
        text = f"{found['user']} at {client.address} ({hub}; may do: {scopes})"
        self.say({**found, "address": client.address}, text)
