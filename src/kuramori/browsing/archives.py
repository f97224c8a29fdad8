"""Writing nodes into a tar or zip archive, as a stream."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol, cast

from kuramori.model.names import display_text
from kuramori.model.node import Node
from kuramori.model.times import parse_datetime, parse_nanoseconds

_TAR_TYPES = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE,
              "dev": tarfile.BLKTYPE, "chardev": tarfile.CHRTYPE, "fifo": tarfile.FIFOTYPE}
_UNIX_TYPES = {"file": 0o100000, "dir": 0o040000, "symlink": 0o120000}
_LARGEST_OWNER = 2**32 - 1
_ZIP_YEARS = (1980, 2107)
_UNIX_SYSTEM = 3
_WRITE_SIZE = 25 * tarfile.RECORDSIZE
"""Bytes that are handed on at once; a multiple of tar's records."""


class ArchiveWriter(Protocol):
    """Takes nodes one after the other."""

    def add(self, path: bytes, node: Node, content: Iterator[bytes]) -> int:
        """Write one entry; return 1, or 0 if the format has no such entries.

        Args:
            content: a file's content, just ``node.size`` bytes; empty for everything else.
        """
        ...

    def finish(self) -> None:
        """Write the end of the archive."""
        ...

    def abandon(self) -> None:
        """Write nothing more: what is there must not look like a whole archive."""
        ...


class _Output(Protocol):
    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


class TarWriter:
    """A PAX archive. Hard links become files of their own, as in restic's; devices and FIFOs are
    written as what they are (restic writes empty files). Sockets are left out."""

    def __init__(self, output: _Output) -> None:
        """Write to ``output``, which need not seek."""
        self._gate = _Gate(output)
        self._tar = tarfile.open(fileobj=cast(io.BufferedIOBase, self._gate), mode="w|", bufsize=_WRITE_SIZE,
                                 format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape")

    def add(self, path: bytes, node: Node, content: Iterator[bytes]) -> int:
        """Write one entry; see :class:`ArchiveWriter`."""
        kind = _TAR_TYPES.get(node.type)
        if kind is None:
            return 0
        entry = tarfile.TarInfo(display_text(path.lstrip(b"/")))
        entry.type = kind
        entry.mode = node.permissions
        entry.uid, entry.gid = (owner if owner <= _LARGEST_OWNER else 0 for owner in (node.uid, node.gid))
        entry.uname, entry.gname = node.user, node.group
        entry.mtime = (_nanoseconds(node) + 500_000_000) // 1_000_000_000
        if node.type == "symlink":
            entry.linkname = display_text(node.target_bytes)
        elif node.type in ("dev", "chardev"):
            entry.devmajor, entry.devminor = _device_numbers(node.device)
        elif node.type == "file":
            entry.size = node.size
        entry.pax_headers = {
            f"SCHILY.xattr.{attribute.name}": display_text(attribute.value or b"")
            for attribute in node.extended_attributes or ()
        }
        self._tar.addfile(entry, cast(io.BufferedIOBase, _Reader(content)) if node.type == "file" else None)
        return 1

    def finish(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def abandon(self) -> None:
        """Write nothing more."""
        self._gate.shut()


class ZipWriter:
    """A zip archive, deflated. Names that are not UTF-8 lose the bytes that are not: the format
    has no way to write them."""

    def __init__(self, output: _Output) -> None:
        """Write to ``output``, which need not seek."""
        self._gate = _Gate(output)
        self._zip = zipfile.ZipFile(cast(io.BufferedIOBase, self._gate), "w", zipfile.ZIP_DEFLATED)

    def add(self, path: bytes, node: Node, content: Iterator[bytes]) -> int:
        """Write one entry; see :class:`ArchiveWriter`."""
        kind = _UNIX_TYPES.get(node.type)
        if kind is None:
            return 0
        name = path.lstrip(b"/").decode("utf-8", "replace")
        entry = zipfile.ZipInfo(name + ("/" if node.type == "dir" else ""), _zip_date(node))
        entry.create_system = _UNIX_SYSTEM
        entry.external_attr = (kind | node.permissions) << 16 | (0x10 if node.type == "dir" else 0)
        entry.extra = _extended_timestamp(node)
        if node.type != "dir":
            entry.compress_type = zipfile.ZIP_DEFLATED
        if node.type == "symlink":
            content = iter((node.target_bytes,))
        with self._zip.open(entry, "w", force_zip64=node.size >= zipfile.ZIP64_LIMIT // 2) as target:
            for part in content:
                target.write(part)
        return 1

    def finish(self) -> None:
        """Write the directory at the end of the archive."""
        self._zip.close()

    def abandon(self) -> None:
        """Write nothing more."""
        self._gate.shut()


class _Reader:
    """Blobs as a file that can be read."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content
        self._part = memoryview(b"")

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            if not self._part:
                part = next(self._content, None)
                if part is None:
                    break
                self._part = memoryview(part)  # may be empty: blobs of a hostile file are
            taken = self._part[:size]
            self._part = self._part[size:]
            size -= len(taken)
            parts.append(bytes(taken))
        return b"".join(parts)


class _Gate:
    """Passes on to an output until it is shut. The library's archives write their end when they are
    thrown away, also after an error, when that would make half an archive look whole, or when the
    output is closed already.

    It says that it cannot seek, so that no archive goes back to write sizes: the output may be a
    pipe, or a file opened for appending.
    """

    def __init__(self, output: _Output) -> None:
        self._output: _Output | None = output

    def shut(self) -> None:
        self._output = None

    def write(self, data: bytes) -> int:
        if self._output is not None:
            self._output.write(data)
        return len(data)

    def flush(self) -> None:
        if self._output is not None:
            self._output.flush()

    def seekable(self) -> bool:
        return False


def _nanoseconds(node: Node) -> int:
    try:
        return parse_nanoseconds(node.mtime)
    except ValueError:
        return 0


def _zip_date(node: Node) -> tuple[int, int, int, int, int, int]:
    try:
        moment = parse_datetime(node.mtime)
    except ValueError:
        moment = datetime(_ZIP_YEARS[0], 1, 1, tzinfo=UTC)
    if not _ZIP_YEARS[0] <= moment.year <= _ZIP_YEARS[1]:
        moment = datetime(min(max(moment.year, _ZIP_YEARS[0]), _ZIP_YEARS[1]), 1, 1, tzinfo=UTC)
    return moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second


def _extended_timestamp(node: Node) -> bytes:
    """Return Info-ZIP's extra field with the time in UTC, where it has room for it."""
    seconds = _nanoseconds(node) // 1_000_000_000
    if not -(2**31) <= seconds < 2**31:
        return b""
    return struct.pack("<HHBi", 0x5455, 5, 1, seconds)


def _device_numbers(device: int) -> tuple[int, int]:
    """Return major and minor number of Linux's 64-bit device number."""
    major = ((device >> 8) & 0xFFF) | ((device >> 32) & ~0xFFF & 0xFFFFFFFF)
    minor = (device & 0xFF) | ((device >> 12) & 0xFFFFFF00 & 0xFFFFFFFF)
    return major, minor
