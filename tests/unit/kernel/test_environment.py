"""Two environments side by side: what differs, what of it matters, and the cure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.errors import UsageError
from jupyter_fx_kernel import environment
from jupyter_fx_kernel.environment import compare, imports_of, requirements, table, used, verdict
from jupyter_fx_worker import inventory


def side(python: str = "3.11.7", **packages: Any) -> dict[str, Any]:
    return {
        "digest": "d",
        "python": [int(part) for part in python.split(".")],
        "implementation": "CPython",
        "platform": "Linux, glibc 2.36",
        "machine": "x86_64",
        "executable": "/there/python",
        "ipython": "9.0.0",
        "inline": True,
        "packages": {name: [name, version] for name, version in packages.items()},
    }


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ("2.4.6", "2.4.6", "same"),
        ("2.4.6", "2.1.0", "differs (minor)"),
        ("2.4.6", "1.26.4", "differs (major)"),
        ("0.24.1", "0.25.0", "differs (major)"),
        ("0.24.1", "0.24.9", "differs (minor)"),
        ("2.1.0+cu121", "2.1.0", "differs (minor)"),
        ("2.4.6", None, "missing there"),
        (None, "1", "only there"),
        (None, None, "nowhere"),
        ("", "1.0", "same"),
    ],
)
def test_versions_differ_by_their_first_number(here: str | None, there: str | None, said: str) -> None:
    assert verdict(here, there) == said


def row(found: environment.Comparison, name: str) -> environment.Row:
    return next(one for one in found.rows if one.name == name)


def test_equal_environments_differ_in_nothing() -> None:
    found = compare(side(numpy="2.4.6"), side(numpy="2.4.6"), "local")
    assert found.differing == []
    assert table(found).endswith("\n\nnothing differs")
    assert table(compare(side(numpy="2.4.6"), side(numpy="2.4.1"), "local")).endswith("\n\nno difference matters")


def test_another_minor_python_says_what_becomes_of_functions() -> None:
    found = row(compare(side(), side("3.9.18"), "polaris"), "Python")
    assert (found.here, found.there, found.verdict) == ("3.11.7", "3.9.18", "differs (major)")
    assert "travel as source" in found.matters and "Python 3.11" in found.matters
    assert row(compare(side(), side("3.11.2"), "polaris"), "Python").matters == ""


def test_what_matters_is_said_with_the_cure() -> None:
    here = side(numpy="2.4.6", pandas="3.1.1", sklearn="1.9.1", requests="2.1", zarr="3.0")
    there = side(numpy="1.26.4", pandas="3.0.0", sklearn="1.8.0", requests=None, zarr="2.0")
    here["packages"]["sklearn"][0] = "scikit-learn"
    found = compare(here, there, "polaris")
    assert "`/there/python -m pip install numpy==2.4.6`" in row(found, "numpy").matters
    assert row(found, "pandas").matters == ""
    assert "pip install scikit-learn==1.9.1" in row(found, "scikit-learn").matters
    assert (
        row(found, "requests").verdict == "missing there"
        and "pip install requests==2.1" in row(found, "requests").matters
    )
    assert "its objects may not open" in row(found, "zarr").matters


def test_an_environment_without_ipython_or_its_figures_is_named() -> None:
    there = {**side(), "ipython": None}
    assert "magics need it" in row(compare(side(), there, "polaris"), "IPython").matters
    there = {**side(matplotlib="3.9"), "inline": False}
    assert (
        "figures appear all the same"
        in row(compare(side(matplotlib="3.9"), there, "polaris"), "matplotlib-inline").matters
    )


def test_all_shows_what_only_one_side_has() -> None:
    here, there = side(), side()
    here["all"], there["all"] = {"A_b": "1.0", "same": "1"}, {"a-b": "2.0", "extra": "3", "same": "1"}
    found = compare(here, there, "polaris", everything=True)
    assert (row(found, "A_b").verdict, row(found, "extra").verdict) == ("differs (major)", "only there")
    shown = table(found, all_rows=False)
    assert "and 3 that are the same" in shown and "extra" in shown and "\nsame " not in shown


def test_the_table_names_the_place_and_keeps_its_columns() -> None:
    lines = table(compare(side(numpy="2.0"), side("3.12.1", numpy=None), "polaris")).splitlines()
    assert lines[0].split() == ["here", "on", "polaris"]
    assert lines[1].split() == ["Python", "3.11.7", "3.12.1", "differs", "(major)"]
    assert any(line.startswith("numpy: cells that use numpy fail there") for line in lines)


def test_imports_are_read_around_magics() -> None:
    text = "%%remote -i a\n%matplotlib inline\n!pip list\nimport numpy as np, os.path\nfrom sklearn.svm import SVC\n"
    assert imports_of(text) == {"numpy", "os", "sklearn"}
    assert imports_of("from . import x\nfrom .y import z") == set()
    assert imports_of("def (:") == set()


def test_what_the_notebook_uses_is_installed_packages_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np = pytest.importorskip("numpy")
    (tmp_path / "mine_beside.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import mine_beside  # type: ignore[import-not-found]

    namespace = {"np": np, "a": np.zeros(1), "mine": mine_beside, "os": sys.modules["os"], "_hidden": pytest, "n": 1}
    assert used(namespace, ["import scipy", "import json"]) == {"numpy", "scipy"}


def test_requirements_hold_names_and_versions_only() -> None:
    here, there = side(numpy="2.4.6", only=None, odd=""), side(numpy="1.0", only="0.3", odd=None)
    assert requirements([here, there], (3, 11, 7)) == (
        "# What the notebook uses, as it was with Python 3.11.\n"
        "numpy==2.4.6\n# odd: its version is not known\nonly==0.3\n"
    )


class Answer:
    def __init__(self, value: Any) -> None:
        self.value = value

    def result(self, _within: float | None = None) -> Any:
        return self.value


def asked_through(notebook: Any) -> list[Any]:
    calls: list[Any] = []

    def submit_call(function: Any, args: Any, kwargs: Any, **_how: Any) -> Answer:
        calls.append(kwargs)
        return Answer(function(*args, **kwargs))

    notebook.hub.submit_call = submit_call
    return calls


def test_the_magic_compares_what_the_cells_import_and_what_is_named(notebook: Any) -> None:
    calls = asked_through(notebook)
    notebook.run("import numpy as np")
    notebook.run("%fx env scikit-learn no_such_package")
    words = [line.split() for line in notebook.out.splitlines()]
    assert ["numpy", sys.modules["numpy"].__version__, sys.modules["numpy"].__version__, "same"] in words
    assert any(line[:1] == ["scikit-learn"] and line[-1] == "same" for line in words)
    assert ["no_such_package", "–", "–", "nowhere"] in words
    notebook.run("%fx env scikit-learn no_such_package")
    assert (calls[0]["known"], calls[1]["known"]) == ("", inventory.digest())
    assert ["no_such_package", "–", "–", "nowhere"] in [line.split() for line in notebook.out.splitlines()]


def test_freeze_writes_a_file_and_never_over_somebody_elses(notebook: Any, tmp_path: Path) -> None:
    notebook.run("import numpy")
    target, other = tmp_path / "requirements.txt", tmp_path / "other.txt"
    for _ in range(2):
        notebook.run(f"%fx env freeze {target}")
    assert f"numpy=={sys.modules['numpy'].__version__}\n" in target.read_text()
    assert "http" not in target.read_text()
    other.write_text("mine\n")
    with pytest.raises(UsageError, match="was not made by"):
        notebook.run(f"%fx env freeze {other}")
    with pytest.raises(UsageError, match=r"cannot write /no/such/place\.txt: No such file or directory"):
        notebook.run("%fx env freeze /no/such/place.txt")
    with pytest.raises(UsageError, match="is a directory"):
        notebook.run(f"%fx env freeze {tmp_path}")
    with pytest.raises(UsageError, match="did you mean 'freeze'"):
        notebook.run("%fx env freez")
    with pytest.raises(UsageError, match="no option --verbose"):
        notebook.run("%fx env --verbose")
