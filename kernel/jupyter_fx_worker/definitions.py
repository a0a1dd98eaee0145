"""What a definition of an image says: its instructions with their lines, its bases, the files that it copies. Pure.

Two languages: that of Dockerfiles (Containerfiles), and that of Apptainer and Singularity (NAME.def).
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

__all__ = ["DEF", "DOCKERFILE", "Base", "Copy", "Definition", "DefinitionError", "Step", "parse", "plain", "unlisted"]

DOCKERFILE = "Dockerfile"
DEF = "definition file of Apptainer"
_WORDS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_SECTIONS = (
    *("setup", "files", "environment", "post", "runscript", "startscript", "test", "labels", "help"),
    *("pre", "arguments", "appinstall", "appenv", "apprun", "applabels", "apphelp", "appfiles", "apptest", "appstart"),
)
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")


class DefinitionError(ValueError):
    """It cannot be built as it stands; the text says what is wrong. `line`: where, 0 if nowhere."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


class Step(NamedTuple):
    """An instruction or a section: its first line, its word, what follows. `stage`: counted from 0."""

    line: int
    word: str
    rest: str
    stage: int


class Base(NamedTuple):
    """What is built on, or copied from. `agent`: how Apptainer gets it; empty in a Dockerfile."""

    line: int
    name: str
    agent: str = ""


class Copy(NamedTuple):
    """A file, a folder or a pattern, below the definition's own folder."""

    line: int
    source: str


class Definition(NamedTuple):
    """See the module."""

    kind: str
    steps: tuple[Step, ...]
    bases: tuple[Base, ...]
    copies: tuple[Copy, ...]


def parse(kind: str, text: str) -> Definition:
    """Read it. DefinitionError says what can be seen to be wrong before anything is run."""
    return _dockerfile(text) if kind == DOCKERFILE else _def(text)


def plain(definition: Definition, text: str) -> str:
    """A Dockerfile for those who know less than Docker: bases said out, no comments within an instruction."""
    lines = text.split("\n")
    for base in definition.bases:
        line = lines[base.line - 1]
        if re.match(r"\s*FROM\s", line, re.IGNORECASE):
            lines[base.line - 1] = re.sub(r"[^\s=]*\$\S+", base.name, line, count=1)
    goes_on = False
    for at, line in enumerate(lines):
        said = line.strip()
        if goes_on and (not said or said.startswith("#")):
            lines[at] = "\\"
        elif not said.startswith("#"):
            goes_on = said.endswith("\\")
    return "\n".join(lines)


def unlisted(definition: Definition, allowed: Iterable[str]) -> Base | None:
    """The first base that an allow-list does not have. An empty list has all."""
    patterns = list(allowed)
    for base in definition.bases if patterns else ():
        names = {base.name, _full(base.name)} if not base.name.startswith("/") else {base.name}
        if base.name != "scratch" and not any(fnmatchcase(name, entry) for name in names for entry in patterns):
            return base
    return None


def _full(name: str) -> str:
    """As registries know it: `python:3.12` is docker.io/library/python:3.12."""
    first, slash, _ = name.partition("/")
    if slash and (set(first) & set(".:") or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


# Dockerfiles.


def _dockerfile(text: str) -> Definition:
    steps = _steps(text)
    bases: list[Base] = []
    copies: list[Copy] = []
    stages: set[str] = set()
    known: dict[str, str] = {}
    for step in steps:
        if step.word == "ARG" and step.stage < 0:
            name, _, value = step.rest.partition("=")
            known[name.strip()] = _value(value, known, step.line)
        elif step.word == "FROM":
            words = [word for word in step.rest.split() if not word.startswith("--")]
            if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
                raise DefinitionError("FROM is written FROM IMAGE, or FROM IMAGE AS NAME", step.line)
            base = _value(words[0], known, step.line)
            if base.lower() not in stages:
                bases.append(Base(step.line, base))
            stages |= {words[-1].lower(), str(step.stage)} if len(words) == 3 else {str(step.stage)}
        else:
            asked = step
            if step.word == "ONBUILD":
                word, _, rest = step.rest.partition(" ")
                asked = step._replace(word=word.upper(), rest=rest.strip())
            if asked.word in {"COPY", "ADD"}:
                _copied(asked, stages, bases, copies)
            elif asked.word == "RUN":
                _mounted(asked, stages, bases)
    if not bases:
        raise DefinitionError("there is no FROM: a Dockerfile begins with the image that it builds on")
    return Definition(DOCKERFILE, tuple(steps), tuple(bases), tuple(copies))


def _steps(text: str) -> list[Step]:
    found: list[Step] = []
    lines = text.split("\n")
    mark = "`" if re.match(r"(\s*#[^\n]*\n)*\s*#\s*escape\s*=\s*`", text) else "\\"
    at, stage = 0, -1
    while at < len(lines):
        first, said = at, ""
        while at < len(lines):
            line = lines[at].strip()
            first = first if said.strip() else at
            at += 1
            if line.startswith("#") or (said and not line):
                continue
            said += line
            if not line.endswith(mark):
                break
            said = said[: -len(mark)] + " "
        said = said.strip()
        if not said:
            continue
        word, _, rest = said.partition(" ")
        word = word.upper()
        if word not in _WORDS:
            near = difflib.get_close_matches(word, _WORDS, 1)
            raise DefinitionError(
                f"there is no instruction {word[:40]!r}" + (f": did you mean {near[0]}?" if near else ""), first + 1
            )
        for _quote, end in _HEREDOC.findall(rest) if word in {"RUN", "COPY", "ADD"} else ():
            while at < len(lines) and lines[at].strip() != end:
                at += 1
            at += 1
        stage += word == "FROM"
        if stage < 0 and word != "ARG":
            raise DefinitionError(f"{word} stands before the first FROM", first + 1)
        found.append(Step(first + 1, word, rest.strip(), stage))
    return found


def _value(text: str, known: dict[str, str], line: int) -> str:
    """With its variables put in: who reads it knows no other values than those of the ARGs before FROM."""

    def put(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        value = known.get(name) or match[2]
        if not value:
            raise DefinitionError(f"${name} has no value here: write ARG {name}=VALUE before the first FROM", line)
        return value

    return _VARIABLE.sub(put, text.strip().strip("'\""))


def _copied(step: Step, stages: set[str], bases: list[Base], copies: list[Copy]) -> None:
    rest, origin = step.rest, ""
    while match := re.match(r"--([\w-]+)(?:=(\S*))?\s+", rest):
        origin = match[2] or "" if match[1] == "from" else origin
        rest = rest[match.end() :]
    if origin:
        if origin.lower() not in stages:
            bases.append(Base(step.line, origin))
        return
    if _HEREDOC.match(rest):
        return
    try:
        words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
    except ValueError:
        words = []
    if len(words) < 2:
        raise DefinitionError(f"{step.word} is written {step.word} SOURCE … TARGET", step.line)
    for source in words[:-1]:
        if re.match(r"(https?|ftp|git)[:@]", source):
            continue
        if "$" in source:
            raise DefinitionError(f"{step.word} {source}: a source with a variable is not known here", step.line)
        copies.append(Copy(step.line, source))


def _mounted(step: Step, stages: set[str], bases: list[Base]) -> None:
    for option in re.findall(r"--mount=(\S+)", step.rest):
        said = dict(part.partition("=")[::2] for part in option.split(","))
        if origin := said.get("from"):
            if origin.lower() not in stages:
                bases.append(Base(step.line, origin))
        elif said.get("type", "bind") == "bind":
            raise DefinitionError("RUN --mount=type=bind reads a folder that does not travel: use COPY", step.line)


# Definition files of Apptainer and Singularity.


def _def(text: str) -> Definition:
    steps: list[Step] = []
    bases: list[Base] = []
    copies: list[Copy] = []
    stage, section = -1, ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if match := re.match(r"%(\w+)\s*(.*)", raw):
            section = match[1].lower()
            if section not in _SECTIONS:
                near = difflib.get_close_matches(section, _SECTIONS, 1)
                raise DefinitionError(
                    f"there is no section %{section}" + (f": did you mean %{near[0]}?" if near else ""), number
                )
            steps.append(Step(number, f"%{section}", match[2], stage))
            if section in {"files", "appfiles"} and match[2].lower().startswith("from "):
                section = "of another stage"
        elif match := re.match(r"(bootstrap|from|stage|include|mirrorurl|osversion)\s*:\s*(.*)", line, re.IGNORECASE):
            key, value = match[1].lower(), match[2].split("#")[0].strip()
            if key == "bootstrap":
                stage, section = stage + 1, ""
                steps.append(Step(number, "Bootstrap:", value, stage))
                bases.append(Base(number, value, value.lower()))
            elif key == "from" and not section and bases:
                bases[-1] = Base(number, value, bases[-1].agent)
        elif section in {"files", "appfiles"} and line and not line.startswith("#"):
            try:
                source = shlex.split(line)[0]
            except ValueError:
                raise DefinitionError(
                    f"%files: {line[:100]!r} has a quotation mark without its other", number
                ) from None
            if source.startswith(("/", "~")):
                raise DefinitionError(f"%files: {source} does not travel: only what is below this folder does", number)
            copies.append(Copy(number, source))
    if not bases:
        raise DefinitionError("there is no Bootstrap: a definition file begins with where its base comes from")
    return Definition(DEF, tuple(steps), tuple(bases), tuple(copies))
