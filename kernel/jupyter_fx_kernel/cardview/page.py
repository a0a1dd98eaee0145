"""A card as HTML: for front ends without our labextension, and for what they save and export.

No script and no style sheet: themes come in by the variables of JupyterLab and VS Code, with colours that can be read
on light and on dark where there are none. Every text of the snapshot is escaped. A form like this one does not live,
so what has not ended says as of when that is so.
"""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Mapping
from typing import Any, Final

from jupyter_fx_kernel.cardview import words
from jupyter_fx_kernel.cardview.colours import coloured

__all__ = ["page"]

Shot = Mapping[str, Any]

# The last of each, where no theme says better, can be read on white and on dark grey (contrast 3.7 to 4.5).
_GOOD: Final = "var(--jp-success-color1,var(--vscode-charts-green,#2c974b))"
_BAD: Final = "var(--jp-error-color1,var(--vscode-errorForeground,#e04848))"
_HELD: Final = "var(--jp-warn-color1,var(--vscode-charts-orange,#b8730a))"
_BUSY: Final = "var(--jp-brand-color1,var(--vscode-charts-blue,#2f80d8))"
_FAINT: Final = "color:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,inherit))"
_LINE: Final = "var(--jp-border-color2,var(--vscode-panel-border,rgba(128,128,128,.4)))"
_CELL: Final = "padding:0 1.2em 0 0;text-align:left;vertical-align:top;border:0;background:none"
_TABLE: Final = "border:0;margin:2px 0;color:inherit;font-size:inherit"
_COLOURS: Final = {"succeeded": _GOOD, "cancelled": _HELD}


def page(shot: Shot) -> str:
    """The card: one quiet line when all is well, with more on demand; open when it needs attention."""
    over = words.ended(shot)
    colour = _COLOURS.get(shot["state"], _BAD if over else _HELD if shot.get("unreachable") else _BUSY)
    loud = shot["state"] != "succeeded"
    box = f"border-left:3px solid {colour};padding:2px 0 2px 8px;" if loud else ""
    parts = [_head(shot, colour, over=over), *_reasons(shot), *_bars(shot, over=over)]
    if shot.get("details"):
        parts.append(_folded("Details", shot["details"]))
    parts += [f"<div>{_said(notice)}</div>" for notice in shot.get("notices", ())]
    parts += _failures(shot)
    if shot.get("tail"):
        style = f"margin:4px 0;padding:4px 8px;max-height:12em;overflow:auto;border:1px solid {_LINE};font-size:92%"
        parts.append(
            f'<pre style="{style}" tabindex="0" aria-label="its last lines">{coloured(shot["tail"].rstrip())}</pre>'
        )
    body = "".join(parts)
    label = html.escape(f"remote {shot['kind']}", quote=True)
    return f'<div role="group" aria-label="{label}" style="font-size:85%;line-height:1.5;{box}">{body}</div>'


def _said(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _head(shot: Shot, colour: str, *, over: bool) -> str:
    where = f'<b style="font-weight:600">{_said(words.title(shot))}</b>'
    sign = f'<span aria-hidden="true" style="color:{colour};font-weight:600">{words.mark(shot)}</span>'
    state = f'<span role="status" style="color:{colour}">{_said(words.said(shot))}</span>'
    first = f"{sign} {where}"
    # A success is told to those who cannot see the sign.
    first += f" · {state}" if shot["state"] != "succeeded" else _unseen(state)
    rest = [first, words.duration(shot["elapsed"])]
    if not over:
        when = dt.datetime.fromtimestamp(shot["as_of"]).astimezone()
        stamp = when.isoformat(timespec="seconds")
        rest.append(
            f'<span style="{_FAINT}">as of <time datetime="{stamp}" title="{stamp}">{when:%H:%M:%S}</time></span>'
        )
    if shot.get("map"):
        rest.append(_said(words.counts(shot["map"], over=over)))
    if shot.get("note"):
        rest.append(_said(shot["note"]))
    line = " · ".join(rest)
    more = _more(shot) if over else ""
    if not more:
        return f"<div>{line}</div>"
    return f'<details><summary style="cursor:pointer">{line}</summary>{more}</details>'


def _folded(name: str, text: str) -> str:
    inner = f'<pre style="margin:2px 0;white-space:pre-wrap;font-size:92%">{_said(text)}</pre>'
    return f'<details><summary style="cursor:pointer;{_FAINT}">{name}</summary>{inner}</details>'


def _unseen(inner: str) -> str:
    style = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap"
    return f'<span style="{style}">{inner}</span>'


def _reasons(shot: Shot) -> list[str]:
    found = [shot[key] for key in ("ended", "why") if shot.get(key)]
    error = shot.get("error")
    if error:
        found.append(f"{error['type']}: {error['message']}")
    if not words.ended(shot) and shot.get("interrupts"):
        times = shot["interrupts"]
        found.append(f"interrupted {'once' if times == 1 else f'{times} times'}, it still runs")
    return [f"<div>{_said(reason)}</div>" for reason in found]


def _bars(shot: Shot, *, over: bool) -> list[str]:
    rows = []
    items = shot.get("map")
    bars = list(shot.get("progress", ()))
    if items and not over and items.get("total"):
        bars.insert(0, {"id": "", "label": "", "done": items["done"], "total": items["total"], "map": True})
    for bar in bars:
        total, done = bar.get("total"), bar["done"]
        shown = ""
        if total and total > 0:
            label = bar.get("label") or "progress"
            shown = (
                f'<progress aria-label="{_said(label)}" max="{total:g}" value="{min(max(done, 0), total):g}" '
                f'style="width:16em;max-width:60%;height:.7em;vertical-align:middle;accent-color:{_BUSY}"></progress> '
            )
        told = "" if bar.get("map") else _said(words.bar_words(bar))
        rows.append(f"<div>{shown}{told}</div>")
    return rows


def _failures(shot: Shot) -> list[str]:
    items = shot.get("map") or {}
    failures = items.get("failures") or ()
    if not failures:
        return []
    rows = "".join(
        f'<tr style="background:none"><td style="{_CELL}">{f["index"]}</td>'
        f'<td style="{_CELL}"><code>{_said(f["input"])}</code></td><td style="{_CELL}">{_said(f["error"])}</td></tr>'
        for f in failures
    )
    more = items["failed"] - len(failures)
    left = f"<div>… and {words.count(more)} more</div>" if more > 0 else ""
    head = "".join(
        f'<th scope="col" style="{_CELL};font-weight:600">{name}</th>' for name in ("item", "input", "error")
    )
    return [f'<table style="{_TABLE}"><tr style="background:none">{head}</tr>{rows}</table>{left}']


def _more(shot: Shot) -> str:
    """What is shown on demand: time per hop, the task's name and id, what it used."""
    rows = [(words.HOPS[hop["hop"]], words.duration(hop["seconds"])) for hop in shot.get("times", ())]
    usage = shot.get("usage") or {}
    if usage.get("cpu"):
        rows.append(("processor", words.duration(usage["cpu"])))
    if usage.get("rss"):
        rows.append(("memory", f"{usage['rss'] / 2**20:,.0f} MiB"))
    if usage.get("node_hours"):
        rows.append(("node-hours", words.count(usage["node_hours"])))
    if shot.get("name") and shot["kind"] == "cell":
        rows.append(("name", str(shot["name"])))
    if shot.get("session"):
        rows.append(("session", str(shot["session"]["name"])))
    if shot["kind"] in {"cell", "call"}:
        rows.append(("task", str(shot["task_id"])))
    if not rows:
        return ""
    cells = "".join(
        f'<dt style="opacity:.7;font-weight:normal">{_said(name)}</dt><dd style="margin:0">{_said(value)}</dd>'
        for name, value in rows
    )
    grid = "display:grid;grid-template-columns:max-content 1fr;gap:0 1.2em;margin:2px 0 2px 1.4em"
    return f'<dl style="{grid}">{cells}</dl>'
