"""What repairs do on disks that refuse to read, in folders that nest deeply, and beside other programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import (
    DamagedError,
    KuramoriError,
    PackCopyError,
    RepositoryLockedError,
    StorageError,
    StoragePermissionError,
    StorageRetryableError,
)
from kuramori.ids import hash_id, parse_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.repair_packs import RepairPacksOptions, repair_packs
from kuramori.maintenance.repair_snapshots import RepairSnapshotsOptions, repair_snapshots
from kuramori.maintenance.rewrite import RewriteOptions, rewrite
from kuramori.model.blob import BlobType
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, copy, create, make_source, node, tree


class _Unreadable(ForwardingBackend):
    """A store that cannot read some bytes of a file."""

    def __init__(self, inner: Backend, name: str, place: range, error: StorageError) -> None:
        super().__init__(inner)
        self._name = name
        self._place = place
        self._error = error

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        end = self.size(handle) if length is None else offset + length
        if handle.name == self._name and offset < self._place.stop and end > self._place.start:
            raise self._error
        return super().load(handle, offset, length)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repairs")
    make_source(folder / "source")
    (folder / "source" / "long").write_bytes(os.urandom(3_000_000))
    create(folder / "repository")
    back_up(Workshop(folder / "repository").repository, BackupOptions(paths=(os.fsencode(folder / "source"),)))
    return folder / "repository"


@pytest.fixture
def shop(base: Path, tmp_path: Path) -> Workshop:
    return copy(base, tmp_path / "repository")


def _files(shop: Workshop) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in shop.folder.rglob("*") if path.is_file()}


def _opened(shop: Workshop, name: str, place: range, kind: type[StorageError]) -> Repository:
    error = kind(location="test", operation="read", name=name, detail="Input/output error")
    return open_repository(_Unreadable(LocalBackend(shop.folder), name, place, error), Secret(PASSWORD))


def _middle(shop: Workshop) -> tuple[str, range, str]:
    """Return the largest pack of data, a place within one of its blobs, and that blob."""
    name = shop.packs(BlobType.DATA)[0]
    blobs = next(blobs for pack, blobs in shop.repository.index.packs() if pack.hex() == name)
    blob = max(blobs, key=lambda blob: blob.length)
    return name, range(blob.offset + 100, blob.offset + 101), blob.id.hex()


def test_a_bad_sector_costs_only_its_blob(shop: Workshop, tmp_path: Path) -> None:
    name, place, blob = _middle(shop)
    content = shop.read(FileType.PACK, name)
    before = len(shop.repository.index)
    result = repair_packs(_opened(shop, name, place, StorageError), RepairPacksOptions((name,), copies=str(tmp_path)))
    assert result.lost == [(BlobType.DATA, blob)]
    assert len(Workshop(shop.folder).repository.index) == before - 1
    kept = (tmp_path / f"pack-{name}").read_bytes()
    assert len(kept) == len(content)
    piece = place.start // (1024 * 1024) * 1024 * 1024
    assert kept[:piece] == content[:piece], "what can be read is in the copy"
    assert kept[piece + 1024 * 1024 :] == content[piece + 1024 * 1024 :]
    assert kept[place.start] == 0
    repair_snapshots(Workshop(shop.folder).repository, RepairSnapshotsOptions(forget=True))
    assert check(Workshop(shop.folder).repository, CheckOptions(read_data=True)).sound


@pytest.mark.parametrize("kind", [StorageRetryableError, StoragePermissionError])
def test_what_may_be_readable_tomorrow_is_not_given_up(shop: Workshop, tmp_path: Path,
                                                       kind: type[StorageError]) -> None:
    name, place, _ = _middle(shop)
    before = _files(shop)
    with pytest.raises(kind):
        repair_packs(_opened(shop, name, place, kind), RepairPacksOptions((name,), copies=str(tmp_path)))
    with pytest.raises(kind):
        repair_packs(_opened(shop, name, place, kind), RepairPacksOptions((name,)))
    after = _files(shop)
    assert before.items() <= after.items()


@pytest.mark.parametrize("kind", [StorageRetryableError, StoragePermissionError, StorageError])
def test_a_folder_that_the_disk_refuses_is_not_cut(shop: Workshop, kind: type[StorageError]) -> None:
    name = shop.packs(BlobType.TREE)[0]
    before = _files(shop)
    with pytest.raises(kind):
        repair_snapshots(_opened(shop, name, range(10**9), kind), RepairSnapshotsOptions(forget=True))
    assert _files(shop) == before


def test_a_copy_that_cannot_be_kept_ends_it(shop: Workshop, tmp_path: Path) -> None:
    name, _, _ = _middle(shop)
    before = _files(shop)
    for copies in (tmp_path / "missing", tmp_path / "other"):
        if copies.name == "other":
            copies.mkdir()
            (copies / f"pack-{name}").symlink_to("nowhere")
        with pytest.raises(PackCopyError):
            repair_packs(shop.repository, RepairPacksOptions((name,), copies=str(copies)))
    assert _files(shop) == before


def test_a_blob_that_another_pack_has_is_not_lost(shop: Workshop) -> None:
    name, place, blob_id = _middle(shop)
    (blob,) = shop.repository.index.lookup(BlobType.DATA, parse_id(blob_id))
    sealed = shop.read(FileType.PACK, name)[blob.offset : blob.offset + blob.length]
    shop.add_pack([(BlobType.DATA, blob.id, sealed, blob.uncompressed_length)])
    shop.flip(FileType.PACK, name, place.start)
    result = repair_packs(Workshop(shop.folder).repository, RepairPacksOptions((name,)))
    assert result.lost == []
    repository = Workshop(shop.folder).repository
    assert not list(repository.index.duplicates())
    assert check(repository, CheckOptions(read_data=True)).sound


def _nest(shop: Workshop, depth: int) -> None:
    inner = shop.add_tree(tree(node("lost", "file", f',"size":1,"content":["{"ab" * 32}"]'),
                               node("secret", "file", ',"content":[]')))
    sealed = []
    for _ in range(depth):
        document = tree(node("d", "dir", f',"content":null,"subtree":"{inner.hex()}"'))
        inner = hash_id(document)
        sealed.append((BlobType.TREE, inner, *shop.sealed(BlobType.TREE, document)))
    shop.add_pack(sealed)
    shop.add_snapshot(inner)


def test_folders_may_nest_deeply(shop: Workshop) -> None:
    _nest(shop, 3000)
    result = rewrite(Workshop(shop.folder).repository, RewriteOptions(exclude_patterns=(b"secret",)))
    assert len(result.changed) == 1
    repaired = repair_snapshots(Workshop(shop.folder).repository, RepairSnapshotsOptions(forget=True))
    assert len(repaired.changed) == 2
    assert sorted(change.path for each in repaired.changed for change in each.changes) == ["/d" * 3000 + "/lost"] * 2


def test_folders_that_nest_without_end_are_damaged(shop: Workshop) -> None:
    _nest(shop, 4200)
    with pytest.raises(DamagedError, match="too deeply"):
        rewrite(Workshop(shop.folder).repository, RewriteOptions(exclude_patterns=(b"secret",)))
    (changed,) = repair_snapshots(Workshop(shop.folder).repository).changed
    assert "too deeply" in changed.changes[0].what.text()
    assert check(Workshop(shop.folder).repository).errors, "the old one is still there"


def test_locks(shop: Workshop) -> None:
    """A rewrite goes along with a backup unless it forgets; repairs do not."""
    with hold_lock(Workshop(shop.folder).repository):
        options = RewriteOptions(exclude_patterns=(b"text",))
        assert rewrite(Workshop(shop.folder).repository, options).changed
        for act in (lambda repository: rewrite(repository, RewriteOptions(exclude_patterns=(b"text",), forget=True)),
                    repair_snapshots, lambda repository: repair_packs(repository, RepairPacksOptions(("00",)))):
            with pytest.raises(RepositoryLockedError):
                act(Workshop(shop.folder).repository)
        assert not repair_snapshots(Workshop(shop.folder).repository, RepairSnapshotsOptions(dry_run=True)).changed
    assert not shop.names(FileType.LOCK)


def test_an_index_that_names_missing_packs_is_told(shop: Workshop) -> None:
    shop.remove(FileType.PACK, shop.packs(BlobType.DATA)[0])
    ours = Kuramori(shop.folder, PASSWORD, environment={"KURAMORI_LANGUAGE": "ja"})
    process = ours.start("repair", "snapshots", stdout=-1, stderr=-1)
    out, err = process.communicate()
    assert process.returncode == 0
    assert "変更したスナップショットはありません" in out.decode()
    assert "kuramori repair index" in err.decode()
    ours.run("repair", "index")
    assert "個の部分のうち" in ours.run("repair", "snapshots", "--forget")
    found = check(Workshop(shop.folder).repository, CheckOptions(read_data=True))
    assert found.sound, found.errors
    assert len(load_snapshots(Workshop(shop.folder).repository)) == 1


def test_every_error_of_a_repair_says_what_to_do(shop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(KuramoriError) as caught:
        repair_packs(shop.repository, RepairPacksOptions((_middle(shop)[0],), copies=str(tmp_path / "missing")))
    assert "nothing was changed" in caught.value.advice_text()
