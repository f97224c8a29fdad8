"""Nodes and trees to the byte, and what older versions of the format wrote."""

from __future__ import annotations

import stat

import msgspec
import pytest

from kuramori.model.json import escape_html, go_json, go_string, replace_undecodable
from kuramori.model.node import (
    ExtendedAttribute,
    Node,
    decode_node,
    encode_node,
    set_link_target,
    to_go_mode,
    to_unix_permissions,
)
from kuramori.model.tree import decode_tree, encode_tree, split_nodes

TIME = "2026-11-24T12:00:00.123456789+09:00"


def _node(**fields: object) -> Node:
    return Node(mtime=TIME, atime=TIME, ctime=TIME, uid=0, gid=0, **fields)  # type: ignore[arg-type]


TIMES = f'"mtime":"{TIME}","atime":"{TIME}","ctime":"{TIME}"'


@pytest.mark.parametrize(("node", "expected"), [
    (_node(name="a", type="file", mode=0o644, user="root", group="root", inode=7, device_id=2, size=3, links=1,
           content=["ab" * 32]),
     (f'{{"name":"a","type":"file","mode":420,{TIMES},"uid":0,"gid":0,"user":"root","group":"root","inode":7,'
     f'"device_id":2,"size":3,"links":1,"content":["{"ab" * 32}"]}}')),
    (_node(name="empty", type="file", content=[]),
     f'{{"name":"empty","type":"file",{TIMES},"uid":0,"gid":0,"content":[]}}'),
    (_node(name="d", type="dir", mode=1 << 31 | 0o755, content=None, subtree="cd" * 32),
     f'{{"name":"d","type":"dir","mode":2147484141,{TIMES},"uid":0,"gid":0,"content":null,"subtree":"{"cd" * 32}"}}'),
    (_node(name="<&>", type="symlink", linktarget="a>b", content=None),
     f'{{"name":"\\u003c\\u0026\\u003e","type":"symlink",{TIMES},"uid":0,"gid":0,"linktarget":"a\\u003eb","content":null}}'),
    (_node(name="x", type="file", content=[], extended_attributes=[ExtendedAttribute("user.a", b"\0\xff"),
                                                                   ExtendedAttribute("user.b", b"")]),
     (f'{{"name":"x","type":"file",{TIMES},"uid":0,"gid":0,"extended_attributes":[{{"name":"user.a","value":"AP8="}},'
     f'{{"name":"user.b","value":""}}],"content":[]}}')),
    (_node(name="c", type="chardev", device=259, content=None),
     f'{{"name":"c","type":"chardev",{TIMES},"uid":0,"gid":0,"device":259,"content":null}}'),
])
def test_a_node_is_written_to_the_byte_as_restic_writes_it(node: Node, expected: str) -> None:
    assert encode_node(node).decode() == expected
    assert decode_node(expected.encode()) == node


def test_a_target_that_is_no_text_is_kept_whole_beside_what_can_be_shown() -> None:
    node = _node(name="l", type="symlink", content=None)
    set_link_target(node, b"a\xffb\xfe<")
    document = encode_node(node)
    assert b'"linktarget":"a\\ufffdb\\ufffd\\u003c","linktarget_raw":"Yf9i/jw="' in document
    again = decode_node(document)
    assert again.target_bytes == b"a\xffb\xfe<"
    assert encode_node(again) == document
    assert node.target_bytes == b"a\xffb\xfe<"  # writing changed nothing


def test_what_a_node_does_not_say_has_a_meaning() -> None:
    node = decode_node(b'{"name":"old","type":"file"}')
    assert (node.uid, node.gid, node.mode, node.size) == (2**64 - 1, 2**64 - 1, 0, 0)
    assert node.content_ids == []
    assert node.target_bytes == b""
    assert decode_node(b'{"name":"x","type":"file","unknown":{"a":[1]}}').name_bytes == b"x"
    assert decode_node(b'{"name":"x","type":"f","extended_attributes":[{"name":"a","value":null}]}').extended_attributes


@pytest.mark.parametrize("document", [
    b"", b"{}", b"[]", b"null", b'{"name":1,"type":"file"}', b'{"name":"x","type":"file","mode":-1}',
    b'{"name":"x","type":"file","size":1.5}', b'{"name":"x","type":"file","content":"no list"}',
    b'{"name":"x","type":"file","uid":-1}', b'{"name":"x","type":"file"',
])
def test_what_is_no_node_is_refused(document: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_node(document)


@pytest.mark.parametrize(("st_mode", "kind", "mode"), [
    (stat.S_IFREG | 0o644, "file", 0o644),
    (stat.S_IFDIR | 0o1777, "dir", 1 << 31 | 1 << 20 | 0o777),
    (stat.S_IFREG | 0o6755, "file", 1 << 23 | 1 << 22 | 0o755),
    (stat.S_IFLNK | 0o777, "symlink", 1 << 27 | 0o777),
    (stat.S_IFBLK | 0o660, "dev", 1 << 26 | 0o660),
    (stat.S_IFCHR | 0o666, "chardev", 1 << 26 | 1 << 21 | 0o666),
    (stat.S_IFIFO | 0o600, "fifo", 1 << 25 | 0o600),
    (stat.S_IFSOCK | 0o755, "socket", 1 << 24 | 0o755),
    (0o644, "irregular", 1 << 19 | 0o644),
])
def test_modes_are_those_of_go(st_mode: int, kind: str, mode: int) -> None:
    assert to_go_mode(st_mode) == (kind, mode)
    assert to_unix_permissions(mode) == stat.S_IMODE(st_mode)


def test_a_tree_keeps_the_order_that_it_is_given() -> None:
    document = encode_tree([_node(name=name, type="fifo", content=None) for name in ("b", "a")])
    assert [node.name for node in decode_tree(document).nodes] == ["b", "a"]
    assert [decode_node(part).name for part in split_nodes(document)] == ["b", "a"]


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"nodes":{}}', b'{"nodes":[1]}', b'{"nodes":[{}]}',
                                      b'{"nodes":[null]}', b'{"nodes":[]', b'{"nodes":7}', b'\xff{"nodes":[]}'])
def test_what_is_no_tree_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's errors are of this kind
        decode_tree(document)


def test_json_is_that_of_go() -> None:
    assert go_json({"a": "<&>\u2028\u2029é\x7f\b"}) == \
        '{"a":"\\u003c\\u0026\\u003e\\u2028\\u2029é\x7f\\b"}'.encode()
    assert escape_html(b'"plain"') == b'"plain"'
    assert go_string(b'a"\xff\n') == b'"a\\"\\ufffd\\n"'
    assert go_string(b"") == b'""'
    assert replace_undecodable("a\udcffb") == "a\ufffdb"
    assert replace_undecodable("é") == "é"
