"""The options of `%%remote` and `%remote`."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from typing import Any, NoReturn

from jupyter_fx.config import nearest
from jupyter_fx.errors import UsageError
from jupyter_fx.ids import check_name
from jupyter_fx.protocol.allocation import WORDS

__all__ = ["Options", "Parser", "completing", "names", "parse_cell", "parse_line", "seconds"]


@dataclass(frozen=True)
class Options:
    """What was asked for. Durations are seconds, 0 means none."""

    endpoint: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    capture: bool = True
    background: bool = False
    name: str = ""
    timeout: float = 0.0
    expires: float = 0.0
    stateless: bool = False
    retries: int = 0
    session: str = "main"
    dry_run: bool = False

    @staticmethod
    def words() -> list[str]:
        """The options as they are written, for completion."""
        return sorted(_takes_value(_parser("%%remote")))


class Parser(argparse.ArgumentParser):
    """Raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Say in one sentence what is wrong with the line."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown == message:
            raise UsageError(f"{self.prog}: {message.removeprefix('argument ')}")
        word = unknown.split()[0].partition("=")[0]
        if word.startswith("-"):
            if word.removeprefix("--") in {*WORDS, "cores", "gpus", "memory", "image", "exclusive"}:
                raise UsageError(
                    f"{self.prog} has no option {word}: a session keeps what it opened with; say it before, as in "
                    f"`%fx use ENDPOINT {word} …`"
                )
            known = [option for option in self._option_string_actions if option.startswith("--")]
            raise UsageError(f"{self.prog} has no option {word}{nearest(word, known)}")
        raise UsageError(f"{unknown.split()[0]!r} is one word too many on the line of {self.prog}")


def seconds(text: str) -> float:
    """Seconds of `90`, `90s`, `5m`, `2h`, `1d`. Raises what argparse wants for something else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        value = float(number) * unit
    except ValueError:
        value = -1.0
    if not 0 < value < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 90, 90s, 5m, 2h or 1d")
    return value


def names(text: str) -> tuple[str, ...]:
    """The names of `a,b`. Raises what argparse wants for something else."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if bad := [name for name in found if not name.isidentifier()]:
        raise argparse.ArgumentTypeError(f"{bad[0]!r} is no variable name: write -i a,b")
    return found


def _parser(program: str) -> Parser:
    parser = Parser(prog=program, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("-i", "--inputs", type=names, action="append", default=[], metavar="a,b")
    add("-o", "--outputs", type=names, action="append", default=[], metavar="x,y")
    add("--no-capture", action="store_true")
    add("--bg", action="store_true")
    add("--name", default="")
    add("--timeout", type=seconds, default=0.0, metavar="S")
    add("--expires", type=seconds, default=0.0, metavar="S")
    add("--stateless", action="store_true")
    add("--retries", type=int, default=0, metavar="N")
    add("--session", default="main", metavar="NAME")
    add("--dry-run", action="store_true")
    return parser


def _options(found: argparse.Namespace) -> Options:
    if found.retries and not found.stateless:
        raise UsageError("--retries needs --stateless: a session's cell has changed its session and is never run twice")
    if not 0 <= found.retries <= 100:
        raise UsageError("--retries is a number from 0 to 100")
    return Options(
        endpoint=found.endpoint or "",
        inputs=tuple(name for group in found.inputs for name in group),
        outputs=tuple(name for group in found.outputs for name in group),
        capture=not found.no_capture,
        background=found.bg,
        name=found.name[:200],
        timeout=found.timeout,
        expires=found.expires,
        stateless=found.stateless,
        retries=found.retries,
        session=check_name(found.session, "name of a session"),
        dry_run=found.dry_run,
    )


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"the line of %%remote cannot be read: {error}") from None


def parse_cell(line: str) -> Options:
    """Options of `%%remote [ENDPOINT] …`. Raises UsageError."""
    parser = _parser("%%remote")
    parser.add_argument("endpoint", nargs="?", default="")
    return _options(parser.parse_args(_split(line)))


def parse_line(line: str) -> tuple[Options, str]:
    """(options, expression) of `%remote [options] expression`; `-e NAME` names the endpoint. Raises UsageError."""
    parser = _parser("%remote")
    parser.add_argument("-e", "--endpoint", default="")
    taken, rest = _cut(line.strip(), parser)
    if not rest:
        raise UsageError(
            "%remote takes an expression, as in `%remote model.score(X, y)`; for statements write %%remote"
        )
    return _options(parser.parse_args(taken)), rest


def completing(line: str) -> tuple[Options, str]:
    """As `parse_line` of a line that is being written: (options as far as they are right, expression). Never raises."""
    parser = _parser("%remote")
    parser.add_argument("-e", "--endpoint", default="")
    taken, rest = _cut(line.lstrip(), parser)
    try:
        return _options(parser.parse_args(taken)), rest
    except UsageError:
        return Options(), rest


def _cut(line: str, parser: argparse.ArgumentParser) -> tuple[list[str], str]:
    """The words of the options before the expression, and the expression."""
    taken: list[str] = []
    rest = line
    takes_value = _takes_value(parser)
    while rest.startswith("-"):
        word, _, tail = rest.partition(" ")
        if word.partition("=")[0] not in takes_value:
            break
        taken.append(word)
        rest = tail.lstrip()
        if takes_value[word.partition("=")[0]] and "=" not in word:
            value, _, tail = rest.partition(" ")
            taken.append(value)
            rest = tail.lstrip()
    return taken, rest


def _takes_value(parser: argparse.ArgumentParser) -> dict[str, bool]:
    actions: list[Any] = parser._actions  # noqa: SLF001 - argparse tells it in no other way
    return {option: action.nargs != 0 for action in actions for option in action.option_strings}
