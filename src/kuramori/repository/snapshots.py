"""Finding snapshots: all, the latest, by id, by a filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from kuramori.errors import (
    N_,
    AmbiguousIdError,
    DamagedError,
    FileNotInStorageError,
    MissingBlobError,
    NoSuchPathError,
    NoSuchSnapshotError,
    NotADirectoryInSnapshotError,
    Phrase,
)
from kuramori.ids import Id
from kuramori.model.names import display_text, quote_name
from kuramori.model.snapshot import Snapshot, StoredSnapshot, decode_snapshot, encode_snapshot
from kuramori.progress import NoProgress, Progress
from kuramori.repository.listings import list_files
from kuramori.repository.repository import Repository
from kuramori.repository.transfers import fetch_ahead
from kuramori.storage.backend import FileType


@dataclass(frozen=True, slots=True)
class SnapshotFilter:
    """Which snapshots are meant; an empty filter means all."""

    hosts: tuple[str, ...] = ()
    """Any of these."""
    tags: tuple[tuple[str, ...], ...] = ()
    """At least one of the groups must be contained whole; an empty group or tag stands for having none."""
    paths: tuple[str, ...] = ()
    """All of these must be among the snapshot's paths."""

    def matches(self, snapshot: Snapshot) -> bool:
        """Tell whether the snapshot is meant."""
        if self.hosts and snapshot.hostname not in self.hosts:
            return False
        if not set(self.paths) <= set(snapshot.paths):
            return False
        return not self.tags or any(snapshot.has_tags(group or ("",)) for group in self.tags)

    @property
    def empty(self) -> bool:
        """Whether all snapshots are meant."""
        return not (self.hosts or self.tags or self.paths)


EVERY_SNAPSHOT = SnapshotFilter()


def load_snapshot(repository: Repository, name: str) -> StoredSnapshot:
    """Return one snapshot by its whole id.

    Raises:
        DamagedError: it is damaged.
        StorageError: it could not be read.
    """
    document = repository.load_unpacked(FileType.SNAPSHOT, name)
    try:
        return StoredSnapshot(name, decode_snapshot(document))
    except ValueError as error:
        raise DamagedError(what=Phrase(N_("snapshot {name}"), name=name), detail=str(error)) from None


def load_each_snapshot(repository: Repository,
                       names: Iterable[str]) -> Iterator[tuple[str, Callable[[], StoredSnapshot]]]:
    """Yield each id with what gives that snapshot, or raises what :func:`load_snapshot` raises; in order. Of a store
    that is far away the next few are fetched meanwhile."""
    return fetch_ahead(repository.backend, partial(load_snapshot, repository), names)


def list_snapshots(repository: Repository) -> set[str]:
    """Return the ids of all snapshots that are there.

    Raises:
        StorageError: the listing failed.
    """
    return {info.name for info in list_files(repository.backend, FileType.SNAPSHOT)}


def load_snapshots(repository: Repository, progress: Progress | None = None) -> list[StoredSnapshot]:
    """Return all snapshots, the oldest first. A damaged one is reported to ``progress`` as a
    warning and left out; one that somebody forgets meanwhile is gone."""
    progress = progress or NoProgress()
    found = []
    names = list_snapshots(repository)
    for _name, load in load_each_snapshot(repository, names):
        try:
            found.append(load())
        except DamagedError as error:
            progress.warning(error)
        except FileNotInStorageError:
            continue
    if repository.ledger is not None:
        repository.ledger.observe(names)
    return sorted(found, key=lambda stored: (stored.snapshot.time_nanoseconds, stored.id))


def save_snapshot(repository: Repository, snapshot: Snapshot) -> str:
    """Store a snapshot and return its id. Everything it names must be durable before."""
    return repository.save_unpacked(FileType.SNAPSHOT, encode_snapshot(snapshot))


def find_snapshot(repository: Repository, text: str,
                  snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT) -> StoredSnapshot:
    """Return the snapshot that ``text`` names: ``latest`` (the newest that the filter matches),
    a whole id, or the beginning of just one id.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError
    """
    if text == "latest":
        matching = [s for s in load_snapshots(repository) if snapshot_filter.matches(s.snapshot)]
        if not matching:
            raise NoSuchSnapshotError(name="latest")
        return matching[-1]
    return load_snapshot(repository, resolve_snapshot_name(repository, text))


def resolve_snapshot_name(repository: Repository, text: str) -> str:
    """Return the whole id that ``text`` is, or is the only beginning of. The snapshot is not read.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError
    """
    if not text:
        raise NoSuchSnapshotError(name="''")
    names = [name for name in list_snapshots(repository) if name.startswith(text)]
    if not names:
        raise NoSuchSnapshotError(name=text)
    if len(names) > 1:
        raise AmbiguousIdError(name=text, count=len(names))
    return names[0]


def split_subfolder(text: str) -> tuple[str, bytes]:
    """Split ``ID:subfolder`` into the id and the folder's path (empty for the root)."""
    name, _, folder = text.partition(":")
    return name, folder.encode("utf-8", "surrogateescape")


def resolve_tree(repository: Repository, text: str,
                 snapshot_filter: SnapshotFilter = EVERY_SNAPSHOT) -> tuple[StoredSnapshot, Id, bytes]:
    """Return the snapshot, the tree and the folder that ``ID[:subfolder]`` names. The index must
    be loaded if there is a subfolder.

    Raises:
        NoSuchSnapshotError, AmbiguousIdError: the id.
        NoSuchPathError, NotADirectoryInSnapshotError: the subfolder.
        DamagedError: a tree on the way.
    """
    name, folder = split_subfolder(text)
    stored = find_snapshot(repository, name, snapshot_filter)
    tree_id = Id(bytes.fromhex(stored.snapshot.tree))
    walked = b""
    for part in folder.split(b"/"):
        if part in (b"", b"."):
            continue
        walked += b"/" + part
        tree_id = _enter(repository, stored, tree_id, part, walked, folder)
    return stored, tree_id, walked


def _enter(repository: Repository, stored: StoredSnapshot, tree_id: Id, part: bytes, walked: bytes,
           wanted_path: bytes) -> Id:
    wanted = quote_name(part)
    for node in repository.load_tree(tree_id).nodes:
        if node.name != wanted and ("\\" not in node.name or node.name_bytes != part):
            continue
        if node.type != "dir":
            raise NotADirectoryInSnapshotError(path=display_text(walked), snapshot=stored.short_id)
        if node.subtree is None:
            raise MissingBlobError(kind="tree", blob=f"of {display_text(walked)}")
        return Id(bytes.fromhex(node.subtree))
    raise NoSuchPathError(path=display_text(wanted_path), snapshot=stored.short_id)
