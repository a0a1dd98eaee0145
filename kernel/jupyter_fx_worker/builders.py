"""The programs that build images from definitions: which there are, their command lines, what their errors mean.

Nothing is run here. Charliecloud's ch-image and Podman are run by our tests; the command lines of Apptainer and
Singularity follow their manuals and are compared as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from jupyter_fx_worker.definitions import DEF, DOCKERFILE, Definition, Step
from jupyter_fx_worker.kept import BuildError

__all__ = ["BUILDERS", "Builder", "Order", "choose", "explain"]


class Order(NamedTuple):
    """What is to be built. `tag`: its name in the builder's store; `file`: the definition; `context`: its folder."""

    tag: str
    file: str
    context: str
    target: str
    pull: bool
    options: Sequence[str]


class Builder(NamedTuple):
    """One of them. `runtime`: what starts its images; `form`: what comes of it."""

    runtime: str
    program: str
    takes: str
    form: str
    build: Callable[[Order], list[str]]


def _charliecloud(order: Order) -> list[str]:
    return ["ch-image", "build", *order.options, "-t", order.tag, "-f", order.file, order.context]


def _podman(order: Order) -> list[str]:
    pull = "--pull=missing" if order.pull else "--pull=never"
    return ["podman", "build", pull, *order.options, "--tag", order.tag, "--file", order.file, order.context]


def _apptainer(program: str) -> Callable[[Order], list[str]]:
    return lambda order: [program, "build", *order.options, order.target, order.file]


BUILDERS = (
    Builder("charliecloud", "ch-image", DOCKERFILE, "directory", _charliecloud),
    Builder("podman", "podman", DOCKERFILE, "archive", _podman),
    Builder("apptainer", "apptainer", DEF, "sif", _apptainer("apptainer")),
    Builder("singularity", "singularity", DEF, "sif", _apptainer("singularity")),
)
"""All of them, in the order in which they are tried."""

_OTHER = {
    DOCKERFILE: "write a NAME.def (Bootstrap, From, %post)",
    DEF: "write a Dockerfile (FROM, RUN)",
}


def choose(kind: str, wanted: str, present: Collection[str], node: str) -> Builder:
    """Who builds. `wanted`: the runtime that the endpoint's owner chose, or auto; `present`: installed programs."""
    fit = [one for one in BUILDERS if one.takes == kind]
    if wanted != "auto":
        chosen = [one for one in BUILDERS if one.runtime == wanted]
        if not chosen:
            does = ", ".join(one.runtime for one in BUILDERS)
            raise BuildError(
                f"this endpoint's images are started by {wanted} (c.Containers.runtime), for which none are built: "
                f"{does} can; ask its owner"
            )
        if chosen[0] not in fit:
            raise BuildError(
                f"this endpoint's images are started by {wanted} (c.Containers.runtime), which takes no {kind}: "
                f"{_OTHER[kind]}"
            )
        fit = chosen
    found = next((one for one in fit if one.program in present), None)
    if found is not None:
        return found
    needs = " or ".join(one.program for one in fit)
    others = [one for one in BUILDERS if one.program in present and one.takes != kind]
    instead = f", or {_OTHER[kind]}, which {others[0].program} takes" if others and wanted == "auto" else ""
    raise BuildError(f"{node} has nothing that builds a {kind}: ask for {needs} there{instead}")


# What their errors mean.

_STEP = re.compile(r"^(?:\[(\d+)/\d+\] )?STEP (\d+)/\d+: ", re.MULTILINE)
_LINE = re.compile(r"^ {1,4}(\d+)[.*] [A-Z]", re.MULTILINE)
_PARSE = re.compile(r"can't parse: [^\n]*?:(\d+)")
_STATUS = re.compile(r"exited with (\d+)|exit status (\d+)|exit code (\d+)")
_NOISE = re.compile(
    r"^(STEP \d|\[\d+/\d+\] STEP|-->|something went wrong|hint:|warning:|error: build failed|"
    r"Error: (error )?building at STEP|time=\"|copying image|INFO:| {1,4}\d+[.*] [A-Z]|\s*$|"
    r"FATAL:\s+While performing build: while running engine)"
)
_CURES = (
    (
        re.compile(r"Temporary failure resolving|Could not resolve|Name or service not known|Network is unreachable"),
        "the node that builds has no way there: its owner can give it a proxy (c.Endpoint.env)",
    ),
    (
        re.compile(r"Unable to locate package|has no installation candidate"),
        "`apt-get update &&` before it in this RUN",
    ),
    (re.compile(r"No space left on device|Disk quota exceeded"), "free space where the builder keeps its images"),
    (
        re.compile(r"Operation not permitted|changing ownership|chown failed|setgroups|seteuid|hint: try --force"),
        "the program wants to be root: have the owner set c.Containers.build_options = {'charliecloud': ['--force']}",
    ),
    (
        re.compile(r"newuidmap|subuid|/etc/subgid"),
        "Podman needs numbers of yours in /etc/subuid there: ask who runs it",
    ),
)


def explain(builder: Builder, definition: Definition, status: int, said: str) -> str:
    """Why it failed, as a sentence: the line of the definition, what was said there, and the cure if one is known."""
    step = _failed(builder, definition, said)
    codes = _STATUS.findall(said)
    code = next((one for one in codes[-1] if one), "") if codes else str(status)
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _NOISE.match(line)]
    words = " ".join(lines[-1].split())[:300].rstrip(".") if lines else "it said nothing"
    if _PARSE.search(said):
        words = f"{builder.program} cannot read it"
    words = re.sub(r"^(error|Error|FATAL):\s*", "", words)
    told = [line for line in said.splitlines() if line.startswith("hint:") or not _NOISE.match(line)]
    cure = next((cure for pattern, cure in _CURES if pattern.search("\n".join(told))), "")
    if cure and "--force" in cure and builder.program != "ch-image":
        cure = ""
    where = f"line {step.line}, `{f'{step.word} {step.rest}'.strip()[:80]}`," if step else f"{builder.program}"
    return f"{where} ended with status {code}: {words}" + (f"; {cure}" if cure else "")


def _failed(builder: Builder, definition: Definition, said: str) -> Step | None:
    """The instruction at which it ended."""
    steps = definition.steps
    if builder.takes == DEF:
        return next((step for step in reversed(steps) if step.word == "%post"), None)
    if match := _PARSE.search(said):
        return next((step for step in reversed(steps) if step.line <= int(match[1])), None)
    if builder.program == "ch-image":
        begun = _LINE.findall(said)
        return next((step for step in reversed(steps) if begun and step.line <= int(begun[-1])), None)
    told = _STEP.findall(said)
    if not told:
        return next((step for step in steps if step.word == "FROM"), None)
    stage, number = int(told[-1][0] or 1) - 1, int(told[-1][1])
    of_stage = [step for step in steps if step.stage == stage]
    return of_stage[number - 1] if 0 < number <= len(of_stage) else None
