"""What an environment's name means on this node: which image, by which runtime, with which mounts, and its digest.

Looks at the file system and asks runtimes, so it is called off the event loop.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from blake3 import blake3

from jupyter_fx.endpoint import builtimages, specs
from jupyter_fx.endpoint.runtimes import images
from jupyter_fx.endpoint.runtimes.command import RUNTIMES, Mount, Runtime
from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
from jupyter_fx.errors import InfrastructureError, UsageError

__all__ = [
    "Image",
    "check_allowed",
    "data_mounts",
    "digest_of",
    "find",
    "preload_of",
    "refusal",
    "single_use",
    "user_name",
]

ASK_SECONDS: Final = 60.0
"""Seconds that a runtime's store may take to answer a question."""
TREE_MOST: Final = 500_000


class Image(NamedTuple):
    """An image that is there. `name`: as asked for; `place`: the path or reference that the runtime takes."""

    name: str
    place: str
    kind: str
    runtime: Runtime


def refusal(name: str, spec: ContainerSpec) -> str:
    """Why an environment of this name is never started here, as far as its name tells; empty when it may be. Pure."""
    if name in images.HOST:
        return ""
    if specs.is_spec(name):
        return specs.refusal(name)
    if builtimages.is_built(name):
        return builtimages.refusal(name, spec)
    try:
        _, image = images.split(name)
    except UsageError as error:
        return str(error)
    names = [image, *(str(Path(folder, image)) for folder in spec.folders)]
    if not images.permitted(names, "", spec.images):
        return f"image {name!r} is not among those that this endpoint allows (c.Containers.images): ask its owner"
    return ""


def single_use(name: str, spec: ContainerSpec) -> bool:
    """Whether each task of this image gets a container of its own."""
    return _matches(name, spec.single_use)


def preload_of(name: str, spec: ContainerSpec) -> list[str]:
    """The modules that its owner wants imported in advance."""
    return [module for pattern, modules in spec.preload.items() if _matches(name, [pattern]) for module in modules]


def _matches(name: str, patterns: list[str]) -> bool:
    _, image = images.split(name)
    return bool(patterns) and images.permitted([image, Path(image).name], "?", patterns)


def find(name: str, spec: ContainerSpec, env: Mapping[str, str], built: Path | None = None) -> Image:
    """Find the image and its runtime. UsageError says what is missing and where it was looked for.

    `built`: the folder of those that were built from definitions.
    """
    if built is not None and builtimages.is_built(name):
        return Image(name, *builtimages.find(built, name, spec, env))
    wanted, image = images.split(name)
    try:
        path = _path(image, spec.folders, env)
    except PermissionError:
        raise UsageError(f"image {image!r} cannot be read by {user_name()}: ask its owner") from None
    if path is not None and path.is_file():
        kind = _form_of(image, path)
    else:
        kind = images.form(image, directory=path is not None and path.is_dir())
    if path is None and (images.is_path(image) or kind != "reference"):
        looked = [image] if images.is_path(image) else [str(Path(folder, image)) for folder in spec.folders]
        where = (
            f"looked for {', '.join(looked)}" if looked else "c.Containers.folders says where images are; it is empty"
        )
        raise UsageError(f"there is no image {image!r} on {socket.gethostname()} ({where})")
    present = {one.name for one in RUNTIMES if shutil.which(one.program, path=env.get("PATH"))}
    runtime = images.choose(image, kind, wanted or ("" if spec.runtime == "auto" else spec.runtime), present)
    place = str(path) if path is not None else image
    if path is not None:
        _readable(image, path)
    elif runtime.exists and not spec.pull:
        asked = _ask([*runtime.exists, image], env)
        if asked.returncode != 0:
            raise UsageError(
                f"there is no image {image!r} in the store of {runtime.name} on {socket.gethostname()}: "
                f"`{runtime.program} pull {image}` there, or let its owner set c.Containers.pull = True"
            )
    return Image(name, place, kind, runtime)


def _path(image: str, folders: list[str], env: Mapping[str, str]) -> Path | None:
    """The file or directory of that name, as it is found."""
    if image.startswith("~"):
        image = env.get("HOME", "/") + image[1:] if image[1:2] in {"", "/"} else str(Path(image).expanduser())
    tried = [Path(image)] if image.startswith("/") else [Path(folder, image) for folder in folders]
    return next((path.resolve() for path in tried if path.exists()), None)


def _form_of(image: str, path: Path) -> str:
    """What a file is: what its name ends with says less than how it begins."""
    _readable(image, path)
    with path.open("rb") as file:
        return images.form_of(image, file.read(images.HEAD))


def user_name() -> str:
    """Who we are, by name if the node knows one."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())


def _readable(image: str, path: Path) -> None:
    if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        raise UsageError(f"image {image!r} cannot be read by {user_name()}: ask its owner")
    if not path.is_dir():
        return
    if not any((path / name).is_dir() for name in ("usr", "bin")):
        raise UsageError(f"{image!r} is a directory, and no image: there is no usr or bin in it")


def _ask(words: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InfrastructureError(f"`{' '.join(words[:3])}` did not answer within {ASK_SECONDS:g} s") from None
    except OSError as error:
        raise InfrastructureError(f"`{words[0]}` cannot be run: {error.strerror}") from None


def check_allowed(image: Image, digest: str, spec: ContainerSpec) -> None:
    """The allow-list once more, now that place and digest are known: UsageError when it does not admit the image.

    Of those that were built here the bases were looked at.
    """
    if builtimages.is_built(image.name):
        return
    if not images.permitted([image.name, images.split(image.name)[1], image.place], digest or "?", spec.images):
        raise UsageError(
            f"image {image.name!r} ({image.place}, {digest or 'no digest'}) is not among those that this endpoint "
            "allows (c.Containers.images): ask its owner"
        )


# Digests.


def digest_of(image: Image, env: Mapping[str, str], cache: Path) -> str:
    """The digest of an image; empty when none can be had.

    A reference: what its store says (`sha256:`). A file: BLAKE3 of its bytes (`blake3:`), remembered in `cache` as long
    as its size and time of change stay the same. A directory: BLAKE3 of names, kinds, sizes and times of change
    (`tree:`), which tells changes apart but proves nothing about contents.
    """
    if image.kind == "reference":
        if not image.runtime.digest:
            return ""
        told = _ask([*image.runtime.digest, image.place], env).stdout.strip()
        return told if images.is_digest(told) else ""
    path = Path(image.place)
    if path.is_dir():
        return _tree(path)
    info = path.stat()
    key = f"{image.place}\n{info.st_size} {info.st_mtime_ns} {info.st_ino}"
    known = _cached(cache)
    if key not in known:
        hasher = blake3(max_threads=blake3.AUTO)
        hasher.update_mmap(path)
        known = {old: value for old, value in known.items() if not old.startswith(f"{image.place}\n")}
        known[key] = "blake3:" + hasher.hexdigest()
        with contextlib.suppress(OSError):
            fresh = cache.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(known))
            fresh.replace(cache)
    return known[key]


def _cached(cache: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(cache.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}


def _tree(root: Path) -> str:
    hasher = blake3()
    count = 0
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*files, *folders]):
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                info = path.lstat()
                size, when = (info.st_size, info.st_mtime_ns) if stat.S_ISREG(info.st_mode) else (0, 0)
                target = str(path.readlink()) if stat.S_ISLNK(info.st_mode) else ""
                said = f"{path.relative_to(root)}\0{info.st_mode:o}\0{size}\0{when}\0{target}\n"
                hasher.update(said.encode("utf-8", "surrogateescape"))
            count += 1
            if count > TREE_MOST:
                return ""
    return "tree:" + hasher.hexdigest()


# Mounts.


def data_mounts(spec: ContainerSpec, env: Mapping[str, str]) -> list[Mount]:
    """The directories that the endpoint's owner wants inside. UsageError for those that are not there."""
    found: list[Mount] = []
    for entry in spec.data:
        source, _, rest = entry.partition(":")
        target, _, mode = rest.partition(":")
        if target in {"ro", "rw"} and not mode:
            target, mode = "", target
        source = env.get("HOME", "/") + source[1:] if source.startswith("~") else source
        if mode not in {"", "ro", "rw"} or not source.startswith("/") or not (target or source).startswith("/"):
            raise UsageError(
                f"c.Containers.data: {entry!r} is not written '/source', '/source:/target' or '/source:/target:ro'"
            )
        if not Path(source).is_dir():
            raise UsageError(f"c.Containers.data: there is no directory {source!r} on {socket.gethostname()}")
        found.append(Mount(source, target or source, mode == "ro"))
    return found
