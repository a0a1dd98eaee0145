"""Images from definitions: built in a task of the endpoint, once for each digest, and kept beside environments.

`NAME/` holds `built.json`, the definition and one of: `root` (a directory), `root.sqfs`, `root.sif`, or `root.tar`,
which Podman's store of each node loads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import time
from typing import Any

from jupyter_fx_worker import kept, specenvs, specpack
from jupyter_fx_worker.builders import BUILDERS, Builder, Order, choose, explain
from jupyter_fx_worker.commands import run, say
from jupyter_fx_worker.definitions import Base, Definition, DefinitionError, parse, plain, unlisted
from jupyter_fx_worker.kept import BuildError

__all__ = ["FORMS", "RULES", "build", "forget", "is_there", "name_of", "tag_of"]

RULES = "JUPYTER_FX_IMAGE_RULES"
"""What the endpoint's owner allows, as JSON: build, pull, images, runtime, options."""
FORMS = {"directory": "root", "squashfs": "root.sqfs", "sif": "root.sif", "archive": "root.tar"}
_AGAIN = 1.0
_BUSY = ("storage directory is already in use", "concurrent instances of ch-image cannot share")
_GOING = 2.0
"""Seconds within which what was killed is gone."""
_QUICK = ("-comp", "gzip", "-Xcompression-level", "1")
_FETCHES = {"docker", "library", "oras", "shub", "http", "https", "debootstrap", "yum", "arch", "busybox", "zypper"}


def name_of(kind: str, text: str, files: list[tuple[str, bool, bytes]]) -> str:
    """The digest of what an image is made from, wherever that is."""
    digest = hashlib.sha256(f"image\0{kind}\0{len(text)}\0{text}".encode())
    for path, runs, data in files:
        digest.update(f"\0{path}\0{runs:d}\0{hashlib.sha256(data).hexdigest()}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:40]


def build(kind: str, text: str, file: str, files: list[tuple[str, bool, bytes]]) -> dict[str, Any]:
    """See to it that the image is there; its `name`, `form`, and whether it was `built` just now. Raises BuildError.

    `files`: path below the definition's folder, whether it can be executed, content. What the builder says is printed.
    """
    root = os.environ.get(specenvs.ROOT, "")
    if not root:
        raise BuildError("images are built at endpoints, in their own Python: this is no worker of one")
    rules: dict[str, Any] = json.loads(os.environ.get(RULES, "{}"))
    definition, name = _checked(kind, text, rules), name_of(kind, text, files)
    if is_there(root, name):
        return _found(root, name, built=False)
    os.makedirs(root, mode=0o700, exist_ok=True)
    with kept.turn(os.path.join(root, name + ".lock")) as alone:
        if is_there(root, name):
            return _found(root, name, built=False)
        try:
            days, mib = os.environ.get(specenvs.DAYS, "30"), os.environ.get(specenvs.MIB, "0")
            kept.collect(root, float(days), int(mib))
            _build(root, name, definition, text, file, files, rules, alone=alone)
        except OSError as error:
            full = " free space there" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
            raise BuildError(f"{root} cannot be written: {error.strerror};{full or ' ask its owner'}") from error
    return _found(root, name, built=True)


def is_there(root: str, name: str) -> bool:
    """Whether an image of this name is whole."""
    return bool(kept.NAME.match(name)) and os.path.exists(os.path.join(root, name, "built.json"))


def _found(root: str, name: str, *, built: bool) -> dict[str, Any]:
    kept.touch(os.path.join(root, name + ".used"))
    with contextlib.suppress(OSError, ValueError), open(os.path.join(root, name, "built.json")) as file:
        return {**json.load(file), "name": name, "built": built}
    return {"name": name, "built": built}


def _checked(kind: str, text: str, rules: dict[str, Any]) -> Definition:
    """It is allowed here."""
    if not rules.get("build"):
        raise BuildError(
            "this endpoint builds no images from definitions (c.Containers.build): ask its owner, or name an image of "
            "its list"
        )
    try:
        definition = parse(kind, text)
    except DefinitionError as error:
        raise BuildError(f"line {error.line}: {error}") from None
    base = unlisted(definition, rules.get("images", ()))
    if base is not None:
        raise BuildError(
            f"line {base.line}: {base.name} is not among the images that this endpoint allows "
            "(c.Containers.images): build on one of them, or ask its owner"
        )
    return definition


def _build(
    root: str,
    name: str,
    definition: Definition,
    text: str,
    file: str,
    files: list[tuple[str, bool, bytes]],
    rules: dict[str, Any],
    *,
    alone: bool,
) -> None:
    begun, env = time.time(), _settings()
    present = {one.program for one in BUILDERS if shutil.which(one.program, path=env["PATH"])}
    builder = choose(definition.kind, rules.get("runtime", "auto"), present, os.uname().nodename)
    for base in definition.bases:
        if base.agent in _FETCHES and not rules.get("pull"):
            raise BuildError(
                f"line {base.line}: {base.name} would be fetched from the network, which this endpoint does not do: "
                "`Bootstrap: localimage` builds on a file there, or let its owner set c.Containers.pull = True"
            )
    part = os.path.join(root, f"{name}.part-{os.getpid()}-{os.uname().nodename[:40]}")
    # Under the lock what others began is nobody's.
    for one in os.listdir(root):
        if alone and one.startswith(f"{name}.part-"):
            kept.clear(os.path.join(root, one))
    context = os.path.join(part, "context")
    try:
        os.makedirs(context, mode=0o700)
        simple = plain(definition, text) if builder.runtime == "charliecloud" else text
        written = os.path.join(part, "definition.built")
        for path, said in ((os.path.join(part, "definition"), text), (written, simple)):
            with open(path, "w", encoding="utf-8") as out:
                out.write(said)
        _unpack(context, files)
        options = rules.get("options", {}).get(builder.runtime, ())
        target = os.path.join(part, FORMS["sif"])
        order = Order(tag_of(builder.runtime, root, name), written, context, target, bool(rules.get("pull")), options)
        form, more = _make(builder, definition, part, order, env)
        kept.clear(context)
        told = {
            "form": form,
            "runtime": builder.runtime,
            "file": file,
            "kind": definition.kind,
            "seconds": round(time.time() - begun, 1),
            "bytes": kept.size_of(part),
            **more,
        }
        with open(os.path.join(part, "built.json"), "w") as out:
            json.dump(told, out)
        with contextlib.suppress(OSError):
            os.rename(part, os.path.join(root, name))
        if not is_there(root, name):
            raise BuildError(f"{os.path.join(root, name)} could not be put into its place")
    finally:
        kept.clear(part)


def _unpack(context: str, files: list[tuple[str, bool, bytes]]) -> None:
    for path, runs, data in files:
        parts = path.split("/")
        if path.startswith("/") or not path or {"..", ".", ""} & set(parts):
            raise BuildError(f"{path[:100]!r} is no file of the definition's folder")
        target = os.path.join(context, *parts)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as out:
            out.write(data)
        # What is copied has these modes in the image, whoever's umask this is.
        os.chmod(target, 0o755 if runs else 0o644)
    for where, _folders, _files in os.walk(context):
        os.chmod(where, 0o755)  # noqa: S103 - below a folder of ours alone


def _settings() -> dict[str, str]:
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"):
        env.pop(name, None)
    env.setdefault("PATH", os.defpath)
    if "USER" not in env:
        import pwd

        with contextlib.suppress(KeyError):
            env["USER"] = pwd.getpwuid(os.getuid()).pw_name
    # ch-image has its cache in git, which commits nothing for somebody without a name.
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        env.setdefault(name, env.get("USER") or "jupyter-fx")
    return env


def _make(
    builder: Builder, definition: Definition, part: str, order: Order, env: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Run the builder; the form of what came of it, and what else is to be known."""
    if builder.runtime == "charliecloud":
        return _charliecloud(builder, definition, part, order, env), {}
    before = _working(env) if builder.runtime == "podman" else None
    try:
        status, said = run(builder.build(order), env, order.context)
    except BaseException:
        if before is not None:
            _tidy(before, env)
        raise
    if status:
        raise BuildError(_why_podman(definition, said) or explain(builder, definition, status, said))
    if builder.runtime != "podman":
        return "sif", {}
    asked = ["podman", "image", "inspect", "--format", "{{.Id}}", order.tag]
    told = _ask(asked, env).stdout.strip()
    archive = os.path.join(part, FORMS["archive"])
    status, said = run(
        ["podman", "save", "--quiet", "--format", "oci-archive", "--output", archive, order.tag], env, quiet=True
    )
    if status or not told:
        raise BuildError(f"podman cannot save what it built: {said.strip()[-300:] or f'status {status}'}")
    forget(os.path.dirname(part), env)
    return "archive", {"id": told.rpartition(":")[2]}


def _working(env: dict[str, str]) -> tuple[set[str], set[str]]:
    """The containers in which Podman's builds work, and their folders."""
    folder = env.get("TMPDIR") or "/var/tmp"  # noqa: S108 - its own
    names = os.listdir(folder) if os.path.isdir(folder) else []
    folders = {os.path.join(folder, name) for name in names if name.startswith("buildah")}
    asked = ["podman", "ps", "--all", "--external", "--filter", "name=-working-container", "--format", "{{.ID}}"]
    return set(_ask(asked, env).stdout.split()), folders


def _tidy(before: tuple[set[str], set[str]], env: dict[str, str]) -> None:
    """Who ends a `podman build` ends it without its container. Those of another build are not to be told from ours."""
    until = time.monotonic() + _GOING
    while _other_builds():
        if time.monotonic() > until:
            return
        time.sleep(0.05)
    containers, folders = _working(env)
    if left := containers - before[0]:
        _ask(["podman", "rm", "--force", *left], env)
    for folder in folders - before[1]:
        if os.stat(folder).st_uid == os.getuid():
            kept.clear(folder)


def _other_builds() -> bool:
    """Whether a build of this user's goes on here, or has not ended yet."""
    for pid in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if pid.isdigit() and os.stat(f"/proc/{pid}").st_uid == os.getuid():
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                if os.path.basename(words[0]) == b"buildah" or words[1:2] == [b"build"]:
                    return True
    return False


def _why_podman(definition: Definition, said: str) -> str:
    if "image not known" not in said:
        return ""
    base = next((one for one in definition.bases if f" {one.name}: image not known" in said), definition.bases[0])
    return _no_base("Podman", f"podman pull {base.name}", base)


def _no_base(who: str, cure: str, base: Base) -> str:
    return (
        f"line {base.line}: {who} has no image {base.name} on {os.uname().nodename}, and this endpoint fetches none: "
        f"`{cure}` there, or let its owner set c.Containers.pull = True"
    )


def _charliecloud(builder: Builder, definition: Definition, part: str, order: Order, env: dict[str, str]) -> str:
    env = _runnable(env)
    if not order.pull:
        _status, listed = _in_turn(["ch-image", "list"], env, quiet=True)
        store = env.get("CH_IMAGE_STORAGE") or f"/var/tmp/{env.get('USER', '')}.ch"  # noqa: S108 - its own
        there = {_tagged(line.strip()) for line in listed.splitlines()}
        for base in definition.bases:
            if base.name != "scratch" and _tagged(base.name) not in there:
                cure = f"ch-image import DIRECTORY {base.name}"
                raise BuildError(_no_base(f"ch-image (its store: {store})", cure, base))
    try:
        status, said = _in_turn(builder.build(order), env)
        if status:
            raise BuildError(explain(builder, definition, status, said))
        say("copying it out of ch-image's store\n")
        tree = os.path.join(part, FORMS["directory"])
        status, said = run(["ch-convert", "-i", "ch-image", "-o", "dir", order.tag, tree], env, quiet=True)
        if status:
            raise BuildError(f"ch-convert ended with status {status}: {said.strip()[-300:]}")
    finally:
        _in_turn(["ch-image", "delete", order.tag], env, quiet=True)
    return "squashfs" if _squashed(part, env) else "directory"


def _in_turn(command: list[str], env: dict[str, str], *, quiet: bool = False) -> tuple[int, str]:
    """As `run`, once no other ch-image works in the same store."""
    waits = False
    while True:
        status, said = run(command, env, quiet=quiet, hides=_BUSY)
        if not status or _BUSY[0] not in said:
            return status, said
        if not waits:
            waits = True
            say("another ch-image of yours is at work in its store; waiting for it\n")
        time.sleep(_AGAIN)


def _ask(words: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


def _runnable(env: dict[str, str]) -> dict[str, str]:
    """ch-image is a Python script of the system's, and a virtual environment's Python may come first on PATH."""
    said = ""
    for path in (env["PATH"], f"/usr/bin{os.pathsep}{env['PATH']}"):
        asked = {**env, "PATH": path}
        ran = _ask(["ch-image", "--version"], asked)
        if not ran.returncode:
            return asked
        said = ran.stderr.strip().rpartition("\n")[2]
    raise BuildError(f"ch-image on {os.uname().nodename} does not run: {said}; ask who runs the node")


def _squashed(part: str, env: dict[str, str]) -> bool:
    """Make one file of it, which shared file systems like better; only where that can be mounted."""
    tree, file = os.path.join(part, FORMS["directory"]), os.path.join(part, FORMS["squashfs"])
    if os.environ.get(specpack.MODE, "") not in {"auto", "always"}:
        return False
    if not shutil.which("mksquashfs", path=env["PATH"]) or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return False
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    line = ["mksquashfs", tree, file, "-quiet", "-no-progress", "-all-root", *_QUICK]
    line += ["-processors", str(cores), "-mem", "256M"]
    mount = os.path.join(part, "mnt")
    os.mkdir(mount)
    inside = ["ch-run", "--mount", mount, file, "--", "sh", "-c", "exit 7"]
    say("packing it into one file\n")
    made = run(line, env, quiet=True)[0] == 0 and _ask(inside, env).returncode == 7
    if made:
        kept.clear(tree)
    else:
        with contextlib.suppress(OSError):
            os.unlink(file)
    os.rmdir(mount)
    return made


def tag_of(runtime: str, root: str, name: str) -> str:
    """Its name in a builder's store, in which other endpoints of this user may have theirs."""
    whose = hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:12]
    return f"localhost/jupyter-fx/{whose}:{name}" if runtime == "podman" else f"jupyter-fx-{whose}-{name[:20]}"


def forget(root: str, env: dict[str, str]) -> None:
    """Remove from Podman's store on this node what is kept no longer."""
    stem = tag_of("podman", root, "").rstrip(":")
    asked = ["podman", "images", "--filter", f"reference={stem}", "--format", "{{.Tag}}"]
    told = _ask(asked, env).stdout
    for name in told.split():
        if kept.NAME.match(name) and not is_there(root, name):
            _ask(["podman", "rmi", f"{stem}:{name}"], env)
