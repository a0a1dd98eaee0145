"""Containers that are stopped, while somebody asks for one or the endpoint ends."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint.learned import Learned
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.reap import PidFile
from jupyter_fx.endpoint.warm import Warm


class FakeContainer:
    pid = 0

    def __init__(self, environment: str, key: str) -> None:
        self.environment, self.key, self.learned = environment, key, Learned([])
        self.stopped = self.gone = False

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.gone = True


def test_who_asks_while_a_container_is_being_stopped_gets_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Owner:
        """Its workers' ends give their work to others at once."""

        def container_stopping(self, container: Any) -> None:
            asked.append(warm.want(container.environment))

    numbers = itertools.count()
    loop: Any = None
    owner: Any = Owner()
    warm = Warm(ManagerSpec(folder=str(tmp_path), slots=1), owner, PidFile(tmp_path / "pids"), loop)
    monkeypatch.setattr(warm, "_make", lambda environment: FakeContainer(environment, f"{environment}#{next(numbers)}"))
    first = warm.want("image")
    assert warm.want("image") is first
    warm.stop(first)
    (second,) = asked
    assert second is not first
    assert warm.get("image") is second
    assert not second.stopped
    # What is still on its way out is waited for at the end.
    assert not first.gone
    warm.close()
    assert first.gone
    assert second.gone
