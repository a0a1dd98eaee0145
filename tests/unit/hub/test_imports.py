"""The hub cannot open a pickle: it runs where nothing that could is importable."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = """
import sys

class Blocker:
    names = {"cloudpickle", "dill", "shelve", "jupyter_fx_worker"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocker())
import jupyter_fx_hub.app, jupyter_fx_hub.__main__, jupyter_fx_hub.store.store, jupyter_fx_hub.store.blobs
ours = [m for n, m in sys.modules.items() if n.startswith("jupyter_fx")]
bad = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve"}
for module in ours:
    for name, value in vars(module).items():
        assert getattr(value, "__name__", "") not in bad or not isinstance(value, type(sys)), (module.__name__, name)
print("ok")
"""


def test_the_hub_imports_nothing_that_opens_pickles() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "ok", done.stderr[-2000:]
