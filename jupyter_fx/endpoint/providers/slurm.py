"""Slurm: submitted and cancelled by Parsl, watched by one `squeue` for all jobs, checked against what there is."""

from __future__ import annotations

import getpass
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, NamedTuple

from jupyter_fx.config import nearest
from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.need import NodeSize
from jupyter_fx.endpoint.providers.base import ProviderError, run
from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.allocation import offered, text_of

__all__ = [
    "Offer",
    "Partition",
    "Problem",
    "accounts",
    "jobs",
    "offer",
    "partitions",
    "problems",
    "seconds_of",
    "size_of",
]

_PENDING: Final = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_RUNNING: Final = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
_FAILED: Final = {"FAILED", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
_WORDS: Final = {
    "TIMEOUT": "its time limit was reached",
    "CANCELLED": "it was cancelled",
    "NODE_FAIL": "a node of it failed",
    "PREEMPTED": "it was preempted",
    "OUT_OF_MEMORY": "it used more memory than it had",
    "FAILED": "it failed",
    "BOOT_FAIL": "its node did not boot",
    "REVOKED": "it was revoked",
    "COMPLETED": "it ended",
    "DEADLINE": "its deadline was reached",
}
_NEVER: Final = {
    "JobHeldUser": "held by you: `scontrol release {job}` lets it go",
    "JobHeldAdmin": "held by an administrator of the cluster: ask them",
    "launch failed requeued held": "Slurm could not start it on a node: `scontrol release {job}` tries again",
    "PartitionTimeLimit": "its time limit is above the partition's: see c.Blocks.walltime",
    "PartitionNodeLimit": "it wants more nodes than the partition allows: see c.Blocks.nodes",
    "PartitionDown": "its partition is down: wait, or choose another one by c.Blocks.partition",
    "PartitionInactive": "its partition is inactive: wait, or choose another one by c.Blocks.partition",
    "BadConstraints": "no node has what it asks for: see c.Blocks.constraint and c.Blocks.scheduler_options",
    "InvalidAccount": "its account may not be used: see c.Blocks.account",
    "InvalidQOS": "its quality of service may not be used: see c.Blocks.qos",
    "ReqNodeNotAvail": "a node that it asks for cannot be had: it is down, drained or reserved",
    "DependencyNeverSatisfied": "what it depends on failed: `scancel {job}` makes room for another try",
}
"""Why a job waits until somebody does something: who, and what."""
_KEYS: Final = re.compile(r"(\w+)=(\S*)")


class Partition(NamedTuple):
    """A partition: its nodes, the largest of them, its time limit in seconds (0.0: none)."""

    name: str
    default: bool
    up: bool
    nodes: int
    cores: int
    memory: int
    gpus: int
    limit: float
    accounts: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    """Of any of its nodes, for `--constraint`."""


def seconds_of(text: str) -> float:
    """Seconds of Slurm's [days-]hours:minutes:seconds (or minutes[:seconds]); -1.0 for what is none (UNLIMITED)."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if match is None:
        return -1.0
    days, one, two, three = (int(part) if part else None for part in match.groups())
    if days is not None:
        return days * 86400.0 + (one or 0) * 3600 + (two or 0) * 60 + (three or 0)
    if three is not None:
        return (one or 0) * 3600.0 + (two or 0) * 60 + three
    return (one or 0) * 60.0 + (two or 0)


def jobs() -> dict[str, JobInfo]:
    """All jobs of this user that Slurm still knows, those too that have ended in the last minutes."""
    text = run(["squeue", "-h", "-t", "all", "-u", getpass.getuser(), "-o", "%i|%T|%L|%S|%j|%r"])
    found = {}
    for line in text.splitlines():
        parts = line.split("|", 5)
        if len(parts) < 6 or not re.match(r"\d+", parts[0]):
            raise ProviderError(f"squeue answered what cannot be understood: {line[:100]!r}")
        job, state, left, start, name, reason = parts
        reason = "" if reason in {"None", "(null)"} else reason
        if state in _PENDING:
            told = JobInfo(job, name, "pending", _why(job, reason), start="" if start in {"N/A", ""} else start)
        elif state in _RUNNING:
            told = JobInfo(job, name, "running", "" if state == "RUNNING" else state.lower(), seconds_of(left))
        else:
            words = _WORDS.get(state, state.lower())
            more = f" ({reason})" if reason and reason not in {"TimeLimit", "NonZeroExitCode"} else ""
            told = JobInfo(job, name, "failed" if state in _FAILED else "ended", words + more)
        found[job] = told
    return found


def _why(job: str, reason: str) -> str:
    """Slurm's reason; with what to do about it where waiting alone does not help."""
    cure = next((words for word, words in _NEVER.items() if reason.startswith(word)), "")
    return f"{reason}: {cure.format(job=job)}" if cure else reason


def partitions() -> dict[str, Partition]:
    """The partitions that there are, by name."""
    shown = {}
    for line in run(["scontrol", "-o", "show", "partition"]).splitlines():
        keys = dict(_KEYS.findall(line))
        if keys.get("PartitionName"):
            shown[keys["PartitionName"]] = keys
    sizes: dict[str, tuple[int, int, int, int]] = {}
    features: dict[str, set[str]] = {}
    for line in run(["sinfo", "-h", "-N", "-o", "%R|%c|%m|%G|%f"]).splitlines():
        parts = line.split("|")
        if len(parts) == 5 and parts[1].isdigit() and parts[2].isdigit():
            nodes, cores, memory, gpus = sizes.get(parts[0], (0, 0, 0, 0))
            here = (int(parts[1]), int(parts[2]) << 20, _gpus(parts[3]))
            sizes[parts[0]] = (nodes + 1, max(cores, here[0]), max(memory, here[1]), max(gpus, here[2]))
            features.setdefault(parts[0], set()).update({*parts[4].split(",")} - {"", "(null)"})
    return {
        name: _partition(name, keys, sizes.get(name, (0, 0, 0, 0)))._replace(
            features=tuple(sorted(features.get(name, ())))
        )
        for name, keys in shown.items()
    }


def _partition(name: str, keys: dict[str, str], size: tuple[int, int, int, int]) -> Partition:
    allowed = keys.get("AllowAccounts", "ALL")
    return Partition(
        name,
        keys.get("Default") == "YES",
        keys.get("State") == "UP",
        *size,
        max(0.0, seconds_of(keys.get("MaxTime", ""))),
        () if allowed == "ALL" else tuple(allowed.split(",")),
    )


def _gpus(gres: str) -> int:
    """Of `gpu:a100:4(S:0-1),mps:100`: 4."""
    return sum(int(n) for n in re.findall(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)", gres))


def accounts() -> list[str]:
    """The accounts that this user may charge; nothing when Slurm keeps no accounts."""
    try:
        user = getpass.getuser()
        text = run(["sacctmgr", "-nP", "show", "assoc", f"user={user}", "format=account"])
    except ProviderError:
        return []
    return sorted({line.strip() for line in text.splitlines() if line.strip()})


class Offer(NamedTuple):
    """What there is. None: it cannot be known, for Slurm keeps no accounts."""

    partitions: dict[str, Partition]
    accounts: list[str] | None
    qos: list[str] | None
    reservations: list[str]

    @property
    def default(self) -> str:
        """The default partition; empty when there is none."""
        return next((one.name for one in self.partitions.values() if one.default), "")

    def words(self) -> dict[str, list[str]]:
        """For each word of `protocol.allocation.WORDS` what can be chosen."""
        features = sorted({feature for one in self.partitions.values() for feature in one.features})
        found = {"partition": sorted(self.partitions), "constraint": features, "reservation": self.reservations}
        found |= {"account": self.accounts} if self.accounts is not None else {}
        return found | ({"qos": self.qos} if self.qos is not None else {})


def offer() -> Offer:
    """Ask for all that can be chosen."""
    there = partitions()
    keys = [dict(_KEYS.findall(line)) for line in run(["scontrol", "-o", "show", "reservation"]).splitlines()]
    reservations = sorted(one["ReservationName"] for one in keys if "ReservationName" in one)
    mine = accounts()
    if not mine:
        return Offer(there, None, None, reservations)
    text = run(["sacctmgr", "-nP", "show", "assoc", f"user={getpass.getuser()}", "format=qos"])
    qos = sorted({one for line in text.splitlines() for one in line.strip().split(",") if one})
    return Offer(there, mine, qos, reservations)


class Problem(NamedTuple):
    """A setting that Slurm will not take, and why."""

    field: str
    value: str
    sentence: str


def problems(settings: Any, there: Mapping[str, Partition], mine: Sequence[str]) -> list[Problem]:
    """What Slurm, with these partitions and accounts, will never run."""
    wrong = []
    name, account = settings.partition, settings.account
    found = there.get(name or next((p.name for p in there.values() if p.default), ""))
    if name and found is None:
        wrong.append(Problem("partition", name, f"Slurm has no partition {name!r}{nearest(name, there)}"))
    if account and mine and account not in mine:
        wrong.append(
            Problem("account", account, f"Slurm lets you charge no account {account!r}{nearest(account, mine)}")
        )
    if found is None:
        return wrong
    if account and found.accounts and account not in found.accounts:
        allows = f"partition {found.name} may be charged to {', '.join(found.accounts)} only"
        wrong.append(Problem("account", account, f"{allows}, not to {account!r}"))
    if found.limit and settings.seconds > found.limit:
        most = f"partition {found.name} allows {found.limit / 60:.0f} min at most"
        wrong.append(Problem("walltime", settings.walltime, most))
    for field, wanted, limit in (
        ("cores_per_node", settings.cores_per_node, found.cores),
        ("gpus_per_node", settings.gpus_per_node, found.gpus),
        ("memory_per_node", settings.memory_per_node, found.memory / 2**30),
        ("nodes", settings.nodes, found.nodes),
    ):
        if (limit and wanted > limit) or (field == "gpus_per_node" and wanted and not limit):
            wrong.append(Problem(field, f"{wanted:g}", f"partition {found.name} has {limit:g} at most"))
    return wrong


def check(settings: Any, found: Offer, choice: Container[str] = ()) -> Partition | None:
    """Refuse what Slurm will never run (UsageError); the partition that is going to be used, if it is known.

    `choice`: what of it was not said in the configuration.
    """
    there = found.partitions
    for wrong in problems(settings, there, found.accounts or []):
        if wrong.field in {"partition", "account"}:
            raise UsageError(wrong.sentence)
        where = "" if wrong.field in choice else "c.Blocks."
        raise UsageError(f"{where}{wrong.field} is {wrong.value}, but {wrong.sentence}")
    for word in ("qos", "constraint", "reservation"):
        value = getattr(settings, word)
        if value and (why := offered(text_of({word: value}), found.words(), "Slurm")):
            raise UsageError(why)
    return there.get(settings.partition or found.default)


def size_of(settings: Any, found: Partition | None) -> NodeSize:
    """What a node of a block has: what is asked for, or all of the partition's largest where whole nodes are."""
    most = found or Partition("", default=False, up=True, nodes=0, cores=0, memory=0, gpus=0, limit=0.0)
    cores = settings.cores_per_node or (most.cores if settings.exclusive else 1)
    memory = int(settings.memory_per_node * 2**30) or (most.memory if settings.exclusive else 0)
    return NodeSize(cores, 1, memory, settings.gpus_per_node)
