"""Parsl as an engine: any `parsl.Config`, so every executor that Parsl has."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import math
import os
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from jupyter_fx.endpoint.engines.base import Done, Health
from jupyter_fx.errors import ConfigError, UsageError

__all__ = ["ParslEngine", "load_config"]

log = logging.getLogger(__name__)

INSTALL: Final = "c.Endpoint.engine = 'parsl' needs Parsl, which is not installed here: pip install 'jupyter-fx[batch]'"
_RUN_DIR: Final = "runinfo"


def load_config(value: Any) -> Any:
    """The `parsl.Config` that c.Endpoint.engine_config gives: one, a function that makes one, or where either is:
    "package.module:name" or "/path/of/file.py:name" (`config` without a name). UsageError, ConfigError.
    """
    try:
        from parsl.config import Config
    except ImportError:
        raise UsageError(INSTALL) from None
    said = f"c.Endpoint.engine_config = {value!r}" if isinstance(value, str) else "c.Endpoint.engine_config"
    if isinstance(value, str):
        if not value:
            raise ConfigError(
                "c.Endpoint.engine = 'parsl' needs c.Endpoint.engine_config: a parsl.Config, or where one is, say "
                "'/home/me/htex.py:config'"
            )
        value = _find(value, said)
    if callable(value) and not isinstance(value, Config):
        try:
            value = value()
        except Exception as error:  # a person's own code: whatever it raises is told
            raise ConfigError(f"{said}: it raised {type(error).__name__}: {error}") from error
    if not isinstance(value, Config):
        raise ConfigError(f"{said} is {type(value).__name__}, not a parsl.Config")
    return value


def _find(place: str, said: str) -> Any:
    where, _, name = place.rpartition(":") if ":" in place else (place, "", "config")
    try:
        if where.endswith(".py"):
            path = Path(where).expanduser()
            spec = importlib.util.spec_from_file_location("jupyter_fx_engine_config", path)
            if spec is None or spec.loader is None or not path.is_file():
                raise ConfigError(f"{said}: there is no file {path}")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        return getattr(module, name)
    except ConfigError:
        raise
    except AttributeError:
        raise ConfigError(f"{said}: {where} has no {name!r}") from None
    except Exception as error:  # a person's own code: whatever it raises is told
        raise ConfigError(f"{said} cannot be loaded: {type(error).__name__}: {error}") from error


class ParslEngine:
    """See `Engine`. `folder`: where Parsl keeps its own files, unless the configuration names another place."""

    def __init__(self, config: Any, folder: Path) -> None:
        self._given = config
        self._folder = folder
        self._dfk: Any = None
        self._blocks: dict[str, str] = {}
        """The blocks of HTEX managers, by the names of these."""

    def start(self) -> None:
        """Load the configuration, start its executors."""
        config = load_config(self._given)
        import parsl
        from parsl.dataflow.dflow import DataFlowKernel

        if config.run_dir == _RUN_DIR:
            config.run_dir = str(self._folder / _RUN_DIR)
        if config.retries:
            log.warning("retries=%d of the Parsl configuration is not used: fx tasks declare their own", config.retries)
            config.retries = 0
        # Executors start `process_worker_pool.py`, which is beside our Python when nothing was activated.
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        try:
            self._dfk = DataFlowKernel(config)
        except BaseException:
            # Nobody else ends those of its executors that have started, and each try would start more of them.
            for one in config.executors:
                _give_back_blocks(one)
                with contextlib.suppress(Exception):  # of one that has not
                    one.shutdown()
            raise
        log.info("Parsl %s: %s", parsl.__version__, ", ".join(self._executors()))

    def _executors(self) -> dict[str, Any]:
        return {name: one for name, one in self._dfk.executors.items() if name != "_parsl_internal"}

    def submit(self, name: str, job: tuple[str, dict[str, Any]], done: Done) -> None:
        """See `Engine`."""
        future = self._dfk.submit(
            eval, app_args=job, executors="all", cache=False, ignore_for_cache=None, app_kwargs={}, join=False
        )
        future.add_done_callback(lambda ended: _told(ended, done))

    def attests(self, error: BaseException | None) -> bool:
        """See `Engine`. A manager has seen its worker die, or the scheduler says that the block has ended."""
        kind = type(error).__name__
        if kind != "ManagerLost":
            return kind == "WorkerLost"
        name = getattr(error, "manager_id", b"").decode()
        block = self._blocks.get(name)
        for one in self._executors().values():
            status = getattr(one, "status_facade", {}).get(block)
            if status is not None and status.terminal:
                return True
        return False

    def dead(self) -> str:
        """See `Engine`."""
        return next((why for name, one in self._executors().items() if (why := _dead(name, one))), "")

    def health(self) -> Health:
        """See `Engine`."""
        slots, workers = 0, 0
        states: list[str] = []
        for one in self._executors().values():
            slots += _slots(one)
            found, said = self._workers(one)
            workers += found
            states += said
        why = "" if workers else f"Parsl has no workers yet ({', '.join(states) or 'no block was asked for so far'})"
        info = {"engine": "parsl", "executors": list(self._executors()), "workers": workers}
        return Health(why, slots, info)

    def _workers(self, executor: Any) -> tuple[int, list[str]]:
        """Workers that are there, and how its blocks are."""
        if threads := getattr(executor, "max_threads", 0):
            return int(threads), []
        asked = getattr(executor, "connected_managers", None)
        if asked is None:
            # It does not say: what it was given is with it.
            return 1, []
        try:
            managers = asked()
        except Exception as error:  # noqa: BLE001 - of its own command channel, which differs between versions
            return 0, [f"its interchange does not answer: {error}"]
        self._blocks.update({str(one.get("manager")): str(one.get("block_id")) for one in managers})
        workers = sum(int(one.get("worker_count", 0)) for one in managers if one.get("active", True))
        blocks = {} if workers else executor.status_facade
        return workers, [f"block {block}: {_state(state)}" for block, state in list(blocks.items())[:3]]

    def close(self) -> None:
        """See `Engine`."""
        if self._dfk is not None:
            gone = bool(self.dead())
            for one in self._executors().values() if gone else ():
                _abandon(one)
            dfk, self._dfk = self._dfk, None
            with contextlib.suppress(Exception):  # whatever its executors' ends raise, we end, too
                dfk.cleanup()


def _told(future: Future[Any], done: Done) -> None:
    error = future.exception()
    done(None if error is not None else future.result(), error)


def _dead(name: str, executor: Any) -> str:
    if getattr(executor, "bad_state_is_set", False):
        return f"Parsl's executor {name} gave up: {executor.executor_exception}"
    process = getattr(executor, "interchange_proc", None)
    if process is not None and process.poll() is not None:
        return f"Parsl's executor {name} lost its interchange (status {process.returncode})"
    return ""


def _abandon(executor: Any) -> None:
    """Its interchange is dead: whoever asked it would wait for ever. Its blocks are given back without it."""
    if (client := getattr(executor, "command_client", None)) is not None:
        client.ok = False
    _give_back_blocks(executor)


def _give_back_blocks(executor: Any) -> None:
    provider, jobs = getattr(executor, "provider", None), getattr(executor, "blocks_to_job_id", {})
    if provider is not None and jobs:
        with contextlib.suppress(Exception):  # of the scheduler's commands: the blocks end by themselves, later
            provider.cancel(list(jobs.values()))


def _slots(executor: Any) -> int:
    """Tasks that can run at once, at most."""
    if threads := getattr(executor, "max_threads", 0):
        return int(threads)
    provider = getattr(executor, "provider", None)
    nodes = provider.max_blocks * provider.nodes_per_block if provider is not None else 1
    each = getattr(executor, "workers_per_node", 1)
    if not math.isfinite(each) or each < 1:
        each = os.cpu_count() or 1
    return int(max(1, nodes) * each)


def _state(state: Any) -> str:
    said = f" ({state.message.strip()[:200]})" if getattr(state, "message", None) else ""
    return f"{state.state.name}{said}"
