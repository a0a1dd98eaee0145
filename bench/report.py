"""From rounds to medians, from medians to markdown."""

from __future__ import annotations

import statistics
from typing import Any

from bench.peers import PEERS

__all__ = ["medians", "table"]

# column -> (key of the result, digits after the point, whether less is better)
COLUMNS: dict[str, tuple[str, int, bool]] = {
    "warm call p50 ms": ("p50_ms", 2, True),
    "p99 ms": ("p99_ms", 2, True),
    "single tasks/s": ("tasks_s", 0, False),
    "mapped calls/s": ("mapped_s", 0, False),
    "first result s": ("first_s", 2, True),
    "MiB per worker": ("worker_mib", 0, True),
    "CPU µs/call": ("cpu_us_call", 0, True),
    "CPU µs/task": ("cpu_us_task", 0, True),
    "CPU ns/mapped": ("cpu_us_mapped", 0, True),
}


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over the rounds; CPU time is summed over the roles, and kept by role."""
    out: dict[str, Any] = {}
    for key in (key for key, _, _ in COLUMNS.values()):
        values = [row[key] for row in rounds if row.get(key) is not None]
        if values and isinstance(values[0], dict):
            roles = sorted({role for value in values for role in value})
            out[key] = statistics.median(sum(value.values()) for value in values)
            out[f"{key}_by_role"] = {role: statistics.median(v.get(role, 0.0) for v in values) for role in roles}
        else:
            out[key] = statistics.median(values) if values else None
    return out


def table(summary: dict[str, dict[str, Any]], reference: str) -> str:
    """Three tables: the figures, ``reference`` beside each of the others, and its CPU time by role."""
    parts = [_figures(summary)]
    if reference in summary and len(summary) > 1:
        parts.append(_ratios(summary, reference))
    if reference in summary:
        parts.append(_roles(summary[reference], PEERS[reference][0]))
    return "\n\n".join(parts)


def _figures(summary: dict[str, dict[str, Any]]) -> str:
    lines = _head("", list(COLUMNS))
    for peer, row in summary.items():
        cells = []
        for key, digits, _ in COLUMNS.values():
            value = row.get(key)
            if value is not None and key == "cpu_us_mapped":
                value *= 1e3
            cells.append("–" if value is None else f"{value:,.{digits}f}")
        lines.append(_line(PEERS[peer][0], cells))
    return "\n".join(lines)


def _ratios(summary: dict[str, dict[str, Any]], reference: str) -> str:
    mine = summary[reference]
    lines = _head(
        f"{PEERS[reference][0]} ÷", [f"{name} {'↓' if less else '↑'}" for name, (_, _, less) in COLUMNS.items()]
    )
    for peer, row in summary.items():
        if peer == reference:
            continue
        cells = []
        for key, _, _ in COLUMNS.values():
            a, b = mine.get(key), row.get(key)
            cells.append(f"{a / b:.2f}×" if a is not None and b else "–")
        lines.append(_line(PEERS[peer][0], cells))
    return "\n".join(lines)


def _roles(row: dict[str, Any], title: str) -> str:
    keys = ("cpu_us_call", "cpu_us_task", "cpu_us_mapped")
    split = [row.get(f"{key}_by_role") or {} for key in keys]
    lines = _head(f"CPU of {title}", ["µs/call", "µs/task", "ns/mapped"])
    for role in sorted({role for roles in split for role in roles}):
        values = [roles.get(role, 0.0) * scale for roles, scale in zip(split, (1, 1, 1e3), strict=True)]
        lines.append(_line(role, [f"{value:,.1f}" for value in values]))
    return "\n".join(lines)


def _head(first: str, names: list[str]) -> list[str]:
    return [_line(first, names), "|---|" + "---:|" * len(names)]


def _line(first: str, cells: list[str]) -> str:
    return "| " + " | ".join([first, *cells]) + " |"
