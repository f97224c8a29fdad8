"""Whether a tree is all right, found out for all its nodes at once.

Looking at nodes one by one takes several times as long as reading them, and hardly ever finds anything. Here whole
columns of a tree are judged, by functions that do not come back to Python for each node. What is not plainly all right
is left to :mod:`kuramori.maintenance.check_trees`, which says what is wrong, if anything is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, islice
from operator import lt
from typing import Annotated

import msgspec

from kuramori.errors import DamagedError
from kuramori.ids import ID_LENGTH, Id, join_ids
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.json import decode_json
from kuramori.model.names import are_plain
from kuramori.model.node import NODE_TYPES, Node
from kuramori.model.tree import Tree
from kuramori.repository.index import Index
from kuramori.repository.repository import Repository, parse_tree

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
    """Return the tree of a verified blob, such that :func:`judge_tree` may know more of it.

    Raises:
        DamagedError: it is malformed.
    """
    try:
        return decode_json(_DECODER, document)
    except msgspec.DecodeError:
        return parse_tree(document, tree_id)


class TreeVerdict(msgspec.Struct, array_like=True):
    """A tree with which nothing is wrong as far as can be told without the index, and what it refers to."""

    folders: list[tuple[str, bytes]]
    """Quoted names and trees."""
    joined_ids: bytes
    """The blobs of all files, one behind the other."""
    sizes: list[int]
    """Bytes of each file, as its node says."""
    counts: list[int] | None
    """Blobs of each file; None where each has one."""


def judge_tree(tree: Tree) -> TreeVerdict | None:
    """Look at names, their order, numbers and times of a tree that :func:`parse_for_check` returned. None means that
    it has to be looked at node by node."""
    nodes = tree.nodes
    names = [node.name for node in nodes]
    if not (isinstance(tree, _BoundedTree) and are_plain(names)
            and all(map(lt, names, names[1:]))  # characters are ordered as their bytes in UTF-8 are
            and _times_are_sound(nodes) and {node.type for node in nodes} <= _KNOWN_TYPES):
        return None
    folders = [node for node in nodes if node.type == "dir"]
    trees = join_ids([node.subtree or "" for node in folders])
    files = [node for node in nodes if node.type == "file"]
    contents = [node.content for node in files]
    if trees is None or not all(isinstance(content, list) for content in contents):
        return None
    joined = join_ids([text for content in contents for text in content])  # type: ignore[union-attr]  # see above
    if joined is None:
        return None
    counts = None if len(joined) == len(files) * ID_LENGTH and all(contents) else \
        [len(node.content_ids) for node in files]
    return TreeVerdict([(node.name, trees[at * ID_LENGTH : (at + 1) * ID_LENGTH]) for at, node in enumerate(folders)],
                       joined, [node.size for node in files], counts)


def contents_are_sound(verdict: TreeVerdict, index: Index) -> bool:
    """Tell whether the index knows all blobs of the files, and they are as long as the files say."""
    lengths = index.plain_lengths(BlobType.DATA, verdict.joined_ids)
    if lengths is None or verdict.counts is None:
        return lengths == verdict.sizes
    following = iter(lengths)
    return all(sum(islice(following, count)) == size
               for count, size in zip(verdict.counts, verdict.sizes, strict=True))


def judge_trees(repository: Repository, blobs: Sequence[PackedBlob]) -> list[TreeVerdict | None]:
    """Read trees and judge each; None also for one that cannot be read. Those that lie close together are read in one
    request; the index is not used."""
    found: dict[PackedBlob, TreeVerdict | None] = {}
    for pack, together in groupby(sorted(blobs, key=_by_place), key=_by_pack):
        for blob, document in repository.read_blobs(pack, list(together)):
            if isinstance(document, bytes):
                try:
                    found[blob] = judge_tree(parse_for_check(document, blob.id))
                except DamagedError:
                    pass  # whoever looks closely says so
    return [found.get(blob) for blob in blobs]


def _by_place(blob: PackedBlob) -> tuple[Id, int]:
    return blob.pack, blob.offset


def _by_pack(blob: PackedBlob) -> Id:
    return blob.pack


def _times_are_sound(nodes: Sequence[Node]) -> bool:
    times = {node.mtime for node in nodes}
    times.update([node.ctime for node in nodes], [node.atime for node in nodes])
    times.discard(_NO_TIME)
    joined = "|".join([*times, ""])
    return joined.count("|") == len(times) and _PLAIN_TIMES.fullmatch(joined) is not None
