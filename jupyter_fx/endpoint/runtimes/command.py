"""The command lines of every container runtime, made by one function. Pure: nothing is run, nothing is looked up.

The contract, which is the same for all of them:

* the program is the argument list's end, is run directly (no shell, no entry point of the image) and may write its
  last words to the standard output and error that it is given;
* nothing is fetched from a registry unless `Start.pull` says so;
* what is mounted is `Start.mounts` and nothing else of ours; `/tmp` inside is the container's own directory;
* no value of the environment, which may be secret, stands in the arguments: variables travel on the zygote's socket;
* what outlives its starter carries `Start.labels`, so that `leftovers` finds it and `remove` ends it.

Charliecloud, Podman and bubblewrap are run by our tests. The command lines of Apptainer, Singularity, Docker and
Shifter follow their manuals and are compared as text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from jupyter_fx.errors import UsageError

__all__ = ["NAMES", "RUNTIMES", "Mount", "Runtime", "Start"]


class Mount(NamedTuple):
    """A directory of the node that is seen inside as `target`."""

    source: str
    target: str
    readonly: bool = False


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is to be started. `image`: a path or a reference, as the runtime takes it; `program`: what runs inside."""

    image: str
    program: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    """The user's home directory, if it is to be seen inside; empty: it is not."""
    mount_point: str = ""
    """An empty directory on which a SquashFS image may be mounted."""
    image_environment: bool = False
    """Whether the image has a file /ch/environment (Charliecloud)."""
    gpus: bool = False
    pull: bool = False
    options: tuple[str, ...] = ()
    """What the endpoint's owner adds, in front of the image."""


class Runtime(NamedTuple):
    """One runtime. `program`: what is looked for on PATH; `kinds`: forms of image that it takes."""

    name: str
    program: str
    kinds: tuple[str, ...]
    build: Callable[[Start], list[str]]
    quiet: bool
    """Whether it hands its own environment on to the program: then it gets next to none."""
    home: Callable[[str], str]
    """Where the user's home directory is inside, from where it is outside; empty: it is never mounted."""
    exists: tuple[str, ...] = ()
    """Asks the runtime's store for an image: ends with 0 when it is there. The image is appended."""
    digest: tuple[str, ...] = ()
    """Prints the digest of an image of the runtime's store. The image is appended."""
    listing: Callable[[Mapping[str, str]], list[str]] | None = None
    """Prints the ids of containers with these labels, one per line, also of those that have ended."""
    removing: tuple[str, ...] = ()
    """Ends and removes containers, whose ids are appended, at once."""

    def command(self, start: Start) -> list[str]:
        """The argument list that starts it. UsageError for paths that this runtime's options cannot say."""
        for mount in start.mounts:
            if any(mark in path for mark in ":," for path in mount[:2]) or "\n" in "".join(mount[:2]):
                raise UsageError(f"{mount.source} cannot be mounted: its name holds a colon, a comma or a line break")
        return self.build(start)

    def leftovers(self, labels: Mapping[str, str]) -> list[str]:
        """The argument list that prints the ids of containers with these labels; empty when nothing can be left."""
        return self.listing(labels) if self.listing is not None else []

    def remove(self, ids: Iterable[str]) -> list[str]:
        """The argument list that ends these containers at once."""
        return [*self.removing, *ids]


def _binds(option: str, mounts: Sequence[Mount], *, flag: bool = True) -> list[str]:
    """`option SOURCE:TARGET[:ro]` of each mount."""
    found: list[str] = []
    for mount in mounts:
        found += [option, f"{mount.source}:{mount.target}" + (":ro" if mount.readonly and flag else "")]
    return found


def _charliecloud(start: Start) -> list[str]:
    # It has no read-only mounts; and it wants those below /tmp to exist there (`containers` makes them).
    words = ["ch-run"]
    if start.mount_point:
        words += ["--mount", start.mount_point]
    if start.image_environment:
        words.append("--set-env")
    if start.home:
        words.append("--home")
    words += _binds("--bind", start.mounts, flag=False)
    return [*words, "--cd", "/", *start.options, start.image, "--", *start.program]


def _engine(program: str, user: str, start: Start) -> list[str]:
    """What Podman and Docker have in common."""
    words = [program, "run", "--rm", "--pull=missing" if start.pull else "--pull=never", "--log-driver=none"]
    words += ["--network=host", f"--user={user}", "--workdir=/", "--name", start.name]
    for key, value in sorted(start.labels.items()):
        words += ["--label", f"{key}={value}"]
    words += _binds("--volume", start.mounts)
    if start.home:
        words += ["--volume", f"{start.home}:{start.home}"]
    return [*words, *start.options, f"--entrypoint={start.program[0]}", start.image, *start.program[1:]]


def _podman(start: Start) -> list[str]:
    # User 0 of a rootless container is the user who started it. `--userns=keep-id` would copy the whole image first.
    words = _engine("podman", "0:0", start)
    if start.gpus:
        words.insert(2, "--device=nvidia.com/gpu=all")
    return words


def _docker(start: Start) -> list[str]:
    words = _engine("docker", f"{os.getuid()}:{os.getgid()}", start)
    if start.gpus:
        words.insert(2, "--gpus=all")
    return words


def _apptainer(program: str, start: Start) -> list[str]:
    words = [program, "exec", "--contain", "--cleanenv", "--pid", "--pwd", "/"]
    words += ["--home", start.home] if start.home else ["--no-home"]
    if start.gpus:
        words.append("--nv")
    return [*words, *_binds("--bind", start.mounts), *start.options, start.image, *start.program]


def _shifter(start: Start) -> list[str]:
    # It has no read-only volumes, and mounts the site's file systems, homes among them, by itself.
    volumes = [f"--volume={mount.source}:{mount.target}" for mount in start.mounts]
    return ["shifter", f"--image={start.image}", "--workdir=/", *volumes, *start.options, *start.program]


def _bubblewrap(start: Start) -> list[str]:
    words = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"]
    words += ["--cap-drop", "ALL", "--ro-bind", start.image, "/", "--proc", "/proc", "--dev", "/dev"]
    for mount in start.mounts:
        words += ["--ro-bind" if mount.readonly else "--bind", mount.source, mount.target]
    return [*words, "--chdir", "/", *start.options, "--", *start.program]


def _labelled(program: str) -> Callable[[Mapping[str, str]], list[str]]:
    def listing(labels: Mapping[str, str]) -> list[str]:
        words = [program, "ps", "--all", "--quiet", "--no-trunc"]
        for key, value in sorted(labels.items()):
            words += ["--filter", f"label={key}={value}"]
        return words

    return listing


def _same(home: str) -> str:
    return home


def _nowhere(_home: str) -> str:
    return ""


def _by_user(home: str) -> str:
    return f"/home/{PurePosixPath(home).name}"


RUNTIMES: Final = (
    Runtime("charliecloud", "ch-run", ("directory", "squashfs"), _charliecloud, True, _by_user),
    Runtime(
        *("podman", "podman", ("reference",), _podman, False, _same),
        exists=("podman", "image", "exists"),
        digest=("podman", "image", "inspect", "--format", "sha256:{{.Id}}"),
        listing=_labelled("podman"),
        removing=("podman", "rm", "--force", "--time=0"),
    ),
    Runtime(
        *("apptainer", "apptainer", ("sif", "squashfs", "directory"), lambda s: _apptainer("apptainer", s)),
        *(False, _same),
    ),
    Runtime(
        *("singularity", "singularity", ("sif", "squashfs", "directory"), lambda s: _apptainer("singularity", s)),
        *(False, _same),
    ),
    Runtime(
        *("docker", "docker", ("reference",), _docker, False, _same),
        exists=("docker", "image", "inspect", "--format", "{{.Id}}"),
        digest=("docker", "image", "inspect", "--format", "{{.Id}}"),
        listing=_labelled("docker"),
        removing=("docker", "rm", "--force"),
    ),
    Runtime("shifter", "shifter", ("reference",), _shifter, True, _same),
    Runtime("bubblewrap", "bwrap", ("directory",), _bubblewrap, True, _nowhere),
)
"""All of them, in the order in which `auto` tries them."""

NAMES: Final = tuple(runtime.name for runtime in RUNTIMES)
