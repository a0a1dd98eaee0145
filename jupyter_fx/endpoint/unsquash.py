"""Unpacks the SquashFS files that environments are kept in, where a node has no program that mounts them.

Of the format (version 4.0, Linux: Documentation/filesystems/squashfs.rst) it reads what `specpack` writes: gzip,
directories, files and links.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["UnpackError", "unpack"]

_MAGIC: Final = 0x73717368
_GZIP: Final = 1
_SUPER: Final = struct.Struct("<5I6H8Q")
_COMMON: Final = struct.Struct("<4H2I")
_FRAGMENT: Final = struct.Struct("<QII")
_NONE: Final = 0xFFFFFFFF
_PLAIN: Final = 1 << 24
"""Set in the size of a block that is not compressed."""
_DIRECTORY, _FILE, _LINK = (1, 8), (2, 9), (3, 10)
_PER_BLOCK: Final = 512
"""Fragments that one block of their table tells of."""


class UnpackError(ValueError):
    """This is no file that can be unpacked here; the text says why."""


class _Stopped(Exception):
    pass


class _Inode(NamedTuple):
    kind: int
    mode: int
    when: int
    rest: _Cursor


class _Cursor:
    """Reads on in a table of compressed blocks of metadata."""

    def __init__(self, data: mmap.mmap, place: int, offset: int) -> None:
        self._data = data
        self._next = place
        self._held = b""
        self._fill()
        self._held = self._held[offset:]

    def _fill(self) -> None:
        (head,) = struct.unpack_from("<H", self._data, self._next)
        size = head & 0x7FFF
        raw = self._data[self._next + 2 : self._next + 2 + size]
        self._next += 2 + size
        self._held += raw if head & 0x8000 else zlib.decompress(raw)

    def take(self, size: int) -> bytes:
        while len(self._held) < size:
            self._fill()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))


class _Image:
    """An open file."""

    def __init__(self, data: mmap.mmap, stop: Callable[[], bool]) -> None:
        self._data = data
        self._stop = stop
        found = _SUPER.unpack_from(data)
        if found[0] != _MAGIC:
            raise UnpackError("it is no SquashFS file")
        if found[5] != _GZIP or found[9] != 4:
            raise UnpackError("it is compressed in another way than with gzip, or of another version than 4")
        self._block = found[3]
        self.root = found[11]
        self._inodes, self._folders, self._fragments = found[15], found[16], found[17]
        self._last: tuple[int, bytes] = (-1, b"")

    def inode(self, ref: int) -> _Inode:
        cursor = _Cursor(self._data, self._inodes + (ref >> 16), ref & 0xFFFF)
        kind, mode, _uid, _gid, when, _number = _COMMON.unpack(cursor.take(_COMMON.size))
        return _Inode(kind, mode, when, cursor)

    def entries(self, inode: _Inode) -> Iterator[tuple[str, int]]:
        """Names in a directory, and where their inodes are."""
        if inode.kind == _DIRECTORY[0]:
            place, _links, size, offset, _parent = inode.rest.unpack("<IIHHI")
        else:
            _links, size, place, _parent, _index, offset, _xattr = inode.rest.unpack("<IIIIHHI")
        left = size - 3
        cursor = _Cursor(self._data, self._folders + place, offset) if left > 0 else None
        while cursor is not None and left > 0:
            count, block, _number = cursor.unpack("<III")
            left -= 12
            for _ in range(count + 1):
                at, _diff, _kind, length = cursor.unpack("<HhHH")
                name = os.fsdecode(cursor.take(length + 1))
                left -= 8 + length + 1
                if "/" in name or name in {".", ".."}:
                    raise UnpackError(f"it has a file named {name!r}")
                yield name, block << 16 | at

    def link(self, inode: _Inode) -> bytes:
        _links, size = inode.rest.unpack("<II")
        return inode.rest.take(size)

    def contents(self, inode: _Inode) -> Iterator[bytes]:
        """What is in a file, piece by piece."""
        if inode.kind == _FILE[0]:
            place, fragment, offset, size = inode.rest.unpack("<IIII")
        else:
            place, size, _sparse, _links, fragment, offset, _xattr = inode.rest.unpack("<QQQIIII")
        whole, tail = divmod(size, self._block)
        count = whole + (1 if tail and fragment == _NONE else 0)
        sizes = inode.rest.unpack(f"<{count}I")
        for number, told in enumerate(sizes):
            length = told & (_PLAIN - 1)
            if length:
                yield self._piece(place, told)
            else:
                yield bytes(min(self._block, size - number * self._block))
            place += length
            if self._stop():
                raise _Stopped
        if tail and fragment != _NONE:
            yield self._fragment(fragment)[offset : offset + tail]

    def _piece(self, place: int, told: int) -> bytes:
        raw = self._data[place : place + (told & (_PLAIN - 1))]
        return raw if told & _PLAIN else zlib.decompress(raw)

    def _fragment(self, number: int) -> bytes:
        # The ends of small files that follow each other are in one.
        if self._last[0] != number:
            which, at = divmod(number, _PER_BLOCK)
            (table,) = struct.unpack_from("<Q", self._data, self._fragments + 8 * which)
            cursor = _Cursor(self._data, table, at * _FRAGMENT.size)
            place, told, _unused = _FRAGMENT.unpack(cursor.take(_FRAGMENT.size))
            self._last = (number, self._piece(place, told))
        return self._last[1]


def unpack(file: Path, into: Path, stop: Callable[[], bool] = lambda: False) -> bool:
    """Make `into` what is in the file; False when `stop` said so meanwhile. OSError, UnpackError.

    Modes and times are as they were: byte code is valid for sources of one time only. All of it is the caller's own.
    """
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            image = _Image(data, stop)
            _directory(image, image.inode(image.root), into, stop)
    except _Stopped:
        return False
    except UnpackError:
        raise
    except (struct.error, zlib.error, IndexError, ValueError) as error:
        raise UnpackError(f"it is damaged: {error}") from error
    return True


def _directory(image: _Image, inode: _Inode, into: Path, stop: Callable[[], bool]) -> None:
    into.mkdir(mode=0o700)
    for name, ref in image.entries(inode):
        if stop():
            raise _Stopped
        path, found = into / name, image.inode(ref)
        if found.kind in _DIRECTORY:
            _directory(image, found, path, stop)
        elif found.kind in _LINK:
            path.symlink_to(os.fsdecode(image.link(found)))
        elif found.kind in _FILE:
            with path.open("xb") as file:
                file.writelines(image.contents(found))
                os.fchmod(file.fileno(), found.mode & 0o777)
            os.utime(path, (found.when, found.when))
    into.chmod(inode.mode & 0o777 | 0o700)
