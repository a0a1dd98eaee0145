"""Clients and agents at a real hub process: calls, stories and cancels, also when it is killed in between."""

from __future__ import annotations

import asyncio

import pytest
from hub_process import FakeAgent, FakeClient, HubProcess, another, enrol, until

from jupyter_fx.errors import FxError, UsageError
from jupyter_fx.protocol.messages import Attach, Cancel

pytestmark = pytest.mark.timeout(240)


def test_a_call_goes_there_and_its_result_comes_back(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        agent = FakeAgent(hub.address, await enrol(hub, client))
        client.functions()
        ids = client.submit(300)
        await client.wait(ids)
        assert [client.outcomes[t].payload for t in ids] == [b"%d" % n for n in range(300)]
        assert set(agent.started.values()) == {1}
        await until(lambda: client.peer.link.unacked_count == 0 and agent.peer.link.unacked_count == 0)
        info = await client.peer.request("tasks.get", {"task_id": ids[0][-12:]})
        assert (info["state"], info["endpoint"], info["why"]) == ("SUCCEEDED", "local", "")
        floating = client.submit(3, endpoint="")
        lost = client.submit(1, endpoint="polari")
        await client.wait(floating + lost)
        assert "nearest: local" in client.rejected[lost[0]].message
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())
    assert hub.stop() == 0
    assert not (hub.folder / "r" / "hub.json").exists()
    assert not (hub.folder / "r" / "hub.sock").exists()


def test_kill_9_in_the_middle_loses_nothing_and_starts_nothing_twice(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        agent = FakeAgent(hub.address, await enrol(hub, client))
        client.functions()
        ids: list[str] = []
        for _ in range(3):
            for _ in range(10):
                ids += client.submit(50)
                await asyncio.sleep(0.002)
            await another(hub, client, agent)
            client.peer.send(Attach([(t, 0, 0) for t in ids if t not in client.outcomes]))
        await until(lambda: client.peer.link.unacked_count == 0)
        client.peer.send(Attach([(t, 0, 0) for t in ids if t not in client.outcomes]))
        await client.wait(ids, 30)
        assert not client.twice
        assert not client.rejected
        assert len(agent.started) == len(ids)
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())


def test_a_story_is_replayed_from_any_number_and_goes_on_live(hub: HubProcess) -> None:
    async def story() -> None:
        first = FakeClient(hub.address)
        agent = FakeAgent(hub.address, await enrol(hub, first))
        agent.silent = True
        first.functions()
        (task_id,) = first.submit(watch=2)
        await until(lambda: task_id in agent.leased)
        agent.output(task_id, 0, b"one\n")
        agent.output(task_id, 1, b"two\n")
        await until(lambda: sum(e.kind == 1 for e in first.events) == 2)
        first.peer.close()
        await another(hub, agent)
        second = FakeClient(hub.address)
        await until(lambda: second.peer.is_open)
        second.peer.send(Attach([(task_id, 0, 2)]))
        await until(lambda: sum(e.kind == 1 for e in second.events) == 2)
        agent.output(task_id, 1, b"two\n")
        agent.output(task_id, 2, b"three\n")
        agent.finish([task_id])
        await second.wait([task_id])
        numbers = [e.n for e in second.events]
        assert numbers == sorted(set(numbers))
        assert b"".join(e.data for e in second.events if e.kind == 1) == b"one\ntwo\nthree\n"
        log = await second.peer.request("tasks.log", {"task_id": task_id})
        assert log["text"] == "one\ntwo\nthree\n"
        second.peer.close()
        agent.peer.close()

    asyncio.run(story())


def test_cancel_waits_for_the_endpoint_or_happens_at_once(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        credential = await enrol(hub, client)
        client.functions()
        (queued,) = client.submit()
        await until(lambda: client.peer.link.unacked_count == 0)
        info = await client.peer.request("tasks.get", {"task_id": queued})
        assert "has just enrolled" in info["why"]
        client.peer.send(Cancel([queued], 0, "not needed"), keep=True)
        await client.wait([queued])
        assert client.outcomes[queued].state == 12
        agent = FakeAgent(hub.address, credential)
        agent.silent = True
        (held,) = client.submit()
        await until(lambda: held in agent.leased)
        assert (await client.peer.request("tasks.cancel", {"task_ids": [held]})) == {"cancelled": 1}
        await client.wait([held])
        assert client.outcomes[held].state == 12
        assert [t for t, _ in agent.cancels] == [held]
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())


def test_a_second_agent_for_one_endpoint_is_refused_by_name(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.address)
        credential = await enrol(hub, client)
        first = FakeAgent(hub.address, credential)
        await first.peer.opened(5)
        second = FakeAgent(hub.address, credential)
        with pytest.raises(UsageError, match="endpoint local is already served by pid 4711 on here"):
            await second.peer.opened(5)
        await client.peer.request("endpoints.delete", {"name": "local"})
        with pytest.raises(UsageError, match="no endpoint 'local'"):
            await client.peer.request("endpoints.get", {"name": "local"})
        await until(lambda: not first.peer.is_open)
        client.peer.close()

    asyncio.run(story())


def test_a_websocket_client_with_the_token_is_served_and_one_without_is_not(hub: HubProcess) -> None:
    async def story() -> None:
        client = FakeClient(hub.told["url"], token=hub.told["token"])
        await client.peer.opened(5)
        assert (await client.peer.request("whoami"))["hub_boot"] == 1
        credential = await enrol(hub, FakeClient(hub.address))
        agent = FakeAgent(hub.told["url"], credential)
        await agent.peer.opened(5)
        client.functions()
        ids = client.submit(20)
        await client.wait(ids)
        for token in ("jfx_wrong", ""):
            stranger = FakeClient(hub.told["url"], token=token)
            with pytest.raises(FxError):
                await stranger.peer.opened(5)
            stranger.peer.close()
        client.peer.close()
        agent.peer.close()

    asyncio.run(story())
