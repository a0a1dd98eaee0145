"""What every command has: options that are checked for typos, errors told in one sentence, a client."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from traitlets import Bool, Unicode
from traitlets.config import Application, boolean_flag
from traitlets.config.loader import ConfigFileNotFound

from jupyter_fx import __version__
from jupyter_fx.config import check_options, nearest
from jupyter_fx.errors import ConfigError, FxError, UsageError

__all__ = ["ClientCommand", "Command", "nearest", "run", "table"]


class Command(Application):
    """A command of the tree. `arguments` names its positional arguments, for messages."""

    version = Unicode(__version__)
    arguments: tuple[str, ...] = ()

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        """Refuse options and subcommands that do not exist, naming the nearest that do."""
        argv = list(sys.argv[1:] if argv is None else argv)
        if argv and not argv[0].startswith("-") and self.subcommands and argv[0] not in self.subcommands:
            raise UsageError(f"there is no command {argv[0]!r}{nearest(argv[0], self.subcommands)}")
        if not (argv and argv[0] in self.subcommands):
            check_options(self, argv)
        super().parse_command_line(argv)
        if not self.subapp and len(self.extra_args) > len(self.arguments) and not self._many:
            raise UsageError(
                f"{self.extra_args[len(self.arguments)]!r} is one argument too many: {self.name} takes {self._takes()}"
            )

    @property
    def _many(self) -> bool:
        return bool(self.arguments) and self.arguments[-1].endswith("…")

    def _takes(self) -> str:
        return " ".join(self.arguments) or "none"

    def argument(self, at: int = 0, default: str | None = None) -> str:
        """Positional argument number `at`; UsageError when it is missing and there is no default."""
        if at < len(self.extra_args):
            return str(self.extra_args[at])
        if default is None:
            raise UsageError(f"{self.name} needs {self.arguments[at]}: {self.name} {' '.join(self.arguments)}")
        return default

    def load_config_environ(self) -> None:
        """Nothing: variables of the environment that happen to begin with our name are not configuration."""


class ClientCommand(Command):
    """A command that asks the hub: the one named by --hub or JUPYTER_FX_HUB, else the embedded one."""

    hub = Unicode("", help="Address of the fx hub; empty: JUPYTER_FX_HUB, else the embedded hub.").tag(config=True)
    as_json = Bool(False, help="Print JSON instead of a table.").tag(config=True)
    start_hub = False
    """Whether an embedded hub is started when there is none."""

    @classmethod
    def common_aliases(cls, **more: str) -> dict[str, str]:
        """Aliases that every such command has, and more."""
        return {"hub": f"{cls.__name__}.hub", **{key: f"{cls.__name__}.{value}" for key, value in more.items()}}

    @property
    def client(self) -> Any:
        """The client; HubUnavailable when there is no hub."""
        from jupyter_fx.client import default
        from jupyter_fx.client.hub import HubClient
        from jupyter_fx.errors import HubUnavailable

        if self.hub:
            return HubClient(self.hub, token=default.configured_token(self.hub))
        address = default.configured()
        if address is None and self.start_hub:
            from jupyter_fx.embedded import find_hub

            address = find_hub()
        if address is None:
            from jupyter_fx.embedded import read_hub_file

            found = read_hub_file()
            if found is None:
                raise HubUnavailable("no fx hub runs here and JUPYTER_FX_HUB names none: `jupyter fx up` starts one")
            return HubClient(found.address, token=found.token)
        return HubClient(address.url, token=address.token)

    def say(self, value: Any, text: str) -> None:
        """Print `text`, or with --json `value`."""
        print(json.dumps(value, indent=1, default=str) if self.as_json else text)


def json_flag(cls: str) -> dict[str, Any]:
    """The flag --json for the command class named `cls`."""
    return {"json": ({cls: {"as_json": True}}, "Print JSON instead of a table.")}


def table(rows: Sequence[Sequence[Any]], heads: Sequence[str]) -> str:
    """Rows under heads, in columns. Control characters are shown escaped, so that no name can paint the terminal."""
    cells = [list(heads), *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def _plain(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def run(app: type[Application], argv: list[str] | None = None) -> None:
    """Run an application; an error of ours is one sentence on stderr and exit status 1 (2: wrong usage)."""
    try:
        app.launch_instance(argv)
    except UsageError as error:
        _end(error, 2)
    except (FxError, ConfigFileNotFound) as error:
        _end(error, 1)
    except SyntaxError as error:
        # A configuration file that is no Python.
        _end(ConfigError(f"{error.filename}, line {error.lineno}: {error.msg}: {(error.text or '').strip()}"), 2)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _end(error: BaseException, status: int) -> None:
    sys.stderr.write(f"jupyter fx: {error}\n")
    sys.exit(status)


__all__ += ["boolean_flag", "json_flag"]
