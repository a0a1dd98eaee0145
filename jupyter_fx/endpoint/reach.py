"""Tries several addresses of one host: nobody knows beforehand on which of a login node's networks its nodes are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from jupyter_fx.errors import FxError, HubUnavailable

__all__ = ["reach"]

STAGGER: Final = 0.3
"""Seconds that an address has to itself before the next one is tried beside it: a firewall may just be silent."""


async def reach(
    addresses: Sequence[str], connect: Callable[[str], Awaitable[Any]], *, stagger: float = STAGGER
) -> tuple[str, Any]:
    """The first address, in this order, that answers, and its channel; the others are given up. When none does: the
    error of the last that failed.
    """
    waiting = list(addresses)
    tries: dict[asyncio.Future[Any], str] = {}
    error: FxError = HubUnavailable("there is no address to try")
    try:
        while waiting or tries:
            if waiting:
                address = waiting.pop(0)
                tries[asyncio.ensure_future(connect(address))] = address
            done, _ = await asyncio.wait(
                tries, timeout=stagger if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for one in done:
                address = tries.pop(one)
                try:
                    return address, one.result()
                except FxError as failed:
                    error = failed
        raise error
    finally:
        for one in tries:
            one.cancel()
            one.add_done_callback(_let_go)


def _let_go(late: asyncio.Future[Any]) -> None:
    """Of a try that was given up: had it come through at the last moment, its channel is closed."""
    if not late.cancelled():
        with contextlib.suppress(FxError):
            late.result().close()
