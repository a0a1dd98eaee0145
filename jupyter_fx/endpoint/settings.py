"""What a person may set about an endpoint: `c.Endpoint.…` in `<config_dir>/endpoints/NAME/config.py`."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from pathlib import Path

from traitlets import Any, Bool, Dict, Enum, Float, Instance, Int, List, TraitError, Unicode, validate
from traitlets.config import Config, Configurable

from jupyter_fx.config import bad_value, check_config, nearest, read_config
from jupyter_fx.endpoint.learned import LEARNABLE
from jupyter_fx.endpoint.pods import Kubernetes
from jupyter_fx.endpoint.routing import POLICIES
from jupyter_fx.endpoint.runtimes.settings import Containers
from jupyter_fx.errors import UsageError
from jupyter_fx.paths import config_dir, private_dir

__all__ = ["TEMPLATE", "Blocks", "Endpoint", "config_path", "load_blocks", "load_settings"]


class Endpoint(Configurable):
    """The settings of one endpoint."""

    containers = Instance(Containers, args=())

    hub = Unicode(
        "", help="Address of the fx hub: https://…, wss://… or unix:/path. Empty: the one that it enrolled with."
    ).tag(config=True)
    workers = Int(0, min=0, help="Workers of the pool. 0: one for each core that the agent may use.").tag(config=True)
    manager = Enum(
        ["inline", "process"],
        "inline",
        help="Where the manager runs: in the agent, or as a process of its own, whose tasks outlive the agent.",
    ).tag(config=True)
    engine = Enum(
        ["", "parsl", "dask"],
        "",
        help="Who runs the calls and maps: parsl or dask, as engine_config or engine_address says. Empty: the endpoint "
        "itself, which is the only one that has sessions, live output and cancelling of what runs.",
    ).tag(config=True)
    engine_config = Any(
        "",
        help="For parsl: a parsl.Config, a function that makes one, or where one is: 'package.module:name' or "
        "'/path/of/file.py:name'.",
    ).tag(config=True)
    engine_address = Unicode(
        "",
        help="For dask: the scheduler's address (tcp://host:8786), its scheduler file, or 'local': a cluster of this "
        "machine's, for trials.",
    ).tag(config=True)
    engine_folder = Unicode(
        "",
        help="A directory that the agent and the engine's workers share. Empty: the endpoint's own, below the home "
        "directory.",
    ).tag(config=True)
    environment_days = Float(
        30.0, min=0.0, help="Days that an environment built from a specification is kept unused. 0: for ever."
    ).tag(config=True)
    environment_mb = Int(
        20480, min=0, help="MiB that such environments may take; the least recently used go first. 0: no limit."
    ).tag(config=True)
    environment_squashfs = Enum(
        ["auto", "always", "never"],
        "auto",
        help="Whether such an environment is kept as one SquashFS file, which nodes mount, and not as thousands of "
        "files. auto: on nodes of blocks, where the node that builds has mksquashfs and squashfuse; always: wherever "
        "mksquashfs is. A node that cannot mount it unpacks it for itself.",
    ).tag(config=True)
    max_sessions = Int(16, min=0, help="Sessions that may be open at once; they are beyond the pool.").tag(config=True)
    python = Unicode(
        "",
        help="The Python (3.9 or newer) that runs the workers, say the bin/python of a virtual environment; it needs "
        "nothing installed. Empty: the agent's own.",
    ).tag(config=True)
    routing = Enum(
        list(POLICIES),
        "warm",
        help="Which manager gets a task, where there are several. warm: one that has its image warm, another one when "
        "what waits takes longer than a container's start; binpack: the fullest that has room; roundrobin; random.",
    ).tag(config=True)
    preload = List(Unicode(), help="Modules that every worker has imported already, say ['numpy', 'scipy'].").tag(
        config=True
    )
    learn = List(
        Unicode(),
        list(LEARNABLE),
        help="Packages that new workers, those in images too, have imported already once tasks of two workers did. "
        "Empty: none.",
    ).tag(config=True)
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


class Blocks(Configurable):
    """Where an endpoint's nodes come from: batch jobs ("blocks") that bring a manager on each of their nodes."""

    kubernetes = Instance(Kubernetes, args=())

    provider = Enum(
        ["", "local", "slurm", "torque", "pbspro", "lsf", "gridengine", "kubernetes"],
        "",
        help="Who provides nodes: a batch system, or local (processes). Empty: the agent runs tasks itself.",
    ).tag(config=True)
    partition = Unicode("", help="The partition or queue. Empty: the scheduler's default.").tag(config=True)
    account = Unicode("", help="The account (project) that is charged. Empty: the scheduler's default.").tag(
        config=True
    )
    qos = Unicode("", help="Slurm's quality of service.").tag(config=True)
    constraint = Unicode("", help="Slurm's constraint: features that nodes must have.").tag(config=True)
    reservation = Unicode("", help="Slurm's reservation.").tag(config=True)
    walltime = Unicode("01:00:00", help="How long a block may last: HH:MM:SS. Empty: no limit (local only).").tag(
        config=True, pattern=r"^(\d+:[0-5]\d:[0-5]\d)?$", form="HH:MM:SS, such as 01:30:00"
    )
    init_blocks = Int(0, min=0, help="Blocks that are asked for when the agent starts.").tag(config=True)
    min_blocks = Int(0, min=0, help="Blocks that are kept although nothing needs them.").tag(config=True)
    max_blocks = Int(1, min=1, help="Blocks that there may be at once.").tag(config=True)
    nodes = Int(1, min=1, help="Nodes of a block.").tag(config=True)
    cores_per_node = Int(0, min=0, help="Cores asked for on each node. 0: one, or all with exclusive.").tag(config=True)
    memory_per_node = Float(0.0, min=0.0, help="GiB of memory asked for on each node. 0: the scheduler's default.").tag(
        config=True
    )
    gpus_per_node = Int(0, min=0, help="GPUs asked for on each node.").tag(config=True)
    gpu_devices = List(
        Unicode(), help="Names of a node's GPUs. Empty: as the job's environment or the driver says."
    ).tag(config=True)
    pin_cores = Bool(
        True,
        help="Whether each worker is bound to cores of its own, where the job is bound to as many as it asked for.",
    ).tag(config=True)
    exclusive = Bool(False, help="Whether nodes are not shared with other jobs. Whole nodes are billed then.").tag(
        config=True
    )
    parallelism = Float(
        1.0,
        min=0.0,
        max=1.0,
        help="Slots that are wanted for each slot's worth of waiting work: 1 is the most, 0 least.",
    ).tag(config=True)
    idle_seconds = Float(120.0, min=0.0, help="Seconds after which a block that has nothing to do is given back.").tag(
        config=True
    )
    drain_lead_seconds = Float(
        60.0, min=0.0, help="Seconds before the end of a block's time from which it takes nothing more."
    ).tag(config=True)
    session_floor_seconds = Float(
        120.0, min=0.0, help="Seconds that a block must still last for a notebook's session to begin in it."
    ).tag(config=True)
    partitions = Dict(
        help="What is so in blocks of another partition that a session or task chooses, as in "
        "{'gpu': 'gpus_per_node=4 cores_per_node=16'}: settings of blocks, walltime too. For the rest they are as all."
    ).tag(config=True)
    scheduler_options = List(
        Unicode(), help="Lines for the top of the job's script, such as '#SBATCH --mail-type=FAIL'."
    ).tag(config=True)
    setup = List(Unicode(), help="Shell lines to run on a node first, such as 'module load python'.").tag(config=True)
    launcher = Enum(
        ["", "simple", "single", "srun", "mpiexec", "mpirun", "aprun", "jsrun"],
        "",
        help="How the job starts a manager on each of its nodes (Parsl's launchers). Empty: srun on Slurm.",
    ).tag(config=True)
    python = Unicode("", help="The Python that runs managers on nodes. Empty: the agent's own.").tag(config=True)
    scratch = Unicode(
        "", help="A directory on each node for what need not outlive a block. Empty: TMPDIR or /tmp."
    ).tag(config=True)
    addresses = List(
        Unicode(), help="Addresses or host names of this machine that nodes can reach. Empty: all that it has."
    ).tag(config=True)
    port = Int(0, min=0, max=65535, help="TCP port on which managers reach the agent. 0: any that is free.").tag(
        config=True
    )
    poll_seconds = Float(5.0, min=0.2, help="Seconds between two looks at the scheduler.").tag(config=True)

    @validate("walltime")
    def _check_walltime(self, proposal: typing.Any) -> str:
        text: str = proposal["value"]
        if not re.fullmatch(self.traits()["walltime"].metadata["pattern"], text):
            raise TraitError(f"walltime is HH:MM:SS, such as '01:30:00', not {text!r}")
        return text

    def chosen(self, choice: Mapping[str, str]) -> Blocks:
        """These settings with a partition and so on that was chosen. UsageError for a wrong `partitions`."""
        given = {name: getattr(self, name) for name in self.trait_names(config=True)}
        given |= self._of_partition(choice.get("partition", ""))
        return Blocks(**{**given, **choice}, kubernetes=self.kubernetes)

    def _of_partition(self, partition: str) -> dict[str, typing.Any]:
        """What `partitions` says of one. UsageError that names what is wrong."""
        found: dict[str, typing.Any] = {}
        for word in str(self.partitions.get(partition, "")).split():
            name, _, value = word.partition("=")
            if name not in _PER_PARTITION:
                raise UsageError(
                    f"c.Blocks.partitions[{partition!r}]: {name!r} is no setting of a partition's blocks"
                    f"{nearest(name, _PER_PARTITION)}"
                )
            try:
                found[name] = self.traits()[name].from_string(value)
            except ValueError as error:
                raise UsageError(f"c.Blocks.partitions[{partition!r}]: {word!r} is wrong: {error}") from error
        return found

    def problems(self) -> list[tuple[str, str]]:
        """(setting, sentence): what does not fit together."""
        found = []
        for partition in self.partitions:
            try:
                self.chosen({"partition": partition})
            except (UsageError, TraitError) as error:
                found.append(("partitions", str(error)))
        if self.provider not in {"", "local"} and not self.walltime:
            found.append(("walltime", "it may be empty for local blocks only: a batch job needs a limit"))
        if self.provider == "kubernetes":
            found += [(name, f"pods have none: {cure}") for name, cure in _NOT_PODS.items() if getattr(self, name)]
        found += [
            (name, f"it cannot be more than max_blocks, which is {self.max_blocks}")
            for name in ("init_blocks", "min_blocks")
            if getattr(self, name) > self.max_blocks
        ]
        return found

    @property
    def seconds(self) -> float:
        """The walltime in seconds; 0.0: no limit."""
        if not self.walltime:
            return 0.0
        hours, minutes, seconds = map(int, self.walltime.split(":"))
        return hours * 3600.0 + minutes * 60 + seconds


_PER_PARTITION = ("cores_per_node", "exclusive", "gpus_per_node", "launcher", "memory_per_node", "nodes", "walltime")
_NOT_PODS = {
    **dict.fromkeys(("partition", "constraint"), "c.Kubernetes.node_selector and tolerations choose nodes"),
    **dict.fromkeys(("account", "reservation"), "the namespace's quota says what you may use"),
    "qos": "c.Kubernetes.priority_class is the nearest",
    "exclusive": "ask for as many cores as a node has",
    "scheduler_options": "c.Kubernetes says what they are like",
    "launcher": "each node of a block is a pod of its own",
    "partitions": "there is nothing of the kind to choose",
}
"""Settings that mean nothing on Kubernetes, and what does."""
TEMPLATE = """# Settings of the endpoint {name!r}. A change is applied by
# jupyter fx endpoint restart {name}
c = get_config()  # noqa: F821

"""
_ALL = [Endpoint, Blocks, Containers, Kubernetes]


def config_path(name: str) -> Path:
    """The configuration file of an endpoint."""
    return private_dir(config_dir() / "endpoints" / name) / "config.py"


def load_settings(path: Path, **overrides: typing.Any) -> Endpoint:
    """The settings in a file (defaults when there is none). ConfigError names what is wrong, its line and what may
    have been meant.
    """
    config = read_config(path)
    check_config(config, path, _ALL)
    for key, value in overrides.items():
        config.Endpoint[key] = value
    try:
        # traitlets copies what it is given, and a configuration of Parsl's cannot be copied.
        given = config.Endpoint.pop("engine_config", "")
        found = Endpoint(config=Config({"Endpoint": config.Endpoint}))
        found.engine_config = given
        found.containers = Containers(config=Config({"Containers": config.Containers}))
        return found
    except Exception as error:
        raise bad_value(config, path, error) from error


def load_blocks(path: Path) -> Blocks:
    """What a file says of blocks. Errors as those of `load_settings`."""
    config = read_config(path)
    check_config(config, path, _ALL)
    try:
        found = Blocks(config=Config({"Blocks": config.Blocks}))
        found.kubernetes = Kubernetes(config=Config({"Kubernetes": config.Kubernetes}))
    except Exception as error:
        raise bad_value(config, path, error) from error
    for name, sentence in found.problems():
        raise UsageError(f"{path}: c.Blocks.{name}: {sentence}")
    return found
