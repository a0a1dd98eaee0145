"""Draw the state machines of docs/architecture.md from their tables in jupyter_fx.protocol.lifecycle.

Run it (`make docs`) after a table changed; with ``--check`` it only says whether the page is stale, which a test asks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_fx.protocol.lifecycle import MACHINES, Transition

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
BEGIN = (
    "<!-- Made by tools/state_diagrams.py from jupyter_fx/protocol/lifecycle.py: change it there, then `make docs`. -->"
)
END = "<!-- End of what is made. -->"


def diagram(table: tuple[Transition, ...]) -> str:
    """One mermaid state diagram; edges that differ in who moves them alone are drawn once, with all movers."""
    movers: dict[tuple[str, str], list[str]] = {}
    for row in table:
        edge = ("[*]" if row.source is None else row.source.name, row.target.name)
        if row.mover not in movers.setdefault(edge, []):
            movers[edge].append(row.mover)
    lines = [f"    {source} --> {target} : {', '.join(who)}" for (source, target), who in movers.items()]
    left = {row.source for row in table}
    ends = dict.fromkeys(row.target for row in table if row.target not in left)
    lines += [f"    {state.name} --> [*]" for state in ends]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def rows(table: tuple[Transition, ...]) -> str:
    """The same as a table with the guards; sources that share target, mover and guard share a row."""
    sources: dict[tuple[str, str, str], list[str]] = {}
    for row in table:
        key = (row.target.name, row.mover, row.guard.replace("|", "\\|"))
        sources.setdefault(key, []).append("–" if row.source is None else row.source.name)
    lines = [f"| {' / '.join(froms)} | {to} | {mover} | {guard} |" for (to, mover, guard), froms in sources.items()]
    return "\n".join(["| from | to | moved by | when |", "|---|---|---|---|", *lines])


def section() -> str:
    """Everything between the two markers."""
    parts = [f"### {name.capitalize()}\n\n{diagram(table)}\n\n{rows(table)}" for name, table in MACHINES.items()]
    return "\n\n".join([BEGIN, *parts, END])


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 when it is stale."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    fresh = head + section() + tail
    if "--check" in arguments:
        if fresh != text:
            print(f"{PAGE.name} does not show the tables as they are: run `make docs`")
        return int(fresh != text)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
