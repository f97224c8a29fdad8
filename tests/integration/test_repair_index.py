"""The index is written anew from the packs' headers; what was right in it stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import PackSizeError, RepositoryLockedError, StorageError
from kuramori.ids import Id, hash_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.repair_index import RepairIndexOptions, RepairIndexResult, repair_index
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.index_file import IndexBlob, IndexPack
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import open_repository
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from kuramori.testing.faulty_backend import FailKind, FaultyBackend
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, copy, create, index_pack, make_source

ALL = RepairIndexOptions(read_all_packs=True)
Blobs = set[PackedBlob]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repair")
    make_source(folder / "source")
    create(folder / "repository")
    repository = Workshop(folder / "repository").repository
    for _ in range(2):
        (folder / "source" / "more").write_bytes(os.urandom(40_000))
        back_up(repository, BackupOptions(paths=(os.fsencode(folder / "source"),)))
    return folder / "repository"


@pytest.fixture
def shop(base: Path, tmp_path: Path) -> Workshop:
    return copy(base, tmp_path / "repository")


def _indexed(shop: Workshop) -> Blobs:
    """Return every copy that the index names, as the next process sees it."""
    return set(Workshop(shop.folder).repository.index.blobs())


def _repair(shop: Workshop, options: RepairIndexOptions | None = None) -> RepairIndexResult:
    """Repair; whatever was wrong, a second repair finds nothing to do and no pack was touched."""
    packs = {name: shop.read(FileType.PACK, name) for name in shop.names(FileType.PACK)}
    result = repair_index(shop.repository, options)
    indexes = shop.names(FileType.INDEX)
    assert not repair_index(shop.repository, options).changed
    assert shop.names(FileType.INDEX) == indexes
    assert {name: shop.read(FileType.PACK, name) for name in shop.names(FileType.PACK)} == packs
    return result


def _assert_sound(shop: Workshop) -> None:
    found = check(Workshop(shop.folder).repository, CheckOptions(read_data=True))
    assert found.sound, found.errors


@pytest.mark.parametrize("options", [None, ALL])
def test_a_sound_index_stays_as_it_is(shop: Workshop, options: RepairIndexOptions | None) -> None:
    before = shop.names(FileType.INDEX)
    result = _repair(shop, options)
    assert not result.changed
    assert shop.names(FileType.INDEX) == before
    assert result.packs == len(shop.names(FileType.PACK))
    assert result.packs_read == (result.packs if options else 0)


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("options", [None, ALL])
@pytest.mark.parametrize("lost", ["all", "one", "damaged"])
def test_lost_index_files(shop: Workshop, lost: str, options: RepairIndexOptions | None) -> None:
    before = _indexed(shop)
    names = shop.names(FileType.INDEX)
    if lost == "damaged":
        shop.flip(FileType.INDEX, names[0], 50)
    else:
        for name in names[: 1 if lost == "one" else None]:
            shop.remove(FileType.INDEX, name)
    result = _repair(shop, options)
    assert _indexed(shop) == before
    assert len(result.added) == (4 if lost == "all" else 2)
    assert result.damaged_indexes == (names[:1] if lost == "damaged" else [])
    assert result.blobs_lost == 0
    _assert_sound(shop)


def test_an_index_that_tells_lies(shop: Workshop) -> None:
    """Offsets, lengths and blobs that are not those of the pack: the header is right."""
    before = _indexed(shop)
    packs = shop.all_index_packs()
    packs[0].blobs[0].length += 5
    del packs[1].blobs[0]
    packs[2].blobs.append(IndexBlob("00" * 32, "data", 0, 100, 0))
    shop.replace_index(packs)
    result = _repair(shop)
    assert sorted(result.corrected) == sorted(pack.id for pack in packs[:3])
    assert _indexed(shop) == before
    _assert_sound(shop)


def test_lies_that_only_reading_all_packs_finds(shop: Workshop) -> None:
    before = _indexed(shop)
    packs = shop.all_index_packs()
    packs[0].blobs[0].id = "ab" * 32
    shop.replace_index(packs)
    assert not _repair(shop).changed
    assert _repair(shop, ALL).corrected == [packs[0].id]
    assert _indexed(shop) == before


def test_a_missing_pack_is_named_no_more(shop: Workshop) -> None:
    lost = shop.packs(BlobType.DATA)[0]
    blobs = {blob for blob in _indexed(shop) if blob.pack.hex() == lost}
    before = _indexed(shop)
    shop.remove(FileType.PACK, lost)
    result = _repair(shop)
    assert result.missing == [lost]
    assert result.blobs_lost == len(blobs)
    assert _indexed(shop) == before - blobs


def test_blobs_with_another_copy_are_not_lost(shop: Workshop) -> None:
    """Known or not: the copies in packs that no index names count."""
    lost = shop.packs(BlobType.DATA)[0]
    blobs = sorted((blob for blob in _indexed(shop) if blob.pack.hex() == lost), key=lambda blob: blob.offset)
    content = shop.read(FileType.PACK, lost)
    sealed = [(blob.type, blob.id, content[blob.offset : blob.offset + blob.length], blob.uncompressed_length)
              for blob in blobs]
    shop.add_pack(sealed[:1])
    unknown = shop.add_pack(sealed[1:2], index=False)
    shop.remove(FileType.PACK, lost)
    result = _repair(shop)
    assert result.blobs_lost == len(blobs) - 2
    assert result.added == [unknown]


def test_a_pack_that_was_cut_off_keeps_what_is_left_of_it(shop: Workshop) -> None:
    """restic would forget the whole pack, and the next prune would delete it; what lies before the
    cut can be saved."""
    pack = shop.packs(BlobType.DATA)[0]
    blobs = sorted((blob for blob in _indexed(shop) if blob.pack.hex() == pack), key=lambda blob: blob.offset)
    cut = blobs[-1].offset + 10
    shop.truncate(FileType.PACK, pack, cut)
    result = _repair(shop)
    assert len(result.damaged_packs) == 1
    assert {blob for blob in _indexed(shop) if blob.pack.hex() == pack} == set(blobs[:-1])
    errors = check(Workshop(shop.folder).repository).errors
    assert any(isinstance(error, PackSizeError) and error.fields["pack"] == pack for error in errors)


def test_a_header_that_is_damaged_leaves_the_index_as_it_was(shop: Workshop) -> None:
    before = _indexed(shop)
    shop.flip(FileType.PACK, shop.packs(BlobType.DATA)[0], -10)
    assert not _repair(shop).changed
    result = _repair(shop, ALL)
    assert len(result.damaged_packs) == 1
    assert not result.changed
    assert _indexed(shop) == before


def test_rubbish_among_the_packs(shop: Workshop) -> None:
    before = _indexed(shop)
    for content in (b"", b"short", os.urandom(5000)):
        shop.write(FileType.PACK, content)
    result = _repair(shop)
    assert len(result.damaged_packs) == 3
    assert not result.changed
    assert _indexed(shop) == before


def test_a_pack_described_by_several_files(shop: Workshop) -> None:
    """Alike, or each in part as old versions of restic did: one description of all is left."""
    before = _indexed(shop)
    packs = shop.all_index_packs()
    halves = next(pack for pack in packs if len(pack.blobs) > 2)
    others = [pack for pack in packs if pack is not halves]
    shop.replace_index(others)
    shop.add_index(others[:1])
    shop.add_index([IndexPack(halves.id, halves.blobs[:2])])
    shop.add_index([IndexPack(halves.id, halves.blobs[2:])])
    assert _repair(shop).changed
    assert _indexed(shop) == before
    described = [pack.id for pack in shop.all_index_packs()]
    assert len(described) == len(set(described))
    _assert_sound(shop)


def test_a_prune_tidies_such_an_index_too(shop: Workshop) -> None:
    before = _indexed(shop)
    packs = shop.all_index_packs()
    halves = next(pack for pack in packs if len(pack.blobs) > 2)
    shop.replace_index([pack for pack in packs if pack is not halves])
    shop.add_index([IndexPack(halves.id, halves.blobs[:2])])
    shop.add_index([IndexPack(halves.id, halves.blobs[1:])])
    result = prune(shop.repository, PruneOptions())
    assert result.plan.empty
    assert _indexed(shop) == before
    assert len(shop.names(FileType.INDEX)) == 1


@pytest.mark.parametrize("tells_of_the_lost", [False, True])
def test_a_full_index_file_is_left_alone_if_all_in_it_is_true(shop: Workshop, tells_of_the_lost: bool) -> None:
    """A million blobs would be much to write anew for nothing."""
    packs = shop.all_index_packs()
    many = [PackedBlob(BlobType.DATA, hash_id(number.to_bytes(3, "big")), Id(b""), 33 * number, 33, 0)
            for number in range(25_000)]
    large = shop.add_pack([(blob.type, blob.id, bytes(33), 0) for blob in many], index=False)
    lost = shop.packs(BlobType.DATA)[0]
    shop.replace_index([pack for pack in packs if pack.id != lost or not tells_of_the_lost])
    full = shop.add_index([index_pack(large, many),
                           *(pack for pack in packs if pack.id == lost and tells_of_the_lost)])
    shop.remove(FileType.PACK, lost)
    assert _repair(shop).missing == [lost]
    assert (full in shop.names(FileType.INDEX)) is not tells_of_the_lost
    assert {pack.id for pack in shop.all_index_packs()} == {large, *(pack.id for pack in packs)} - {lost}


def test_a_store_that_cannot_be_read_is_no_damaged_index(shop: Workshop) -> None:
    before = shop.names(FileType.INDEX)
    backend = FaultyBackend(LocalBackend(shop.folder))
    repository = open_repository(backend, Secret(PASSWORD))
    backend.inject(FailKind("load", StorageError(location="x", operation="load", name="y", detail="z")))
    with pytest.raises(StorageError):
        repair_index(repository)
    assert shop.names(FileType.INDEX) == before


def test_it_wants_the_repository_for_itself(shop: Workshop) -> None:
    with hold_lock(open_repository(LocalBackend(shop.folder), Secret(PASSWORD))), pytest.raises(RepositoryLockedError):
        repair_index(shop.repository)


def test_the_command(shop: Workshop) -> None:
    ours = Kuramori(shop.folder, PASSWORD)
    lost = shop.packs(BlobType.DATA)[0]
    shop.remove(FileType.PACK, lost)
    found = json.loads(ours.run("repair", "index", "--json"))
    assert found["missing"] == [lost]
    assert found["changed"]
    for name in shop.names(FileType.INDEX):
        shop.remove(FileType.INDEX, name)
    text = ours.run("repair", "index", "--read-all-packs")
    assert text.count("added pack") == len(shop.names(FileType.PACK))
    assert "the index needs no repair" in ours.run("repair", "index")
    assert ours.run("repair", "index", "--quiet") == ""
    assert "index" in ours.run("repair")
