"""``repair snapshots``: new snapshots of what is left of damaged ones (format section 5.5).

A folder whose tree cannot be read becomes empty, a file loses the parts that are gone, and of a
snapshot whose root cannot be read nothing is left. The index decides what is gone: ``repair index``
comes first. A damaged snapshot stays beside the new one unless it shall be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from kuramori.errors import N_, KuramoriError, Phrase, RepositoryLockedError
from kuramori.ids import parse_id
from kuramori.maintenance.index_files import remove_if_there
from kuramori.maintenance.snapshot_replacing import (
    ChangedSnapshot,
    SnapshotSelection,
    TreeChange,
    UnreadableSnapshot,
    make_successor,
    replace_snapshots,
    select_snapshots,
)
from kuramori.maintenance.tree_rewriting import Place, TreePolicy, TreeRewriter
from kuramori.maintenance.tree_store import TreeStore
from kuramori.model.blob import BlobType
from kuramori.model.names import display_text, quote_name
from kuramori.model.node import Node
from kuramori.model.snapshot import StoredSnapshot
from kuramori.progress import NoProgress, Progress
from kuramori.repository.index import Index
from kuramori.repository.listings import list_packs
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.repository import Repository
from kuramori.storage.backend import FileType

REPAIRED_TAG = "repaired"
_INVALID_TYPES = ("", "irregular")


@dataclass(frozen=True, slots=True)
class RepairSnapshotsOptions:
    """What to repair and how."""

    selection: SnapshotSelection = field(default_factory=SnapshotSelection)
    forget: bool = False
    """Remove the damaged snapshots when the new ones are there, and those of which nothing is left;
    of snapshots whose own file is damaged, those that are named by their whole id or its beginning."""
    dry_run: bool = False
    """Write nothing and take no lock."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(slots=True)
class RepairSnapshotsResult:
    """What was found and done."""

    dry_run: bool = False
    snapshots: int = 0
    """Snapshots that were looked at."""
    changed: list[ChangedSnapshot] = field(default_factory=list)
    """Snapshots in which something is damaged."""
    unreadable: list[UnreadableSnapshot] = field(default_factory=list)
    """Snapshots whose own file is damaged."""
    missing_packs: list[str] = field(default_factory=list)
    """Packs that the index names and that are not there: what lies in them counts as there. With
    ``repair index`` first it would not."""


def repair_snapshots(repository: Repository, options: RepairSnapshotsOptions | None = None,
                     progress: Progress | None = None) -> RepairSnapshotsResult:
    """Make new snapshots of what is left of damaged ones. Takes an exclusive lock; the index is
    loaded anew.

    The new trees are durable before the first new snapshot, and each of these before the old one is
    removed.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError, UsageError: the selection.
        DamagedError: an index file cannot be read.
        RepositoryLockedError, LockLostError, StorageError: nothing is lost, and the next run does
            the rest.
    """
    options = options or RepairSnapshotsOptions()
    progress = progress or NoProgress()
    if options.dry_run:
        return _Repair(repository.without_writes(), options, None, progress).run()
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds,
                   waiting=options.lock_waiting) as lock:
        return _Repair(repository, options, lock, progress).run()


class _Repair:
    """One run."""

    def __init__(self, repository: Repository, options: RepairSnapshotsOptions, lock: Lock | None,
                 progress: Progress) -> None:
        self._repository = repository
        self._options = options
        self._lock = lock
        self._progress = progress
        self._result = RepairSnapshotsResult(options.dry_run)

    def run(self) -> RepairSnapshotsResult:
        """Do it."""
        options, result = self._options, self._result
        snapshots = select_snapshots(self._repository, options.selection, self._unreadable)
        result.snapshots = len(snapshots) + len(result.unreadable)
        self._repository.load_index(self._progress)
        self._find_missing_packs()
        store = TreeStore(self._repository, self._check)
        try:
            self._rewrite(snapshots, store)
            store.flush()
        finally:
            store.close()
            self._progress.finish()
        if not options.dry_run:
            replace_snapshots(self._repository, result.changed, forget=options.forget, check=self._check)
            self._remove_unreadable()
        return result

    def _unreadable(self, name: str, error: KuramoriError) -> None:
        self._result.unreadable.append(UnreadableSnapshot(name, error))

    def _remove_unreadable(self) -> None:
        """Remove those that were named one by one: a file that cannot be read may also be one that
        a newer program has written."""
        for found in self._result.unreadable:
            if self._options.forget and any(found.id.startswith(name) for name in self._options.selection.names):
                self._check()
                remove_if_there(self._repository, FileType.SNAPSHOT, found.id)
                found.removed = True

    def _find_missing_packs(self) -> None:
        named = set(self._repository.index.pack_ids())
        there = list_packs(self._repository.backend, named).sizes
        self._result.missing_packs = sorted(pack.hex() for pack in named - there.keys())

    def _rewrite(self, snapshots: list[StoredSnapshot], store: TreeStore) -> None:
        policy = _RepairPolicy(self._repository.index)
        rewriter = TreeRewriter(self._repository, store, policy)
        self._progress.start("rewrite trees", len(snapshots))
        for stored in snapshots:
            changes: list[TreeChange] = []
            policy.changes = changes
            tree = rewriter.rewrite(parse_id(stored.snapshot.tree), stored.short_id).tree
            if tree is None:
                self._result.changed.append(ChangedSnapshot(stored, None, changes))
            elif tree.hex() != stored.snapshot.tree:
                new = make_successor(stored, tree.hex(), "" if self._options.forget else REPAIRED_TAG)
                self._result.changed.append(ChangedSnapshot(stored, new, changes))
            elif changes:
                self._result.changed.append(ChangedSnapshot(stored, stored.snapshot, changes))
            self._progress.advance(1)

    def _check(self) -> None:
        if self._lock is not None:
            self._lock.check()


class _RepairPolicy(TreePolicy):
    """Keeps what is there."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.changes: list[TreeChange] = []
        """What was changed since this list was put here."""

    def entry(self, node: Node, path: bytes) -> Node | None:
        """Cut a file to what is left of it; drop what is of no type."""
        if node.type in _INVALID_TYPES:
            self._note(path, Phrase(N_("removed: it is of no known type")))
            return None
        node = self._with_sound_name(node, path)
        return self._cut(node, path) if node.type == "file" else node

    def _with_sound_name(self, node: Node, path: bytes) -> Node:
        try:
            node.name_bytes  # noqa: B018 - raises for a malformed name
        except ValueError:
            name = quote_name(node.name.encode("utf-8", "surrogatepass"))
            self._note(path, Phrase(N_("its name was malformed and is now {name}"), name=name))
            return msgspec.structs.replace(node, name=name)
        return node

    def _cut(self, node: Node, path: bytes) -> Node:
        content = node.content if isinstance(node.content, list) else []
        left: list[str] = []
        size = 0
        for text in content:
            length = self._plain_length(text)
            if length is not None:
                left.append(text)
                size += length
        if len(left) < len(content):
            self._note(path, Phrase(N_("{count} of its {total} parts are lost and were cut out; of {size} bytes "
                                       "{left} are left"),
                                    count=len(content) - len(left), total=len(content), size=node.size, left=size))
        elif size != node.size:
            self._note(path, Phrase(N_("its size was wrong ({size} bytes) and is now {left}"),
                                    size=node.size, left=size))
        elif node.content == left:
            return node
        else:
            self._note(path, Phrase(N_("it had no list of contents and is now empty")))
        return msgspec.structs.replace(node, content=left, size=size)

    def _plain_length(self, text: str) -> int | None:
        try:
            return self._index.plain_length(BlobType.DATA, parse_id(text))
        except ValueError:
            return None

    def unreadable(self, path: bytes, error: KuramoriError) -> bool:
        """Put an empty folder in the place of one that is lost; give up a snapshot without root."""
        if path:
            self._note(path, Phrase(N_("the folder is lost and was replaced by an empty one: {detail}"), detail=error))
        else:
            self._note(b"/", Phrase(N_("nothing of the snapshot is left: {detail}"), detail=error))
        return bool(path)

    def again(self, path: bytes, first: Place) -> None:
        """Name a damaged folder that another snapshot has too."""
        self._note(path or b"/", Phrase(N_("damaged just as {path} in snapshot {snapshot}"),
                                        path=first.path, snapshot=first.snapshot))

    def _note(self, path: bytes, what: Phrase) -> None:
        self.changes.append(TreeChange(display_text(path), what))
