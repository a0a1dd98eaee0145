"""A stand-in for the commands of LSF, Grid Engine, PBS Pro and Torque, which cannot be had here: one small scheduler on
this machine behind their words. It is as strict as they are known to be: an option, a directive or a queue that the
real command would refuse is refused with its kind of sentence. It was written after their manuals; no such system was
at hand.

`install(folder, dialect)` makes a directory of commands; a file `full` in it means that there is no room for new jobs.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIALECTS = {
    "lsf": ("bsub", "bjobs", "bkill"),
    "gridengine": ("qsub", "qstat", "qdel"),
    "pbspro": ("qsub", "qstat", "qdel"),
    "torque": ("qsub", "qstat", "qdel"),
}
QUEUES = ("batch", "long")
MARKS = {"lsf": "#BSUB", "gridengine": "#$", "pbspro": "#PBS", "torque": "#PBS"}
TAKE = {
    "lsf": "W J o e P q n R",
    "gridengine": "S o e l P q N",
    "pbspro": "S N m l o e q A",
    "torque": "S N m l o e q A",
}
"""Options that take a value."""
ALONE = {"lsf": "x", "gridengine": "cwd terse", "pbspro": "", "torque": ""}


def install(folder: Path, dialect: str) -> Path:
    """Commands of a dialect, in a directory to be put on the PATH."""
    commands = folder / "bin"
    (folder / "jobs").mkdir(parents=True)
    commands.mkdir()
    for name in DIALECTS[dialect]:
        line = shlex.join([sys.executable, __file__, dialect, str(folder), name])
        (commands / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (commands / name).chmod(0o755)
    return commands


class Refused(Exception):
    """What the command says, and its status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class Scheduler:
    """The jobs that there are: a JSON file each."""

    def __init__(self, dialect: str, folder: Path) -> None:
        self.dialect = dialect
        self.folder = folder

    def all(self) -> Iterator[dict[str, Any]]:
        """As they are now: who has room starts, whose process is gone or whose time is up has ended."""
        for path in sorted((self.folder / "jobs").glob("*.json"), key=lambda one: int(one.stem)):
            job = json.loads(path.read_text())
            if job["state"] == "wait" and not job["held"] and not (self.folder / "full").exists():
                self.begin(job)
            if job["state"] == "run" and not self.lives(job):
                job["state"] = "over"
            elif job["state"] == "run" and time.time() > job["began"] + job["seconds"]:
                self.end(job)
            self.save(job)
            yield job

    def save(self, job: dict[str, Any]) -> None:
        path = self.folder / "jobs" / f"{job['id']}.json"
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(job))
        fresh.replace(path)

    @staticmethod
    def lives(job: dict[str, Any]) -> bool:
        try:
            state = Path(f"/proc/{job['pid']}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state not in "ZX"

    @staticmethod
    def begin(job: dict[str, Any]) -> None:
        env = {**os.environ, "FAKE_JOB": job["id"]}
        with open(job["out"], "ab") as out, open(job["err"], "ab") as err:
            process = subprocess.Popen(
                ["/bin/bash", job["script"]],
                cwd=job["cwd"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        job |= {"state": "run", "pid": process.pid, "began": time.time()}

    def end(self, job: dict[str, Any]) -> None:
        """SIGTERM to its processes, SIGKILL to those that stay, nothing to those that left the group."""
        if job["state"] == "run":
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(job["pid"], number)
                except ProcessLookupError:
                    break
                end = time.monotonic() + 3
                while self.lives(job) and time.monotonic() < end:
                    time.sleep(0.02)
        job["state"] = "over"

    def submit(self, words: list[str]) -> str:
        said, rest = self.options(words, f"{DIALECTS[self.dialect][0]}: ")
        if self.dialect == "lsf":
            if rest:
                raise Refused("bsub reads directives on its standard input only: bsub < SCRIPT", 255)
            text = sys.stdin.read()
            rest = [str(self.folder / f"spooled-{os.getpid()}")]
        elif len(rest) != 1:
            raise Refused("qsub: say which script")
        else:
            text = Path(rest[0]).read_text()
        mark = MARKS[self.dialect]
        lines = [line.removeprefix(mark).strip() for line in text.splitlines() if line.startswith(f"{mark} ")]
        for line in lines:
            found, more = self.options(shlex.split(line), f"{mark} {line}: ")
            if more:
                raise Refused(f"{mark} {line}: what is {more[0]!r}?")
            # A word of the command line counts for more than one of the script.
            said = {**found, **said, "l": [*found.get("l", ()), *said.get("l", ())]}
        queue = str(said.get("q", "batch"))
        if queue not in QUEUES:
            raise Refused(
                {
                    "lsf": f"{queue}: No such queue. Job not submitted.",
                    "gridengine": f'Unable to run job: Job was rejected because job requests unknown queue "{queue}".',
                }.get(self.dialect, "qsub: Unknown queue MSG=requested queue not found"),
                {"lsf": 255}.get(self.dialect, 170),
            )
        number = 1 + max((int(one.stem) for one in (self.folder / "jobs").glob("*.json")), default=0)
        spooled = self.folder / f"script-{number}"
        spooled.write_text(text)
        job = {
            "id": str(number),
            "name": said.get("J") or said.get("N") or Path(rest[0]).name,
            "state": "wait",
            "held": False,
            "seconds": self.seconds(said),
            "out": said.get("o") or f"{number}.o",
            "err": said.get("e") or f"{number}.e",
            "script": str(spooled),
            "cwd": str(Path.cwd()),
            "options": {key: value for key, value in said.items() if key not in "oe"},
        }
        self.save(job)
        return {
            "lsf": f"Job <{number}> is submitted to queue <{queue}>.",
            "gridengine": str(number) if "terse" in said else f'Your job {number} ("{job["name"]}") has been submitted',
        }.get(self.dialect, f"{number}.head")

    def options(self, words: list[str], where: str) -> tuple[dict[str, Any], list[str]]:
        takes, alone = TAKE[self.dialect].split(), ALONE[self.dialect].split()
        said: dict[str, Any] = {"l": []}
        rest = list(words)
        while rest and rest[0].startswith("-"):
            word = rest.pop(0)[1:]
            if word in alone:
                said[word] = True
            elif word not in takes:
                raise Refused(f"{where}unknown option -{word}", 255)
            elif not rest:
                raise Refused(f"{where}option -{word} needs a value", 255)
            elif word == "l":
                said["l"].append(rest.pop(0))
            else:
                said[word] = rest.pop(0)
        return said, rest

    def seconds(self, said: dict[str, Any]) -> float:
        if self.dialect == "lsf":
            if not re.fullmatch(r"\d+(:\d\d)?", str(said.get("W", ""))):
                raise Refused(f"Bad RUNLIMIT specification: {said.get('W')}. Job not submitted.", 255)
            hours, _, minutes = str(said["W"]).rpartition(":")
            return int(hours or 0) * 3600 + int(minutes) * 60
        for resource in said["l"]:
            for part in str(resource).split(","):
                name, _, value = part.partition("=")
                if name in {"walltime", "h_rt"}:
                    hours, minutes, seconds = (int(number) for number in value.split(":"))
                    return hours * 3600 + minutes * 60 + seconds
        return 86400.0

    # What there is.

    def listed(self, words: list[str]) -> str:
        if self.dialect == "lsf":
            return self.bjobs(words)
        return self.qstat_xml(words) if self.dialect == "gridengine" else self.qstat_f(words)

    def bjobs(self, words: list[str]) -> str:
        parser = argparse.ArgumentParser()
        parser.add_argument("-a", action="store_true")
        parser.add_argument("-noheader", action="store_true")
        parser.add_argument("-o", required=True)
        asked = parser.parse_args(words)
        *fields, delimiter = asked.o.split()
        mark = delimiter.removeprefix("delimiter='").removesuffix("'")
        rows = []
        for job in self.all():
            state = {"run": "RUN", "wait": "PSUSP" if job["held"] else "PEND"}.get(job["state"], "EXIT")
            reason = "New job is waiting for scheduling;" if state == "PEND" else "-"
            row = {"jobid": job["id"], "stat": state, "job_name": job["name"], "pend_reason": reason}
            rows.append(mark.join(row[field] for field in fields))
        if not rows:
            raise Refused("No job found", 255)
        return "\n".join(rows)

    def qstat_xml(self, words: list[str]) -> str:
        if words != ["-u", getpass.getuser(), "-xml"]:
            raise Refused(f"qstat: what is {words}?")
        lists: dict[str, list[str]] = {"queue_info": [], "job_info": []}
        for job in self.all():
            if job["state"] == "over":
                continue
            state = "r" if job["state"] == "run" else "hqw" if job["held"] else "qw"
            lists["queue_info" if state == "r" else "job_info"].append(
                f'<job_list state="{"running" if state == "r" else "pending"}">'
                f"<JB_job_number>{job['id']}</JB_job_number>"
                f"<JB_name>{job['name']}</JB_name><JB_owner>{getpass.getuser()}</JB_owner><state>{state}</state></job_list>"
            )
        inner = "".join(f"<{name}>{''.join(rows)}</{name}>" for name, rows in lists.items())
        return f"<?xml version='1.0'?>\n<job_info>{inner}</job_info>"

    def qstat_f(self, words: list[str]) -> str:
        if words != ["-f"]:
            raise Refused(f"qstat: what is {words}?")
        text = ""
        for job in self.all():
            if job["state"] == "over":
                continue
            state = "R" if job["state"] == "run" else "H" if job["held"] else "Q"
            text += (
                f"Job Id: {job['id']}.head\n    Job_Name = {job['name']}\n    Job_Owner = {getpass.getuser()}@head\n"
                f"    job_state = {state}\n"
            )
            text += "    comment = Not Running: Insufficient amount of resource: nc\n\tpus\n" if state == "Q" else ""
            text += "    queue = batch\n\n"
        return text

    def cancel(self, words: list[str]) -> str:
        there = {job["id"]: job for job in self.all() if job["state"] != "over"}
        for word in words:
            number = word.partition(".")[0]
            if number not in there:
                raise Refused(f"{DIALECTS[self.dialect][2]}: Unknown job {word}", 153)
            self.end(there[number])
            self.save(there[number])
        return ""


def main() -> int:
    dialect, folder, name, *words = sys.argv[1:]
    scheduler = Scheduler(dialect, Path(folder))
    submit, listed, cancel = DIALECTS[dialect]
    try:
        said = {submit: scheduler.submit, listed: scheduler.listed, cancel: scheduler.cancel}[name](words)
    except Refused as error:
        print(error, file=sys.stderr)
        return error.status
    print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
