"""Who builds what, by which command line, and what is made of what they say when it fails."""

from __future__ import annotations

import pytest

from jupyter_fx_worker.builders import BUILDERS, Order, choose, explain
from jupyter_fx_worker.definitions import DEF, DOCKERFILE, parse
from jupyter_fx_worker.kept import BuildError

_OF = {one.runtime: one for one in BUILDERS}
_ORDER = Order("tag", "/x/definition", "/x/context", "/x/root.sif", False, ("--more",))


def test_the_command_lines() -> None:
    said = {name: " ".join(one.build(_ORDER)) for name, one in _OF.items()}
    assert said == {
        "charliecloud": "ch-image build --more -t tag -f /x/definition /x/context",
        "podman": "podman build --pull=never --more --tag tag --file /x/definition /x/context",
        "apptainer": "apptainer build --more /x/root.sif /x/definition",
        "singularity": "singularity build --more /x/root.sif /x/definition",
    }
    assert "--pull=missing" in _OF["podman"].build(_ORDER._replace(pull=True))


def test_the_first_that_is_there_and_takes_it() -> None:
    everything = {one.program for one in BUILDERS}
    assert choose(DOCKERFILE, "auto", everything, "n1").runtime == "charliecloud"
    assert choose(DOCKERFILE, "podman", everything, "n1").runtime == "podman"
    assert choose(DEF, "auto", everything, "n1").runtime == "apptainer"


@pytest.mark.parametrize(
    ("kind", "wanted", "present", "why"),
    [
        (DEF, "auto", {"podman"}, "or write a Dockerfile .FROM, RUN., which podman takes"),
        (DOCKERFILE, "auto", {"apptainer"}, "ask for ch-image or podman there, or write a NAME.def"),
        (DOCKERFILE, "auto", set(), "n1 has nothing that builds a Dockerfile: ask for ch-image or podman there$"),
        (DEF, "podman", {"podman", "apptainer"}, "takes no definition file of Apptainer: write a Dockerfile"),
        (DOCKERFILE, "shifter", {"podman"}, "started by shifter .* for which none are built"),
    ],
)
def test_who_cannot_take_it_refuses_it_with_a_cure(kind: str, wanted: str, present: set[str], why: str) -> None:
    with pytest.raises(BuildError, match=why):
        choose(kind, wanted, present, "n1")


_TEXT = "FROM base:1\n# c\nENV A=b\nRUN echo hello \\\n  && true\nRUN apt-get install nosuch\n"
# What these programs said, word by word.
_CH_IMAGE = """  1* FROM base:1
  3. ENV A='b'
copying image from cache ...
  4. RUN echo hello   && true
hello
  6. RUN apt-get install nosuch
E: Unable to locate package nosuch
something went wrong, rolling back ...
error: build failed: RUN command exited with 100
hint: current version of --force wouldn't help
"""
_PODMAN = """STEP 1/4: FROM localhost/base:1
STEP 2/4: ENV A=b
--> 776e00f5c3e
STEP 3/4: RUN echo hello   && true
hello
--> 6970e67b335
STEP 4/4: RUN apt-get install nosuch
E: Unable to locate package nosuch
Error: building at STEP "RUN apt-get install nosuch": while running runtime: exit status 100
"""


@pytest.mark.parametrize(("runtime", "said"), [("charliecloud", _CH_IMAGE), ("podman", _PODMAN)])
def test_the_line_that_failed_is_named_with_its_cure(runtime: str, said: str) -> None:
    why = explain(_OF[runtime], parse(DOCKERFILE, _TEXT), 1, said)
    assert why == (
        "line 6, `RUN apt-get install nosuch`, ended with status 100: E: Unable to locate package "
        "nosuch; `apt-get update &&` before it in this RUN"
    )


def test_stages_are_counted_by_themselves() -> None:
    text = "ARG A=1\nFROM x AS one\nRUN true\nFROM y\nCOPY --from=one /a /\nRUN false\n"
    said = "[1/2] STEP 1/2: FROM x AS one\n[2/2] STEP 3/3: RUN false\nError: exit status 1\n"
    assert explain(_OF["podman"], parse(DOCKERFILE, text), 1, said).startswith("line 6, `RUN false`,")


def test_a_section_stands_for_apptainers_script() -> None:
    text = "Bootstrap: localimage\nFrom: x.sif\n%post\n  nosuch\n"
    said = (
        "INFO:    Starting build...\n+ nosuch\n/.post.script: 1: nosuch: not found\n"
        "FATAL:   While performing build: while running engine: exit status 127\n"
    )
    why = explain(_OF["apptainer"], parse(DEF, text), 255, said)
    assert why == "line 3, `%post`, ended with status 127: /.post.script: 1: nosuch: not found"


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("  2. RUN chown 5:5 /x\n/bin/sh: 1: chown: not found\nhint: current version of --force wouldn't help\n", ""),
        ("  2. RUN apt-get update\nE: setgroups 65534 failed - setgroups (1: Operation not permitted)\n", "--force"),
        ("  2. RUN true\nerror: build failed: x\nhint: try --force: fakeroot\n", "--force"),
        ("  2. RUN true\ncurl: (6) Could not resolve host: example.org\n", "proxy"),
    ],
)
def test_a_cure_is_for_what_was_said_not_for_what_was_asked(said: str, cure: str) -> None:
    why = explain(_OF["charliecloud"], parse(DOCKERFILE, "FROM x\nRUN y\n"), 1, said)
    assert cure in why
    assert cure or ";" not in why
