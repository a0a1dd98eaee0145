"""HubLink: the server's one link to the fx hub. Whatever the hub does, nobody here waits long.

Finding or starting a hub happens on a thread of its own. A question has five seconds; a hub that let one pass
unanswered is not asked for a while (twice as long each time, at most 15 s): whoever asks meanwhile is told so at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from jupyter_fx.client import default
from jupyter_fx.errors import FxError, HubUnavailable

if TYPE_CHECKING:
    from jupyter_fx.client import HubClient

__all__ = ["HubLink"]

ANSWER_WITHIN: Final = 5.0
TRY_AGAIN: Final = 15.0
"""Seconds for which a hub that could not be reached is not looked for again."""
FIRST_REST: Final = 2.0


def _connect() -> HubClient:
    if default.finder is None:
        from jupyter_fx.embedded import find_hub

        default.finder = find_hub
    return default.connect()


class HubLink:
    """Used on the server's loop, but for `find`, which waits."""

    def __init__(
        self,
        connect: Callable[[], HubClient] = _connect,
        *,
        where: Callable[[], str] = lambda: "own",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect, self._where, self._clock = connect, where, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jupyter-fx-hub")
        self._finding: Future[HubClient] | None = None
        self.client: HubClient | None = None
        self.problem = ""
        """Why there is no hub, in a sentence; empty while there is one."""
        self._not_before = 0.0
        self._rest = 0.0
        self._resting_until = 0.0

    def find(self) -> HubClient:
        """The client, made at the first call. May wait, and raises FxError or OSError: never on the loop's thread."""
        if self.client is not None and self.client.usable:
            return self.client
        if self._clock() < self._not_before:
            raise HubUnavailable(self.problem)
        try:
            self.client = self._connect()
        except (FxError, OSError) as error:
            self.problem = str(error)
            self._not_before = self._clock() + TRY_AGAIN
            raise
        self.problem = ""
        return self.client

    def begin(self) -> Future[HubClient]:
        """Have the hub looked for on the thread; the same answer for all who ask meanwhile."""
        if self._finding is None or self._finding.done():
            self._finding = self._thread.submit(self.find)
        return self._finding

    async def start(self, timeout: float = 60.0) -> None:
        """Have the hub found or started although a try failed just now, and its local endpoint with it.

        Raises FxError that says why there is none.
        """
        self._not_before = self._resting_until = 0.0
        found = self._thread.submit(self._start)
        try:
            await asyncio.wait_for(asyncio.wrap_future(found), timeout)
        except TimeoutError:
            raise HubUnavailable("the fx hub is still being started: look again in a moment") from None
        except OSError as error:
            raise HubUnavailable(f"the fx hub cannot be started: {error}") from error

    def _start(self) -> None:
        client = self.find()
        # One that was there, and may have been stopped since with its endpoint.
        client.bring_back()

    async def turn(self, choose: Callable[[], Any], timeout: float = 60.0) -> Any:
        """Do `choose` on the thread, which makes another hub ours, and have that found; what it returns.

        The link to the one before is closed. Raises what `choose` raises, and everything is as it was then.
        """
        chosen = await asyncio.wait_for(asyncio.wrap_future(self._thread.submit(self._turn, choose)), timeout)
        self._not_before = self._resting_until = self._rest = 0.0
        self.begin()
        return chosen

    def _turn(self, choose: Callable[[], Any]) -> Any:
        chosen = choose()
        self.client, self.problem = None, ""
        default.disconnect()
        return chosen

    @property
    def connected(self) -> bool:
        """Whether the link is open and the hub answers."""
        client = self.client
        return client is not None and client.connected and self._clock() >= self._resting_until

    def status(self) -> dict[str, Any]:
        """{connected, address, user, problem, hub}: how we stand to the hub, and which one it is, without asking it."""
        client = self.client
        linked = client is not None and client.connected
        problem = self.problem
        if client is not None and not linked and not problem:
            problem = "the fx hub is not running: it is looked for again all the time"
        elif linked and not self.connected:
            problem = f"the fx hub did not answer within {ANSWER_WITHIN:g} s: it is asked again soon"
        return {
            "connected": self.connected,
            "address": client.address if client is not None else "",
            "user": client.user if client is not None and linked else "",
            "problem": "" if self.connected else problem,
            "hub": self._where(),
        }

    async def live(self, timeout: float = ANSWER_WITHIN) -> HubClient:
        """The client, when its link is open now. Raises HubUnavailable or AuthError."""
        if self._clock() < self._resting_until:
            raise HubUnavailable(self.status()["problem"])
        client = self.client
        if client is None or not client.usable:
            try:
                client = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self.begin())), timeout)
            except TimeoutError:
                raise HubUnavailable("the fx hub is being started: ask again in a moment") from None
            except OSError as error:
                raise HubUnavailable(f"the fx hub cannot be reached: {error}") from error
        if not client.connected:
            raise HubUnavailable(self.status()["problem"] or "the fx hub is not connected")
        return client

    async def ask(self, op: str, args: dict[str, Any] | None = None, *, timeout: float = ANSWER_WITHIN) -> Any:
        """Ask the hub. Raises FxError; HubUnavailable at once while it is known not to answer."""
        client = await self.live(timeout)
        # The link's own deadline, and one of ours: its thread may be what is stuck.
        asked = asyncio.wrap_future(client.ask(op, args, timeout=timeout))
        try:
            answer = await asyncio.wait_for(asked, timeout + 1.0)
        except (TimeoutError, HubUnavailable) as error:
            if client.connected:
                self._rest = min(TRY_AGAIN, self._rest * 2 or FIRST_REST)
                self._resting_until = self._clock() + self._rest
            raise HubUnavailable(str(error) or "the fx hub did not answer in time") from error
        self._rest = 0.0
        return answer

    def close(self) -> None:
        """Leave the hub to others. May wait some seconds."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self.client is not None:
            default.disconnect()
