"""What a scheduler offers, asked when an endpoint is made: partitions, accounts, limits, and settings that fit them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from jupyter_fx.config import nearest
from jupyter_fx.endpoint.providers import ProviderError, slurm
from jupyter_fx.endpoint.providers.kubernetes import connected
from jupyter_fx.errors import UsageError

__all__ = ["SCHEDULERS", "Offer", "ask_slurm", "beginnings", "described", "suggested"]

SCHEDULERS: Final = ("slurm", "torque", "pbspro", "lsf", "gridengine", "kubernetes", "local")

_BEGIN: Final[dict[str, dict[str, Any]]] = {
    **{name: {"max_blocks": 2} for name in SCHEDULERS},
    # Processes of this machine need no end.
    "local": {"walltime": "", "max_blocks": 2},
    # The agent's own Python is hardly where an image has its.
    "kubernetes": {"max_blocks": 2, "cores_per_node": 2, "memory_per_node": 4.0, "python": "python3"},
}
_PODS: Final = (
    "# Pods run an image of yours and see the endpoint's directory by a volume claim. Say both before it starts:",
    '# c.Kubernetes.image = "registry.example.org/me/jupyter-fx:latest"',
    '# c.Kubernetes.volumes = {"CLAIM": "/home/me"}',
    "",
)


class Offer(NamedTuple):
    """What Slurm told."""

    partitions: dict[str, slurm.Partition]
    accounts: list[str]
    """Those that this user may charge; none when Slurm keeps no accounts."""

    @property
    def default(self) -> str:
        """The default partition; empty when there is none."""
        return next((one.name for one in self.partitions.values() if one.default), "")


def ask_slurm() -> Offer:
    """What there is; UsageError when Slurm's commands do not work here."""
    try:
        return Offer(slurm.partitions(), slurm.accounts())
    except ProviderError as error:
        raise UsageError(f"Slurm cannot be asked what there is ({error}): run this where sbatch works") from error


def known(scheduler: str) -> str:
    """Its name as settings have it. UsageError for one that is none."""
    found = {"sge": "gridengine", "pbs": "pbspro", "k8s": "kubernetes"}.get(scheduler, scheduler)
    if found not in SCHEDULERS:
        raise UsageError(f"there is no scheduler {scheduler!r}{nearest(scheduler, SCHEDULERS)}")
    return found


def suggested(scheduler: str, chosen: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """(`c.Blocks` settings that fit, comments that say what was told). `chosen`: partition and account as given
    ("": not).

    UsageError for a scheduler that is none, or for a partition or account that it does not have, naming those it has.
    """
    scheduler = known(scheduler)
    settings: dict[str, Any] = {"provider": scheduler, **{name: value for name, value in chosen.items() if value}}
    told: list[str] = []
    if scheduler == "slurm":
        offer = ask_slurm()
        settings |= fitting(offer, settings.get("partition", ""), settings.get("account", ""))
        told = comments(offer)
    elif scheduler == "kubernetes":
        cluster = connected("", "")
        told = [f"# The kubeconfig told when this file was written: namespace {cluster.namespace}", *_PODS]
    return _BEGIN.get(scheduler, {}) | settings, told


def extra_of(scheduler: str) -> str:
    """The optional packages of ours that its nodes need."""
    return "kubernetes" if scheduler == "kubernetes" else "batch"


def beginnings(offer: Offer | None) -> dict[str, dict[str, Any]]:
    """Settings to begin with, by provider."""
    return {
        name: _BEGIN.get(name, {}) | (fitting(offer) if offer is not None and name == "slurm" else {})
        for name in SCHEDULERS
    }


def fitting(offer: Offer, partition: str = "", account: str = "") -> dict[str, Any]:
    """Modest settings for a partition (empty: the default one): a part of one node, for an hour at most."""
    if partition and partition not in offer.partitions:
        raise UsageError(f"Slurm has no partition {partition!r}{nearest(partition, offer.partitions)}")
    if account and offer.accounts and account not in offer.accounts:
        raise UsageError(f"Slurm lets you charge no account {account!r}{nearest(account, offer.accounts)}")
    settings: dict[str, Any] = {}
    found = offer.partitions.get(partition or offer.default)
    if found is not None:
        cores = min(4, found.cores) or 1
        settings |= {"partition": found.name, "cores_per_node": cores}
        if found.memory and found.cores:
            settings["memory_per_node"] = float(max(1, int(found.memory / found.cores * cores / 2**30)))
        seconds = int(min(3600.0, found.limit or 3600.0))
        settings["walltime"] = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if not account and len(offer.accounts) == 1:
        settings["account"] = offer.accounts[0]
    return settings


def comments(offer: Offer) -> list[str]:
    """Lines for the top of a configuration file."""
    lines = ["# What Slurm told when this file was written:"]
    lines += [f"#   partition {sentence(one)}" for one in offer.partitions.values()]
    return [*lines, *([f"#   accounts that you may charge: {', '.join(offer.accounts)}"] if offer.accounts else []), ""]


def sentence(one: slurm.Partition) -> str:
    """A partition in a line."""
    gpus = f", {one.gpus} GPUs" if one.gpus else ""
    minutes = one.limit / 60 if one.limit else 0.0
    most = f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"
    limit = f"{most} at most" if minutes else "no time limit"
    mark = " (default)" if one.default else ""
    memory = f"{one.memory / 2**30:.0f} GiB"
    return f"{one.name}{mark}: {one.nodes} nodes, up to {one.cores} cores, {memory}{gpus} each; {limit}" + (
        "" if one.up else "; not up"
    )


def described(offer: Offer) -> dict[str, Any]:
    """The offer as JSON: for each partition what it is and which settings fit it."""
    return {
        "accounts": offer.accounts,
        "partitions": [
            {
                "name": one.name,
                "about": sentence(one),
                "default": one.default,
                "up": one.up,
                "accounts": list(one.accounts),
                "fitting": fitting(offer, one.name),
            }
            for one in offer.partitions.values()
        ],
    }
