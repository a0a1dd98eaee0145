"""`jupyter fx doctor` where something is really wrong: it finds it and says the cure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from facility import PORT, PROXY_PORT, Facility
from network import wait


def doctor(facility: Facility, *words: str, **more: str) -> str:
    """What it says about the endpoint, on the login node."""
    _, said = facility.fx("login", "doctor", facility.name, *words, **more)
    print(said)
    return said


def test_nothing_is_wrong(facility: Facility) -> None:
    status, said = facility.fx("login", "doctor", facility.name)
    assert status == 0, said
    assert f"ok  the fx hub at http://hub:{PORT} answers" in said
    assert "its agent runs (pid" in said
    assert "local answers, takes these settings" in said
    assert "bad" not in said


def test_a_hub_behind_a_firewall_and_the_proxy_that_leads_there(facility: Facility) -> None:
    facility.net.firewall("direct", "no")
    try:
        said = doctor(facility)
        assert f"bad  hub, port {PORT} does not answer within 6 s (the fx hub at http://hub:{PORT})" in said
        assert "cure: a firewall drops it: set https_proxy if this network has a proxy" in said
        said = doctor(facility, http_proxy="http://nowhere:3128")
        assert "the name of the proxy nowhere:3128, on the way to the fx hub" in said
        said = doctor(facility, http_proxy="http://login:1")
        assert "nobody listens at the proxy login:1, on the way to the fx hub" in said
        facility.start_proxy()
        said = doctor(facility, http_proxy=f"http://ada:secret@proxy:{PROXY_PORT}")
        assert f"ok  the fx hub at http://hub:{PORT} answers through the proxy proxy:{PROXY_PORT}" in said
        # The agent does not have what this shell has.
        assert "warn  the agent was started with other proxy settings than this shell has: http_proxy=(nothing)" in said
        assert f"cure: jupyter fx endpoint restart {facility.name}, from here" in said
        assert "secret" not in said
    finally:
        facility.net.firewall("direct", "yes")


def test_a_port_that_is_blocked_between_node_and_agent(facility: Facility) -> None:
    facility.stop_agent()
    facility.configure("c.Blocks.port = 47001\nc.Blocks.init_blocks = 1\nc.Blocks.max_blocks = 1\n")
    facility.net.firewall("port", "47001", "no")
    try:
        facility.start_agent()
        wait(lambda: "no agent at" in facility.logs(), 40, facility.logs())
        said = doctor(facility)
        assert "its node does not reach the agent at tcp://10.77.4.2:47001, tcp://10.77.5.2:47001" in said
        assert "cure: have that port opened from nodes to this host (c.Blocks.port fixes which)" in said
    finally:
        facility.net.firewall("port", "47001", "yes")
    # It is found as soon as the port is open.
    wait(lambda: "is linked (node" in facility.log.rpartition("asking local")[2], 40, facility.logs())
    assert "does not reach" not in doctor(facility)


@pytest.fixture
def odd_server(facility: Facility) -> str:
    """An address on the login node that answers HTTP, but is no hub; its clock is two hours behind."""
    page = Path(facility.folder) / "odd.py"
    page.write_text(
        "import http.server, json, sys, time\n"
        "class Odd(http.server.BaseHTTPRequestHandler):\n"
        "    def date_time_string(self, timestamp=None):\n"
        "        return super().date_time_string(time.time() - 7200)\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "        good = self.path == '/good/health'\n"
        "        self.wfile.write(json.dumps({'ready': True, 'why': ''}).encode() if good else b'<html>Sign in')\n"
        "http.server.HTTPServer(('127.0.0.1', 8080), Odd).serve_forever()\n"
    )
    facility.net.start("login", sys.executable, page, stderr=subprocess.DEVNULL)
    knock = [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 8080), 1)"]
    wait(lambda: facility.net.run("login", *knock).returncode == 0, 20)
    return "http://127.0.0.1:8080"


def hub_findings(facility: Facility, address: str) -> str:
    line = "import sys; from jupyter_fx.cli import checkhub; [print(*one) for one in checkhub.hub(sys.argv[1])]"
    return facility.net.run("login", sys.executable, "-c", line, address, env=facility.env("login")).stdout


def test_what_answers_may_be_no_hub_or_live_in_another_time(facility: Facility, odd_server: str) -> None:
    assert "is no fx hub (HTTP 200) check the address, its path too" in hub_findings(facility, odd_server)
    said = hub_findings(facility, f"{odd_server}/good")
    assert "the clock of this host is 2.0 h ahead of the fx hub's" in said
    assert "nobody listens at hub, port 1 (the fx hub at http://hub:1)" in hub_findings(facility, "http://hub:1")
    assert "the name of nowhere, port 80" in hub_findings(facility, "http://nowhere")
