"""Questions of a client about the variables of its session, on their way through the agent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Final

from jupyter_fx.endpoint.talk import Answer, Ask
from jupyter_fx.errors import RefLost, UsageError

__all__ = ["Questions"]

MOST: Final = 64
"""Questions on their way at a time."""
WITHIN_MAX: Final = 30.0


class Questions:
    """Nothing is kept of a question that was not answered in time: whoever asked has gone on without."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[Any], None]) -> None:
        self._loop, self._send = loop, send
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def ask(self, args: dict[str, Any]) -> dict[str, Any]:
        """The `session.ask` of the hub: {json} or {busy}. RefLost when the session is not open here."""
        if len(self._waiting) >= MOST:
            raise UsageError("too many questions about sessions wait for an answer: ask again later")
        n = next(self._numbers)
        future = self._waiting[n] = self._loop.create_future()
        within = min(max(float(args.get("within") or 1.0), 0.01), WITHIN_MAX)
        asked = args.get("args")
        try:
            self._send(
                Ask(n, str(args.get("session_id")), str(args.get("what")), asked if isinstance(asked, dict) else {})
            )
            async with asyncio.timeout(within):
                answer = await future
        except TimeoutError:
            return {"busy": "late"}
        finally:
            self._waiting.pop(n, None)
        if answer.error:
            raise RefLost(answer.error)
        return {"json": answer.data} if answer.data else {"busy": answer.busy}

    def answered(self, message: Answer) -> None:
        """The manager answers."""
        future = self._waiting.get(message.n)
        if future is not None and not future.done():
            future.set_result(message)
