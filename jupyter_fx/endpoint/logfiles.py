"""Where everything is that an endpoint writes for people: its agent, blocks, managers, containers, and tasks' own text.

All of it is in the endpoint's directory: what is written on nodes goes to their block's, and is kept for a while when
the block is over. Which block had a task stands in `placed.log` of the block.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from jupyter_fx.config import nearest
from jupyter_fx.errors import UsageError

__all__ = ["PLACED", "LogFile", "logs_of", "placed_line", "tail"]

PLACED: Final = "placed.log"
"""In a block's directory: a line for each time that a node was given tasks (when, node, their ids)."""
_PARTS: Final = ("*.stdout", "*.stderr", "*.[oe][0-9]*", "job.log", "manager.log", "*zygote.log", "*container-*.log")
_SHORT: Final = 4
"""Digits of an id that may stand for it."""


class LogFile(NamedTuple):
    """A file and what writes it, for people. `words`: only lines that have one of them are of interest."""

    source: str
    path: Path
    words: tuple[str, ...] = ()


class _Block(NamedTuple):
    folder: Path
    block_id: str
    name: str
    job: str

    @property
    def called(self) -> str:
        return f"block {self.name}" + (f" (job {self.job})" if self.job else "")


def placed_line(when: str, node: str, ids: list[str]) -> bytes:
    """A line of PLACED."""
    return f"{when} {node or '-'} {' '.join(ids)}\n".encode()


def logs_of(home: Path, *, block: str = "", task: str = "") -> list[LogFile]:
    """The files that there are, of all that lives; of one block (id, name, or number of its job), or of one task (id or
    its last digits). UsageError when there is no such block or nothing of such a task.
    """
    agent = LogFile("agent", home / "agent.log")
    blocks = list(_blocks(home))
    if task:
        return _of_task(home, agent, blocks, task.strip().lower())
    if block:
        chosen = _chosen(blocks, block)
        files = [agent._replace(words=_words(chosen)), *_of_block(chosen)]
        return [file for file in files if _there(file)]
    here = [LogFile(_name(path), path) for path in _own(home)]
    living = [one for one in blocks if one.folder.parent.name == "blocks"]
    return [file for file in (agent, *here, *(part for one in living for part in _of_block(one))) if _there(file)]


def tail(path: Path, most: int = 1 << 16) -> list[str]:
    """The lines in the last `most` bytes of a file; none when it cannot be read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - most))
        return file.read(most).decode(errors="replace").splitlines()
    return []


def _own(home: Path) -> list[Path]:
    """Those of containers of an agent that runs tasks itself."""
    return sorted([*home.glob("zygote.log"), *home.glob("container-*.log")])


def _name(path: Path) -> str:
    stem = path.name.removesuffix(".log")
    return "container of the host's Python" if stem.endswith("zygote") else stem


def _blocks(home: Path) -> Iterator[_Block]:
    """Those that live, then those that are over, the newest first."""
    for top in ("blocks", "block-logs"):
        with contextlib.suppress(OSError):
            for folder in sorted((home / top).iterdir(), key=lambda one: one.stat().st_mtime, reverse=True):
                record: dict[str, object] = {}
                with contextlib.suppress(OSError, ValueError):
                    record = json.loads((folder / "block.json").read_bytes())
                told = [str(record.get(key, "")) for key in ("block_id", "name", "job")]
                yield _Block(folder, told[0] or folder.name, told[1] or folder.name, told[2])


def _chosen(blocks: list[_Block], wanted: str) -> _Block:
    exact = [one for one in blocks if wanted in {one.block_id, one.name, one.job, one.job.partition(".")[0]}]
    close = [one for one in blocks if len(wanted) >= _SHORT and (one.block_id.endswith(wanted) or wanted in one.name)]
    for found in (exact, close):
        if len(found) == 1:
            return found[0]
    if close:
        raise UsageError(f"{wanted!r} is the end of several blocks: {', '.join(one.name for one in close)}")
    names = [one.job or one.name for one in blocks]
    raise UsageError(f"there is no block {wanted!r}{nearest(wanted, names)}")


def _words(block: _Block) -> tuple[str, ...]:
    """What lines of the agent's log about this block have."""
    job = (f"job {block.job}",) if block.job else ()
    return (block.name, block.block_id, f"block {block.block_id[:8]}", *job)


def _of_block(block: _Block) -> list[LogFile]:
    paths = dict.fromkeys(path for part in _PARTS for path in sorted(block.folder.glob(part)))
    return [LogFile(f"{block.called}: {_part(path)}", path) for path in paths]


def _part(path: Path) -> str:
    """What a file of a block is."""
    if path.name.endswith((".stdout", ".stderr")):
        return f"job {path.suffix[1:]} (keeper and manager)"
    if path.suffix[1:2] in {"o", "e"}:
        return f"job {'stdout' if path.suffix[1] == 'o' else 'stderr'} (keeper and manager)"
    if path.name in {"job.log", "manager.log"}:
        return "keeper and manager"
    node, _, rest = path.name.partition("--")
    return f"{node}: {_name(Path(rest))}" if rest else _name(path)


def _of_task(home: Path, agent: LogFile, blocks: list[_Block], task: str) -> list[LogFile]:
    if not re.fullmatch(r"[0-9a-f]{4,32}", task):
        raise UsageError(f"{task!r} is no task's id, nor the last digits of one: `jupyter fx tasks` lists them")
    texts = sorted((home / "task-logs").glob(f"*{task}.*.std*")) if (home / "task-logs").is_dir() else []
    ids = {path.name.partition(".")[0] for path in texts}
    had: list[LogFile] = []
    for block in blocks:
        for node, one in _placed(block, task):
            ids.add(one)
            mine = [file for file in _of_block(block) if "--" not in file.path.name or file.path.name.startswith(node)]
            had += [file for file in mine if file not in had]
    if len(ids) > 1:
        raise UsageError(f"{task!r} is the end of several tasks: {', '.join(sorted(ids)[:5])}")
    own = [LogFile(f"task {one.name.partition('.')[2]}", one) for one in texts]
    said = agent._replace(words=(next(iter(ids), task),))
    if not ids and not _lines_with(said):
        raise UsageError(
            f"this endpoint knows nothing of a task {task!r}: it was never given to a node, it printed nothing, or its "
            "logs are past their time (c.Endpoint.log_retention_days)"
        )
    if not had:
        had = [LogFile(_name(path), path) for path in _own(home)]
    return [file for file in (*own, said, *had) if _there(file)]


def _placed(block: _Block, task: str) -> Iterator[tuple[str, str]]:
    """(node, task id) for each time that a node of this block was given this task."""
    with contextlib.suppress(OSError), (block.folder / PLACED).open(encoding="ascii", errors="replace") as file:
        for line in file:
            if task in line:
                _when, node, *ids = line.split()
                yield from ((node, one) for one in ids if one.endswith(task))


def _lines_with(file: LogFile) -> bool:
    with contextlib.suppress(OSError), file.path.open(errors="replace") as lines:
        return any(word in line for line in lines for word in file.words)
    return False


def _there(file: LogFile) -> bool:
    with contextlib.suppress(OSError):
        return file.path.stat().st_size > 0 and (not file.words or _lines_with(file))
    return False
