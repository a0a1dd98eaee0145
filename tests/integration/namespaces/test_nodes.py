"""Nodes without a way out, an agent with one way only, and people who have no business there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from facility import PORT, PROXY_PORT, Facility
from network import wait


def looks_out(targets: list[tuple[str, int]], path: str = "", enough: int = 0) -> dict[str, Any]:
    """Where it runs, and which of these answer from there. It stays until that file has so many marks, of which it
    makes one.
    """
    import socket

    found: dict[str, Any] = {"node": os.environ["SLURMD_NODENAME"], "pid": os.getpid(), "out": []}
    for host, port in targets:
        try:
            socket.create_connection((host, port), 0.4).close()
        except OSError as error:
            found["out"].append((host, type(error).__name__))
        else:
            found["out"].append((host, "open"))
    if path:
        with open(path, "a") as file:
            file.write("x")
        while Path(path).stat().st_size < enough:
            time.sleep(0.05)
    return found


def managers() -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline", "environ"])
    mark = os.environ["JUPYTER_FX_TEST_RUN"]
    return [
        one
        for one in found
        if "jupyter_fx.endpoint.manager_main" in (one.info["cmdline"] or ())
        and (one.info["environ"] or {}).get("JUPYTER_FX_TEST_RUN") == mark
    ]


def peers(pid: int) -> set[tuple[str, int]]:
    """The other ends of a process's TCP connections, in the namespace in which it is."""
    held = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(str(path.readlink()).removeprefix("socket:[").rstrip("]"))
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and fields[9] in held:
            ip, _, port = fields[2].partition(":")
            found.add((socket.inet_ntoa(bytes.fromhex(ip)[::-1]), int(port, 16)))
    return found


def test_tasks_run_on_nodes_that_reach_the_agent_and_nothing_else(facility: Facility, tmp_path: Path) -> None:
    begun = time.monotonic()
    targets = [("hub", PORT), ("10.77.4.2", 22), ("proxy", PROXY_PORT), ("laptop", 22), ("192.0.2.1", 443)]
    # Neither ends before the other one runs: each node has one worker.
    both = (targets, str(tmp_path / "begun"), 2)
    futures = [facility.client.submit_call(looks_out, both, endpoint=facility.name) for _ in range(2)]
    told = [future.result(60) for future in futures]
    print("two nodes after", time.monotonic() - begun, "s:", told)
    assert {one["node"] for one in told} == {"node1", "node2"}, facility.logs()
    for one in told:
        # The last is no host of this network: there is no way there at all.
        assert [state for _, state in one["out"]] == ["TimeoutError"] * 4 + ["OSError"], one
    assert int(facility.net.firewall("out")) > 0
    # Its first address is one of another network, on which nodes get no answer: the next was tried.
    addresses = facility.agent_addresses()
    assert [one.rpartition(":")[0] for one in addresses[:2]] == ["tcp://10.77.4.2", "tcp://10.77.5.2"]
    port = int(addresses[1].rpartition(":")[2])
    found = managers()
    assert {facility.net.is_on(one.pid) for one in found} == {"node1", "node2"}
    for one in found:
        assert peers(one.pid) == {("10.77.5.2", port)}
    pid = int((facility.home / "lock").read_text())
    assert facility.net.is_on(pid) == "login"
    assert {ip for ip, _ in peers(pid)} == {"10.77.3.2", "10.77.6.2", "10.77.7.2"}
    # What was written on the nodes is read on the login node; a task leads to its own.
    status, said = facility.fx("login", "endpoint", "logs", facility.name)
    assert status == 0, said
    assert "==> agent: " in said
    assert "keeper and manager" in said
    status, said = facility.fx("login", "endpoint", "logs", facility.name, f"--task={futures[0].task_id[-8:]}")
    assert status == 0, said
    assert f"job {next(iter(facility.jobs_at(told[0]['node'])))}" in said
    assert not any(f"job {job}" in said for job in facility.jobs_at(told[1]["node"]))


INTRUDER = """
import asyncio, json, sys
from jupyter_fx.errors import FxError
from jupyter_fx.transport import zmq

async def knock(address, server_key, keys):
    try:
        channel = await zmq.connect(address, server_key=server_key, keys=keys, timeout=3.0)
    except FxError as error:
        return f"{type(error).__name__}: {error}"
    channel.close()
    return "in"

async def main():
    told = json.load(sys.stdin)
    said = [await knock(told["address"], told["server"], keys) for keys in told["tries"]]
    print(json.dumps(said))

asyncio.run(main())
"""


def knock(facility: Facility, address: str, server: str, *tries: tuple[str, str] | None) -> list[str]:
    """What becomes of connections from a node with these keys (None: fresh ones)."""
    from jupyter_fx.transport.zmq import new_keys

    told = json.dumps({"address": address, "server": server, "tries": [keys or new_keys() for keys in tries]})
    done = facility.net.run("node2", sys.executable, "-c", INTRUDER, input=told, env=facility.env("node2"))
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_whoever_does_not_have_the_blocks_secret_is_kept_out_while_work_goes_on(
    facility: Facility, tmp_path: Path
) -> None:
    """An unknown key, a wrong secret, an enrolment that was copied from another block, or given another key, the key
    of another server, plaintext: all from a node that reaches the port.
    """
    from jupyter_fx.endpoint.bootstrap import Block
    from jupyter_fx.transport.zmq import new_keys

    begun = tmp_path / "begun"
    future = facility.client.submit_call(looks_out, ([], str(begun), 2), endpoint=facility.name)
    wait(begun.exists, 60, facility.logs())
    block = facility.blocks()[0]
    server = json.loads((block / "agent.json").read_bytes())["key"]
    address = next(one for one in facility.agent_addresses() if "10.77.5.2" in one)
    real = next((block / "keys").glob("*.json"))

    # Somebody made an enrolment of their own, with a secret of their own, and got it into the block's directory.
    wrong, other, changed = new_keys(), new_keys(), new_keys()
    forged = Block(tmp_path / block.name, make=True)
    forged.make_secret()
    forged.enrol(wrong[0], "f" * 32, "node2")
    # An enrolment that was sound, of a block that is over: the same file, in a block that lives.
    old = Block(tmp_path / "0197f000-0000-7000-8000-000000000000", make=True)
    shutil.copy(block / "secret", old.folder / "secret")
    old.enrol(other[0], "e" * 32, "node2")
    # One that was overheard, with another key put in.
    said = json.loads(real.read_bytes())
    said["key"] = changed[0]
    name = hashlib.sha256(changed[0].encode()).hexdigest()[:32] + ".json"
    (tmp_path / name).write_text(json.dumps(said))
    planted = [*forged.folder.glob("keys/*.json"), *old.folder.glob("keys/*.json"), tmp_path / name]
    for path in planted:
        shutil.copy(path, block / "keys" / path.name)
    try:
        refused = knock(facility, address, server, None, wrong, other, changed)
    finally:
        for path in planted:
            (block / "keys" / path.name).unlink()
    print(refused)
    assert all(one.startswith("AuthError") for one in refused), refused
    # Whoever is answered by another server than the agent's goes no further.
    assert knock(facility, address, new_keys()[0], None)[0] != "in"
    plain = (
        f"import zmq; s = zmq.Context().socket(zmq.DEALER); s.linger = 0; s.connect({address!r}); s.send(b'x'); "
        "print(s.poll(1500), s.get(zmq.LAST_ENDPOINT))"
    )
    assert facility.net.run("node2", sys.executable, "-c", plain).stdout.startswith("0 ")
    assert not future.done()
    begun.write_text("xx")
    assert future.result(60)["node"]


def test_another_user_of_the_node_finds_no_secret(facility: Facility) -> None:
    facility.client.submit_call(looks_out, ([],), endpoint=facility.name).result(60)
    block = facility.blocks()[0]
    secret = (block / "secret").read_bytes()
    look = f"ls {block}; cat {block}/secret; cat {facility.home}/identity.json; ls {facility.home}"
    done = facility.net.run("node1", "setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", look)
    assert done.stdout == ""
    assert done.stderr.count("Permission denied") == 4
    credential = json.loads((facility.home / "identity.json").read_text())["credential"]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        assert secret not in line
        assert secret.hex().encode() not in line
        assert credential.encode() not in line
    for manager in managers():
        environ = (Path("/proc") / str(manager.pid) / "environ").read_bytes()
        assert credential.encode() not in environ
        assert secret.hex().encode() not in environ


def test_the_agent_goes_through_the_proxy_where_there_is_no_other_way(facility: Facility) -> None:
    """And managers find it by the name and port that were configured."""
    facility.stop_agent()
    facility.net.firewall("direct", "no")
    facility.start_proxy()
    try:
        facility.configure('c.Blocks.addresses = ["login-ib"]\nc.Blocks.port = 47000\nc.Blocks.max_blocks = 1\n')
        proxy = f"http://proxy:{PROXY_PORT}"
        pid = facility.start_agent(http_proxy=proxy, https_proxy=proxy)
        facility.online()
        told = facility.client.submit_call(looks_out, ([("proxy", PROXY_PORT)],), endpoint=facility.name).result(60)
        assert told["out"] == [("proxy", "TimeoutError")]
        assert facility.agent_addresses() == ["tcp://login-ib:47000"]
        wait(lambda: [peers(one.pid) for one in managers()] == [{("10.77.5.2", 47000)}], 20)
        assert {ip for ip, _ in peers(pid)} <= {"10.77.2.2", "10.77.6.2", "10.77.7.2"}
        assert set(facility.proxy_log.read_text().split("\n")) == {f"CONNECT hub:{PORT}", ""}
        facility.stop_agent()
        # Where the proxy is another one than there is, it says so.
        facility.start_agent(http_proxy="http://login:1", https_proxy="http://login:1")
        said = f"not linked to the hub: the fx hub at ws://hub:{PORT}/api/v1/link cannot be reached"
        wait(lambda: said in facility.log, 40, facility.log)
    finally:
        facility.net.firewall("direct", "yes")
