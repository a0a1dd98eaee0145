"""Environments from specifications, as calls use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_fx.client import HubClient, remote
from jupyter_fx.client import specs as builds
from jupyter_fx.payload import specs
from jupyter_fx.testing.fake_hub import FakeHub


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(specs, "build", lambda text: {"name": specs.name_of(text)})
    builds._known.clear()
    yield
    builds._known.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("six\n")
    return path


@pytest.mark.parametrize(
    ("asked", "own", "used"), [("", "", "built-there"), ("polaris", "", "polaris"), ("", "own", "own")]
)
def test_a_call_goes_where_its_environment_was_built(
    hub: FakeHub, client: HubClient, file: Path, asked: str, own: str, used: str
) -> None:
    """Without an endpoint of its own a task runs at any: at the others there is no such environment."""
    client.endpoint = own
    run = hub.run
    hub.run = lambda *given: msgspec.structs.replace(run(*given), endpoint_id="built-there")  # type: ignore[method-assign]
    function: Any = remote(lambda: 1, client=client, endpoint=asked, env=str(file))
    for _ in range(2):
        assert function.remote() == 1
    assert function.submit().result(60) == 1
    build, *calls = hub.submitted
    assert build.endpoint == (asked or own)
    assert [call.endpoint for call in calls] == [used] * 3
    assert calls[0].options is not None
    assert calls[0].options.resources.environment == specs.name_of("six\n")
