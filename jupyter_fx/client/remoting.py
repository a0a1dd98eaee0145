"""`@fx.remote`: a function that can be called here, there, or there many times."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs

from jupyter_fx import payload
from jupyter_fx.client import interrupts, live, specs
from jupyter_fx.client.default import default_client
from jupyter_fx.client.futures import TaskFuture
from jupyter_fx.client.hub import HubClient
from jupyter_fx.client.maps import MapResult
from jupyter_fx.client.options import task_options
from jupyter_fx.errors import UsageError
from jupyter_fx.payload.definitions import is_definition
from jupyter_fx.protocol.allocation import WORDS, text_of
from jupyter_fx.protocol.messages import Resources, TaskOptions, Watch

__all__ = ["MapResult", "RemoteFunction", "remote"]

_OPTIONS = (
    "endpoint",
    "name",
    "retries",
    "timeout",
    "expires",
    "cores",
    "memory",
    "gpus",
    "image",
    "environment",
    "env",
    "exclusive",
    *WORDS,
    "client",
)
_LOCAL = ("on_interrupt",)


class RemoteFunction:
    """What `@fx.remote` makes of a function: `f(3)` runs here, `f.remote(3)` there, `f.submit(3)` gives a
    TaskFuture."""

    def __init__(
        self, function: Callable[..., Any], endpoint: str, options: TaskOptions | None, client: HubClient | None
    ) -> None:
        if not callable(function):
            raise UsageError(f"@fx.remote stands above a function, not above a {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.function = function
        self.endpoint = endpoint
        self.options = options
        self._given = client
        self._said: dict[str, Any] = {}
        """The options as they were given."""
        self._on_interrupt = "cancel"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it here, as ever."""
        return self.function(*args, **kwargs)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it there and wait for the value. What it prints is printed here while it runs; Ctrl-C stops it
        there too."""
        screen = live.Screen()
        endpoint, options = self._settled()
        future = self._client.submit_call(
            self.function,
            args,
            kwargs,
            endpoint=endpoint,
            options=options,
            watch=Watch.ALL,
            on_event=screen.take,
        )
        return screen.follow(future, self._on_interrupt)

    def _settled(self) -> tuple[str, TaskOptions | None]:
        """Endpoint and options, once the environment that they name is there."""
        if not self._said.get("env"):
            return self.endpoint, self.options
        name, endpoint = specs.ensure(self._client, self._said["env"], self.endpoint)
        options = self.options or TaskOptions()
        return endpoint, structs.replace(options, resources=structs.replace(options.resources, environment=name))

    def submit(self, *args: Any, **kwargs: Any) -> TaskFuture:
        """Call it there; a TaskFuture at once."""
        endpoint, options = self._settled()
        return self._client.submit_call(self.function, args, kwargs, endpoint=endpoint, options=options)

    def map(
        self, *iterables: Iterable[Any], chunksize: int | None = None, ordered: bool = True, card: bool = True
    ) -> MapResult:
        """Call it there for each item, as `map` does; a MapResult at once, to be iterated while the calls run.

        Several calls travel as one task. Without `chunksize` their number follows how long they take. With
        `ordered=False` results come as they are finished. In a notebook a card shows how it goes; not with
        `card=False`.
        """
        if not iterables:
            raise UsageError("map needs something to map over")
        endpoint, options = self._settled()
        return MapResult(
            self._client,
            self.function,
            iterables,
            endpoint=endpoint,
            options=options,
            chunksize=chunksize,
            ordered=ordered,
            card=card,
            on_interrupt=self._on_interrupt,
        )

    def using(self, **changes: Any) -> RemoteFunction:
        """The same function with other options: `f.using(endpoint="polaris", timeout=60).submit(3)`."""
        return remote(self.function, **{**self._said, **changes})  # type: ignore[no-any-return]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        bound = RemoteFunction.__new__(RemoteFunction)
        bound.__dict__.update(self.__dict__)
        bound.function = functools.partial(self.function, instance)
        return bound

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Over there it is the plain function: what it calls, it calls in its own process.
        return _itself, (self.function,)

    def __repr__(self) -> str:
        return f"<RemoteFunction {payload.name_of(self.function)} at {self.endpoint or 'the default endpoint'}>"

    @property
    def _client(self) -> HubClient:
        return self._given or default_client()


def _make_itself() -> Callable[[Any], Any]:
    def itself(function: Any) -> Any:
        return function

    return itself


_itself = _make_itself()


def remote(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function callable at an endpoint: `@fx.remote`, or `@fx.remote(endpoint="polaris", timeout=60)`.

    Options: `endpoint`; `name` (shown in lists); `retries` (it may then start more than once); `timeout` (seconds of
    running) and `expires` (seconds of waiting); `cores`, `memory` (bytes), `gpus`, `image` (in which it runs);
    `env`: a requirements.txt or pylock.toml, from which the endpoint builds the environment in which it runs, or a
    Dockerfile or NAME.def, from which it builds the image, once (the first call waits for that and prints the build's
    log); `exclusive` (nothing else on its node); `account`, `partition`, `qos`, `constraint`, `reservation`, `walltime`
    (HH:MM:SS): how its endpoint asks a batch system for the node; `client`; `on_interrupt`: `cancel` (who is
    interrupted while waiting stops the work there too) or `leave`.
    UsageError for others.
    """
    import difflib

    known = (*_OPTIONS, *_LOCAL)
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise UsageError(
                f"@fx.remote has no option {key!r}"
                + (f": did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}")
            )
    if function is None:
        return functools.partial(remote, **options)
    if sum(bool(options.get(word)) for word in ("image", "env", "environment")) > 1:
        raise UsageError("@fx.remote takes an image, what one is built from (env) or another environment, one of them")
    if is_definition(str(options.get("image") or "")):
        raise UsageError(f"{options['image']} is what an image is built from: @fx.remote(env={options['image']!r})")
    needs = {key: options[key] for key in ("cores", "memory", "gpus", "environment", "exclusive") if options.get(key)}
    if allocation := text_of({word: str(options[word]) for word in WORDS if options.get(word)}):
        needs["allocation"] = allocation
    if options.get("image"):
        needs["environment"] = str(options["image"])
    chosen = task_options(
        resources=Resources(**needs) if needs else None,
        **{key: options[key] for key in ("name", "retries", "timeout", "expires") if key in options},
    )
    made = RemoteFunction(function, options.get("endpoint") or "", chosen, options.get("client"))
    made._said = options  # noqa: SLF001
    made._on_interrupt = interrupts.check(options.get("on_interrupt") or "cancel")  # noqa: SLF001
    return made
