"""Settings are right or refused, by name and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets import Bool, Int
from traitlets.config import Application, Configurable

from jupyter_fx.config import bad_value, check_config, check_options, line_of, nearest, read_config
from jupyter_fx.errors import ConfigError, UsageError


class Kettle(Configurable):
    litres = Int(1, min=1).tag(config=True)


class BrewApp(Application):
    name = "jupyter-fx-brew"
    strong = Bool(False).tag(config=True)
    aliases = {"strong": "BrewApp.strong"}
    classes = [Kettle]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nc.Kettle.liters = 2\n", r"line 2: Kettle has no setting 'liters'; nearest: litres"),
        ("# c.Kettel\nc.Kettel.litres = 2\n", r"line 2: there is no c\.Kettel here"),
        ("c.Kettle.litres = (\n", r"line 1: SyntaxError"),
        ("x = 1\nc.Kettle.litres = y\n", r"line 2: NameError"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        check_config(read_config(path), path, [Kettle])


def test_a_value_that_does_not_fit_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("\n\nc.Kettle.litres = 0\n")
    config = read_config(path)
    with pytest.raises(Exception, match="litres") as caught:
        Kettle(config=config)
    assert str(bad_value(config, path, caught.value)).startswith(f"{path}, line 3: ")


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    assert not read_config(tmp_path / "none.py")
    assert line_of(tmp_path / "none.py", "x") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stong=1"], "jupyter fx brew has no option --stong: did you mean 'strong'"),
        (["--Kettle.liters=1"], "Kettle has no option 'liters': did you mean 'litres'"),
        (["--Kettel.litres=1"], "no configurable 'Kettel': did you mean 'Kettle'"),
    ],
)
def test_options_that_do_not_exist_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_options(BrewApp(), words)


def test_options_that_exist_and_what_is_no_option_pass() -> None:
    check_options(BrewApp(), ["--strong=1", "name", "-", "-3", "--Kettle.litres=2", "--help", "--", "--anything"])


def test_nothing_near_is_answered_with_all() -> None:
    assert nearest("zzz", {"a", "b"}) == "; there are a, b"
    assert nearest("zzz", []) == ""
