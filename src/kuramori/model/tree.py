"""A tree: the list of a directory's nodes, kept as one blob (format section 2.2)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kuramori.model.node import Node, encode_node

EMPTY_TREE = b'{"nodes":[]}\n'


class Tree(msgspec.Struct):
    """The nodes of one directory, sorted by the bytes of their names."""

    nodes: list[Node]


class _RawTree(msgspec.Struct):
    nodes: list[msgspec.Raw]


class _OldTree(msgspec.Struct):
    nodes: list[Node] | None


_DECODER = msgspec.json.Decoder(Tree)
_RAW_DECODER = msgspec.json.Decoder(_RawTree)


def encode_tree(nodes: Iterable[Node]) -> bytes:
    """Return the blob of a directory with these nodes, which must be sorted by name bytes."""
    return join_nodes(encode_node(node) for node in nodes)


def join_nodes(encoded: Iterable[bytes]) -> bytes:
    """Return the blob made of nodes that are encoded already, sorted by name bytes."""
    return b'{"nodes":[' + b",".join(encoded) + b"]}\n"


def decode_tree(document: bytes | memoryview) -> Tree:
    """Return the tree of a blob.

    Raises:
        msgspec.DecodeError: it is no tree (also ``ValidationError``, ``ValueError``).
    """
    try:
        return _DECODER.decode(document)
    except msgspec.ValidationError:
        if msgspec.json.decode(document, type=_OldTree).nodes is None:
            return Tree(nodes=[])  # "nodes":null was written by old versions for empty folders
        raise


def split_nodes(document: bytes) -> list[bytes]:
    """Return the encoded nodes of a tree blob, in order and byte for byte.

    Raises:
        msgspec.DecodeError: it is no tree.
    """
    return [bytes(raw) for raw in _RAW_DECODER.decode(document).nodes]
