"""The second part of a check: snapshots, their trees, and what their nodes name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeGuard

from kuramori.errors import (
    N_,
    AffectedPathError,
    DamagedError,
    KuramoriError,
    MissingBlobError,
    Phrase,
    SnapshotContentError,
    TreeOrderHint,
)
from kuramori.ids import Id, parse_id
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.sound_trees import PLAIN_TIME, contents_are_sound, parse_for_check
from kuramori.maintenance.tree_judges import TreeJudges, WaitingTree
from kuramori.maintenance.tree_visits import MAXIMUM_DEPTH, TreeVisit, display_path, named_folders, visit_trees
from kuramori.model.blob import BlobType
from kuramori.model.names import name_problem
from kuramori.model.node import NODE_TYPES, Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import parse_nanoseconds
from kuramori.progress import Progress
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_each_snapshot
from kuramori.repository.worker_process import WorkerProcess

_BATCH = 64
"""Trees that are judged together; these lie in memory."""
MAXIMUM_AFFECTED = 1000
"""So many paths that damage affects are named; more tell nobody anything."""

_LARGEST_32 = 2**32 - 1
_LARGEST_64 = 2**64 - 1
_PLAIN_TIME = re.compile(PLAIN_TIME)
_NO_TIME = Node(name="", type="").mtime
"""What a node without a time holds in its place; the format reads it as the year 1."""


class TreeCheck:
    """Walks all snapshots; each different tree is read once.

    What cannot be settled by looking at names and sizes, such as the content of data blobs, is
    the business of ``--read-data``.
    """

    def __init__(self, repository: Repository, result: CheckResult) -> None:
        """The repository's index must be complete. Findings go into ``result``."""
        self._repository = repository
        self._index = repository.index
        self._result = result
        self._snapshots: list[StoredSnapshot] = []
        self._met = bytearray(self._index.record_count)
        """For each number of the index whether it is of a tree that was met."""
        self._missing: set[Id] = set()

    def run(self, progress: Progress, names: set[str], find_worker: Callable[[], WorkerProcess | None]) -> None:
        """Read the snapshots of these names, and their trees; some of those in a worker, once ``find_worker`` has found
        one that has nothing else to do."""
        self.load_snapshots(names)
        self._result.snapshots = len(self._snapshots)
        progress.start("check snapshots", len(self._snapshots))
        judges = TreeJudges(self._repository, find_worker)
        for stored in self._snapshots:
            self._check_snapshot(stored, judges)
            progress.advance(1)
        progress.finish()

    def _check_snapshot(self, stored: StoredSnapshot, judges: TreeJudges) -> None:
        self._meet(stored, [((), Id(bytes.fromhex(stored.snapshot.tree)))], judges)
        while (judged := judges.take()) is not None:
            below: list[tuple[tuple[str, ...], Id]] = []
            for waiting, verdict in judged:
                if (verdict is not None and len(waiting.names) < MAXIMUM_DEPTH
                        and contents_are_sound(verdict, self._index)):
                    self._result.trees += 1
                    folders = verdict.folders
                else:
                    folders = self._look_closely(stored, waiting)
                below += [((*waiting.names, name), Id(tree)) for name, tree in folders]
            self._meet(stored, below, judges)

    def _meet(self, stored: StoredSnapshot, folders: list[tuple[tuple[str, ...], Id]], judges: TreeJudges) -> None:
        """Hand over the trees of folders, each tree once."""
        batch: list[WaitingTree] = []
        for names, tree_id in folders:
            number = self._index.number(BlobType.TREE, tree_id)
            if number < 0:
                if tree_id not in self._missing:
                    self._missing.add(tree_id)
                    self._report_tree(stored, display_path(names), tree_id, MissingBlobError(
                        kind=BlobType.TREE.value, blob=tree_id.hex()))
            elif not self._met[number]:
                self._met[number] = 1
                batch.append(WaitingTree(names, self._index.numbered_blob(number)))
        for start in range(0, len(batch), _BATCH):
            judges.add(batch[start : start + _BATCH])

    def _look_closely(self, stored: StoredSnapshot, waiting: WaitingTree) -> list[tuple[str, bytes]]:
        """Look at a tree node by node; return names and trees of the folders in it."""
        tree_id = waiting.blob.id
        try:
            if len(waiting.names) >= MAXIMUM_DEPTH:
                raise DamagedError(what=N_("the folder"), detail=N_("folders nest too deeply"))
            tree = parse_for_check(self._repository.load_blob(BlobType.TREE, tree_id), tree_id)
        except KuramoriError as error:
            self._report_tree(stored, display_path(waiting.names), tree_id, error)
            return []
        self._result.trees += 1
        self._check_tree(TreeVisit(stored, tree_id, tree, waiting.names))
        return named_folders(tree.nodes)

    def load_snapshots(self, names: set[str]) -> None:
        """Read the snapshots of these names; what cannot be read is an error."""
        for _name, load in load_each_snapshot(self._repository, sorted(names)):
            try:
                self._snapshots.append(load())
            except KuramoriError as error:
                self._result.errors.append(error)
        # The newest first: a path is named with the snapshot that people care about most.
        self._snapshots.sort(key=lambda stored: stored.snapshot.time_nanoseconds, reverse=True)

    def report_affected(self, lost: set[tuple[BlobType, Id]], progress: Progress) -> None:
        """Name the files that hold lost data blobs, up to a limit."""
        lost_data = {blob_id for blob_type, blob_id in lost if blob_type is BlobType.DATA}
        if not lost_data:
            return
        progress.start("look for affected files", len(self._snapshots))
        named = 0
        for visit in visit_trees(self._repository, self._snapshots, _ignore, lambda _: progress.advance(1)):
            for node in visit.tree.nodes:
                hit = _count_lost(node, lost_data)
                if hit and named < MAXIMUM_AFFECTED:
                    named += 1
                    self._result.errors.append(AffectedPathError(
                        path=visit.path(node.name), snapshot=visit.snapshot.short_id,
                        detail=Phrase(N_("{hit} of its {count} blob(s) are lost"),
                                      hit=hit, count=len(node.content_ids))))
        progress.finish()

    # --- one tree ----------------------------------------------------------------------------

    def _report_tree(self, stored: StoredSnapshot, path: str, tree_id: Id, error: KuramoriError) -> None:
        detail = N_("the tree is missing from the index") if isinstance(error, MissingBlobError) else error
        self._result.errors.append(SnapshotContentError(
            path=path, snapshot=stored.short_id, tree=tree_id.hex(), detail=detail))

    def _check_tree(self, visit: TreeVisit) -> None:
        previous: bytes | None = None
        unordered: Phrase | None = None
        for node in visit.tree.nodes:
            problem = self._node_problem(node)
            if problem:
                self._add(visit, node, problem)
            try:
                name = node.name_bytes
            except ValueError as error:
                self._add(visit, node, Phrase(N_("its name is malformed: {detail}"), detail=str(error)))
                continue
            name_detail = name_problem(name)
            if name_detail:
                self._add(visit, node, Phrase(N_("its name is not allowed: {detail}"), detail=name_detail))
            if previous is not None and name <= previous:
                unordered = unordered or Phrase(N_("the name {name} comes twice") if name == previous
                                                else N_("the name {name} is not in order"), name=node.name)
            previous = name
        if unordered:
            # Nothing that is stored is lost by it, and restic calls such a repository sound.
            self._result.hints.append(TreeOrderHint(
                path=visit.path(), snapshot=visit.snapshot.short_id, tree=visit.tree_id.hex(),
                detail=unordered))

    def _add(self, visit: TreeVisit, node: Node, detail: str | Phrase) -> None:
        self._result.errors.append(SnapshotContentError(
            path=visit.path(node.name), snapshot=visit.snapshot.short_id, tree=visit.tree_id.hex(),
            detail=detail))

    def _node_problem(self, node: Node) -> str | Phrase | None:
        problem: str | Phrase | None
        if node.type == "file":
            problem = self._file_problem(node)
        elif node.type == "dir":
            problem = _folder_problem(node)
        elif node.type not in NODE_TYPES:
            problem = Phrase(N_("its type {type} is not known"), type=node.type[:40])
        else:
            problem = None
        return problem or _number_problem(node) or _time_problem(node)

    def _file_problem(self, node: Node) -> str | Phrase | None:
        if not _is_list(node.content):
            return N_("it is a file and has no list of contents")
        size = 0
        missing: list[str] = []
        for text in node.content:
            try:
                length = self._index.plain_length(BlobType.DATA, parse_id(text))
            except ValueError as error:
                return Phrase(N_("its content is malformed: {detail}"), detail=str(error))
            if length is None:
                missing.append(text)
            else:
                size += length
        if missing:
            return Phrase(N_("{count} data blob(s) of its content missing from the index, the first is {id}"),
                          count=len(missing), id=missing[0])
        if size != node.size:
            return Phrase(N_("it should have {size} bytes, and its blobs have {found}"), size=node.size, found=size)
        return None


def _is_list(content: object) -> TypeGuard[list[str]]:
    return isinstance(content, list)


def _ignore(stored: StoredSnapshot, path: str, tree_id: Id, error: KuramoriError) -> None:
    """Pass over a tree that was reported when it was first met."""


def _count_lost(node: Node, lost: set[Id]) -> int:
    if node.type != "file" or not _is_list(node.content):
        return 0
    return sum(1 for text in node.content if _id_or_none(text) in lost)


def _id_or_none(text: str) -> Id | None:
    try:
        return parse_id(text)
    except ValueError:
        return None


def _folder_problem(node: Node) -> str | None:
    if node.subtree is None:
        return N_("it is a folder and names no tree")
    return N_("it is a folder and its tree is no id") if _id_or_none(node.subtree) is None else None


def _number_problem(node: Node) -> str | Phrase | None:
    """Find numbers that no other reader of the format can take."""
    if node.mode > _LARGEST_32:
        return Phrase(N_("its mode {mode} is too large"), mode=node.mode)
    if max(node.size, node.inode, node.device_id, node.links, node.device) > _LARGEST_64:
        return N_("one of its numbers is too large")
    for owner in (node.uid, node.gid):
        if owner > _LARGEST_32 and owner != _LARGEST_64:  # the largest stands for an absent field
            return Phrase(N_("its owner {owner} is too large"), owner=owner)
    return None


def _time_problem(node: Node) -> str | Phrase | None:
    times: Iterable[str] = (node.mtime, node.ctime, node.atime)
    for text in times:
        if _PLAIN_TIME.fullmatch(text) or text == _NO_TIME:
            continue
        try:
            parse_nanoseconds(text)
        except ValueError as error:
            return Phrase(N_("one of its times is malformed: {detail}"), detail=str(error))
    return None
