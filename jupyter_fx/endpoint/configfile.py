"""An endpoint's configuration file: written when it is made, and changed without touching what its owner wrote."""

from __future__ import annotations

import ast
import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traitlets.config import Configurable

from jupyter_fx.config import read_config
from jupyter_fx.endpoint.pods import Kubernetes
from jupyter_fx.endpoint.schema import Values, schema
from jupyter_fx.endpoint.settings import TEMPLATE, Blocks, Endpoint, load_blocks, load_settings
from jupyter_fx.errors import FxError

__all__ = ["change", "make", "values_of"]


def make(path: Path, name: str, values: Values, told: Sequence[str] = ()) -> None:
    """Write the file of the endpoint `name`: `values`, what was `told`, and every setting as a comment.

    ConfigError or UsageError, and no file, when the values are wrong.
    """
    active = [f"c.{section}.{key} = {value!r}" for section, found in values.items() for key, value in found.items()]
    parts = [TEMPLATE.format(name=name).rstrip("\n"), "", *told, *active, *([""] if active else [])]
    parts += ["# Everything that can be set, with what it is by itself:", "", *_all(Endpoint), *_all(Blocks)]
    if values.get("Blocks", {}).get("provider") == "kubernetes":
        parts += _all(Kubernetes)
    _replace(path, "\n".join(parts))


def _all(cls: type[Configurable]) -> list[str]:
    """Every setting as a comment: its help and its default."""
    lines = []
    for name, trait in sorted(cls.class_traits(config=True).items()):
        lines += [f"# {trait.help}", f"# c.{cls.__name__}.{name} = {trait.default()!r}", ""]
    return lines


def values_of(path: Path) -> dict[str, dict[str, Any]]:
    """What a file says and what is so by itself, of all that the schema has. ConfigError when it is wrong."""
    found: dict[str, Any] = {"Endpoint": load_settings(path), "Blocks": load_blocks(path)}
    known = schema()["properties"]
    return {section: {key: getattr(found[section], key) for key in known[section]["properties"]} for section in known}


def change(path: Path, values: Values) -> bool:
    """Have the file say these values; whether that was a change.

    A plain assignment is replaced where it stands; where there is none, or where something after it says otherwise, a
    line is added at the end. ConfigError or UsageError, and the file as it was, when they are wrong.
    """
    now = values_of(path)
    wanted = [(s, key, value) for s, found in values.items() for key, value in found.items() if now[s][key] != value]
    if not wanted:
        return False
    text = path.read_text(encoding="utf-8") if path.exists() else TEMPLATE.format(name=path.parent.name)
    lines = text.splitlines()
    added = []
    for section, key, value in wanted:
        line = f"c.{section}.{key} = {value!r}"
        there = _assigned("\n".join(lines), section, key)
        if there is None:
            added.append(line)
        else:
            lines[slice(*there)] = [line]
    _replace(path, "\n".join([*lines, *added]))
    said = read_config(path)
    missed = [(s, key, value) for s, key, value in wanted if said[s].get(key) != value]
    if missed:
        more = [f"c.{section}.{key} = {value!r}" for section, key, value in missed]
        _replace(path, "\n".join([*lines, *added, *more]))
    return True


def _assigned(text: str, section: str, key: str) -> tuple[int, int] | None:
    """(first line, line after the last) of the last plain assignment to a setting; None when there is none."""
    found = None
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = ast.unparse(node.targets[0]).split(".")
            alone = text.splitlines()[node.lineno - 1 : node.end_lineno or node.lineno]
            if target[1:] == [section, key] and target[0] == "c" and ";" not in alone[-1]:
                found = (node.lineno - 1, node.end_lineno or node.lineno)
    return found


def _replace(path: Path, text: str) -> None:
    """Put the text in the file's place if it is a good configuration, whole or not at all."""
    fresh = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        fresh.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        if path.exists():
            fresh.chmod(path.stat().st_mode & 0o777)
        load_settings(fresh)
        load_blocks(fresh)
        fresh.replace(path)
    except FxError as error:
        raise type(error)(error.message.replace(str(fresh), str(path))) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
