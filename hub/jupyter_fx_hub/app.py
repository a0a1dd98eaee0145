"""The program: `python -m jupyter_fx_hub`, `jupyter fx hub`."""

from __future__ import annotations

import asyncio
import errno
import gc
import getpass
import logging
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from traitlets import Bool, Enum, Float, Int, List, TraitError, Unicode
from traitlets.config import Application

from jupyter_fx import __version__
from jupyter_fx.config import bad_value, check_config, check_options, read_config
from jupyter_fx.errors import FxError, HubUnavailable, UsageError
from jupyter_fx.paths import config_dir, hub_dir, runtime_dir
from jupyter_fx.processes import keep_memory
from jupyter_fx.transport import SystemClock
from jupyter_fx.transport.unix import BACKLOG, UnixServer, serve
from jupyter_fx_hub.api import BODY_MAX, make_application
from jupyter_fx_hub.auth import SCOPES, new_token
from jupyter_fx_hub.jsonlog import JsonFormatter
from jupyter_fx_hub.links import Door
from jupyter_fx_hub.operations import Operations
from jupyter_fx_hub.process import HubFiles
from jupyter_fx_hub.service import Service
from jupyter_fx_hub.state.records import Lifespans
from jupyter_fx_hub.store.blobs import BlobStore
from jupyter_fx_hub.store.ops import PutUser, RevokeToken
from jupyter_fx_hub.store.space import BALLAST, FRACTION_FREE, MIN_FREE, Space
from jupyter_fx_hub.store.store import RETENTION, Store

__all__ = ["Hub", "HubApp", "main"]

CONNECTIONS_MAX: Final = 2048
"""HTTP connections at a time, links not counted; fewer where the system allows fewer than twice as many files."""
OWN_TOKEN: Final = "hub.json of pid"  # noqa: S105 (the name of a token, not a token)
log = logging.getLogger("jupyter_fx_hub")


class Hub:
    """A hub that runs on the current event loop: made by `start`, ended by `stop`."""

    def __init__(self, app: HubApp) -> None:
        self.app = app
        self.stopping = asyncio.Event()
        self.status = 0
        self.user = app.user or getpass.getuser()
        self.files = HubFiles(runtime_dir())
        self.clock = SystemClock()
        self.service = Service(
            self.clock,
            Lifespans(
                app.session_idle, app.session_warning, app.session_lease_local, app.session_lease, app.session_idle_gpu
            ),
        )
        self.store: Store | None = None
        self._unix: list[UnixServer] = []
        self._http: _Server | None = None
        self._idle_since = self.clock.monotonic()
        self._chores: list[asyncio.Task[None]] = []
        self._token_id = ""

    async def start(self) -> None:
        """Take the lock, open the store, take up its tasks, listen, write hub.json; raises UsageError with cause and
        cure.
        """
        app = self.app
        self.files.take()
        database = Path(app.database) if app.database else hub_dir() / "hub.db"
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        space = Space(database.parent, min_free=app.min_free, fraction=app.min_free_fraction, ballast=app.ballast)
        store = self.store = Store.open(
            database,
            loop=asyncio.get_running_loop(),
            on_commit=self.service.on_commit,
            on_failure=self._store_failed,
            allow_network_fs=app.allow_network_fs,
            retention=app.retention,
            space=space,
        )
        self.blobs = BlobStore(database.parent / "blobs", store)
        await self.blobs.sweep()
        await self.service.start(store)
        self.service.write(PutUser(self.user, self.clock.wall()))
        self.operations = Operations(self.service, user=self.user, stop=lambda: self.stop_soon(0))
        self.door = Door(self.service, self.operations, self.blobs, self.user)
        url = self._listen()
        socket_path = Path(app.socket) if app.socket else runtime_dir() / "hub.sock"
        if sys.platform != "win32":
            self._unix.append(await serve(socket_path, self.door.on_channel))
            # For endpoints that come in through others' machines: being on this host makes nobody this user there.
            guarded = socket_path.with_name("agents.sock")
            self._unix.append(await serve(guarded, self.door.on_guarded_channel))
        token = await self._own_token()
        self.files.write(
            socket=str(socket_path) if sys.platform != "win32" else "",
            agents=str(socket_path.with_name("agents.sock")) if sys.platform != "win32" else "",
            url=url,
            token=token,
            version=__version__,
            database=str(database),
        )
        loop = asyncio.get_running_loop()
        self._chores = [loop.create_task(self._watch_idle()), loop.create_task(self._clean())]
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        log.info(
            "fx hub %s: %s and unix:%s, database %s, start %d", __version__, url, socket_path, database, store.hub_boot
        )

    def _listen(self) -> str:
        app = self.app
        try:
            sockets = bind_sockets(app.port, app.ip, backlog=BACKLOG)
        except OSError as error:
            raise UsageError(
                f"port {app.port} on {app.ip} cannot be listened on ({error.strerror}): another program has it; "
                f"choose another with "
                "--HubApp.port=N, or 0 for any that is free"
            ) from error
        application = make_application(self.door, frozenset(app.origins))
        self._http = _Server(
            application,
            max_body_size=BODY_MAX,
            max_header_size=16 * 1024,
            idle_connection_timeout=60.0,
            body_timeout=30.0,
        )
        self._http.most = _descriptors() // 2
        self._http.add_sockets(sockets)
        return f"http://{app.ip}:{sockets[0].getsockname()[1]}"

    async def _own_token(self) -> str:
        """A token for this user's own programs, good while this hub runs; those of earlier runs are revoked."""
        assert self.store is not None
        now = self.clock.wall()
        for old in await self.store.read("tokens", self.user):
            if old.note.startswith(OWN_TOKEN) and not old.revoked:
                self.service.write(RevokeToken(self.user, old.token_id, now))
        token, op = new_token(self.user, SCOPES, now, note=f"{OWN_TOKEN} {self._pid()}")
        self._token_id = op.token_id
        self.service.write(op)
        await self.service.flushed()
        return token

    @staticmethod
    def _pid() -> int:
        return os.getpid()

    def stop_soon(self, status: int) -> None:
        """Have `run` end."""
        self.status = max(self.status, status)
        self.stopping.set()

    def _store_failed(self, error: BaseException) -> None:
        log.error("the database has failed: %s. The fx hub ends; what it acknowledged is on its disk", error)
        self.stop_soon(1)

    async def stop(self) -> None:
        """Say goodbye to everybody, bring everything to the disk, leave no file behind. May be called after a failed
        start.
        """
        for chore in self._chores:
            chore.cancel()
        for server in self._unix:
            server.close()
        if self._http is not None:
            self._http.stop()
        if hasattr(self, "door"):
            self.door.close_all(
                HubUnavailable("the fx hub stops; what it has acknowledged is safe on its disk"), retry=True
            )
        if self.store is not None:
            if self._token_id and self.store.failure is None:
                self.service.write(RevokeToken(self.user, self._token_id, self.clock.wall()))
            if self.service.ready:
                await self.service.stop()
            self.blobs.close() if hasattr(self, "blobs") else None
            self.store.close()
        if self._http is not None:
            await self._http.close_all_connections()
        self.files.remove()

    # --- chores ---

    @property
    def _idle(self) -> bool:
        core = self.service.state.core
        return (
            not self.service.clients and not core.unfinished and not any(s.state < 10 for s in core.sessions.values())
        )

    @property
    def _deserted(self) -> bool:
        """Nobody is linked and nothing is to be done."""
        return not self.service.clients and not self.service.state.core.unfinished

    async def _watch_idle(self) -> None:
        limit = self.app.idle_shutdown
        while limit > 0:
            await asyncio.sleep(min(5.0, max(0.1, limit / 4)))
            now = self.clock.monotonic()
            if self.app.embedded and not self.files.path.exists() and self._deserted:
                log.info("its runtime directory was removed and nobody is linked: the fx hub ends")
                await self._stop_agents()
                self.stop_soon(0)
                return
            if not self._idle:
                self._idle_since = now
            elif now - self._idle_since >= limit:
                log.info("idle for %g s: the fx hub ends", limit)
                await self._stop_agents()
                self.stop_soon(0)
                return

    async def _stop_agents(self) -> None:
        """Ask the agents of an embedded hub to end with it."""
        asked = (
            [port.request("agent.stop", {}, 5.0) for port in self.service.agents.values()] if self.app.embedded else []
        )
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, Exception):
                log.info("an agent did not stop: %s", answer)

    async def _clean(self) -> None:
        """Once an hour: what has been kept long enough goes."""
        assert self.store is not None
        while True:
            await asyncio.sleep(3600.0)
            for _ in range(200):
                before = self.store.committed
                self.service.position = self.store.delete_expired(self.clock.wall())
                await self.service.flushed()
                if self.store.committed - before > 500:
                    break
                await asyncio.sleep(0.05)
            await self.blobs.collect()


class _Server(HTTPServer):
    """An HTTP server that holds at most `most` connections besides links: every user of the machine can connect."""

    most = CONNECTIONS_MAX

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection, or close it at once."""
        if len(self._connections) >= self.most:
            stream.close()
            return
        super().handle_stream(stream, address)


def _descriptors() -> int:
    """How many files and sockets this process may have open, after it has asked for what it may ask for."""
    if sys.platform == "win32":
        return 2 * CONNECTIONS_MAX
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS_MAX if hard == resource.RLIM_INFINITY else min(hard, 2 * CONNECTIONS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return 2 * CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(soft, 2 * CONNECTIONS_MAX)


class HubApp(Application):
    """The fx hub: keeps tasks on disk, hands them to endpoints, brings results back.

    It listens on a Unix socket and a loopback port and writes hub.json, by which programs of the same user find it.
    """

    name = "jupyter-fx-hub"
    version = __version__
    description = __doc__ or ""

    database = Unicode("", help="The database; default: hub/hub.db below the state directory.").tag(config=True)
    socket = Unicode("", help="The Unix socket; default: hub.sock in the runtime directory.").tag(config=True)
    ip = Unicode("127.0.0.1", help="The address to listen on; only loopback by default.").tag(config=True)
    port = Int(0, min=0, max=65535, help="The TCP port for WebSocket and REST; 0: any that is free.").tag(config=True)
    origins = List(
        Unicode(), help="Exact origins of web pages that may open a link, such as https://hub.example.org."
    ).tag(config=True)
    user = Unicode("", help="The user whom local connections belong to; default: who runs the hub.").tag(config=True)
    embedded = Bool(
        False, help="Started by a program, not a person: agents are asked to stop with an idle shutdown."
    ).tag(config=True)
    idle_shutdown = Float(
        0.0, help="End after so many seconds without clients, unfinished tasks and sessions; 0: never."
    ).tag(config=True)
    allow_network_fs = Bool(False, help="Take a database on a network file system, where it could be damaged.").tag(
        config=True
    )
    retention = Float(RETENTION, help="Seconds that results are kept.").tag(config=True)
    session_idle = Float(
        Lifespans().idle, min=0.0, help="Seconds without a cell after which a session is closed; 0: never."
    ).tag(config=True)
    session_idle_gpu = Float(
        Lifespans().idle_gpu,
        min=0.0,
        help="The same for a session that holds GPUs or a whole node, which nobody else can use; 0: as session_idle.",
    ).tag(config=True)
    session_warning = Float(
        Lifespans().warning, min=0.0, help="Seconds before its end that a session's end is announced."
    ).tag(config=True)
    session_lease_local = Float(
        Lifespans().lease_local,
        min=0.0,
        help="Seconds that an idle session outlives the link of its kernel on this machine; 0: until session_idle.",
    ).tag(config=True)
    session_lease = Float(
        Lifespans().lease,
        min=0.0,
        help="The same for a kernel on another machine, which may be asleep; 0: until session_idle.",
    ).tag(config=True)
    min_free = Int(MIN_FREE, help="Bytes of free disk below which new tasks are refused.").tag(config=True)
    min_free_fraction = Float(FRACTION_FREE, help="The same as a part of the disk; the larger one counts.").tag(
        config=True
    )
    ballast = Int(BALLAST, help="Bytes of a file that is given up so that results still land on a full disk.").tag(
        config=True
    )
    hub_log_level = Enum(
        ["DEBUG", "INFO", "WARNING", "ERROR"], "INFO", help="How much is logged (JSON lines on stderr)."
    ).tag(config=True)
    config_file = Unicode("", help="A configuration file; default: hub_config.py in the configuration directory.").tag(
        config=True
    )

    aliases = {
        "database": "HubApp.database", "socket": "HubApp.socket", "port": "HubApp.port", "ip": "HubApp.ip",
        "idle-shutdown": "HubApp.idle_shutdown", "config": "HubApp.config_file", "log-level": "HubApp.hub_log_level",
    }  # fmt: skip
    flags = {
        "embedded": ({"HubApp": {"embedded": True}}, "Started by a program."),
        "allow-network-fs": ({"HubApp": {"allow_network_fs": True}}, "Take a database on a network file system."),
    }
    raise_config_file_errors = True

    def initialize(self, argv: list[str] | None = None) -> None:
        """Command line, then configuration file, then command line again: the latter wins."""
        words = sys.argv[1:] if argv is None else argv
        check_options(self, words)
        try:
            self.parse_command_line(words)
        except TraitError as error:
            raise UsageError(str(error)) from None
        line = self.cli_config
        path = Path(self.config_file) if self.config_file else config_dir() / "hub_config.py"
        if self.config_file and not path.exists():
            raise UsageError(f"there is no configuration file {path}")
        found = read_config(path)
        check_config(found, path, [HubApp, Application])
        try:
            self.update_config(found)
        except TraitError as error:
            raise bad_value(found, path, error) from None
        self.update_config(line)

    def start(self) -> None:
        """Run until told to stop; ends the process with a status."""
        # The database, its blobs and streams are nobody else's to read, wherever they are put.
        os.umask(0o077)
        keep_memory()
        _set_up_logging(self.hub_log_level)
        try:
            status = asyncio.run(self.run())
        except FxError as error:
            log.error("%s", error.message)
            print(f"jupyter fx hub: {error.message}", file=sys.stderr)  # noqa: T201 -- for whoever started it by hand
            status = 2
        except (OSError, sqlite3.Error) as error:
            print(f"jupyter fx hub: {_why(error)}", file=sys.stderr)  # noqa: T201 -- the same
            status = 1
        self.exit(status)

    async def run(self) -> int:
        """Start, wait for SIGTERM, SIGINT or a request to stop, stop; the exit status."""
        hub = Hub(self)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(name, hub.stop_soon, 0)
            except NotImplementedError:
                signal.signal(name, lambda *_: loop.call_soon_threadsafe(hub.stop_soon, 0))
        try:
            await hub.start()
            await hub.stopping.wait()
        finally:
            await hub.stop()
        return hub.status


def _why(error: OSError | sqlite3.Error) -> str:
    """What an operating system or a database that refuses means, and what helps."""
    if getattr(error, "errno", 0) in {errno.ENOSPC, errno.EDQUOT} or "disk is full" in str(error):
        return f"the disk that holds {hub_dir()} is full: free space there, or set JUPYTER_FX_STATE_DIR to another disk"
    if isinstance(error, PermissionError):
        return f"{error.filename or hub_dir()} may not be written ({error.strerror}): make it yours"
    return f"it cannot go on ({type(error).__name__}: {error}); its state is in {hub_dir()}"


def _set_up_logging(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("alembic", "sqlalchemy", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def main(argv: list[str] | None = None) -> Any:
    """Entry point."""
    try:
        HubApp.launch_instance(argv)
    except FxError as error:
        print(f"jupyter fx hub: {error.message}", file=sys.stderr)  # noqa: T201 -- nothing else is set up yet
        raise SystemExit(2) from None
