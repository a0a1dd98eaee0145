"""What a plain `import` brings along: each import happens in an interpreter of its own, from nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# The parts of the project that other platforms and users' own processes import, and what must stay out of them.
DATABASE = {"sqlalchemy", "alembic", "parsl", "psycopg"}
FORK_ONLY = ("fcntl", "resource", "termios", "pty", "grp", "pwd")


def run(program: str) -> dict[str, object]:
    """Run ``program`` in a fresh interpreter; its last line is JSON."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def loaded_by(module: str) -> set[str]:
    """Top-level names in sys.modules after ``import module``, less those of the bare interpreter."""
    program = (
        "import sys, json; before = set(sys.modules)\n"
        f"import {module}\n"
        "print(json.dumps({'new': sorted({m.partition('.')[0] for m in set(sys.modules) - before})}))"
    )
    new = run(program)["new"]
    assert isinstance(new, list)
    return set(new)


def test_the_public_package_loads_nothing_of_ours_until_it_is_used() -> None:
    program = (
        "import sys, json, jupyter_fx\n"
        "ours = [m for m in sys.modules if m.startswith('jupyter_fx') and m != 'jupyter_fx']\n"
        "heavy = {'msgspec', 'tornado', 'zmq', 'IPython', 'ipywidgets', 'numpy', 'sqlalchemy'} & set(sys.modules)\n"
        "print(json.dumps({'ours': ours, 'heavy': sorted(heavy)}))"
    )
    assert run(program) == {"ours": [], "heavy": []}


def test_the_worker_needs_the_standard_library_and_cloudpickle_alone() -> None:
    """Every other package is refused, so that an import that is merely attempted is seen to be survived."""
    program = (
        "import sys, json, pkgutil, importlib\n"
        "allowed = {*sys.stdlib_module_names, 'cloudpickle', 'jupyter_fx_worker'}\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] not in allowed: raise ImportError(f'{name} is not in a bare environment')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import jupyter_fx_worker as package\n"
        "names = [found.name for found in pkgutil.walk_packages(package.__path__, 'jupyter_fx_worker.')]\n"
        # The shell on top of IPython (shell.py) is for environments that have it; what chooses it must do without.
        "names = [n for n in names if not n.endswith(('.shell', '.__main__'))]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(json.dumps({'imported': len(names)}))"
    )
    assert run(program) != {"imported": 0}


@pytest.mark.parametrize(
    "module", ["jupyter_fx_kernel", "jupyter_fx.client", "jupyter_fx.payload", "jupyter_fx.server"]
)
def test_importing_it_brings_no_database_and_no_provider(module: str) -> None:
    assert not loaded_by(module) & DATABASE


def test_loading_the_magics_brings_no_database_and_no_numpy() -> None:
    program = (
        "import sys, json\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "InteractiveShell.instance().run_line_magic('load_ext', 'jupyter_fx')\n"
        "heavy = {'sqlalchemy', 'alembic', 'parsl', 'psycopg', 'numpy', 'pandas', 'jupyter_fx_hub'}\n"
        "print(json.dumps({'heavy': sorted(heavy & set(sys.modules))}))"
    )
    assert run(program) == {"heavy": []}


WINDOWS = ("jupyter_fx_kernel", "jupyter_fx.client", "jupyter_fx.embedded", "jupyter_fx.server")
AS_ON_WINDOWS = f"""
import importlib, json, os, pkgutil, sys

# What other packages import of these is their affair: they choose by sys.platform, which stays linux here.
import asyncio, ipykernel.kernelapp, IPython, jupyter_server.extension.application
import multiprocessing, psutil, subprocess, tornado.ioloop, websockets, zmq

missing = {FORK_ONLY!r}
for name in missing:
    sys.modules.pop(name, None)


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in missing:
            raise ImportError(f"{{name}} is not there on Windows")


sys.meta_path.insert(0, Refuse())
for name in ("fork", "getuid", "geteuid", "register_at_fork"):
    hasattr(os, name) and delattr(os, name)
failed = {{}}
for root in {WINDOWS!r}:
    package = importlib.import_module(root)
    for found in pkgutil.walk_packages(package.__path__, root + "."):
        try:
            found.name.endswith("__main__") or importlib.import_module(found.name)
        except ImportError as error:
            failed[found.name] = str(error)
import jupyter_fx

for name in jupyter_fx.__all__:
    getattr(jupyter_fx, name)
print(json.dumps(failed))
"""


def test_kernel_client_server_and_embedded_need_no_fork_and_no_unix_module() -> None:
    """Windows, as far as it can be shown elsewhere: the modules it lacks are refused, and os has no fork."""
    assert run(AS_ON_WINDOWS) == {}
