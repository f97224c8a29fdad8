"""Whether a tree is all right, found out for all its nodes at once.

Looking at nodes one by one takes several times as long as reading them, and hardly ever finds anything. Here whole
columns of a tree are judged, by functions that do not come back to Python for each node. What is not plainly all right
is left to :mod:`kuramori.maintenance.check_trees`, which says what is wrong, if anything is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from operator import lt
from typing import Annotated

import msgspec

from kuramori.ids import Id, join_ids
from kuramori.model.blob import BlobType
from kuramori.model.json import decode_json
from kuramori.model.names import are_plain
from kuramori.model.node import NODE_TYPES, Node
from kuramori.model.tree import Tree
from kuramori.repository.index import Index
from kuramori.repository.repository import parse_tree

PLAIN_TIME = (r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
              r"(?:\.[0-9]{1,9})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])")
"""A time that needs no second look, as a regular expression."""
_PLAIN_TIMES = re.compile(f"(?:{PLAIN_TIME}\\|)*")
_NO_TIME = Node(name="", type="").mtime
_KNOWN_TYPES = frozenset(NODE_TYPES)

_Bits32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Bits63 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _BoundedNode(Node, kw_only=True, gc=False):
    """A node whose numbers need no second look."""

    mode: _Bits32 = 0
    uid: _Bits32 = 0
    gid: _Bits32 = 0
    inode: _Bits63 = 0
    device_id: _Bits63 = 0
    size: _Bits63 = 0
    links: _Bits63 = 0
    device: _Bits63 = 0


class _BoundedTree(Tree):
    nodes: list[_BoundedNode]  # type: ignore[assignment]  # nobody changes a tree that was read


_DECODER = msgspec.json.Decoder(_BoundedTree)


def parse_for_check(document: bytes, tree_id: Id) -> Tree:
    """Return the tree of a verified blob, such that :func:`is_plainly_sound` may know more of it.

    Raises:
        DamagedError: it is malformed.
    """
    try:
        return decode_json(_DECODER, document)
    except msgspec.DecodeError:
        return parse_tree(document, tree_id)


def is_plainly_sound(tree: Tree, index: Index) -> bool:
    """Tell whether nothing is wrong with a tree that :func:`parse_for_check` returned: names, their order, numbers,
    times, and that all blobs are known and as long as the files say. False means that it has to be looked at."""
    nodes = tree.nodes
    names = [node.name for node in nodes]
    return (isinstance(tree, _BoundedTree) and are_plain(names)
            and all(map(lt, names, names[1:]))  # characters are ordered as their bytes in UTF-8 are
            and _times_are_sound(nodes) and {node.type for node in nodes} <= _KNOWN_TYPES
            and _folders_are_sound(nodes) and _files_are_sound(nodes, index))


def _times_are_sound(nodes: Sequence[Node]) -> bool:
    times = {node.mtime for node in nodes}
    times.update([node.ctime for node in nodes], [node.atime for node in nodes])
    times.discard(_NO_TIME)
    joined = "|".join([*times, ""])
    return joined.count("|") == len(times) and _PLAIN_TIMES.fullmatch(joined) is not None


def _folders_are_sound(nodes: Sequence[Node]) -> bool:
    return join_ids([node.subtree or "" for node in nodes if node.type == "dir"]) is not None


def _files_are_sound(nodes: Sequence[Node], index: Index) -> bool:
    files = [node for node in nodes if node.type == "file"]
    contents = [node.content for node in files]
    if not all(isinstance(content, list) for content in contents):
        return False
    joined = join_ids([text for content in contents for text in content])  # type: ignore[union-attr]
    if joined is None:
        return False
    lengths = index.plain_lengths(BlobType.DATA, joined)
    if lengths is None:
        return False
    sizes = [node.size for node in files]
    if len(lengths) == len(files) and all(contents):
        return lengths == sizes  # each has one blob
    following = iter(lengths)
    return all(sum(islice(following, len(node.content_ids))) == size
               for node, size in zip(files, sizes, strict=True))
