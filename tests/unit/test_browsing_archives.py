"""Tar and zip archives of any node, read back by Python and by the system's tar."""

from __future__ import annotations

import gc
import io
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kuramori.browsing.archives import TarWriter, ZipWriter
from kuramori.model.names import quote_name
from kuramori.model.node import ExtendedAttribute, Node, set_link_target, to_go_mode
from kuramori.model.times import format_nanoseconds

KINDS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "dev": stat.S_IFBLK,
         "chardev": stat.S_IFCHR, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}
LONG = b"/".join([b"d" * 200] * 5) + b"/" + "é".encode() * 100


def _node(kind: str = "file", size: int = 0, mode: int = 0o644, seconds: float = 1_700_000_000, **fields: Any) -> Node:
    time = format_nanoseconds(int(seconds * 10**9))
    owner = {"uid": fields.pop("uid", 7), "gid": fields.pop("gid", 8)}
    return Node(name=quote_name(b"x"), type=kind, mode=to_go_mode(KINDS[kind] | mode)[1], mtime=time, atime=time,
                ctime=time, size=size, content=None, **owner, **fields)


def _tar(entries: dict[bytes, tuple[Node, bytes]]) -> bytes:
    stream = io.BytesIO()
    writer = TarWriter(stream)
    for path, (node, content) in entries.items():
        middle = len(content) // 3
        writer.add(b"/" + path, node, iter([content[:middle], content[middle:]] if content else []))
    writer.finish()
    return stream.getvalue()


def _members(entries: dict[bytes, tuple[Node, bytes]]) -> dict[bytes, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(_tar(entries)), errors="surrogateescape") as archive:
        return {os.fsencode(member.name): member for member in archive.getmembers()}


def test_tar_keeps_what_a_node_says() -> None:
    found = _members({b"f": (_node(size=5, mode=0o6754, user="mika", group="grün"), b"12345")})[b"f"]
    assert (found.mode, found.uid, found.gid, found.uname, found.gname, found.mtime, found.size) == (
        0o6754, 7, 8, "mika", "grün", 1_700_000_000, 5)


@pytest.mark.parametrize("name", [b"plain", b"bad\xff\xfe", "é\u2028".encode(), b"line\nbreak", LONG])
def test_tar_keeps_any_name_and_target(name: bytes) -> None:
    link = _node("symlink")
    set_link_target(link, name)
    found = _members({name: (_node(size=1), b"x"), b"link": (link, b"")})
    assert found[name].size == 1
    assert os.fsencode(found[b"link"].linkname) == name


@pytest.mark.parametrize(("seconds", "shown"), [(-86_400, -86_400), (0, 0), (2**33, 2**33), (1.5, 2), (1.25, 1)])
def test_tar_keeps_times_to_the_nearest_second(seconds: float, shown: int) -> None:
    assert _members({b"f": (_node(seconds=seconds), b"")})[b"f"].mtime == shown


@pytest.mark.parametrize(("uid", "kept"), [(0, 0), (2**21, 2**21), (2**32 - 1, 2**32 - 1), (2**32, 0), (2**64 - 1, 0)])
def test_tar_keeps_owners_that_can_exist(uid: int, kept: int) -> None:
    assert _members({b"f": (_node(uid=uid), b"")})[b"f"].uid == kept


@pytest.mark.parametrize(("kind", "expected"), [("dev", tarfile.BLKTYPE), ("chardev", tarfile.CHRTYPE)])
def test_tar_keeps_devices(kind: str, expected: bytes) -> None:
    device = os.makedev(259, 70_000)
    found = _members({b"d": (_node(kind, device=device), b"")})[b"d"]
    assert (found.type, found.devmajor, found.devminor) == (expected, 259, 70_000)


def test_tar_has_fifos_and_no_sockets() -> None:
    found = _members({b"pipe": (_node("fifo"), b""), b"socket": (_node("socket"), b""), b"d": (_node("dir"), b"")})
    assert set(found) == {b"pipe", b"d"}
    assert found[b"pipe"].isfifo()
    assert found[b"d"].isdir()


def test_content_is_whole_whatever_pieces_it_comes_in() -> None:
    contents = {b"%d" % size: os.urandom(size) for size in (0, 1, 511, 512, 513, 10_240, 300_000)}
    stream = io.BytesIO(_tar({name: (_node(size=len(content)), content) for name, content in contents.items()}))
    with tarfile.open(fileobj=stream) as archive:
        for name, content in contents.items():
            file = archive.extractfile(name.decode())
            assert file is not None
            assert file.read() == content


def test_the_systems_tar_restores_it_with_attributes(tmp_path: Path, require_program: Callable[[str], str],
                                                     skip_or_fail: Callable[[str], None]) -> None:
    tar = require_program("tar")
    probe = tmp_path / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.kuramori", b"x")
    except OSError:
        skip_or_fail("the file system of the temporary folder keeps no extended attributes")
    attributes = [ExtendedAttribute("user.text", "grün".encode()), ExtendedAttribute("user.bytes", b"\0\xff=\n\0"),
                  ExtendedAttribute("user.empty", b"")]
    owner = {"uid": os.getuid(), "gid": os.getgid()}
    archive = _tar({LONG.split(b"/")[0]: (_node("dir", mode=0o755, **owner), b""),
                    b"file": (_node(size=3, extended_attributes=attributes, **owner), b"abc")})
    subprocess.run([tar, "-x", "--xattrs", "--xattrs-include=*", "-C", tmp_path], input=archive, check=True)
    assert (tmp_path / "file").read_bytes() == b"abc"
    assert {name: os.getxattr(tmp_path / "file", name) for name in os.listxattr(tmp_path / "file")} == {
        attribute.name: attribute.value for attribute in attributes}


# --- zip -----------------------------------------------------------------------------------------


def _zip(entries: dict[bytes, tuple[Node, bytes]]) -> zipfile.ZipFile:
    stream = io.BytesIO()
    writer = ZipWriter(stream)
    for path, (node, content) in entries.items():
        writer.add(b"/" + path, node, iter((content,)))
    writer.finish()
    return zipfile.ZipFile(io.BytesIO(stream.getvalue()))


def test_zip_keeps_files_folders_and_links() -> None:
    link = _node("symlink", mode=0o777)
    set_link_target(link, b"to \xff")
    archive = _zip({b"d": (_node("dir", mode=0o750), b""), "d/é".encode(): (_node(size=9, mode=0o640), b"some text"),
                    b"l": (link, b""), b"pipe": (_node("fifo"), b""), b"dev": (_node("dev"), b"")})
    assert archive.namelist() == ["d/", "d/é", "l"]
    assert archive.testzip() is None
    assert archive.read("d/é") == b"some text"
    assert archive.read("l") == b"to \xff"
    modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert modes == {"d/": 0o040750, "d/é": 0o100640, "l": 0o120777}


@pytest.mark.parametrize(("seconds", "year"), [(-10**9, 1980), (0, 1980), (1_700_000_000, 2023), (6 * 10**9, 2107)])
def test_zip_keeps_years_that_it_has(seconds: int, year: int) -> None:
    info = _zip({b"f": (_node(seconds=seconds), b"")}).infolist()[0]
    assert info.date_time[0] == year
    assert (info.extra[:2] == b"UT") == (-(2**31) <= seconds < 2**31)


# --- an archive that cannot be finished ----------------------------------------------------------


class _UnreadableError(Exception):
    """Content that cannot be read to its end."""


@pytest.mark.parametrize("kind", [TarWriter, ZipWriter])
def test_an_abandoned_archive_is_not_finished_behind_our_back(kind: type[TarWriter] | type[ZipWriter]) -> None:
    """Else half an archive would look like a whole one, or its end be written into a closed file."""

    def content() -> Iterator[bytes]:
        yield os.urandom(400_000)
        raise _UnreadableError

    stream = io.BytesIO()
    writer = kind(stream)
    writer.add(b"/first", _node(size=3), iter((b"abc",)))
    with pytest.raises(_UnreadableError):
        writer.add(b"/second", _node(size=500_000), content())
    writer.abandon()
    written = len(stream.getvalue())
    del writer
    gc.collect()
    assert len(stream.getvalue()) == written
    with pytest.raises((tarfile.ReadError, zipfile.BadZipFile)):
        if kind is ZipWriter:
            zipfile.ZipFile(io.BytesIO(stream.getvalue()))
        else:
            tarfile.open(fileobj=io.BytesIO(stream.getvalue())).getmembers()
