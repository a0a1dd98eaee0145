"""The magics `%%remote`, `%remote` and `%fx`: they parse, call and print. What they mean is in the modules beside."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from jupyter_fx.errors import FxError
from jupyter_fx_kernel import dryrun, status, tracebacks
from jupyter_fx_kernel.background import BackgroundCell
from jupyter_fx_kernel.capture import Ledger
from jupyter_fx_kernel.cell import VALUE, RemoteCell
from jupyter_fx_kernel.completion import Completion
from jupyter_fx_kernel.details import folded
from jupyter_fx_kernel.modules import LazyModule, Served
from jupyter_fx_kernel.options import Options, parse_cell, parse_line
from jupyter_fx_kernel.session import Notebook

__all__ = ["FxMagics"]


@contextlib.contextmanager
def _in_one_sentence(shell: Any) -> Iterator[None]:
    """Errors of ours are shown as what they say, without the frames that found them out."""
    try:
        yield
    except FxError as error:
        if "_render_traceback_" not in vars(error):
            tracebacks.show_as(error, tracebacks.plain(error, folded=folded(shell, error)))
        raise


@magics_class
class FxMagics(Magics):
    """Bound to one shell and its `Notebook`."""

    def __init__(self, shell: Any, connect: Callable[[], Any]) -> None:
        super().__init__(shell)
        self.notebook = Notebook(shell, connect)
        self.completion = Completion(self.notebook, status.words())

    @no_var_expand
    @cell_magic("remote")  # type: ignore[arg-type]
    def remote_cell(self, line: str, cell: str) -> Any:
        """Run this cell in the notebook's remote session.

        `%%remote [ENDPOINT] [-i a,b] [-o x,y] [--no-capture] [--bg] [--name NAME] [--timeout S] [--expires S]
        [--stateless] [--retries N] [--session NAME] [--dry-run]`
        """
        with _in_one_sentence(self.shell):
            return self._cell(parse_cell(line), f"%%remote {line}".rstrip() + "\n" + cell)

    @no_var_expand
    @line_magic("remote")  # type: ignore[arg-type]
    def remote_line(self, line: str) -> Any:
        """Evaluate an expression in the notebook's remote session, return its value: `%remote [options] expression`."""
        with _in_one_sentence(self.shell):
            options, expression = parse_line(line)
            named = replace(options, name=options.name or expression[:60])
            return self._cell(named, f"{VALUE} = ({expression})", value_only=True)

    @no_var_expand
    @line_magic("fx")  # type: ignore[arg-type]
    def fx(self, line: str) -> Any:
        """Say where cells run and what runs: `%fx`, `%fx use|who|keep|tasks|attach|cancel|logs|session|close`."""
        with _in_one_sentence(self.shell):
            return status.command(self.notebook, line)

    def _cell(self, options: Options, source: str, *, value_only: bool = False) -> Any:
        cell = RemoteCell(self.notebook, options, source, value_only=value_only)
        if options.dry_run:
            self.notebook.check_endpoint(cell.place)
            known = self.notebook.find(options.endpoint, options.session)
            there = known if not options.stateless else None
            ledger, served = (there.ledger, there.modules) if there is not None else (Ledger(), Served())
            dryrun.show(cell.plan(ledger, served), served, cell.place, there, self.notebook)
            return None
        if options.background:
            return BackgroundCell(cell)
        return cell.run()

    def before_cell(self, info: Any) -> None:
        """A cell of the notebook is about to run: what the session set for a library that it loads is set here too."""
        source = str(getattr(info, "raw_cell", "") or "")
        if "%remote" not in source:
            # A remote cell renews its session, or says itself what became of it.
            for news in self.notebook.news():
                print(f"jupyter-fx: {news}", file=sys.stderr)
        if source.lstrip().startswith("%%remote"):
            source = ""
        words = set(re.findall(r"\w+", source))
        names = (self.notebook.shell.user_ns.get(word) for word in words)
        libraries = words | {module.__name__ for module in names if isinstance(module, LazyModule)}
        for session in self.notebook.sessions.values():
            session.ambient.take({}, " ".join(libraries))

    def leave(self) -> None:
        """The kernel ends, or the extension is unloaded."""
        with contextlib.suppress(Exception):
            self.notebook.leave()
        sys.stdout.flush()
