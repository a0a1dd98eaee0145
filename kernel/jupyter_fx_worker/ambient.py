"""What libraries keep for the whole process: random generators and display options. It follows the notebook.

`np.random.seed(1)` in a local cell would mean nothing to a remote one, and `np.set_printoptions` in a remote cell
nothing to what is shown at home, unless these few things travelled with the cells. Each side has one `Ambient` per
session: it knows what the other side has, tells what is different now, and takes over what it is told. What is told of
a library that is not loaded waits until it is, or until a cell is about to load it.
"""

from __future__ import annotations

import importlib
import random
import re
import sys
from typing import Any, Callable

from jupyter_fx_worker import envelope

__all__ = ["NAME", "Ambient"]

NAME = "_fx_ambient_"
"""The name under which this travels among a cell's values."""


def _numpy_random() -> Any:
    kind, keys, *rest = sys.modules["numpy.random"].get_state()
    return (str(kind), keys.tobytes(), *rest)


def _set_numpy_random(state: Any) -> None:
    kind, keys, *rest = state
    numpy = sys.modules["numpy"]
    numpy.random.set_state((kind, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))


def _set_numpy_print(options: Any) -> None:
    sys.modules["numpy"].set_printoptions(**options)


def _pandas_options() -> dict[str, Any]:
    """Display options by their full names."""
    found: dict[str, Any] = {}
    todo = [("display", sys.modules["pandas"].options.d["display"])]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{path}.{key}", part) for key, part in value.items()]
        else:
            found[path] = value
    return found


def _set_pandas_options(options: Any) -> None:
    pandas, now = sys.modules["pandas"], _pandas_options()
    for name, value in options.items():
        if name in now and now[name] != value:
            pandas.set_option(name, value)


def _rc_params() -> dict[str, Any]:
    params = sys.modules["matplotlib"].rcParams
    # `backend` would be chosen by reading it, and windows are each side's own.
    return {
        name: dict.__getitem__(params, name)
        for name in dict.keys(params)
        if not name.startswith(("backend", "webagg", "interactive", "toolbar", "tk.", "docstring", "keymap"))
    }


def _set_rc_params(values: Any) -> None:
    params, now = sys.modules["matplotlib"].rcParams, _rc_params()
    params.update({name: value for name, value in values.items() if name in now and now[name] != value})


def _inline() -> dict[str, Any]:
    """What `%config InlineBackend` set. Before the first figure it stands in the shell's configuration alone."""
    if (backend := _backend()) is not None:
        return {"formats": sorted(backend.figure_formats), "options": dict(backend.print_figure_kwargs)}
    asked = _shell().config.get("InlineBackend")
    if not asked:
        raise LookupError("nobody has asked for anything")
    formats = [asked["figure_format"]] if "figure_format" in asked else sorted(asked.get("figure_formats", {"png"}))
    return {"formats": formats, "options": dict(asked.get("print_figure_kwargs", {"bbox_inches": "tight"}))}


def _set_inline(told: Any) -> None:
    formats, options = set(told["formats"]), dict(told["options"])
    if (backend := _backend()) is not None:
        backend.figure_formats, backend.print_figure_kwargs = formats, options
        return
    asked = _shell().config["InlineBackend"]
    asked.pop("figure_format", None)
    asked["figure_formats"], asked["print_figure_kwargs"] = formats, options


def _backend() -> Any:
    kind = getattr(sys.modules.get("matplotlib_inline.config"), "InlineBackend", None)
    return kind.instance() if kind is not None and kind.initialized() else None


def _shell() -> Any:
    shell = sys.modules["IPython"].get_ipython()
    if shell is None:
        raise LookupError("no shell")
    return shell


_KINDS: dict[str, tuple[str, Callable[[], Any], Callable[[Any], None]]] = {
    "random": ("random", random.getstate, random.setstate),
    "numpy.random": ("numpy.random", _numpy_random, _set_numpy_random),
    "numpy.print": ("numpy", lambda: sys.modules["numpy"].get_printoptions(), _set_numpy_print),
    "pandas.display": ("pandas", _pandas_options, _set_pandas_options),
    "matplotlib.rc": ("matplotlib", _rc_params, _set_rc_params),
    # As `%config InlineBackend.figure_format` and `%xmode` set them.
    "matplotlib.inline": ("IPython", _inline, _set_inline),
    "tracebacks": ("IPython", lambda: _shell().InteractiveTB.mode, lambda mode: _shell().InteractiveTB.set_mode(mode)),
}
"""kind -> (module, read, write)."""
_GENERATORS = frozenset({"random", "numpy.random"})
"""Numbers alone, which change with most cells."""


def _read() -> dict[str, Any]:
    found = {}
    for kind, (module, read, _write) in _KINDS.items():
        # A module that is being imported on another thread is in sys.modules without its contents.
        try:
            if module in sys.modules:
                found[kind] = read()
        except Exception:  # noqa: S112 - another version of the library, another generator: it stays where it is
            continue
    return found


def _travels(value: Any) -> bool:
    """Whether it can be pickled: what a formatter of the user's holds may be anything."""
    try:
        envelope.pickled(value)
    except Exception:
        return False
    return True


class Ambient:
    """One side's view of it. Not for use from several threads."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self._waiting: dict[str, Any] = {}

    def changed(self) -> dict[str, Any]:
        """What is set here and the other side does not have, as far as it can travel; it counts as told."""
        self.take({})
        now = _read()
        news = {kind: value for kind, value in now.items() if kind not in self._known or self._known[kind] != value}
        self._known.update(now)
        return {kind: value for kind, value in news.items() if kind in _GENERATORS or _travels(value)}

    def take(self, news: dict[str, Any], source: str = "") -> None:
        """Take over what the other side told, and what waited for its library. Never raises.

        A library that `source`, the cell that comes next, calls by its name is imported for this.
        """
        if not news and not self._waiting:
            return
        self._waiting.update(news)
        for kind, value in list(self._waiting.items()):
            module, read, write = _KINDS.get(kind, ("", None, None))
            if write is None or read is None:
                del self._waiting[kind]
            elif (top := module.partition(".")[0]) in sys.modules or re.search(rf"\b{top}\b", source):
                del self._waiting[kind]
                try:
                    importlib.import_module(module)
                    write(value)
                    self._known[kind] = read()
                except Exception:  # noqa: S112 - not here, or another version of it: ours stay as they are
                    continue

    def settle(self) -> None:
        """What is set here now needs no telling."""
        self._known.update(_read())

    def forget(self) -> None:
        """Nobody knows what the other side has."""
        self._known.clear()
