"""`%fx use NAME [--image IMAGE] [--env FILE] [--gpus N] …`: where the cells of this notebook run from now on."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jupyter_fx.config import nearest
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import check_name
from jupyter_fx.payload.definitions import is_definition
from jupyter_fx.protocol.allocation import WORDS, chosen, offered, text_of
from jupyter_fx.protocol.messages import Resources
from jupyter_fx_kernel.building import build
from jupyter_fx_kernel.options import seconds
from jupyter_fx_kernel.session import Notebook

__all__ = ["OPTIONS", "use"]

OPTIONS = (
    "--image",
    "--env",
    "--new",
    "--session",
    "--cores",
    "--gpus",
    "--memory",
    "--exclusive",
    *(f"--{w}" for w in WORDS),
)
_FILES = (".sqfs", ".squashfs", ".squash", ".sif", ".simg", ".img", ".tar")
"""How names of files end that are images, or are taken for images."""
_UNITS = {"": 30, "k": 10, "m": 20, "g": 30, "t": 40}


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
        if word.startswith("--") and word != message:
            raise UsageError(f"%fx use has no option {word}{nearest(word, OPTIONS)}")
        raise UsageError(
            f"%fx use: {message.removeprefix('argument ')}; it is written %fx use NAME [--image IMAGE] [--env FILE] "
            "[--gpus N] [--partition P] [--session NAME] [--new], as in `%fx use local`"
        )


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _bytes(text: str) -> int:
    """Bytes of `16`, `16G`, `512M`: a number alone is GiB, as in an endpoint's settings."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 16G or 512M")
    return int(float(match[1]) * 2 ** _UNITS[match[2]])


def _walltime(text: str) -> str:
    """`01:30:00`, also of `90m` or `2h`."""
    if not text or ":" in text:
        return text
    whole = int(seconds(text))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="%fx use", add_help=False, allow_abbrev=False)
    parser.add_argument("endpoint", metavar="NAME")
    parser.add_argument("--image", default="")
    parser.add_argument("--env", default="", metavar="FILE")
    parser.add_argument("--session", default="main", metavar="NAME")
    parser.add_argument("--new", action="store_true")
    parser.add_argument("--cores", type=_count, default=0, metavar="N")
    parser.add_argument("--gpus", type=_count, default=0, metavar="N")
    parser.add_argument("--memory", type=_bytes, default=0, metavar="SIZE")
    parser.add_argument("--exclusive", action="store_true")
    for word in WORDS:
        parser.add_argument(f"--{word}", default="", type=_walltime if word == "walltime" else str)
    return parser.parse_args(list(words))


def use(notebook: Notebook, words: Sequence[str]) -> None:
    """Choose the endpoint, and what the session there opens with. An open one stays what it is."""
    asked = _parsed(words)
    endpoint, name = asked.endpoint, check_name(asked.session, "name of a session")
    notebook.check_endpoint(endpoint)
    if is_definition(asked.image):
        raise UsageError(f"{asked.image} is what an image is built from: %fx use {endpoint} --env {asked.image}")
    image = _absolute(asked.image) if endpoint == "local" else asked.image
    image = "" if image == "host" else image
    allocation = text_of({word: getattr(asked, word) for word in WORDS})
    if allocation:
        _check(notebook, endpoint, allocation)
    if asked.env:
        if image:
            raise UsageError("%fx use takes an image (--image) or what one is built from (--env), not both")
        image = build(notebook, endpoint, asked.env)
    wanted = Resources(asked.cores, asked.memory, asked.gpus, image, asked.exclusive, allocation)
    known = notebook.find(endpoint, name)
    if known is not None and (known.resources != wanted or asked.new):
        if not asked.new:
            if wanted == Resources() and not asked.image:
                # Naming the endpoint alone goes on with the session that is there, whatever it runs in.
                notebook.endpoint = endpoint
                print(
                    f"remote cells of this notebook run on {endpoint}, {_within(known.resources)}: its session is open"
                )
                return
            raise UsageError(
                f"session {name!r} on {endpoint} is open and runs {_within(known.resources)}; to close it, with its "
                f"{len(known.names)} variables, and open one {_within(wanted)}: %fx use {shlex.join(words)} --new"
            )
        notebook.close(endpoint, name)
    notebook.endpoint = endpoint
    notebook.wanted[endpoint, name] = wanted
    whose = "its session opens" if name == "main" else f"session {name!r} opens"
    print(f"remote cells of this notebook run on {endpoint}; {whose} with the first one, {_within(wanted)}")


def _check(notebook: Notebook, endpoint: str, allocation: str) -> None:
    """UsageError for what the endpoint's scheduler does not offer, before a cell waits for it."""
    info: dict[str, Any] = notebook.client.request("endpoints.get", {"name": endpoint}).get("info") or {}
    if info and not info.get("provider"):
        words = ", ".join(f"--{word}" for word in chosen(allocation))
        raise UsageError(f"%fx use {endpoint}: it has no batch system, so there is nothing to choose with {words}")
    if why := offered(allocation, info.get("offers") or {}, str(info.get("provider"))):
        raise UsageError(f"%fx use {endpoint}: {why}")


def _within(wanted: Resources) -> str:
    """What a session runs in and has, for people."""
    parts = [f"{wanted.cores} cores"] if wanted.cores > 1 else []
    parts += [f"{wanted.memory / 2**30:.3g} GiB"] if wanted.memory else []
    parts += [f"{wanted.gpus} GPU{'s' if wanted.gpus > 1 else ''}"] if wanted.gpus else []
    parts += ["a node for itself"] if wanted.exclusive else []
    parts += [f"{word} {value}" for word, value in chosen(wanted.allocation).items()]
    place = f"in {_named(wanted.environment)}" if wanted.environment else "in the endpoint's own Python"
    return f"{place} ({', '.join(parts)})" if parts else place


def _named(environment: str) -> str:
    """Enough of a digest."""
    what = {"env": "environment", "built": "image"}.get(environment.partition(":")[0])
    return f"the {what} {environment[:14]}" if what else environment


def _absolute(image: str) -> str:
    """On this machine a path may be meant from where the notebook is."""
    if image.startswith(("./", "../")) or (image.endswith(_FILES) and Path(image).is_file()):
        return str(Path(image).resolve())
    return image
