"""Functions from another Python version, rebuilt from their source where that is safe.

Code pickles must not cross minor versions. A function that uses nothing but its arguments, builtins and imports of its
own means the same when its source is compiled here; any other one is refused.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from typing import Any

__all__ = ["rebuild"]

# `from numpy import *` replaces some builtins, which the source of a function does not show.
_BUILTINS = frozenset(dir(builtins)) - {"sum", "any", "all", "min", "max", "abs", "round", "pow", "divmod", "bool"}


def rebuild(source: str) -> Any:
    """Return the function that `source` defines, or None when it needs more than the source says."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    if len(tree.body) != 1 or not isinstance(tree.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    definition = tree.body[0]
    # Only our own decorator may go: any other one would change what is called.
    if any(not _is_remote(decorator) for decorator in definition.decorator_list):
        return None
    definition.decorator_list = []
    # Annotations are not run, and name things that are not here.
    code = "from __future__ import annotations\n" + ast.unparse(tree)
    if _free_names(symtable.symtable(code, "<source>", "exec")) - {definition.name, "annotations"} - _BUILTINS:
        return None
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, f"<fx-source:{definition.name}>", "exec"), namespace)
    return namespace[definition.name]


def _is_remote(decorator: ast.expr) -> bool:
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(named) in ("fx.remote", "remote", "jupyter_fx.remote")


def _free_names(table: symtable.SymbolTable) -> set[str]:
    """Return the names that are looked up in globals, in this scope and in those inside of it."""
    if table.get_type() == "module":
        found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    else:
        found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    for child in table.get_children():
        found |= _free_names(child)
    return found
