"""Batch systems through Parsl's providers and launchers (the `[batch]` extra): they write the script and submit it.

Parsl's word about a job's state is not asked for: it knows no names, by which a submission that was cut off is found
again, and takes a job that is not listed for one that has ended. Each system's own commands are read here.
"""

from __future__ import annotations

import functools
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.providers import lsf, pbs, sge, slurm
from jupyter_fx.endpoint.providers.base import JobSpec, ProviderError, finished, run, said
from jupyter_fx.endpoint.providers.budget import Budget, budgets
from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.allocation import chosen

__all__ = ["BATCH", "ParslProvider", "one_line"]

BATCH: Final = {
    "slurm": "Slurm",
    "torque": "Torque",
    "pbspro": "PBS Pro",
    "lsf": "LSF",
    "gridengine": "Grid Engine",
}
"""The batch systems, by the word in `c.Blocks.provider`."""
SUBMIT_WITHIN: Final = 30
"""Seconds that a command of Parsl may take."""
PROVIDERS_MOST: Final = 64
"""Choices of an allocation for which one is kept."""
_JOBS: Final = {
    "slurm": slurm.jobs,
    "torque": pbs.jobs,
    "pbspro": pbs.jobs,
    "lsf": lsf.jobs,
    "gridengine": sge.jobs,
}
_CANCEL: Final = {"slurm": "scancel", "lsf": "bkill"}
"""Elsewhere it is qdel."""
_ONE: Final = re.compile(r"[^\n\r\0]*")


_CHOICES: Final = {
    "slurm": ("account", "partition", "qos", "constraint", "reservation", "walltime"),
}
"""What can be chosen; on the other batch systems it is account (project), partition (queue) and walltime."""


def one_line(name: str, value: str) -> str:
    """`value`, if it cannot become a line of its own in a script; UsageError otherwise."""
    if not _ONE.fullmatch(value):
        raise UsageError(f"c.Blocks.{name} must be one line: {value[:60]!r}")
    return value


def _word(name: str, value: str) -> str:
    """`value`, if it is one word that no shell takes apart. (Features, joined by & and |, meet no shell.)"""
    if not re.fullmatch(r"[\w.,:+@/%=&|*\[\]!-]*" if name == "constraint" else r"[\w.,:+@/%=-]*", value):
        raise UsageError(f"c.Blocks.{name} must be one word without blanks or quotes: {value[:60]!r}")
    return value


def _execute(command: str, _timeout: int | None = None, *, folder: str = "") -> tuple[int, str, str]:
    """What Parsl has its shell do: (status, stdout, stderr).

    In the block's `folder`: Slurm's stand-in for qsub, for one, has jobs write where it was called, whatever their
    script says, and where the agent happens to be they may not be allowed to.
    """
    program = command.split(maxsplit=1)[0]
    status, told, complained = finished(["/bin/sh", "-c", command], program, SUBMIT_WITHIN, folder=folder)
    out, err = told.decode(errors="replace"), complained.decode(errors="replace")
    if status and program in {"qsub", "bsub"}:
        # Most of Parsl's providers log what it said, and give no job.
        raise ProviderError(said(err or out))
    return status, out, err


def _folder_of(provider: Any) -> str:
    return str(provider.script_dir or "")


def _refusal(error: Exception) -> str:
    """What a submission said."""
    text = f"{getattr(error, 'stderr', '') or ''}".strip()
    if not text and getattr(error, "retcode", None) == 0:
        out = f"{getattr(error, 'stdout', '') or ''}".strip()
        return f"it gave no job id; it said{': ' + said(out) if out else ' nothing'}"
    return said(text or str(error))


def _lsf_provider() -> Any:
    """Parsl's, which runs bsub by its base class's method: ours says what bsub said."""
    from parsl.providers import LSFProvider
    from parsl.providers.cluster_provider import ClusterProvider

    class _Says(ClusterProvider):
        def execute_wait(self, cmd: str, timeout: Any = None) -> Any:
            return _execute(cmd, timeout, folder=_folder_of(self))

    class _Lsf(LSFProvider, _Says):
        pass

    return _Lsf


class ParslProvider:
    """One batch system. `settings` are `c.Blocks`."""

    def __init__(self, kind: str, settings: Any, python_of: Callable[[], str] | None = None) -> None:
        self.label = BATCH[kind]
        self._kind = kind
        self._settings = settings
        self._providers: OrderedDict[str, Any] = OrderedDict()
        """Parsl's, by allocation: those that were used last. They hold nothing that another one would lack."""
        self._offer: slurm.Offer | None = None
        self._budgets: list[Budget] = []

    # Making it.

    def _made(self, allocation: str = "") -> Any:
        made = self._providers.get(allocation)
        if made is not None:
            self._providers.move_to_end(allocation)
        else:
            settings = self.settings_of(allocation)
            self.script_settings(settings)
            made = self._providers[allocation] = self._make(settings)
            # Parsl's own leaves a command that hangs behind.
            where = functools.partial(_folder_of, made) if self._kind != "slurm" else str
            made.execute_wait = lambda cmd, timeout=None: _execute(cmd, timeout, folder=where())
            while len(self._providers) > PROVIDERS_MOST:
                self._providers.popitem(last=False)
        return made

    def _make(self, wanted: Any) -> Any:
        try:
            from parsl import launchers, providers
        except ImportError as error:
            raise UsageError(
                f"endpoints on {self.label} need Parsl: pip install 'jupyter-fx[batch]' ({error})"
            ) from error
        logging.getLogger("parsl").setLevel(logging.ERROR)
        launcher = wanted.launcher or ("srun" if self._kind == "slurm" and wanted.nodes > 1 else "simple")
        classes = {
            "simple": "SimpleLauncher",
            "single": "SingleNodeLauncher",
            "srun": "SrunLauncher",
            "mpiexec": "MpiExecLauncher",
            "mpirun": "MpiRunLauncher",
            "aprun": "AprunLauncher",
            "jsrun": "JsrunLauncher",
        }
        made = getattr(launchers, classes[launcher])()
        options = [one_line("scheduler_options", one) for one in wanted.scheduler_options]
        common: dict[str, Any] = {
            "nodes_per_block": wanted.nodes,
            "init_blocks": 0,
            "max_blocks": 1,
            "walltime": wanted.walltime,
            "worker_init": "\n".join(one_line("setup", one) for one in wanted.setup),
            "launcher": made,
        }
        account, queue = _word("account", wanted.account) or None, _word("partition", wanted.partition) or None
        if self._kind == "slurm":
            options.append("#SBATCH --no-requeue")
            if wanted.reservation:
                options.append(f"#SBATCH --reservation={_word('reservation', wanted.reservation)}")
            return providers.SlurmProvider(
                partition=queue,
                account=account,
                qos=_word("qos", wanted.qos) or None,
                constraint=_word("constraint", wanted.constraint) or None,
                cores_per_node=wanted.cores_per_node or None,
                # Parsl counts in GB; a whole number of them is asked for.
                mem_per_node=max(1, round(wanted.memory_per_node)) if wanted.memory_per_node else None,
                gpus_per_node=wanted.gpus_per_node or None,
                exclusive=wanted.exclusive,
                scheduler_options="\n".join(options),
                cmd_timeout=SUBMIT_WITHIN,
                **common,
            )
        make: Any
        own: dict[str, Any]
        if self._kind == "torque":
            make, own = providers.TorqueProvider, {"account": account, "queue": queue}
        elif self._kind == "pbspro":
            make, own = providers.PBSProProvider, {"account": account, "queue": queue}
            own |= {"cpus_per_node": wanted.cores_per_node} if wanted.cores_per_node else {}
            chunk = [f"mem={round(wanted.memory_per_node * 1024)}mb"] if wanted.memory_per_node else []
            chunk += [f"ngpus={wanted.gpus_per_node}"] if wanted.gpus_per_node else []
            own |= {"select_options": ":".join(chunk)} if chunk else {}
            options += ["#PBS -l place=scatter:excl"] if wanted.exclusive else []
        elif self._kind == "lsf":
            cores = wanted.cores_per_node or 1
            # Of a file that it is not given on its standard input, bsub reads no directives.
            make, own = _lsf_provider(), {"project": account, "queue": queue, "bsub_redirection": True}
            own |= {"request_by_nodes": False, "cores_per_block": cores * wanted.nodes, "cores_per_node": cores}
            options += ["#BSUB -x"] if wanted.exclusive else []
        else:
            make, own = providers.GridEngineProvider, {"queue": queue}
            options += [f"#$ -P {account}"] if account else []
        common["scheduler_options"] = "\n".join(options)
        return make(**own, **common)

    def script_settings(self, settings: Any = None) -> None:
        """UsageError for a setting that could become a line or a command of its own in a script."""
        settings = settings or self._settings
        for name in ("partition", "account", "qos", "constraint", "reservation"):
            _word(name, getattr(settings, name))
        for name in ("scheduler_options", "setup"):
            for one in getattr(settings, name):
                one_line(name, one)

    # The interface.

    @property
    def default_partition(self) -> str:
        """See Provider."""
        return self._offer.default if self._offer is not None else ""

    def look(self) -> None:
        """See Provider."""
        if self._kind == "slurm":
            self._offer = slurm.offer()
            try:
                self._budgets = budgets(self._offer.accounts or [])
            except ProviderError:
                self._budgets = []  # not everywhere told to everybody

    def offers(self) -> dict[str, list[str]]:
        """See Provider."""
        return self._offer.words() if self._offer is not None else {}

    def budgets(self) -> list[Budget]:
        """See Provider."""
        return self._budgets

    def settings_of(self, allocation: str) -> Any:
        """See Provider. A partition that is chosen without a walltime gets no more than it allows."""
        if not allocation:
            return self._settings
        choice = chosen(allocation)
        for word in choice:
            if word not in _CHOICES.get(self._kind, ("partition", "account", "walltime")):
                raise UsageError(f"{self.label} has no {word} that could be chosen")
        found = self._settings.chosen(choice)
        there = self._offer.partitions.get(found.partition or self._offer.default) if self._offer is not None else None
        if there is not None and there.limit and found.seconds > there.limit and "walltime" not in choice:
            minutes, seconds = divmod(int(there.limit), 60)
            found.walltime = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
        return found

    def check(self, allocation: str = "") -> NodeSize:
        """See Provider."""
        wanted = self.settings_of(allocation)
        self.script_settings(wanted)
        found = slurm.check(wanted, self._offer, chosen(allocation)) if self._offer is not None else None
        self._made(allocation)
        if self._kind == "slurm":
            return slurm.size_of(wanted, found)
        return NodeSize(wanted.cores_per_node, 1, int(wanted.memory_per_node * 2**30), wanted.gpus_per_node or -1)

    def submit(self, spec: JobSpec) -> str:
        """Parsl writes the script into the block's directory and submits it."""
        provider = self._made(spec.allocation)
        provider.script_dir = str(spec.folder)
        try:
            job = provider.submit(spec.command, 1, spec.name)
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(_refusal(error)) from error
        if not job:
            raise ProviderError("it gave no job id; see the agent's log")
        return str(job)

    def jobs(self) -> dict[str, JobInfo]:
        """See Provider."""
        return _JOBS[self._kind]()

    def cancel(self, jobs: Sequence[str]) -> None:
        """See Provider."""
        run([_CANCEL.get(self._kind, "qdel"), *jobs])
