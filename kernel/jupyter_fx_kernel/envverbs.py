"""`%fx env`: compare this kernel's environment with the endpoint's, or write down what the notebook uses."""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from jupyter_fx.errors import UsageError
from jupyter_fx.payload.environments import describe, digest
from jupyter_fx.protocol.messages import Resources, TaskOptions
from jupyter_fx_kernel import environment
from jupyter_fx_kernel.session import Notebook

__all__ = ["WORDS", "ask", "asked", "env"]

WORDS = ("--all", "freeze")

_USAGE = "`%fx env [PACKAGE …] [--all]` compares, `%fx env freeze [FILE]` writes a requirements file"
_ours = "# What the notebook uses, as it was with Python"


def env(notebook: Notebook, words: Sequence[str]) -> None:
    """`%fx env [PACKAGE …] [--all]` and `%fx env freeze [FILE]`."""
    options = [word for word in words if word.startswith("-")]
    names = [word for word in words if not word.startswith("-")]
    if any(option != "--all" for option in options):
        raise UsageError(f"%fx env has no option {options[0]}: {_USAGE}")
    if names[:1] == ["freeze"]:
        if len(names) > 2 or options:
            raise UsageError(f"%fx env freeze takes one file name, or none to show it: {_USAGE}")
        _freeze(notebook, names[1] if len(names) == 2 else "")
        return
    if names and (meant := difflib.get_close_matches(names[0], ["freeze"], cutoff=0.75)) and not _known(names[0]):
        raise UsageError(f"%fx env {names[0]}: there is no such package here; did you mean {meant[0]!r}? {_USAGE}")
    wanted = asked(environment.used(notebook.shell.user_ns, _cells(notebook)) | _named(names))
    place = notebook.endpoint_of("")
    here = describe(wanted, everything=bool(options))
    there = ask(notebook, place, wanted, everything=bool(options))
    found = environment.compare(here, there, place, everything=bool(options))
    print(environment.table(found, all_rows=not options))


@functools.lru_cache(maxsize=1)
def _distributions(_digest: str) -> Mapping[str, list[str]]:
    """Import names and what brings them; reading that takes a quarter of a second."""
    return metadata.packages_distributions()


def _named(names: Sequence[str]) -> set[str]:
    """Import names of what was typed: `scikit-learn` and `sklearn` are one."""
    found = _distributions(digest())
    known = {environment.plain(one): name for name, ones in found.items() for one in ones}
    return {known.get(environment.plain(name), name) for name in names}


def _known(name: str) -> bool:
    """Whether a package of this name is installed here."""
    return bool(_named([name]) & set(_distributions(digest())))


def asked(names: set[str]) -> list[tuple[str, str]]:
    """Each import name with the distribution that brings it here."""
    known = _distributions(digest())
    return [(name, (known.get(name) or [""])[0]) for name in sorted(names)]


def _cells(notebook: Notebook) -> list[str]:
    """The texts of the cells that ran, as they were typed."""
    history = getattr(notebook.shell, "history_manager", None)
    return [str(text) for text in getattr(history, "input_hist_raw", ())]


def ask(
    notebook: Notebook,
    place: str,
    wanted: list[tuple[str, str]],
    *,
    everything: bool = False,
    within: float | None = None,
) -> dict[str, Any]:
    """What the environment there is like, by a call in its pool. What was told before is asked for by its digest.

    Raises TimeoutError when no worker has answered `within` so many seconds.
    """
    inside = Resources(environment=notebook.resources(place, "main").environment)
    key = (place, inside.environment, everything, tuple(wanted))
    known = notebook.environments.get(key)
    future = notebook.client.submit_call(
        describe,
        (wanted,),
        {"everything": everything, "known": known["digest"] if known else ""},
        endpoint=place,
        options=TaskOptions(name="%fx env", resources=inside),
    )
    try:
        told: dict[str, Any] = future.result(within)
    except (KeyboardInterrupt, TimeoutError):
        future.cancel()
        raise
    if "python" not in told and known is not None:
        return known
    told["within"] = inside.environment
    notebook.environments[key] = told
    return told


def _freeze(notebook: Notebook, file: str) -> None:
    wanted = asked(environment.used(notebook.shell.user_ns, _cells(notebook)))
    sides = [describe(wanted)]
    if any(version is None for _name, version in sides[0]["packages"].values()):
        sides.append(ask(notebook, notebook.endpoint_of(""), wanted, everything=False))
    text = environment.requirements(sides, sys.version_info[:3])
    if not file:
        print(text, end="")
        return
    path = Path(file).expanduser()
    if path.is_dir():
        raise UsageError(f"%fx env freeze takes the name of a file, and {file} is a directory")
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_ours):
        raise UsageError(f"{file} exists and was not made by `%fx env freeze`: give another name")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"%fx env freeze cannot write {file}: {error.strerror or error}") from None
    count = sum(not line.startswith("#") for line in text.splitlines())
    print(f"{file}: {count} package{'s' * (count != 1)}")
