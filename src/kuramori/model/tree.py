"""A tree: the list of a directory's nodes, kept as one blob (format section 2.2)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kuramori.errors import N_
from kuramori.model.json import decode_json
from kuramori.model.node import Node, encode_node

EMPTY_TREE = b'{"nodes":[]}\n'


class Tree(msgspec.Struct):
    """The nodes of one directory, sorted by the bytes of their names."""

    nodes: list[Node]


class _RawTree(msgspec.Struct):
    nodes: list[msgspec.Raw]


class _OldTree(msgspec.Struct):
    nodes: list[Node] | None


class _Reference(msgspec.Struct, gc=False):
    type: str = ""
    content: list[str] | None = None
    subtree: str | None = None


class _References(msgspec.Struct):
    nodes: list[_Reference] | None


_DECODER = msgspec.json.Decoder(Tree)
_OLD_DECODER = msgspec.json.Decoder(_OldTree)
_REFERENCE_DECODER = msgspec.json.Decoder(_References)
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
        return decode_json(_DECODER, document)
    except msgspec.ValidationError:
        if decode_json(_OLD_DECODER, document).nodes is None:
            return Tree(nodes=[])  # "nodes":null was written by old versions for empty folders
        raise


def split_nodes(document: bytes) -> list[bytes]:
    """Return the encoded nodes of a tree blob, in order and byte for byte.

    Raises:
        msgspec.DecodeError: it is no tree.
    """
    return [bytes(raw) for raw in decode_json(_RAW_DECODER, document).nodes]


def tree_references(document: bytes) -> tuple[list[str], list[str]]:
    """Return what a tree blob refers to: the ids of data blobs and of trees, hexadecimal and as
    they stand there. Nothing else of the nodes is looked at, so it is quick.

    Only the contents of files and the trees of folders count (format section 2.2).

    Raises:
        msgspec.DecodeError: it is no tree (also ``ValidationError``).
        ValueError: a folder names no tree.
    """
    data: list[str] = []
    trees: list[str] = []
    for node in decode_json(_REFERENCE_DECODER, document).nodes or ():
        if node.type == "file":
            data += node.content or ()
        elif node.type == "dir":
            if node.subtree is None:
                raise ValueError(N_("a folder names no tree"))
            trees.append(node.subtree)
    return data, trees
