"""A container: a running instance of an environment, with the zygote in it that makes its workers.

The host's own Python is one too, without walls. What a container sees of us is below INSIDE: the worker tree (read-only
where its runtime can), the files of payloads and results, the directories of its sessions, a socket. Paths that travel
between manager and worker are translated here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from jupyter_fx.endpoint import builtimages, environments
from jupyter_fx.endpoint.learned import Learned
from jupyter_fx.endpoint.leftovers import LABEL, remove_left
from jupyter_fx.endpoint.runtimes.command import Mount, Start
from jupyter_fx.endpoint.runtimes.faults import explain
from jupyter_fx.endpoint.specs import builder
from jupyter_fx.endpoint.specs import folder as folder_of
from jupyter_fx.endpoint.zygote_proc import Launch, ZygoteProc, boot_program, worker_zip
from jupyter_fx.errors import FxError
from jupyter_fx.protocol.lifecycle import ContainerState, move
from jupyter_fx_worker import bundle, kept

if TYPE_CHECKING:
    from jupyter_fx.endpoint.managerspec import ManagerSpec

__all__ = ["INSIDE", "Container", "ContainerOwner", "Host"]

log = logging.getLogger(__name__)

INSIDE: Final = "/tmp/.jupyter-fx"  # noqa: S108 - inside, where /tmp is the container's own
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NO_ENVIRONMENT: Final = "/ch/environment"

_SAY_EVERY: Final = 600.0


class ContainerOwner(Protocol):
    """What a container tells."""

    def container_started(self, container: Container) -> None:
        """There is a process; what is not ready yet may have to be ended by a successor of ours."""

    def container_ready(self, container: Container) -> None:
        """Its zygote said ready: workers can be had."""

    def container_stopping(self, container: Container) -> None:
        """It is about to be ended on purpose: its workers are gone."""

    def container_ended(self, container: Container, why: str, *, came_up: bool) -> None:
        """It is not there any more, and nobody asked for that."""

    def worker_forked(self, worker: str, pid: int) -> None:
        """A worker has this pid."""

    def worker_exited(self, worker: str, frame: dict[str, Any]) -> None:
        """A worker's process has ended."""


class Container:
    """One instance. `environment`: its name as tasks say it; `key`: its own name here."""

    def __init__(
        self,
        environment: str,
        key: str,
        spec: ManagerSpec,
        owner: ContainerOwner,
        loop: asyncio.AbstractEventLoop,
        preload: list[str],
    ) -> None:
        self.environment = environment
        self.key = key
        self.state: ContainerState = move(None, ContainerState.STARTING)
        self.single = False
        self.digest = ""
        self.workers = 0
        """Worker processes in it."""
        self.busy = 0
        """Of these, how many run something or belong to a session."""
        self.starting = 0
        """Of these, how many are not up yet: somebody waits for them."""
        self.idle_since = self._begun = loop.time()
        self.seconds = 0.0
        """That it took to come up; 0.0: it has not."""
        self.preload = preload
        self.learned = Learned(spec.learn)
        self._spec = spec
        self._owner = owner
        self._loop = loop
        self._zygote: ZygoteProc | None = None
        self._closed = False
        self._stopping = False

    # What differs between the host and an image: `_launch`, and the translation of paths.

    def start(self) -> None:
        """Begin; the owner is told how it went."""
        raise NotImplementedError

    def inside(self, path: str) -> str:
        """A path of ours, as it is seen inside."""
        return path

    def outside(self, path: str) -> str:
        """The file of ours that a worker calls `path`. ValueError when it must not name that."""
        return path

    def session_folder(self, session: str) -> str:
        """The working directory of a session that has none of its own, as it is seen from outside."""
        own = self._sessions() / session
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(own)

    def _sessions(self) -> Path:
        return Path(self._spec.sessions) if self._spec.sessions else Path(self._spec.folder) / "sessions"

    def session_environment(self, _session: str) -> dict[str, str]:
        """Variables of a session's worker beside those of the container."""
        return {}

    # What is the same.

    @property
    def info(self) -> dict[str, Any]:
        """What the zygote said of itself."""
        return self._zygote.info if self._zygote is not None else {}

    @property
    def outlives(self) -> bool:
        """Whether it may go on when whoever started it is gone."""
        return False

    @property
    def pid(self) -> int:
        """The zygote's; 0 when there is none."""
        return self._zygote.pid if self._zygote is not None else 0

    def become(self, state: ContainerState) -> None:
        """Move along the lifecycle table."""
        self.state = move(self.state, state, self.key)

    @property
    def up(self) -> bool:
        """Whether workers can be had."""
        return self.state in {ContainerState.WARM, ContainerState.BUSY}

    def fork(self, told: dict[str, Any], fds: list[int]) -> None:
        """Ask for a worker. OSError when it cannot be asked."""
        if self._zygote is None:
            raise BrokenPipeError(f"{self.key} is not there")
        self._zygote.fork(told, fds)

    def imported(self, worker: str, modules: list[str]) -> None:
        """A worker of it imported these: later ones may have them from the start."""
        if (fresh := self.learned.imported(worker, modules)) and self._zygote is not None:
            self._zygote.preload(fresh)

    def pid_outside(self, pid: int) -> int:
        """A worker's pid, as seen from here."""
        return self._zygote.outside(pid) if self._zygote is not None else pid

    def took(self) -> None:
        """One more of its workers is busy."""
        self.busy += 1
        if self.state is ContainerState.WARM:
            self.become(ContainerState.BUSY)

    def gave(self) -> None:
        """One less is."""
        self.busy -= 1
        self.idle_since = self._loop.time()
        if not self.busy and self.state is ContainerState.BUSY:
            self.become(ContainerState.WARM)

    def _run(self, launch: Launch, hello: dict[str, Any], name: str) -> None:
        self._zygote = ZygoteProc(
            launch,
            hello={
                "preload": self.preload,
                "learn": self._spec.learn,
                "cores": self._spec.worker_cores,
                "umask": self._spec.umask,
                **hello,
            },
            log=Path(self._spec.container_logs + name if self._spec.container_logs else f"{self._spec.folder}/{name}"),
            loop=self._loop,
            on_ready=self._ready,
            on_forked=self._owner.worker_forked,
            on_exited=self._owner.worker_exited,
            on_dead=self._dead,
        )
        self._owner.container_started(self)

    def _ready(self, info: dict[str, Any]) -> None:
        for warning in info.get("warnings", ()):
            log.warning("%s: %s", self.key, warning)
        if not info.get("forkable", True):
            log.warning("%s: workers are started plainly, not forked: %s", self.key, info.get("why"))
        self.idle_since = self._loop.time()
        self.seconds = self.idle_since - self._begun
        self.become(ContainerState.WARM)
        self._owner.container_ready(self)
        if self.learned.modules and self._zygote is not None:
            # After those who wait for a worker.
            self._zygote.preload(self.learned.modules)

    def _dead(self, status: int | None, words: str) -> None:
        if not self._closed:
            self._failed(self._why(status, words))

    def _why(self, status: int | None, words: str) -> str:
        lines = words.strip().splitlines()
        said = f": {lines[-1][:300]}" if lines else ""
        return (
            f"the zygote ended with status {status}{said}" if status is not None else f"the zygote said nothing{said}"
        )

    def _failed(self, why: str) -> None:
        came_up = self.state is not ContainerState.STARTING
        asked = self._stopping or self._closed
        self.close()
        if not asked:
            log.error("%s: %s", self.key, why)
            self._owner.container_ended(self, why, came_up=came_up)

    @property
    def gone(self) -> bool:
        """Whether nothing is left of it."""
        return self._closed

    def stop(self) -> None:
        """End it and everything in it. Nobody is told; nothing is waited for."""
        if self._closed or self._stopping:
            return
        self._stopping = True
        if self.up:
            self.become(ContainerState.STOPPING)
        if self._zygote is not None:
            self._zygote.kill()
        else:
            self.close()

    def close(self) -> None:
        """End it, and see to it that it is gone."""
        if self._closed:
            return
        self._closed = True
        if self._stopping and self.up:
            self.become(ContainerState.STOPPING)
        if self._zygote is not None:
            self._zygote.close()
        self.become(ContainerState.STOPPED if self.state is ContainerState.STOPPING else ContainerState.FAILED)


class Host(Container):
    """The Python of the endpoint itself, or the one that its owner named."""

    def start(self) -> None:
        """Start the zygote. OSError when there is no such Python."""
        spec = self._spec
        scratch = Path(spec.folder) / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        python = spec.python or sys.executable
        launch = Launch(lambda fd: [python, "-c", boot_program(python, fd, scratch)], {**spec.env, **builder(spec)})
        hello = {"scratch": str(scratch), "env": {}, "die_with_parent": spec.die_with_parent}
        try:
            self._run(launch, hello, "zygote.log")
        except OSError as error:
            # Told a moment later, when whoever asked for it has noted down that it is there.
            self._loop.call_soon(self._failed, f"{python} cannot be started: {error.strerror}")


class Boxed(Container):
    """An instance of an image. Finding the image may take its time (a store is asked, a file is digested), so that is
    done in a thread; the process itself is started from the loop's thread, which stays.
    """

    def __init__(self, *args: Any, folder: Path, label: str) -> None:
        super().__init__(*args)
        self._folder = folder
        """Its directory on the node: `tmp` is its /tmp."""
        self._label = label
        """Of all containers of this manager."""
        self._image: environments.Image | None = None
        self._mounts: list[Mount] = []
        self._image_environment = True
        self._used: IO[str] | None = None
        """Held while it is there, if it was built from a definition: then nobody removes it."""
        self._saying: asyncio.TimerHandle | None = None
        self._finding: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Find the image, then start it."""
        self._finding = self._loop.create_task(self._find())

    async def _find(self) -> None:
        try:
            self._image, self.digest, data = await asyncio.to_thread(self._look)
            self._prepare(data)
            self._go()
            self._say()
        except FxError as error:
            self._failed(str(error))
        except OSError as error:
            self._failed(f"image {self.environment!r} cannot be started: {error.strerror}: {error.filename or ''}")

    def _say(self) -> None:
        """It is used, still: not every file system shows locks."""
        if self._used is not None and not self._closed:
            with contextlib.suppress(OSError):
                os.utime(self._used.name)
            self._saying = self._loop.call_later(_SAY_EVERY, self._say)

    def _look(self) -> tuple[environments.Image, str, list[Mount]]:
        spec = self._spec.containers
        kept_in = folder_of(self._spec)
        if name := builtimages.there(kept_in, self.environment):
            self._used = kept.hold(str(kept_in), name)
        image = environments.find(self.environment, spec, self._spec.env, kept_in)
        digest = environments.digest_of(image, self._spec.env, Path(self._spec.folder) / "image-digests.json")
        environments.check_allowed(image, digest, spec)
        return image, digest, environments.data_mounts(spec, self._spec.env)

    def _prepare(self, data: list[Mount]) -> None:
        """Make the directories that it sees. What is below /tmp must be there before: some runtimes make no targets."""
        files = Path(self._spec.files or self._spec.folder)
        own = self._folder
        for name in ("tmp", "run", "mnt", "tree"):
            (own / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        worker_zip(own / "tree")
        self._mounts = [
            Mount(str(own / "tmp"), "/tmp"),  # noqa: S108 - inside
            Mount(str(own / "tree"), f"{INSIDE}/tree", readonly=True),
            Mount(str(own / "run"), f"{INSIDE}/run"),
        ]
        shared = {
            "inputs": files / "inputs",
            "refs": files / "refs",
            "sessions": self._sessions(),
            "spill": self._spill(),
        }
        for name, folder in shared.items():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mounts.append(Mount(str(folder), f"{INSIDE}/{name}", readonly=name in {"inputs", "refs"}))
        self._mounts += data
        for mount in self._mounts[1:]:
            if mount.target.startswith("/tmp/"):  # noqa: S108 - inside
                (own / "tmp" / os.path.relpath(mount.target, "/tmp")).mkdir(parents=True, exist_ok=True)  # noqa: S108

    def _go(self) -> None:
        image, spec = self._image, self._spec.containers
        assert image is not None
        runtime = image.runtime
        home = self._spec.env.get("HOME", "") if spec.home else ""
        # There may be none on a node.
        home = home if Path(home).is_dir() else ""
        program = bundle.boot_at(f"{INSIDE}/tree/worker.zip", f"{INSIDE}/run/zygote")
        start = Start(
            image=_exact(image, self.digest),
            program=(spec.python, "-s", "-c", program),
            mounts=tuple(self._mounts),
            name=f"jupyter-fx-{self._label}-{self._folder.name}",
            labels={LABEL: self._label},
            home=home if home and runtime.home(home) else "",
            mount_point=str(self._folder / "mnt") if image.kind == "squashfs" else "",
            image_environment=self._has_environment(image),
            gpus=spec.gpus,
            pull=spec.pull,
            options=tuple(spec.options.get(runtime.name, ())),
        )
        command = runtime.command(start)
        user = environments.user_name()
        inside = runtime.home(home) if start.home else "/tmp"  # noqa: S108 - inside
        given = {"HOME": inside, "USER": user, "TMPDIR": "/tmp"}  # noqa: S108 - inside
        env = self._spec.env
        if runtime.quiet:
            env = {"PATH": _PATH, "USER": user, "HOME": self._spec.env.get("HOME", "/")}
            env |= {name: self._spec.env[name] for name in ("LANG", "LC_ALL", "TZ") if name in self._spec.env}
        else:
            # It needs them itself, and takes them to be the user's.
            env = {**env, "USER": user}
        hello = {
            "scratch": f"{INSIDE}/run",
            "env": {**given, **self._spec.given_env},
            # In a container of its own the zygote's parent may be nobody at all: it goes by its socket.
            "orphan_grace": 0.0,
            "die_with_parent": runtime.quiet,
        }
        launch = Launch(lambda _fd: command, env, self._folder / "run" / "zygote", spec.start_seconds)
        self._run(launch, hello, f"container-{self._folder.name}.log")

    def _has_environment(self, image: environments.Image) -> bool:
        if image.runtime.name != "charliecloud" or not self._image_environment:
            return False
        # That of a file is not seen from here: it is tried, and tried without.
        return image.kind != "directory" or Path(image.place + _NO_ENVIRONMENT).is_file()

    def _dead(self, status: int | None, words: str) -> None:
        if self._closed:
            return
        starting = self.state is ContainerState.STARTING
        if starting and status and not self._stopping and self._image_environment and _NO_ENVIRONMENT in words:
            self._image_environment = False
            with contextlib.suppress(OSError):
                self._go()
                return
        if self._image is not None and starting and self._image.runtime.listing is not None:
            # What starts it is gone; it itself may not be.
            name = self._folder.name
            self._loop.run_in_executor(None, remove_left, self._image.runtime, self._label, self._spec.env, name)
        super()._dead(status, words)

    def _why(self, status: int | None, words: str) -> str:
        spec = self._spec.containers
        if self.state is not ContainerState.STARTING:
            return f"the container of image {self.environment} ended by itself (status {status})"
        name = self.environment
        if builtimages.is_built(name):
            name = builtimages.shown(folder_of(self._spec), name)
        return explain(name, spec.python, platform.machine(), status, words, waited=spec.start_seconds)

    @property
    def outlives(self) -> bool:
        """See Container."""
        return self._image is not None and self._image.runtime.listing is not None

    def close(self) -> None:
        """See Container."""
        if self._closed:
            return
        super().close()
        if self._saying is not None:
            self._saying.cancel()
        if self._used is not None:
            self._used.close()
        if self._finding is not None and self._finding is not asyncio.current_task(self._loop):
            self._finding.cancel()
        _remove_tree(self._folder)

    def _spill(self) -> Path:
        return Path(self._spec.spill) if self._spec.spill else Path(self._spec.folder) / "spill"

    def inside(self, path: str) -> str:
        """See Container."""
        for mount in self._mounts:
            if path == mount.source or path.startswith(mount.source + "/"):
                return mount.target + path[len(mount.source) :]
        return path

    def outside(self, path: str) -> str:
        """See Container. A worker names files of results only, by names that it chose: whatever else it says (another
        directory, a link out of it) is not followed.
        """
        folder, name = os.path.split(path)
        found = self._spill() / name
        if folder != f"{INSIDE}/spill" or not name or not stat.S_ISREG(os.lstat(found).st_mode):
            raise ValueError(f"{path[:200]!r} is no file of a result")
        return str(found)

    def session_environment(self, session: str) -> dict[str, str]:
        """See Container: temporary files of sessions that share a container are kept apart."""
        own = self._folder / "tmp" / f"session-{session[-12:]}"
        own.mkdir(mode=0o700, exist_ok=True)
        return {"TMPDIR": f"/tmp/{own.name}"}  # noqa: S108 - inside


def _exact(image: environments.Image, digest: str) -> str:
    """What the runtime is told: the very image that was looked at, whatever its tag says by now."""
    return digest.removeprefix("sha256:") if image.kind == "reference" and digest else image.place


def _remove_tree(folder: Path) -> None:
    """Delete what a container had for itself; files of other owners in it stay, with a word in the log."""

    def note(_call: Callable[..., Any], path: str, _error: Any) -> None:
        log.warning("%s cannot be removed", path)

    if folder.exists():
        shutil.rmtree(folder, onerror=note)
