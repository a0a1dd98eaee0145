"""What is installed: one wheel with everything in it."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "jupyter_fx" / "labextension"
SHARED = "share/jupyter/labextensions/jupyter-fx/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    if not (BUILT / "package.json").exists():
        pytest.skip("the labextension is not built: tools/build-labextension (needs node)")
    folder = tmp_path_factory.mktemp("wheel")
    pins = str(ROOT / "constraints.txt")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "-q", "-w", str(folder)]
    subprocess.run([*command, "-c", pins, "--build-constraint", pins, str(ROOT)], check=True, timeout=240)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_brings_the_labextension_and_enables_the_server_extension(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    package = next(name for name in names if name.endswith(SHARED + "package.json"))
    told = json.loads(wheel.read(package))
    assert told["name"] == "jupyter-fx"
    entry = told["jupyterlab"]["_build"]["load"]
    assert package.replace("package.json", entry) in names
    assert [name for name in names if name.endswith("etc/jupyter/jupyter_server_config.d/jupyter_fx.json")]
    assert [name for name in names if "node_modules" in name or "/.yarn" in name or name.endswith("tsbuildinfo")] == []
    assert [name for name in names if name.startswith("jupyter_fx/labextension/")] == []


def test_the_bundle_is_small(wheel: zipfile.ZipFile) -> None:
    scripts = [name for name in wheel.namelist() if SHARED + "static/" in name and name.endswith(".js")]
    size = sum(len(gzip.compress(wheel.read(name))) for name in scripts)
    print(f"the labextension's scripts: {size:,} bytes gzipped")
    assert 0 < size < 200_000


def test_it_brings_nothing_but_itself_into_the_page(wheel: zipfile.ZipFile) -> None:
    licences = next(name for name in wheel.namelist() if name.endswith(SHARED + "static/third-party-licenses.json"))
    brought = {one["name"] for one in json.loads(wheel.read(licences))["packages"]}
    assert brought == {"css-loader", "style-loader"}, "name it and its reason in docs/dependencies.md"
    package = json.loads((ROOT / "labextension" / "package.json").read_text(encoding="utf-8"))
    assert [name for name in package["dependencies"] if not name.startswith(("@jupyterlab/", "@lumino/"))] == []


def test_the_generated_types_are_fresh() -> None:
    if shutil.which("node") is None or not (ROOT / "labextension" / "node_modules").exists():
        pytest.skip("there is no node, or the labextension's packages are not installed: tools/build-labextension")
    done = subprocess.run(
        ["node", "tools/card-types.mjs", "--check"], cwd=ROOT / "labextension", capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
