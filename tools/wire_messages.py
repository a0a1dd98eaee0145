"""Write docs/wire-messages.md, the list of every message and its fields, from jupyter_fx.protocol.messages.

Run it (`make docs`) after a message changed; with ``--check`` it only says whether the page is stale.
"""

from __future__ import annotations

import enum
import inspect
import sys
from pathlib import Path

import msgspec

from jupyter_fx.protocol import messages, parts

PAGE = Path(__file__).resolve().parent.parent / "docs" / "wire-messages.md"
HEAD = """# Every message and its fields

<!-- Made by tools/wire_messages.py from jupyter_fx/protocol/messages.py: change it there, then `make docs`. -->

[The wire protocol](wire-protocol.md) says who sends what and why. Messages are msgpack arrays in the order of the
fields below, led by their number. Fields are only ever appended, with a default; numbers are never used again.
"""


def page() -> str:
    """The whole page."""
    structs = [getattr(messages, name) for name in messages.__all__]
    structs = [found for found in structs if inspect.isclass(found) and issubclass(found, msgspec.Struct)]
    tagged = sorted((found for found in structs if found.__struct_config__.tag is not None), key=_number)
    untagged = [found for found in structs if found.__struct_config__.tag is None]
    enums = [found for found in vars(parts).values() if inspect.isclass(found) and issubclass(found, enum.IntEnum)]
    enums = [found for found in enums if found.__module__ == parts.__name__]
    sections = [
        HEAD,
        f"Protocol version {messages.VERSION}; the oldest that is understood is {messages.OLDEST_VERSION}.\n",
        "## Messages\n",
        *(_struct(found, f"{_number(found)} {found.__name__}") for found in tagged),
        "## Parts of messages\n",
        *(_struct(found, found.__name__) for found in untagged),
        "## Numbers with names\n",
        *(_enum(found) for found in enums),
    ]
    return "\n".join(sections)


def _number(struct: type[msgspec.Struct]) -> int:
    tag = struct.__struct_config__.tag
    return tag if isinstance(tag, int) else -1


def _struct(struct: type[msgspec.Struct], title: str) -> str:
    lines = [f"### {title}\n", f"{_doc(struct)}\n"]
    fields = msgspec.structs.fields(struct)
    annotations = {
        name: kind for base in reversed(struct.__mro__) for name, kind in inspect.get_annotations(base).items()
    }
    if fields:
        lines += ["| field | type | when left out |", "|---|---|---|"]
        for field in fields:
            kind = str(annotations.get(field.name, field.type)).replace("|", "\\|")
            lines.append(f"| {field.name} | `{kind}` | {_default(field)} |")
        lines.append("")
    return "\n".join(lines)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
        return f"`{value!r}`" if isinstance(value, (list, dict, set)) else "its defaults"
    if field.default is msgspec.NODEFAULT:
        return "must be there"
    if isinstance(field.default, msgspec.Struct):
        return "its defaults"
    return f"`{field.default.name if isinstance(field.default, enum.Enum) else repr(field.default)}`"


def _enum(kind: type[enum.IntEnum]) -> str:
    members = ", ".join(f"{member.value} {member.name}" for member in kind)
    return f"### {kind.__name__}\n\n{_doc(kind)}\n\n{members}\n"


def _doc(thing: type) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 when it is stale."""
    fresh = page()
    if "--check" in arguments:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh
        if stale:
            print(f"{PAGE.name} does not show the messages as they are: run `make docs`")
        return int(stale)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
