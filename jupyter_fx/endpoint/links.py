"""The agent's links to its managers on nodes: one listening socket, a mailbox for each manager. Who may come in is
decided by the enrolments in the blocks' directories.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import psutil

from jupyter_fx.endpoint.bootstrap import AgentAddress, Block, Enrolled
from jupyter_fx.endpoint.functions import Told
from jupyter_fx.endpoint.logfiles import PLACED, placed_line
from jupyter_fx.endpoint.mailbox import VERSION, Mailbox, fits
from jupyter_fx.endpoint.talk import Code, FromManager, Place, Report
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.transport.zmq import ZmqServer, new_keys

__all__ = ["Links", "addresses"]

log = logging.getLogger(__name__)

PLACED_MAX: Final = 32 << 20
"""Bytes about a manager's tasks that are noted: a million of them."""


def addresses(configured: Sequence[str], port: str) -> list[str]:
    """Where nodes may find this host, the likeliest first: what was configured, else its name and all its addresses."""
    hosts = list(configured)
    if not hosts:
        found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
        up = {name for name, state in psutil.net_if_stats().items() if state.isup}
        for name, entries in psutil.net_if_addrs().items():
            for entry in entries:
                if name in up and entry.family in {socket.AF_INET, socket.AF_INET6} and "%" not in entry.address:
                    with contextlib.suppress(ValueError):
                        found.append(ipaddress.ip_address(entry.address))
        found.sort(key=lambda one: (one.is_loopback, one.version, one.is_link_local, not one.is_private))
        hosts = [str(one) for one in found if not one.is_loopback]
        hosts += [socket.getfqdn(), *(str(one) for one in found if one.is_loopback)]
    seen = dict.fromkeys(f"tcp://{f'[{one}]' if ':' in one else one}:{port}" for one in hosts)
    return list(seen)


class _Link:
    """One manager, linked or not."""

    def __init__(self, known: Enrolled, block: Block, me: str) -> None:
        self.known = known
        self.block = block
        self.mail = Mailbox(me, FromManager)
        self.channel: Any = None
        self.came = False
        """Whether it greeted on this channel, and can be understood."""
        self.armed = False
        self.taught: set[str] = set()
        """Functions that were sent to it."""
        self.placed: BinaryIO | None = None
        self.noted = 0


class Links:
    """`on_message(manager, message)`, `on_came(manager, block, host)`, `on_away(manager)`, `on_unfit(manager, block,
    why)` are the agent's; `home` is its directory. A function goes to a manager with the first work
    that names it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        home: Path,
        configured: Sequence[str],
        port: int,
        on_message: Callable[[str, Any], None],
        on_came: Callable[[str, str, str], None],
        on_away: Callable[[str], None],
        on_unfit: Callable[[str, str, str], None],
    ) -> None:
        self._loop = loop
        self._on_message, self._on_came, self._on_away, self._on_unfit = on_message, on_came, on_away, on_unfit
        self.me = new_id()
        self.functions = Told(home)
        self._blocks: dict[str, Block] = {}
        self._links: dict[str, _Link] = {}
        self._by_key: dict[str, str] = {}
        self._unfit: set[str] = set()
        """Managers that cannot be understood: they are not let in again."""
        keys = new_keys()
        try:
            self._server = ZmqServer(
                f"tcp://0.0.0.0:{port or '*'}", keys=keys, admit=self._admit, on_channel=self._channel
            )
        except Exception as error:
            raise UsageError(f"port {port} (c.Blocks.port) cannot be listened on: {error}") from error
        found = addresses(configured, self._server.address.rpartition(":")[2])
        self.address = AgentAddress(found[0], keys[0], found[1:])

    # Blocks.

    def add(self, block: Block) -> None:
        """Managers of this block may come in."""
        self._blocks[block.name] = block
        block.announce(self.address)

    def remove(self, name: str) -> list[str]:
        """A block is over: nobody of it comes in any more; its managers."""
        block = self._blocks.pop(name, None)
        those = [manager for manager, link in self._links.items() if link.block.name == name]
        if block is not None:
            those += [one.manager for one in block.enrolled() if one.manager not in those]
        for manager in those:
            self.drop(manager)
        return those

    def drop(self, manager: str) -> None:
        """A manager is dead."""
        link = self._links.pop(manager, None)
        if link is not None:
            self._by_key.pop(link.known.key, None)
            if link.placed is not None:
                link.placed.close()
            if link.channel is not None:
                channel, link.channel = link.channel, None
                channel.close()

    def linked(self, manager: str) -> bool:
        """Whether there is a connection."""
        link = self._links.get(manager)
        return link is not None and link.channel is not None

    def known(self) -> dict[str, str]:
        """Managers that have come, with their blocks."""
        return {manager: link.block.name for manager, link in self._links.items()}

    # Managers come.

    def _admit(self, key: str) -> bool:
        return key in self._by_key or self._enrol(key)

    def _enrol(self, key: str) -> bool:
        for block in self._blocks.values():
            if (one := block.enrolment(key)) is None:
                continue
            if one.manager in self._unfit or one.manager in block.gone():
                return False
            self._links[one.manager] = _Link(one, block, self.me)
            self._by_key[key] = one.manager
            return True
        return False

    def _channel(self, channel: Any) -> None:
        manager = self._by_key.get(channel.info["key"], "")
        link = self._links.get(manager)
        if link is None:
            channel.close()
            return
        if link.channel is not None:
            link.channel.close()
        link.channel = channel
        channel.on_frame = lambda frame: self._frame(manager, link, frame)
        channel.on_closed = lambda _error: self._closed(manager, link, channel)
        channel.start()
        link.came = False
        channel.write([link.mail.connected()])

    def _refuse(self, manager: str, link: _Link) -> None:
        """It cannot be understood: no more is heard of it."""
        self._unfit.add(manager)
        self.drop(manager)
        why = (
            f"the manager on {link.known.host} speaks version {link.mail.version} of an endpoint's protocol, its agent "
            f"{VERSION}: the same jupyter-fx has to be installed for both (c.Blocks.python is the one on nodes)"
        )
        self._on_unfit(manager, link.block.name, why)

    def _closed(self, manager: str, link: _Link, channel: Any) -> None:
        if link.channel is channel:
            link.channel = None
            link.mail.greeted = False
            if link.came:
                self._on_away(manager)

    def _frame(self, manager: str, link: _Link, frame: bytes) -> None:
        try:
            messages = link.mail.take(frame)
        except msgspec.MsgspecError as error:
            log.error("manager %s on %s sent what cannot be read: %s", manager[:8], link.known.host, error)
            return
        if not link.came and link.mail.greeted:
            if not fits(link.mail.version):
                self._refuse(manager, link)
                return
            link.came = True
            self._on_came(manager, link.block.name, link.known.host)
        for message in messages:
            if type(message) is not Report or message.to == self.me:
                self._on_message(manager, message)
        if messages or link.mail.size:
            self._arm(link)

    # What is said to them.

    def tell(self, manager: str, message: Any) -> None:
        """Pass a message on; "*": to each."""
        if manager == "*":
            for one in list(self._links):
                self.tell(one, message)
            return
        link = self._links.get(manager)
        if link is None:
            return
        if type(message) is Place:
            self._note(link, [work.task_id for work in message.work])
            for work in message.work:
                if work.function and work.function not in link.taught:
                    code = self.functions.get(work.function)
                    if code is not None:
                        link.taught.add(work.function)
                        link.mail.post(Code(work.function, code))
        link.mail.post(message)
        self._arm(link)

    @staticmethod
    def _note(link: _Link, ids: list[str]) -> None:
        """Who asks for the logs of a task is led to where it was."""
        with contextlib.suppress(OSError):
            if link.placed is None:
                link.placed = (link.block.folder / PLACED).open("ab", buffering=0)
            if link.noted < PLACED_MAX:
                link.noted += link.placed.write(placed_line(time.strftime("%FT%T"), link.known.host, ids))

    def _arm(self, link: _Link) -> None:
        if not link.armed:
            link.armed = True
            self._loop.call_soon(self._flush, link)

    def _flush(self, link: _Link) -> None:
        link.armed = False
        if link.channel is not None and (frames := link.mail.frames()):
            link.channel.write(frames)

    def close(self) -> None:
        """Let go of all; managers go on."""
        for link in self._links.values():
            if link.placed is not None:
                link.placed.close()
        self._server.close()
