"""Tab and `?` inside of remote cells: what the session's worker knows, within a short time, else what is known here.

Everything else is left to IPython: a matcher of its completer, and a look before the kernel's own `do_inspect`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from jupyter_fx.errors import FxError, UsageError
from jupyter_fx_kernel.options import Options, completing, parse_cell
from jupyter_fx_kernel.session import Notebook, Session

__all__ = ["Completion", "Place", "place_of"]

WITHIN = 0.3
"""Seconds that the worker has for its answer; after that what is known here must do."""
_CELL = re.compile(r"\s*%%remote\b(?P<line>[^\n]*)")
_LINE = re.compile(r"\s*(?:[\w\s,.\[\]'\"]+=\s*)?%remote\b(?P<rest>.*)")
_FX = re.compile(r"\s*%fx\s+(?P<words>[^\n]*)$")
_BLANK_LINE = re.compile(r"^[ \t]+$", re.MULTILINE)
_PLAIN_NAME = re.compile(r"(?:^|[^\w.\"'\])}])[^\W\d]?\w*$")
"""The cursor is behind (the beginning of) a name by itself: not behind a dot, nor inside of a key."""

Verbs = dict[str, Callable[[Notebook], Iterable[str]]]


class Place(NamedTuple):
    """Where in which remote code the cursor is. `options`: those of the magic's line."""

    options: Options
    code: str
    at: int


def place_of(text: str, at: int) -> Place | None:
    """The remote code at the cursor; None when the cursor is in none (nor behind the magic's own options)."""
    cell = _CELL.match(text)
    if cell is not None:
        if at <= cell.end():
            return None
        blank = text[: cell.start()] + re.sub(r"[^\n]", "#", cell.group()) + text[cell.end() :]
        # A comment of the same length, for IPython's completer stumbles over lines of nothing but blanks.
        return Place(_options(cell["line"]), _BLANK_LINE.sub(lambda line: "#" * len(line.group()), blank), at)
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line = text[begin : len(text) if end < 0 else end]
    found = _LINE.match(line)
    if found is None or at - begin <= found.start("rest"):
        return None
    taken, expression = completing(found["rest"])
    start = found.end() - len(expression)
    if at - begin < start:
        return None
    return Place(taken, " " * start + expression, at - begin)


def _options(line: str) -> Options:
    try:
        return parse_cell(line)
    except UsageError:
        return Options()


class Completion:
    """One per notebook. `install` hooks into the shell, `remove` unhooks."""

    def __init__(self, notebook: Notebook, verbs: Verbs) -> None:
        self.notebook = notebook
        self._verbs = verbs
        self._matcher: Any = None
        self._inspect: Any = None

    def install(self) -> None:
        """Have completion and inspection ask us first."""
        shell = self.notebook.shell
        if getattr(shell, "Completer", None) is not None and self._matcher is None:
            from IPython.core.completer import context_matcher

            # A function: IPython notes what it knows of a matcher as attributes, which a method cannot have.
            self._matcher = context_matcher(priority=200, identifier="jupyter_fx")(lambda asked: self._match(asked))
            shell.Completer.custom_matchers.append(self._matcher)
        kernel = getattr(shell, "kernel", None)
        if kernel is not None and hasattr(kernel, "do_inspect") and self._inspect is None:
            self._inspect = kernel.do_inspect
            kernel.do_inspect = functools.partial(self._inspected, kernel.do_inspect)

    def remove(self) -> None:
        """Leave no trace."""
        shell = self.notebook.shell
        if self._matcher is not None and self._matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self._matcher)
        if self._inspect is not None:
            del shell.kernel.do_inspect
        self._matcher = self._inspect = None

    # --- completion ---

    def _match(self, context: Any) -> dict[str, Any]:
        """A matcher of IPython's: it must not raise, and not wait for long."""
        from IPython.core.completer import SimpleCompletion

        lines = context.full_text.split("\n")
        at = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        found = self.complete(context.full_text, at)
        if found is None:
            return {"completions": []}
        start, matches, alone = found
        return {
            "completions": [SimpleCompletion(text=text, type=kind) for text, kind in matches],
            "matched_fragment": context.full_text[start:at],
            "suppress": alone,
        }

    def complete(self, text: str, at: int) -> tuple[int, list[tuple[str, str]], bool] | None:
        """(where the completed text starts, [(text, type)], whether nothing else is to be offered); None: not ours."""
        own = self._own_words(text, at)
        if own is not None:
            return own
        place = place_of(text, at)
        session = self._session(place)
        if place is None or session is None:
            return None
        answer, _why = session.handle.ask("complete", {"code": place.code, "at": place.at}, within=WITHIN)
        matches = [(str(word), str(kind)) for word, kind in answer.get("matches") or ()]
        if not matches:
            return None
        start = at - (place.at - int(answer.get("start") or 0))
        # Of a name alone both sides know some: what is here would travel. An attribute is the session's to know.
        return start, matches, not _PLAIN_NAME.search(text[:at])

    def _session(self, place: Place | None) -> Session | None:
        if place is None or place.options.stateless or not self.notebook.sessions:
            return None
        return self.notebook.find(place.options.endpoint, place.options.session)

    def _own_words(self, text: str, at: int) -> tuple[int, list[tuple[str, str]], bool] | None:
        """Options and names on the line of a magic of ours."""
        before = text[:at]
        line = before.rpartition("\n")[2]
        found = _FX.match(line)
        if found is not None:
            words = found["words"].split(" ")
            if len(words) == 1:
                return self._offer(words[0], at, [*self._verbs], "magic")
            known = self._verbs.get(words[0])
            return None if known is None else self._offer(words[-1], at, known(self.notebook), "keyword")
        cell = _CELL.match(text)
        if cell is None or at > cell.end() or at < cell.start("line") or not cell["line"]:
            return None
        word = line.rpartition(" ")[2]
        last = line[: len(line) - len(word)].split()[-1:]
        if word.startswith("-"):
            return self._offer(word, at, Options.words(), "keyword")
        if last == ["--session"]:
            return self._offer(word, at, {name for _, name in self.notebook.sessions}, "session")
        if last in (["-i"], ["-o"], ["--inputs"], ["--outputs"]):
            return None
        return self._offer(word, at, self.notebook.endpoint_names(), "endpoint")

    @staticmethod
    def _offer(word: str, at: int, known: Iterable[str], kind: str) -> tuple[int, list[tuple[str, str]], bool] | None:
        found = [(name, kind) for name in sorted(known) if name.startswith(word)]
        return (at - len(word), found, True) if found else None

    # --- inspection ---

    def _inspected(
        self, ordinary: Any, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Sequence[str] = ()
    ) -> Any:
        """The kernel's `do_inspect`."""
        try:
            data = self.inspect(code, cursor_pos, detail_level)
        except (FxError, ValueError, TypeError):
            data = {}
        if not data:
            return ordinary(code, cursor_pos, detail_level, omit_sections)
        if not self.notebook.shell.enable_html_pager:
            data.pop("text/html", None)
        return {"status": "ok", "found": True, "data": data, "metadata": {}}

    def inspect(self, code: str, at: int, detail: int) -> dict[str, str]:
        """What the session tells of the name at the cursor, by MIME type; {} when it does not know or not answer."""
        place = place_of(code, at)
        session = self._session(place)
        if place is None or session is None:
            return {}
        asked = {"code": place.code, "at": place.at, "detail": detail}
        answer, _why = session.handle.ask("inspect", asked, within=WITHIN)
        return dict(answer.get("data") or {}) if answer.get("found") else {}
