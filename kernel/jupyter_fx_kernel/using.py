"""`%fx use NAME [--image IMAGE] [--session NAME] [--new]`: where the cells of this notebook run from now on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jupyter_fx.errors import UsageError
from jupyter_fx.ids import check_name
from jupyter_fx_kernel.session import Notebook

__all__ = ["OPTIONS", "use"]

OPTIONS = ("--image", "--new", "--session")


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"%fx use: {message}; it is written %fx use NAME [--image IMAGE] [--session NAME] [--new], "
            "as in `%fx use local`"
        )


def use(notebook: Notebook, words: Sequence[str]) -> None:
    """Choose the endpoint, and the image in which the session there opens. An open one stays what it is."""
    parser = _Parser(prog="%fx use", add_help=False, allow_abbrev=False)
    parser.add_argument("endpoint", metavar="NAME")
    parser.add_argument("--image", default="")
    parser.add_argument("--session", default="main", metavar="NAME")
    parser.add_argument("--new", action="store_true")
    asked = parser.parse_args(list(words))
    endpoint, name = asked.endpoint, check_name(asked.session, "name of a session")
    notebook.check_endpoint(endpoint)
    image = _absolute(asked.image) if endpoint == "local" else asked.image
    image = "" if image == "host" else image
    known = notebook.find(endpoint, name)
    if known is not None and (known.image != image or asked.new):
        if not asked.new:
            if not asked.image:
                # Naming the endpoint alone goes on with the session that is there, whatever it runs in.
                notebook.endpoint = endpoint
                print(f"remote cells of this notebook run on {endpoint}, {_within(known.image)}: its session is open")
                return
            raise UsageError(
                f"session {name!r} on {endpoint} is open and runs {_within(known.image)}; to close it, with its "
                f"{len(known.names)} variables, and open one {_within(image)}: "
                f"%fx use {endpoint} --image {asked.image}{_session(name)} --new"
            )
        notebook.close(endpoint, name)
    notebook.endpoint = endpoint
    notebook.images[endpoint, name] = image
    whose = "its session opens" if name == "main" else f"session {name!r} opens"
    print(f"remote cells of this notebook run on {endpoint}; {whose} with the first one, {_within(image)}")


def _within(image: str) -> str:
    return f"in {image}" if image else "in the endpoint's own Python"


def _session(name: str) -> str:
    return "" if name == "main" else f" --session {name}"


def _absolute(image: str) -> str:
    """On this machine a path may be meant from where the notebook is."""
    if image.startswith(("./", "../")) or (image.endswith((".sqfs", ".sif")) and Path(image).exists()):
        return str(Path(image).resolve())
    return image
