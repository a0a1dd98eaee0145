"""The promises of delivery, on real processes that are killed and links that are cut."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from chaos import CutLinks, History, KillAgent, KillHub, KillWorkers, Repeatedly, Site, until

from jupyter_fx.client import core as client_core
from jupyter_fx.errors import TaskLost, TaskPoisoned, UsageError, WorkerLost
from jupyter_fx.ids import new_id
from jupyter_fx.payload import encode_args
from jupyter_fx.protocol.lifecycle import SessionState, TaskState
from jupyter_fx.protocol.messages import Event, EventKind, SessionSpec, Watch
from jupyter_fx.transport import Peer
from jupyter_fx_worker import envelope

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it kills what Linux starts")
both_managers = pytest.mark.parametrize("manager", ["inline", "process"])


# The hub.


@pytest.mark.slow
def test_ten_thousand_tasks_while_the_hub_is_killed_every_two_seconds() -> None:
    with Site() as site:
        client = site.up()
        history = History(site)
        with Repeatedly(KillHub(site), 2.0) as kills:
            for number in range(10_000):
                history.submit(client, str(number), 0.001)
                if number % 250 == 249:
                    time.sleep(0.2)
            history.drain(client)
            until(lambda: kills.times >= 5, "five kills")
        assert history.check(90.0) == {"SUCCEEDED": 10_000}
        assert len(history.acknowledged) == 10_000


def test_calls_that_block_do_not_notice_that_the_hub_was_killed() -> None:
    with Site() as site:
        client = site.up()
        history = History(site)
        asked = Counter[str]()
        stop = threading.Event()
        failures: list[BaseException] = []

        def ask() -> None:
            try:
                while not stop.is_set():
                    assert client.request("whoami")["user"]
                    assert len(client.request("endpoints.list")) == 1
                    asked["requests"] += 1
            except BaseException as error:
                failures.append(error)

        def call() -> None:
            try:
                while not stop.is_set():
                    key = f"call {asked['calls']}"
                    assert history.submit(client, key, 0.2).result(60) == key
                    asked["calls"] += 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=ask), threading.Thread(target=call)]
        with Repeatedly(KillHub(site), 1.5) as kills:
            for thread in threads:
                thread.start()
            until(lambda: kills.times >= 3 or failures, "three kills")
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not failures, failures
        assert asked["requests"] > 3
        assert asked["calls"] > 3
        history.drain(client)
        assert history.check().keys() == {"SUCCEEDED"}


# The agent.


def test_an_agent_that_is_killed_again_and_again_starts_nothing_twice() -> None:
    with Site() as site:
        client = site.up()
        history = History(site)
        with Repeatedly(KillAgent(site), 2.0) as kills:
            for number in range(250):
                history.submit(client, f"once-{number}", 0.02)
                history.submit(client, f"again-{number}", 0.02, retries=20)
            history.drain(client)
            until(lambda: kills.times >= 3, "three kills")
        ended = history.check()
        starts = history.starts()
        lost = [deed for deed in history.deeds.values() if deed.future.outcome.state == TaskState.LOST]
        assert sum(ended.values()) == 500
        assert ended.keys() <= {"SUCCEEDED", "LOST"}
        # Only what was, or was about to be, in the hands of a worker can be in doubt: a few per kill.
        assert all(deed.key.startswith("once") for deed in lost)
        assert len(lost) <= 100, ended
        assert all("whether it ended cannot be known" in str(deed.future.exception()) for deed in lost)
        assert all(starts[f"once-{number}"] <= 1 for number in range(250))


def test_a_managers_process_carries_its_tasks_over_the_agents_death() -> None:
    with Site(manager="process") as site:
        client = site.up()
        history = History(site)
        with Repeatedly(KillAgent(site), 1.5) as kills:
            for number in range(400):
                history.submit(client, str(number), 0.02)
            history.drain(client)
            until(lambda: kills.times >= 3, "three kills")
        assert history.check() == {"SUCCEEDED": 400}


def test_a_function_larger_than_a_frame_reaches_a_managers_process_and_its_next_agent() -> None:
    ballast = random.Random(1).randbytes(3_000_000)

    def heavy(number: int) -> int:
        return len(ballast) + number

    with Site(manager="process") as site:
        client = site.up()
        assert client.submit(heavy, 1).result(60) == 3_000_001
        site.agent.kill()
        site.agent.start()
        futures = [client.submit(heavy, number) for number in range(20)]
        assert [future.result(60) for future in futures] == [3_000_000 + number for number in range(20)]


@both_managers
def test_results_that_the_hub_never_got_outlive_the_agent(manager: str) -> None:
    with Site(manager=manager) as site:
        client = site.up()
        history = History(site)
        for number in range(60):
            history.submit(client, str(number), 0.04)
        history.drain(client)
        until(lambda: len(history.starts()) > 10, "the first starts")
        site.hub.kill()
        seen = -1
        while seen != (seen := sum(history.starts().values())):
            time.sleep(0.5)
        assert seen < 60
        site.agent.kill()
        site.start_hub()
        site.agent.start()
        assert history.check() == {"SUCCEEDED": 60}


@pytest.mark.parametrize(("manager", "hub"), [("inline", "there"), ("inline", "away"), ("process", "away")])
def test_an_agent_that_is_stopped_gives_back_what_it_had_not_begun(manager: str, hub: str) -> None:
    with Site(manager=manager) as site:
        client = site.up()
        history = History(site)
        for number in range(60):
            # The first ones are short, so that much is prefetched (with its START written) when it stops.
            history.submit(client, str(number), 0.0 if number < 20 else 0.1)
        history.drain(client)
        until(lambda: len(history.starts()) > 24, "the long ones")
        if hub == "away":
            site.hub.kill()
        site.agent.stop()
        assert len(history.starts()) < 60
        if hub == "away":
            site.start_hub()
        site.agent.start()
        assert history.check() == {"SUCCEEDED": 60}
        assert history.starts().total() == 60


# Workers.


@both_managers
def test_a_crash_is_named_and_others_are_untouched(manager: str) -> None:
    with Site(manager=manager) as site:
        client = site.up()
        history = History(site)
        assert history.submit(client, "warm").result(60) == "warm"
        crashes = {"segfault": ("signal", "SIGSEGV"), "exit": ("exit_code", 7), "kill": ("signal", "SIGKILL")}
        for how, (detail, value) in crashes.items():
            # They take long enough not to share a worker with others' finished results.
            history.submit(client, f"before {how}", 0.3)
            future = history.submit(client, how, 0.05, kill=how)
            history.submit(client, f"after {how}", 0.05)
            error = future.exception(60)
            assert isinstance(error, WorkerLost), error
            assert error.details[detail] == value
        history.drain(client)
        assert history.check() == {"SUCCEEDED": 7, "LOST": 3}
        assert history.starts().total() == 10


def test_a_poison_task_among_five_hundred_is_given_up_after_three() -> None:
    with Site() as site:
        client = site.up()
        history = History(site)
        for number in range(500):
            if number == 250:
                history.submit(client, "poison", kill="kill", retries=10)
            history.submit(client, str(number), retries=5)
        history.drain(client)
        assert history.check() == {"SUCCEEDED": 500, "POISONED": 1}
        assert history.starts()["poison"] == 3
        assert isinstance(history.deeds["poison"].future.exception(), TaskPoisoned)


def test_workers_that_are_shot_at_random_take_only_what_they_had_in_hand() -> None:
    with Site() as site:
        client = site.up()
        history = History(site)
        with Repeatedly(KillWorkers(site), 0.4) as kills:
            for number in range(500):
                history.submit(client, str(number), 0.01)
            history.drain(client)
            until(lambda: kills.times >= 6, "six kills")
        ended = history.check()
        assert ended.keys() <= {"SUCCEEDED", "LOST"}
        for deed in history.deeds.values():
            error = deed.future.exception()
            if error is not None:
                assert isinstance(error, WorkerLost | TaskLost)
                assert "SIGKILL" in str(error)
        assert ended["LOST"] <= 3 * kills.times, ended


# Clients and links.


CLIENT = """
import sys, time
from chaos import History, Site  # noqa
from jupyter_fx.client import HubClient
address, starts, told = sys.argv[1:]
from chaos import _make_work
work = _make_work(starts)
client = HubClient(address, endpoint="box")
for batch in range(1000):
    futures = [(f"{batch}-{n}", client.submit(work, f"{batch}-{n}", 0.005)) for n in range(20)]
    assert client.drain(60)
    with open(told, "a") as file:
        file.write("".join(f"{key} {future.task_id}\\n" for key, future in futures))
    time.sleep(0.02)
"""
ATTACHING = """
import json, sys
import jupyter_fx as fx
found = {}
for line in open(sys.argv[1]).read().splitlines():
    key, task_id = line.split(" ")
    found[key] = fx.attach(task_id).result(60)
print(json.dumps(found))
"""


def test_a_client_that_is_killed_is_succeeded_by_a_process_that_attaches() -> None:
    with Site() as site:
        client = site.up()
        history = History(site)
        told = site.top / "told"
        env = {**site.env, "JUPYTER_FX_HUB": site.address, "PYTHONPATH": _python_path()}
        child = subprocess.Popen([sys.executable, "-c", CLIENT, site.address, str(history.path), str(told)], env=env)
        try:
            until(lambda: told.exists() and told.read_text().count("\n") >= 200, "200 acknowledged tasks")
        finally:
            child.kill()
            child.wait()
        KillHub(site)()
        site.online(client)
        acknowledged = dict(line.split(" ") for line in told.read_text().splitlines())
        made = subprocess.run(
            [sys.executable, "-c", ATTACHING, str(told)], env=env, capture_output=True, timeout=90, check=False
        )
        assert made.returncode == 0, made.stderr.decode()
        assert json.loads(made.stdout) == {key: key for key in acknowledged}
        # What was submitted and never acknowledged may have arrived: then it ran once, as everything.
        until(lambda: not client.request("tasks.list", {"state": "QUEUED"})["tasks"], "the rest")
        starts = history.starts()
        assert set(starts) >= set(acknowledged)
        assert set(starts.values()) == {1}


def _python_path() -> str:
    return ":".join([str(Path(__file__).parent), *[one for one in sys.path if one]])


@pytest.mark.parametrize("transport", ["unix", "websocket"])
def test_links_that_are_cut_lose_nothing_and_repeat_nothing(transport: str) -> None:
    with Site() as site:
        site.start_hub()
        direct = site.client()
        if transport == "unix":
            near, far = site.proxy(), site.proxy()
            site.start_agent(direct, f"unix:{far.listen}")
            client = site.client(f"unix:{near.listen}")
        else:
            file = site.hub_file()
            near, far = (site.proxy(int(file["url"].rsplit(":", 1)[1])) for _ in range(2))
            site.start_agent(direct, f"http://127.0.0.1:{far.port}")
            client = site.client(f"http://127.0.0.1:{near.port}", file["token"])
        history = History(site)
        faults = CutLinks([near, far])
        with Repeatedly(faults, 0.3) as cuts:
            for number in range(1000):
                history.submit(client, str(number), 0.003)
                if number % 50 == 49:
                    time.sleep(0.15)
            history.drain(client)
            until(lambda: cuts.times >= 8, "eight faults")
        assert history.check() == {"SUCCEEDED": 1000}
        assert near.connections + far.connections >= 6, faults.done


def test_a_half_open_link_is_noticed_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_core, "Peer", functools.partial(Peer, ping_interval=0.3, dead_after=1.0))
    with Site() as site:
        site.up()
        proxy = site.proxy()
        client = site.client(f"unix:{proxy.listen}")
        history = History(site)
        assert history.submit(client, "before").result(60) == "before"
        with proxy.blackholed():
            history.submit(client, "meanwhile")
            until(lambda: not client.connected, "the silence to be noticed")
        assert history.deeds["meanwhile"].future.result(60) == "meanwhile"
        history.drain(client)
        assert history.check() == {"SUCCEEDED": 2}


# Cancelling and repeating.


def test_when_cancel_races_the_result_everybody_sees_the_same_outcome() -> None:
    with Site() as site:
        client, other = site.up(), site.client()
        history = History(site)
        dice = random.Random(7)
        for number in range(400):
            future = history.submit(client, str(number), dice.choice([0.0, 0.002, 0.02]))
            if number % 8 == 7:
                time.sleep(dice.uniform(0.0, 0.03))
            for who in (client, other):
                if dice.random() < 0.7:
                    who.cancel([future.task_id])
            if number == 200:
                KillHub(site)()
        history.drain(client)
        assert other.drain(30)
        until(lambda: all(deed.future.done() for deed in history.deeds.values()), "all outcomes")
        told = {deed.future.task_id: deed.future.outcome.state for deed in history.deeds.values()}
        attached = {task_id: other.attach(task_id, watch=Watch.OUTCOME) for task_id in told}
        until(lambda: all(future.done() for future in attached.values()), "the same, asked for again")
        assert {task_id: future.outcome.state for task_id, future in attached.items()} == told
        ended = history.check()
        odd = [
            (deed.key, deed.future.outcome.error)
            for deed in history.deeds.values()
            if deed.future.outcome.state == TaskState.FAILED
        ]
        assert ended.keys() == {"SUCCEEDED", "CANCELLED"}, odd


def test_the_same_task_submitted_again_has_no_effect_and_another_one_under_its_id_is_refused() -> None:
    with Site() as site:
        client = site.up()
        history = History(site)
        first = history.submit(client, "one", 0.3)
        history.drain(client)

        def again(key: str, seconds: float) -> Any:
            fresh = site.client()
            prepared = fresh.prepare(history.work, encode_args((key, seconds), {}), task_id=first.task_id)
            for _ in range(3):
                fresh.push(prepared)
                fresh.flush()
            assert fresh.drain(30)
            return prepared[0]

        for restart in (False, True, False):
            if restart:
                KillHub(site)()
            assert again("one", 0.3).result(60) == "one"
            with pytest.raises(UsageError, match="used for another task"):
                again("two", 0.0).result(60)
        assert history.check() == {"SUCCEEDED": 1}
        assert history.starts() == {"one": 1}


# Sessions.


def _cell(source: str) -> bytes:
    how = {"source": source, "filename": "<fx-cell:test>", "count": 1, "want": [], "home_limit": 1 << 20}
    return b"".join(bytes(piece) for piece in envelope.dumps({}, "cell", **how))


def _story_is_whole(events: list[Event]) -> str:
    numbers = [event.n for event in events]
    assert numbers == list(range(len(numbers))), numbers
    return b"".join(event.data for event in events if event.kind == EventKind.STDOUT).decode()


def test_a_session_goes_on_while_the_hub_is_killed_and_its_output_is_told_once() -> None:
    with Site() as site:
        client = site.up()
        told: list[Any] = []
        spec = SessionSpec(new_id(), "box", new_id(), new_id())
        session = client.open_session(spec, on_event=told.append)
        client.submit_cell(session, _cell("import time\nx = 41")).result(60)
        assert session.state is SessionState.OPEN
        events: list[Event] = []
        source = "for i in range(80):\n    print(i, flush=True)\n    time.sleep(0.05)\nx += 1"
        running = client.submit_cell(session, _cell(source), on_event=events.append)
        queued: list[Event] = []
        until(lambda: any(event.kind == EventKind.STDOUT for event in events), "its first line")
        after = client.submit_cell(session, _cell("print('x is', x)"), on_event=queued.append)
        assert client.drain(30)
        for _ in range(2):
            KillHub(site)()
            time.sleep(0.5)
        assert running.result(60).state == TaskState.SUCCEEDED
        assert after.result(60).state == TaskState.SUCCEEDED
        assert History.log_is_a_prefix(_story_is_whole(events)) == 80
        assert _story_is_whole(queued) == "x is 42\n"
        later: list[Event] = []
        replayed = client.attach(running.task_id, on_event=later.append)
        replayed.result(60)
        assert History.log_is_a_prefix(_story_is_whole(later)) == 80
        assert not session.ended
