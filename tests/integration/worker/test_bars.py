"""Bars of tqdm, rich and our own in a real worker: told as events, with nothing of their drawing in the text."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tqdm", reason="tqdm is not installed: pip install tqdm")
pytest.importorskip("rich", reason="rich is not installed: pip install rich")


def bars_of(worker: Any) -> list[dict[str, Any]]:
    """Every bar that was told, in order."""
    events = [told["data"] for kind, told in worker.log if kind == "event" and told["kind"] == "progress"]
    return [bar for data in events for bar in data["bars"]]


def text_of(worker: Any, stream: str) -> str:
    return "".join(text for kind, text in worker.log if kind == stream)


def left_open(told: list[dict[str, Any]]) -> set[str]:
    return {
        bar["id"] for at, bar in enumerate(told) if not any(b.get("ended") and b["id"] == bar["id"] for b in told[at:])
    }


def test_progress_is_told(worker):
    worker.cell("from jupyter_fx_worker import progress\nprogress(1, 10, 'step')")
    told = next(e for kind, e in worker.log if kind == "event")["data"]
    assert told == {"bars": [{"id": "=", "done": 1.0, "total": 10.0}], "note": "step"}


@pytest.mark.parametrize("module", ["tqdm", "tqdm.auto", "tqdm.notebook", "tqdm.std"])
def test_a_tqdm_bar_is_told_and_leaves_its_last_line(worker, module):
    worker.cell(
        f"import time\nfrom {module} import tqdm\n"
        "for at in tqdm(range(1000), desc='rows', unit='row'):\n    time.sleep(0.0007)\nprint('after')"
    )
    told = bars_of(worker)
    assert {bar["label"] for bar in told} == {"rows"}
    assert {bar["unit"] for bar in told} == {"row"}
    assert {bar["total"] for bar in told} == {1000.0}
    assert 2 <= len(told) < 12
    assert not left_open(told)
    left = text_of(worker, "err")
    assert "\r" not in left
    assert left.count("\n") == 1
    assert "rows: 100%" in left
    assert "1000/1000" in left
    assert text_of(worker, "out") == "after\n"
    assert not [told for kind, told in worker.log if kind == "display"]


def test_nested_bars_are_bars_beside_each_other(worker):
    worker.cell(
        "import time\nfrom tqdm.auto import tqdm, trange\n"
        "for a in trange(3, desc='outer'):\n"
        "    for b in tqdm(range(4), desc='inner', leave=False):\n        time.sleep(0.03)"
    )
    told = bars_of(worker)
    assert {(bar["id"], bar["label"]) for bar in told} == {("0", "outer"), ("1", "inner")}
    assert not left_open(told)
    left = text_of(worker, "err")
    assert "outer: 100%" in left
    assert "inner" not in left
    assert "\x1b" not in left


def test_what_is_written_beside_a_bar_stays_as_it_is(worker):
    worker.cell(
        "import sys\nfrom tqdm import tqdm\nbar = tqdm(total=4, leave=False)\n"
        "print('10%\\r20%\\r', end='')\ntqdm.write('a line')\nprint('no bar', file=sys.stderr)\n"
        "bar.set_postfix(loss=0.5)\nbar.set_description('epoch 1')\nbar.update(4)\nbar.close()"
    )
    assert text_of(worker, "out") == "10%\r20%\ra line\n"
    assert text_of(worker, "err") == "no bar\n"
    assert bars_of(worker)[-1]["label"] == "epoch 1 (loss=0.5)"


def test_bars_that_write_elsewhere_or_from_another_process_are_left_alone(worker):
    worker.cell(
        "import io, os, contextlib\nfrom tqdm import tqdm\nfile = io.StringIO()\nlist(tqdm(range(3), file=file))\n"
        "with contextlib.redirect_stderr(io.StringIO()) as caught:\n    list(tqdm(range(3)))\n"
        "print(file.getvalue().count('3/3'), caught.getvalue().count('3/3'))\n"
        "if (child := os.fork()) == 0:\n    list(tqdm(range(5)))\n    os._exit(0)\nos.waitpid(child, 0)[1]"
    )
    assert text_of(worker, "out") == "1 1\n"
    assert "5/5" in text_of(worker, "err")
    assert not bars_of(worker)


def test_rich_bars_are_told(worker):
    worker.cell(
        "import time\nfrom rich.progress import Progress, track\n"
        "for _ in track(range(30), description='[bold]loading[/]'):\n    time.sleep(0.02)\n"
        "with Progress() as shown:\n"
        "    one, two = shown.add_task('one', total=10), shown.add_task('two', total=None)\n"
        "    for _ in range(10):\n"
        "        shown.update(one, advance=1)\n        shown.advance(two)\n        time.sleep(0.05)"
    )
    told = bars_of(worker)
    assert {bar["label"] for bar in told} == {"loading", "one", "two"}
    assert any(0 < bar["done"] < 30 for bar in told if bar["label"] == "loading")
    assert not left_open(told)
    assert "total" not in next(bar for bar in told if bar["label"] == "two")
    assert "\x1b" not in text_of(worker, "out")
    assert "100%" in text_of(worker, "out")


def test_where_jupyter_fx_is_not_installed_its_progress_is(worker):
    worker.cell(
        "import sys\nsys.path[:] = [p for p in sys.path if 'jupyter' not in p]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        "sys.modules.pop('jupyter_fx', None)\n"
        "class Gone:\n    def find_spec(self, name, path=None, target=None):\n"
        "        return None\n"
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec('jupyter_fx')\n"
        "sys.path_importer_cache.clear()\n"
        "sys.path[:] = [p for p in sys.path if not PathFinder.find_spec('jupyter_fx', [p])]\n"
        "import jupyter_fx as fx\nprint(fx.__doc__)\n"
        "print(list(fx.progress(range(3), label='here')))\n"
        "try:\n    fx.connect\nexcept AttributeError as error:\n    print(error)"
    )
    said = text_of(worker, "out")
    assert "stand-in" in said
    assert "[0, 1, 2]" in said
    assert "not installed in this environment" in said
    assert bars_of(worker)[0]["label"] == "here"


def test_where_jupyter_fx_is_installed_its_own_progress_tells_the_worker(worker):
    worker.cell("import jupyter_fx as fx\nlist(fx.progress(range(3), label='own'))\nprint(fx.__file__)")
    assert bars_of(worker)[0]["label"] == "own"
    assert "jupyter_fx" in text_of(worker, "out")
