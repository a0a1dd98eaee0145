"""What travels and what does not, as its user sees it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest


def test_a_name_that_only_home_knows_is_said_to_be_there(kernel: Any) -> None:
    kernel.run("secret_sauce = [1, 2]\ndef reads():\n    return eval('secret_' + 'sauce')")
    ran = kernel.remote("reads()")
    assert ran.error["ename"] == "NameError"
    assert (
        "secret_sauce exists in this notebook (list of 2) and did not travel: `%%remote -i secret_sauce`"
        in ran.traceback
    )
    assert "exists in this notebook" in kernel.remote("secret_sauce", "--no-capture").traceback
    assert kernel.remote("reads()", "-i secret_sauce").result == "[1, 2]"
    assert "exists in this notebook" not in kernel.remote("no_such_name_anywhere").traceback


def test_an_exception_with_two_arguments_is_caught_by_its_class_with_what_it_holds(kernel: Any) -> None:
    kernel.run(
        "class Two(Exception):\n    def __init__(self, a, b):\n        super().__init__(f'{a}-{b}')\n        self.b = b"
    )
    kernel.run(
        "try:\n    get_ipython().run_cell_magic('remote', '', 'raise Two(1, 2)')\n"
        "except Two as e:\n    caught = str(e), e.b"
    )
    assert kernel.value("caught") == "('1-2', 2)"


def test_a_memory_mapped_file_travels_with_a_word_about_its_size(kernel: Any) -> None:
    kernel.run(
        "import numpy as np\nnp.save('mapped.npy', np.arange(500_000.0))\nmapped = np.load('mapped.npy', mmap_mode='r')"
    )
    ran = kernel.remote("float(mapped[-1]), mapped.flags.writeable")
    assert ran.result == "(499999.0, False)"
    assert "mapped is mapped from a file (mapped.npy), and travels as a copy of 3.8 MiB" in ran.shown


def test_arrays_are_writable_there_if_they_were_here(kernel: Any) -> None:
    kernel.run("w = np.arange(5000)\nr = w.copy()\nr.flags.writeable = False\nsmall = np.arange(3)")
    assert kernel.remote("w.flags.writeable, r.flags.writeable, small.flags.writeable").result == "(True, False, True)"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("(n for n in range(3))", "is of type generator"),
        ("{'deep': [threading.Lock()]}", "v['deep'][0] is of type _thread.lock"),
        ("open('some.txt', 'w')", "pass its path and open it there"),
        ("sqlite3.connect(':memory:').cursor()", "a connection is bound to this process"),
        ("subprocess.Popen(['true'])", "is of type subprocess.Popen"),
        ("queue.Queue()", "pass list(queue.queue)"),
    ],
)
def test_what_cannot_travel_says_which_part_of_which_name_and_what_to_do(kernel: Any, made: str, said: str) -> None:
    kernel.run(f"import queue, sqlite3, subprocess, threading\nv = {made}")
    ran = kernel.remote("print(v)")
    assert ran.error["ename"] == "PayloadError"
    assert said in ran.traceback
    assert ran.stream() == ""


def test_a_dry_run_is_a_table_of_all_names_and_runs_nothing(kernel: Any) -> None:
    kernel.run("import threading\nimport numpy as np\none = [1] * 100\ntwo = np.ones(1000)\nbad = threading.Lock()")
    kernel.remote("len(one)")
    ran = kernel.remote("print(one, two, bad, np)", "--dry-run")
    text = ran.shown
    assert ran.stream() == ""
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "list of 100" in rows["one"]
    assert "already there" in rows["one"]
    assert "will travel" in rows["two"]
    assert "7.9 KiB" in rows["two"]
    assert "cannot travel" in rows["bad"]
    assert "_thread.lock" in rows["bad"]
    assert "the cell would be refused because of bad; nothing was run" in text
    assert "Python 3" in text
    assert "it has numpy" in text
    pages = [c["data"].get("text/html", "") for _, kind, c in ran.outputs if kind == "display_data"]
    assert "<table>" in pages[0]


def test_a_dry_run_before_the_first_cell_asks_the_endpoint(kernels: Any) -> None:
    kernel = kernels()
    kernel.run("import numpy as np")
    python = ".".join(map(str, sys.version_info[:3]))
    assert f"Python {python} on local; it has numpy" in kernel.remote("np.ones(1)", "--dry-run").shown
    assert f"Python {python} on local; no package is needed" in kernel.remote("1", "--dry-run --stateless").shown
    assert "session   none yet" in kernel.run("%fx session").stream()
    assert "no endpoint 'nowhere' (nearest: local)" in kernel.remote("1", "nowhere --dry-run").traceback


def test_names_in_a_dry_run_are_text_for_the_browser(kernel: Any) -> None:
    kernel.run("Evil = type('<img src=x onerror=alert(1)>', (), {})\nevil = Evil()")
    ran = kernel.remote("evil", "--dry-run")
    pages = "".join(c["data"].get("text/html", "") for _, kind, c in ran.outputs if kind == "display_data")
    assert "<img" not in pages
    assert "&lt;img" in pages


def test_a_package_that_is_missing_there_is_named_before_anything_runs(kernel: Any, stack: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="e", dir=stack)) / "site-packages"
    (folder / "fxi_absent").mkdir(parents=True)
    (folder / "fxi_absent" / "__init__.py").write_text("class Model:\n    pass\n")
    kernel.run(f"import sys\nsys.path.append({str(folder)!r})\nimport fxi_absent\nfitted = fxi_absent.Model()")
    ran = kernel.remote("print('ran')\nfitted")
    assert ran.error["ename"] == "PayloadError"
    assert "fitted needs fxi_absent, which is not installed on local (Python 3." in ran.traceback
    assert "-m pip install fxi_absent`" in ran.traceback
    assert ran.stream() == ""
    ran = kernel.remote("print('ran')\nimport fxi_absent.sub")
    assert "`import fxi_absent` needs fxi_absent" in ran.traceback
    assert ran.stream() == ""
    # What may be missing on purpose, or is about to be installed, is nobody's business before it runs.
    assert (
        kernel.remote("try:\n    import fxi_absent\nexcept ImportError:\n    print('without')").stream() == "without\n"
    )
    assert kernel.remote("print('ran')\n# pip\nimport fxi_absent").stream() == "ran\n"
    assert "fxi_absent is missing there and needed by fitted" in kernel.remote("fitted", "--dry-run").shown


def test_a_dry_run_shows_versions_that_differ_in_a_way_that_may_tell(kernel: Any, stack: Path) -> None:
    top = Path(tempfile.mkdtemp(prefix="v", dir=stack))
    for side, versions in {"here": ("1.4.0", "3.2.1", "0.9.1"), "there": ("2.0.1", "3.2.7", "0.9.1")}.items():
        for name, version in zip(("fxi_major", "fxi_patch", "fxi_same"), versions, strict=True):
            folder = top / side / "site-packages"
            (folder / name).mkdir(parents=True)
            (folder / name / "__init__.py").write_text("")
            info = folder / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    kernel.run(f"import sys\nsys.path.append({str(top / 'here' / 'site-packages')!r})")
    kernel.remote(f"import sys\nsys.path.append({str(top / 'there' / 'site-packages')!r})")
    ran = kernel.remote("import fxi_major, fxi_patch, fxi_same", "--dry-run")
    rows = {line.split()[0]: line for line in ran.shown.splitlines() if line.startswith("fxi_")}
    assert list(rows) == ["fxi_major"], ran.shown
    assert "another version there" in rows["fxi_major"]
    assert "1.4.0 here, 2.0.1 on local: its objects may not open on the other side" in rows["fxi_major"]
    assert "-m pip install fxi_major==1.4.0`" in rows["fxi_major"]
    assert "it has fxi_major, fxi_patch, fxi_same" in ran.shown
    pages = [c["data"].get("text/html", "") for _, kind, c in ran.outputs if kind == "display_data"]
    assert "another version there" in pages[0]


def test_names_that_do_not_exist_are_answered_with_the_nearest(kernel: Any) -> None:
    kernel.run("training_data = 1")
    assert "(nearest: training_data)" in kernel.remote("1", "-i traning_data").traceback
    ran = kernel.remote("1", "-o traning_data")
    assert "-o traning_data: the cell left no variable of this name (nearest: training_data)" in ran.shown


def test_objects_of_a_notebooks_classes_are_theirs_on_both_sides_and_after_a_new_session(kernel: Any) -> None:
    kernel.run(
        "from dataclasses import dataclass\nfrom enum import Enum\nfrom pathlib import Path\n"
        "from typing import NamedTuple\n"
        "@dataclass\nclass D:\n    x: int\nclass E(Enum):\n    A = 1\nclass N(NamedTuple):\n    a: int\n"
        "class S:\n    __slots__ = ('q',)\nclass C:\n    def m(self):\n        return 1"
    )
    made = "d, e, n, s, c, p = D(1), E.A, N(2), S(), C(), Path('x')\ns.q = 4"
    asked = (
        "isinstance(d, D), d == D(1), e is E.A, isinstance(n, N), isinstance(s, S), s.q, isinstance(c, C), "
        "isinstance(p, Path)"
    )
    said = "(True, True, True, True, True, 4, True, True)"
    kernel.remote(made)
    assert kernel.value(asked) == said
    assert kernel.remote(asked).result == said
    kernel.run("class C:\n    def m(self):\n        return 2\nnew = C()")
    assert (
        kernel.remote("fresh = type(c)()\nnew.m(), isinstance(new, C), isinstance(c, C)").result == "(2, True, False)"
    )
    assert kernel.value("isinstance(fresh, C), type(fresh) is type(c)") == "(False, True)"
    kernel.run("%fx close")
    kernel.remote(made)
    assert kernel.value(asked) == said


def test_what_cannot_be_opened_here_stays_there_and_says_why(kernel: Any) -> None:
    ran = kernel.remote(
        "class Shy:\n    def __reduce__(self):\n        return _open, (1,)\n"
        "def _open(n):\n    import os\n    if os.getpid() != there:\n        raise OSError('not here')\n"
        "    return Shy()\n"
        "import os\nthere = os.getpid()\nshy, beside = Shy(), 5"
    )
    assert "what the cell assigned cannot be opened here" in ran.shown
    assert kernel.remote("type(shy).__name__, beside").result == "('Shy', 5)"


def test_a_frame_that_was_changed_there_is_no_stale_copy_here(kernel: Any) -> None:
    kernel.run("import pandas as pd\nframe = pd.DataFrame({'x': np.arange(300_000)})")
    kernel.remote("frame.loc[0, 'x'] = 5")
    assert "remote frame" in kernel.value("frame")
    assert kernel.value("int(frame.get().x[0])") == "5"


def test_a_large_figure_is_shown(kernel: Any) -> None:
    ran = kernel.remote(
        "import matplotlib.pyplot as plt, numpy as np\n"
        "plt.figure(figsize=(9, 9))\nplt.imshow(np.random.default_rng(0).random((900, 900, 3)))\nplt.show()"
    )
    pictures = [c["data"]["image/png"] for _, kind, c in ran.outputs if "image/png" in c.get("data", {})]
    assert len(pictures) == 1
    assert len(pictures[0]) > 600_000


def test_a_command_writes_all_that_it_says_to_the_cells_output_as_it_does_here(kernel: Any) -> None:
    line = "!echo one; ls /no/such/place; echo $((1 + 1))"
    there = kernel.remote(line)
    assert there.stream() == kernel.run(line).stream().replace("\r\n", "\n")
    assert "No such file" in there.stream()
    assert there.stream("stderr") == ""


def test_a_cell_takes_no_futures_along_that_it_does_not_name(kernel: Any) -> None:
    kernel.run(
        "import jupyter_fx as fx\ngrid = [{'n': 1}, {'n': -1}]\n@fx.remote\ndef root(point):\n"
        "    if point['n'] < 0:\n        raise ValueError('negative')\n    return point['n']\n"
        "mapped = root.map(grid, card=False).wait()\nfutures = [root.submit(point) for point in grid]\n"
        "done = fx.wait(futures, card=False)"
    )
    ran = kernel.remote("[root(point) for point in grid[:1]]")
    assert ran.result == "[1]", ran.traceback
    # What it names it waits for, and whose failure it was is said by its name.
    ran = kernel.remote("futures")
    assert ran.error["ename"] == "DependencyFailed"
    assert "the cell takes futures along in futures" in ran.traceback
    assert kernel.run("print(futures[0].state)").stream() == "succeeded\n"


def test_what_a_with_statement_closed_is_no_news(kernel: Any) -> None:
    ran = kernel.remote("with open('closed.txt', 'w') as file:\n    file.write('a')\nkept = open('closed.txt', 'a')")
    assert "kept stays on local because it cannot be pickled" in ran.shown
    assert "file stays" not in ran.shown
    assert "use it in a %%remote cell" in kernel.run("file.name").traceback
    assert kernel.remote("file.closed").result == "True"


def test_figures_tracebacks_and_their_formats_are_as_the_session_has_them(kernels: Any) -> None:
    kernel = kernels()
    kernel.run("%config InlineBackend.figure_format = 'svg'")
    ran = kernel.remote("import matplotlib.pyplot as plt\nfig, axes = plt.subplots()")
    shown = [sorted(c["data"]) for _, kind, c in ran.outputs if kind == "display_data" and "image" in str(c["data"])]
    assert shown == [["image/svg+xml", "text/plain"]]
    # Nothing has loaded pyplot here.
    results = [sorted(c["data"]) for _, kind, c in kernel.run("fig").outputs if kind == "execute_result"]
    assert results == [["image/svg+xml", "text/plain"]]
    kernel.remote("%config InlineBackend.figure_format = 'png'")
    results = [sorted(c["data"]) for _, kind, c in kernel.run("fig").outputs if kind == "execute_result"]
    assert results == [["image/png", "text/plain"]]
    kernel.remote("%xmode Minimal")
    assert kernel.remote("1 / 0").traceback.strip() == "ZeroDivisionError: division by zero"
    kernel.run("%xmode Context")
    assert "----> 2 1 / 0" in kernel.remote("1 / 0").traceback


def test_the_first_figure_is_a_picture_whatever_its_class(kernels: Any) -> None:
    kernel = kernels()
    kernel.run("%config InlineBackend.figure_format = 'svg'")
    kernel.run(
        "from matplotlib.figure import Figure\nclass Own(Figure):\n    pass\nown = Own()\naxes = own.add_subplot()"
    )
    results = [sorted(c["data"]) for _, kind, c in kernel.run("own").outputs if kind == "execute_result"]
    assert results == [["image/svg+xml", "text/plain"]]
