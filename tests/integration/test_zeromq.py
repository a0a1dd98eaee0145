"""Links over ZeroMQ: keys, managers that vanish, agents that are restarted."""

from __future__ import annotations

import asyncio

import pytest
import zmq as libzmq

from jupyter_fx.errors import AuthError, UsageError
from jupyter_fx.protocol.limits import FRAME_MAX
from jupyter_fx.protocol.messages import Detach
from jupyter_fx.transport import connect, zmq
from tests.integration.transport_ends import (
    Client,
    Hub,
    converse,
    run,
    until,
)


def test_an_admitted_key_converses_and_others_do_not_get_in() -> None:
    async def story() -> None:
        agent, manager, stranger = zmq.new_keys(), zmq.new_keys(), zmq.new_keys()
        hub = Hub()
        server = zmq.ZmqServer(
            "tcp://127.0.0.1:*", keys=agent, admit={manager[0]}.__contains__, on_channel=hub.on_channel
        )
        try:
            with pytest.raises(AuthError, match="does not admit this key"):
                await connect(server.address, server_key=agent[0], keys=stranger, timeout=5)
            with pytest.raises(AuthError, match="another one than expected"):
                await connect(server.address, server_key=stranger[0], keys=manager, timeout=5)
            plain: libzmq.Socket[bytes] = libzmq.Context.instance().socket(libzmq.DEALER)
            plain.connect(server.address)
            plain.send(b"hello")
            client = Client(server.address, server_key=agent[0], keys=manager)
            await converse(client)
            plain.close(linger=0)
            assert [served.peer["key"] for served in hub.served] == [manager[0]]
            client.peer.close()
            await until(lambda: hub.closed)
        finally:
            server.close()

    run(story)


def test_the_agent_hears_at_once_of_a_manager_that_vanishes() -> None:
    async def story() -> None:
        agent, manager = zmq.new_keys(), zmq.new_keys()
        hub = Hub()
        server = zmq.ZmqServer("tcp://127.0.0.1:*", keys=agent, admit=lambda _: True, on_channel=hub.on_channel)
        stays = Client(server.address, server_key=agent[0], keys=manager)
        await stays.peer.opened(10)
        vanishes = Client(server.address, server_key=agent[0], keys=manager)
        await vanishes.peer.opened(10)
        assert vanishes.peer.channel is not None
        vanishes.peer.channel.abort()
        await until(lambda: hub.closed)
        assert [served.is_open for served in hub.served[:2]] == [True, False]
        await until(lambda: vanishes.opens == 2)
        assert hub.served[2].is_open
        stays.peer.close()
        vanishes.peer.close()
        server.close()

    run(story)


def test_an_oversized_message_ends_a_zeromq_connection() -> None:
    async def story() -> None:
        agent, manager = zmq.new_keys(), zmq.new_keys()
        hub = Hub()
        server = zmq.ZmqServer("tcp://127.0.0.1:*", keys=agent, admit=lambda _: True, on_channel=hub.on_channel)
        channel = await connect(server.address, server_key=agent[0], keys=manager)
        gone = asyncio.get_running_loop().create_future()
        channel.on_closed = gone.set_result
        channel.start()
        channel.write([bytes(FRAME_MAX + 1000)])
        await gone
        assert hub.served == []
        server.close()

    run(story)


def test_a_manager_comes_back_to_a_restarted_agent_and_delivers_again() -> None:
    async def story() -> None:
        agent, manager = zmq.new_keys(), zmq.new_keys()
        first, second = Hub(ack=False), Hub()
        server = zmq.ZmqServer("tcp://127.0.0.1:*", keys=agent, admit=lambda _: True, on_channel=first.on_channel)
        client = Client(server.address, server_key=agent[0], keys=manager)
        await client.peer.opened(10)
        client.peer.send(Detach(["kept"]), keep=True)
        await client.peer.request("whoami")
        address = server.address
        server.close()
        await until(lambda: client.lost)
        for _ in range(200):
            try:
                server = zmq.ZmqServer(address, keys=agent, admit=lambda _: True, on_channel=second.on_channel)
                break
            except libzmq.ZMQError:
                await asyncio.sleep(0.02)
        await client.all_acked()
        assert first.kept == second.kept == [(1, Detach(["kept"]))]
        client.peer.close()
        first.end()
        server.close()

    run(story)


def test_an_address_that_means_nothing_is_a_usage_error() -> None:
    async def story() -> None:
        for address in ("", "hub", "ftp://hub", "polaris:/x"):
            with pytest.raises(UsageError, match="no address"):
                await connect(address)

    run(story)
