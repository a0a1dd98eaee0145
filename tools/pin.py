"""Write a constraints file from what a virtual environment holds: names and versions, never an address or a hash.

Make the environment with the oldest Python that is supported: some packages drop old patch releases, and newer
Pythons take what older ones take. Debian 12 has 3.11.2: `make clean`, drop the lines that may rise, then
`make pins PYTHON=/usr/bin/python3`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEADER = "# The versions that were tested together. `make pins` writes this file; names and versions only.\n"


def main(venv: str, target: str) -> None:
    """Write ``target`` from the packages of ``venv``, less our own."""
    pip = [str(Path(venv) / "bin" / "python"), "-m", "pip", "list", "--format=json", "--exclude-editable"]
    found = {row["name"].lower().replace("_", "-"): row["version"] for row in json.loads(subprocess.check_output(pip))}
    found.pop("setuptools", None)  # venv's own, nobody needs it
    path = Path(target)
    # hatchling and what it needs live in pip's isolated build environment, not in the venv: their pins are kept.
    if path.exists():
        for line in path.read_text().splitlines():
            name, sep, version = line.partition("==")
            if sep:
                found.setdefault(name.strip(), version.strip())
    path.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(found.items())))


if __name__ == "__main__":
    main(*sys.argv[1:3])
