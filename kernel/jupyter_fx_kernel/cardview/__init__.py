"""How a card looks where nothing draws its own MIME type: in words and as a page without scripts.

Everything here takes a snapshot (`card.schema.json`), whoever made it, and gives text. The kernel's card calls it.
"""

from __future__ import annotations

from jupyter_fx_kernel.cardview.page import page
from jupyter_fx_kernel.cardview.words import duration, line, text

__all__ = ["duration", "line", "page", "text"]
