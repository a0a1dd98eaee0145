"""Why a container did not come up, in one sentence, from how its starter ended and what it said last. Pure."""

from __future__ import annotations

import re
from typing import Final

from jupyter_fx_worker.bundle import TOO_OLD

__all__ = ["explain"]

_NO_PYTHON: Final = re.compile(
    r"can't execve\S*: .*No such file or directory|executable file (`\S+` )?not found|"
    r"bwrap: execvp .*No such file or directory|stat .*: no such file or directory|command was not found",
    re.IGNORECASE,
)
_WRONG_CPU: Final = re.compile(
    # The second line: some runtimes hand what the kernel does not know to a shell, which reads it as a script.
    r"exec format error|cannot execute binary file|image platform .* does not match|"
    r"\x7fELF|python[\w.]*: (line )?\d+: Syntax error: .*unexpected",
    re.IGNORECASE,
)
_NO_TARGET: Final = re.compile(
    r"can't (?:bind|mkdir|create)[^:]*: ?(?:destination not found: )?(\S+)|"
    r"Can't (?:create|mkdir) (?:directory |file )?(\S+)"
)
_NO_SOURCE: Final = re.compile(r"(?:can't bind: source not found|Can't find source path):? ([^\s:]+)")
_FUSE: Final = re.compile(
    r"fuse: (?:device not found|failed to open|mount failed).*|fusermount3?: .*|too many FUSE errors", re.IGNORECASE
)
_NO_SQUASHFS: Final = re.compile(r"does not support internal SquashFS", re.IGNORECASE)
_DAMAGED: Final = re.compile(r"can't open SquashFS|trying to read the squashfs image", re.IGNORECASE)


def explain(image: str, python: str, machine: str, status: int | None, said: str, *, waited: float = 0.0) -> str:
    """The sentence. `status`: the exit status, None when it was silent for `waited` seconds."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    tail = f"; it said: {last}" if last else ""
    if status is None:
        return (
            f"image {image} did not come up within {waited:g} s and was stopped{tail} "
            "(c.Containers.start_seconds is how long it may take)"
        )
    old = next((line for line in lines if line.startswith(TOO_OLD)), None)
    if old is not None:
        version = old.removeprefix(TOO_OLD)
        return f"image {image} has Python {version}, and jupyter-fx needs 3.9 or newer there: use a newer image"
    if _WRONG_CPU.search(said):
        return f"image {image} is for another kind of processor: this node is a {machine}"
    if _NO_PYTHON.search(said):
        return (
            f"image {image} has no {python!r}: install Python 3.9 or newer in it, or say where it is "
            "with c.Containers.python"
        )
    unpack = f"unpack it (`unsquashfs -d DIRECTORY {image}`) and name the directory"
    if found := _FUSE.search(said):
        return (
            f"image {image} cannot be mounted on this node: {found[0].strip()[:200]}; it needs FUSE, with a /dev/fuse "
            f"that you may open: ask who runs the node, or {unpack}"
        )
    if _NO_SQUASHFS.search(said):
        return f"image {image} is a SquashFS file, and the ch-run of this node was built without them: {unpack}"
    if _DAMAGED.search(said):
        return f"image {image} is damaged or incomplete: copy it again, or make it anew"
    if found := _NO_SOURCE.search(said):
        return f"image {image} cannot be started: this node has no {found[1]}, which is to be seen in it"
    if found := _NO_TARGET.search(said):
        target = found[1] or found[2] or ""
        return f"image {image} has no directory to mount on ({target.rstrip(':')}): make it in the image{tail}"
    return f"image {image} cannot be started (status {status}){tail or ': it said nothing'}"
