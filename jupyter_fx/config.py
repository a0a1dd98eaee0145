"""Settings that are right or refused: a misspelt one is an error that names it, its line, and what may have been meant.

traitlets by itself warns and goes on, and a program then runs with a setting that its owner believes to be another.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from traitlets import HasTraits
from traitlets.config import Application, Config
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from jupyter_fx.errors import ConfigError, UsageError

__all__ = ["bad_value", "check_config", "check_options", "line_of", "nearest", "read_config"]

_BUILT_IN = frozenset(
    {"help", "help-all", "version", "debug", "show-config", "show-config-json", "generate-config", "log-level"}
    | {"config"}
)
_RARE = frozenset({"show-config-json", "generate-config"})


def nearest(word: str, known: Iterable[str]) -> str:
    """`": did you mean 'x'?"` for the nearest of the known words, or a list of them all."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, 3, 0.6)
    if near:
        return ": did you mean " + " or ".join(repr(name) for name in near) + "?"
    return f"; there are {', '.join(names)}" if names else ""


def read_config(path: Path) -> Config:
    """What a configuration file says; nothing when there is none. ConfigError names the line that failed."""
    try:
        return PyFileConfigLoader(path.name, path=str(path.parent)).load_config()
    except ConfigFileNotFound:
        return Config()
    except Exception as error:  # the file is a person's Python: whatever it raises is told
        line = getattr(error, "lineno", None) or _raised_at(error, path)
        said = getattr(error, "msg", None) if isinstance(error, SyntaxError) else None
        raise ConfigError(f"{_place(path, line or 0)}: {type(error).__name__}: {said or error}") from error


def check_config(config: Mapping[str, Any], path: Path, classes: Sequence[type[HasTraits]]) -> None:
    """Refuse a setting of `config`, which came from the file at `path`, that none of `classes` has (ConfigError)."""
    known = {cls.__name__: cls for cls in classes}
    for section in config:
        if section not in known:
            written = " or ".join(f"c.{name}.NAME" for name in known)
            raise ConfigError(
                f"{_place(path, line_of(path, section))}: there is no c.{section} here; settings are written {written}"
            )
        names = known[section].class_trait_names(config=True)
        for key in config[section]:
            if key not in names:
                near = difflib.get_close_matches(key, names, 3, 0.5)
                hint = f"; nearest: {', '.join(near)}" if near else f"; there are: {', '.join(sorted(names))}"
                place = _place(path, line_of(path, f"{section}.{key}"))
                raise ConfigError(f"{place}: {section} has no setting {key!r}{hint}")


def bad_value(config: Mapping[str, Any], path: Path, error: Exception) -> ConfigError:
    """The ConfigError for a value that traitlets refused: its own sentence, which names trait and value, and where."""
    for section in config:
        for key in config[section]:
            if re.search(rf"\b{re.escape(key)}\b", str(error)):
                return ConfigError(f"{_place(path, line_of(path, f'{section}.{key}'))}: {error}")
    return ConfigError(f"{path}: {error}")


def check_options(app: Application, argv: Sequence[str]) -> None:
    """Refuse options of a command line that `app` does not have, naming the nearest that it has (UsageError)."""
    simple = {
        *(name for key in app.aliases for name in _names(key)),
        *(name for key in app.flags for name in _names(key)),
        *_BUILT_IN,
    }
    classes = {cls.__name__: cls for cls in app._classes_with_config_traits()}  # noqa: SLF001 - traitlets has no other
    classes.setdefault(type(app).__name__, type(app))
    for word in argv:
        if word == "--":
            return
        if not word.startswith("-") or word == "-" or word[1:2].isdigit():
            continue
        name = word.lstrip("-").partition("=")[0]
        if "." not in name:
            if word.startswith("--") and name not in simple:
                raise UsageError(f"{_called(app)} has no option --{name}{nearest(name, simple - _RARE)}")
            continue
        owner, _, trait = name.partition(".")
        if owner not in classes:
            raise UsageError(f"{_called(app)} has no configurable {owner!r}{nearest(owner, classes)}")
        known = classes[owner].class_trait_names(config=True)
        if trait.partition(".")[0] not in known:
            raise UsageError(f"{owner} has no option {trait!r}{nearest(trait, known)}")


def line_of(path: Path, text: str) -> int:
    """The first line of a file on which `text` stands as a word; 0 when it does on none."""
    pattern = re.compile(rf"\b{re.escape(text)}\b")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return next((number for number, line in enumerate(lines, 1) if pattern.search(line.partition("#")[0])), 0)


def _names(key: Any) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


def _place(path: Path, line: int) -> str:
    return f"{path}, line {line}" if line else str(path)


def _raised_at(error: BaseException, path: Path) -> int:
    found = 0
    traceback = error.__traceback__
    while traceback is not None:
        if Path(traceback.tb_frame.f_code.co_filename).name == path.name:
            found = traceback.tb_lineno
        traceback = traceback.tb_next
    return found


def _called(app: Application) -> str:
    return app.name.replace("jupyter-fx-", "jupyter fx ")
