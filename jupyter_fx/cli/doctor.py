"""`jupyter fx doctor`: what is wrong here, and how to cure it."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from traitlets import Bool, Unicode

from jupyter_fx import __version__
from jupyter_fx.cli import checkhub, endpoint_ssh
from jupyter_fx.cli.base import ClientCommand
from jupyter_fx.cli.checkhub import Finding
from jupyter_fx.endpoint import checkup, launch
from jupyter_fx.endpoint.settings import config_path, load_settings
from jupyter_fx.endpoint.ssh import record
from jupyter_fx.errors import FxError, UsageError

__all__ = ["DoctorApp"]

NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse.sshfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "panfs",
}
NEEDED = (
    "blake3",
    "cloudpickle",
    "ipykernel",
    "IPython",
    "msgspec",
    "psutil",
    "sqlalchemy",
    "tornado",
    "websockets",
    "zmq",
)


class DoctorApp(ClientCommand):
    """jupyter fx doctor."""

    name = "jupyter-fx-doctor"
    description = (
        "Check this installation, its directories, the fx hub and the endpoints of this host (or ENDPOINT alone); say "
        "how to cure what is wrong."
    )
    arguments = ("ENDPOINT",)
    call = Bool(True, help="Also start hub and endpoint if need be and make a call.").tag(config=True)
    image = Unicode("", help="With ENDPOINT: also start this image there and look for its Python.").tag(config=True)
    aliases = {"hub": "DoctorApp.hub", "image": "DoctorApp.image"}
    flags = {"no-call": ({"DoctorApp": {"call": False}}, "Start nothing, make no call.")}
    start_hub = True

    def start(self) -> None:
        """Check one thing after another; exit status 1 when something is bad."""
        name = self.argument(0, "")
        if self.image and not name:
            raise UsageError("say on which endpoint the image is to be tried: jupyter fx doctor ENDPOINT --image=…")
        if name in record.names():
            self._run([functools.partial(_behind_ssh, name)])
        elif name:
            launch.known(name)
            self._run([functools.partial(self._endpoint, name)])
        checks: list[Callable[[], Iterator[Finding]]] = [python, packages, directories, server_extension]
        if self.call:
            checks.append(self._works)
        checks += [functools.partial(_behind_ssh, one) for one in record.names()]
        checks += [functools.partial(self._endpoint, one) for one in launch.names() if one != "local"]
        self._run(checks)

    def _run(self, checks: Sequence[Callable[[], Iterator[Finding]]]) -> None:
        bad = 0
        for check in checks:
            try:
                for grade, found, cure in check():
                    bad += grade == "bad"
                    print(f"{grade:>4}  {found}" + (f"\n      cure: {cure}" if cure else ""), flush=True)
            except (FxError, OSError) as error:
                bad += 1
                print(f" bad  {error}", flush=True)
        sys.exit(1 if bad else 0)

    def _endpoint(self, name: str) -> Iterator[Finding]:
        """An endpoint of this host, and its way to its hub."""
        print(f"endpoint {name}:")
        yield from checkhub.hub(str(launch.status(name)["hub"]))
        yield from checkup.checkup(name)
        if self.image:
            yield from checkup.image(self.image, load_settings(config_path(name)))

    def _works(self) -> Iterator[Finding]:
        client = self.client
        try:
            found = client.request("whoami")
            version = str(found.get("version", ""))
            yield "ok", f"fx hub {version} at {client.address}: you are {found['user']}", ""
            if version and version != __version__:
                cure = "use the same version on both sides; while both speak the protocol, tasks run all the same"
                yield "warn", f"the fx hub is jupyter-fx {version}, this is {__version__}", cure
            for one in client.request("endpoints.list"):
                fine = str(one["state"]).upper() == "ONLINE"
                yield (
                    ("ok" if fine else "warn"),
                    f"endpoint {one['name']}: {one['state']} {one.get('why') or ''}".rstrip(),
                    "",
                )
            begun = time.monotonic()
            where = client.submit(os.getpid).result(timeout=60.0)
            yield "ok", f"a call ran in process {where} and came back after {time.monotonic() - begun:.2f} s", ""
        except TimeoutError:
            yield (
                "bad",
                "a call did not come back within 60 s",
                "see `jupyter fx endpoint logs local` and `jupyter fx tasks`",
            )
        finally:
            client.close(timeout=0.0)


def _behind_ssh(name: str) -> Iterator[Finding]:
    """An endpoint of another host: whether it is linked. What is there is looked at by its own doctor."""
    found = endpoint_ssh.state(name)
    if found["link"] == "linked":
        yield "ok", f"endpoint {name} is linked through ssh {found['ssh']}", ""
    else:
        yield (
            "bad" if found["link"] == "stopped" and found["why"] != "as asked" else "warn",
            f"endpoint {name} (ssh {found['ssh']}) is not linked: {found['link']}, {found['why']}",
            f"jupyter fx endpoint start {name}; if `ssh {found['ssh']}` works, see {found['log']}",
        )


def python() -> Iterator[Finding]:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield "ok", f"jupyter-fx {__version__} on Python {version} ({sys.executable})", ""
    if shutil.which("jupyter") is None:
        yield (
            "warn",
            "`jupyter` is not on the PATH",
            f"add {Path(sys.executable).parent} to it, or write `jupyter-fx` for `jupyter fx`",
        )


def packages() -> Iterator[Finding]:
    """What must be importable."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        yield "bad", f"missing packages: {', '.join(missing)}", f"{sys.executable} -m pip install --upgrade jupyter-fx"
    else:
        yield "ok", f"all {len(NEEDED)} packages that it needs are there", ""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("ipykernel")
        if re.match(r"7\.[0-3]\b", version):
            yield (
                "warn",
                f"ipykernel {version} is known to lose requests until jupyter-fx is loaded: cells may stay at [*]",
                f"{sys.executable} -m pip install 'ipykernel>=7.4'",
            )


def directories() -> Iterator[Finding]:
    """Where sockets and state are."""
    from jupyter_fx.paths import runtime_dir, state_dir

    for what, make, variable in (
        ("runtime", runtime_dir, "JUPYTER_FX_RUNTIME_DIR"),
        ("state", state_dir, "JUPYTER_FX_STATE_DIR"),
    ):
        path = make()
        kind = file_system(path)
        free = shutil.disk_usage(path).free
        if kind in NETWORK:
            yield (
                "bad",
                f"the {what} directory {path} is on a network file system ({kind})",
                f"set {variable} to a local directory",
            )
        elif free < 512 * 2**20:
            yield (
                "bad",
                f"only {free >> 20} MiB are free in the {what} directory {path}",
                f"free space, or set {variable}",
            )
        else:
            yield "ok", f"{what} directory {path}: yours alone, {free >> 30} GiB free", ""
    sock = runtime_dir() / "hub.sock"
    limit = 107 if sys.platform == "linux" else 103
    if hasattr(socket, "AF_UNIX") and len(os.fsencode(sock)) > limit:
        yield (
            "bad",
            f"{sock} is too long for a socket ({limit} bytes)",
            "set JUPYTER_FX_RUNTIME_DIR to a short directory",
        )


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`; "" where that cannot be told."""
    best = ("", "")
    try:
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _device, mount, kind = line.split()[:3]
            inside = str(path) == mount or str(path).startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(best[0]):
                best = (mount, kind)
    except OSError:
        return ""
    return best[1]


def server_extension() -> Iterator[Finding]:
    """Whether Jupyter's server knows us."""
    from jupyter_core.paths import jupyter_config_path

    for directory in jupyter_config_path():
        if (Path(directory) / "jupyter_server_config.d" / "jupyter_fx.json").exists():
            yield "ok", f"the server extension is enabled in {directory}", ""
            return
    yield "warn", "the server extension is not enabled", "jupyter server extension enable jupyter_fx"
