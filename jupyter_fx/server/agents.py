"""Agents: the endpoints of this machine, made, started and stopped for the panel by the functions of the command line.

Everything here may wait for processes, schedulers and disks: it is called on threads. The endpoint's modules are loaded
at the first use; where they cannot be (they need fork and fcntl), it is said so.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jupyter_fx import paths
from jupyter_fx.errors import FxError, UsageError

if TYPE_CHECKING:
    from jupyter_fx.endpoint.scheduler import Offer

__all__ = ["Agents", "WrongValues"]

OFFER_FOR: Final = 60.0
"""Seconds for which what a scheduler told is not asked again."""
Values = Mapping[str, Mapping[str, Any]]


class WrongValues(UsageError):
    """Some settings are wrong."""


def _row(name: str) -> dict[str, Any]:
    return {"name": name, "endpoint_id": "", "hub": "", "running": False, "ssh": "", "last": ""}


class Agents:
    """`clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offer: Offer | None = None
        self._asked = float("-inf")
        self._refused = ""
        self._asking = threading.Lock()

    def here(self) -> list[dict[str, Any]]:
        """[{name, endpoint_id, hub, running, ssh, last}]: `ssh` is the host that it runs on, "" for this one; `last` is
        the end of the log of one that does not run."""
        try:
            from jupyter_fx.endpoint import launch
            from jupyter_fx.endpoint.ssh import record
        except ImportError:
            return []
        found = []
        for name in launch.names():
            row = _row(name)
            try:
                told = launch.status(name)
                row |= {"endpoint_id": told["endpoint_id"], "hub": told["hub"], "running": bool(told["pid"])}
                row["last"] = "" if row["running"] else told["last"]
            except UsageError:
                continue  # deleted meanwhile
            except (FxError, OSError, msgspec.MsgspecError, KeyError) as error:
                row["last"] = (
                    f"what is kept of it in {paths.endpoint_dir(name)} is damaged ({error}): remove that directory and "
                    "make the endpoint again"
                )
            found.append(row)
        for name in record.names():
            row = _row(name)
            try:
                kept = record.load(paths.endpoint_dir(name))
                row["ssh"] = kept.host if kept is not None else ""
            except FxError as error:
                row |= {"ssh": "?", "last": error.message}
            found.append(row)
        return found

    def form(self, name: str = "") -> dict[str, Any]:
        """{schema, values, fitting, slurm, problem}: the values are those of the endpoint `name`, else what is so by
        itself; `fitting` what to begin with, by provider; `slurm` is what it offers, null where there is none;
        `problem` says why it could not be asked."""
        self._can()
        from jupyter_fx.endpoint import configfile, launch, scheduler, schema
        from jupyter_fx.endpoint.settings import config_path

        known = schema.schema()
        if name:
            launch.known(name)
            values = configfile.values_of(config_path(name))
        else:
            fields = {section: found["properties"] for section, found in known["properties"].items()}
            values = {s: {key: field["default"] for key, field in found.items()} for s, found in fields.items()}
        offer = self._slurm()
        told = None if offer is None else scheduler.described(offer)
        return {
            "schema": known,
            "values": values,
            "fitting": scheduler.beginnings(offer),
            "slurm": told,
            "problem": self._refused,
        }

    def problems(self, values: Values, name: str = "") -> dict[str, str]:
        """What is wrong, by field; of a new endpoint its `name` too."""
        self._can()
        from jupyter_fx.endpoint import schema

        found = schema.problems(values, self._slurm())
        if name:
            from jupyter_fx.endpoint import launch
            from jupyter_fx.ids import check_name

            try:
                check_name(name, "name of an endpoint")
                if name in launch.names():
                    found["name"] = f"there is an endpoint {name!r} on this machine already"
            except UsageError as error:
                found["name"] = error.message
        return found

    def create(self, name: str, values: Values, invite: Callable[[], tuple[str, str]]) -> None:
        """Make an endpoint. WrongValues, whose details are `problems`, when that cannot be."""
        self._refuse(self.problems(values, name or " "))
        from jupyter_fx.endpoint import scheduler, schema, setup

        offer = self._slurm()
        slurm = offer is not None and values.get("Blocks", {}).get("provider") == "slurm"
        told = scheduler.comments(offer) if offer is not None and slurm else []
        setup.create(name, schema.given(values), told, invite)

    def configure(self, name: str, values: Values) -> bool:
        """Change the settings of one that there is; whether there was a change. WrongValues as `create`."""
        self._refuse(self.problems(values))
        from jupyter_fx.endpoint import configfile, launch
        from jupyter_fx.endpoint.settings import config_path

        launch.known(name)
        return configfile.change(config_path(name), values)

    def start(self, name: str) -> None:
        """Start an agent that is not running. InfrastructureError, whose details have the end of its `log`."""
        self._can()
        from jupyter_fx.endpoint import launch

        launch.start(name)

    def stop(self, name: str, *, for_good: bool = True) -> bool:
        """Stop it; whether it was running."""
        self._can()
        from jupyter_fx.endpoint import launch

        return launch.stop(name, for_good=for_good)

    def delete(self, name: str) -> None:
        """Stop it and remove everything that it has on this machine."""
        self.stop(name)
        from jupyter_fx.endpoint import launch

        launch.delete(name)

    def running(self, name: str) -> bool:
        """Whether its agent lives."""
        self._can()
        from jupyter_fx.endpoint import launch

        return bool(launch.running(launch.known(name)))

    def log(self, name: str, lines: int = 20) -> list[str]:
        """The end of its log."""
        self._can()
        from jupyter_fx.endpoint import launch

        launch.known(name)
        return launch.last_lines(name, lines)

    def _refuse(self, problems: dict[str, str]) -> None:
        if problems:
            field, sentence = next(iter(problems.items()))
            raise WrongValues(f"{field}: {sentence}", problems=problems)

    def _can(self) -> None:
        try:
            import jupyter_fx.endpoint.launch  # noqa: F401 it is the import that is tried
        except ImportError as error:
            raise UsageError(
                f"endpoints are made and run on Linux (this system has no {error.name}): do it there, with "
                "`jupyter fx endpoint configure`"
            ) from error

    def _slurm(self) -> Offer | None:
        """What Slurm offers; None where there is no Slurm, or where it does not answer."""
        if shutil.which("sinfo") is None:
            return None
        from jupyter_fx.endpoint import scheduler

        with self._asking:  # a scheduler that is slow is not asked once more by each key that is pressed meanwhile
            if self._clock() - self._asked >= OFFER_FOR:
                try:
                    self._offer, self._refused = scheduler.ask_slurm(), ""
                except FxError as error:
                    self._offer, self._refused = None, error.message
                self._asked = self._clock()
            return self._offer
