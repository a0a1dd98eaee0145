"""Cells where there is no IPython: top-level await, the last expression shown, `display` for rich objects."""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import linecache
import re
import sys
import types
from typing import Any, NoReturn

from jupyter_fx_worker import cells, errors, figures, introspect
from jupyter_fx_worker.streams import NO_INPUT

__all__ = ["PlainEngine", "blank_remote_line", "keep_source", "parsed", "remember_builtins"]

_REMOTE = re.compile(r"\s*%%remote\b[^\n]*")
_MAGIC = re.compile(r"(?:[A-Za-z_]\w*\s*=\s*)?%%?[A-Za-z]")
_COMMAND = re.compile(r"(?:[A-Za-z_]\w*\s*=\s*)?!")
_HELP = re.compile(r"\?\??[A-Za-z_]|.*[\w)\]]\?\??$")
_REPRESENTATIONS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/json": "_repr_json_",
}


def blank_remote_line(source: str) -> str:
    """Return `source` with a leading `%%remote` line emptied, so that every other line keeps its number."""
    match = _REMOTE.match(source)
    return source[: match.start()] + re.sub(r"[^\n]", "", match.group()) + source[match.end() :] if match else source


def keep_source(filename: str, source: str) -> None:
    """Let tracebacks find the lines of a cell: `linecache` never drops an entry without a modification time."""
    lines = [line + "\n" for line in source.split("\n")]
    linecache.cache[filename] = (len(source), None, lines, filename)


def remember_builtins() -> None:
    """Replace what would wait for a keyboard."""
    builtins.input = _refuse_input


def _refuse_input(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise RuntimeError(NO_INPUT)


def bundle_of(value: Any) -> dict[str, Any]:
    """Return the mime bundle of a value: its `_repr_*_` methods and its repr."""
    bundle: dict[str, Any] = {"text/plain": repr(value)}
    whole = getattr(value, "_repr_mimebundle_", None)
    if callable(whole) and not isinstance(value, type):
        found = whole()
        bundle.update(found[0] if isinstance(found, tuple) else found or {})
    for mime, method in _REPRESENTATIONS.items():
        represent = getattr(value, method, None)
        if callable(represent) and not isinstance(value, type):
            data = represent()
            if data is not None:
                bundle[mime] = data[0] if isinstance(data, tuple) else data
    return bundle


class _Exit:
    """exit and quit do not end a session that others may wait for."""

    def __call__(self, *_args: Any) -> None:
        pass

    __repr__ = object.__repr__


def parsed(code: str, filename: str) -> ast.Module:
    """Parse a cell. UsageError for one that needs IPython; `%matplotlib` is read over, for it only prepares."""
    quiet = "\n".join("" if line.lstrip().startswith("%matplotlib") else line for line in code.split("\n"))
    try:
        return ast.parse(quiet, filename)
    except SyntaxError as error:
        line = (error.text or "").strip()
        if _MAGIC.match(line):
            what = "is a magic"
        elif _COMMAND.match(line):
            what = "is a shell command"
        elif _HELP.match(line):
            what = "asks for help"
        else:
            raise
        raise errors.UsageError(
            f"line {error.lineno} ({line[:60]}) {what}, and there is no IPython where this ran: install it there with "
            f"`{sys.executable} -m pip install ipython`, or write the line in Python"
        ) from None


class PlainEngine(cells.Engine):
    """A small stand-in for IPython: no magics."""

    def __init__(self, module: types.ModuleType) -> None:
        self.namespace = module.__dict__
        self._session: cells.Session | None = None
        self.namespace.update({"display": self._display, "exit": _Exit(), "quit": _Exit()})
        self.hidden = frozenset(self.namespace)
        figures.prepare()

    def after(self, silent: bool) -> None:
        """Show the figures that the cell left open."""
        if self._session is not None and not silent:
            figures.show_all(self._session.display)

    def attach(self, session: cells.Session) -> None:
        """Connect displays to `session`."""
        self._session = session
        remember_builtins()
        import getpass

        getpass.getpass = _refuse_input

    def _display(self, *values: Any, **_options: Any) -> None:
        for value in values:
            if self._session is not None:
                content = {"data": bundle_of(value), "metadata": {}, "transient": {}}
                self._session.display("display_data", content)

    async def execute(self, source: str, filename: str, count: int, silent: bool) -> BaseException | None:
        """Run one cell; the value of a last expression is displayed unless a semicolon ends it."""
        keep_source(filename, source)
        code = blank_remote_line(source)
        self.value = None
        try:
            tree = parsed(code, filename)
            last: ast.Expr | None = None
            if tree.body and isinstance(tree.body[-1], ast.Expr) and not silent:
                last = tree.body.pop()  # type: ignore[assignment]
            await self._evaluate(tree, filename)
            if last is not None:
                expression = ast.Expression(last.value)
                value = await self._evaluate(expression, filename)
                if value is not None and not code.rstrip().endswith(";") and self._session is not None:
                    builtins._ = self.value = value  # type: ignore[attr-defined]
                    data = {"execution_count": count, "data": bundle_of(value), "metadata": {}}
                    self._session.display("execute_result", data)
        except asyncio.CancelledError as error:
            return error
        except BaseException as error:
            return error
        return None

    def complete(self, code: str, at: int) -> tuple[int, list[list[str]]]:
        """See Engine."""
        return introspect.complete(self.namespace, code, at)

    def inspect(self, code: str, at: int, detail: int) -> dict[str, str]:
        """See Engine."""
        return introspect.tell(self.namespace, code, at, detail)

    async def _evaluate(self, tree: Any, filename: str) -> Any:
        mode = "eval" if isinstance(tree, ast.Expression) else "exec"
        code = compile(tree, filename, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        value = eval(code, self.namespace)
        return await value if code.co_flags & inspect.CO_COROUTINE else value
