"""An environment as a directory and as one SquashFS file: `make bench BENCH=packed BENCH_ARGS="numpy pandas"`.

Built as endpoints build them, then imported from the directory, from a mount and from what was unpacked. A median of
three is told; *first* follows a removal of the kernel's caches, which only root can ask for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jupyter_fx.endpoint import fusemounts, unsquash
from jupyter_fx_worker import specenvs, specpack

ROUNDS = 3


def _imports(prefix: Path, modules: list[str], *, first: bool) -> float:
    took = []
    for _ in range(ROUNDS):
        if first:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        began = time.perf_counter()
        subprocess.run([prefix / "bin" / "python", "-c", f"import {', '.join(modules)}"], check=True)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _row(what: str, kept: Path, prefix: Path, modules: list[str], made: float) -> None:
    files = sum(len(folders) + len(names) for _, folders, names in os.walk(kept))
    size = sum(path.lstat().st_size for path in kept.rglob("*") if not path.is_dir()) / 2**20
    warm = _imports(prefix, modules, first=False)
    first = "–"
    with contextlib.suppress(OSError):
        first = f"{_imports(prefix, modules, first=True):.2f}"
    print(f"| {what} | {files:,} | {size:.0f} | {made:.1f} | {first} | {warm:.2f} |", flush=True)


def _built(root: Path, mode: str, text: str) -> float:
    os.environ |= {specenvs.ROOT: str(root / mode), specpack.MODE: mode}
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        specenvs.build(text)
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", default=["numpy", "pandas"])
    packages = parser.parse_args().packages
    text = "\n".join(packages) + "\n"
    if why := specpack.fuse_tools()[2]:
        sys.exit(f"nothing can be mounted here: {why}")
    with tempfile.TemporaryDirectory(prefix="fxbench") as folder:
        root, name = Path(folder), specenvs.name_of(text)
        _built(root / "before", "never", text)  # uv's own cache is filled
        print("| kept as | entries | MiB | made in s | first import s | later s |\n|---|---:|---:|---:|---:|---:|")
        plain = _built(root, "never", text)
        _row("directory", root / "never" / name, root / "never" / name, packages, plain)
        packed = _built(root, "always", text)
        file = Path(specpack.packed_of(str(root / "always"), name))
        place = root / "mounted"
        place.mkdir()
        mounted = fusemounts.Mounted(file, place, os.environ)
        try:
            while not mounted.is_up():
                time.sleep(0.005)
            _row("one file, mounted", file.parent, place, packages, packed)
        finally:
            mounted.close()
        began = time.perf_counter()
        unsquash.unpack(file, root / "unpacked")
        took = time.perf_counter() - began
        _row("the same, unpacked on the node", root / "unpacked", root / "unpacked", packages, took)


if __name__ == "__main__":
    main()
