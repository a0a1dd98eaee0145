"""What must be true before a fork, and what must be put right after it (DESIGN decision 6)."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Callable

__all__ = [
    "NEVER_PRELOAD",
    "POOL_VARIABLES",
    "die_with_parent",
    "pool_setters",
    "reseed",
    "set_pools",
    "why_not_forkable",
]

NEVER_PRELOAD = frozenset(("mpi4py", "tensorflow", "jax", "cupy", "grpc", "polars"))
POOL_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_DEVICES = ("/dev/nvidia", "/dev/dri", "/dev/infiniband", "/dev/kfd")
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
    "bli_thread_set_num_threads",
    "omp_set_num_threads",
)
_LIBRARIES = ("blas", "blis", "mkl_rt", "libgomp", "libomp", "libiomp", "lapack")


def why_not_forkable() -> str | None:
    """Return None when this process may fork, else the reason in a few words."""
    try:
        threads = len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        threads = threading.active_count()
    if threads > 1:
        return f"{threads} threads are running"
    for fd in _descriptors():
        if fd.startswith(_DEVICES):
            return f"an accelerator is open ({fd})"
        if fd == "anon_inode:[eventpoll]":
            return "an event loop exists"
    for name in ("mpi4py.MPI", "tensorflow", "jax", "cupy", "grpc", "polars"):
        if name in sys.modules:
            return f"{name} is loaded, which does not survive a fork"
    return None


def _descriptors() -> list[str]:
    found = []
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return []
    for name in names:
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return found


def reseed() -> None:
    """Give the global generators of this process fresh entropy: forked workers would draw the same numbers."""
    import random

    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(int.from_bytes(os.urandom(7), "little"))


def pool_setters() -> list[Callable[[int], Any]]:
    """Return the functions that set the width of the BLAS and OpenMP pools loaded in this process.

    Environment variables are read when a library is loaded, which for a forked worker was before it knew its cores.
    """
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.split(None, 5)[-1].strip() for line in maps if ".so" in line}
    except OSError:
        return []
    setters: list[Callable[[int], Any]] = []
    for path in sorted(paths):
        name = os.path.basename(path)
        if not any(part in name for part in _LIBRARIES):
            continue
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
        for symbol in _SETTERS:
            setter = getattr(library, symbol, None)
            if setter is not None:
                setter.argtypes, setter.restype = [ctypes.c_int], None
                setters.append(setter)
                break
    return setters


def set_pools(cores: int, setters: list[Callable[[int], Any]], env: dict[str, str] | None = None) -> None:
    """Make BLAS and OpenMP pools `cores` wide.

    Those that are loaded through `setters`, later ones and those of subprocesses through the environment.
    """
    given = env or {}
    for variable in POOL_VARIABLES:
        os.environ[variable] = given.get(variable, str(cores))
    for setter in setters:
        setter(cores)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(cores)


def die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends (prctl PR_SET_PDEATHSIG).

    Elsewhere do nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    except (OSError, AttributeError):
        pass
