"""Write jupyter_fx/locale/jupyter_fx.pot, every text of the labextension for its translators (docs/jupyterlab.md).

Run it (`make docs`) after a text changed; with ``--check`` it only says whether the catalogue is stale. It reads the
calls of JupyterLab's translators (``trans.__``, ``_n``, ``_p``, ``_np``) in the source, the settings' schema, and the
schema that forms of endpoints are made from.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_fx.endpoint.schema import schema

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "labextension" / "src"
SETTINGS = ROOT / "labextension" / "schema" / "settings.json"
CATALOGUE = ROOT / "jupyter_fx" / "locale" / "jupyter_fx.pot"
HEAD = """# Texts of jupyter-fx in JupyterLab and Notebook 7.
# Made by tools/messages.py from the labextension's source: change it there, then `make docs`.
msgid ""
msgstr ""
"Project-Id-Version: jupyter_fx\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"""

CALL = re.compile(r"rans\s*\.\s*(_np|_n|_p|__)\(\s*")
TEXT = re.compile(r"""'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)\"""")
COMMA = re.compile(r"\s*,\s*")
FROM_SCHEMA = re.compile(r"'form', schema\.(title|description)\b")
"""The one place where what is translated is no literal: forms are drawn from a schema, which is read here."""
SHAPES = {"__": ("text",), "_n": ("text", "many"), "_p": ("context", "text"), "_np": ("context", "text", "many")}


class Message(NamedTuple):
    """What one entry of the catalogue is known by, and its plural."""

    context: str
    text: str
    many: str = ""


def in_source(path: Path) -> Iterator[Message]:
    """The messages of a module. One that cannot be read here could not be translated: that is an error."""
    source = path.read_text(encoding="utf-8")
    for call in CALL.finditer(source):
        if FROM_SCHEMA.match(source, call.end()):
            continue
        found, at = [], call.end()
        for _ in SHAPES[call[1]]:
            literal = TEXT.match(source, at)
            if literal is None:
                line = source.count("\n", 0, call.start()) + 1
                raise SystemExit(f"{path.relative_to(ROOT)}:{line}: give {call[1]}() its texts as literals")
            found.append(unescaped(literal[1] if literal[1] is not None else literal[2]))
            comma = COMMA.match(source, literal.end())
            at = comma.end() if comma else literal.end()
        named = dict(zip(SHAPES[call[1]], found, strict=True))
        yield Message(named.get("context", ""), named["text"], named.get("many", ""))


def unescaped(literal: str) -> str:
    """A string of TypeScript's as it is; of its escapes we use these."""
    return literal.replace("\\'", "'").replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")


def in_settings() -> Iterator[Message]:
    """What the settings editor shows, in the contexts that JupyterLab looks it up."""
    found = json.loads(SETTINGS.read_text(encoding="utf-8"))
    yield Message("schema", found["title"])
    yield Message("schema", found["description"])
    yield Message("settings", found["jupyter.lab.setting-icon-label"])
    for one in found["properties"].values():
        yield Message("settings", one["title"])
        yield Message("settings", one["description"])


def in_forms() -> Iterator[Message]:
    """The fields of forms, from the schema that the server sends."""
    sections: dict[str, Any] = schema()["properties"]
    for section in sections.values():
        for one in section["properties"].values():
            yield Message("form", one["title"])
            yield Message("form", one["description"])


def catalogue() -> str:
    """The whole file: places without line numbers, so that it changes only when a text does."""
    places: dict[Message, set[str]] = {}
    for path in sorted(SOURCES.rglob("*.ts")):
        for message in in_source(path):
            places.setdefault(message, set()).add(path.relative_to(ROOT).as_posix())
    for name, messages in (
        ("labextension/schema/settings.json", in_settings()),
        ("jupyter_fx/endpoint/settings.py", in_forms()),
    ):
        for message in messages:
            places.setdefault(message, set()).add(name)
    plurals: dict[tuple[str, str], Message] = {}
    for message in places:
        other = plurals.setdefault(message[:2], message)
        if other != message:
            raise SystemExit(f"two plurals of one text, of which gettext knows one: {other} and {message}")
    entries = [_entry(message, sorted(where)) for message, where in places.items() if message.text]
    return "\n".join([HEAD, *entries])


def _entry(message: Message, places: list[str]) -> str:
    lines = [f"#: {' '.join(places)}"]
    if message.context:
        lines.append(f"msgctxt {_quoted(message.context)}")
    lines.append(f"msgid {_quoted(message.text)}")
    lines += (
        [f"msgid_plural {_quoted(message.many)}", 'msgstr[0] ""', 'msgstr[1] ""'] if message.many else ['msgstr ""']
    )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def main() -> int:
    """Write the catalogue, or with ``--check`` compare it."""
    text = catalogue()
    if "--check" in sys.argv[1:]:
        if not CATALOGUE.exists() or CATALOGUE.read_text(encoding="utf-8") != text:
            print(f"{CATALOGUE.relative_to(ROOT)} is stale: run tools/messages.py")
            return 1
        return 0
    CATALOGUE.parent.mkdir(exist_ok=True)
    CATALOGUE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
