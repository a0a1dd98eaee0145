"""What definitions of images say, and what is seen to be wrong with them before anything is run."""

from __future__ import annotations

import pytest

from jupyter_fx_worker.definitions import DEF, DOCKERFILE, DefinitionError, parse, plain, unlisted

_WHOLE = """# syntax=docker/dockerfile:1
ARG VERSION=3.12
ARG WHERE
FROM --platform=linux/amd64 python:${VERSION} AS first
RUN apt-get update \\
    # why
    && apt-get install -y gfortran

COPY --chown=1:1 one.txt "two words.txt" /opt/
ADD ["a b", "https://example.org/x", "/opt/"]
FROM docker.io/library/debian:12
COPY --from=first /opt /opt
COPY --from=ghcr.io/tools:1 /bin/tool /bin/
RUN --mount=type=bind,from=quay.io/x:2,target=/x true
ONBUILD COPY late.txt /
"""


def test_a_dockerfile_is_read_with_its_lines() -> None:
    found = parse(DOCKERFILE, _WHOLE)
    assert [(step.line, step.word, step.stage) for step in found.steps] == [
        (2, "ARG", -1),
        (3, "ARG", -1),
        (4, "FROM", 0),
        (5, "RUN", 0),
        (9, "COPY", 0),
        (10, "ADD", 0),
        (11, "FROM", 1),
        (12, "COPY", 1),
        (13, "COPY", 1),
        (14, "RUN", 1),
        (15, "ONBUILD", 1),
    ]
    assert [(base.line, base.name) for base in found.bases] == [
        (4, "python:3.12"),
        (11, "docker.io/library/debian:12"),
        (13, "ghcr.io/tools:1"),
        (14, "quay.io/x:2"),
    ]
    assert [copy.source for copy in found.copies] == ["one.txt", "two words.txt", "a b", "late.txt"]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("FROM x\nRUNN y\n", 2, "there is no instruction 'RUNN': did you mean RUN?"),
        ("\n\nRUN y\nFROM x\n", 3, "RUN stands before the first FROM"),
        ("# nothing\n", 0, "there is no FROM"),
        ("FROM x y\n", 1, "FROM is written"),
        ("FROM $BASE\n", 1, "$BASE has no value here: write ARG BASE=VALUE"),
        ("FROM x\nCOPY one\n", 2, "COPY is written COPY SOURCE … TARGET"),
        ("FROM x\nRUN a\nCOPY $ONE /\n", 3, "a source with a variable"),
        ("FROM x\nRUN --mount=type=bind,source=a,target=/a true\n", 2, "use COPY"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(DefinitionError) as error:
        parse(DOCKERFILE, text)
    assert error.value.line == line
    assert why in str(error.value)


def test_texts_within_instructions_are_no_instructions() -> None:
    found = parse(
        DOCKERFILE, "FROM x\nRUN <<EOF\nNOT an instruction\nEOF\nCOPY <<'END' /file\nFROM nowhere\nEND\nUSER y\n"
    )
    assert [(step.line, step.word) for step in found.steps] == [(1, "FROM"), (2, "RUN"), (5, "COPY"), (8, "USER")]
    assert found.copies == ()


def test_a_definition_file_of_apptainer_is_read() -> None:
    text = (
        "Bootstrap: docker\nFrom: python:3.12\nStage: build\n\n%files\n  one.txt /opt/\n%post\n  From: nothing\n"
        "Bootstrap: localimage\nFrom: /apps/base.sif\n%files from build\n  /opt/one /opt/\n"
    )
    found = parse(DEF, text)
    assert [(base.agent, base.name) for base in found.bases] == [
        ("docker", "python:3.12"),
        ("localimage", "/apps/base.sif"),
    ]
    assert [copy.source for copy in found.copies] == ["one.txt"]
    for wrong, line, why in (
        ("%post\n true\n", 0, "no Bootstrap"),
        ("Bootstrap: x\n%pots\n", 2, "did you mean %post?"),
        ("Bootstrap: x\n%files\n /etc/x /y\n", 3, "does not travel"),
    ):
        with pytest.raises(DefinitionError, match=why) as error:
            parse(DEF, wrong)
        assert error.value.line == line


def test_bases_are_held_against_an_allow_list_by_all_their_names() -> None:
    found = parse(DOCKERFILE, _WHOLE)
    mine = ["docker.io/library/*", "ghcr.io/tools:?"]
    missing = unlisted(found, mine)
    assert missing is not None
    assert (missing.line, missing.name) == (14, "quay.io/x:2")
    assert unlisted(found, [*mine, "quay.io/*"]) is None
    assert unlisted(found, []) is None
    assert unlisted(parse(DOCKERFILE, "FROM scratch\n"), mine) is None


def test_for_those_who_know_less_than_docker_it_is_said_plainly() -> None:
    text = plain(parse(DOCKERFILE, _WHOLE), _WHOLE)
    lines = text.split("\n")
    assert lines[3] == "FROM --platform=linux/amd64 python:3.12 AS first"
    assert lines[5] == "\\"
    assert len(lines) == len(_WHOLE.split("\n"))
