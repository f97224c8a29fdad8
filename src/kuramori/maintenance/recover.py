"""``recover``: a snapshot of all folders that nothing leads to any more (format section 5.5).

A snapshot that was forgotten by mistake is still there until the next prune: its root is a tree
that no other tree and no snapshot names. Each such tree becomes a folder of the new snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from kuramori.errors import N_, DamagedError, KuramoriError, Phrase, RepositoryLockedError
from kuramori.ids import Id, parse_id
from kuramori.maintenance.repair_index import RepairIndexOptions, RepairIndexResult, repair_index_locked
from kuramori.maintenance.tree_rewriting import is_damage
from kuramori.maintenance.tree_store import TreeStore
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.json import replace_undecodable
from kuramori.model.node import Node
from kuramori.model.snapshot import Snapshot
from kuramori.model.times import format_datetime
from kuramori.model.tree import decode_tree, encode_tree
from kuramori.progress import NoProgress, Progress
from kuramori.repository.locks import Lock, hold_lock, withdraw_unless_held
from kuramori.repository.process_identity import current_identity
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots, save_snapshot
from kuramori.storage.backend import FileType

RECOVERED_TAG = "recovered"
RECOVERED_PATH = "/recover"
_SHORT = 8


@dataclass(frozen=True, slots=True)
class RecoverOptions:
    """How to recover."""

    program_version: str = "kuramori"
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(slots=True)
class RecoverResult:
    """What was found and done."""

    index: RepairIndexResult
    """What was wrong with the index before."""
    trees: int = 0
    """Trees that are there."""
    roots: list[str] = field(default_factory=list)
    """Trees that nothing led to."""
    damaged: list[KuramoriError] = field(default_factory=list)
    """Trees that cannot be read; what only they lead to counts as something nothing leads to."""
    snapshot_id: str | None = None
    """None if there was nothing to recover."""


def recover(repository: Repository, options: RecoverOptions | None = None,
            progress: Progress | None = None) -> RecoverResult:
    """Make a snapshot of all folders that nothing leads to. Takes an exclusive lock; the index is
    repaired before, so that every pack is looked into.

    Raises:
        RepositoryLockedError, LockLostError, StorageError: nothing is lost.
    """
    options = options or RecoverOptions()
    progress = progress or NoProgress()
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds,
                   waiting=options.lock_waiting) as lock:
        result = RecoverResult(repair_index_locked(repository, RepairIndexOptions(), lock, progress))
        repository.load_index(progress)
        result.roots = [tree.hex() for tree in _find_roots(repository, result, progress)]
        if result.roots:
            result.snapshot_id = _save(repository, result.roots, options, lock)
        return result


def _find_roots(repository: Repository, result: RecoverResult, progress: Progress) -> list[Id]:
    """Return the readable trees that no tree and no snapshot names, sorted."""
    packs = [(pack, [blob for blob in blobs if blob.type is BlobType.TREE]) for pack, blobs in repository.index.packs()]
    trees: set[Id] = set()
    named: set[Id] = set()
    progress.start("read trees", len({blob.id for _, blobs in packs for blob in blobs}))
    for pack, blobs in packs:
        new = [blob for blob in blobs if blob.id not in trees]
        for tree_id, below in _read(repository, pack, new, result, progress):
            trees.add(tree_id)
            named.update(below)
            progress.advance(1)
    progress.finish()
    result.trees = len(trees)
    named.update(parse_id(stored.snapshot.tree) for stored in load_snapshots(repository, progress))
    return sorted(trees - named)


def _read(repository: Repository, pack: Id, blobs: list[PackedBlob], result: RecoverResult,
          progress: Progress) -> Iterator[tuple[Id, list[Id]]]:
    """Yield the readable trees of a pack, each with the trees that it names."""
    for blob, plain in repository.read_blobs(pack, blobs):
        try:
            if isinstance(plain, KuramoriError):  # there may be another copy
                plain = repository.load_blob(BlobType.TREE, blob.id)
            below = list(_folders(decode_tree(plain).nodes))
        except (msgspec.DecodeError, ValueError) as error:
            _note(DamagedError(what=Phrase(N_("tree {id}"), id=blob.id.hex()), detail=str(error)), result, progress)
        except KuramoriError as error:
            if not is_damage(error):
                raise
            _note(error, result, progress)
        else:
            yield blob.id, below


def _note(error: KuramoriError, result: RecoverResult, progress: Progress) -> None:
    result.damaged.append(error)
    progress.warning(error)


def _folders(nodes: Iterable[Node]) -> Iterator[Id]:
    for node in nodes:
        if node.type == "dir" and node.subtree is not None:
            try:
                yield parse_id(node.subtree)
            except ValueError:
                continue


def _save(repository: Repository, roots: list[str], options: RecoverOptions, lock: Lock) -> str:
    """Store a tree of the roots and a snapshot of that; return the snapshot's id."""
    now = format_datetime(repository.clock.now())
    store = TreeStore(repository, lock.check)
    try:
        tree = store.store(encode_tree(Node(
            name=name, type="dir", mode=0o755, mtime=now, atime=now, ctime=now, uid=0, gid=0, content=None,
            subtree=root) for name, root in sorted(_names(roots).items())))
        store.flush()
    finally:
        store.close()
    identity = current_identity()
    lock.check()
    name = save_snapshot(repository, Snapshot(
        time=now, tree=tree.hex(), paths=[RECOVERED_PATH], hostname=replace_undecodable(identity.hostname),
        username=replace_undecodable(identity.username), uid=identity.uid, gid=identity.gid, tags=[RECOVERED_TAG],
        program_version=options.program_version))
    withdraw_unless_held(repository, FileType.SNAPSHOT, name, lock.check)
    return name


def _names(roots: list[str]) -> dict[str, str]:
    """Return a name for each root: its first digits, or all where several begin alike."""
    shorts = Counter(root[:_SHORT] for root in roots)
    return {root[:_SHORT] if shorts[root[:_SHORT]] == 1 else root: root for root in roots}
