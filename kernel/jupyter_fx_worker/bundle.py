"""The worker zip: this package and cloudpickle, the same bytes whenever the same sources go in."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
import zipfile

import cloudpickle

__all__ = ["TOO_OLD", "boot", "boot_at", "build", "path"]

TOO_OLD = "jupyter-fx: this is Python "
"""What is said, with the version behind it, by an interpreter that is too old to be a zygote."""


def _sources(folder: str, name: str) -> dict[str, str]:
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        for file in sorted(files):
            if file.endswith(".py"):
                path = os.path.join(root, file)
                found[f"{name}/{os.path.relpath(path, folder)}".replace(os.sep, "/")] = path
    return found


def build() -> bytes:
    """Return the zip: stored, sorted, without times, so that its digest names its content."""
    files = _sources(os.path.dirname(os.path.abspath(__file__)), "jupyter_fx_worker")
    files.update(_sources(os.path.dirname(os.path.abspath(cloudpickle.__file__)), "cloudpickle"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            with open(files[name], "rb") as file:
                archive.writestr(info, file.read())
    return out.getvalue()


def path(folder: str | None = None) -> str:
    """Write the zip to `folder` under a name made of its digest, unless it is there, and return where it is.

    Without `folder`: `jupyter-fx` in $XDG_RUNTIME_DIR, else `/tmp/jupyter-fx-UID`. Raises PermissionError when that
    folder belongs to somebody else: whoever can write there could run code as us.
    """
    data = build()
    folder = folder or _runtime_folder()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    info = os.lstat(folder)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022:
        raise PermissionError(f"{folder} must be a directory of yours that nobody else can write to: remove it")
    target = os.path.join(folder, f"worker-{hashlib.sha256(data).hexdigest()[:16]}.zip")
    if not os.path.exists(target):
        fd, temporary = tempfile.mkstemp(dir=folder)
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(temporary, target)
    return target


def _runtime_folder() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return os.path.join(runtime, "jupyter-fx")
    return os.path.join(tempfile.gettempdir(), f"jupyter-fx-{os.getuid()}")


def boot(source: str, fd: int) -> str:
    """Return the program for `python -c` that runs a zygote on the inherited socket `fd`.

    `source` is the zip, or the folder that holds this package.
    """
    return _program(source, f"zygote.main({int(fd)})")


def boot_at(source: str, address: str) -> str:
    """Return the program for `python -c` that runs a zygote on the Unix socket that listens at `address`."""
    return _program(source, f"zygote.main_at({address!r})")


def _program(source: str, call: str) -> str:
    # Read by whatever an image calls its Python: until the version is known, nothing here may be newer than Python 2.
    return (
        "import sys\n"
        "if sys.version_info < (3, 9):\n"
        f"    sys.stderr.write({TOO_OLD!r} + '%d.%d.%d\\n' % sys.version_info[:3])\n"
        "    sys.exit(78)\n"
        f"sys.path.insert(0, {source!r})\n"
        f"from jupyter_fx_worker import zygote\n{call}\n"
    )
