"""Cells in IPython's InteractiveShell. Importing this fails where there is no IPython; `cells` then uses `plain`."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import traceback
import types
import warnings
from typing import Any, NoReturn

from IPython.core.compilerop import CachingCompiler
from IPython.core.completer import provisionalcompleter, rectify_completions
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.tokenutil import token_at_cursor
from traitlets.config import Config

from jupyter_fx_worker import cells, figures
from jupyter_fx_worker.plain import blank_remote_line, keep_source, remember_builtins
from jupyter_fx_worker.streams import NO_INPUT

__all__ = ["IPythonEngine"]


class _Publisher(DisplayPublisher):
    """display(), update_display() and clear_output() become frames."""

    def publish(
        self,
        data: Any,
        metadata: Any = None,
        *_source: Any,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_more: Any,
    ) -> None:
        session = self.shell.fx_session
        if session is not None:
            content = {"data": data, "metadata": metadata or {}, "transient": transient or {}}
            session.display("update_display_data" if update else "display_data", content)

    def clear_output(self, wait: bool = False) -> None:
        session = self.shell.fx_session
        if session is not None:
            session.display("clear_output", {"wait": bool(wait)})


class _Hook(DisplayHook):
    """The last expression of a cell becomes an `execute_result` frame."""

    def write_output_prompt(self) -> None:
        """The notebook draws its own prompt."""

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        shell: Any = self.shell
        session = shell.fx_session
        if session is not None and format_dict:
            content = {"execution_count": shell.fx_count, "data": format_dict, "metadata": md_dict or {}}
            session.display("execute_result", content)

    def finish_displayhook(self) -> None:
        """Nothing is printed, so there is no line to end."""
        self._is_active = False


class _Compiler(CachingCompiler):
    """Names the code of the cell in hand as the notebook asked for."""

    fx_cell = ""
    fx_filename = ""

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        if self.fx_filename and transformed_code == self.fx_cell:
            return self.fx_filename
        name: str = super().cache(transformed_code, number, raw_code)
        return name


_POSIX_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")


class _Kernel:
    """Nothing but a sign: pandas and others look for a shell's kernel to know a notebook from a terminal."""


class ZMQLikeShell(InteractiveShell):
    """InteractiveShell without a terminal: output by frames, errors as records, nothing that asks or quits.

    Its name holds "ZMQ" because pandas looks for that to know a notebook, whose lines may be longer, from a terminal.
    """

    kernel = _Kernel()
    fx_session: cells.Session | None = None
    fx_count = 1
    fx_preprocessing: Any = None

    def init_virtualenv(self) -> None:
        """The environment is chosen by who started us; a VIRTUAL_ENV variable that came along says nothing."""

    def init_hooks(self) -> None:
        super().init_hooks()  # type: ignore[no-untyped-call]
        self.set_hook("show_in_pager", _page, 99)  # type: ignore[no-untyped-call]

    def system(self, cmd: str) -> None:
        """Run `!cmd`. Our descriptors are the pipes already: no pseudo terminal, no second copy.

        What it writes to stderr goes where a notebook shows it, among the rest.
        """
        shell = os.path.basename(os.environ.get("SHELL") or "sh")
        self.system_raw(f"exec 2>&1; {cmd}" if shell in _POSIX_SHELLS else cmd)  # type: ignore[no-untyped-call]

    def enable_gui(self, gui: str | None = None) -> None:
        """`%matplotlib inline` needs no event loop; windows have no place to open on a remote worker."""
        if gui not in (None, "inline", "auto"):
            pass

    def ask_exit(self) -> None:
        """Exit and quit do not end a session that others may wait for."""

    def showtraceback(
        self,
        exc_tuple: Any = None,
        *_where: Any,
        exception_only: bool = False,
        running_compiled_code: bool = False,
        **_more: Any,
    ) -> None:
        """The error that ends a cell travels as a record; only errors beside it are printed."""
        ends_cell = running_compiled_code or exception_only
        if not ends_cell and (exc_tuple is None or exc_tuple is not self.fx_preprocessing):
            traceback.print_exception(*(exc_tuple or sys.exc_info()))

    def showsyntaxerror(self, *_args: Any, **_more: Any) -> None:
        """See showtraceback."""

    def showindentationerror(self, *_args: Any, **_more: Any) -> None:
        """See showtraceback."""

    def _format_exception_for_storage(self, *_args: Any, **_more: Any) -> list[str]:
        return []


def _page(shell: ZMQLikeShell, data: Any, *_layout: Any, **_more: Any) -> None:
    """What `obj?` and `%prun` show in a pager becomes a display."""
    if shell.fx_session is not None:
        bundle = data if isinstance(data, dict) else {"text/plain": data}
        shell.fx_session.display("display_data", {"data": bundle, "metadata": {}, "transient": {}})


def _refuse_input(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise RuntimeError(NO_INPUT)


class IPythonEngine(cells.Engine):
    """One InteractiveShell over a module that is this process's `__main__`."""

    def __init__(self, module: types.ModuleType, scratch: str | None) -> None:
        if scratch:
            os.environ["IPYTHONDIR"] = os.path.join(scratch, "ipython")
        self._inline = _has_inline()
        if not self._inline:
            figures.prepare()
        elif os.environ.get("MPLBACKEND", "").lower() in {"", "agg"}:
            # A cluster's profile often says agg, for who has no window; a cell has a notebook.
            os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        config = Config()
        config.HistoryManager.enabled = False
        config.HistoryManager.hist_file = ":memory:"
        config.InteractiveShell.colors = "nocolor"
        InteractiveShell.clear_instance()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._shell = ZMQLikeShell.instance(
                config=config,
                user_module=module,
                display_pub_class=_Publisher,
                displayhook_class=_Hook,
                compiler_class=_Compiler,
            )
        warnings.filterwarnings("ignore", message="To exit: use 'exit'")
        self.namespace = self._shell.user_ns
        self.hidden = frozenset(self.namespace)

    def attach(self, session: cells.Session) -> None:
        """Connect the shell's displays to `session`."""
        self._shell.fx_session = session
        remember_builtins()
        getpass.getpass = _refuse_input

    async def execute(self, source: str, filename: str, count: int, silent: bool) -> BaseException | None:
        """Run one cell as a notebook does, magics included. Line numbers are those of `source`."""
        shell = self._shell
        keep_source(filename, source)
        code = blank_remote_line(source)
        lines = code.split("\n")
        skipped = 0
        while skipped < len(lines) - 1 and not lines[skipped].strip():
            skipped += 1
        body = "\n".join(lines[skipped:])
        if body.startswith("%%"):
            # %%time and its like compile their body under this name, with lines of its own.
            keep_source("<timed exec>", body.partition("\n")[2])
        shell.fx_preprocessing = None
        transformed: str | None = None
        try:
            # IPython drops leading blank lines; putting them back keeps the notebook's numbers.
            transformed = "\n" * skipped + shell.transform_cell(body)  # type: ignore[no-untyped-call]
        except Exception as error:
            if isinstance(error, SyntaxError):
                if error.lineno:
                    error.lineno += skipped
                error.filename = filename
            shell.fx_preprocessing = sys.exc_info()
        compiler: Any = shell.compile
        compiler.fx_cell, compiler.fx_filename = transformed or code, filename
        shell.execution_count = shell.fx_count = count
        self.value = None
        result = await shell.run_cell_async(
            code,
            store_history=not silent,
            silent=silent,
            transformed_cell=transformed if transformed is not None else code,
            preprocessing_exc_tuple=shell.fx_preprocessing,
        )
        self.value = result.result
        error_found: BaseException | None = result.error_before_exec or result.error_in_exec
        return error_found

    def after(self, silent: bool) -> None:
        """Let the shell's listeners run: matplotlib's inline backend shows its figures here."""
        shell = self._shell
        shell.events.trigger("post_execute")
        if not self._inline and not silent and shell.fx_session is not None:
            figures.show_all(shell.fx_session.display)
        if not silent:
            shell.events.trigger("post_run_cell", shell.last_execution_result)

    def importing(self) -> contextlib.AbstractContextManager[Any]:
        """See Engine: with `get_ipython`, by which packages know a notebook."""
        trap: contextlib.AbstractContextManager[Any] = self._shell.builtin_trap
        return trap

    def complete(self, code: str, at: int) -> tuple[int, list[list[str]]]:
        """What IPython's own completer finds without jedi: names, attributes, keys, files and magics of this side."""
        completer: Any = self._shell.Completer
        completer.use_jedi = False
        with provisionalcompleter():
            found = list(rectify_completions(code, completer.completions(code, at)))
        start = found[0].start if found else at
        return start, [[one.text, one.type or ""] for one in found]

    def inspect(self, code: str, at: int, detail: int) -> dict[str, str]:
        """What `?` and `??` tell."""
        shell: Any = self._shell
        name = token_at_cursor(code, at)
        try:
            return dict(shell.object_inspect_mime(name, detail_level=detail)) if name else {}
        except KeyError:
            return {}


def _has_inline() -> bool:
    import importlib.util

    return importlib.util.find_spec("matplotlib_inline") is not None
