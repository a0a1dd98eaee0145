"""What a manager may use of its node: its batch job's share, as the scheduler's variables say it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import psutil

__all__ = ["cores_of", "gpus_of", "memory_of"]


def cores_of(env: Mapping[str, str]) -> int:
    """Cores that are ours on this node."""
    for name in (
        "JUPYTER_FX_NODE_CORES",
        "SLURM_CPUS_ON_NODE",
        "NCPUS",
        "PBS_NUM_PPN",
        "LSB_MAX_NUM_PROCESSORS",
        "NSLOTS",
    ):
        if (value := env.get(name, "")).isdigit() and int(value):
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_of(env: Mapping[str, str]) -> int:
    """Bytes of memory that are ours on this node."""
    total = int(psutil.virtual_memory().total)
    if (pod := env.get("JUPYTER_FX_NODE_MEMORY", "")).isdigit() and int(pod):
        return min(int(pod), total)
    if (whole := env.get("SLURM_MEM_PER_NODE", "")).isdigit() and int(whole):
        return int(whole) << 20
    if (each := env.get("SLURM_MEM_PER_CPU", "")).isdigit() and int(each):
        return (int(each) << 20) * cores_of(env)
    return total


def gpus_of(env: Mapping[str, str], configured: list[str]) -> list[str]:
    """The GPUs that are ours on this node, as CUDA_VISIBLE_DEVICES names them."""
    if configured:
        return list(configured)
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"):
        value = env.get(name, "")
        if value and not re.search(r"NoDevFiles|^-1$", value):
            return [one.strip() for one in value.split(",") if one.strip()]
    return []
