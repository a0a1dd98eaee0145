"""tqdm and rich draw bars for terminals, or as widgets of a notebook; here there is neither. Their bars become ours.

They are changed when (and if) user code imports them. What tqdm leaves behind when a bar is done is written as ever;
bars that write to files of their own are left alone. Those of processes that user code started are read from their text
by the manager (`jupyter_fx.endpoint.textbars`).
Where jupyter_fx itself is not installed, `import jupyter_fx` gives a stand-in that has `progress`.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import io
import sys
import types
from collections.abc import Sequence
from typing import Any

from jupyter_fx_worker import bars

__all__ = ["install"]


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the module be loaded as ever, then changes it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = _PATCHES.get(name)
        if patch is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec is not None else None
        if loader is None or not hasattr(loader, "exec_module"):
            return None
        execute = loader.exec_module

        def and_patch(module: types.ModuleType) -> None:
            execute(module)
            _try(patch, module)

        loader.exec_module = and_patch
        return spec


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last one asked: only where nothing else gives a jupyter_fx."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == "jupyter_fx" else None

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill it."""

        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            raise AttributeError(
                f"jupyter_fx is not installed in this environment: of it there is only `progress` here, not {name!r}"
            )

        module.__doc__ = "A stand-in for jupyter_fx where it is not installed: `progress` alone."
        made: Any = module
        made.progress = bars.progress
        made.__all__ = ["progress"]
        made.__getattr__ = missing


def install(ours: bars.Bars, streams: Sequence[Any]) -> None:
    """Let bars that would be drawn on `streams` be told through `ours`."""
    global _ours, _streams
    _ours, _streams = ours, tuple(streams)
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            _try(patch, sys.modules[name])
    sys.meta_path.insert(0, _Finder())
    sys.meta_path.append(_StandIn())


_ours: Any = None
_streams: tuple[Any, ...] = ()


def _try(patch: Any, module: Any) -> None:
    # Another version of theirs than those we know is used as it is.
    with contextlib.suppress(Exception):
        patch(module)


def _on_screen(file: Any) -> bool:
    file = getattr(file, "_wrapped", file)
    return bars.reporting() and any(file is stream for stream in _streams)


# --- tqdm ---


def _tqdm(module: Any) -> None:
    cls = module.tqdm
    display, clear, close = cls.display, cls.clear, cls.close

    def is_ours(bar: Any) -> bool:
        return getattr(bar, "sp", None) is not None and _on_screen(bar.fp)

    def tell(bar: Any, msg: str | None = None, pos: int | None = None) -> Any:
        if not is_ours(bar):
            return display(bar, msg, pos)
        _tqdm_tell(bar)
        return True

    def nothing_to_clear(bar: Any, *args: Any, **kwargs: Any) -> Any:
        return None if is_ours(bar) else clear(bar, *args, **kwargs)

    def finish(bar: Any) -> None:
        told = getattr(bar, "_fx_bar", None)
        if told is not None:
            told.end()
        if getattr(bar, "disable", True) or not is_ours(bar):
            close(bar)
            return
        screen, said = bar.fp, io.StringIO()
        bar.fp, bar.sp = said, lambda _text: None
        try:
            close(bar)
        finally:
            bar.fp = screen
        if said.getvalue().endswith("\n"):  # it leaves its last state behind
            with contextlib.suppress(Exception):
                screen.write(f"{bar}\n")

    cls.display, cls.clear, cls.close = tell, nothing_to_clear, finish


def _tqdm_tell(bar: Any) -> None:
    known = bar.format_dict
    scale = known.get("unit_scale")
    scale = scale if isinstance(scale, (int, float)) and not isinstance(scale, bool) else 1
    label = str(known.get("prefix") or "").rstrip(": ")
    if known.get("postfix"):
        label = f"{label} ({known['postfix']})" if label else str(known["postfix"])
    done = known["n"] * scale
    total = None if known.get("total") is None else known["total"] * scale
    rate = known.get("rate")
    more = {
        "rate": rate * scale if rate else None,
        "label": label,
        "total": total,
        "unit": str(known.get("unit") or ""),
    }
    told = getattr(bar, "_fx_bar", None)
    if told is None:
        first = (known.get("initial") or 0) * scale
        told = bar._fx_bar = _ours.new(label, total, more["unit"], first)  # noqa: SLF001 - a mark of ours
    if rate and total is not None:
        more["eta"] = max(0.0, (total - done) / more["rate"])
    told.set(done, **more)


def _tqdm_notebook(module: Any) -> None:
    """Widgets cannot be reached from a notebook that did not make them: text bars take their place."""
    std: Any = sys.modules["tqdm.std"]

    class tqdm_notebook(std.tqdm):  # type: ignore[misc]  # noqa: N801 - its name there
        """The bar of the notebook, without its widget."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("display", None)
            super().__init__(*args, **kwargs)

    def tnrange(*args: Any, **kwargs: Any) -> Any:
        return tqdm_notebook(range(*args), **kwargs)

    module.tqdm_notebook = module.tqdm = tqdm_notebook
    module.tnrange = module.trange = tnrange


# --- rich ---


def _rich(module: Any) -> None:
    cls = module.Progress

    def is_ours(shown: Any) -> bool:
        console = shown.console
        return not shown.disable and not console.is_jupyter and not console.is_terminal and _on_screen(console.file)

    def after(method: str) -> None:
        original = getattr(cls, method)

        def and_tell(shown: Any, *args: Any, **kwargs: Any) -> Any:
            value = original(shown, *args, **kwargs)
            if is_ours(shown):
                _rich_tell(module, shown)
            return value

        and_tell.__name__, and_tell.__doc__ = method, original.__doc__
        setattr(cls, method, and_tell)

    for method in ("start", "add_task", "update", "advance", "reset", "start_task", "stop_task", "remove_task"):
        after(method)
    stop = cls.stop

    def and_end(shown: Any) -> None:
        for told in shown.__dict__.pop("_fx_bars", {}).values():
            told.end()
        stop(shown)

    cls.stop = and_end


def _rich_tell(module: Any, shown: Any) -> None:
    if not shown.live.is_started:
        return
    told = shown.__dict__.setdefault("_fx_bars", {})
    now = _ours.clock()
    tasks = {task.id: task for task in shown.tasks if task.visible}
    for gone in set(told) - set(tasks):
        told.pop(gone).end()
    for number, task in tasks.items():
        bar = told.get(number)
        if bar is None:
            bar = told[number] = _ours.new(_plain(module, task.description), task.total)
        bar.done, bar.total, bar.changed = task.completed, task.total, True
        if now >= bar.due:
            more = {"label": _plain(module, task.description), "rate": task.speed, "eta": task.time_remaining}
            bar.set(task.completed, **more)


def _plain(module: Any, description: Any) -> str:
    try:
        return str(module.Text.from_markup(str(description)).plain)
    except Exception:
        return str(description)


_PATCHES = {"tqdm.std": _tqdm, "tqdm.notebook": _tqdm_notebook, "rich.progress": _rich}
