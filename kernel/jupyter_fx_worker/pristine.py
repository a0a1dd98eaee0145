"""Arrays that nobody has written to, told without reading them.

The memory of a large array that was sent here is a private mapping of a file: a page is copied when it is first
written to. As long as Linux says that none of its pages was, the array is what came, however large it is.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["is_pristine"]

_SMAPS = "/proc/self/smaps"
_HEAD = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ..(?:.)p [0-9a-f]+ \S+ [1-9]\d*")
# Copied pages belong to no file. (Private_Dirty also counts those that the file itself has yet to write down.)
_COPIED = (b"Anonymous:", b"Swap:")


def is_pristine(array: Any) -> bool:
    """Whether all memory of a numpy array is in one private mapping of a file of which no page was written to.

    False where that cannot be told.
    """
    if not array.flags.c_contiguous and not array.flags.f_contiguous:
        return False
    first = int(array.__array_interface__["data"][0])
    last = first + int(array.nbytes)
    try:
        with open(_SMAPS, "rb") as file:
            inside = False
            for line in file:
                if not line[:1].isupper():
                    if inside:
                        return True
                    head = _HEAD.match(line)
                    inside = head is not None and int(head[1], 16) <= first and last <= int(head[2], 16)
                elif inside and line.startswith(_COPIED) and line.split()[1] != b"0":
                    return False
            return inside
    except OSError:
        return False
