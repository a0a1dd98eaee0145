"""What a container costs, cold and warm: `python -m bench.containers IMAGE [IMAGE …]`, through a real hub and endpoint.

*cold*: from the submission of the first task of an image to its outcome. *first byte*: from the
submission of a task (so its acknowledgement, which comes later, is in it) to the first byte of its output at home, the
container warm; the task is watched as a notebook watches its cell. *round*: a call and its value, one after the other.
*after a worker ended*: a round when the task before has ended its worker, so that one was or is forked.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 60


def _speak() -> str:
    print("x", flush=True)
    return "done"


def _leave() -> None:
    import os

    os._exit(0)


def _measure(image: str) -> dict[str, float]:
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

    found["first byte p50 ms"] = 1000 * statistics.median(first_byte() for _ in range(ROUNDS))
    found["round p50 ms"] = 1000 * statistics.median(rounds() for _ in range(ROUNDS))
    fresh: list[float] = []
    for _ in range(ROUNDS // 3):
        with contextlib.suppress(FxError):
            fx.remote(_leave, image=image).submit().result(30)
        fresh.append(rounds())
    found["after a worker ended p50 ms"] = 1000 * statistics.median(fresh)
    return found


def main() -> None:
    """Measure each image in directories of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--preload", default="", help="modules imported in advance, with commas")
    asked = parser.parse_args()
    from jupyter_fx import embedded

    with tempfile.TemporaryDirectory(prefix="fxb") as folder:
        for name in ("RUNTIME", "STATE", "CONFIG"):
            place = Path(folder, name.lower())
            place.mkdir(mode=0o700)
            os.environ[f"JUPYTER_FX_{name}_DIR"] = str(place)
        config = Path(folder, "config", "endpoints", "local")
        config.mkdir(parents=True, mode=0o700)
        modules = [name for name in asked.preload.split(",") if name]
        (config / "config.py").write_text(f"c = get_config()\nc.Containers.preload = {{'*': {modules!r}}}\n")
        embedded.find_hub()
        try:
            for image in asked.images:
                told = ", ".join(f"{name} {value:.2f}" for name, value in _measure(image).items())
                print(f"{image}: {told}", flush=True)
        finally:
            embedded.stop_endpoint()
            embedded.stop_hub()


if __name__ == "__main__":
    main()
