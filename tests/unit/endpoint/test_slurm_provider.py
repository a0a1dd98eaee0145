"""What Slurm's commands say, and what is made of it. The commands are stood in for by their output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint import configfile, scheduler
from jupyter_fx.endpoint.block_records import JobInfo
from jupyter_fx.endpoint.providers import ProviderError, base, batch, budget, slurm
from jupyter_fx.endpoint.providers.base import JobSpec, run
from jupyter_fx.endpoint.providers.batch import ParslProvider
from jupyter_fx.endpoint.settings import Blocks, load_blocks
from jupyter_fx.errors import ConfigError, UsageError

ANSWERS = {
    "scontrol": (
        "PartitionName=debug AllowAccounts=ALL Default=YES MaxTime=02:00:00 State=UP\n"
        "PartitionName=gpu AllowAccounts=a,b Default=NO MaxTime=UNLIMITED State=DOWN\n"
    ),
    "sinfo": "debug|16|64000|(null)|(null)\ndebug|32|128000|(null)|ib\ngpu|64|512000|gpu:a100:4(S:0-1)|a100,ib\n",
    "sacctmgr": "physics\nphysics\nchemistry\n",
    "format=qos": "normal\nnormal,high\n",
    "reservation": "ReservationName=course StartTime=2026-11-21T12:00:00 Users=me Flags=\n",
    "squeue": "",
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each command prints; a test changes it."""
    told = dict(ANSWERS)

    def answer(command: Sequence[str], **_how: Any) -> str:
        text = told[command[-1] if command[-1] in told else command[0]]
        if text.startswith("!"):
            raise ProviderError(text[1:])
        return text

    monkeypatch.setattr(slurm, "run", answer)
    return told


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10:00", 600), ("1:00:00", 3600), ("2-03:00:00", 183600), ("5", 300), ("UNLIMITED", -1), ("INVALID", -1)],
)
def test_slurms_way_to_write_times(text: str, seconds: float) -> None:
    assert slurm.seconds_of(text) == seconds


def test_jobs_are_told_with_reasons_and_how_they_ended(answers: dict[str, str]) -> None:
    answers["squeue"] = (
        "7|PENDING|1:00:00|2026-11-21T12:00:00|fx1.17|Priority\n8|RUNNING|9:30|N/A|fx2|None\n"
        "9|TIMEOUT|0:00|x|fx3|TimeLimit\n10|NODE_FAIL|0:00|x|fx4|None\n11|CANCELLED|0:00|x|a|b|c\n"
    )
    assert slurm.jobs() == {
        "7": JobInfo("7", "fx1.17", "pending", "Priority", start="2026-11-21T12:00:00"),
        "8": JobInfo("8", "fx2", "running", left=570.0),
        "9": JobInfo("9", "fx3", "ended", "its time limit was reached"),
        "10": JobInfo("10", "fx4", "failed", "a node of it failed"),
        "11": JobInfo("11", "a", "ended", "it was cancelled (b|c)"),
    }


@pytest.mark.parametrize("garbage", ["slurm_load_jobs error: Unable to contact", "\x00\x01", "a|b"])
def test_garbage_is_not_taken_for_an_empty_queue(answers: dict[str, str], garbage: str) -> None:
    answers["squeue"] = garbage
    with pytest.raises(ProviderError, match="cannot be understood"):
        slurm.jobs()


def test_what_keeps_a_job_for_ever_is_told_with_its_cure(answers: dict[str, str]) -> None:
    line = "7|PENDING|1:00:00|N/A|fx1.17|%s\n"
    answers["squeue"] = line % "JobHeldUser"
    assert slurm.jobs()["7"].reason == "JobHeldUser: held by you: `scontrol release 7` lets it go"
    answers["squeue"] = line % "ReqNodeNotAvail, UnavailableNodes:n[1-2]"
    assert slurm.jobs()["7"].reason.startswith("ReqNodeNotAvail, UnavailableNodes:n[1-2]: a node that it asks for")
    answers["squeue"] = line % "Resources"
    assert slurm.jobs()["7"].reason == "Resources"


def test_partitions_with_their_largest_nodes(answers: dict[str, str]) -> None:
    there = slurm.partitions()
    assert there["debug"] == slurm.Partition("debug", True, True, 2, 32, 128000 << 20, 0, 7200.0, (), ("ib",))
    assert there["gpu"] == slurm.Partition("gpu", False, False, 1, 64, 512000 << 20, 4, 0.0, ("a", "b"), ("a100", "ib"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"partition": "debgu"}, "Slurm has no partition 'debgu': did you mean 'debug'?"),
        ({"partition": "zz"}, "Slurm has no partition 'zz'; there are debug, gpu"),
        ({"account": "biology"}, "Slurm lets you charge no account 'biology'; there are chemistry, physics"),
        ({"walltime": "03:00:00"}, "partition debug allows 120 min at most"),
        ({"cores_per_node": 33}, "c.Blocks.cores_per_node is 33, but partition debug has 32 at most"),
        ({"gpus_per_node": 1}, "c.Blocks.gpus_per_node is 1, but partition debug has 0 at most"),
        ({"nodes": 3}, "c.Blocks.nodes is 3, but partition debug has 2 at most"),
        ({"qos": "hihg"}, "Slurm lets you use no qos 'hihg'; there are high, normal"),
        ({"constraint": "ib&h100"}, "Slurm has no nodes with the feature 'h100'; there are a100, ib"),
        ({"reservation": "curse"}, "Slurm has no reservation 'curse'; there are course"),
        (
            {"partition": "gpu", "account": "physics"},
            "partition gpu may be charged to a, b only, not to 'physics'",
        ),
    ],
)
def test_what_slurm_would_never_run_is_refused_with_what_there_is(
    answers: dict[str, str], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        slurm.check(Blocks(provider="slurm", **settings), slurm.offer())
    assert said in str(caught.value)


def test_a_file_is_written_with_what_there_is_and_can_be_read(answers: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    blocks, told = scheduler.suggested("slurm", {"account": "physics"})
    configfile.make(path, "there", {"Blocks": blocks}, told)
    found = load_blocks(path)
    assert (found.provider, found.partition, found.account, found.cores_per_node) == ("slurm", "debug", "physics", 4)
    assert "partition gpu: 1 nodes, up to 64 cores, 500 GiB, 4 GPUs each; no time limit; not up" in path.read_text()
    with pytest.raises(UsageError, match="no partition 'gpus': did you mean 'gpu'"):
        scheduler.suggested("slurm", {"partition": "gpus"})
    assert scheduler.suggested("sge", {"partition": "all.q"})[0]["provider"] == "gridengine"
    with pytest.raises(UsageError, match="no scheduler 'slrum': did you mean 'slurm'"):
        scheduler.suggested("slrum", {})


def test_settings_of_blocks_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    for line, error, said in (
        ("c.Blocks.max_block = 3", ConfigError, "line 2: Blocks has no setting 'max_block'; nearest: max_blocks"),
        ("c.Blocks.walltime = '90'", ConfigError, "line 2: walltime is HH:MM:SS"),
        ("c.Blocks.provider = 'slurm'\nc.Blocks.walltime = ''", UsageError, "a batch job needs a limit"),
        ("c.Blocks.min_blocks = 3", UsageError, "cannot be more than max_blocks"),
    ):
        path.write_text(f"c = get_config()\n{line}\n")
        with pytest.raises(error, match=said):
            load_blocks(path)


@pytest.mark.parametrize("value", ["a\n#SBATCH --uid=0", "x; rm -rf ~", "$(id)", "`id`", "a b", "'", '"', "\0"])
@pytest.mark.parametrize("name", ["partition", "account", "qos", "constraint", "reservation"])
def test_no_setting_becomes_a_line_or_a_command_of_its_own(name: str, value: str) -> None:
    pytest.importorskip("parsl")
    with pytest.raises(UsageError, match=f"c.Blocks.{name} must be one word"):
        ParslProvider("slurm", Blocks(provider="slurm", **{name: value})).script_settings()


def test_what_an_account_has_left_is_read_of_what_slurm_enforces(monkeypatch: pytest.MonkeyPatch) -> None:
    line = (
        "ClusterName=test Account={} UserName={} Partition= GrpWall=N(0.00) GrpTRES=cpu=N(0),node=8(0) "
        "GrpTRESMins=cpu=90000(120),mem=N(0),node={}(30),billing=N(0),gres/gpu=600(0) GrpTRESRunMins=cpu=N(0)"
    )
    lines = [
        line.format("physics", "", "6000"),
        line.format("physics", "me(1000)", "60"),
        line.format("other", "", "1"),
    ]
    monkeypatch.setattr(budget, "run", lambda _command: "\n".join(["Association Records", *lines]))
    assert budget.budgets(["physics"]) == [
        ("physics", "node-hours", 0.5, 100.0),
        ("physics", "core-hours", 2.0, 1500.0),
        ("physics", "GPU-hours", 0.0, 10.0),
    ]
    assert budget.budgets([]) == []


def test_a_command_that_hangs_fails_or_is_not_there_is_told() -> None:
    with pytest.raises(ProviderError, match=r"sleep did not answer within 0\.1 s"):
        run(["sleep", "30"], timeout=0.1)
    with pytest.raises(ProviderError, match="no-such-command cannot be run: No such file"):
        run(["no-such-command"])
    with pytest.raises(ProviderError, match="sh: the last line"):
        run(["sh", "-c", "echo first >&2; echo the last line >&2; exit 3"])


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory first on the PATH: scripts in it are Slurm's commands."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def _says(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exec sleep 60", "sbatch did not answer within 1 s"),
        ("echo Oh dear", "it gave no job id; it said: Oh dear"),
        ("true", "it gave no job id; it said nothing"),
        ("echo 'sbatch: error: invalid account' >&2; exit 1", "sbatch: error: invalid account"),
    ],
)
def test_an_sbatch_that_hangs_or_answers_garbage_is_a_refusal_that_says_so(
    commands: Path, tmp_path: Path, script: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("parsl")
    monkeypatch.setattr(batch, "SUBMIT_WITHIN", 1)
    _says(commands, "sbatch", script)
    with pytest.raises(ProviderError) as caught:
        ParslProvider("slurm", Blocks(provider="slurm")).submit(JobSpec("fx1", "true", tmp_path))
    assert said in str(caught.value)


@pytest.mark.parametrize(("command", "call"), [("squeue", slurm.jobs), ("scancel", None), ("sinfo", None)])
def test_a_slurm_that_hangs_is_told_by_the_command_that_did(
    commands: Path, command: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TIMEOUT", 0.2)
    _says(commands, "scontrol", "echo PartitionName=debug Default=YES")
    _says(commands, command, "exec sleep 60")
    provider = ParslProvider("slurm", Blocks(provider="slurm"))
    call = call or {"scancel": lambda: provider.cancel(["7"]), "sinfo": provider.look}[command]
    with pytest.raises(ProviderError, match=f"{command} did not answer within 0.2 s"):
        call()


def test_providers_of_allocations_are_few_and_made_again_when_they_are_needed(
    answers: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(batch, "PROVIDERS_MOST", 5)
    provider = ParslProvider("slurm", Blocks(provider="slurm", walltime="00:10:00"))
    first = provider._made("account=a0")
    made = [provider._made(f"account=a{n}") for n in range(5)]
    assert made[0] is first
    provider._made("account=a0")
    provider._made("account=a5")
    # Of those the one that was not used for the longest time went.
    assert provider._made("account=a0") is first
    for n in range(6, 200):
        assert provider._made(f"account=a{n}").account == f"a{n}"
        assert len(provider._providers) <= 5
    again = provider._made("account=a0")
    assert again is not first
    assert (again.account, again.walltime) == ("a0", "00:10:00")
    asked: list[str] = []
    monkeypatch.setattr(batch, "_execute", lambda cmd, *_, **__: asked.append(cmd) or (0, "Submitted batch job 77", ""))
    assert provider.submit(JobSpec("fx", "command", tmp_path, "account=a0")) == "77"
    assert "sbatch" in asked[0]
