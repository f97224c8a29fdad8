"""An open repository: files, blobs and trees, verified on every read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from kuramori.clock import Clock
from kuramori.crypto.master_key import MasterKey
from kuramori.errors import N_, DamagedError, KuramoriError, MissingBlobError, Phrase, ShortReadError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.config import RepositoryConfig
from kuramori.model.index_file import decode_index_packs
from kuramori.model.tree import Tree, decode_tree
from kuramori.progress import NoProgress, Progress
from kuramori.repository import sealing
from kuramori.repository.index import Index
from kuramori.repository.listings import list_files
from kuramori.repository.pack_description import PackDescription, describe_pack
from kuramori.repository.transfers import fetch_ahead, is_remote
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.dry_run import DryRunBackend

if TYPE_CHECKING:
    from kuramori.ledger.pack_ledger import PackLedger
    from kuramori.ledger.snapshot_ledger import SnapshotLedger
    from kuramori.repository.complete_snapshots import CompleteSnapshots
    from kuramori.repository.local_index import LocalIndex
    from kuramori.repository.spare_blobs import SpareBlobs
    from kuramori.storage.cache import CacheBackend

_SMALL_BLOB = 32 * 1024
_TOGETHER_BYTES = 512 * 1024
"""Small blobs are opened many at once; plain bytes of each, and of all that are. The index may lie about them, and so
much memory is taken."""
_WORTH_TOGETHER = 4
_LARGEST_GAP = 256 * 1024
"""Reading this many unneeded bytes is cheaper than another request."""
_LARGEST_RANGE = 8 * 1024 * 1024
"""A range ends when it has this many bytes, so that memory stays bounded."""
_LOCAL_RANGE = 1024 * 1024
"""... and of a disk of this machine, where reading often costs little."""
_RANGES_BYTES = 80 * 1024 * 1024
"""What ranges that are read at once from a store far away hold together: there a request costs more than memory, and
a pack of ordinary size shall be one."""

_Plain = TypeVar("_Plain", bound=bytes | memoryview)
_OpenOne = Callable[[MasterKey, memoryview, PackedBlob], _Plain]


class JustRead(NamedTuple):
    """What was read from the store to open a repository, and held what it should."""

    key_file: bytes
    """The one that the password opened."""
    at: float
    """Monotonic seconds."""


class Repository:
    """A repository that was opened with a password. May be used by several threads.

    Attributes:
        backend: where its files lie.
        config: what it is.
        clock: where its times come from.
        key: the master key.
        key_id: the name of the key file that the password opened.
        index: the blobs it has; empty before :meth:`load_index`.
        ledger: what this machine remembers of its snapshots; None where nobody keeps it.
        pack_ledger: which packs were read from this machine and when; None likewise.
        local_index: the file on this machine that holds the index of a large repository; None for none.
        complete_snapshots: what this machine knows of snapshots none of whose blobs is missing; None likewise.
        cache: the wrapper of ``backend`` that keeps copies on this machine; None for none.
        spares: gives blobs that are damaged or missing here; None for nobody. Reading asks it, and nothing else does.
    """

    def __init__(self, backend: Backend, config: RepositoryConfig, key: MasterKey, key_id: str, clock: Clock) -> None:
        """For :mod:`kuramori.repository.opening`."""
        self.backend = backend
        self.config = config
        self.key = key
        self.key_id = key_id
        self.clock = clock
        self.ledger: SnapshotLedger | None = None
        self.pack_ledger: PackLedger | None = None
        self.index = Index()
        self.index_names: set[str] = set()
        """Names of the index files that ``index`` was made from."""
        self.distrusted: set[tuple[BlobType, bytes]] = set()
        """Blobs of the index that lie only in packs that a check found damaged or gone."""
        self.local_index: LocalIndex | None = None
        self.cache: CacheBackend | None = None
        self.spares: SpareBlobs | None = None
        self._silent: KuramoriError | None = None
        """What the store said when it did not answer although it was asked for long: then :attr:`spares` is asked
        at once, as every further question would take as long."""
        self.complete_snapshots: CompleteSnapshots | None = None
        self.just_read: JustRead | None = None
        """None where it was made, not opened."""
        self._index_lock = threading.Lock()
        self._largest_range = max(_LARGEST_RANGE, _RANGES_BYTES // backend.connections) if is_remote(backend) \
            else _LOCAL_RANGE

    @property
    def id(self) -> str:
        """The repository's own id, 64 hexadecimal digits."""
        return self.config.id

    @property
    def version(self) -> int:
        """The format version, 1 or 2."""
        return self.config.version

    def close(self) -> None:
        """Give back connections. May be called more than once."""
        self.backend.close()

    def without_writes(self) -> Repository:
        """Return a repository that reads from this one and whose writes vanish: for a dry run. Its
        index is empty, and it keeps no ledger."""
        found = Repository(DryRunBackend(self.backend), self.config, self.key, self.key_id, self.clock)
        found.cache = self.cache
        return found

    # --- files -------------------------------------------------------------------------------

    def load_file(self, file_type: FileType, name: str) -> bytes:
        """Return a file as it is stored, its hash checked against its name; read once more if it
        does not match.

        Raises:
            DamagedError: the second reading was wrong too.
            StorageError: it could not be read.
        """
        handle = Handle(file_type, name)
        for _ in range(2):
            data = self.backend.load(handle)
            if hash_id(data).hex() == name:
                return data
        raise DamagedError(what=Phrase(N_("file {handle}"), handle=handle),
            detail=N_("its content does not match its name"))

    def load_unpacked(self, file_type: FileType, name: str) -> bytes:
        """Return the JSON of an index, snapshot or lock.

        Raises:
            DamagedError, StorageError
        """
        return sealing.open_unpacked(self.key, self.load_file(file_type, name), f"file {Handle(file_type, name)}")

    def load_many(self, file_type: FileType, names: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield each name with what gives the JSON of that file, or raises what :meth:`load_unpacked` raises. Of a
        store that is far away the next few are fetched meanwhile."""
        return fetch_ahead(self.backend, lambda name: self.load_unpacked(file_type, name), names)

    def seal_document(self, document: bytes) -> tuple[str, bytearray]:
        """Return the name and the content of the file that an index, snapshot or lock becomes."""
        sealed = sealing.seal_unpacked(self.key, self.version, document)
        return hash_id(sealed).hex(), sealed

    def save_unpacked(self, file_type: FileType, document: bytes) -> str:
        """Seal, verify and store an index, snapshot or lock; return its name."""
        name, sealed = self.seal_document(document)
        self.backend.save(Handle(file_type, name), [sealed])
        if self.ledger is not None and file_type is FileType.SNAPSHOT:
            self.ledger.recorded([name])
        return name

    def remove(self, file_type: FileType, name: str) -> None:
        """Delete a file.

        Raises:
            StorageError: it is not there or may not be deleted.
        """
        if self.ledger is not None and file_type is FileType.SNAPSHOT:
            self.ledger.removed([name], "kuramori")
        self.backend.remove(Handle(file_type, name))

    # --- index -------------------------------------------------------------------------------

    def load_index(self, progress: Progress | None = None) -> None:
        """Read all index files into :attr:`index`, replacing what was there.

        Raises:
            DamagedError: one of them cannot be read or is malformed.
        """
        progress = progress or NoProgress()
        files = list_files(self.backend, FileType.INDEX)
        names = {info.name for info in files}
        progress.start("load index", len(files), sum(info.size for info in files))
        index, known = Index(), set[str]()
        if self.local_index is not None:
            index, known = self.local_index.open(names)
        sizes = {info.name: info.size for info in files}
        progress.advance(len(known), sum(sizes[name] for name in known))
        for name, document in self.load_many(FileType.INDEX, [name for name in sizes if name not in known]):
            for described in describe_packs(self.version, name, document()):
                index.add_description(described)
            progress.advance(1, sizes[name])
        index.settle()
        if self.local_index is not None:
            self.local_index.keep(index, names)
        progress.finish()
        self.index = index
        self.index_names = names

    def distrust_damaged(self) -> None:
        """Go by what checks from this machine have found: blobs that lie only in packs that were damaged
        or gone count as lost in :meth:`has_sound`, so that a backup stores them again while it can."""
        damaged = set() if self.pack_ledger is None else self.pack_ledger.damaged()
        self.distrusted = set()
        if damaged:
            from kuramori.repository.pack_loss import find_only_in

            self.distrusted = find_only_in(self.index, lambda pack: pack in damaged)

    def forget_reading(self, packs: Iterable[Id]) -> None:
        """Say that packs were removed on purpose, or that nothing of them is missing: what a check found in them
        counts no more."""
        if self.pack_ledger is not None:
            self.pack_ledger.forget(packs)

    def has_sound(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Tell whether the index knows a blob that is not :attr:`distrusted`."""
        return self.index.has(blob_type, blob_id) and (
            not self.distrusted or (blob_type, blob_id) not in self.distrusted)

    # --- blobs -------------------------------------------------------------------------------

    def locate(self, blob_type: BlobType, blob_id: Id) -> list[PackedBlob]:
        """Return the copies of a blob that :meth:`read_blobs` can be asked for: those of the index, or, where
        that names none, the one that :attr:`spares` finds."""
        copies = self.index.lookup(blob_type, blob_id)
        if not copies and self.spares is not None:
            found = self.spares.find(blob_type, blob_id)
            return [found] if found is not None else []
        return copies

    def plain_length(self, blob_type: BlobType, blob_id: Id) -> int | None:
        """Return how many bytes a blob has; None if it is not known here."""
        length = self.index.plain_length(blob_type, blob_id)
        if length is None and self.spares is not None:
            found = self.spares.find(blob_type, blob_id)
            return found.plain_length if found is not None else None
        return length

    def open_blob(self, sealed: bytes | memoryview, blob: PackedBlob) -> bytes:
        """Return the plain bytes of one sealed blob, verified against its id.

        Raises:
            DamagedError
        """
        return sealing.open_blob(self.key, sealed, blob)

    def load_blob(self, blob_type: BlobType, blob_id: Id) -> bytes:
        """Return a blob, verified. Every known copy is tried, each once more when damaged, and then
        :attr:`spares`.

        Raises:
            MissingBlobError: no index names it.
            DamagedError, StorageError: no copy could be read; the first one's error.
        """
        first_error = self._silent if self.spares is not None else None
        copies = self.index.lookup(blob_type, blob_id) if first_error is None else []
        for copy in [*copies, *copies]:
            try:
                self._keep_near([copy])
                data = self.backend.load(Handle(FileType.PACK, copy.pack.hex()), copy.offset, copy.length)
                return sealing.open_blob(self.key, data, copy)
            except KuramoriError as error:
                first_error = first_error or error
                if error.retryable and self.spares is not None:
                    self._silent = error
                    break
        if self.spares is not None:
            for _type, _id, data in self.spares.fetch([(blob_type, blob_id)]):
                return data
        raise first_error or MissingBlobError(kind=blob_type.value, blob=blob_id.hex())

    def load_tree(self, tree_id: Id) -> Tree:
        """Return a tree.

        Raises:
            MissingBlobError, DamagedError, StorageError
        """
        return parse_tree(self.load_blob(BlobType.TREE, tree_id), tree_id)

    def read_blobs(self, pack: Id, blobs: Sequence[PackedBlob]) -> Iterator[tuple[PackedBlob, bytes | KuramoriError]]:
        """Yield blobs of one pack in the order of their offsets, each with its verified bytes or
        with the error that it has. Ranges that lie close together are read in one request.

        A damaged blob is read once more, by itself, before its error is given. Those that :attr:`spares` is
        asked for, because they are in no other pack, come last.
        """
        return self._read_blobs(pack, blobs, sealing.open_blob)

    def read_blobs_briefly(self, pack: Id, blobs: Sequence[PackedBlob]) \
            -> Iterator[tuple[PackedBlob, bytes | memoryview | KuramoriError]]:
        """Yield what :meth:`read_blobs` yields, but the bytes of each are gone when the next is asked for, or this
        thread opens anything else: for what is written or dropped at once."""
        return self._read_blobs(pack, blobs, sealing.open_blob_briefly)

    def _read_blobs(self, pack: Id, blobs: Sequence[PackedBlob], open_one: _OpenOne[_Plain]) \
            -> Iterator[tuple[PackedBlob, _Plain | bytes | KuramoriError]]:
        if self.spares is None:
            yield from ((blob, plain) for blob, _, plain in self._read_sealed(pack, blobs, open_one))
        elif self._silent is not None:
            yield from self._read_spares([(blob, self._silent) for blob in blobs])
        else:
            yield from self._read_with_spares(pack, blobs, open_one)

    def _read_with_spares(self, pack: Id, blobs: Sequence[PackedBlob], open_one: _OpenOne[_Plain]) \
            -> Iterator[tuple[PackedBlob, _Plain | bytes | KuramoriError]]:
        lost: list[tuple[PackedBlob, KuramoriError]] = []
        waiting = dict.fromkeys(blobs)
        for blob, _, plain in self._read_sealed(pack, blobs, open_one):
            del waiting[blob]
            if isinstance(plain, KuramoriError) and plain.retryable:
                self._silent = plain
                lost += [(blob, plain), *((other, plain) for other in waiting)]
                break
            if isinstance(plain, KuramoriError) and len(self.index.lookup(blob.type, blob.id)) < 2:
                lost.append((blob, plain))
            else:
                yield blob, plain
        if lost:
            yield from self._read_spares(lost)

    def _read_spares(self, lost: Sequence[tuple[PackedBlob, KuramoriError]]) \
            -> Iterator[tuple[PackedBlob, bytes | KuramoriError]]:
        """Yield what others have of blobs that cannot be read here, and the errors of the rest."""
        assert self.spares is not None
        waiting = {(blob.type, blob.id): (blob, error) for blob, error in lost}
        for blob_type, blob_id, plain in self.spares.fetch(list(waiting)):
            blob, _error = waiting.pop((blob_type, blob_id))
            yield blob, plain
        yield from waiting.values()

    def read_sealed_blobs(self, pack: Id, blobs: Sequence[PackedBlob]) \
            -> Iterator[tuple[PackedBlob, memoryview, bytes | KuramoriError]]:
        """Yield what :meth:`read_blobs` yields, and between the two the sealed bytes from which the
        verified ones were made; they mean nothing where there is an error."""
        return self._read_sealed(pack, blobs, sealing.open_blob)

    def _read_sealed(self, pack: Id, blobs: Sequence[PackedBlob], open_one: _OpenOne[_Plain]) \
            -> Iterator[tuple[PackedBlob, memoryview, _Plain | bytes | KuramoriError]]:
        self._keep_near(blobs)
        for group in _group(sorted(blobs, key=lambda blob: blob.offset), self._largest_range):
            start = group[0].offset
            length = group[-1].offset + group[-1].length - start
            data = memoryview(b"")  # not two ranges at a time
            try:
                data = memoryview(self.backend.load(Handle(FileType.PACK, pack.hex()), start, length))
            except KuramoriError as error:
                if len(group) == 1 or not isinstance(error, ShortReadError):
                    yield from ((blob, memoryview(b""), error) for blob in group)
                    continue
                # Read each by itself: the first ones may be whole.
            yield from self._open_range(data, start, group, open_one)

    def _open_range(self, data: memoryview, start: int, blobs: Sequence[PackedBlob], open_one: _OpenOne[_Plain]) \
            -> Iterator[tuple[PackedBlob, memoryview, _Plain | bytes | KuramoriError]]:
        """Open the blobs of a range that begins at the byte ``start`` of the pack."""
        for together in _small_together(blobs):
            pieces = [data[blob.offset - start : blob.offset - start + blob.length] for blob in together]
            plains = self._open_together(together, pieces)
            if plains is not None:
                yield from zip(together, pieces, plains, strict=True)
                continue
            for blob, piece in zip(together, pieces, strict=True):
                yield (blob, *self._open_or_reread(piece, blob, open_one))

    def _open_together(self, blobs: Sequence[PackedBlob], pieces: Sequence[memoryview]) -> list[bytes] | None:
        """Return the verified bytes of small blobs, or None where each must be looked at by itself."""
        if len(blobs) < _WORTH_TOGETHER:
            return None
        return sealing.open_together(
            self.key, b"".join(pieces), [blob.length for blob in blobs],
            [blob.uncompressed_length for blob in blobs], [blob.id for blob in blobs])

    def _keep_near(self, blobs: Iterable[PackedBlob]) -> None:
        """Have packs of trees copied to this machine where copies are kept: whoever reads one tree reads more."""
        if self.cache is not None:
            for blob in blobs:
                if blob.type is BlobType.TREE:
                    self.cache.keep_pack(blob.pack.hex(), blob.offset + blob.length)

    def _open_or_reread(self, sealed: memoryview, blob: PackedBlob, open_one: _OpenOne[_Plain]) \
            -> tuple[memoryview, _Plain | KuramoriError]:
        try:
            return sealed, open_one(self.key, sealed, blob)
        except DamagedError:
            pass
        try:
            again = self.backend.load(Handle(FileType.PACK, blob.pack.hex()), blob.offset, blob.length)
            return memoryview(again), open_one(self.key, memoryview(again), blob)
        except KuramoriError as error:
            return memoryview(b""), error


def _small_together(blobs: Sequence[PackedBlob]) -> Iterator[list[PackedBlob]]:
    """Yield blobs in order, small ones many at a time and every other by itself."""
    together: list[PackedBlob] = []
    length = 0
    for blob in blobs:
        plain = blob.plain_length
        if together and (plain > _SMALL_BLOB or length + plain > _TOGETHER_BYTES):
            yield together
            together, length = [], 0
        together.append(blob)
        length += plain if plain <= _SMALL_BLOB else _TOGETHER_BYTES
    if together:
        yield together


def _group(blobs: Sequence[PackedBlob], largest_range: int) -> Iterator[list[PackedBlob]]:
    group: list[PackedBlob] = []
    end = 0
    for blob in blobs:
        if group and (blob.offset - end > _LARGEST_GAP or end - group[0].offset >= largest_range):
            yield group
            group = []
        group.append(blob)
        end = blob.offset + blob.length
    if group:
        yield group


def parse_tree(document: bytes, tree_id: Id) -> Tree:
    """Return the tree of a verified blob.

    Raises:
        DamagedError: it is malformed.
    """
    try:
        return decode_tree(document)
    except (msgspec.DecodeError, ValueError) as error:
        raise DamagedError(what=Phrase(N_("tree {id}"), id=tree_id.hex()), detail=str(error)) from None


def read_pack_descriptions(repository: Repository, name: str) -> Iterator[PackDescription]:
    """Yield what one index file says of each pack.

    Raises:
        DamagedError: it cannot be opened or is malformed; perhaps only after some packs.
        StorageError: it could not be read.
    """
    yield from describe_packs(repository.version, name, repository.load_unpacked(FileType.INDEX, name))


def describe_packs(version: int, name: str, document: bytes) -> Iterator[PackDescription]:
    """Yield what the JSON of an index file says of each pack.

    Args:
        version: of the repository.
        name: of the file, for errors.

    Raises:
        DamagedError: it is malformed; perhaps only after some packs.
    """
    try:
        for pack, blobs in decode_index_packs(document):
            yield describe_pack(pack, blobs, version)
    except (msgspec.DecodeError, ValueError) as error:
        raise DamagedError(what=Phrase(N_("index {name}"), name=name), detail=str(error)) from None
