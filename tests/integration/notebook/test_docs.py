"""The snippets of README and user guide, run top to bottom: one kernel and one folder per page.

`python` and `ipython` run in the kernel, `sh` in a shell. A snippet that cannot run says why in a comment above it,
`<!-- not run: REASON -->`; one that is a configuration file is loaded as such, `<!-- checked as FILE -->`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.config import check_config, read_config
from jupyter_fx.endpoint.settings import Endpoint

ROOT = Path(__file__).resolve().parents[3]
SNIPPET = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = {
    "README.md": ["→local", "hello from process", "47.84", "succeeded"],
    "docs/user-guide.md": [
        "→local",
        "line 4",
        "nothing would travel to local but the cell itself; nothing was run",
        "remote big: bytearray",
        "big (2.9 MiB) is kept by local",
        "kept by local",
        "begins its idle time anew",
        "cells are to run again",
        "still counting 2",
        "is interrupted, its session keeps its variables",
        "as if it had happened here: division by zero",
        "msgspec",
        "# What the notebook uses, as it was with Python 3.",
        "main on local: open",
        "session main on local closed",
    ],
}


@dataclass(frozen=True)
class Snippet:
    """`remark` is the comment above it, `language` what stands behind its fence."""

    remark: str
    language: str
    text: str


def snippets(page: str) -> list[Snippet]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [Snippet(*parts) for parts in SNIPPET.findall(text)]
    assert text.count("\n```") == 2 * len(found), f"{page}: a fence of a snippet is not at the beginning of its line"
    return found


def run(snippet: Snippet, kernel: Any, folder: Path) -> str:
    """What it shows. Fails when it fails."""
    if snippet.remark.startswith("not run: "):
        assert len(snippet.remark) > len("not run: ") + 5, "a reason is missing"
        return ""
    if snippet.remark.startswith("checked as "):
        check(snippet, folder)
        return ""
    assert not snippet.remark, f"<!-- {snippet.remark} --> means nothing to the tests"
    if snippet.language == "sh":
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        command = f"export PATH={path}\n{snippet.text}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{snippet.text}\n{done.stderr}"
        return done.stdout
    assert snippet.language in {"python", "ipython"}, f"what is this? {snippet.text}"
    ran = kernel.run(snippet.text)
    assert not ran.error, f"{snippet.text}\n{ran.traceback}"
    return str(ran.stream() + ran.shown + ran.result)


def check(snippet: Snippet, folder: Path) -> None:
    from jupyterhub.spawner import Spawner

    from jupyter_fx.server.app import FxExtension

    path = folder / "checked.py"
    path.write_text(snippet.text, encoding="utf-8")
    kinds = {"the config.py of an endpoint": Endpoint, "jupyter_server_config.py": FxExtension}
    kinds["jupyterhub_config.py"] = Spawner
    kind = kinds[snippet.remark.removeprefix("checked as ")]
    config = read_config(path)
    check_config(config, path, [kind])
    assert config[kind.__name__], "it sets nothing"


@pytest.mark.parametrize("page", sorted(SHOWN))
def test_the_snippets_of_a_page_run_and_show_what_it_says(
    kernels: Callable[[], Any], page: str, tmp_path: Path
) -> None:
    kernel = kernels()
    found = snippets(page)
    assert len(found) > 5
    seen = "\n".join(run(snippet, kernel, tmp_path) for snippet in found)
    seen += "".join(content.get("text", "") for _kind, content in kernel.others)
    for text in SHOWN[page]:
        assert text in seen, seen


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
