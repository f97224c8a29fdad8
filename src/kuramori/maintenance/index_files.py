"""The index files of a repository, taken together and one by one: to write them anew without
losing what any of them says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from kuramori.errors import FileNotInStorageError, KuramoriError, StorageError
from kuramori.ids import Id
from kuramori.progress import Progress
from kuramori.repository.index import Index
from kuramori.repository.index_writer import MAXIMUM_BLOBS, Description, IndexWriter
from kuramori.repository.listings import list_files
from kuramori.repository.repository import Repository, describe_packs, read_pack_descriptions
from kuramori.repository.transfers import fetch_ahead
from kuramori.storage.backend import FileType

Item = TypeVar("Item")


@dataclass(slots=True)
class _File:
    name: str
    packs: list[tuple[Id, int]]
    """The packs that it describes, each with how many blobs it says they have."""

    @property
    def blobs(self) -> int:
        return sum(count for _, count in self.packs)


class IndexFiles:
    """What every index file says, in little: names of packs and numbers of blobs.

    A pack may be described by several files (after a crash), and by each of them only in part (old
    versions of restic); what they say together holds.
    """

    def __init__(self, repository: Repository) -> None:
        """Begin with none read."""
        self.index = Index()
        """What they all say together."""
        self.unreadable: list[str] = []
        """Names of files that are damaged."""
        self._repository = repository
        self._files: list[_File] = []
        self._described: dict[Id, int] = {}
        """Pack -> how many of the files describe it."""

    @property
    def names(self) -> set[str]:
        """The names of all files, readable or not."""
        return {*(file.name for file in self._files), *self.unreadable}

    def read(self, progress: Progress, damaged: Callable[[KuramoriError], None] | None = None) -> None:
        """Read all files.

        Args:
            damaged: told of every file that cannot be read or is malformed. Without it, the first
                one is raised.

        Raises:
            DamagedError, StorageError: a file cannot be read.
        """
        files = list_files(self._repository.backend, FileType.INDEX)
        progress.start("load index", len(files), sum(info.size for info in files))
        sizes = {info.name: info.size for info in files}
        for name, document in self._repository.load_many(FileType.INDEX, sizes):
            try:
                self._files.append(self._read(name, document))
            except KuramoriError as error:
                if damaged is None or isinstance(error, StorageError):
                    raise
                self.unreadable.append(name)
                damaged(error)
            progress.advance(1, sizes[name])
        progress.finish()

    def _read(self, name: str, document: Callable[[], bytes]) -> _File:
        # All of a file or nothing: a damaged one may be malformed half-way.
        described = list(describe_packs(self._repository.version, name, document()))
        for pack in described:
            self.index.add_description(pack)
            self._described[pack.pack] = self._described.get(pack.pack, 0) + 1
        return _File(name, [(pack.pack, pack.blob_count) for pack in described])

    @property
    def untidy(self) -> bool:
        """Whether some pack is described more than once, or some file cannot be read."""
        return bool(self.unreadable) or any(count > 1 for count in self._described.values())

    # --- writing anew ------------------------------------------------------------------------

    def rewrite(self, writer: IndexWriter, leaving: Collection[Id], lock_check: Callable[[], None],
                progress: Progress) -> None:
        """Write new index files without the packs that leave, and delete the old ones.

        Files that are full and say nothing but what stays are left as they are. What ``writer``
        holds already is written along with the others. Every old file is deleted only when all new
        ones are durable, so at every instant the files together name every pack that stays.

        Args:
            leaving: packs that shall not be named any more.
            lock_check: raises if our lock was lost; called before every deletion.

        Raises:
            DamagedError, StorageError: both old and new files may be there then, which is sound.
        """
        obsolete = self._obsolete(leaving)
        progress.start("rewrite index", len(obsolete))
        self._describe_again(writer, obsolete, leaving, progress)
        writer.flush()
        progress.finish()
        self._delete([*(file.name for file in obsolete), *self.unreadable], lock_check, progress)

    def _obsolete(self, leaving: Collection[Id]) -> list[_File]:
        return [file for file in self._files
                if file.blobs < MAXIMUM_BLOBS
                or any(pack in leaving or self._described[pack] > 1 for pack, _ in file.packs)]

    def _describe_again(self, writer: IndexWriter, obsolete: list[_File], leaving: Collection[Id],
                        progress: Progress) -> None:
        """Describe every pack of the obsolete files that stays. One file is in memory at a time."""
        for pack, blobs in self._united({pack for pack, count in self._described.items()
                                         if count > 1 and pack not in leaving}):
            writer.describe(pack, blobs)
        for file in obsolete:
            if any(pack not in leaving and self._described[pack] == 1 for pack, _ in file.packs):
                # All at once: the columns take less than the document that they come from, which is let go.
                for described in list(read_pack_descriptions(self._repository, file.name)):
                    pack = described.pack
                    if described.blob_count and pack not in leaving and self._described[pack] == 1:
                        writer.describe(pack, described.rows())
            progress.advance(1)

    def _united(self, packs: Collection[Id]) -> Iterator[tuple[Id, list[Description]]]:
        """Yield what the files together say of packs that several of them describe."""
        united: dict[Id, list[Description]] = {pack: [] for pack in packs}
        if not united:
            return
        for blob_type, blob_id, _key, number, offset, length, uncompressed in self.index.copies():
            described = united.get(self.index.pack_at(number))
            if described is not None:
                described.append((blob_type, blob_id, offset, length, uncompressed))
        for pack, blobs in united.items():
            if blobs:
                blobs.sort(key=_by_offset)
                yield pack, blobs

    def _delete(self, names: list[str], lock_check: Callable[[], None], progress: Progress) -> None:
        progress.start("remove old index files", len(names))
        for _name, removed in fetch_ahead(self._repository.backend, self._remove, while_locked(names, lock_check)):
            removed()
            progress.advance(1)
        progress.finish()

    def _remove(self, name: str) -> None:
        remove_if_there(self._repository, FileType.INDEX, name)

    def delete_all(self, lock_check: Callable[[], None]) -> None:
        """Delete every index file, before anything new is written: only where there is no space
        for a single file more. ``repair index`` can make them anew from the packs.

        Raises:
            StorageError
        """
        for name in sorted(self.names):
            lock_check()
            remove_if_there(self._repository, FileType.INDEX, name)

    def write_all(self, writer: IndexWriter, leaving: Collection[Id]) -> None:
        """Write what :attr:`index` says of all packs that stay, after :meth:`delete_all`.

        Raises:
            StorageError
        """
        for pack, blobs in self._united([pack for pack in self.index.pack_ids() if pack not in leaving]):
            writer.describe(pack, blobs)
        writer.flush()


def while_locked(items: Iterable[Item], lock_check: Callable[[], None]) -> Iterator[Item]:
    """Yield each, after a look at the lock.

    Raises:
        LockLostError: as ``lock_check``.
    """
    for item in items:
        lock_check()
        yield item


def remove_if_there(repository: Repository, file_type: FileType, name: str) -> None:
    """Delete a file; one that is gone already is as good.

    Raises:
        StorageError
    """
    try:
        repository.remove(file_type, name)
    except FileNotInStorageError:
        pass  # the answer to an earlier try got lost, or the listing was old


def _by_offset(blob: Description) -> int:
    return blob[2]
