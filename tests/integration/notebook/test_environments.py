"""`%fx use NAME --env FILE` and `@fx.remote(env=FILE)` in a real kernel."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.notebook.conftest import HERE, Kernel
from tests.integration.wheels import fruit


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """With a hub of its own, whose endpoint knows one package."""
    from jupyter_fx import embedded

    top = Path(tempfile.mkdtemp(prefix="fxe"))
    for number, name in enumerate(HERE):
        (top / str(number)).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(top / str(number)))
    monkeypatch.delenv("JUPYTER_FX_HUB", raising=False)
    fruit(top)
    uv = {"UV_FIND_LINKS": str(top), "UV_OFFLINE": "1", "UV_CACHE_DIR": str(top / "cache")}
    local = top / "2" / "endpoints" / "local"
    local.mkdir(parents=True, mode=0o700)
    (local / "config.py").write_text(f"c.Endpoint.env = {uv!r}\n")
    (top / "work").mkdir()
    (top / "work" / "requirements.txt").write_text("fxfruit  # what it needs\n")
    (top / "work" / "bad.txt").write_text("fxfruit==9\n")
    embedded.find_hub()
    found = Kernel(top / "work")
    try:
        yield found
    finally:
        found.close()
        embedded.stop_endpoint()
        embedded.stop_hub()
        shutil.rmtree(top, ignore_errors=True)


def test_cells_and_functions_run_in_what_a_file_says(kernel: Kernel) -> None:
    kernel.run("%load_ext jupyter_fx")
    bad = kernel.run("%fx use local --env bad.txt")
    assert "the environment of bad.txt cannot be built: Because" in bad.error["evalue"]
    assert "you require fxfruit==9" in bad.error["evalue"]
    assert "No solution found" in bad.stream()
    good = kernel.run("%fx use local --env requirements.txt")
    assert "+ fxfruit==1.5" in good.stream()
    assert "its session opens with the first one, in the environment env:" in good.stream()
    assert "red" in kernel.remote("import fxfruit; print(fxfruit.colour)").stream()
    again = kernel.run(
        "import jupyter_fx as fx\n"
        "@fx.remote(env='requirements.txt')\n"
        "def taste():\n    import fxfruit\n    return fxfruit.colour\n"
        "print(taste.remote(), list(taste.map([])), fx.__name__)"
    )
    assert again.stream().startswith("red [] jupyter_fx"), again.traceback
    both = kernel.run("%fx use local --image a.sqfs --env requirements.txt --new")
    assert "not both" in both.error["evalue"]
