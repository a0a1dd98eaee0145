"""An endpoint's settings as a JSON schema, made from their traits, and what is wrong with given ones, field by field.

A form is drawn from the schema; what it sends is judged here and by the traits themselves, as a file is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import traitlets
from traitlets.config import Config, Configurable

from jupyter_fx.config import nearest
from jupyter_fx.endpoint.providers import slurm
from jupyter_fx.endpoint.scheduler import Offer
from jupyter_fx.endpoint.settings import Blocks, Endpoint

__all__ = ["Values", "given", "problems", "schema"]

Values = Mapping[str, Mapping[str, Any]]
"""{"Endpoint" | "Blocks": {setting: value}}."""
_CLASSES: Final[dict[str, type[Configurable]]] = {"Blocks": Blocks, "Endpoint": Endpoint}
_FIRST: Final = {
    "Blocks": ("provider", "partition", "account", "walltime", "max_blocks", "nodes", "cores_per_node",
               "memory_per_node", "gpus_per_node", "setup"),
    "Endpoint": ("workers", "preload", "max_sessions"),
}  # fmt: skip
"""What most people set; a form shows the rest when it is asked for."""
_ELSEWHERE: Final = {"Endpoint": {"hub"}}
"""Settings that are not a matter of a form: which hub it is was decided when it was made."""
_WORDS: Final = {"qos": "QoS", "mb": "MiB", "gpu": "GPU", "gpus": "GPUs", "tcp": "TCP"}
_TYPES: Final = {"string": str, "boolean": bool, "array": list, "object": dict}
_NAMED: Final = {"string": "a text", "boolean": "true or false", "array": "a list", "object": "names with values"}


def schema() -> dict[str, Any]:
    """Draft 2020-12; `x-first` marks what a form shows at once, `x-form` says how a value is written."""
    return {"type": "object", "properties": {name: _section(cls) for name, cls in _CLASSES.items()}}


def _section(cls: type[Configurable]) -> dict[str, Any]:
    traits, name = cls.class_own_traits(config=True), cls.__name__
    first = [key for key in _FIRST[name] if key in traits]
    # After those, in the order in which the class has them.
    rest = [key for key in vars(cls) if key in traits and key not in first and key not in _ELSEWHERE.get(name, ())]
    properties = {key: {**_property(key, traits[key]), **({"x-first": True} if key in first else {})}
                  for key in first + rest}  # fmt: skip
    return {"type": "object", "title": name, "properties": properties, "additionalProperties": False}


def _property(name: str, trait: Any) -> dict[str, Any]:
    words = [_WORDS.get(word, word) for word in name.split("_")]
    title = " ".join(words)
    found = {"title": title[0].upper() + title[1:], "description": trait.help, "default": trait.default()}
    if isinstance(trait, traitlets.Enum):
        return {**found, "type": "string", "enum": list(trait.values or ())}
    if isinstance(trait, traitlets.Bool):
        return {**found, "type": "boolean"}
    if isinstance(trait, (traitlets.Int, traitlets.Float)):
        kind = "integer" if isinstance(trait, traitlets.Int) else "number"
        limits = {"minimum": trait.min, "maximum": trait.max}
        # JSON has no infinity.
        some = {key: value for key, value in limits.items() if value is not None and math.isfinite(value)}
        return {**found, "type": kind, **some}
    if isinstance(trait, traitlets.List):
        return {**found, "type": "array", "items": {"type": "string"}}
    if isinstance(trait, traitlets.Dict):
        return {**found, "type": "object", "additionalProperties": {"type": "string"}}
    pattern, form = trait.metadata.get("pattern"), trait.metadata.get("form")
    return {**found, "type": "string", **({"pattern": pattern, "x-form": form} if pattern else {})}


def given(values: Values) -> dict[str, dict[str, Any]]:
    """Those of the values that are not what is so by itself."""
    known = schema()["properties"]
    return {
        section: {key: value for key, value in found.items() if known[section]["properties"][key]["default"] != value}
        for section, found in values.items()
    }


def problems(values: Values, offer: Offer | None = None) -> dict[str, str]:
    """What is wrong, by field ("Blocks.walltime"), a sentence each; with an `offer` what Slurm will never run, too."""
    found: dict[str, str] = {}
    known = schema()["properties"]
    for section, settings in values.items():
        if section not in known:
            found[section] = f"there are no settings of {section!r}{nearest(section, known)}"
            continue
        fields = known[section]["properties"]
        for key, value in settings.items():
            name = f"{section}.{key}"
            if key not in fields:
                found[name] = f"there is no such setting{nearest(key, fields)}"
            elif wrong := _wrong(fields[key], value):
                found[name] = wrong
    if found:
        return found
    try:
        Endpoint(config=Config({"Endpoint": dict(values.get("Endpoint", {}))}))
        blocks = Blocks(config=Config({"Blocks": dict(values.get("Blocks", {}))}))
    except traitlets.TraitError as error:
        name = next((f"{s}.{key}" for s in values for key in values[s] if re.search(rf"\b{key}\b", str(error))), "")
        return {name: str(error)}
    found |= {f"Blocks.{key}": text for key, text in blocks.problems()}
    if offer is not None and blocks.provider == "slurm":
        for problem in slurm.problems(blocks, offer.partitions, offer.accounts):
            found.setdefault(f"Blocks.{problem.field}", problem.sentence)
    return found


def _wrong(field: Mapping[str, Any], value: Any) -> str:
    """What is wrong with one value; empty when nothing is."""
    kind: str = field["type"]
    if kind in {"integer", "number"}:
        whole = isinstance(value, int) or (kind == "number" and isinstance(value, float) and math.isfinite(value))
        if not whole or isinstance(value, bool):
            return "a whole number is needed" if kind == "integer" else "a number is needed"
        if value < field.get("minimum", value):
            return f"it is {field['minimum']:g} at least"
        return f"it is {field['maximum']:g} at most" if value > field.get("maximum", value) else ""
    of_kind: bool = isinstance(value, _TYPES[kind])
    if not of_kind:
        return f"{_NAMED[kind]} is needed"
    if "enum" in field and value not in field["enum"]:
        return f"there is no {value!r} here{nearest(value, [one for one in field['enum'] if one])}"
    if isinstance(value, (list, dict)) and any(not isinstance(one, str) for one in _texts(value)):
        return "its parts are texts"
    if any("\0" in one or (kind != "object" and "\n" in one) for one in _texts(value)):
        return "it is one line of text" if kind == "string" else "each of its parts is one line of text"
    if "pattern" in field and not re.search(field["pattern"], value):
        return f"it is written {field['x-form']}"
    return ""


def _texts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
