"""The agent's program: `python -m jupyter_fx.endpoint.main NAME [--hub ADDRESS] [--code-stdin]`.

An enrolment code comes on standard input (one line), in the file named by `--code-file`, or in `JUPYTER_FX_CODE`; never
as an argument, for arguments are everybody's to read.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
from pathlib import Path

from jupyter_fx import paths
from jupyter_fx.endpoint import identity as who
from jupyter_fx.endpoint.agent import Agent
from jupyter_fx.endpoint.engines.link import check as check_engine
from jupyter_fx.endpoint.interpreter import check_python
from jupyter_fx.endpoint.provisioning import provision
from jupyter_fx.endpoint.settings import config_path, load_blocks, load_settings
from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.ids import check_name
from jupyter_fx.processes import keep_memory

__all__ = ["main", "serve"]


async def serve(
    name: str, *, hub: str = "", code: str = "", workers: int = 0, idle_stop: float = 0.0, umask: int = -1
) -> int:
    """Enrol if there is a code and no identity yet, then serve; the exit status.

    `umask`: what user code starts with; -1: ours.
    """
    home = paths.endpoint_dir(check_name(name, "name of an endpoint"))
    overrides: dict[str, object] = {}
    if workers:
        overrides["workers"] = workers
    if idle_stop:
        overrides["idle_stop_seconds"] = idle_stop
    settings = load_settings(config_path(name), **overrides)
    if settings.python:
        settings.python = check_python(settings.python, config_path(name))
    # Before the lock: whoever waits for the agent to come up hears what is wrong with its settings.
    blocks = load_blocks(config_path(name))
    check_engine(settings, blocks)
    nodes = await provision(home, settings, blocks)
    with who.locked(home, name):
        found = who.load(home)
        if code:
            address = hub or settings.hub or (found.hub if found else "")
            if not address:
                raise UsageError("an enrolment code is for one hub: say which with --hub ADDRESS")
            found = await who.enrol(address, name, code)
            who.save(home, found)
        if found is None:
            how = f"jupyter fx endpoint configure {name} --hub ADDRESS"
            raise UsageError(f"endpoint {name} is not enrolled: {how}, with a code of that hub")
        if hub and hub != found.hub:
            found.hub = hub
            who.save(home, found)
        return await Agent(home, found, settings, umask=umask, nodes=nodes).run()


def _code(args: argparse.Namespace) -> str:
    if args.code_stdin:
        return sys.stdin.readline().strip()
    if args.code_file:
        return Path(args.code_file).read_text().strip()
    return os.environ.pop("JUPYTER_FX_CODE", "").strip()


def main(argv: list[str] | None = None) -> int:
    """Run an endpoint's agent in this process."""
    parser = argparse.ArgumentParser(prog="jupyter fx endpoint run")
    parser.add_argument("name")
    parser.add_argument("--hub", default="")
    parser.add_argument("--code-stdin", action="store_true")
    parser.add_argument("--code-file", default="")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--idle-stop", type=float, default=0.0)
    parser.add_argument("--log-level", default="INFO")
    args = parser.parse_args(argv)
    logging.basicConfig(level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What the agent makes is nobody else's to read; user code keeps the mask that its owner chose.
    umask = os.umask(0o077)
    # Ten thousand held tasks make collections slow, and nothing here makes cycles in a hurry.
    keep_memory()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    try:
        return asyncio.run(
            serve(
                args.name,
                hub=args.hub,
                code=_code(args),
                workers=args.workers,
                idle_stop=args.idle_stop,
                umask=umask,
            )
        )
    except FxError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
