"""/metrics: the text format of Prometheus (version 0.0.4), from counters that are kept anyway."""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_fx_hub.service import Service

__all__ = ["CONTENT_TYPE", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(service: Service, owner: str | None = None) -> str:
    """All metrics of this hub; of endpoints, which have names, those of `owner` alone if one is given."""
    core, store = service.state.core, service.store
    lines: list[str] = []
    for name, about in (
        ("submitted", "Tasks taken"),
        ("duplicates", "Submissions that were there already"),
        ("rejected", "Submissions refused"),
        ("leases", "Leases given"),
        ("retries", "Attempts begun anew after an attested loss"),
        ("outputs", "Pieces of output taken"),
        ("stale", "Messages about leases of the past, without effect"),
        ("late_results", "Results after the first, without effect"),
    ):
        _put(lines, f"jupyter_fx_{name}_total", "counter", about, [("", core.counts[name])])
    _put(
        lines,
        "jupyter_fx_finished_total",
        "counter",
        "Tasks at their end",
        [(f'state="{state.name.lower()}"', count) for state, count in core.ended.items()],
    )
    _put(lines, "jupyter_fx_unfinished", "gauge", "Tasks not at their end", [("", core.unfinished)])
    endpoints = [e for e in core.endpoints.values() if e.state < 10 and owner in {None, e.owner}]
    for name, about, values in (
        ("queued", "Tasks that wait for an endpoint", [sum(q.live for q in e.queues.values()) for e in endpoints]),
        ("leased", "Tasks that an endpoint has", [len(e.leases) for e in endpoints]),
        ("online", "Whether the endpoint is connected", [int(e.ready) for e in endpoints]),
    ):
        labels = [f'endpoint="{_escape(e.name)}",owner="{_escape(e.owner)}"' for e in endpoints]
        _put(lines, f"jupyter_fx_endpoint_{name}", "gauge", about, list(zip(labels, values, strict=True)))
    _put(lines, "jupyter_fx_client_links", "gauge", "Open client links", [("", len(service.clients))])
    _put(lines, "jupyter_fx_store_queued", "gauge", "Operations that are not on disk yet", [("", store.queued)])
    _put(
        lines,
        "jupyter_fx_store_written_total",
        "counter",
        "Operations on disk since the start",
        [("", store.committed)],
    )
    _put(
        lines,
        "jupyter_fx_store_problems_total",
        "counter",
        "Operations that changed nothing",
        [(f'what="{_escape(what)}"', count) for what, count in sorted(service.problems.items())],
    )
    _put(
        lines,
        "jupyter_fx_refused_full_total",
        "counter",
        "Tasks refused for want of disk",
        [("", service.refused_full)],
    )
    _put(lines, "jupyter_fx_hub_boot", "gauge", "Number of this start on the database", [("", store.hub_boot)])
    return "\n".join(lines) + "\n"


def _put(lines: list[str], name: str, kind: str, about: str, values: Iterable[tuple[str, float]]) -> None:
    lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in values]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
