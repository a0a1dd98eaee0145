"""Where secrets lie, and what other users of the machine can read and reach."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from observed_site import PLANTED, Site, secrets_in

from jupyter_fx.client import HubClient
from jupyter_fx.errors import FxError

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


def test_no_secret_is_in_a_command_line_or_the_environment_of_a_worker(site: Site) -> None:
    (secret,) = [path.read_bytes() for path in site.top.glob("1/endpoints/local/blocks/*/secret")]
    lines = b"\n".join(site.seen)
    assert b"jupyter_fx_hub" in lines
    assert b"manager_main" in lines
    assert not secrets_in(lines)
    assert secret.hex().encode() not in lines
    for process in site.processes()["agent"] + site.processes()["below"]:
        environ = Path("/proc", str(process.pid), "environ").read_bytes()
        assert not secrets_in(environ), process
        assert secret not in environ
    told = site.environment
    assert not secrets_in(json.dumps(told).encode())
    assert not set(PLANTED) & set(told)
    assert told["PATH"] == os.environ["PATH"]


def test_secrets_are_in_their_two_files_and_nowhere_else(site: Site) -> None:
    allowed = {"hub.json": rb"jfx_", "identity.json": rb"jfxe_"}
    held = set()
    for folder, _, names in os.walk(site.top):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found = secrets_in(path.read_bytes())
                assert all(one.startswith(allowed.get(name, b"nothing")) for one in found), (path, found)
                held |= {name} if found else set()
    assert held == set(allowed)


def test_what_is_made_is_its_owners_alone_and_user_code_keeps_its_umask(site: Site) -> None:
    made = [
        Path(folder, name)
        for root in ("0", "1", "2")
        for folder, dirs, names in os.walk(site.top / root)
        for name in (".", *dirs, *names)
    ]
    modes = {str(path.relative_to(site.top)): path.lstat().st_mode for path in made}
    # Configuration is a person's to edit (this test wrote it); IPython copies a file with its mode.
    wrong = [name for name, mode in modes.items() if mode & 0o077 and not name.endswith(("config.py", "README"))]
    assert len(modes) > 20
    assert not wrong
    assert site.umask == 0o022


def test_a_notebook_holds_no_secret_nor_do_errors(site: Site) -> None:
    outputs = [output for cell in site.notebook.cells for output in cell.get("outputs", ())]
    assert "ZeroDivisionError" in json.dumps(outputs)
    assert "in the cell" in json.dumps(outputs)
    assert [o.ename for o in outputs if o.output_type == "error"] == ["ZeroDivisionError"]
    assert not secrets_in(json.dumps(site.notebook).encode())
    assert not secrets_in(site.hub.url.encode())
    wrong = "jfx_" + "w" * 43
    with pytest.raises(FxError) as caught:
        HubClient(site.hub.url, token=wrong, timeout=5.0).request("whoami", timeout=5.0)
    assert wrong not in repr(caught.value) + repr(caught.value.details)
    assert site.hub.token not in repr(site.hub)


NOBODY = """
import json, os, socket, sys
told, got = json.load(sys.stdin), []
for path in told["paths"]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
        got.append(path)
    except OSError:
        pass
for path in told["sockets"]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        got.append(path)
    except OSError:
        pass
print(json.dumps([os.getuid(), got]))
"""


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="becomes another user")
def test_another_user_of_the_machine_can_read_and_reach_nothing(site: Site) -> None:
    paths = [str(Path(folder, name)) for folder, dirs, names in os.walk(site.top) for name in [".", *dirs, *names]]
    paths.remove(str(Path(site.top, ".")))
    for process in itertools.chain(*site.processes().values()):
        paths += [f"/proc/{process.pid}/{what}" for what in ("environ", "fd", "mem", "cwd/.")]
    sockets = [path for path in paths if Path(path).is_socket()]
    assert sockets
    line = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-c", NOBODY]
    told = json.dumps({"paths": paths, "sockets": sockets})
    done = subprocess.run(line, input=told, capture_output=True, text=True, timeout=30, check=True, cwd="/")
    assert json.loads(done.stdout) == [65534, []]
