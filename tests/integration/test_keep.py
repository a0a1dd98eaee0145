"""An endpoint that is kept: by cron and systemd, whose commands are stood in for; the script and the agent are real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_fx import paths
from jupyter_fx.endpoint import identity, launch

CRONTAB = """#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
-l) [ -f refuse ] && { echo "You (me) are not allowed to use this program (crontab)" >&2; exit 1; }
    cat table 2>/dev/null || { echo "no crontab for me" >&2; exit 1; } ;;
-) cat > table ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/said"
[ "$2" = is-system-running ] && echo running
exit 0
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An endpoint `box` that is enrolled with a hub which is away, and a directory of commands."""
    for name in ("RUNTIME", "STATE", "CONFIG"):
        monkeypatch.setenv(f"JUPYTER_FX_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HTTPS_PROXY", "http://me:canary-password@proxy:3128")
    monkeypatch.setenv("A_TOKEN", "canary-token")
    commands = tmp_path / "bin"
    commands.mkdir()
    for word in ("cat", "dirname"):
        (commands / word).symlink_to(str(shutil.which(word)))
    # The machine's own crontab and systemd are out of reach.
    monkeypatch.setenv("PATH", str(commands))
    home = paths.endpoint_dir("box")
    identity.save(home, identity.Identity("box", "e" * 32, "canary-credential", f"unix:{tmp_path}/nowhere"))
    yield commands
    if pid := launch.running(home):
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)


def command(commands: Path, name: str, text: str) -> None:
    (commands / name).write_text(text)
    (commands / name).chmod(0o755)


def fx(*words: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "jupyter_fx.cli.app", "endpoint", *words], capture_output=True, text=True, check=False
    )


def as_cron_does(commands: Path) -> str:
    """Run the line of the table as cron runs it: by sh, with next to no environment."""
    (line,) = [one for one in (commands / "table").read_text().splitlines() if one.endswith(" box")]
    words = line.split(" ", 5)[5].replace(">/dev/null", "")
    env = {"HOME": os.environ.get("HOME", "/"), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    ran = subprocess.run(["/bin/sh", "-c", words], env=env, cwd="/", capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_what_cron_runs_starts_an_agent_that_is_gone_and_none_that_was_stopped(there: Path) -> None:
    command(there, "crontab", CRONTAB)
    (there / "table").write_text("0 7 * * * my-own-job # jupyter-fx endpoint boxer\n")
    said = fx("keep", "box", "--way=cron")
    assert "cron starts the agent of box every 5 min" in said.stdout, said.stderr
    home = paths.endpoint_dir("box")
    first = launch.running(home)
    assert first
    assert fx("keep", "box", "--way=cron").returncode == 0
    assert len((there / "table").read_text().splitlines()) == 2, "kept twice is kept once"
    script = home / "keep.sh"
    assert script.stat().st_mode & 0o777 == 0o700
    assert "canary" not in script.read_text() + (there / "table").read_text()
    assert f"runs already (pid {first})" in as_cron_does(there)
    os.kill(first, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first)] if psutil.pid_exists(first) else [], timeout=10)
    assert "is started" in as_cron_does(there)
    assert launch.running(home) != first
    assert fx("stop", "box").returncode == 0
    assert "was stopped by its owner and is left so" in as_cron_does(there)
    assert not launch.running(home)
    assert "is kept no longer" in fx("keep", "box", "--off").stdout
    assert (there / "table").read_text() == "0 7 * * * my-own-job # jupyter-fx endpoint boxer\n"
    assert "was not kept" in fx("keep", "box", "--off").stdout


def test_what_systemd_is_told(there: Path, tmp_path: Path) -> None:
    command(there, "systemctl", SYSTEMCTL)
    said = fx("keep", "box")
    assert "systemd starts the agent of box" in said.stdout, said.stderr
    units = tmp_path / "xdg" / "systemd" / "user"
    service = (units / "jupyter-fx-box.service").read_text()
    assert f'ExecStart="{paths.endpoint_dir("box")}/keep.sh"' in service
    assert "KillMode=process" in service, "else the agent would end with what started it"
    assert "enable --now jupyter-fx-box.timer" in (there / "said").read_text()
    checker = Path("/usr/bin/systemd-analyze")
    if checker.exists():
        files = [str(one) for one in units.iterdir()]
        checked = subprocess.run([checker, "verify", *files], capture_output=True, text=True, check=False)
        assert "jupyter-fx" not in checked.stderr, checked.stderr
    fx("stop", "box")
    fx("keep", "box", "--off")
    assert not list(units.iterdir())
    assert "disable --now jupyter-fx-box.timer" in (there / "said").read_text()


def test_where_nothing_keeps_it_that_is_said(there: Path) -> None:
    said = fx("keep", "box")
    assert said.returncode == 1
    assert "there is no crontab here and no systemd of yours answers here" in said.stderr
    command(there, "crontab", CRONTAB)
    (there / "refuse").touch()
    said = fx("keep", "box")
    assert said.returncode == 1
    assert "You (me) are not allowed to use this program" in said.stderr
    assert "there is no way 'corn'" in fx("keep", "box", "--way=corn").stderr
