"""The first part of a check: the index files, and the packs that they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from kuramori.errors import (
    N_,
    DamagedError,
    DuplicatePackHint,
    FileNotInStorageError,
    KuramoriError,
    MixedPackHint,
    NoIndexListedError,
    PackMissingError,
    PackSizeError,
    Phrase,
    StorageError,
    UnlistedPacksHint,
    UnreferencedPackHint,
)
from kuramori.ids import Id
from kuramori.maintenance.check_result import CheckResult
from kuramori.model.blob import PackedBlob
from kuramori.progress import Progress
from kuramori.repository.index import Index
from kuramori.repository.ledger_comparison import enumerate_ids
from kuramori.repository.listings import begin_listing_packs, list_files, list_packs
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.pack_header import pack_size
from kuramori.repository.repository import Repository, describe_packs
from kuramori.repository.snapshots import list_snapshots
from kuramori.storage.backend import CONFIG_HANDLE, FileType, Handle


class PackRecord(NamedTuple):
    """What the index files say of one pack."""

    index_file: int
    """Number of the index file that named it first."""
    size: int
    """Bytes it must have."""
    blob_count: int
    """Blobs in it."""
    mixed: bool
    """It holds both types."""
    digest: bytes
    """Of the first description."""


class IndexCheck:
    """Reads all index files and compares them with the packs that are there.

    Memory: the index, and one small record per pack.
    """

    def __init__(self, repository: Repository, result: CheckResult) -> None:
        """Nothing is read yet; findings go into ``result``."""
        self.index = Index()
        self.packs: dict[Id, PackRecord] = {}
        self.present: dict[Id, int] = {}
        """Packs that the index names and that are there -> their size in bytes."""
        self.tree_count = 0
        """Trees that are named, also more than once."""
        self.index_names: set[str] = set()
        self._repository = repository
        self._result = result
        self._listed_again: set[Id] = set()
        self._gaps: dict[Id, str] = {}
        """Packs whose description leaves gaps -> the index file. Another file may fill them."""

    def run(self, progress: Progress, listing: Callable[[], dict[Id, int]] | None = None) -> bool:
        """Read and compare. Return whether all index files could be read: without them everything
        else would look damaged.

        Args:
            listing: of the packs, if one was begun (:func:`begin_listing_packs`).
        """
        listing = listing or begin_listing_packs(self._repository.backend)
        complete = self._load(progress)
        self._settle_packs_listed_again()
        self._result.packs = len(self.packs)
        self._result.blobs = len(self.index)
        for pack, record in self.packs.items():
            if record.mixed:
                self._result.hints.append(MixedPackHint(pack=pack.hex()))
                self._result.suggest_prune = True
        if complete:
            self._compare_with_storage(listing, progress)
        else:
            with suppress(StorageError):
                listing()  # it is on its way, and shall not outlive the check
        return complete

    # --- index files -------------------------------------------------------------------------

    def _load(self, progress: Progress) -> bool:
        complete = True
        files = list_files(self._repository.backend, FileType.INDEX)
        if not files and (snapshots := list_snapshots(self._repository)):
            self._result.errors.append(NoIndexListedError(count=len(snapshots), names=enumerate_ids(sorted(snapshots))))
            self._result.suggest_repair_index = True
            return False
        progress.start("load index", len(files), sum(info.size for info in files))
        sizes = {info.name: info.size for info in files}
        self.index_names.update(sizes)
        for number, (name, document) in enumerate(self._repository.load_many(FileType.INDEX, sizes)):
            try:
                for described in describe_packs(self._repository.version, name, document()):
                    self._take(number, name, described)
            except KuramoriError as error:
                self._result.errors.append(error)
                self._result.suggest_repair_index = True
                complete = False
            progress.advance(1, sizes[name])
        progress.finish()
        return complete

    def _take(self, number: int, index_name: str, described: PackDescription) -> None:
        if not described.blob_count:
            return
        self.index.add_description(described)
        self.tree_count += described.types.count(1)
        pack = described.pack
        earlier = self.packs.get(pack)
        if earlier is not None:
            self._take_again(number, described, earlier)
            return
        self.packs[pack] = PackRecord(number, described.pack_size, described.blob_count, described.mixed,
                                      described.digest())
        if not described.seamless:
            self._gaps[pack] = index_name

    def _take_again(self, number: int, described: PackDescription, earlier: PackRecord) -> None:
        pack = described.pack
        same = described.digest() == earlier.digest
        if same and number != earlier.index_file:
            self._result.hints.append(DuplicatePackHint(pack=pack.hex()))
            self._result.suggest_repair_index = True
        if same:
            return
        self._listed_again.add(pack)
        if number != earlier.index_file:
            # Whoever reads one of the files alone, as prune does, would lose what the other names.
            self._break(pack, N_("several index files describe it differently"))

    def _settle_packs_listed_again(self) -> None:
        """Work out what the union of several descriptions says, as all readers do."""
        for pack in self._gaps.keys() - self._listed_again:
            self._break(pack, Phrase(N_("its blobs overlap or leave gaps in index {name}"), name=self._gaps[pack]))
        if not self._listed_again:
            return
        for pack, blobs in self.index.blobs_of(self._listed_again).items():
            self.packs[pack] = self.packs[pack]._replace(size=pack_size(blobs), blob_count=len(blobs),
                                                         mixed=_is_mixed(blobs))
            if not _is_seamless(blobs):
                self._break(pack, N_("its blobs overlap or leave gaps in the index"))

    # --- packs -------------------------------------------------------------------------------

    def _compare_with_storage(self, begun: Callable[[], dict[Id, int]], progress: Progress) -> None:
        progress.start("check packs", len(self.packs))
        listing = list_packs(self._repository.backend, self.packs.keys(), begun)
        if listing.unlisted:
            self._result.hints.append(UnlistedPacksHint(count=len(listing.unlisted)))
        for pack, size in listing.sizes.items():
            record = self.packs.get(pack)
            if record is None:
                self._result.hints.append(UnreferencedPackHint(pack=pack.hex(), size=size))
                self._result.suggest_prune = True
                continue
            self.present[pack] = size if size == record.size else self._real_size(pack, size)
            if self.present[pack] != record.size:
                self._result.errors.append(
                    PackSizeError(pack=pack.hex(), found=self.present[pack], expected=record.size))
                self._result.broken_packs.append(pack.hex())
            progress.advance(1)
        for pack, record in self.packs.items():
            if pack not in self.present:
                self._result.errors.append(PackMissingError(pack=pack.hex(), count=record.blob_count))
                self._result.broken_packs.append(pack.hex())
        self._remember_missing()
        progress.finish()

    def _real_size(self, pack: Id, listed: int) -> int:
        """Return what the store says of the pack itself, where its listing says what cannot be."""
        try:
            return self._repository.backend.size(Handle(FileType.PACK, pack.hex()))
        except FileNotInStorageError:
            return listed

    def _remember_missing(self) -> None:
        """Note packs that are gone where the next backup looks: it can store again what was in them."""
        missing = [(pack, 0, False) for pack in self.packs if pack not in self.present]
        if missing and self._repository.pack_ledger is not None:
            confirm_presence(self._repository)
            self._repository.pack_ledger.record(missing)

    def _break(self, pack: Id, detail: str | Phrase) -> None:
        self._result.errors.append(DamagedError(what=Phrase(N_("pack {pack}"), pack=pack.hex()), detail=detail))
        self._result.broken_packs.append(pack.hex())


def confirm_presence(repository: Repository) -> None:
    """Raise if the repository as a whole is gone: a disk that is unmounted or unplugged in the middle of a check leaves
    nothing behind, and none of its packs is damaged by that.

    Raises:
        StorageError: it is not there, or does not answer.
    """
    repository.backend.load(CONFIG_HANDLE)


def _is_mixed(blobs: Sequence[PackedBlob]) -> bool:
    return any(blob.type is not blobs[0].type for blob in blobs)


def _is_seamless(blobs: Sequence[PackedBlob]) -> bool:
    """Tell whether blobs, sorted by offset, follow each other from the pack's beginning."""
    end = 0
    for blob in blobs:
        if blob.offset != end:
            return False
        end += blob.length
    return True
