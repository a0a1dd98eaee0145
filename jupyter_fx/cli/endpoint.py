"""`jupyter fx endpoint …`: configure, start, stop, restart, keep, list, status, logs, delete, run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from traitlets import Bool, Int, List, Unicode

from jupyter_fx.cli import endpoint_ssh
from jupyter_fx.cli.base import Command
from jupyter_fx.cli.token import CodeApp
from jupyter_fx.endpoint import launch
from jupyter_fx.endpoint.ssh import record
from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.ids import check_name

__all__ = ["EndpointApp"]


class _Command(Command):
    """A command about one endpoint."""

    arguments: tuple[str, ...] = ("NAME",)

    def start(self) -> None:
        """Do it; say in one line what is wrong with it."""
        super().start()
        try:
            self.run()
        except FxError as error:
            sys.stderr.write(f"jupyter fx: {error}\n")
            self.exit(1)

    def run(self) -> None:
        """What the command does."""
        raise NotImplementedError

    @property
    def endpoint(self) -> str:
        """The name that was given."""
        if len(self.extra_args) != 1:
            raise UsageError(f"say which endpoint: {self.name} NAME (there are: {', '.join(launch.names()) or 'none'})")
        name: str = self.extra_args[0]
        return name


class ConfigureApp(_Command):
    """Enrol an endpoint with a hub and write its configuration file.

    With --scheduler its nodes are batch jobs: the scheduler is asked what there is, and the file says it.
    Without --hub it is your own hub on this machine, which needs no code. For another one the one-use code is read from
    --code-file, else from the environment (JUPYTER_FX_CODE), else from standard input.
    """

    name = "jupyter fx endpoint configure"
    description = __doc__
    hub = Unicode("", help="Address of the fx hub; empty: JUPYTER_FX_HUB.").tag(config=True)
    code_file = Unicode("", help="A file that holds the enrolment code.").tag(config=True)
    scheduler = Unicode(
        "", help="The batch system that provides nodes: slurm, torque, pbspro, lsf, gridengine, kubernetes; or local."
    ).tag(config=True)
    partition = Unicode("", help="The partition or queue for its jobs; empty: the default.").tag(config=True)
    account = Unicode("", help="The account that its jobs are charged to; empty: the default.").tag(config=True)
    settings_only = Bool(False, help="Write the settings, and enrol later.").tag(config=True)
    aliases = {
        "hub": "ConfigureApp.hub",
        "code-file": "ConfigureApp.code_file",
        "scheduler": "ConfigureApp.scheduler",
        "partition": "ConfigureApp.partition",
        "account": "ConfigureApp.account",
    }
    flags = {"settings-only": ({"ConfigureApp": {"settings_only": True}}, "Write the settings, and enrol later.")}

    def run(self) -> None:
        """Write the file, enrol."""
        from jupyter_fx.endpoint import configfile, scheduler, setup
        from jupyter_fx.endpoint.settings import config_path, load_settings

        name = check_name(self.endpoint, "name of an endpoint")
        path = config_path(name)
        if path.exists() and self.scheduler:
            raise UsageError(f"{path} is there already: change it, or remove it to have it written anew")
        if not path.exists():
            blocks, told = {}, []  # type: tuple[dict[str, Any], list[str]]
            if self.scheduler:
                chosen = {"partition": self.partition, "account": self.account}
                blocks, told = scheduler.suggested(self.scheduler, chosen)
            configfile.make(path, name, {"Blocks": blocks}, told)
        if self.settings_only:
            print(f"Settings of endpoint {name}: {path}")
            return
        if setup.enrolled(name):
            print(f"Endpoint {name} is enrolled already; its settings are in {path}")
            return
        hub = self.hub or load_settings(path).hub or os.environ.get("JUPYTER_FX_HUB", "")
        hub, code = (hub, self._code()) if hub else setup.own_hub(name)
        setup.enrol(name, hub, code)
        print(f"Endpoint {name} is enrolled with {hub}. Settings: {path}. Start it: jupyter fx endpoint start {name}")

    def _code(self) -> str:
        if self.code_file:
            return Path(self.code_file).read_text().strip()
        if code := os.environ.get("JUPYTER_FX_CODE", "").strip():
            return code
        if sys.stdin.isatty():
            import getpass

            return getpass.getpass("Enrolment code: ").strip()
        return sys.stdin.readline().strip()


class AddApp(_Command):
    """Add an endpoint on another host that you reach by ssh: install there, enrol with this machine's hub, link.

    It uses your own ssh, with its configuration, keys and second factors. The agent there goes on when the connection
    is gone, and what it has is brought when it is back. With --scheduler its nodes are batch jobs: the scheduler there
    is asked what there is, and the settings there say it.
    """

    name = "jupyter fx endpoint add"
    description = __doc__
    ssh = Unicode("", help="The host, as your ssh knows it: a Host of its configuration, or USER@HOST.").tag(
        config=True
    )
    python = Unicode("", help="The Python (3.11 or newer) there; empty: the newest on its PATH.").tag(config=True)
    wheels = Unicode("", help="A directory of wheels to install from, for hosts without a network.").tag(config=True)
    ssh_options = List(Unicode(), help="Further arguments of ssh, say -p 2222.").tag(config=True)
    scheduler = ConfigureApp.scheduler
    partition = ConfigureApp.partition
    account = ConfigureApp.account
    aliases = {
        "ssh": "AddApp.ssh",
        "python": "AddApp.python",
        "wheels": "AddApp.wheels",
        "ssh-option": "AddApp.ssh_options",
        "scheduler": "AddApp.scheduler",
        "partition": "AddApp.partition",
        "account": "AddApp.account",
    }

    def run(self) -> None:
        """Do it."""
        if not self.ssh:
            raise UsageError(f"say where: {self.name} NAME --ssh HOST")
        if not self.scheduler and (self.partition or self.account):
            raise UsageError("--partition and --account are a scheduler's: say which one with --scheduler")
        nodes = {"scheduler": self.scheduler, "partition": self.partition, "account": self.account}
        endpoint_ssh.add(
            self.endpoint,
            self.ssh,
            python=self.python,
            options=list(self.ssh_options),
            wheels=self.wheels,
            nodes={name: value for name, value in nodes.items() if value},
        )


class StartApp(_Command):
    """Start an endpoint's agent, detached. Does nothing when it runs already."""

    name = "jupyter fx endpoint start"
    description = __doc__
    unless_stopped = Bool(False, help="Nor when it was stopped by its owner: for cron and its like.").tag(config=True)
    flags = {"unless-stopped": ({"StartApp": {"unless_stopped": True}}, "Nor when its owner stopped it: for cron.")}

    def run(self) -> None:
        """Start it."""
        name = self.endpoint
        if endpoint_ssh.elsewhere(name) is not None:
            endpoint_ssh.start(name)
            return
        before = launch.running(launch.known(name))
        pid = launch.start(name, unless_stopped=self.unless_stopped)
        if not pid:
            print(f"Endpoint {name} was stopped by its owner and is left so")
            return
        print(f"Endpoint {name} {'runs already' if before else 'is started'} (pid {pid})")


class StopApp(_Command):
    """Stop an endpoint's agent: what has not started goes back to the hub, what runs is ended after a short while."""

    name = "jupyter fx endpoint stop"
    description = __doc__

    def run(self) -> None:
        """Stop it."""
        name = self.endpoint
        if endpoint_ssh.elsewhere(name) is not None:
            endpoint_ssh.stop(name)
            return
        print(f"Endpoint {name} {'is stopped' if launch.stop(name) else 'was not running'}")


class RestartApp(_Command):
    """Stop an endpoint's agent, if it runs, and start it again."""

    name = "jupyter fx endpoint restart"
    description = __doc__

    def run(self) -> None:
        """Both."""
        name = self.endpoint
        if endpoint_ssh.elsewhere(name) is not None:
            self.exit(endpoint_ssh.forward(name, "restart"))
        launch.stop(name, for_good=False)
        print(f"Endpoint {name} is started (pid {launch.start(name)})")


class KeepApp(_Command):
    """Have an endpoint's agent started again whenever it is gone: by cron, or by your systemd.

    Login nodes reboot, and end what runs there for long; blocks and what they run outlive that and wait for the next
    agent. What you stop stays stopped. --off undoes it.
    """

    name = "jupyter fx endpoint keep"
    description = __doc__
    way = Unicode("", help="cron or systemd; empty: systemd where it answers, else cron.").tag(config=True)
    off = Bool(False, help="Keep it no longer.").tag(config=True)
    aliases = {"way": "KeepApp.way"}
    flags = {"off": ({"KeepApp": {"off": True}}, "Keep it no longer.")}

    def run(self) -> None:
        """Write it down where it is found, and start the agent."""
        from jupyter_fx.endpoint import keep

        name = self.endpoint
        if endpoint_ssh.elsewhere(name) is not None:
            more = [f"--way={self.way}"] if self.way else []
            self.exit(endpoint_ssh.forward(name, "keep", *more, *(["--off"] if self.off else [])))
        launch.known(name)
        if self.off:
            ways = keep.unkeep(name)
            print(f"Endpoint {name} is kept no longer" if ways else f"Endpoint {name} was not kept")
            return
        way = keep.chosen_way(self.way)
        for other in keep.kept(name):
            if other != way:
                keep.unkeep(name)
        said = keep.keep(name, way)
        pid = launch.start(name)
        print(f"{said}.\nEndpoint {name} runs (pid {pid})")


class RunApp(_Command):
    """Run an endpoint's agent in the foreground."""

    name = "jupyter fx endpoint run"
    description = __doc__
    hub = Unicode("", help="Address of the fx hub; empty: the one that it enrolled with.").tag(config=True)
    aliases = {"hub": "RunApp.hub"}

    def run(self) -> None:
        """Serve."""
        from jupyter_fx.endpoint.main import main

        self.exit(main([launch.known(self.endpoint).name, *(["--hub", self.hub] if self.hub else [])]))


class ListApp(_Command):
    """List the endpoints of this user on this host."""

    arguments = ()
    name = "jupyter fx endpoint list"
    description = __doc__

    def run(self) -> None:
        """One line each."""
        there = launch.names()
        far = record.names()
        if not there and not far:
            print("No endpoints here. Make one: jupyter fx endpoint configure NAME --hub=ADDRESS")
        for name in there:
            found = launch.status(name)
            print(f"{name:20} {'running, pid ' + str(found['pid']) if found['pid'] else 'stopped':20} {found['hub']}")
        for name in far:
            found = endpoint_ssh.state(name)
            print(f"{name:20} {found['link']:20} ssh {found['ssh']}{': ' + found['why'] if found['why'] else ''}")


class StatusApp(_Command):
    """Tell how an endpoint is."""

    name = "jupyter fx endpoint status"
    description = __doc__

    def run(self) -> None:
        """A few lines."""
        if endpoint_ssh.elsewhere(self.endpoint) is not None:
            for key, value in endpoint_ssh.state(self.endpoint).items():
                print(f"{key + ':':13} {value}")
            return
        for key, value in launch.status(self.endpoint).items():
            print(f"{key + ':':13} {value if key != 'pid' or value else 'stopped'}")


class LogsApp(_Command):
    """Show the logs of an endpoint: its agent, blocks, managers and containers, or of one block or task of it."""

    name = "jupyter fx endpoint logs"
    description = __doc__
    lines = Int(50, min=0, help="How many of the last lines of each.").tag(config=True)
    follow = Bool(False, help="Go on as lines come.").tag(config=True)
    block = Unicode("", help="Of this block alone: its job's number, its name or its id; also one that is over.").tag(
        config=True
    )
    task = Unicode("", help="Of this task alone: its id or the last digits. Where it ran, and what it printed.").tag(
        config=True
    )
    aliases = {"n": "LogsApp.lines", "lines": "LogsApp.lines", "block": "LogsApp.block", "task": "LogsApp.task"}
    flags = {("f", "follow"): ({"LogsApp": {"follow": True}}, "Go on as lines come.")}  # type: ignore[dict-item]

    def run(self) -> None:
        """The ends of the files, and what follows."""
        from jupyter_fx.cli.endpoint_logs import show
        from jupyter_fx.endpoint.logfiles import logs_of

        if self.block and self.task:
            raise UsageError("say --block or --task, not both")
        if endpoint_ssh.elsewhere(self.endpoint) is not None:
            more = ["--follow"] if self.follow else []
            more += [f"--{name}={value}" for name, value in (("block", self.block), ("task", self.task)) if value]
            self.exit(endpoint_ssh.forward(self.endpoint, "logs", f"--lines={self.lines}", *more))
        home = launch.known(self.endpoint)
        show(lambda: logs_of(home, block=self.block, task=self.task), self.lines, follow=self.follow)


class DeleteApp(_Command):
    """Delete an endpoint from this host: its credential, journal, logs, stored results and settings."""

    name = "jupyter fx endpoint delete"
    description = __doc__
    yes = Bool(False, help="Do not ask.").tag(config=True)
    flags = {"yes": ({"DeleteApp": {"yes": True}}, "Do not ask."), "y": ({"DeleteApp": {"yes": True}}, "Do not ask.")}

    def run(self) -> None:
        """Ask, then delete."""
        name = self.endpoint
        far = endpoint_ssh.elsewhere(name)
        if far is None:
            launch.known(name)
        if not self.yes and input(f"Delete endpoint {name} and everything that it holds here? [y/N] ").lower() not in {
            "y",
            "yes",
        }:
            print("Nothing was deleted.")
            return
        if far is not None:
            endpoint_ssh.delete(name)
            return
        from jupyter_fx.endpoint import keep

        if not launch.running(launch.known(name)):
            keep.unkeep(name)
        launch.delete(name)
        print(f"Endpoint {name} is deleted here; the hub forgets it with DELETE /api/v1/endpoints/{name}")


_COMMANDS: tuple[tuple[str, type[Command]], ...] = (
    ("code", CodeApp),
    ("configure", ConfigureApp),
    ("add", AddApp),
    ("start", StartApp),
    ("stop", StopApp),
    ("restart", RestartApp),
    ("keep", KeepApp),
    ("run", RunApp),
    ("list", ListApp),
    ("status", StatusApp),
    ("logs", LogsApp),
    ("delete", DeleteApp),
)


class EndpointApp(Command):
    """Endpoints: places that run code. Each has an agent that links to the fx hub."""

    name = "jupyter fx endpoint"
    description = __doc__
    subcommands: Any = {word: (app, (app.__doc__ or "").split("\n")[0]) for word, app in _COMMANDS}

    def start(self) -> None:
        """Start the subcommand; without one, say which there are."""
        if self.subapp is None:
            self.print_help()
            self.exit(1)
        super().start()


main: Callable[..., None] = EndpointApp.launch_instance
