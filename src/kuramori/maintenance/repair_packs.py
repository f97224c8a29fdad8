"""``repair packs``: save what is intact in damaged packs (format section 5.5).

In this order: a copy of each pack outside of the repository, what is intact in new packs, new index
files without the damaged packs, and last the damaged packs are removed. Until then nothing is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from kuramori.errors import (
    N_,
    DamagedError,
    FileNotInStorageError,
    KuramoriError,
    NoSuchObjectError,
    PackCopyError,
    RepositoryLockedError,
    ShortReadError,
    StorageError,
    StoragePermissionError,
    UsageError,
)
from kuramori.ids import Id, is_hex_id, parse_id
from kuramori.maintenance.blob_sources import BlobSources, locked_sources
from kuramori.maintenance.index_files import IndexFiles, remove_if_there
from kuramori.maintenance.kept_copies import keep_copy
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.progress import NoProgress, Progress
from kuramori.repository.compression import Compression
from kuramori.repository.index import Index
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.locks import Lock, hold_lock
from kuramori.repository.pack_description import PackDescription
from kuramori.repository.pack_header import read_pack_header
from kuramori.repository.packer import DEFAULT_PACK_SIZE, Packer
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer
from kuramori.storage.backend import FileType, Handle

_PIECE = 1024 * 1024
"""A pack that cannot be read whole is read in pieces of so many bytes for its copy."""


@dataclass(frozen=True, slots=True)
class RepairPacksOptions:
    """What to repair and how."""

    packs: tuple[str, ...] = ()
    """Ids of packs, or beginnings of them."""
    copies: str | None = None
    """A folder where a copy of every pack is kept, as ``pack-<id>``; None for no copies."""
    pack_size: int = DEFAULT_PACK_SIZE
    sources: tuple[Repository, ...] = ()
    """Other repositories, from which is fetched what is not intact here, in the order of preference."""
    no_source_lock: bool = False
    """Take no locks on the sources."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""


@dataclass(slots=True)
class RepairPacksResult:
    """What was found and done. Packs and blobs are named by their whole ids."""

    packs: list[str] = field(default_factory=list)
    """Packs that were dealt with."""
    copies: list[str] = field(default_factory=list)
    """Where copies of them are now."""
    absent: list[str] = field(default_factory=list)
    """Packs that were not there at all; no index names them any more."""
    saved: int = 0
    """Blobs that were intact."""
    fetched: int = 0
    """Blobs that were fetched from other repositories."""
    lost: list[tuple[BlobType, str]] = field(default_factory=list)
    """Blobs of which no intact copy is left anywhere, as far as was looked."""
    errors: list[KuramoriError] = field(default_factory=list)
    """Packs that could not be removed. No index names them: the next prune tries again."""


def repair_packs(repository: Repository, options: RepairPacksOptions,
                 progress: Progress | None = None) -> RepairPacksResult:
    """Save what is intact in damaged packs, and remove them. Takes an exclusive lock, and shared ones
    on the sources; the index is empty afterwards.

    Every blob is opened and its hash checked, here and where another pack has a copy too; only what
    has no intact copy elsewhere is stored again.

    Raises:
        UsageError: no pack was named.
        NoSuchObjectError: the beginning of an id names no pack, or several.
        PackCopyError: a copy could not be kept; nothing was changed.
        DamagedError: an index file cannot be read.
        RepositoryLockedError, LockLostError, StorageError: nothing that was intact is lost, and the
            next run does the rest.
    """
    if not options.packs:
        raise UsageError(detail=N_("name the packs that are damaged; kuramori check --read-data finds them"))
    progress = progress or NoProgress()
    with hold_lock(repository, exclusive=True, retry_seconds=options.retry_lock_seconds,
                   waiting=options.lock_waiting) as lock, \
            locked_sources(options.sources, lock, progress, no_lock=options.no_source_lock,
                           retry_seconds=options.retry_lock_seconds, waiting=options.lock_waiting) as sources:
        return _Repair(repository, options, lock, sources, progress).run()


class _Repair:
    """One run."""

    def __init__(self, repository: Repository, options: RepairPacksOptions, lock: Lock, sources: BlobSources,
                 progress: Progress) -> None:
        self._repository = repository
        self._options = options
        self._lock = lock
        self._sources = sources
        self._progress = progress
        self._index_files = IndexFiles(repository)
        self._writer = IndexWriter(repository, lock.check)
        self._packers = {
            blob_type: Packer(repository.backend, repository.key, blob_type, self._stored, options.pack_size)
            for blob_type in BlobType}
        self._sizes: dict[Id, int] = {}
        self._settled: set[tuple[BlobType, Id]] = set()
        """Blobs that are stored anew, or have an intact copy elsewhere."""
        self._unsettled: dict[tuple[BlobType, Id], None] = {}
        self._result = RepairPacksResult()

    def run(self) -> RepairPacksResult:
        """Do it."""
        result = self._result
        self._sizes = {parse_id(info.name): info.size for info in self._repository.backend.list(FileType.PACK)}
        self._index_files.read(self._progress)
        self._repository.index = self._index_files.index
        packs = self._resolve()
        result.packs = [pack.hex() for pack in packs]
        result.absent = [pack.hex() for pack in packs if pack not in self._sizes]
        self._keep_copies(packs)
        try:
            self._save(packs)
        finally:
            self._close()
        result.lost = [(blob_type, blob_id.hex()) for blob_type, blob_id in self._unsettled
                       if (blob_type, blob_id) not in self._settled]
        self._index_files.rewrite(self._writer, set(packs), self._lock.check, self._progress)
        self._remove(packs)
        self._repository.index = Index()
        self._repository.index_names = set()
        return result

    def _resolve(self) -> list[Id]:
        """Return the packs that were named."""
        known = sorted({*self._sizes, *self._index_files.index.pack_ids()})
        found: dict[Id, None] = {}
        for text in self._options.packs:
            fitting = [pack for pack in known if pack.hex().startswith(text)]
            if is_hex_id(text):
                fitting = [parse_id(text)]  # one that is gone entirely may just have been repaired
            if len(fitting) != 1 or not text:
                raise NoSuchObjectError(kind="pack", name=text)
            found[fitting[0]] = None
        return list(found)

    # --- copies ------------------------------------------------------------------------------

    def _keep_copies(self, packs: list[Id]) -> None:
        if self._options.copies is None:
            return
        self._progress.start("copy packs", len(packs))
        for pack in packs:
            if pack in self._sizes:
                content = self._read_what_is_left(pack)
                if content is not None:
                    self._result.copies.append(keep_copy(
                        self._options.copies, f"pack-{pack.hex()}", content, PackCopyError))
            self._progress.advance(1)
        self._progress.finish()

    def _read_what_is_left(self, pack: Id) -> bytes | None:
        """Return a pack's bytes, with zeros where it cannot be read; None if it can be read nowhere."""
        handle = Handle(FileType.PACK, pack.hex())
        try:
            return self._repository.backend.load(handle)
        except StorageError as error:
            _raise_unless_lost(error)
        size = self._sizes[pack]
        pieces: list[bytes] = []
        read = 0
        for offset in range(0, size, _PIECE):
            length = min(_PIECE, size - offset)
            try:
                pieces.append(self._repository.backend.load(handle, offset, length))
                read += length
            except StorageError as error:
                _raise_unless_lost(error)
                pieces.append(bytes(length))
        return b"".join(pieces) if read else None

    # --- saving ------------------------------------------------------------------------------

    def _save(self, packs: list[Id]) -> None:
        listed = self._listed(packs)
        self._progress.start("salvage packs", len(packs))
        for pack in packs:
            for blob, sealed in self._intact(pack, listed[pack]):
                self._lock.check()
                self._packers[blob.type].add(blob.id, sealed, blob.uncompressed_length)
                self._settled.add((blob.type, blob.id))
                self._result.saved += 1
            self._progress.advance(1)
        self._fetch()
        for packer in self._packers.values():
            packer.flush()
        self._progress.finish()

    def _fetch(self) -> None:
        """Store what is not intact here from where it is."""
        if not self._sources.repositories:
            return
        sealer = BlobSealer(self._repository.key, self._repository.version, Compression.AUTO)
        for blob_type, blob_id in self._unsettled:
            if (blob_type, blob_id) in self._settled:
                continue
            plain = self._sources.fetch(blob_type, blob_id)
            if plain is not None:
                self._lock.check()
                self._packers[blob_type].add(blob_id, *sealer.seal(blob_type, blob_id, plain))
                self._settled.add((blob_type, blob_id))
                self._result.fetched += 1

    def _listed(self, packs: list[Id]) -> dict[Id, list[PackedBlob]]:
        """Return the blobs of each pack, as the index and as its own header say."""
        listed: dict[Id, dict[PackedBlob, None]] = {pack: {} for pack in packs}
        index = self._repository.index
        for blob_type, blob_id, _key, number, offset, length, uncompressed in index.copies():
            pack = index.pack_at(number)
            if pack in listed:
                listed[pack][PackedBlob(blob_type, Id(blob_id), pack, offset, length, uncompressed)] = None
        for pack, blobs in listed.items():
            if pack in self._sizes:
                blobs.update(dict.fromkeys(self._header(pack)))
        return {pack: list(blobs) for pack, blobs in listed.items()}

    def _header(self, pack: Id) -> list[PackedBlob]:
        try:
            return read_pack_header(self._repository, pack, self._sizes[pack])
        except DamagedError:
            return []
        except StorageError as error:
            _raise_unless_lost(error)
            return []

    def _intact(self, pack: Id, blobs: list[PackedBlob]) -> Iterator[tuple[PackedBlob, bytes]]:
        """Yield the intact blobs of a pack that are not settled yet, with their sealed bytes."""
        leaving = {parse_id(name) for name in self._result.packs}
        wanted = []
        for blob in blobs:
            if (blob.type, blob.id) in self._settled:
                continue
            if self._is_elsewhere(blob, leaving):
                self._settled.add((blob.type, blob.id))
            else:
                wanted.append(blob)
        for blob, sealed, plain in self._repository.read_sealed_blobs(pack, wanted):
            if (blob.type, blob.id) in self._settled:
                continue  # the index and the header name it in two places
            whole = bytes(sealed) if not isinstance(plain, KuramoriError) else self._read_alone(blob, plain)
            if whole is None:
                self._unsettled[blob.type, blob.id] = None
            else:
                yield blob, whole

    def _is_elsewhere(self, blob: PackedBlob, leaving: set[Id]) -> bool:
        """Tell whether a pack that stays has an intact copy."""
        for copy in self._repository.index.lookup(blob.type, blob.id):
            if copy.pack in leaving or copy.pack not in self._sizes:
                continue
            with suppress(DamagedError, ShortReadError, FileNotInStorageError):
                sealed = self._repository.backend.load(Handle(FileType.PACK, copy.pack.hex()), copy.offset, copy.length)
                self._repository.open_blob(sealed, copy)
                return True
        return False

    def _read_alone(self, blob: PackedBlob, error: KuramoriError) -> bytes | None:
        """Return the sealed bytes of a blob that could not be read along with others, or None if it
        is damaged itself."""
        if isinstance(error, (DamagedError, FileNotInStorageError)):
            return None  # it was read twice already
        try:
            sealed = self._repository.backend.load(Handle(FileType.PACK, blob.pack.hex()), blob.offset, blob.length)
            self._repository.open_blob(sealed, blob)
        except DamagedError:
            return None
        except StorageError as again:
            _raise_unless_lost(again)
            return None
        return sealed

    def _stored(self, described: PackDescription) -> None:
        self._writer.describe_columns(described)

    def _close(self) -> None:
        for packer in self._packers.values():
            with suppress(KuramoriError):
                packer.discard()
        self._progress.finish()

    # --- removing ----------------------------------------------------------------------------

    def _remove(self, packs: list[Id]) -> None:
        """Remove the packs. What cannot be removed does no harm."""
        for pack in packs:
            self._lock.check()
            try:
                remove_if_there(self._repository, FileType.PACK, pack.hex())
            except StorageError as error:
                self._result.errors.append(error)
                self._progress.warning(error)
        self._repository.forget_reading(packs)


def _raise_unless_lost(error: StorageError) -> None:
    """Raise what may pass or be granted later; return for bytes that the disk cannot give back."""
    if error.retryable or isinstance(error, StoragePermissionError):
        raise error
