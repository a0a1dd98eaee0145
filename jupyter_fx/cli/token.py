"""`jupyter fx token new|list|revoke` and `jupyter fx endpoint code`: secrets that other machines show to the hub."""

from __future__ import annotations

import sys
import time

from traitlets import Float, Unicode

from jupyter_fx.cli.base import ClientCommand, Command, json_flag, table

__all__ = ["CodeApp", "TokenApp"]

DAY = 86400


class NewApp(ClientCommand):
    """jupyter fx token new: make a token and print it, this once."""

    name = "jupyter-fx-token-new"
    description = "Make a token for the fx hub and print it, this once. Keep it in a file that only you can read."
    scopes = Unicode("read,run", help="What it may: read, run, endpoints, admin; with commas.").tag(config=True)
    days = Float(90.0, help="Days that it is good for; 0: until it is revoked.").tag(config=True)
    note = Unicode("", help="What it is for.").tag(config=True)
    aliases = {"hub": "NewApp.hub", "scopes": "NewApp.scopes", "days": "NewApp.days", "note": "NewApp.note"}
    flags = json_flag("NewApp")

    def start(self) -> None:
        """Ask the hub."""
        scopes = [scope.strip() for scope in self.scopes.split(",") if scope.strip()]
        client = self.client
        try:
            made = client.request(
                "tokens.create", {"scopes": scopes, "lifetime": int(self.days * DAY), "note": self.note}
            )
        finally:
            client.close(timeout=0.0)
        if not self.as_json:
            sys.stderr.write(f"token {made['token_id']} ({', '.join(scopes)}) is good {_until(made['expires'])}:\n")
        self.say(made, made["token"])


class ListApp(ClientCommand):
    """jupyter fx token list: your tokens, without their secrets."""

    name = "jupyter-fx-token-list"
    description = "List your tokens at the fx hub, without their secrets."
    aliases = {"hub": "ListApp.hub"}
    flags = json_flag("ListApp")

    def start(self) -> None:
        """Ask the hub."""
        client = self.client
        try:
            found = client.request("tokens.list")
        finally:
            client.close(timeout=0.0)
        rows = [[t["token_id"], ",".join(t["scopes"]), _until(t["expires"]), t["note"]] for t in found]
        self.say(found, table(rows, ["token", "may", "is good", "note"]))


class RevokeApp(ClientCommand):
    """jupyter fx token revoke ID: make a token worthless."""

    name = "jupyter-fx-token-revoke"
    description = "Make a token worthless; links that came with it are closed."
    arguments = ("ID",)
    aliases = {"hub": "RevokeApp.hub"}

    def start(self) -> None:
        """Ask the hub."""
        wanted = self.argument(0)
        client = self.client
        try:
            client.request("tokens.revoke", {"token_id": wanted})
        finally:
            client.close(timeout=0.0)
        print(f"token {wanted} is revoked")


class CodeApp(ClientCommand):
    """Print a code, good once and for 15 minutes, with which an endpoint of this name enrols."""

    name = "jupyter-fx-endpoint-code"
    description = "Print a code, good once and for 15 minutes, with which an endpoint called NAME enrols."
    arguments = ("NAME",)
    aliases = {"hub": "CodeApp.hub"}

    def start(self) -> None:
        """Ask the hub."""
        name = self.argument(0)
        client = self.client
        try:
            made = client.request("endpoints.code", {"name": name})
        finally:
            client.close(timeout=0.0)
        sys.stderr.write(
            f"Give it within 15 minutes, where it shall run, to: jupyter fx endpoint configure {name} --hub ADDRESS\n"
        )
        print(made["code"])


class TokenApp(Command):
    """jupyter fx token COMMAND."""

    name = "jupyter-fx-token"
    description = "Make, list and revoke tokens: what programs on other machines show to the fx hub."
    subcommands = {
        "new": (NewApp, "make a token and print it, this once"),
        "list": (ListApp, "your tokens, without their secrets"),
        "revoke": (RevokeApp, "make a token worthless"),
    }

    def start(self) -> None:
        """Start the subcommand, or show what there is."""
        if self.subapp is None:
            self.print_help()
            sys.exit(2)
        super().start()


def _until(expires: float) -> str:
    return time.strftime("until %d %b %Y", time.localtime(expires)) if expires else "until it is revoked"
