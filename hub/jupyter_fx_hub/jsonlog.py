"""One JSON line per log record; control characters are escaped, so that a line is a line."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

__all__ = ["JsonFormatter"]

_SECRET = re.compile(r"jfx[ec]?[_-][A-Za-z0-9_\-]{12,}")
"""Tokens, credentials and codes, should one ever get into a message."""


class JsonFormatter(logging.Formatter):
    """{"t", "level", "logger", "message", "traceback"?}"""

    def format(self, record: logging.LogRecord) -> str:
        """One line of ASCII: JSON escapes everything below 0x20, and here everything above 0x7e, too."""
        line = {
            "t": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = _clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True).replace("\x7f", "\\u007f")


def _clean(text: str) -> str:
    return _SECRET.sub("[secret]", text)
