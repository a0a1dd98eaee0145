"""Modules that a remote cell imported are known here, and loaded when they are used."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from typing import Any

from jupyter_fx_kernel.modules import LazyModule, come_home


def test_a_module_that_is_loaded_here_is_bound_itself() -> None:
    namespace: dict[str, Any] = {}
    assert come_home(namespace, "m", "math")
    assert namespace["m"] is math


def test_a_module_that_is_not_installed_here_is_not_bound() -> None:
    namespace: dict[str, Any] = {}
    assert not come_home(namespace, "x", "no_such_package_anywhere.part")
    assert namespace == {}


def test_a_module_that_is_not_loaded_is_loaded_on_first_use_only() -> None:
    story = (
        "import sys\n"
        "from jupyter_fx_kernel.modules import come_home\n"
        "ns = {}\n"
        "sys.modules.pop('colorsys', None)\n"
        "assert come_home(ns, 'c', 'colorsys')\n"
        "assert 'colorsys' not in sys.modules\n"
        "assert ns['c'].rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)\n"
        "assert 'colorsys' in sys.modules and 'rgb_to_hsv' in dir(ns['c'])\n"
    )
    subprocess.run([sys.executable, "-c", story], check=True, timeout=30)


def test_what_stands_for_a_module_travels_as_the_module() -> None:
    assert pickle.loads(pickle.dumps(LazyModule("math"))) is math
    assert "math" in repr(LazyModule("math"))


def test_a_name_that_is_the_module_already_stays_as_it_is() -> None:
    mine = LazyModule("math")
    namespace: dict[str, Any] = {"m": mine}
    assert come_home(namespace, "m", "math")
    assert namespace["m"] is mine
