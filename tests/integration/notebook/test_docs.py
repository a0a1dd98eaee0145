"""The snippets of README and user guide, run top to bottom in one kernel per page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SNIPPET = re.compile(r"^```(?:python|ipython)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = {
    "README.md": ["→local", "hello from process", "47.84", "succeeded"],
    "docs/user-guide.md": [
        "line 4",
        "remote big: bytearray",
        "as if it had happened here: division by zero",
        "main on local: open",
    ],
}


@pytest.mark.parametrize("page", sorted(SHOWN))
def test_the_snippets_of_a_page_run_and_show_what_it_says(kernels: Callable[[], Any], page: str) -> None:
    kernel = kernels()
    snippets = SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))
    assert len(snippets) > 5
    seen = ""
    for snippet in snippets:
        ran = kernel.run(snippet)
        assert not ran.error, f"{snippet}\n{ran.traceback}"
        seen += ran.stream() + ran.result + "\n"
    for text in SHOWN[page]:
        assert text in seen


def test_commands_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_option_and_command_is_in_the_guide() -> None:
    from jupyter_fx_kernel import options, status

    guide = (ROOT / "docs" / "user-guide.md").read_text(encoding="utf-8")
    for option in options._takes_value(options._parser("%%remote")):
        assert f"`{option}" in guide or option in {"--inputs", "--outputs"}
    for verb in status._VERBS:
        assert f"`%fx {verb}" in guide
