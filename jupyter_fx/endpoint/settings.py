"""What a person may set about an endpoint: `c.Endpoint.…` in `<config_dir>/endpoints/NAME/config.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode
from traitlets.config import Config, Configurable

from jupyter_fx.config import bad_value, check_config, read_config
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
    python = Unicode(
        "",
        help="The Python (3.9 or newer) that runs the workers, say the bin/python of a virtual environment; it needs "
        "nothing installed. Empty: the agent's own.",
    ).tag(config=True)
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
    cache_mb = Int(
        10240,
        min=0,
        help="MiB of arrays and other inputs that the endpoint keeps, so that what comes again need not be sent again. "
        "The least recently used go first; what is in use stays.",
    ).tag(config=True)
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
    config = read_config(path)
    check_config(config, path, [Endpoint])
    for key, value in overrides.items():
        config.Endpoint[key] = value
    try:
        return Endpoint(config=Config({"Endpoint": config.Endpoint}))
    except Exception as error:
        raise bad_value(config, path, error) from error
