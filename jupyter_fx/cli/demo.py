"""`jupyter fx demo`: execute a notebook and say what ran where."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from traitlets import Bool, Int

from jupyter_fx.cli.base import Command, table
from jupyter_fx.client.titles import name_of_task
from jupyter_fx.errors import UsageError

__all__ = ["DemoApp"]

EXPECTED = "raises-exception"


class DemoApp(Command):
    """jupyter fx demo [NOTEBOOK]."""

    name = "jupyter-fx-demo"
    description = (
        "Execute NOTEBOOK (default: notebooks/quickstart.ipynb), remote cells and all, with an fx hub of its own that "
        "leaves nothing behind, and say what ran where. Exit status 1 when a cell fails."
    )
    arguments = ("[NOTEBOOK]",)
    own = Bool(True, help="Use an fx hub and directories of its own; else yours.").tag(config=True)
    timeout = Int(600, help="Seconds that one cell may take.").tag(config=True)
    save = Bool(False, help="Write the executed notebook beside the original, as NAME.executed.ipynb.").tag(config=True)
    aliases = {"timeout": "DemoApp.timeout"}
    flags = {
        "shared": ({"DemoApp": {"own": False}}, "Use your fx hub and directories."),
        "save": ({"DemoApp": {"save": True}}, "Write the executed notebook beside the original."),
    }

    def start(self) -> None:
        """Execute and report."""
        path = self._notebook()
        place = Path(tempfile.mkdtemp(prefix="fxd")) if self.own else None
        try:
            if place is not None:
                _move_in(place)
            failed = self._execute(path)
        finally:
            if place is not None:
                _move_out(place)
        sys.exit(1 if failed else 0)

    def _notebook(self) -> Path:
        named = self.argument(0, "")
        path = Path(named) if named else Path(__file__).resolve().parents[2] / "notebooks" / "quickstart.ipynb"
        if not path.is_file():
            raise UsageError(f"there is no notebook {path}: give its path")
        return path

    def _execute(self, path: Path) -> int:
        try:
            import nbformat
            from nbclient import NotebookClient
        except ImportError as error:
            raise UsageError(f"the demo needs {error.name}: pip install nbclient nbformat") from error
        notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        client = NotebookClient(
            notebook,
            timeout=self.timeout,
            allow_errors=True,
            kernel_name="python3",
            extra_arguments=["--log-level=40"],  # the kernel's remarks about itself are not the demo's
            resources={"metadata": {"path": str(path.parent)}},
        )
        print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells")
        begun = time.monotonic()
        failed = asyncio.run(_run_cells(client, notebook))
        took = time.monotonic() - begun
        _tell_tasks()
        if self.save:
            nbformat.write(notebook, path.with_suffix(".executed.ipynb"))  # type: ignore[no-untyped-call]
        print(f"\n{'all cells are right' if not failed else f'{failed} cells failed'}, {took:.1f} s in all")
        return failed


async def _run_cells(client: Any, notebook: Any) -> int:
    failed = 0
    async with client.async_setup_kernel():
        for at, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            begun = time.monotonic()
            try:
                await client.async_execute_cell(cell, at)
                problem = _problem(cell)
            except Exception as error:  # noqa: BLE001 a kernel that died, a cell over its time: told as this cell's failure
                problem = f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else ''}"
            failed += bool(problem)
            print(
                f"{'FAILED' if problem else 'ok':>7} {time.monotonic() - begun:7.2f} s  "
                f"{_where(cell):10} {_title(cell)}",
                flush=True,
            )
            if problem:
                print(f"         {problem}")
                if "DeadKernel" in problem:
                    break
        client.set_widgets_metadata()
    return failed


def _problem(cell: Any) -> str:
    """Why a cell is wrong, or ""."""
    raised = [output for output in cell.outputs if output.output_type == "error"]
    expected = EXPECTED in cell.metadata.get("tags", [])
    if raised and not expected:
        return f"{raised[0].ename}: {raised[0].evalue}"
    if expected and not raised:
        return "it should have raised an exception and did not"
    return ""


def _where(cell: Any) -> str:
    first = cell.source.lstrip().splitlines()[0].split()
    if any(word.startswith("%%remote") for word in first) or "%%remote" in cell.source:
        return "remote"
    return "remote" if any(word in cell.source for word in (".remote(", ".submit(", ".map(", "%remote ")) else "here"


def _title(cell: Any) -> str:
    """The first line that says something: a comment or a statement, rather than an import."""
    lines = [line.strip() for line in cell.source.splitlines()]
    told = [line.lstrip("# ") for line in lines if line and not line.startswith(("%%", "import ", "from ", "@"))]
    return str((told or lines)[0][:80])


def _tell_tasks() -> None:
    """What ran where, by the hub's own books."""
    from jupyter_fx.client.hub import HubClient
    from jupyter_fx.embedded import read_hub_file

    hub = read_hub_file()
    if hub is None:
        print("\nno fx hub was used")
        return
    client = HubClient(hub.address, token=hub.token)
    try:
        known: dict[str, str] = {}
        tasks = client.request("tasks.list", {"limit": 200})["tasks"]
        for info in tasks:
            info["name"] = name_of_task(client, info, known)
    finally:
        client.close(timeout=0.0)
    rows = []
    for info in reversed(tasks):
        started, finished = info.get("started") or 0.0, info.get("finished") or 0.0
        waited = max(0.0, started - info["submitted"]) if started else 0.0
        ran = f"{finished - started:.3f}" if started and finished else ""
        items = info.get("items") or ""
        rows.append(
            (
                info["kind"],
                (info.get("name") or "")[:40],
                items,
                info.get("endpoint"),
                info["state"],
                f"{waited:.3f}",
                ran,
            )
        )
    print(f"\n{len(tasks)} tasks at the fx hub:")
    print(table(rows, ("kind", "name", "items", "ran at", "state", "waited s", "ran s")))


def _move_in(place: Path) -> None:
    for name, short in (("RUNTIME", "r"), ("STATE", "s"), ("CONFIG", "c")):
        directory = place / short
        directory.mkdir(mode=0o700)
        os.environ[f"JUPYTER_FX_{name}_DIR"] = str(directory)
    for name in ("JUPYTER_FX_HUB", "JUPYTER_FX_TOKEN", "JUPYTER_FX_TOKEN_FILE", "JUPYTER_FX_ENDPOINT"):
        os.environ.pop(name, None)


def _move_out(place: Path) -> None:
    from jupyter_fx.embedded import stop_endpoint, stop_hub

    stop_endpoint()
    stop_hub()
    shutil.rmtree(place, ignore_errors=True)
