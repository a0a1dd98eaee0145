"""Which names does a cell mention? Pure: source in, names out.

Names are read from the *bytecode*, which knows that `x += 1`, `del x` and a comprehension's body read `x`, where a
symbol table does not say so. Statement by statement, so that a name which the cell itself assigns first (`df = load();
df.head()`) is not asked of the notebook. On top of that come names in the arguments and bodies of magics, and
identifiers inside strings when the cell calls `eval`, `exec` or a data frame's `query`: these are *soft*, taken along
if that costs little.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jupyter_fx.payload.own import imported_by

__all__ = ["Mentions", "code_names", "mentions"]

Transform = Callable[[str], str]

# Reads a name of the module's namespace; the last three need the name to exist as well.
_READS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_NAME", "DELETE_GLOBAL"})
_WRITES = frozenset({"STORE_NAME", "STORE_GLOBAL"})
_STRING_READERS = frozenset({"eval", "exec", "query"})
_IDENTIFIER = re.compile(r"(?<![\w.])[^\W\d]\w*")
_EXPANDED = re.compile(r"\$\{?([^\W\d]\w*)|\{([^{}]*)\}")
# Magics whose line or body is Python.
_CODE_MAGICS = frozenset({"time", "timeit", "prun", "capture", "memit", "mprun", "lprun", "debug", "pinfo", "pinfo2"})
# A cell that brings packages along itself; what it imports may well be missing before it runs.
_INSTALLING = re.compile(r"\b(?:pip|conda|mamba|micromamba|uv|sys\.path|site)\b")
_OPTION = re.compile(r"^\s*-{1,2}[A-Za-z][\w-]*(?:[= ]?\d+)?\s*")


@dataclass(frozen=True)
class Mentions:
    """What a cell mentions: its code reads `hard` names, its text holds `soft` ones, it may assign `stores`.

    `imports` are the dotted names that it imports, `certain` those of them that it imports in any case. `managed` are
    bound by `with … as NAME`: what they stand for has mostly been closed when the cell ends.
    """

    hard: frozenset[str] = frozenset()
    soft: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    certain: frozenset[str] = frozenset()
    managed: frozenset[str] = frozenset()


def mentions(source: str, transform: Transform = str) -> Mentions:
    """Return what `source` mentions; `transform` turns IPython's syntax into Python. Raises SyntaxError."""
    text = transform(source)
    tree = ast.parse(text, "<cell>")
    hard: set[str] = set()
    soft: set[str] = set()
    stored: set[str] = set()
    for statement in tree.body:
        hard |= _read_first([statement], stored)
        _soft_of(statement, hard, soft, transform)
    _reads, writes = code_names(compile(text, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True))
    imports = frozenset(imported_by(tree))
    certain: frozenset[str] = frozenset()
    if not _INSTALLING.search(source):
        plain: list[ast.stmt] = [
            statement for statement in tree.body if isinstance(statement, ast.Import | ast.ImportFrom)
        ]
        certain = frozenset(imported_by(ast.Module(plain, [])))
    return Mentions(frozenset(hard), frozenset(soft - hard), frozenset(writes), imports, certain, _managed(tree))


def _managed(tree: ast.Module) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                _bound(item.optional_vars, found)
    return frozenset(found)


def code_names(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the names of the module's namespace that `code`, and the code inside of it, reads and writes."""
    import dis

    reads: set[str] = set()
    writes: set[str] = set()
    todo = [code]
    while todo:
        block = todo.pop()
        for instruction in dis.get_instructions(block):
            if instruction.opname in _READS:
                reads.add(instruction.argval)
            elif instruction.opname in _WRITES and (block is code or instruction.opname == "STORE_GLOBAL"):
                writes.add(instruction.argval)
        todo += [const for const in block.co_consts if isinstance(const, types.CodeType)]
    return reads, writes


def _read_first(statements: list[ast.stmt], stored: set[str]) -> set[str]:
    """The names that are read before the statements assign them; adds to `stored` what they certainly assign."""
    found: set[str] = set()
    for statement in statements:
        if isinstance(statement, ast.With | ast.AsyncWith):
            for item in statement.items:
                found |= _reads(item.context_expr) - stored
                found |= _bound(item.optional_vars, stored)
            # The manager may swallow an error: what the body assigns is certain within the body only.
            found |= _read_first(statement.body, set(stored))
        elif isinstance(statement, ast.For | ast.AsyncFor):
            found |= _reads(statement.iter) - stored
            inside = set(stored)
            found |= _bound(statement.target, inside) | _read_first(statement.body, inside)
            found |= _read_first(statement.orelse, set(stored))
        elif isinstance(statement, ast.If):
            found |= _reads(statement.test) - stored
            then, otherwise = set(stored), set(stored)
            found |= _read_first(statement.body, then) | _read_first(statement.orelse, otherwise)
            stored |= then & otherwise
        else:
            found |= _simple(statement, stored)
    return found


def _simple(statement: ast.stmt, stored: set[str]) -> set[str]:
    """`_read_first` for a statement that is taken as a whole."""
    if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
        # It may stand at the beginning alone, so not where `_compile` puts it.
        stored |= _targets(statement)
        return set()
    reads, writes = code_names(_compile(statement))
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and not _reads_itself(statement):
        reads.discard(statement.name)
    found = reads - stored
    if _certain(statement):
        stored |= writes & _targets(statement)
    return found


def _reads(expression: ast.expr) -> set[str]:
    return code_names(_compile(ast.copy_location(ast.Expr(expression), expression)))[0]


def _bound(target: ast.expr | None, stored: set[str]) -> set[str]:
    """Add the names that a target binds to `stored`; returns those that it reads, as `x` in `x[0]`."""
    names = [node for node in ast.walk(target) if isinstance(node, ast.Name)] if target is not None else []
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)} - stored
    stored |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return read


def _compile(statement: ast.stmt) -> types.CodeType:
    # In a loop, where `break` and `continue` may stand.
    loop = ast.copy_location(ast.While(test=ast.Constant(value=True), body=[statement], orelse=[]), statement)
    module = ast.fix_missing_locations(ast.Module(body=[loop], type_ignores=[]))
    code: types.CodeType = compile(module, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def _reads_itself(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a def statement needs an older object of its own name: in a default or a decorator."""
    outside = [*function.decorator_list, function.args]
    return any(isinstance(n, ast.Name) and n.id == function.name for part in outside for n in ast.walk(part))


def _certain(statement: ast.stmt) -> bool:
    """Whether the statement's own targets are assigned whenever it completes."""
    kinds = (ast.Assign, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(statement, kinds) or (isinstance(statement, ast.AnnAssign) and statement.value is not None)


def _targets(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]  # type: ignore[attr-defined]
    return {
        node.id
        for target in targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _soft_of(statement: ast.stmt, hard: set[str], soft: set[str], transform: Transform) -> None:
    """Add the names that stand in strings of `statement`."""
    strings: list[str] = []
    reads_strings = False
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and (magic := _magic_call(node)):
            _magic(magic, hard, soft, transform)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.append(node.value)
        elif isinstance(node, ast.Name | ast.Attribute):
            reads_strings |= (node.id if isinstance(node, ast.Name) else node.attr) in _STRING_READERS
    if reads_strings:
        for text in strings:
            soft.update(_IDENTIFIER.findall(text))


def _magic_call(node: ast.Call) -> list[str] | None:
    """[method, argument, …] when `node` is what IPython makes of a magic or a `!command`, else None."""
    func = node.func
    if not (isinstance(func, ast.Attribute) and isinstance(func.value, ast.Call)):
        return None
    inner = func.value.func
    if not (isinstance(inner, ast.Name) and inner.id == "get_ipython"):
        return None
    arguments = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return [func.attr, *arguments]


def _magic(call: list[str], hard: set[str], soft: set[str], transform: Transform) -> None:
    method, *arguments = call
    if method in {"system", "getoutput", "getoutput_pexpect"}:
        soft.update(name for text in arguments for name in _expanded(text))
        return
    if not arguments:
        return
    name, *texts = arguments
    soft.update(found for text in texts for found in _expanded(text))
    if name not in _CODE_MAGICS:
        soft.update(found for text in texts[:1] for found in _IDENTIFIER.findall(text))
        return
    for text in texts:
        _code_text(text, hard, soft, transform)


def _code_text(text: str, hard: set[str], soft: set[str], transform: Transform) -> None:
    """Add the names of a magic's argument that is Python, behind options or not."""
    rest = text
    while rest.strip():
        try:
            found = mentions(rest, transform)
        except SyntaxError:
            shorter = _OPTION.sub("", rest, count=1)
            if shorter == rest:
                soft.update(_IDENTIFIER.findall(rest))
                return
            rest = shorter
        else:
            # An option such as `-n x` parses as code too: what it names is only a guess.
            (hard if rest == text else soft).update(found.hard)
            soft.update(found.soft)
            return


def _expanded(text: str) -> Iterator[str]:
    """Names in `$name` and `{expression}`, which IPython expands in commands."""
    for plain, expression in _EXPANDED.findall(text):
        if plain:
            yield plain
        else:
            yield from _IDENTIFIER.findall(expression)
