"""Questions on their way through the agent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jupyter_fx.endpoint.questions import MOST, Questions
from jupyter_fx.endpoint.talk import Answer
from jupyter_fx.errors import RefLost, UsageError


def _ask(answer: Any, **args: Any) -> Any:
    async def main() -> Any:
        questions: Questions

        def send(ask: Any) -> None:
            if answer is not None:
                questions.answered(answer(ask))

        questions = Questions(asyncio.get_running_loop(), send)
        try:
            return await questions.ask({"session_id": "s", "what": "who", **args})
        finally:
            assert not questions._waiting
            questions.answered(Answer(1, b"late"))  # nobody waits for it any more

    return asyncio.run(main())


def test_an_answer_a_busy_worker_and_one_that_is_gone() -> None:
    assert _ask(lambda ask: Answer(ask.n, b"{}")) == {"json": b"{}"}
    assert _ask(lambda ask: Answer(ask.n, busy="task")) == {"busy": "task"}
    with pytest.raises(RefLost):
        _ask(lambda ask: Answer(ask.n, error="this session is not open"))


def test_nobody_waits_longer_than_was_said() -> None:
    assert _ask(None, within=0.01) == {"busy": "late"}


def test_too_many_questions_are_refused() -> None:
    async def main() -> None:
        questions = Questions(asyncio.get_running_loop(), lambda ask: None)
        asking = [asyncio.ensure_future(questions.ask({"within": 5.0})) for _ in range(MOST)]
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="too many"):
            await questions.ask({})
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(main())
