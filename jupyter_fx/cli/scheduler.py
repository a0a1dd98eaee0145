"""The configuration file of an endpoint on a batch system: what was asked of the scheduler, and every setting."""

from __future__ import annotations

from typing import Any

from jupyter_fx.config import nearest
from jupyter_fx.errors import UsageError

__all__ = ["SCHEDULERS", "blocks_text"]

SCHEDULERS = ("slurm", "torque", "pbspro", "lsf", "gridengine", "local")


def blocks_text(scheduler: str, chosen: dict[str, str]) -> str:
    """The part of a configuration file that is about blocks. `chosen`: partition and account, as given ("": not).

    UsageError for a scheduler that is none, or for a partition or account that it does not have, naming those it has.
    """
    if scheduler not in SCHEDULERS:
        raise UsageError(f"there is no scheduler {scheduler!r}{nearest(scheduler, SCHEDULERS)}")
    settings: dict[str, Any] = {"provider": scheduler, **{name: value for name, value in chosen.items() if value}}
    lines: list[str] = []
    if scheduler == "slurm":
        lines = _ask_slurm(settings)
    elif scheduler == "local":
        settings["walltime"] = ""
    settings.setdefault("max_blocks", 2)
    active = [f"c.Blocks.{name} = {value!r}" for name, value in settings.items()]
    return "\n".join([*lines, *active, "", "# Everything about blocks, with what it is by itself:", "", *_all(), ""])


def _ask_slurm(settings: dict[str, Any]) -> list[str]:
    """Comments that say what there is; `settings` gets what fits."""
    from jupyter_fx.endpoint.providers import ProviderError, slurm

    try:
        there = slurm.partitions()
        mine = slurm.accounts()
    except ProviderError as error:
        raise UsageError(f"Slurm cannot be asked what there is ({error}): run this where sbatch works") from error
    partition = settings.get("partition") or next((one.name for one in there.values() if one.default), "")
    if partition and partition not in there:
        raise UsageError(f"Slurm has no partition {partition!r}{nearest(partition, there)}")
    account = settings.get("account", "")
    if account and mine and account not in mine:
        raise UsageError(f"Slurm lets you charge no account {account!r}{nearest(account, mine)}")
    lines = ["# What Slurm told when this file was written:"]
    for one in there.values():
        gpus = f", {one.gpus} GPUs" if one.gpus else ""
        limit = f"{one.limit / 3600:g} h at most" if one.limit else "no time limit"
        mark = " (default)" if one.default else ""
        lines.append(
            f"#   partition {one.name}{mark}: {one.nodes} nodes, up to {one.cores} cores, "
            f"{one.memory / 2**30:.0f} GiB{gpus} each; {limit}{'' if one.up else '; not up'}"
        )
    lines += [f"#   accounts that you may charge: {', '.join(mine)}"] if mine else []
    lines.append("")
    if partition:
        found = there[partition]
        settings["partition"] = partition
        cores = min(4, found.cores) or 1
        settings["cores_per_node"] = cores
        if found.memory and found.cores:
            settings["memory_per_node"] = float(max(1, int(found.memory / found.cores * cores / 2**30)))
        seconds = int(min(3600.0, found.limit or 3600.0))
        settings["walltime"] = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if not account and len(mine) == 1:
        settings["account"] = mine[0]
    return lines


def _all() -> list[str]:
    """Every setting as a comment: its help and its default."""
    from jupyter_fx.endpoint.settings import Blocks

    lines: list[str] = []
    for name, trait in sorted(Blocks.class_traits(config=True).items()):
        lines += [f"# {trait.help}", f"# c.Blocks.{name} = {trait.default()!r}", ""]
    return lines
