"""`jupyter fx …`: the root of the command tree. A command's module is imported when it is asked for."""

from __future__ import annotations

import sys

from jupyter_fx.cli.base import Command, run

__all__ = ["FxApp", "main"]


class FxApp(Command):
    """jupyter fx COMMAND."""

    name = "jupyter-fx"
    description = "Run cells and functions of your notebook elsewhere: live, durable, warm."
    examples = """
    jupyter fx up                # an fx hub and a local endpoint, in the foreground
    jupyter fx tasks             # what runs where
    jupyter fx logs 1a2b3c4d     # what a task printed
    jupyter fx doctor            # is everything all right here?
    """
    subcommands = {
        "up": ("jupyter_fx.cli.up.UpApp", "run an fx hub and a local endpoint in the foreground"),
        "hub": ("jupyter_fx.cli.hub.HubApp", "run and manage an fx hub"),
        "endpoint": ("jupyter_fx.cli.endpoint.EndpointApp", "run and manage endpoints: places that run code"),
        "tasks": ("jupyter_fx.cli.tasks.TasksApp", "list tasks"),
        "logs": ("jupyter_fx.cli.tasks.LogsApp", "print what a task printed"),
        "cancel": ("jupyter_fx.cli.tasks.CancelApp", "cancel tasks"),
        "login": ("jupyter_fx.cli.login.LoginApp", "keep a token for an fx hub"),
        "token": ("jupyter_fx.cli.token.TokenApp", "make, list and revoke tokens"),
        "whoami": ("jupyter_fx.cli.login.WhoamiApp", "say who you are to the fx hub"),
        "doctor": ("jupyter_fx.cli.doctor.DoctorApp", "check this installation and say how to cure what is wrong"),
        "demo": ("jupyter_fx.cli.demo.DemoApp", "execute the quickstart notebook and say what ran where"),
    }

    def start(self) -> None:
        """Start the subcommand, or show what there is."""
        if self.subapp is None:
            self.print_help()
            sys.exit(2)
        super().start()


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    run(FxApp, argv)


if __name__ == "__main__":
    main()
