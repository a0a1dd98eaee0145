"""What a person may set about an endpoint: `c.Endpoint.…` in `<config_dir>/endpoints/NAME/config.py`."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode
from traitlets.config import Config, Configurable
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from jupyter_fx.errors import ConfigError
from jupyter_fx.paths import config_dir, private_dir

__all__ = ["TEMPLATE", "Endpoint", "config_path", "load_settings"]


class Endpoint(Configurable):
    """The settings of one endpoint."""

    hub = Unicode(
        "", help="Address of the fx hub: https://…, wss://… or unix:/path. Empty: the one that it enrolled with."
    ).tag(config=True)
    workers = Int(0, min=0, help="Workers of the pool. 0: one for each core that the agent may use.").tag(config=True)
    manager = Enum(
        ["inline", "process"],
        "inline",
        help="Where the manager runs: in the agent, or as a process of its own, whose tasks outlive the agent.",
    ).tag(config=True)
    max_sessions = Int(16, min=0, help="Sessions that may be open at once; they are beyond the pool.").tag(config=True)
    python = Unicode("", help="The Python that runs the workers. Empty: the agent's own.").tag(config=True)
    preload = List(Unicode(), help="Modules that every worker has imported already, say ['numpy', 'scipy'].").tag(
        config=True
    )
    env = Dict(help="Environment variables of the workers, added to the agent's scrubbed ones.").tag(config=True)
    keep_secrets = Bool(False, help="Leave tokens and cloud keys in the workers' environment.").tag(config=True)
    use_notebook_directory = Bool(
        False, help="Sessions start in the directory that the notebook names. True by itself for the local endpoint."
    ).tag(config=True)
    max_processes = Int(512, min=1, help="Processes that one worker may have; with more it is ended.").tag(config=True)
    drain_seconds = Float(2.0, min=0.0, help="Seconds that running tasks are given when the agent stops.").tag(
        config=True
    )
    log_retention_days = Float(14.0, min=0.0, help="Days that the complete logs of tasks are kept.").tag(config=True)
    disk_reserve_mb = Int(256, min=0, help="MiB of free disk below which no tasks are taken.").tag(config=True)
    idle_stop_seconds = Float(0.0, min=0.0, help="Stop after so long without tasks, sessions or hub. 0: never.").tag(
        config=True
    )


TEMPLATE = """# Settings of the endpoint {name!r}. A change is applied by
# jupyter fx endpoint restart {name}
c = get_config()  # noqa: F821

"""


def config_path(name: str) -> Path:
    """The configuration file of an endpoint."""
    return private_dir(config_dir() / "endpoints" / name) / "config.py"


def load_settings(path: Path, **overrides: Any) -> Endpoint:
    """The settings in a file (defaults when there is none). ConfigError names what is wrong, its line and what may
    have been meant.
    """
    try:
        config = PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    except ConfigFileNotFound:
        config = Config()
    except Exception as error:  # the file is a person's Python: whatever it raises is told
        line = getattr(error, "lineno", None) or _line_of(error, path)
        raise ConfigError(f"{path}{f', line {line}' if line else ''}: {type(error).__name__}: {error}") from error
    _check(config, path)
    for key, value in overrides.items():
        config.Endpoint[key] = value
    try:
        return Endpoint(config=Config({"Endpoint": config.Endpoint}))
    except Exception as error:  # traitlets' own sentence names trait and value
        name = next((key for key in config.Endpoint if key in str(error)), "")
        line = _find(path, f"Endpoint.{name}") if name else 0
        raise ConfigError(f"{path}{f', line {line}' if line else ''}: {error}") from error


def _check(config: Config, path: Path) -> None:
    """A misspelt name is an error, not a setting that silently does nothing."""
    for section in config:
        if section != "Endpoint":
            line = _find(path, section)
            raise ConfigError(
                f"{path}, line {line}: there is no c.{section} here; settings are written c.Endpoint.NAME"
            )
    names = Endpoint.class_trait_names(config=True)
    for key in config.Endpoint:
        if key not in names:
            near = difflib.get_close_matches(key, names, 3, 0.5)
            hint = f"; nearest: {', '.join(near)}" if near else f"; there are: {', '.join(sorted(names))}"
            raise ConfigError(f"{path}, line {_find(path, f'Endpoint.{key}')}: Endpoint has no setting {key!r}{hint}")


def _find(path: Path, text: str) -> int:
    pattern = re.compile(rf"\b{re.escape(text)}\b")
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((number for number, line in enumerate(lines, 1) if pattern.search(line)), 0)


def _line_of(error: BaseException, path: Path) -> int:
    found = 0
    traceback = error.__traceback__
    while traceback is not None:
        if Path(traceback.tb_frame.f_code.co_filename).name == path.name:
            found = traceback.tb_lineno
        traceback = traceback.tb_next
    return found
