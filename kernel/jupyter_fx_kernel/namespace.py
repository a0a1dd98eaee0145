"""What lives in a session, as told by its worker, and by what this notebook knows while that is busy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyter_fx_kernel.refs import KeptValue, RemoteValue, size_text
from jupyter_fx_kernel.session import Session

__all__ = ["Variables", "look", "table"]

WITHIN = 3.0
"""Seconds that `%fx who` waits for the worker."""
_WIDEST = 48


@dataclass
class Variables:
    """Rows {name, type, size, shape, dtype, made, of}. `why`: why the worker did not tell them itself; "" if it did."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    why: str = ""
    more: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    """{pid, cwd, python, rss, cells} of its process, if the worker told."""


def look(session: Session, namespace: Mapping[str, Any], *, within: float = WITHIN) -> Variables:
    """Ask the worker; else what is known here."""
    answer, why = session.handle.ask("who", within=within)
    if answer:
        rows = [dict(row) for row in answer.get("names") or ()]
        session.table = {str(row["name"]): row for row in rows}
        session.names = set(session.table)
        about = {key: answer.get(key) for key in ("pid", "cwd", "python", "rss", "cells")}
        return Variables(rows, "", int(answer.get("more") or 0), about)
    rows = []
    for name in sorted(session.names):
        value = namespace.get(name)
        known = session.table.get(name, {})
        if isinstance(value, RemoteValue):
            known = {**known, **value.described, "made": value._fx_place_.cell}
        rows.append({**known, "name": name})
    return Variables(rows, why)


def table(found: Variables, session: Session, namespace: Mapping[str, Any]) -> str:
    """The text of `%fx who`."""
    modules = [row for row in found.rows if row.get("type") == "module"]
    rows = [("name", "what", "size", "made", "where")]
    for row in found.rows:
        if row.get("type") != "module":
            size = row.get("size")
            shown = size_text(int(size)) if size else ""
            rows.append((row["name"], _what(row), shown, _made(row), _where(row["name"], session, namespace)))
    lines = []
    if found.why:
        lines.append(f"the session {session.name} on {session.endpoint} cannot be asked now ({found.why}); known here:")
    if len(rows) > 1:
        lines += _columns(rows)
    if modules:
        lines.append(f"modules: {', '.join(_module(row) for row in modules)}")
    if found.more:
        lines.append(f"and {found.more} more")
    if len(lines) == bool(found.why):
        lines.append(f"the session {session.name} on {session.endpoint} holds no variables")
    return "\n".join(lines)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    texts = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3].ljust(widths[3])]
        texts.append("  ".join([*cells, row[4]]).rstrip())
    return texts


def _what(row: Mapping[str, Any]) -> str:
    words = [str(row.get("type") or "").rpartition(".")[2]]
    shape = row.get("shape")
    if isinstance(shape, list | tuple):
        plain = words[0] in {"list", "tuple", "set", "frozenset", "dict"}
        words.append(f"of {shape[0]}" if plain and len(shape) == 1 else str(tuple(shape)))
    if row.get("dtype"):
        words.append(str(row["dtype"]))
    return " ".join(word for word in words if word)[:_WIDEST]


def _made(row: Mapping[str, Any]) -> str:
    made = str(row.get("made") or "")
    return "sent from here" if made == "sent" else made


def _module(row: Mapping[str, Any]) -> str:
    of = str(row.get("of") or "")
    return str(row["name"]) if of in {"", row["name"]} else f"{row['name']} ({of})"


def _where(name: str, session: Session, namespace: Mapping[str, Any]) -> str:
    if name not in namespace:
        return "only there"
    value = namespace[name]
    if isinstance(value, RemoteValue):
        return "stays there" if value._fx_place_.session == session.session_id else "another one here"
    return f"kept by {value.endpoint}" if isinstance(value, KeptValue) else "here and there"
