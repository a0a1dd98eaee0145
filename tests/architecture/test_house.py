"""The files around the code: pins without addresses, generated pages that are fresh, links that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = [ROOT / "constraints.txt", ROOT / "bench" / "constraints.txt"]
PIN = re.compile(r"^[a-z0-9][a-z0-9.-]*==[0-9][A-Za-z0-9.+!]*$")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.parent.name)
def test_pins_are_names_and_versions_only(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not PIN.match(line)] == []


def test_no_lock_file_holds_an_address() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.lock", "*-lock.json", "*-lock.yaml", "*requirements*.txt", "*constraints*.txt"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    names = [name for name in listed.stdout.split() if (ROOT / name).exists()]
    telling = [name for name in names if re.search(r"https?://|\"resolved\"|__archiveUrl", (ROOT / name).read_text())]
    assert telling == []


def test_every_dependency_is_pinned_and_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {line.partition("==")[0] for line in CONSTRAINTS[0].read_text().splitlines() if "==" in line}
    explained = (ROOT / "docs" / "dependencies.md").read_text().lower()
    base = {re.split(r"[\[<>=~! ]", entry)[0].lower() for entry in project["project"]["dependencies"]}
    extras = {
        re.split(r"[\[<>=~! ]", entry)[0].lower()
        for entries in (*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values())
        for entry in entries
        if isinstance(entry, str)
    } - {project["project"]["name"]}
    assert base - pinned == set()
    assert {name for name in base | extras if f"| {name} |" not in explained} == set()


@pytest.mark.parametrize("tool", ["messages.py", "state_diagrams.py", "wire_messages.py"])
def test_what_is_generated_is_fresh(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, f"tools/{tool}", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_our_own_pages_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []
