"""Choices of account, partition and so on, as they travel."""

from __future__ import annotations

import pytest

from jupyter_fx.errors import UsageError
from jupyter_fx.protocol.allocation import WORDS, chosen, offered, text_of

OFFERS = {
    "account": ["physics", "chemistry"],
    "partition": ["debug", "gpu"],
    "qos": ["normal"],
    "constraint": ["a100", "ib"],
    "reservation": [],
}


def test_equal_choices_are_equal_texts() -> None:
    text = text_of({"partition": "gpu", "account": "physics", "qos": ""})
    assert text == "account=physics;partition=gpu"
    assert chosen(text) == {"account": "physics", "partition": "gpu"}
    assert text_of({}) == ""
    assert chosen("") == {}


@pytest.mark.parametrize("value", ["a b", "a\n#SBATCH -A x", "a;b", "a,b", "$(id)", "`id`", "'", '"', "a=b", "x" * 300])
@pytest.mark.parametrize("word", WORDS[:-1])
def test_no_value_becomes_a_line_a_command_or_another_choice(word: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{word} must be one word"):
        text_of({word: value})


@pytest.mark.parametrize(
    "text", ["partition", "partition=", "qos=a;account=b", "a=b", "partition=a,b", ";", "walltime=5"]
)
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        chosen(text)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"account": "physics", "partition": "gpu", "qos": "normal"}, ""),
        ({"constraint": "a100&ib"}, ""),
        ({"walltime": "00:10:00"}, ""),
        ({"account": "phisics"}, "Slurm lets you charge no account 'phisics'; there are chemistry, physics"),
        ({"partition": "gpus"}, "Slurm has no partition 'gpus'; there are debug, gpu"),
        ({"qos": "high"}, "Slurm lets you use no qos 'high'; there are normal"),
        ({"constraint": "ib&h100"}, "Slurm has no nodes with the feature 'h100'; there are a100, ib"),
        ({"reservation": "mine"}, "Slurm has no reservation 'mine'; there are none"),
    ],
)
def test_what_is_not_offered_is_told_with_what_is(choice: dict[str, str], said: str) -> None:
    assert offered(text_of(choice), OFFERS, "Slurm") == said
    assert offered(text_of(choice), {}, "Slurm") == "", "what is not known is left to the scheduler"
