"""A prune that cannot know what is in use removes nothing and says why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import (
    DamagedError,
    KuramoriError,
    PruneRefusedError,
    RepositoryLockedError,
    StoragePermissionError,
    UsageError,
)
from kuramori.ids import hash_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.prune import PruneOptions, PrunePolicy, PruneResult, UnusedLimit, prune, prune_locked
from kuramori.maintenance.used_blobs import find_used_blobs
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.progress import NoProgress
from kuramori.repository.compression import Compression
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import open_repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import FileInfo, FileType
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from kuramori.testing.faulty_backend import FailKind, FaultyBackend
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, copy, create, make_source, node, tree

_ALL = PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(size=0)))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two snapshots left of three, and packs that are used in part."""
    folder = tmp_path_factory.mktemp("prune")
    source = folder / "source"
    make_source(source)
    create(folder / "repository")
    shop = Workshop(folder / "repository")
    options = BackupOptions(paths=(os.fsencode(source),))
    first = back_up(shop.repository, options)
    (source / "deep" / "file0").write_bytes(os.urandom(50_000))
    (source / "text").unlink()
    back_up(shop.repository, options)
    (source / "deep" / "file1").write_bytes(os.urandom(60_000))
    back_up(shop.repository, options)
    assert first.snapshot_id is not None
    shop.remove(FileType.SNAPSHOT, first.snapshot_id)
    return folder / "repository"


@pytest.fixture
def shop(base: Path, tmp_path: Path) -> Workshop:
    return copy(base, tmp_path / "repository")


def _files(shop: Workshop) -> dict[tuple[FileType, str], bytes]:
    return {(file_type, name): shop.read(file_type, name)
            for file_type in FileType if file_type is not FileType.CONFIG for name in shop.names(file_type)}


def _refused(shop: Workshop, kind: type[KuramoriError] = PruneRefusedError, options: PruneOptions = _ALL) -> str:
    """Prune, which must refuse and change nothing; return what it says."""
    before = _files(shop)
    with pytest.raises(kind) as caught:
        prune(shop.repository, options)
    assert _files(shop) == before
    return str(caught.value)


def test_the_repository_would_be_pruned_if_it_were_sound(shop: Workshop) -> None:
    result = prune(shop.repository, _ALL)
    assert result.packs_removed
    assert result.packs_written
    assert check(Workshop(shop.folder).repository, CheckOptions(read_data=True)).sound
    assert prune(shop.repository, _ALL).plan.empty


# --- what cannot be read -----------------------------------------------------------------------


def test_a_damaged_snapshot(shop: Workshop) -> None:
    name = shop.names(FileType.SNAPSHOT)[0]
    shop.flip(FileType.SNAPSHOT, name, 40)
    assert name in _refused(shop)


def test_a_damaged_index(shop: Workshop) -> None:
    name = shop.names(FileType.INDEX)[0]
    shop.truncate(FileType.INDEX, name, -1)
    assert name in _refused(shop, DamagedError)


def test_a_damaged_tree(shop: Workshop) -> None:
    for pack in shop.packs(BlobType.TREE):
        shop.flip(FileType.PACK, pack, 20)
    text = _refused(shop)
    assert "snapshot" in text
    assert "tree blob" in text


@pytest.mark.parametrize("document", [
    tree(node("x", "dir")), tree(node("x", "file", ',"content":["abc"]')), b'{"trees":[]}', b'{"nodes":3}',
    tree(node("x", "dir", ',"subtree":"zz"')),
], ids=["folder without tree", "content is no id", "no nodes", "nodes are no list", "tree is no id"])
def test_a_malformed_tree(shop: Workshop, document: bytes) -> None:
    shop.add_tree_snapshot(document)
    assert "snapshot" in _refused(shop)


# --- what is missing ---------------------------------------------------------------------------


def _needed_data_pack(shop: Workshop) -> str:
    """Return a pack that the newest snapshots need: the one with most bytes is used by all."""
    return shop.packs(BlobType.DATA)[0]


def test_a_blob_that_no_index_names(shop: Workshop) -> None:
    lost = _needed_data_pack(shop)
    shop.replace_index([pack for pack in shop.all_index_packs() if pack.id != lost])
    text = _refused(shop)
    assert "missing from the index" in text
    assert "kuramori check" in text


def test_a_snapshot_of_a_tree_that_no_index_names(shop: Workshop) -> None:
    shop.add_snapshot(hash_id(b"never stored"))
    assert hash_id(b"never stored").hex() in _refused(shop)


def test_a_pack_that_is_not_there(shop: Workshop) -> None:
    lost = _needed_data_pack(shop)
    shop.remove(FileType.PACK, lost)
    assert lost in _refused(shop)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_pack_of_the_wrong_size(shop: Workshop, change: int) -> None:
    pack = _needed_data_pack(shop)
    content = shop.read(FileType.PACK, pack)
    shop.change(FileType.PACK, pack, content[:change] if change < 0 else content + b"x")
    assert pack in _refused(shop)


def test_missing_and_wrong_packs_that_nobody_needs_are_tidied_away(shop: Workshop) -> None:
    for number in range(2):
        content = os.urandom(1000 + number)
        sealed, length = shop.sealed(BlobType.DATA, content)
        pack = shop.add_pack([(BlobType.DATA, hash_id(content), sealed, length)])
        if number:
            shop.remove(FileType.PACK, pack)
        else:
            shop.truncate(FileType.PACK, pack, -10)
    result = prune(shop.repository, _ALL)
    assert len(result.plan.forgotten) == 1
    assert check(Workshop(shop.folder).repository, CheckOptions(read_data=True)).sound


# --- stores that lie ---------------------------------------------------------------------------


class _Listing(ForwardingBackend):
    """Shows another listing than there is."""

    def __init__(self, shop: Workshop, file_type: FileType, change: Callable[[int, list[FileInfo]], list[FileInfo]]):
        super().__init__(LocalBackend(shop.folder))
        self._type = file_type
        self._change = change
        self._times = 0

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        found = list(super().list(file_type))
        if file_type is not self._type:
            return iter(found)
        self._times += 1
        return iter(self._change(self._times, sorted(found, key=lambda info: info.name)))


def _lied_to(shop: Workshop, file_type: FileType,
             change: Callable[[int, list[FileInfo]], list[FileInfo]]) -> PruneResult:
    return prune(open_repository(_Listing(shop, file_type, change), Secret(PASSWORD)), _ALL)


@pytest.mark.parametrize("file_type", [FileType.INDEX, FileType.SNAPSHOT])
def test_a_store_that_suddenly_lists_nothing(shop: Workshop, file_type: FileType) -> None:
    before = _files(shop)
    with pytest.raises(PruneRefusedError):
        _lied_to(shop, file_type, lambda _, found: [])
    assert _files(shop) == before


def test_a_store_that_lists_only_some_of_the_index(shop: Workshop) -> None:
    before = _files(shop)
    pack = _needed_data_pack(shop)
    needed = next(name for name, packs in shop.index_documents().items() if pack in {each.id for each in packs})
    with pytest.raises(PruneRefusedError):
        _lied_to(shop, FileType.INDEX, lambda _, found: [info for info in found if info.name != needed])
    assert _files(shop) == before


@pytest.mark.parametrize("some", [False, True], ids=["none", "some"])
def test_packs_that_are_not_listed_are_asked_for(shop: Workshop, some: bool) -> None:
    needed = _needed_data_pack(shop)
    _lied_to(shop, FileType.PACK, lambda _, found: [info for info in found if some and info.name != needed])
    assert check(Workshop(shop.folder).repository, CheckOptions(read_data=True)).sound


def test_a_snapshot_that_only_the_second_listing_shows(shop: Workshop) -> None:
    before = _files(shop)
    with pytest.raises(PruneRefusedError, match="appeared"):
        _lied_to(shop, FileType.SNAPSHOT, lambda times, found: found[times == 1:])
    assert _files(shop) == before


def test_no_snapshot_at_all(shop: Workshop) -> None:
    for name in shop.names(FileType.SNAPSHOT):
        shop.remove(FileType.SNAPSHOT, name)
    assert "--unsafe-allow-remove-all" in _refused(shop)
    result = prune(shop.repository, PruneOptions(allow_no_snapshots=True))
    assert result.packs_removed
    assert not shop.names(FileType.PACK)
    assert not shop.names(FileType.INDEX)


def test_an_empty_repository_needs_no_leave(tmp_path: Path) -> None:
    create(tmp_path / "repository")
    assert prune(Workshop(tmp_path / "repository").repository, _ALL).plan.empty


# --- while it works ----------------------------------------------------------------------------


def _repacked_blob(shop: Workshop) -> PackedBlob:
    """Return the largest blob that is copied when packs are written anew."""
    plan = prune(shop.repository, PruneOptions(policy=_ALL.policy, dry_run=True)).plan
    used = find_used_blobs(shop.repository, load_snapshots(shop.repository), NoProgress())
    return max((blob for pack, blobs in shop.repository.index.packs() if pack in plan.repacked for blob in blobs
                if blob.type is BlobType.DATA and used.has(blob.type, blob.id)), key=lambda blob: blob.length)


def _damage(shop: Workshop, blob: PackedBlob) -> None:
    shop.flip(FileType.PACK, blob.pack.hex(), blob.offset + 50)


def test_a_damaged_blob_in_a_pack_that_is_written_anew(shop: Workshop) -> None:
    _damage(shop, _repacked_blob(shop))
    before = _files(shop)
    with pytest.raises(PruneRefusedError, match="damaged"):
        prune(shop.repository, _ALL)
    assert before.items() <= _files(shop).items(), "nothing was removed"


def test_a_damaged_blob_with_a_sound_copy_elsewhere_is_healed(shop: Workshop) -> None:
    blob = _repacked_blob(shop)
    content = shop.read(FileType.PACK, blob.pack.hex())[blob.offset : blob.offset + blob.length]
    new, unused = os.urandom(1000), os.urandom(900)
    shop.add_pack([(BlobType.DATA, blob.id, content, blob.uncompressed_length),
                   *((BlobType.DATA, hash_id(plain), *shop.sealed(BlobType.DATA, plain)) for plain in (new, unused))])
    shop.add_tree_snapshot(tree(node("x", "file", f',"size":1000,"content":["{hash_id(new).hex()}"]')))
    again = Workshop(shop.folder)
    first, second = again.repository.index.lookup(blob.type, blob.id)
    _damage(again, first)
    plan = prune(again.repository, _ALL).plan
    assert {first.pack, second.pack} <= set(plan.repacked)
    assert check(Workshop(shop.folder).repository, CheckOptions(read_data=True)).sound


def test_a_store_that_lets_nothing_be_deleted(shop: Workshop) -> None:
    """Append-only: the prune fails, and everything that was there is there."""
    before = _files(shop)
    refusal = StoragePermissionError(location="x", operation="remove", name="y", detail="forbidden")
    backend = FaultyBackend(LocalBackend(shop.folder), FailKind("remove", refusal))
    with pytest.raises(StoragePermissionError):
        prune(open_repository(backend, Secret(PASSWORD)), _ALL)
    assert before.items() <= _files(shop).items()


def test_somebody_uses_the_repository(shop: Workshop) -> None:
    other = open_repository(LocalBackend(shop.folder), Secret(PASSWORD))
    with hold_lock(other):
        _refused(shop, RepositoryLockedError)


# --- requests that make no sense ---------------------------------------------------------------


@pytest.mark.parametrize("options", [
    PruneOptions(no_lock=True),
    PruneOptions(ignored_snapshots=frozenset({"00" * 32})),
    PruneOptions(policy=PrunePolicy(repack_uncompressed=True), compression=Compression.OFF),
    PruneOptions(policy=PrunePolicy(repack_smaller_than=17 * 1024 * 1024)),
    PruneOptions(recover_without_space="00" * 32),
])
def test_impossible_requests(shop: Workshop, options: PruneOptions) -> None:
    _refused(shop, UsageError, options)


def test_compression_in_version_1(tmp_path: Path) -> None:
    create(tmp_path / "repository", version=1)
    _refused(Workshop(tmp_path / "repository"), UsageError,
             PruneOptions(policy=PrunePolicy(repack_uncompressed=True)))


def test_without_a_lock_there_is_only_a_dry_run(shop: Workshop) -> None:
    with pytest.raises(UsageError):
        prune_locked(shop.repository, _ALL, None)


def test_a_dry_run_writes_nothing_and_needs_no_lock(shop: Workshop) -> None:
    before = _files(shop)
    backend = FaultyBackend(LocalBackend(shop.folder))
    options = PruneOptions(policy=_ALL.policy, dry_run=True, no_lock=True)
    assert not prune(open_repository(backend, Secret(PASSWORD)), options).plan.empty
    assert {operation.kind for operation in backend.operations} <= {"load", "list", "size"}
    assert _files(shop) == before


def test_the_command_says_it_in_one_sentence(shop: Workshop) -> None:
    shop.remove(FileType.PACK, _needed_data_pack(shop))
    ours = Kuramori(shop.folder, PASSWORD)
    process = ours.start("prune", stderr=-1, stdout=-1)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.decode().count("\n") == 1
    assert "stopped before it removed anything" in stderr.decode()
