"""What an engine is given to run: `eval` of this text. So nothing of ours need be installed where its workers are, and
no bytecode travels, whatever Python they are.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["TEXT", "job"]

_PROGRAM: Final = """
import sys
def run(zip, parcel):
    if sys.version_info < (3, 9):
        return {"refused": "python", "said": "%d.%d.%d" % sys.version_info[:3]}
    name = "jupyter_fx_worker.parcels"
    if "jupyter_fx.endpoint.engines.boot" in sys.modules:
        zip = ""  # a thread of the engine's host
    known = sys.modules.get(name)
    if known is None or (zip and not str(known.__file__).startswith(zip)):
        for one in [m for m in sys.modules if m.partition(".")[0] == "jupyter_fx_worker"]:
            if zip:
                del sys.modules[one]
        if zip and zip not in sys.path:
            sys.path.insert(0, zip)
    try:
        __import__(name)  # another thread may be at it
    except ImportError as error:
        return {"refused": "unseen", "said": str(error)}
    return sys.modules[name].run(parcel)
"""
TEXT: Final = "exec(fx_program, globals()) or run(fx_zip, fx_parcel)"


def job(zip_path: str, parcel: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The arguments of `eval`. `zip_path`: the worker's code, as a file that workers see."""
    return TEXT, {"fx_program": _PROGRAM, "fx_zip": zip_path, "fx_parcel": parcel}
