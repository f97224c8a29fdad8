"""Trees of nodes with any names and values: written, read back, and written again byte for byte."""

from __future__ import annotations

import json
import stat

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.model.names import quote_name
from kuramori.model.node import (
    ExtendedAttribute,
    Node,
    decode_node,
    encode_node,
    set_link_target,
    to_go_mode,
    to_unix_permissions,
)
from kuramori.model.times import format_nanoseconds
from kuramori.model.tree import EMPTY_TREE, decode_tree, encode_tree, join_nodes, split_nodes

NAMES = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.text(min_size=1, max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"a", b"B", b"\xff", b"<&>", "\u2028".encode(), b'"', b"\\", b"\n", b"x" * 255]),
).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
LARGE = st.integers(0, 2**63)
TIMES = st.integers(-2_000_000_000, 9_000_000_000).map(lambda seconds: format_nanoseconds(seconds * 10**9 + 7))
IDS = st.binary(min_size=32, max_size=32).map(bytes.hex)
ATTRIBUTES = st.lists(st.builds(ExtendedAttribute, name=TEXTS, value=st.binary(max_size=30)), max_size=3)
KINDS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "dev": stat.S_IFBLK,
         "chardev": stat.S_IFCHR, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}


@st.composite
def nodes(draw: st.DrawFn, name: bytes | None = None) -> Node:
    """Draw a node as a backup makes one, with any bytes as its name."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    node = Node(
        name=quote_name(draw(NAMES) if name is None else name), type=kind,
        mode=to_go_mode(KINDS[kind] | draw(st.integers(0, 0o7777)))[1],
        mtime=draw(TIMES), atime=draw(TIMES), ctime=draw(TIMES),
        uid=draw(LARGE), gid=draw(LARGE), user=draw(TEXTS), group=draw(TEXTS),
        inode=draw(LARGE), device_id=draw(LARGE), links=draw(st.integers(0, 9)),
        extended_attributes=draw(ATTRIBUTES) or None,
    )
    if kind == "file":
        node.size = draw(LARGE)
        node.content = draw(st.lists(IDS, max_size=4))
    elif kind == "dir":
        node.subtree = draw(IDS)
    elif kind == "symlink":
        set_link_target(node, draw(st.binary(min_size=1, max_size=60)))
    elif kind in ("dev", "chardev"):
        node.device = draw(LARGE)
    return node


@st.composite
def directories(draw: st.DrawFn) -> list[Node]:
    """Draw the nodes of a folder, sorted as the format wants them."""
    names = draw(st.sets(NAMES, max_size=8))
    return [draw(nodes(name)) for name in sorted(names)]


@given(nodes())
def test_a_node_comes_back(node: Node) -> None:
    again = decode_node(encode_node(node))
    assert again.name_bytes == node.name_bytes
    assert again.target_bytes == node.target_bytes
    for field in Node.__struct_fields__:
        if field != "linktarget":  # of a target that is not UTF-8 this holds a lossy text
            assert getattr(again, field) == getattr(node, field), field


@given(nodes())
def test_a_node_that_was_read_is_written_as_it_was(node: Node) -> None:
    document = encode_node(node)
    assert encode_node(decode_node(document)) == document


@settings(max_examples=60)
@given(directories())
def test_a_tree_comes_back_and_is_written_as_it_was(directory: list[Node]) -> None:
    document = encode_tree(directory)
    tree = decode_tree(document)
    assert [node.name_bytes for node in tree.nodes] == sorted(node.name_bytes for node in directory)
    assert encode_tree(tree.nodes) == document


@settings(max_examples=60)
@given(directories())
def test_a_tree_falls_into_its_nodes_and_is_whole_again(directory: list[Node]) -> None:
    document = encode_tree(directory)
    parts = split_nodes(document)
    assert parts == [encode_node(node) for node in directory]
    assert join_nodes(parts) == document


@settings(max_examples=60)
@given(directories())
def test_a_tree_is_json_that_any_reader_takes(directory: list[Node]) -> None:
    document = encode_tree(directory)
    assert document.endswith(b"]}\n")
    assert not set(document) & set(b"<>&")
    assert b"\xe2\x80\xa8" not in document
    found = json.loads(document)
    assert [node["name"] for node in found["nodes"]] == [node.name for node in directory]
    assert [node["type"] for node in found["nodes"]] == [node.type for node in directory]


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 0o7777))
def test_a_mode_comes_back(kind: str, permissions: int) -> None:
    found, mode = to_go_mode(KINDS[kind] | permissions)
    assert found == kind
    assert to_unix_permissions(mode) == permissions


@given(st.one_of(st.binary(max_size=80), directories().map(encode_tree)), st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_tree_is_read_or_refused(document: bytes, place: int, byte: int) -> None:
    """Whatever the bytes are: a tree or a DecodeError, nothing else."""
    damaged = bytearray(document)
    if damaged:
        damaged[place % len(damaged)] = byte
    try:
        tree = decode_tree(bytes(damaged))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert isinstance(tree.nodes, list)


def test_an_empty_tree_is_written_as_restic_writes_it() -> None:
    assert encode_tree([]) == EMPTY_TREE
    assert decode_tree(EMPTY_TREE).nodes == []
    assert decode_tree(b'{"nodes":null}').nodes == []
