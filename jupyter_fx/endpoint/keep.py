"""Has an agent started again and again: login nodes reboot, and reap what runs there for long (DESIGN decision 19).

Cron or the user's systemd runs a script every five minutes; it starts the agent unless that runs, or was stopped by its
owner. The script holds the paths that the agent needs and nothing that is secret.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from jupyter_fx.endpoint import launch
from jupyter_fx.errors import UsageError

__all__ = ["WAYS", "chosen_way", "keep", "kept", "unkeep"]

WAYS: Final = ("cron", "systemd")
EVERY: Final = 5
"""Minutes."""
_VARIABLES: Final = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "SLURM_CONF",
    "JUPYTER_CONFIG_DIR",
    "XDG_STATE_HOME",
    "JUPYTER_FX_CONFIG_DIR",
    "JUPYTER_FX_STATE_DIR",
    "JUPYTER_FX_RUNTIME_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
"""What cron does not know and the agent may need. Values that hold a password are left out."""
_WITHIN: Final = 20.0


def chosen_way(way: str = "") -> str:
    """The way that works here; UsageError when none does."""
    if way and way not in WAYS:
        raise UsageError(f"there is no way {way!r}: there are {' and '.join(WAYS)}")
    if way != "cron" and _has_systemd():
        return "systemd"
    if way != "systemd" and shutil.which("crontab"):
        return "cron"
    lacks = {"cron": "there is no crontab here", "systemd": "no systemd of yours answers here (systemctl --user)"}
    why = lacks[way] if way else " and ".join(lacks.values())
    raise UsageError(f"{why}: have a batch job start it, as the administrator's guide says, or start it by hand")


def _has_systemd() -> bool:
    if shutil.which("systemctl") is None:
        return False
    try:
        told = subprocess.run(
            ["systemctl", "--user", "is-system-running"], capture_output=True, text=True, check=False, timeout=_WITHIN
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() in {"running", "degraded", "starting"}


def keep(name: str, way: str) -> str:
    """Have the endpoint's agent kept so; what is to be said about it."""
    script = _write_script(name)
    if way == "cron":
        # A percent sign ends a line of a crontab.
        command = shlex.quote(str(script)).replace("%", "\\%")
        _crontab([*_others(name), f"*/{EVERY} * * * * {command} >/dev/null 2>&1 {_mark(name)}"])
        return f"cron starts the agent of {name} every {EVERY} min unless it runs (crontab -l)"
    for path, text in _units(name, script).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", f"{_unit(name)}.timer")
    return (
        f"systemd starts the agent of {name} every {EVERY} min unless it runs (systemctl --user list-timers). Where it "
        "ends what you started when you log out: loginctl enable-linger"
    )


def unkeep(name: str) -> list[str]:
    """Undo it; the ways that it was kept by."""
    ways = kept(name)
    if "cron" in ways:
        _crontab(_others(name))
    if "systemd" in ways:
        _systemctl("disable", "--now", f"{_unit(name)}.timer")
        for path in _units(name, _script(name)):
            path.unlink(missing_ok=True)
        _systemctl("daemon-reload")
    _script(name).unlink(missing_ok=True)
    return ways


def kept(name: str) -> list[str]:
    """The ways in which it is kept."""
    found = []
    with contextlib.suppress(UsageError):  # who may not use cron is not kept by it
        if shutil.which("crontab") and len(_others(name)) != len(_crontab_lines()):
            found.append("cron")
    if any(path.exists() for path in _units(name, _script(name))):
        found.append("systemd")
    return found


# The script.


def _script(name: str) -> Path:
    return launch.known(name) / "keep.sh"


def _write_script(name: str) -> Path:
    """A shell script that starts the agent; whoever runs it needs no environment of ours."""
    path = _script(name)
    values = {word: os.environ[word] for word in _VARIABLES if os.environ.get(word) and "@" not in os.environ[word]}
    lines = [
        "#!/bin/sh",
        f"# Starts the endpoint {name} unless it runs or was stopped by its owner. `jupyter fx endpoint keep {name}`",
        "# has written this; it is written anew by saying that again.",
        "umask 077",
        *(f"export {word}={shlex.quote(value)}" for word, value in values.items()),
        f"exec {shlex.quote(sys.executable)} -m jupyter_fx.cli.app endpoint start {shlex.quote(name)} --unless-stopped",
    ]
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
    with open(opened, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


# Cron.


def _mark(name: str) -> str:
    # The shell takes it for a comment.
    return f"# jupyter-fx endpoint {name}"


def _crontab_lines() -> list[str]:
    told = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False, timeout=_WITHIN)
    if told.returncode and "no crontab" not in told.stderr.lower():
        raise UsageError(f"crontab -l: {(told.stderr.strip() or 'it said nothing').splitlines()[-1]}")
    return told.stdout.splitlines() if not told.returncode else []


def _others(name: str) -> list[str]:
    """Every line but ours, in its place."""
    return [line for line in _crontab_lines() if not line.endswith(f" {_mark(name)}")]


def _crontab(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    told = subprocess.run(["crontab", "-"], input=text, capture_output=True, text=True, check=False, timeout=_WITHIN)
    if told.returncode:
        raise UsageError(f"crontab: {(told.stderr.strip() or 'it said nothing').splitlines()[-1]}")


# systemd.


def _unit(name: str) -> str:
    return f"jupyter-fx-{name}"


def _units(name: str, script: Path) -> dict[Path, str]:
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    return {
        folder / f"{_unit(name)}.service": (
            f"[Unit]\nDescription=jupyter-fx endpoint {name}\n\n"
            # The agent goes on by itself: what started it is done, and must not take it along.
            f"[Service]\nType=oneshot\nKillMode=process\nExecStart={_systemd_word(str(script))}\n"
        ),
        folder / f"{_unit(name)}.timer": (
            f"[Unit]\nDescription=jupyter-fx endpoint {name}, every {EVERY} minutes\n\n"
            f"[Timer]\nOnActiveSec=1\nOnBootSec=60\nOnUnitActiveSec={EVERY}min\n\n[Install]\nWantedBy=timers.target\n"
        ),
    }


def _systemd_word(text: str) -> str:
    """`text` as one word of a unit, which has specifiers (%) and escapes."""
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%")):
        text = text.replace(sign, written)
    return f'"{text}"'


def _systemctl(*words: str) -> None:
    told = subprocess.run(["systemctl", "--user", *words], capture_output=True, text=True, check=False, timeout=_WITHIN)
    if told.returncode:
        raise UsageError(f"systemctl --user {words[0]}: {(told.stderr.strip() or 'it failed').splitlines()[-1]}")
