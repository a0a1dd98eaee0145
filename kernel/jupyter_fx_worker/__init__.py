"""The remote side of jupyter-fx: zygote and workers, and the two codecs that they share with the rest.

Runs inside environments that are not ours: Python >= 3.9, standard library and cloudpickle, nothing else. Imports
nothing of the other packages; `payload` and `endpoint` may import `frames`, `envelope`, `binding` and `bundle` from
here.
"""

from __future__ import annotations

from jupyter_fx_worker.bars import progress

__all__ = ["progress"]
