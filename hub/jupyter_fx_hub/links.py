"""Links: clients, agents and their second connections for bytes, over whichever transport they came."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict, deque
from collections.abc import Awaitable
from typing import Any, Final

from jupyter_fx.errors import AuthError, FxError, InfrastructureError, RemoteProtocolError, UsageError
from jupyter_fx.protocol.messages import VERSION, Event, Hello, Request, Welcome
from jupyter_fx.transport import Channel, Served
from jupyter_fx_hub.auth import SCOPES, Identity, authenticate, hash_secret
from jupyter_fx_hub.bloblinks import BlobLink
from jupyter_fx_hub.operations import Caller, Operations
from jupyter_fx_hub.outbox import Outbox
from jupyter_fx_hub.service import Service
from jupyter_fx_hub.store.blobs import BlobStore
from jupyter_fx_hub.store.rows import EndpointRow

__all__ = ["AgentLink", "ClientLink", "Door"]

REMEMBERED: Final = 10_000
"""Links whose last acknowledged number is remembered for their reconnect."""
ALIVE_WITHIN: Final = 12.0
"""Seconds within which an agent was heard for its link to count as alive: another incarnation is refused."""
AGENT_ACK_DELAY: Final = 0.005
"""Seconds that an ack to an agent waits for the next dispatch: it ends a journal's entry, and nobody waits for that."""
GUEST_WITHIN: Final = 30.0
"""Seconds that who has presented nothing may stay: time enough to enrol."""
GUESTS_MAX: Final = 64
"""How many such may be here at a time."""
_NEEDS: Final = {
    "Functions": "run",
    "Submit": "run",
    "Cancel": "run",
    "OpenSession": "run",
    "CloseSession": "run",
    "Attach": "read",
    "Detach": "read",
}
_FROM_AGENT: Final = frozenset(
    ("Inventory", "Credit", "Updates", "Outputs", "Results", "Nack", "AgentStatus", "SessionEvent", "SessionClosed")
)
log = logging.getLogger(__name__)


class _Link:
    """What client and agent links have in common."""

    def __init__(self, door: Door, served: Served, user: str, link_id: str) -> None:
        self.door, self.served, self.user = door, served, user
        self.number = door.service.next_link()
        self.busy = self.gone = self.broken = False
        self.backlog: deque[tuple[Any, int]] = deque()
        self.waiting = 0
        self.key = (user, link_id)

    def acknowledge(self, number: int) -> None:
        """Everything up to this number is durable; remembered beyond this connection."""
        self.door.remember(self.key, number)
        if not self.gone:
            self.served.acknowledge(number)

    def hold(self, full: bool) -> None:
        """Read no more for now, or again."""
        if self.gone:
            return
        if full:
            self.served.pause_reading()
        else:
            self.served.resume_reading()

    def break_off(self, error: FxError) -> None:
        """End the connection, to be made again: what was not acknowledged comes again."""
        self.broken = True
        self.backlog.clear()
        self.served.close(error, retry=True)
        self.on_closed(error)

    def on_closed(self, error: FxError | None) -> None:
        """The connection is gone."""
        raise NotImplementedError


class ClientLink(_Link):
    """A client."""

    def __init__(self, door: Door, served: Served, identity: Identity, hello: Hello) -> None:
        super().__init__(door, served, identity.user, hello.link_id)
        self.identity = identity
        self.sent = hello.sent
        self.local = "uid" in served.peer
        self.silent = False
        """Whether it ended because nothing was heard: its process may live."""
        self.outbox = Outbox(served, self._full)

    def send(self, message: Any) -> None:
        """Send a passing message."""
        if not self.gone:
            self.outbox.send(message)

    def _full(self) -> None:
        if not self.gone:
            log.warning("a client of %s does not read what it is sent: its link is ended", self.user)
            self.break_off(InfrastructureError("more is waiting for this client than the fx hub keeps: ask again"))

    async def caught_up(self) -> None:
        """Return when it was sent what waits for it now, or is gone."""
        await self.outbox.caught_up()

    def begin_replay(self, task_id: str) -> bool:
        """Hold back live events of this task."""
        return self.outbox.begin_replay(task_id)

    def replay(self, task_id: str, events: list[Event], outcome: Any, *, last: bool) -> None:
        """Send replayed events."""
        if self.gone:
            return
        if last:
            self.outbox.end_replay(task_id, events, outcome)
        else:
            self.outbox.events(events)

    def on_message(self, message: Any, number: int) -> None:
        """A message came in."""
        needs = _NEEDS.get(type(message).__name__)
        if needs is None or not self.identity.may(needs):
            what = f"this token does not allow {needs!r}" if needs else "that is no message of a client"
            self.served.close(AuthError(f"{type(message).__name__}: {what}"), retry=False)
            self.on_closed(None)
            return
        self.door.service.message(self, message, number)

    def on_request(self, request: Request) -> Any:
        """A question came in."""
        return self.door.operations.call(
            Caller(self.identity, local="uid" in self.served.peer), request.op, request.args
        )

    def on_closed(self, error: FxError | None) -> None:
        """The connection is gone."""
        if not self.gone:
            self.gone = True
            self.silent = error is not None and bool(error.details.get("silent"))
            self.outbox.close()
            self.door.service.client_down(self)
            self.door.closed(self)


class AgentLink(_Link):
    """An endpoint's agent."""

    def __init__(self, door: Door, served: Served, endpoint: EndpointRow, hello: Hello) -> None:
        super().__init__(door, served, endpoint.owner, hello.link_id)
        served.ack_delay = AGENT_ACK_DELAY
        self.endpoint_id, self.name = endpoint.endpoint_id, endpoint.name
        self.key = (f"endpoint:{endpoint.endpoint_id}", hello.link_id)
        self.info = dict(hello.info)
        self.heard = door.service.clock.monotonic()

    def send(self, message: Any) -> None:
        """Send a passing message."""
        if not self.gone:
            self.served.send(message)

    def on_message(self, message: Any, number: int) -> None:
        """A message came in."""
        if type(message).__name__ not in _FROM_AGENT:
            self.close(RemoteProtocolError(f"{type(message).__name__} is no message of an agent"), retry=False)
            self.on_closed(None)
            return
        self.door.service.message(self, message, number)

    def on_request(self, request: Request) -> Any:
        """An agent asks nothing but who it is."""
        if request.op == "whoami":
            return {"endpoint_id": self.endpoint_id, "name": self.name, "owner": self.user}
        raise UsageError(f"no operation {request.op!r} for agents")

    def on_closed(self, error: FxError | None) -> None:
        """The connection is gone. A Goodbye without an error means that the agent stops on purpose."""
        if not self.gone:
            self.gone = True
            self.door.service.agent_down(self, goodbye=error is None)
            self.door.closed(self)

    def request(self, op: str, args: dict[str, Any], timeout: float) -> asyncio.Future[Any]:
        """Ask the agent."""
        return self.served.request(op, args, timeout)

    def close(self, error: Exception, *, retry: bool) -> None:
        """Say Goodbye."""
        self.served.close(error if isinstance(error, FxError) else FxError(str(error)), retry=retry)

    @property
    def alive(self) -> bool:
        """Whether it was heard of lately."""
        link = self.served.link
        due = link.next_timer()
        return not self.gone and link.is_open and due is not None and self.door.service.clock.monotonic() < due + 2.0


class GuestLink:
    """Somebody who has presented nothing: an endpoint that enrols, or nobody."""

    def __init__(self, door: Door, served: Served) -> None:
        self.door, self.served = door, served
        self.asked = 0
        self._patience = asyncio.get_running_loop().call_later(GUEST_WITHIN, self._enough)

    def _enough(self) -> None:
        self.served.close(AuthError("nothing was presented in time"), retry=False)
        self.on_closed(None)

    def on_message(self, message: Any, number: int) -> None:
        """Nothing is taken."""
        self.served.close(AuthError("present a token first"), retry=False)
        self.on_closed(None)

    async def on_request(self, request: Request) -> Any:
        """Only enrolment."""
        self.asked += 1
        if request.op not in {"endpoints.enrol", "endpoint.enrol"} or self.asked > 3:
            raise AuthError("present a token first")
        return await self.door.operations.enrol(request.args)

    def on_closed(self, error: FxError | None) -> None:
        """The connection is gone."""
        self._patience.cancel()
        self.door.closed(self)


class Door:
    """Where channels come in: a Served for each, and whoever it turns out to be."""

    def __init__(self, service: Service, operations: Operations, blobs: BlobStore, user: str) -> None:
        self.service, self.operations, self.blobs = service, operations, blobs
        self.user = user
        """Whom connections of this machine's same user belong to."""
        self.links: set[Any] = set()
        self._received: OrderedDict[tuple[str, str], int] = OrderedDict()
        operations.on_revoked = self.revoked

    def remember(self, key: tuple[str, str], number: int) -> None:
        """The last durable message of a link, for when it connects again."""
        self._received[key] = max(number, self._received.get(key, 0))
        self._received.move_to_end(key)
        if len(self._received) > REMEMBERED:
            self._received.popitem(last=False)

    def revoked(self, token_id: str) -> None:
        """Close the links that came in with this token."""
        for link in list(self.links):
            if isinstance(link, ClientLink) and link.identity.token_id == token_id:
                link.served.close(AuthError("this token was revoked: get a new one"), retry=False)
                link.on_closed(None)

    def closed(self, link: Any) -> None:
        """A link is over."""
        self.links.discard(link)

    def on_guarded_channel(self, channel: Channel) -> None:
        """A connection came in at the socket for endpoints alone: whoever they are, they present a credential."""
        channel.info.pop("uid", None)
        channel.info["guarded"] = True
        self.on_channel(channel)

    def on_channel(self, channel: Channel) -> None:
        """A connection came in, from the Unix socket or as a WebSocket."""
        holder: list[Any] = []

        def on_hello(hello: Hello, served: Served) -> Awaitable[Welcome]:
            return self._welcome(hello, served, holder)

        def on_open(_: Hello) -> None:
            link = holder[0]
            self.links.add(link)
            if isinstance(link, ClientLink):
                self.service.client_up(link)
            elif isinstance(link, AgentLink):
                self.service.agent_up(link, link.key[1])

        Served(  # it hangs on its channel
            channel,
            on_hello=on_hello,
            on_open=on_open,
            on_message=lambda message, number: holder[0].on_message(message, number),
            on_request=lambda request: holder[0].on_request(request),
            on_closed=lambda error: holder[0].on_closed(error) if holder else None,
            clock=self.service.clock,
        )

    async def _welcome(self, hello: Hello, served: Served, holder: list[Any]) -> Welcome:
        if not self.service.ready:
            raise FxError("the fx hub is starting: come again", retry=True)
        if hello.role == "endpoint":
            return await self._welcome_agent(hello, served, holder)
        if served.peer.get("guarded") and hello.role != "blobs":
            raise AuthError("this way is for endpoints alone")
        if hello.role == "client":
            identity = await self._identity(hello, served)
            link = ClientLink(self, served, identity, hello)
            holder.append(link)
            return self._answer(identity.user, link.key)
        if hello.role == "blobs":
            owner, endpoint_id = await self._blob_owner(hello, served)
            holder.append(BlobLink(self.blobs, served, owner, endpoint_id, self.closed))
            return self._answer(owner, ("", ""))
        raise UsageError(f"{hello.role[:40]!r} is no role: client, endpoint and blobs are")

    def _answer(self, user: str, key: tuple[str, str]) -> Welcome:
        from jupyter_fx import __version__

        return Welcome(
            VERSION, self.service.store.hub_boot, user, self._received.get(key, 0), f"jupyter-fx {__version__}", {}
        )

    async def _identity(self, hello: Hello, served: Served) -> Identity:
        """Whoever connects by the Unix socket is this user; by a WebSocket, whom the token says."""
        peer = served.peer
        if "uid" in peer:
            if peer["uid"] != os.getuid():
                raise AuthError("this socket is for another user")
            return Identity(self.user, frozenset(SCOPES))
        if isinstance(identity := peer.get("identity"), Identity):
            return identity
        return await self.identify(hello.token)

    async def identify(self, token: str) -> Identity:
        """Whose token this is, or AuthError."""
        found = await self.service.store.read("token", hash_secret(token)) if token else None
        return authenticate(token, found, self.service.clock.wall())

    async def credential(self, secret: str) -> EndpointRow | None:
        """Whose credential this is."""
        if not secret:
            return None
        found: EndpointRow | None = await self.service.store.read("endpoint_by_credential", hash_secret(secret))
        return found

    async def _welcome_agent(self, hello: Hello, served: Served, holder: list[Any]) -> Welcome:
        endpoint = served.peer.get("endpoint") or await self.credential(hello.token)
        if endpoint is None:
            if hello.token or "identity" in served.peer:
                raise AuthError(
                    "the fx hub does not know this endpoint's credential: delete it here and enrol it again "
                    "(`jupyter fx endpoint delete`, `code`, `configure`)"
                )
            if sum(isinstance(link, GuestLink) for link in self.links) >= GUESTS_MAX:
                raise FxError("too many endpoints enrol at this moment: come again", retry=True)
            holder.append(GuestLink(self, served))
            return self._answer("", ("", ""))
        old = self.service.agents.get(endpoint.endpoint_id)
        if isinstance(old, AgentLink) and not old.gone:
            if old.key[1] != hello.link_id and old.alive:
                who = f"pid {old.info.get('pid', '?')} on {old.info.get('host', '?')}"
                raise UsageError(f"endpoint {endpoint.name} is already served by {who}: stop that agent first")
            old.close(FxError("another connection of this endpoint took its place"), retry=True)
            old.on_closed(FxError("replaced"))
        link = AgentLink(self, served, endpoint, hello)
        holder.append(link)
        return self._answer(endpoint.owner, link.key)

    async def _blob_owner(self, hello: Hello, served: Served) -> tuple[str, str]:
        """(owner of what is put, endpoint_id or "")."""
        endpoint = served.peer.get("endpoint")
        if endpoint is None and hello.token.startswith("jfxe_"):
            endpoint = await self.credential(hello.token)
            if endpoint is None:
                raise AuthError("the fx hub does not know this endpoint's credential")
        if endpoint is not None:
            return f"endpoint:{endpoint.endpoint_id}", endpoint.endpoint_id
        if served.peer.get("guarded"):
            raise AuthError("this way is for endpoints alone")
        return (await self._identity(hello, served)).user, ""

    async def web_authenticate(self, token: str, ticket: str, handler: Any) -> dict[str, Any] | None:
        """For the WebSocket handler: who presents this token. Without one only an endpoint may come in, to enrol."""
        if ticket:
            return None
        if not token:
            return {}
        endpoint = await self.credential(token)
        if endpoint is not None:
            return {"endpoint": endpoint}
        return {"identity": await self.identify(token)}

    def close_all(self, error: FxError, *, retry: bool) -> None:
        """Say goodbye to everybody."""
        for link in list(self.links):
            link.served.close(error, retry=retry)
        self.links.clear()
