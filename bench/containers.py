"""What a container costs, cold and warm: `make bench BENCH=containers`. It makes its images (a bare Python, and one
with the PACKAGES, preloaded), for Charliecloud and Podman. `python -m bench.containers IMAGE …` takes yours.

*cold*: from the submission of the first task of an image to its outcome. *first byte*: from the submission of a task to
the first byte of its output at home (the hub's acknowledgement, which comes later, is in it), the container warm; the
task is watched as a notebook watches its cell. *round*: a call and its value, one after the other. *after a worker
ended*: a round when the task before has ended its worker, so that one was or is forked. These go through a real hub and
endpoint. *new worker*: a session is asked of a manager, until its worker says that it is up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = "numpy,scipy,pandas,IPython"
ROUNDS = 60


class _Image(NamedTuple):
    label: str
    name: str
    preload: list[str]


def _speak() -> str:
    print("x", flush=True)
    return "done"


def _leave() -> None:
    import os

    os._exit(0)


def _tasks(image: str) -> dict[str, float]:
    import jupyter_fx as fx
    from jupyter_fx.errors import FxError
    from jupyter_fx.protocol.messages import EventKind, Resources, TaskOptions, Watch

    client = fx.connect()
    options = TaskOptions(resources=Resources(environment=image))
    found: dict[str, float] = {}
    begun = time.perf_counter()
    fx.remote(_speak, image=image).submit().result(120)
    found["cold s"] = time.perf_counter() - begun

    def first_byte() -> float:
        heard: list[float] = []

        def hear(event: Any) -> None:
            if event.kind == EventKind.STDOUT and not heard:
                heard.append(time.perf_counter())

        sent = time.perf_counter()
        client.submit_call(_speak, (), {}, options=options, watch=Watch.ALL, on_event=hear).result(30)
        return heard[0] - sent

    def rounds() -> float:
        begun = time.perf_counter()
        fx.remote(_speak, image=image).submit().result(30)
        return time.perf_counter() - begun

    found["first byte ms"] = 1000 * statistics.median(first_byte() for _ in range(ROUNDS))
    found["round ms"] = 1000 * statistics.median(rounds() for _ in range(ROUNDS))
    fresh: list[float] = []
    for _ in range(ROUNDS // 3):
        with contextlib.suppress(FxError):
            fx.remote(_leave, image=image).submit().result(30)
        fresh.append(rounds())
    found["after a worker ended ms"] = 1000 * statistics.median(fresh)
    return found


async def _workers(image: str, preload: list[str]) -> dict[str, float]:
    """A manager alone, in this process."""
    from jupyter_fx.endpoint.manager import Manager
    from jupyter_fx.endpoint.managerspec import ManagerSpec
    from jupyter_fx.endpoint.runtimes.settings import ContainerSpec
    from jupyter_fx.endpoint.talk import CloseWorker, OpenWorker, SessionGone, SessionUp
    from jupyter_fx.ids import new_id

    said: asyncio.Queue[Any] = asyncio.Queue()
    with tempfile.TemporaryDirectory(prefix="fxm") as folder:
        spec = ManagerSpec(
            folder=folder, slots=2, env=dict(os.environ), containers=ContainerSpec(preload={"*": preload})
        )
        manager = Manager(spec, said.put_nowait, asyncio.get_running_loop())
        manager.start()
        times = []
        try:
            for _ in range(ROUNDS + 1):
                session = new_id()
                begun = time.perf_counter()
                manager.receive(OpenWorker(session, "", environment=image))
                while type(await asyncio.wait_for(said.get(), 120)) is not SessionUp:
                    pass
                times.append(time.perf_counter() - begun)
                manager.receive(CloseWorker(session, "measured", kill=True))
                while type(await asyncio.wait_for(said.get(), 30)) is not SessionGone:
                    pass
        finally:
            manager.close()
    warm = sorted(times[1:])
    return {"new worker p50 ms": 1000 * statistics.median(warm), "p90 ms": 1000 * warm[len(warm) * 9 // 10]}


def _measure(image: _Image) -> dict[str, float]:
    """In directories of its own."""
    from jupyter_fx import embedded

    with tempfile.TemporaryDirectory(prefix="fxb") as folder:
        for name in ("RUNTIME", "STATE", "CONFIG"):
            place = Path(folder, name.lower())
            place.mkdir(mode=0o700)
            os.environ[f"JUPYTER_FX_{name}_DIR"] = str(place)
        config = Path(folder, "config", "endpoints", "local")
        config.mkdir(parents=True, mode=0o700)
        (config / "config.py").write_text(f"c = get_config()\nc.Containers.preload = {{'*': {image.preload!r}}}\n")
        embedded.find_hub()
        try:
            found = _tasks(image.name)
        finally:
            embedded.stop_endpoint()
            embedded.stop_hub()
    return found | asyncio.run(_workers(image.name, image.preload))


@contextlib.contextmanager
def _made(packages: list[str]) -> Iterator[list[_Image]]:
    """A bare image and one with these packages, for each runtime that is here."""
    python = next((one for one in ("/usr/bin/python3",) if Path(one).exists()), sys.executable)
    found, names = [], []
    with tempfile.TemporaryDirectory(prefix="fximages") as top:
        try:
            for label, wanted in (("bare", []), ("preloaded", packages)):
                if label == "preloaded" and not wanted:
                    continue
                folder = Path(top, label)
                folder.mkdir()
                env = {**os.environ, "PYTHON": python, "PIPPYTHON": sys.executable}
                subprocess.run([ROOT / "tests/testbed/image-build", folder, *wanted], env=env, check=True)
                if shutil.which("ch-run"):
                    found.append(_Image(f"Charliecloud, {label}", f"charliecloud:{folder}/rootfs", wanted))
                if shutil.which("podman"):
                    name = f"localhost/jupyter-fx-bench:{uuid.uuid4().hex[:8]}"
                    subprocess.run(["podman", "import", "--quiet", folder / "image.tar", name], check=True)
                    names.append(name)
                    found.append(_Image(f"Podman, {label}", name, wanted))
            yield found
        finally:
            for name in names:
                subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=False)


def main() -> None:
    """Measure each image; a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", nargs="*")
    parser.add_argument("--packages", default=PACKAGES, help="what the second image has; empty: there is none")
    parser.add_argument("--preload", default="", help="modules that your images import in advance, with commas")
    parser.add_argument("--json", action="store_true", help="of the first image alone, as data")
    asked = parser.parse_args()
    preload = [name for name in asked.preload.split(",") if name]
    with contextlib.ExitStack() as stack:
        images = [_Image(name, name, preload) for name in asked.images]
        images = images or stack.enter_context(_made([name for name in asked.packages.split(",") if name]))
        if asked.json:
            print(json.dumps(_measure(images[0])))
            return
        head = False
        for image in images:
            # In a process of its own: a client stays with its hub.
            command = [
                sys.executable,
                "-m",
                "bench.containers",
                "--json",
                "--preload",
                ",".join(image.preload),
                image.name,
            ]
            ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
            found = json.loads(ran.stdout.splitlines()[-1])
            if not head:
                print("| | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found))
                head = True
            print(f"| {image.label} | " + " | ".join(f"{value:.1f}" for value in found.values()) + " |", flush=True)
        print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
