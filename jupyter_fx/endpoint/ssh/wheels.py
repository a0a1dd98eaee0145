"""jupyter-fx as a wheel, made from what is installed here: so that both sides are the same, released or not."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from io import BytesIO
from pathlib import Path

from jupyter_fx import __version__
from jupyter_fx.errors import InfrastructureError

__all__ = ["digest_of", "download", "own_wheel", "packed"]

PACKAGES = ("jupyter_fx", "jupyter_fx_kernel", "jupyter_fx_worker", "jupyter_fx_hub")
_LEFT_OUT = frozenset(("__pycache__", "labextension"))
_EPOCH = (2020, 1, 1, 0, 0, 0)


def own_wheel(folder: Path) -> Path:
    """Write the wheel of this installation (an editable one too) into `folder`; equal sources give equal bytes."""
    version = metadata.version("jupyter-fx")
    info = f"jupyter_fx-{version}.dist-info"
    found = metadata.distribution("jupyter-fx")
    files: dict[str, bytes] = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise InfrastructureError(f"the package {package} is not installed here: install jupyter-fx again")
        base = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(base.rglob("*")):
            if path.is_file() and not _LEFT_OUT.intersection(path.relative_to(base).parts) and path.suffix != ".pyc":
                files[f"{package}/{path.relative_to(base).as_posix()}"] = path.read_bytes()
    files[f"{info}/METADATA"] = (found.read_text("METADATA") or "").encode()
    files[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: jupyter-fx\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    target = folder / f"jupyter_fx-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return target


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def digest_of(wheel: Path) -> str:
    """A short name for exactly this wheel."""
    return f"{__version__}-{hashlib.sha256(wheel.read_bytes()).hexdigest()[:12]}"


def download(wheel: Path, folder: Path, python: str, machine: str, extra: str = "") -> None:
    """Bring the wheels of everything that ours needs, and its optional packages `extra`, for another Python and
    machine, into `folder`: for a host that cannot. InfrastructureError when it cannot be done here either."""
    platforms = [f"manylinux_2_{n}_{machine}" for n in (28, 27, 24, 17, 12, 5)] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", "--dest", str(folder)]
    for platform in platforms:
        command += ["--platform", platform]
    done = subprocess.run(
        [*command, f"{wheel}[{extra}]" if extra else str(wheel)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise InfrastructureError(
            "that host cannot fetch packages, and neither could this machine fetch them for it: "
            f"{said[-1] if said else 'pip failed'}; give a directory of wheels with --wheels DIR"
        )


def packed(files: list[Path]) -> bytes:
    """The files as one tar archive."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in files:
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode = path.stat().st_size, 0o600
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return out.getvalue()
