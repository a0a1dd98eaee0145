"""Which remote code the cursor is in."""

from __future__ import annotations

import pytest

from jupyter_fx_kernel.completion import Place, place_of


def _at(text: str) -> Place | None:
    """The place at the mark `|`."""
    at = text.index("|")
    return place_of(text.replace("|", ""), at)


@pytest.mark.parametrize(
    "text", ["x.|", "%%time\nx.|", "%%remote po|", "%%remote|\nx", "print('%remote')|", "%remote|"]
)
def test_no_remote_code(text: str) -> None:
    assert _at(text) is None


def test_the_magics_line_of_a_cell_is_blanked_and_its_options_read() -> None:
    place = _at("%%remote polaris --session two\nx = 1\n  \ndf.he|\ny = 2")
    assert place is not None
    assert (place.options.endpoint, place.options.session) == ("polaris", "two")
    assert place.code == "#" * 30 + "\nx = 1\n##\ndf.he\ny = 2"
    assert place.code[: place.at].endswith("\ndf.he")


def test_options_that_are_wrong_are_none() -> None:
    place = _at("%%remote --nonsense\nx.|")
    assert place is not None
    assert place.options.session == "main"


@pytest.mark.parametrize("line", ["%remote df.|", "y = %remote -e polaris df.|", "a, b = %remote --session two df.|"])
def test_the_expression_of_a_line(line: str) -> None:
    place = _at(f"import os\n{line}\nz = 1")
    assert place is not None
    assert place.code[: place.at].strip() == "df."
    assert (place.options.endpoint == "polaris") == ("polaris" in line)
    assert (place.options.session == "two") == ("two" in line)
