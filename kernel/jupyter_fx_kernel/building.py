"""`%fx use NAME --env FILE`: the environment or image of a file is built there, its log live under the cell."""

from __future__ import annotations

import time
from pathlib import Path

from jupyter_fx.client import specs as builds
from jupyter_fx.payload import specs
from jupyter_fx.protocol.lifecycle import TaskState
from jupyter_fx.protocol.messages import CancelMode
from jupyter_fx_kernel.card import Card
from jupyter_fx_kernel.endings import ending
from jupyter_fx_kernel.running import Follower
from jupyter_fx_kernel.screens import is_rich
from jupyter_fx_kernel.session import Notebook

__all__ = ["build"]


def build(notebook: Notebook, endpoint: str, file: str) -> str:
    """Its name, once it is there. UsageError says why it cannot be built."""
    client, shell, recipe = notebook.client, notebook.shell, specs.recipe(file)
    name = recipe.name
    if builds.is_built(client, endpoint, name):
        return name
    task_id = builds.begin(client, recipe, file, endpoint).task_id
    client.flush()
    card = Card(task_id, endpoint, kind="call", name=f"build {Path(file).name}", submitted=time.time(), state="queued")
    follower = Follower(shell, card, rich=is_rich(shell), mark="-build")
    listener = client.attach(task_id, on_event=follower.put)
    listener.add_done_callback(follower.finish)
    follower.ask = lambda: str(listener.why)
    if not follower.follow(lambda: client.cancel([task_id], CancelMode.CANCEL, "you interrupted it")):
        listener.leave()
        raise KeyboardInterrupt
    follower.outputs.after_result(shown=False)
    outcome = listener.outcome
    state = TaskState(outcome.state).name.lower() if outcome is not None else "failed"
    follower.end(outcome, state, ending(outcome) if outcome is not None else "")
    if listener.cancelled():
        raise KeyboardInterrupt
    if (error := listener.exception()) is not None:
        raise builds.failed(recipe, file, task_id, error)
    builds.note_built(client, endpoint, name)
    return name
