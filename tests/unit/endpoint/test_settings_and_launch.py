"""What a person writes down and types."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from traitlets.config import Application

from jupyter_fx.auth.scrub import scrubbed
from jupyter_fx.cli.endpoint import EndpointApp
from jupyter_fx.endpoint import identity, launch
from jupyter_fx.endpoint.settings import load_settings
from jupyter_fx.errors import ConfigError, UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STATE", "CONFIG", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_FX_{name}_DIR", str(tmp_path / name.lower()))
    return tmp_path


def made(name: str) -> Path:
    from jupyter_fx import paths

    folder = paths.endpoint_dir(name)
    identity.save(folder, identity.Identity(name, "e" * 32, "secret", "unix:/nowhere"))
    return folder


def typed(argv: list[str]) -> None:
    """`jupyter fx endpoint ARGV…`"""
    _forget()
    try:
        app = EndpointApp()
        app.initialize(argv)
        app.start()
    finally:
        # The application of a subcommand is a singleton: whoever comes after would get it.
        _forget()


def _forget() -> None:
    if Application._instance is not None:
        type(Application._instance).clear_instance()


def test_a_misspelt_setting_is_named_with_its_line_and_what_may_have_been_meant(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("c = get_config()\n\nc.Endpoint.wrokers = 3\n")
    with pytest.raises(ConfigError, match=r"config\.py, line 3: Endpoint has no setting 'wrokers'; nearest: workers"):
        load_settings(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c.Endpoint.workers = 'two'", "line 1: .*workers"),
        ("x = 1\nc.Endpoint.workers = (", "line 2: SyntaxError"),
        ("\nraise ValueError('no')", "line 2: ValueError: no"),
        ("c.Endpont.workers = 1", "line 1: there is no c.Endpont"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_settings(path)


def test_settings_and_what_overrides_them(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("c.Endpoint.workers = 3\nc.Endpoint.preload = ['numpy']\n")
    found = load_settings(path, workers=5)
    assert (found.workers, found.preload) == (5, ["numpy"])
    assert load_settings(tmp_path / "none.py").max_sessions == 16


def test_an_unknown_endpoint_is_answered_with_the_nearest_names(home: Path) -> None:
    made("polaris")
    made("local")
    with pytest.raises(UsageError, match=r"no endpoint 'polari' here \(nearest: polaris"):
        launch.known("polari")
    assert launch.names() == ["local", "polaris"]


def test_one_agent_per_endpoint_and_host(home: Path) -> None:
    folder = made("local")
    assert launch.running(folder) == 0
    with identity.locked(folder, "local"):
        assert launch.running(folder) == os.getpid()
        with pytest.raises(UsageError, match=f"already served by pid {os.getpid()}"), identity.locked(folder, "local"):
            pass
        with pytest.raises(UsageError, match="stop it first"):
            launch.delete("local")
    assert launch.running(folder) == 0
    launch.delete("local")
    assert not folder.exists()


def test_the_credential_is_its_owners_alone(home: Path) -> None:
    folder = made("local")
    assert (folder / "identity.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_workers_environment_has_no_secrets() -> None:
    fine = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "PWD": "/", "OLDPWD": "/", "XDG_STATE_HOME": "/s", "KEYBOARD": "de"}
    fine |= {"HTTPS_PROXY": "http://me:word@proxy:3128", "INDEX": "https://host/simple", "JUPYTER_FX_STATE_DIR": "/s"}
    secret = ["AWS_ACCESS_KEY_ID", "MY_TOKEN", "JUPYTERHUB_API_URL", "JUPYTER_FX_CODE", "MYSQL_PWD", "SSH_AUTH_SOCK"]
    secret += ["github_token", "GH_PAT", "SENTRY_DSN", "DOCKER_AUTH_CONFIG", "OPENAI_API_KEY", "GPG_PASSPHRASE"]
    kept = scrubbed(fine | dict.fromkeys(secret, "1") | {"DATABASE_URL": "postgresql://me:word@host/db"})
    assert kept == fine


def test_commands_say_in_a_line_what_is_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made("polaris")
    for argv, said in (
        (["status", "polari"], "nearest: polaris"),
        (["stop"], "say which endpoint"),
        (["configure", "Bad Name", "--hub=unix:/x"], "lower-case letters"),
    ):
        with pytest.raises(SystemExit):
            typed(argv)
        assert said in capsys.readouterr().err


def test_list_and_status_tell_of_stopped_endpoints(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made("polaris")
    for argv, said in (
        (["list"], "stopped"),
        (["status", "polaris"], "unix:/nowhere"),
        (["stop", "polaris"], "was not running"),
    ):
        typed(argv)
        out = capsys.readouterr().out
        assert said in out
        assert "secret" not in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="endpoints for others run on Linux")
def test_an_agent_that_has_to_be_killed_is_gone_when_it_is_stopped(home: Path) -> None:
    folder = made("stubborn")
    # Much memory: its end takes the kernel a while, in which its lock is held.
    program = (
        "import signal, time; from pathlib import Path; from jupyter_fx.endpoint.identity import locked\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); some = bytearray(b'x') * (128 << 20)\n"
        f"with locked(Path({str(folder)!r}), 'stubborn'): time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        end = time.monotonic() + 30
        while not launch.running(folder) and time.monotonic() < end:
            time.sleep(0.05)
        assert launch.stop("stubborn", within=0.1, for_good=False)
        assert not launch.running(folder)
    finally:
        process.kill()
        process.wait()
