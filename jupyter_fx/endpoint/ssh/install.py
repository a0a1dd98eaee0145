"""Brings jupyter-fx to the far host: looks what is there, makes a virtual environment, installs ours and its needs."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jupyter_fx import __version__
from jupyter_fx.endpoint.ssh import wheels
from jupyter_fx.endpoint.ssh.command import argv, in_sh
from jupyter_fx.errors import InfrastructureError, UsageError

__all__ = ["Far", "Host", "look", "prepare"]

OLDEST = (3, 11)
WITHIN = 120.0
"""Seconds for a look around; a person may have to sign in meanwhile."""
INSTALL_WITHIN = 1200.0
_MARK = "-- jupyter-fx --"
_NO_NETWORK = re.compile(
    r"No matching distribution|Could not find a version|Temporary failure|unreachable|NewConnectionError"
    r"|ConnectTimeout|timed out|Connection refused|ProxyError|Name or service not known",
    re.IGNORECASE,
)

_LOOK = r"""
echo "@MARK@"
echo "node=$(uname -n)"
echo "system=$(uname -s)"
echo "machine=$(uname -m)"
echo "home=$HOME"
echo "data=${XDG_DATA_HOME:-$HOME/.local/share}/jupyter-fx"
for python in @PYTHONS@; do
    found=$(command -v "$python" 2>/dev/null) || continue
    "$found" -c 'import sys
try:
    import importlib.metadata as m
    have = m.version("jupyter-fx")
except Exception:
    have = ""
print("python=%s %d.%d %s" % (sys.executable, sys.version_info[0], sys.version_info[1], have))' 2>/dev/null
done
echo "end=1"
"""

_INSTALL = r"""
set -e
umask 077
dir=@DIR@
mkdir -p "$dir/wheels"
tar -xf - -C "$dir/wheels"
if [ ! -x "$dir/venv/bin/python" ]; then
    @PYTHON@ -m venv "$dir/venv" || { rm -rf "$dir/venv"; echo "no-venv"; exit 3; }
fi
for ours in "$dir"/wheels/jupyter_fx-*.whl; do :; done
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 @PIP@ \
    "$ours@EXTRA@" 2>&1
"$dir/venv/bin/python" -c 'import jupyter_fx.endpoint.ssh.bridge' 2>&1
rm -rf "$dir/wheels"
echo "@MARK@"
"""


class Far(NamedTuple):
    """What is there: node's name, machine, the directory for data, [(interpreter, (major, minor), jupyter-fx's
    version or "")]."""

    node: str
    machine: str
    data: str
    pythons: list[tuple[str, tuple[int, int], str]]


class Host(NamedTuple):
    """A host, and how ssh gets there."""

    name: str
    options: list[str]

    def run(self, script: str, *, data: bytes = b"", within: float = WITHIN) -> tuple[int, str, str]:
        """Run a shell script there, with `data` on its standard input; (status, stdout, stderr). ssh may ask whoever
        sits at the terminal for what it needs: it does not use standard input for that."""
        line = argv(self.name, self.options, in_sh(script), alone=False)
        # Files, not pipes, for what it says: a shared connection that stays in the background would hold pipes open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                done = subprocess.run(line, input=data, stdout=out, stderr=err, check=False, timeout=within)
            except subprocess.TimeoutExpired:
                raise InfrastructureError(f"ssh {self.name} did not answer within {within:g} s") from None
            except OSError as error:
                raise UsageError(f"ssh cannot be run ({error.strerror}): {line[0]}") from None
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))
        if done.returncode == 255:
            said = [one for one in texts[1].splitlines() if one.strip()]
            raise InfrastructureError(
                f"ssh {self.name} failed: {said[-1] if said else 'no reason was given'}; see that `ssh {self.name}` "
                "works in a terminal"
            )
        return done.returncode, texts[0], texts[1]


def look(host: Host, python: str = "") -> Far:
    """What is there. `python`: the only interpreter to look at."""
    names = [python] if python else [f"python3.{n}" for n in range(16, 10, -1)] + ["python3", "python"]
    script = _LOOK.replace("@MARK@", _MARK).replace("@PYTHONS@", " ".join(map(shlex.quote, names)))
    _status, out, err = host.run(script)
    _, mark, told = out.partition(_MARK)
    found: dict[str, str] = {}
    pythons = []
    for line in told.splitlines():
        key, _, value = line.partition("=")
        if key == "python":
            path, version, *have = value.split(" ")
            major, _, minor = version.partition(".")
            pythons.append((path, (int(major), int(minor)), have[0] if have else ""))
        else:
            found[key] = value
    if not mark or "end" not in found:
        said = (err.strip() or out.strip()).splitlines()
        raise InfrastructureError(f"{host.name} ran no shell script: {said[-1] if said else 'it said nothing'}")
    if found["system"] != "Linux":
        raise UsageError(f"{host.name} is a {found['system']} machine: endpoints for others run on Linux")
    return Far(found["node"], found["machine"], found["data"], pythons)


def prepare(
    host: Host,
    far: Far,
    *,
    python: str = "",
    wheel_dir: str = "",
    extra: str = "",
    say: Callable[[str], None] = print,
) -> str:
    """The interpreter there that has this very version; installed if need be, with the optional packages `extra`
    ("batch"). Errors say what to do."""
    fitting = [one for one in far.pythons if one[1] >= OLDEST]
    if not fitting:
        have = ", ".join(f"{path} is {a}.{b}" for path, (a, b), _ in far.pythons) or "none was found"
        raise UsageError(
            f"{host.name} has no Python 3.{OLDEST[1]} or newer ({have}): name one with --python PATH (a module or a "
            "conda environment there may have one)"
        )
    for path, _version, have in fitting:
        if python and have == __version__:
            say(f"{far.node}: {path} has jupyter-fx {have} already")
            return path
    path, version, _ = fitting[0]
    with tempfile.TemporaryDirectory() as scratch:
        wheel = wheels.own_wheel(Path(scratch))
        target = f"{far.data}/ssh/{wheels.digest_of(wheel)}-py{version[0]}.{version[1]}{extra and '-' + extra}"
        there = f"{target}/venv/bin/python"
        check = f"{shlex.quote(there)} -c 'import jupyter_fx.endpoint.ssh.bridge' 2>/dev/null"
        if host.run(check)[0] == 0:
            say(f"{far.node}: jupyter-fx {__version__} is there already")
            return there
        say(f"{far.node}: installing jupyter-fx {__version__} for Python {version[0]}.{version[1]} (a minute or two)")
        given = sorted(Path(wheel_dir).glob("*.whl")) if wheel_dir else []
        if wheel_dir and not given:
            raise UsageError(f"--wheels: there are no wheels in {wheel_dir}")
        status, out = _install(host, path, target, [wheel, *given], extra, offline=bool(given))
        if status and not given and _NO_NETWORK.search(out):
            say(f"{far.node} cannot fetch packages itself: they are fetched here and copied")
            folder = Path(scratch) / "wheels"
            folder.mkdir()
            wheels.download(wheel, folder, f"{version[0]}.{version[1]}", far.machine, extra)
            others = [one for one in sorted(folder.glob("*.whl")) if one.name != wheel.name]
            status, out = _install(host, path, target, [wheel, *others], extra, offline=True)
        if status:
            raise InfrastructureError(_why(host, path, out))
    return there


def _install(
    host: Host, python: str, target: str, files: Sequence[Path], extra: str, *, offline: bool
) -> tuple[int, str]:
    pip = '--no-index --find-links "$dir/wheels"' if offline else ""
    script = _INSTALL.replace("@DIR@", shlex.quote(target)).replace("@PYTHON@", shlex.quote(python))
    script = script.replace("@PIP@", pip).replace("@EXTRA@", extra and f"[{extra}]").replace("@MARK@", _MARK)
    status, out, err = host.run(script, data=wheels.packed(list(files)), within=INSTALL_WITHIN)
    return (0 if status == 0 and _MARK in out else status or 1), out + err


def _why(host: Host, python: str, out: str) -> str:
    if "no-venv" in out:
        return (
            f"{python} on {host.name} cannot make virtual environments: make one there with another Python (conda, a "
            "module) and name its interpreter with --python PATH"
        )
    lines = [line for line in out.strip().splitlines() if line.strip()]
    return f"jupyter-fx could not be installed on {host.name}: {lines[-1] if lines else 'pip said nothing'}"
