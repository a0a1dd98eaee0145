"""`%%remote --dry-run`: what would travel, and whether what it needs is there. Nothing of the cell's is run.

Also the sentence for a cell that was not run because its environment lacks a package.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from jupyter_fx.errors import FxError, PayloadError
from jupyter_fx.payload.environments import versions
from jupyter_fx_kernel import environment, envverbs
from jupyter_fx_kernel.capture import Capture, Item
from jupyter_fx_kernel.modules import Served
from jupyter_fx_kernel.refs import size_text
from jupyter_fx_kernel.session import Notebook, Session

__all__ = ["page", "refusal", "rows_of", "show", "text"]

_HEAD = ("name", "type", "size", "", "digest", "")
_WITHIN = 5.0
"""Seconds that a check waits for a worker: a dry run is no reason to wait for a node."""
_SAID = {"sent": "will travel", "there": "already there", "import": "imported there", "cannot": "cannot travel"}


def rows_of(plan: Capture, served: Served) -> list[tuple[str, ...]]:
    """A row for each name and each of the user's own modules: name, type, size, what happens, digest, what to know."""
    rows = [_row(item) for item in plan.items]
    news = {entry.name for entry in served.news(plan.modules)}
    for name, entry in plan.modules.items():
        state = "will travel" if name in news else "already there"
        rows.append((name, "module of yours", size_text(len(entry.source or b"")), state, entry.digest[:12], ""))
    return rows


def _row(item: Item) -> tuple[str, ...]:
    size = size_text(item.size) if item.state in {"sent", "there", "skipped"} and item.size else ""
    note = item.note or (f"it {item.warning}" if item.warning else "")
    return item.name, item.kind, size, _SAID.get(item.state, item.state), item.digest[:12], note


def summary(plan: Capture, served: Served, place: str) -> str:
    """How much would travel."""
    size = plan.size + sum(len(entry.source or b"") for entry in served.news(plan.modules))
    stop = [item.name for item in plan.items if item.state == "cannot"]
    if stop:
        return f"the cell would be refused because of {', '.join(stop)}; nothing was run"
    if not size:
        return f"nothing would travel to {place} but the cell itself; nothing was run"
    return f"{size_text(size)} would travel to {place}; nothing was run"


def check(plan: Capture, place: str, session: Session | None, notebook: Notebook) -> tuple[str, list[tuple[str, ...]]]:
    """Whether Python and the packages that are needed are there, and a row for each that is there in another version.

    The session is asked or, without one, the pool.
    """
    names = sorted(plan.needs)
    wanted = envverbs.asked(set(names))
    unknown = f"Python and packages of {place} were not checked"
    if session is not None:
        told, why = session.handle.ask("lacks", {"names": names, "asked": wanted}, within=2.0)
        if not told:
            return f"{unknown}: {why}", []
        told["within"] = session.resources.environment
    elif _orders(notebook, place):
        return f"{unknown}: no node is up there, and a question would order one; `%fx env` does", []
    else:
        try:
            told = dict(envverbs.ask(notebook, place, wanted, within=_WITHIN))
        except TimeoutError:
            return f"{unknown}: no worker there was free within {_WITHIN:g} s; `%fx env` waits for one", []
        except FxError as error:
            return f"{unknown}: {error.message}", []
        told["lacks"] = [name for name in names if told["packages"][name][1] is None]
    there, here = ".".join(map(str, told["python"])), ".".join(map(str, sys.version_info[:3]))
    python = f"Python {there} on {place}"
    if list(told["python"])[:2] != list(sys.version_info[:2]):
        python += f", {here} here: functions are compiled there from their source"
    if told["lacks"]:
        lacking = "; ".join(f"{name} is missing there and needed by {plan.needs[name]}" for name in told["lacks"])
        said = f"{python}; {lacking}: {_install(told['executable'], told['lacks'], told['within'])}"
    else:
        said = f"{python}; it has {', '.join(names)}" if names else f"{python}; no package is needed"
    return said, _differing(wanted, told, place)


def _differing(wanted: Sequence[tuple[str, str]], told: Mapping[str, Any], place: str) -> list[tuple[str, ...]]:
    """A row for each package that is there in a version that is not ours, if that may tell."""
    here = {"packages": versions(wanted)}
    found: list[tuple[str, ...]] = []
    for name in told.get("packages") or ():
        row = environment.package(name, here, told)
        if environment.telling(row):
            note = f"{row.here} here, {row.there} on {place}" + (f": {row.matters}" if row.matters else "")
            found.append((row.name, "package", "", "another version there", "", note))
    return found


def text(rows: Sequence[tuple[str, ...]], lines: Sequence[str]) -> str:
    """The table and what follows it, for a terminal."""
    if not rows:
        return "\n".join(lines)
    table = [_HEAD, *rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(_HEAD) - 1)]
    shown = [
        "  ".join([*(part.ljust(width) for part, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in table
    ]
    return "\n".join([*shown, *lines])


def _orders(notebook: Notebook, place: str) -> bool:
    """Whether a call there has its endpoint submit a batch job."""
    info = notebook.client.request("endpoints.get", {"name": place}).get("info") or {}
    return bool(info.get("provider")) and not info.get("slots")


def page(rows: Sequence[tuple[str, ...]], lines: Sequence[str]) -> str:
    """The same as HTML; every word in it is escaped."""
    cells = ["".join(f"<td style='text-align:left'>{html.escape(part)}</td>" for part in row) for row in rows]
    head = "".join(f"<th style='text-align:left'>{html.escape(part)}</th>" for part in _HEAD)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f"<div>{table}{''.join(f'<div>{html.escape(line)}</div>' for line in lines)}</div>"


def show(plan: Capture, served: Served, place: str, session: Session | None, notebook: Notebook) -> None:
    """Show the plan: a table where the front end draws one, text elsewhere."""
    shell = notebook.shell
    said, differing = check(plan, place, session, notebook)
    rows = [*rows_of(plan, served), *differing]
    lines = [summary(plan, served, place), said]
    if getattr(shell, "kernel", None) is None:
        print(text(rows, lines))
    else:
        shell.display_pub.publish({"text/plain": text(rows, lines), "text/html": page(rows, lines)})


def refusal(lacks: Sequence[Sequence[str]], place: str, error: BaseException, within: str = "") -> PayloadError:
    """The error for a cell that was not run: which package the environment `within` lacks, what needs it."""
    (name, by), *rest = [(str(one[0]), str(one[1])) for one in lacks]
    python = str(error).partition("(")[2].partition(")")[0]
    also = f" (and {', '.join(other for other, _ in rest)})" if rest else ""
    executable = python.partition(", ")[2] or "python"
    cure = _install(executable, [one[0] for one in lacks], within)
    return PayloadError(
        f"{by} needs {name}{also}, which is not installed on {place} ({python}), so nothing was run: install it there "
        f"with {cure}, or choose an endpoint that has it (`%fx env` compares)",
        task_id=getattr(error, "task_id", None),
    )


def _install(executable: str, names: Sequence[str], within: str) -> str:
    known: Mapping[str, Sequence[str]] = metadata.packages_distributions()
    wanted = []
    for name in names:
        distribution = (known.get(name) or [name])[0]
        try:
            wanted.append(f"{distribution}=={metadata.version(distribution).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            wanted.append(distribution)
    return environment.install(wanted, executable, within)
