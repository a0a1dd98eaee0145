"""Carries out what `BlockBook` and `scaling` say: directories and secrets of blocks, jobs, looks at the scheduler.

Everything that asks the scheduler runs on one thread, one thing after another; the answers come back to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_fx.endpoint.allocations import Allocations
from jupyter_fx.endpoint.block_records import BlockRecord, Cancel, Complete, Drain, Ended, JobInfo, Save, Submit
from jupyter_fx.endpoint.blocks import BlockBook
from jupyter_fx.endpoint.bootstrap import Block
from jupyter_fx.endpoint.managerspec import ManagerSpec
from jupyter_fx.endpoint.providers import JobSpec, Provider, ProviderError
from jupyter_fx.endpoint.scaling import Load, Plan, decide_all
from jupyter_fx.endpoint.settings import Blocks
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import new_id
from jupyter_fx.paths import private_dir

__all__ = ["Provisioner"]

log = logging.getLogger(__name__)

TICK: Final = 1.0
ENDED_WITHIN: Final = 12.0
"""Seconds that an agent that is stopped waits for its jobs to be over."""
OFFER_EVERY: Final = 300.0
"""Seconds after which the scheduler is asked again what can be chosen."""
LOGS_KEPT: Final = 50
"""Directories of blocks that are over whose logs are kept."""


class Provisioner:
    """`load()`: what there is to do. `on_drain(block, back, why)`, `on_ended(block, why)` and the rest: the agent's."""

    def __init__(
        self,
        home: Path,
        endpoint_id: str,
        settings: Blocks,
        provider: Provider,
        spec: ManagerSpec,
        allocations: Allocations,
        *,
        loads: Callable[[], dict[str, Load]],
        on_new: Callable[[Block], None],
        on_drain: Callable[[str, bool, str], None],
        on_ended: Callable[[str, str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._spec = spec
        self._loads = loads
        self._allocations = allocations
        self._slots: dict[str, int] = {}
        """Of a node, by allocation, as managers told where nobody else could."""
        self._on_new, self._on_drain, self._on_ended, self._on_change = on_new, on_drain, on_ended, on_change
        self._folder = private_dir(home / "blocks")
        self._logs = private_dir(home / "block-logs")
        self._prefix = f"fx{re.sub('[^0-9a-z]', '', endpoint_id)[-5:]}"
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scheduler")
        self._tasks: set[asyncio.Future[Any]] = set()
        self._looking = False
        self._looked_at = 0.0
        self._offered_at = time.monotonic()
        self._first = True
        self._stopped = False
        self.book = BlockBook(
            label=provider.label,
            wall=time.time() - time.monotonic(),
            nodes=settings.nodes,
            walltime=settings.seconds,
            lead=settings.drain_lead_seconds,
        )
        self._said: tuple[Any, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._used = home / "node-seconds"
        with contextlib.suppress(OSError, ValueError):
            self.book.node_seconds = float(self._used.read_text())
        self.book.restore(self._found(), time.monotonic())

    def _found(self) -> list[BlockRecord]:
        """What an earlier agent left. A directory without a record is of a block that was never submitted."""
        found = []
        for path in sorted(self._folder.iterdir()):
            try:
                record = msgspec.json.decode((path / "block.json").read_bytes(), type=BlockRecord)
            except (OSError, msgspec.MsgspecError):
                shutil.rmtree(path, ignore_errors=True)
                continue
            if record.ended:
                self._remove(record)
                continue
            found.append(record)
        return found

    def adopted(self) -> list[Block]:
        """The blocks that an earlier agent left and that may live."""
        return [Block(self._folder / record.block_id, make=True) for record in self.book.records()]

    def start(self) -> None:
        """Begin."""
        self._look()
        self._tick()

    # Time.

    def _tick(self) -> None:
        if self._stopped:
            return
        self._timer = self._loop.call_later(TICK, self._tick)
        now = time.monotonic()
        loads = self._loads()
        self.carry_out(self.book.tick(loads[""].busy, now))
        self.scale(loads)
        if now - self._offered_at >= OFFER_EVERY:
            self._look_at_offer()
        if now - self._looked_at >= self._settings.poll_seconds and (self.book.records() or self.book.trouble):
            self._look()
        self._tell()

    def learned(self, block: str, slots: int) -> None:
        """A manager of a block says how many slots its node has."""
        record = self.book.record(block)
        if record is not None:
            self._slots[record.allocation] = slots

    def _plan(self, allocation: str) -> Plan:
        blocks = self._allocations.blocks(allocation)
        node = self._allocations.place(allocation).most
        if not node.slots:
            node = node._replace(slots=self._slots.get(allocation, 0))
        least = (blocks.init_blocks, blocks.min_blocks) if not allocation else (0, 0)
        return Plan(*least, blocks.max_blocks, blocks.nodes, node, blocks.parallelism, blocks.idle_seconds)

    def scale(self, loads: dict[str, Load] | None = None) -> None:
        """See how many blocks there should be."""
        if self._stopped:
            return
        now = time.monotonic()
        loads = loads or self._loads()
        # What was offered when it was asked for and is not any more gets no new blocks: its tasks say why they wait.
        loads = {one: load for one, load in loads.items() if not self._allocations.place(one).refusal}
        self.book.forget_tries(loads)
        decisions = decide_all(loads, self.book.views(now), self._plan, first=self._first)
        self._first = False
        for allocation, decision in decisions.items():
            if decision.start:
                ids = [(one := new_id(), self._prefix + one[-8:]) for _ in range(decision.start)]
                seconds = self._allocations.blocks(allocation).seconds
                self.carry_out(self.book.ask(ids, now, allocation, seconds))
            for block in decision.stop:
                self.carry_out(self.book.leave(block, "nothing needs it", now))

    def whys(self, now: float) -> dict[str, str]:
        """Why there is no room, by allocation (those that anything is known of)."""
        found = {one: self.book.why(now, one) for one in self.book.allocations() | {""}}
        for one in self._loads():
            found[one] = self._allocations.place(one).refusal or found.get(one, "")
        # The hub knows a choice as it was written.
        return found | {text: found.get(normal, "") for text, normal in self._allocations.written()}

    def _tell(self) -> None:
        now = time.monotonic()
        whys = sorted((one, why.partition("; next try")[0]) for one, why in self.whys(now).items())
        said = (whys, self.book.describe(now), self._allocations.offer(), round(self.book.hours(now), 1))
        if said != self._said:
            self._said = said
            self._on_change()

    # Instructions.

    def folder_of(self, block: str) -> Path:
        """The directory of a block."""
        return self._folder / block

    def carry_out(self, instructions: list[Any]) -> None:
        """Do what the book says, in this order. A full disk keeps new jobs from being, and nothing else."""
        unsaved: dict[str, str] = {}
        for one in instructions:
            if isinstance(one, Save):
                if why := self._save(one.record):
                    unsaved[one.record.block_id] = why
            elif isinstance(one, Submit):
                if why := unsaved.get(one.record.block_id) or self._make(one.record):
                    self.carry_out(self.book.refused(one.record.block_id, why, time.monotonic(), asked=False))
                else:
                    self._submit(one.record)
            elif isinstance(one, Complete):
                self._complete(one.record)
            elif isinstance(one, Cancel):
                self._cancel(one.record)
            elif isinstance(one, Drain):
                self._on_drain(one.record.block_id, one.back, one.record.leaving)
            elif isinstance(one, Ended):
                self._ended(one.record)
        if instructions:
            self._tell()

    def _save(self, record: BlockRecord) -> str:
        """Why it could not be written; empty when it was."""
        try:
            Block(self._folder / record.block_id, make=True).save(msgspec.json.encode(record))
        except OSError as error:
            log.error("the record of block %s cannot be written: %s", record.name, error)
            return self._unwritten(error)
        return ""

    def _make(self, record: BlockRecord) -> str:
        """Put what its job needs into its directory; why that cannot be."""
        try:
            block = Block(self._folder / record.block_id, make=True)
            block.make_secret()
            block.put("spec.json", msgspec.json.encode(self._spec))
            self._on_new(block)
        except OSError as error:
            return self._unwritten(error)
        return ""

    def _unwritten(self, error: OSError) -> str:
        return f"nothing can be written to {self._folder} ({error.strerror or error}): free space, or your quota, there"

    def _submit(self, record: BlockRecord) -> None:
        self.book.submitting(record.block_id)
        spec = self._job(record)
        log.info("asking %s for a block (%s)", self._provider.label, record.name)
        self._run(lambda: self._provider.submit(spec), lambda done: self._submitted(record, done))

    def _job(self, record: BlockRecord) -> JobSpec:
        folder = Block(self._folder / record.block_id).folder
        python = self._settings.python or sys.executable
        command = shlex.join([python, "-m", "jupyter_fx.endpoint.node", str(folder)])
        return JobSpec(record.name, command, folder, record.allocation, record.cut)

    def _complete(self, record: BlockRecord) -> None:
        """An agent that was killed had asked for some of its nodes only."""

        def told(done: str | Exception) -> None:
            if isinstance(done, Exception):
                log.warning("%s refuses the rest of block %s: %s", self._provider.label, record.name, done)
            self.book.completed(record.block_id, str(done) if isinstance(done, Exception) else "", time.monotonic())
            self._tell()

        log.info("asking %s for the rest of a block (%s)", self._provider.label, record.name)
        spec = self._job(record)
        if why := self._make(record):
            self.book.completed(record.block_id, why, time.monotonic())
        else:
            self._run(lambda: self._provider.submit(spec), told)

    def _submitted(self, record: BlockRecord, done: str | Exception) -> None:
        now = time.monotonic()
        if isinstance(done, Exception):
            log.warning("%s refuses block %s: %s", self._provider.label, record.name, done)
            self.carry_out(self.book.refused(record.block_id, str(done), now))
            return
        log.info("block %s is %s job %s", record.name, self._provider.label, done)
        self.carry_out(self.book.submitted(record.block_id, done, now))
        if record.leaving:
            self._cancel(record)

    def _cancel(self, record: BlockRecord) -> None:
        if record.job:
            log.info("ending %s job %s: %s", self._provider.label, record.job, record.leaving)
            self._run(lambda: self._provider.cancel([record.job]), self._cancelled)

    @staticmethod
    def _cancelled(done: Any) -> None:
        if isinstance(done, Exception):
            log.warning("a job could not be ended: %s", done)

    def _ended(self, record: BlockRecord) -> None:
        log.info("block %s (job %s) is over: %s", record.name, record.job or "none", record.reason or record.leaving)
        with contextlib.suppress(OSError):
            self._used.write_text(f"{self.book.node_seconds:.1f}\n")
        self._on_ended(record.block_id, record.leaving or record.reason)
        self._remove(record)

    def _remove(self, record: BlockRecord) -> None:
        """Its secret goes; what its job wrote is kept for a while."""
        folder = self._folder / record.block_id
        kept = self._logs / record.name
        with contextlib.suppress(OSError):
            for path in [
                *folder.glob("*.stdout"),
                *folder.glob("*.stderr"),
                *folder.glob("*.[oe][0-9]*"),
                *folder.glob("*.log"),
                folder / "block.json",
            ]:
                kept.mkdir(mode=0o700, exist_ok=True)
                path.replace(kept / path.name)
        shutil.rmtree(folder, ignore_errors=True)
        old = sorted(self._logs.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in old[:-LOGS_KEPT]:
            shutil.rmtree(path, ignore_errors=True)

    # The scheduler.

    def _look_at_offer(self) -> None:
        self._offered_at = time.monotonic()
        self._run(self._allocations.look, self._offered)

    def _offered(self, done: Exception | None) -> None:
        if done is not None:
            log.warning("%s cannot be asked what it offers: %s", self._provider.label, done)
            return
        self._allocations.looked()
        self._tell()

    def _look(self) -> None:
        if self._looking:
            return
        self._looking = True
        self._run(self._provider.jobs, self._looked)

    def _looked(self, done: dict[str, JobInfo] | Exception) -> None:
        self._looking = False
        self._looked_at = time.monotonic()
        if isinstance(done, Exception):
            self.book.cannot_look(f"{self._provider.label} cannot be asked: {done}")
            self._tell()
            return
        for record in self.book.records():
            with contextlib.suppress(FileNotFoundError):
                if why := Block(self._folder / record.block_id).complaint():
                    self.book.complained(record.block_id, why)
        self.carry_out(self.book.looked(done, time.monotonic()))
        self._tell()

    def _run(self, what: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """On the scheduler's thread; its value, or its exception, goes to `then` on the loop."""

        def guarded() -> Any:
            try:
                return what()
            except (ProviderError, UsageError, OSError) as error:
                return error
            except Exception as error:
                log.exception("the provider failed")
                return ProviderError(f"{type(error).__name__}: {error}")

        if self._stopped:
            return
        future = self._loop.run_in_executor(self._thread, guarded)
        self._tasks.add(future)
        future.add_done_callback(lambda done: self._ran(done, then))

    def _ran(self, done: asyncio.Future[Any], then: Callable[[Any], None]) -> None:
        self._tasks.discard(done)
        if not done.cancelled():
            then(done.result())

    # The end.

    async def stop(self, *, give_up: bool) -> None:
        """The agent ends. `give_up`: its blocks with it; else they go on and wait for another agent."""
        if self._timer is not None:
            self._timer.cancel()
        if give_up:
            await self._give_up()
        pending = list(self._tasks)
        self._stopped = True
        if pending:
            await asyncio.wait(pending, timeout=10.0)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _give_up(self) -> None:
        """End all blocks and see that they are over. Those that are not in time are the next agent's to clear away."""
        end = time.monotonic() + ENDED_WITHIN
        self.carry_out(self.book.leave_all("the endpoint was stopped", time.monotonic()))
        while self.book.records() and time.monotonic() < end:
            await asyncio.sleep(0.3)
            self._look()
        for record in self.book.records():
            (self._folder / record.block_id / "secret").unlink(missing_ok=True)
