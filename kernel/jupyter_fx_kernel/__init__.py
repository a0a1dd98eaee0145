"""The notebook side: magics, capture, card, session.

`%load_ext jupyter_fx` loads it; nobody imports it otherwise. It talks to the hub through `jupyter_fx.client` alone.
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(ipython: Any) -> None:
    """Register the magics. The hub is found or started when the first one needs it: loading costs an import."""
    from jupyter_fx.client import default_client, exits
    from jupyter_fx_kernel import failures, figures, leaving, mapcard, requestloss, standins, tracebacks
    from jupyter_fx_kernel.magics import FxMagics

    requestloss.mend(getattr(ipython, "kernel", None))
    leaving.watch(getattr(ipython, "kernel", None))
    magics = FxMagics(ipython, default_client)
    ipython.register_magics(magics)
    ipython.events.register("pre_run_cell", magics.before_cell)
    magics.completion.install()
    mapcard.install(ipython)
    if not ipython.custom_exceptions:
        # IPython shows the frames of whoever raised a SyntaxError; the cell's own line is all that matters here.
        ipython.set_custom_exc((tracebacks.CellSyntaxError, BaseExceptionGroup), tracebacks.show_custom)
    standins.install(ipython)
    figures.show_figures(ipython)
    failures.draw_calls(magics.notebook)
    exits.first(magics.leave)


def unload_ipython_extension(ipython: Any) -> None:
    """Close this notebook's sessions and take the magics away."""
    from jupyter_fx import errors
    from jupyter_fx_kernel import mapcard

    errors.draw_remote = None
    mapcard.uninstall()
    magics = ipython.magics_manager.registry.pop("FxMagics", None)
    for kind, name in (("cell", "remote"), ("line", "remote"), ("line", "fx")):
        ipython.magics_manager.magics[kind].pop(name, None)
    if magics is not None:
        ipython.events.unregister("pre_run_cell", magics.before_cell)
        magics.completion.remove()
        magics.leave()
