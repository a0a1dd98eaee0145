"""`__all__` says what a module gives: every entry is there, and no other package takes what is not in it."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jupyter_fx", "kernel/jupyter_fx_kernel", "kernel/jupyter_fx_worker", "hub/jupyter_fx_hub")


@cache
def trees() -> dict[str, ast.Module]:
    """Our modules by dotted name."""
    found = {}
    for package in PACKAGES:
        base = (ROOT / package).parent
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def declares_all(tree: ast.Module) -> bool:
    targets = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


@cache
def taken() -> dict[str, dict[str, list[str]]]:
    """Module -> name taken from it by ``from module import name`` -> the modules of other packages that do so."""
    found: dict[str, dict[str, list[str]]] = {}
    for taker, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.module not in trees():
                continue
            room = node.module.rpartition(".")[0]
            if taker == room or taker.startswith(f"{room}."):  # of one room: they may share what they do not show
                continue
            for alias in node.names:
                if f"{node.module}.{alias.name}" not in trees():
                    found.setdefault(node.module, {}).setdefault(alias.name, []).append(taker)
    return found


WITH_ALL = [name for name, tree in trees().items() if declares_all(tree)]


@pytest.mark.parametrize("name", WITH_ALL)
def test_every_entry_of_all_is_there(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(module.__all__)
    assert len(exported) == len(set(exported))
    # hasattr asks lazy packages too to give what they promise.
    assert [entry for entry in exported if not hasattr(module, entry)] == []


@pytest.mark.parametrize("name", WITH_ALL)
def test_no_other_package_takes_what_is_not_in_all(name: str) -> None:
    exported = set(importlib.import_module(name).__all__)
    strangers = {entry: who for entry, who in taken().get(name, {}).items() if entry not in exported}
    assert {entry: who for entry, who in strangers.items() if not entry.startswith("__")} == {}
