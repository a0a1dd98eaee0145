"""The schema that forms are made from, what is said of wrong values, and the file that a form changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_fx.endpoint import configfile, setup
from jupyter_fx.endpoint.providers.slurm import Partition
from jupyter_fx.endpoint.scheduler import Offer, described
from jupyter_fx.endpoint.schema import given, problems, schema
from jupyter_fx.endpoint.settings import Blocks, Endpoint, config_path, load_blocks, load_settings
from jupyter_fx.errors import ConfigError, HubUnavailable, UsageError

OFFER = Offer(
    {
        "debug": Partition("debug", True, True, 2, 32, 128 << 30, 0, 7200.0),
        "gpu": Partition("gpu", False, True, 1, 64, 512 << 30, 4, 0.0),
    },
    ["chemistry", "physics"],
)


def test_every_setting_is_in_the_schema_with_its_help_and_what_it_is_by_itself() -> None:
    for cls in (Endpoint, Blocks):
        fields = schema()["properties"][cls.__name__]["properties"]
        missing = set(cls.class_own_traits(config=True)) - set(fields)
        assert missing == ({"hub"} if cls is Endpoint else set())
        assert all(field["description"] and field["title"] and "type" in field for field in fields.values())
        defaults = {key: field["default"] for key, field in fields.items()}
        assert problems({cls.__name__: defaults}) == {}, "what is so by itself is right"
        assert given({cls.__name__: defaults}) == {cls.__name__: {}}
    assert list(schema()["properties"]["Blocks"]["properties"])[:2] == ["provider", "partition"]
    # A browser reads it: JSON knows no infinity.
    json.dumps(schema(), allow_nan=False)


@pytest.mark.parametrize(
    ("section", "values", "field", "said"),
    [
        ("Blocks", {"walltime": "90 minutes"}, "walltime", "HH:MM:SS, such as 01:30:00"),
        ("Blocks", {"max_blocks": 0}, "max_blocks", "1 at least"),
        ("Blocks", {"max_blocks": 1.5}, "max_blocks", "a whole number is needed"),
        ("Blocks", {"max_blocks": True}, "max_blocks", "a whole number is needed"),
        ("Blocks", {"parallelism": float("nan")}, "parallelism", "a number is needed"),
        ("Blocks", {"parallelism": 2}, "parallelism", "1 at most"),
        ("Blocks", {"provider": "slrum"}, "provider", "did you mean 'slurm'"),
        ("Blocks", {"setup": "module load x"}, "setup", "a list is needed"),
        ("Blocks", {"setup": ["module\nload"]}, "setup", "one line of text"),
        ("Blocks", {"partition": "debug\n#SBATCH --uid=0"}, "partition", "one line of text"),
        ("Blocks", {"patrition": "debug"}, "patrition", "did you mean 'partition'"),
        ("Blocks", {"init_blocks": 2}, "init_blocks", "more than max_blocks, which is 1"),
        ("Blocks", {"provider": "slurm", "walltime": ""}, "walltime", "a batch job needs a limit"),
        ("Blocks", {"provider": "slurm", "partition": "debgu"}, "partition", "did you mean 'debug'"),
        ("Blocks", {"provider": "slurm", "account": "art"}, "account", "there are chemistry, physics"),
        ("Blocks", {"provider": "slurm", "walltime": "03:00:00"}, "walltime", "debug allows 120 min at most"),
        ("Blocks", {"provider": "slurm", "gpus_per_node": 1}, "gpus_per_node", "debug has 0 at most"),
        ("Endpoint", {"env": {"A": 1}}, "env", "its parts are texts"),
        ("Endpoint", {"hub": "https://elsewhere"}, "hub", "no such setting"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(section: str, values: dict[str, Any], field: str, said: str) -> None:
    found = problems({section: values}, OFFER)
    assert list(found) == [f"{section}.{field}"]
    assert said in found[f"{section}.{field}"]


def test_several_things_that_slurm_would_refuse_are_said_at_once() -> None:
    asked = {"provider": "slurm", "partition": "gpu", "gpus_per_node": 8, "cores_per_node": 65, "walltime": "99:00:00"}
    assert set(problems({"Blocks": asked}, OFFER)) == {"Blocks.gpus_per_node", "Blocks.cores_per_node"}


def test_each_partition_comes_with_settings_that_it_takes() -> None:
    for one in described(OFFER)["partitions"]:
        assert problems({"Blocks": {"provider": "slurm", **one["fitting"]}}, OFFER) == {}


def test_a_change_leaves_what_its_owner_wrote_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(
        "c = get_config()\n# mine\nwide = 8\nc.Blocks.setup = [\n    'module load python',\n]\n"
        "c.Blocks.max_blocks = 2  # two are enough\nc.Endpoint.workers = wide\nif wide:\n    c.Endpoint.workers = 9\n"
    )
    values = {"Blocks": {"setup": ["source /opt/env"], "max_blocks": 2, "nodes": 3}, "Endpoint": {"workers": 5}}
    assert configfile.change(path, values)
    assert path.read_text() == (
        "c = get_config()\n# mine\nwide = 8\nc.Blocks.setup = ['source /opt/env']\n"
        "c.Blocks.max_blocks = 2  # two are enough\nc.Endpoint.workers = 5\nif wide:\n    c.Endpoint.workers = 9\n"
        "c.Blocks.nodes = 3\nc.Endpoint.workers = 5\n"
    )
    assert load_blocks(path).nodes == 3
    assert load_settings(path).workers == 5
    assert not configfile.change(path, values)
    before = path.read_text()
    with pytest.raises(ConfigError, match=r"config\.py, line"):
        configfile.change(path, {"Blocks": {"walltime": "soon"}})
    assert path.read_text() == before
    assert [one.name for one in tmp_path.iterdir()] == ["config.py"]


def test_nothing_is_left_of_an_endpoint_that_no_hub_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"JUPYTER_FX_{name}_DIR", str(tmp_path / name))

    def no_hub() -> tuple[str, str]:
        raise HubUnavailable("the fx hub is not running")

    with pytest.raises(HubUnavailable):
        setup.create("cluster", {"Blocks": {"provider": "local"}}, [], no_hub)
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]
    with pytest.raises(UsageError, match="cannot be the name"):
        setup.create("../up", {}, [], no_hub)
    config_path("mine").write_text("c = get_config()\n")
    with pytest.raises(UsageError, match="already: choose another name"):
        setup.create("mine", {}, [], no_hub)
    assert config_path("mine").exists()
