"""A block's keeper on one node: `python -m jupyter_fx.endpoint.node BLOCK_DIR`. It starts the manager and cleans up.

The job's script runs this program on each node. It becomes the one to whom orphans on that node fall, so what has left
the manager's process tree, by a double fork say, is still a descendant of it. When the manager ends, however it ends,
the keeper ends all that is left, removes what was written on the node, and then gives its word that this manager is
dead (a file in the block's directory, vouched for by the block's secret): that is how an agent may know, without a
scheduler, that what ran there runs no more. A manager that has died is started anew a few times.

What left even the keeper's tree carries the block's name in its environment and is found by that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

MARK: Final = "JUPYTER_FX_BLOCK"
"""The environment variable that all processes of a block carry."""
KEEPER: Final = "JUPYTER_FX_KEEPER"
"""The one by which a manager knows the process id of its keeper, which in a pod is 1."""
GRACE: Final = 2.5
"""Seconds that a manager has to tell its results when the job ends."""
RESTARTS: Final = 5
_SUBREAPER: Final = 36
_PROC: Final = Path("/proc")

__all__ = ["KEEPER", "MARK", "host_name", "main", "no_room", "scratch_dir"]


def host_name() -> str:
    """This node: several may share a machine, in tests."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def scratch_dir(base: str, manager: str) -> Path:
    """The directory of one manager on its node (0700)."""
    top = Path(base or os.environ.get("TMPDIR") or tempfile.gettempdir()) / f"jupyter-fx-{os.getuid()}"
    top.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = os.lstat(top)
    if info.st_uid != os.getuid() or info.st_mode & 0o077:
        top = Path(tempfile.mkdtemp(prefix="jupyter-fx-"))
    folder = top / f"m-{manager}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _parents() -> dict[int, int]:
    """Every process and its parent."""
    found = {}
    for name in [one.name for one in _PROC.iterdir()]:
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = (_PROC / name / "stat").read_bytes()
                found[int(name)] = int(text.rpartition(b")")[2].split()[1])
    return found


def _below(top: int) -> set[int]:
    """All descendants."""
    parents = _parents()
    found: set[int] = set()
    fresh = {top}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def _marked(value: str) -> set[int]:
    """Processes of ours that carry the mark with this value, wherever they hang in the tree."""
    needle = f"{MARK}={value}".encode()
    found = set()
    me = os.getuid()
    for name in [one.name for one in _PROC.iterdir()]:
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                path = _PROC / name
                if path.stat().st_uid == me and needle in (path / "environ").read_bytes().split(b"\0"):
                    found.add(int(name))
    return found


class Keeper:
    """See the module."""

    def __init__(self, folder: Path) -> None:
        # Imported late: without the package's files there is still a sentence.
        from jupyter_fx.endpoint.bootstrap import Block

        self._folder = folder
        self._block = Block(folder)
        self._ending = ""
        self._bell = -1
        self._process: subprocess.Popen[bytes] | None = None
        # Steps of one job on one (pretended) machine share a block's name, not a node's.
        self._mark = f"{folder.name}:{host_name()}"

    def run(self) -> int:
        """Keep a manager until the job ends or the manager says that it is done; the exit status."""
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        os.environ[MARK] = self._mark
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._told)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._bell, ring = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(ring, False)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        tries = 0
        status = 1
        while tries <= RESTARTS and not self._ending and self._wanted():
            begun = time.monotonic()
            status = self._keep()
            if status == 0:
                break
            tries = 0 if time.monotonic() - begun > 600 else tries + 1
            self._nap(min(20.0, 0.5 * 2**tries))
        return 0 if self._ending else status

    def _wanted(self) -> bool:
        return (self._folder / "secret").exists() and (self._folder / "spec.json").exists()

    def _told(self, number: int, _frame: Any) -> None:
        self._ending = signal.Signals(number).name

    def _nap(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._ending:
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        """Until a signal came, or so long."""
        select.select([self._bell], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._bell, 512):
                pass

    def _keep(self) -> int:
        """One manager, from its start until nothing of it is left; its exit status."""
        import msgspec

        spec = msgspec.json.decode((self._folder / "spec.json").read_bytes())
        manager = secrets.token_hex(16)
        try:
            scratch = scratch_dir(spec.get("scratch", ""), manager)
        except OSError as error:
            self._block.complain(no_room(host_name(), error))
            raise SystemExit(f"{host_name()}: {error}") from error
        command = [sys.executable, "-m", "jupyter_fx.endpoint.manager_main", str(self._folder), manager, str(scratch)]
        env = {**os.environ, KEEPER: str(os.getpid())}
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
        status: int | None = None
        told = 0.0
        while status is None:
            if self._ending and not told:
                told = time.monotonic()
                with contextlib.suppress(OSError):
                    os.kill(self._process.pid, signal.SIGTERM)
            if told and time.monotonic() - told > GRACE:
                with contextlib.suppress(OSError):
                    os.kill(self._process.pid, signal.SIGKILL)
            status = self._reap(self._process.pid)
            if status is None:
                self._wait(0.2 if told else 30.0)
        why = f"the manager on {host_name()} ended with {_words(status)}"
        if self._ending:
            why = f"its job was ended ({self._ending})"
        self._sweep()
        self._clear(scratch, spec)
        shutil.rmtree(scratch, ignore_errors=True)
        if self._wanted():
            self._block.tell_gone(manager, why)
        return status

    def _clear(self, scratch: Path, spec: dict[str, Any]) -> None:
        """End what is left of its containers, in the stores of their runtimes as well."""
        from jupyter_fx.endpoint import fusemounts, leftovers

        fusemounts.unmount_below(scratch)
        elsewhere = spec.get("containers", {}).get("scratch", "")
        if elsewhere or (scratch / leftovers.MARKER).exists():
            leftovers.clear_node(scratch, elsewhere, {**os.environ, **spec.get("env", {})})
            # A runtime's own command may leave a process that holds the user's namespace.
            self._sweep()

    @staticmethod
    def _reap(pid: int) -> int | None:
        """Reap whatever has ended; the status of `pid` if that has."""
        found: int | None = None
        with contextlib.suppress(ChildProcessError):
            while True:
                child, status = os.waitpid(-1, os.WNOHANG)
                if not child:
                    break
                if child == pid:
                    found = os.waitstatus_to_exitcode(status)
        return found

    def _sweep(self) -> None:
        """End everything that the manager left; what multiplies is killed until there is nothing more."""
        for _ in range(100):
            left = _below(os.getpid()) | _marked(self._mark)
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self._reap(0)
            if not left:
                return
            time.sleep(0.02)


def no_room(host: str, error: OSError) -> str:
    """Why a manager cannot write on its node, and the cure."""
    where = f" ({error.filename})" if error.filename else ""
    return f"{host}: {error.strerror}{where}; c.Blocks.scratch says where managers write on their nodes"


def _words(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


def main(argv: list[str] | None = None) -> int:
    """Be the keeper of this node for the block whose directory is named."""
    (folder,) = argv if argv is not None else sys.argv[1:]
    os.umask(0o077)
    path = Path(folder)
    if not (path / "spec.json").exists():
        sys.stderr.write(f"{host_name()}: there is no block in {folder} any more; nothing is done\n")
        return 0
    return Keeper(path).run()


if __name__ == "__main__":
    sys.exit(main())
