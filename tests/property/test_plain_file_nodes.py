"""The short way to the node of a file writes what the long way writes."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuramori.archiving.metadata import BETWEEN_IDS, NodeBuilder
from kuramori.ids import hash_id
from kuramori.model.node import encode_node

UNSIGNED = st.integers(0, 2**64 - 1)
NANOSECONDS = st.integers(-(10**18), 4 * 10**18)
NAMES = st.one_of(st.just(b"a/b"), st.binary(min_size=1, max_size=12), st.text(min_size=1, max_size=12).map(
    lambda text: text.encode("utf-8", "replace")), st.from_regex(rb"[ -~]{1,12}", fullmatch=True))


class _Status:
    """What is asked of a ``stat`` result."""

    def __init__(self, mode: int, numbers: tuple[int, ...], times: tuple[int, ...]) -> None:
        self.st_mode = stat.S_IFREG | mode
        self.st_uid, self.st_gid, self.st_dev, self.st_nlink, self.st_ino, self.st_rdev = numbers
        self.st_mtime_ns, self.st_ctime_ns, self.st_atime_ns = times


STATUSES = st.builds(_Status, st.integers(0, 0o7777), st.tuples(*[UNSIGNED] * 6), st.tuples(*[NANOSECONDS] * 3))


@pytest.mark.parametrize("with_atime", [False, True])
@given(name=NAMES, status=STATUSES, size=UNSIGNED, blobs=st.integers(0, 3))
def test_both_ways_write_the_same(name: bytes, status: os.stat_result, size: int, blobs: int, with_atime: bool) -> None:
    content = [hash_id(b"%d" % number).hex() for number in range(blobs)]
    builder = NodeBuilder(with_atime)
    node = builder.build(name, status)
    node.size, node.content = size, content
    for _ in range(2):  # the second time from a template that is there
        encoded = builder.encode_plain_files([name], [status], [size], [BETWEEN_IDS.join(content)])
        assert encoded is None or encoded == [encode_node(node)]


FILES = st.lists(st.tuples(st.from_regex(rb"[a-z .]{1,9}", fullmatch=True), STATUSES, st.integers(1, 99)), max_size=9)


@given(files=FILES, odd=st.tuples(NAMES, STATUSES, UNSIGNED), place=st.integers(0, 9), with_odd=st.booleans())
def test_many_at_once_are_each_what_one_is(files: list[tuple[bytes, os.stat_result, int]], place: int, with_odd: bool,
                                           odd: tuple[bytes, os.stat_result, int]) -> None:
    """A file of the odd kinds makes all of them take the long way, or is written rightly."""
    if with_odd:
        files.insert(place, odd)
    builder = NodeBuilder()
    contents = [hash_id(b"%d" % number).hex() for number in range(len(files))]
    expected = []
    for (name, status, size), content in zip(files, contents, strict=True):
        node = builder.build(name, status)
        node.size, node.content = size, [content]
        expected.append(encode_node(node))
    encoded = builder.encode_plain_files([name for name, _, _ in files], [status for _, status, _ in files],
                                         [size for _, _, size in files], contents)
    assert encoded is None or encoded == expected


def test_an_ordinary_file_takes_the_short_way(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "an (ordinary) file-1.txt")
    with open(path, "wb") as file:
        file.write(b"content")
    encoded = NodeBuilder().encode_plain_files([os.fsencode(os.path.basename(path))] * 3, [os.stat(path)] * 3, [7] * 3,
                                               ["00" * 32] * 3)
    assert encoded is not None
    assert len(encoded) == 3


@pytest.mark.parametrize("user", ["\x01name", "\x01id", str(2**64 - 59), '<"&>', "\u2028"])
def test_an_owner_with_a_strange_name_breaks_nothing(user: str) -> None:
    builder = NodeBuilder()
    builder.names.user = lambda uid: user  # type: ignore[method-assign]
    status = _Status(0o644, (1000, 100, 5, 1, 77, 0), (10**18 + 1, 10**18 + 2, 0))
    node = builder.build(b"name", status)  # type: ignore[arg-type]
    node.size, node.content = 12, ["11" * 32]
    encoded = builder.encode_plain_files([b"name"], [status], [12], ["11" * 32])  # type: ignore[list-item]
    assert encoded is None or encoded == [encode_node(node)]
