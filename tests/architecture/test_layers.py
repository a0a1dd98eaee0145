"""The layers of docs/architecture.md hold, and nothing hides from the contracts that say so."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jupyter_fx", "kernel/jupyter_fx_kernel", "kernel/jupyter_fx_worker", "hub/jupyter_fx_hub")
MODULES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "node_modules" not in path.parts
)
# Programs of state machines, wherever they stand: a fake clock drives them in the tests, the real one in the shells.
PURE_NAMES = ("state", "routing", "scaling")
IMPURE = {"asyncio", "datetime", "logging", "os", "random", "secrets", "selectors", "socket", "subprocess"}
IMPURE |= {"threading", "time", "tornado", "uuid", "zmq"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_pure(path: Path) -> bool:
    relative = path.relative_to(ROOT)
    if "protocol" in relative.parts[:-1]:
        return True
    rooms = [*relative.parts[:-1], relative.stem]
    return any(room == name or room.startswith(f"{name}_") for room in rooms for name in PURE_NAMES)


def imports_of(path: Path) -> set[str]:
    """Top-level names that a module imports when it runs (imports for typing alone are left out)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_every_contract_is_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("import-linter is not installed here (make check has it)")
    done = subprocess.run(
        [str(program), "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(path)], ids=name_of)
def test_pure_module_takes_time_and_randomness_as_arguments(path: Path) -> None:
    assert not imports_of(path) & IMPURE


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_no_longer_than_700_lines(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 700, f"{lines} lines: two rooms would be better than one"


def test_no_module_imports_the_folders_hub_and_kernel() -> None:
    strangers = [name_of(path) for path in MODULES if imports_of(path) & {"hub", "kernel"}]
    assert strangers == []


def test_no_product_module_imports_the_testing_package() -> None:
    users = [
        name_of(path)
        for path in MODULES
        if "testing" not in path.parts and "jupyter_fx.testing" in path.read_text(encoding="utf-8").replace("`", "")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "jupyter_fx.testing" in ast.unparse(node)
    ]
    assert users == []


def test_nobody_takes_more_from_the_root_than_the_version() -> None:
    """`from jupyter_fx import payload` names a package; `from jupyter_fx import Executor` would go through the roof."""
    rooms = {path.stem for path in (ROOT / "jupyter_fx").glob("*.py")}
    rooms |= {path.parent.name for path in (ROOT / "jupyter_fx").glob("*/__init__.py")}
    taken = {
        f"{name_of(path)}: {alias.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "jupyter_fx"
        for alias in node.names
        if alias.name not in rooms and alias.name != "__version__"
    }
    assert taken == set()


@pytest.mark.parametrize("path", [path for path in MODULES if "jupyter_fx_worker" in path.parts], ids=name_of)
def test_worker_is_written_in_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
