"""Images that were built from definitions, as a manager sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint import builtimages, environments
from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
from jupyter_fx.errors import UsageError

NAME = "built:" + "a" * 40


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, False),
        ({"images": ["/apps/*"]}, True),
        ({"images": ["/apps/*"], "build": "always"}, False),
        ({"build": "never"}, True),
    ],
)
def test_an_allow_list_keeps_users_images_out_unless_its_owner_says_otherwise(
    settings: dict[str, Any], refused: bool
) -> None:
    why = environments.refusal(NAME, ContainerSpec(**settings))
    assert ("c.Containers.build" in why) == refused
    assert json.loads(builtimages.rules(ContainerSpec(**settings))["JUPYTER_FX_IMAGE_RULES"])["build"] != refused


def test_a_name_that_is_none_is_refused() -> None:
    for name in ("built:../../x", "built:", "built:" + "A" * 40):
        assert "is no image: name its definition" in environments.refusal(name, ContainerSpec())


def built(root: Path, text: str = "FROM base:1\n") -> None:
    folder = root / ("a" * 40)
    (folder / "root").mkdir(parents=True)
    (folder / "definition").write_text(text)
    told = {"form": "directory", "runtime": "charliecloud", "file": "Dockerfile", "kind": "Dockerfile", "bytes": 1}
    (folder / "built.json").write_text(json.dumps(told))


def test_it_is_found_by_its_name_and_its_bases_are_looked_at_again(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ch-run").touch(0o755)
    env = {"PATH": str(programs)}
    with pytest.raises(UsageError, match=r"image built:aaaaaaaa is not at this endpoint \(any more\)"):
        environments.find(NAME, ContainerSpec(), env, tmp_path)
    built(tmp_path)
    found = environments.find(NAME, ContainerSpec(), env, tmp_path)
    assert (found.place, found.kind, found.runtime.name) == (
        str(tmp_path / ("a" * 40) / "root"),
        "directory",
        "charliecloud",
    )
    assert environments.find(NAME, ContainerSpec(images=["base:*"], build="always"), env, tmp_path) == found
    with pytest.raises(UsageError, match="image of Dockerfile is built on base:1, which is not among those"):
        environments.find(NAME, ContainerSpec(images=["other:*"], build="always"), env, tmp_path)
    with pytest.raises(UsageError, match=r"\(built from Dockerfile\) was built for charliecloud, and .* no ch-run"):
        environments.find(NAME, ContainerSpec(), {"PATH": "/nowhere"}, tmp_path)
