from __future__ import annotations

import stat
from pathlib import Path

import pytest
from traitlets.config import Application

from jupyter_fx.cli import app, base, demo, doctor
from jupyter_fx.client import logins


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        app.main(arguments)
    while Application.initialized():
        type(Application.instance()).clear_instance()
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["taks"], "there is no command 'taks': did you mean 'tasks'?"),
        (["tasks", "--limt=5"], "has no option --limt: did you mean 'limit'?"),
        (["tasks", "--TasksApp.limi=5"], "TasksApp has no option 'limi': did you mean 'limit'"),
        (["tasks", "--TaskApp.limit=5"], "has no configurable 'TaskApp': did you mean 'TasksApp'"),
        (["tasks", "runing"], "'runing' is no state of a task: did you mean 'RUNNING'?"),
        (["tasks", "running", "more"], "'more' is one argument too many"),
        (["demo", "/nowhere.ipynb"], "there is no notebook /nowhere.ipynb"),
        (["login", "unix:/x"], "login needs the https:// address"),
    ],
)
def test_a_wrong_word_is_one_sentence_with_the_nearest(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = told(arguments, capsys)
    assert status == 2
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_without_a_hub_it_is_said_how_to_start_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_FX_RUNTIME_DIR", str(tmp_path / "r"))
    monkeypatch.delenv("JUPYTER_FX_HUB", raising=False)
    status, _, err = told(["whoami"], capsys)
    assert status == 1
    assert "`jupyter fx up` starts one" in err


def test_a_table_cannot_paint_the_terminal() -> None:
    shown = base.table([("a\x1b[31mred", 1)], ("name", "n"))
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown


def test_a_token_is_kept_for_its_owners_eyes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_FX_CONFIG_DIR", str(tmp_path / "c"))
    path = logins.keep_token("https://hub.example.org/fx/", "sesame")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert logins.kept_token("https://hub.example.org/fx") == "sesame"
    assert logins.kept_token("https://other.example.org") == ""
    assert logins.forget_token("https://hub.example.org/fx/")
    assert not logins.forget_token("https://hub.example.org/fx/")


class Cell(dict):  # type: ignore[type-arg]
    __getattr__ = dict.__getitem__


def cell(tags: list[str], *kinds: str) -> Cell:
    outputs = [Cell(output_type=kind, ename="ValueError", evalue="x") for kind in kinds]
    return Cell(metadata={"tags": tags}, outputs=outputs, source="%%remote\nimport os\n# Count\nn = 1")


def test_the_demo_knows_which_errors_are_expected() -> None:
    assert demo._problem(cell([], "stream")) == ""
    assert demo._problem(cell([], "error")) == "ValueError: x"
    assert demo._problem(cell([demo.EXPECTED], "error")) == ""
    assert "should have raised" in demo._problem(cell([demo.EXPECTED], "stream"))
    assert demo._title(cell([])) == "Count"
    assert demo._where(cell([])) == "remote"


def test_the_doctor_sees_a_network_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "file_system", lambda _path: "nfs4")
    grades = [grade for grade, _found, _cure in doctor.directories()]
    assert "bad" in grades
    assert all(grade == "ok" for grade, *_ in doctor.packages())


@pytest.mark.parametrize(
    ("version", "warned"), [("7.3.0", True), ("7.4.0", False), ("7.30.1", False), ("6.29.5", False)]
)
def test_the_doctor_knows_kernels_that_lose_cells(monkeypatch: pytest.MonkeyPatch, version: str, warned: bool) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _name: version)
    found = [sentence for state, sentence, _cure in doctor.packages() if state == "warn"]
    assert [f"ipykernel {version} is known to lose requests" in sentence for sentence in found] == [True] * warned
