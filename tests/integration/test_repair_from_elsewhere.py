"""What is lost is fetched from another repository, or stored again by the next backup: nothing is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import Clock
from kuramori.errors import KuramoriError, SameRepositoryError
from kuramori.ids import parse_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.copy import copy_snapshots
from kuramori.maintenance.repair_blobs import RepairBlobsResult, repair_blobs
from kuramori.maintenance.repair_index import repair_index
from kuramori.maintenance.repair_packs import RepairPacksOptions, repair_packs
from kuramori.model.blob import BlobType
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.local import LocalBackend
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.broken_runs import (
    CHEAP,
    OLD,
    Files,
    Scene,
    create,
    files_of,
    judge_repository,
    reopen,
    survive_crashes,
    survive_stacked_crashes,
)
from samples.kuramori_command import Kuramori
from samples.repository_workshop import CHEAP_KDF, PASSWORD, Workshop, copy, make_source
from samples.repository_workshop import create as create_on_disk

_OTHER = Secret("another password")


class Places:
    """A repository, and another one that holds the same snapshots."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()

    def open(self) -> Repository:
        """Open the first, as a new process does."""
        return open_repository(LocalBackend(self.folder / "repository"), Secret(PASSWORD), OpenOptions(
            clock=self.clock, ledger_directory=self.folder / "ledger"))

    def other(self) -> Repository:
        """Open the second."""
        return open_repository(LocalBackend(self.folder / "other"), _OTHER, OpenOptions(clock=self.clock))

    def shop(self) -> Workshop:
        """Open the first for breaking it."""
        return Workshop(self.folder / "repository")

    def heal(self, *sources: Repository) -> RepairBlobsResult:
        """Fetch what is lost."""
        return repair_blobs(self.open(), sources or (self.other(),))

    def assert_whole(self) -> None:
        """Every snapshot is whole, to the last bit."""
        result = check(self.open(), CheckOptions(read_data=True))
        assert result.sound, result.errors
        assert result.snapshots == 2

    def back_up(self) -> int:
        """Save the source, which has not changed; return how many data blobs were stored."""
        self.clock.advance(3600)
        options = BackupOptions(paths=(os.fsencode(self.folder / "source"),), workers=0)
        return back_up(self.open(), options).summary.data_blobs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    make_source(folder / "source")
    create_on_disk(folder / "repository")
    create_repository(LocalBackend(folder / "other"), _OTHER, CreateOptions(kdf=CHEAP_KDF)).close()
    places = Places(folder)
    for day in range(2):
        (folder / "source" / "daily").write_bytes(os.urandom(1000 + day))
        places.back_up()
    copy_snapshots(places.open(), places.other())
    return folder


@pytest.fixture
def places(base: Path, tmp_path: Path) -> Places:
    shutil.copytree(base, tmp_path / "all", symlinks=True)
    return Places(tmp_path / "all")


# --- losses ------------------------------------------------------------------------------------


def _lose_data(shop: Workshop) -> None:
    shop.remove(FileType.PACK, shop.packs(BlobType.DATA)[0])


def _lose_trees(shop: Workshop) -> None:
    shop.remove(FileType.PACK, shop.packs(BlobType.TREE)[0])


def _lose_everything(shop: Workshop) -> None:
    for name in shop.names(FileType.PACK):
        shop.remove(FileType.PACK, name)


def _lose_data_and_its_index(shop: Workshop) -> None:
    _lose_data(shop)
    repair_index(shop.repository)


def _lose_the_whole_index(shop: Workshop) -> None:
    _lose_everything(shop)
    for name in shop.names(FileType.INDEX):
        shop.remove(FileType.INDEX, name)


def _damage_a_tree(shop: Workshop) -> None:
    shop.flip(FileType.PACK, shop.packs(BlobType.TREE)[0], 40)


_LOSSES: dict[str, Callable[[Workshop], None]] = {
    "data": _lose_data, "trees": _lose_trees, "everything": _lose_everything,
    "data and index": _lose_data_and_its_index, "all and index": _lose_the_whole_index,
}


@pytest.mark.parametrize("name", _LOSSES)
def test_what_is_lost_is_fetched(places: Places, name: str) -> None:
    _LOSSES[name](places.shop())
    assert not check(places.open()).sound
    result = places.heal()
    assert result.fetched
    assert not result.lost
    assert result.snapshots == 2
    places.assert_whole()
    again = places.heal()
    assert (again.fetched, again.lost, again.forgotten_packs) == (0, [], [])


def test_a_damaged_tree_is_fetched_and_its_pack_can_go(places: Places) -> None:
    _damage_a_tree(places.shop())
    broken = check(places.open(), CheckOptions(read_data=True)).broken_packs
    assert places.heal().fetched == 1
    result = repair_packs(places.open(), RepairPacksOptions(packs=tuple(broken)))
    assert not result.lost
    places.assert_whole()


def test_two_places_that_each_hold_a_part(places: Places, tmp_path: Path) -> None:
    second = copy(places.folder / "repository", tmp_path / "second")
    packs = places.shop().packs(BlobType.DATA)
    for name in packs:
        places.shop().remove(FileType.PACK, name)
    second.remove(FileType.PACK, packs[0])
    first = Workshop(tmp_path / "second")
    other = places.other()
    other_shop_packs = [info.name for info in other.backend.list(FileType.PACK)]
    other.load_index()
    wanted = {blob.id for blob in first.repository.index.blobs() if blob.pack.hex() == packs[0]}
    for name in other_shop_packs:
        held = {blob.id for blob in other.index.blobs() if blob.pack.hex() == name}
        if not held & wanted:
            other.remove(FileType.PACK, name)
    result = places.heal(places.other(), first.repository)
    assert not result.lost
    places.assert_whole()


def test_what_nobody_has_is_named_and_nothing_is_forgotten(places: Places) -> None:
    _lose_data(places.shop())
    before = places.shop().names(FileType.INDEX)
    other = places.other()
    for info in list(other.backend.list(FileType.PACK)):
        other.remove(FileType.PACK, info.name)
    result = places.heal()
    assert result.lost
    assert not result.forgotten_packs
    assert places.shop().names(FileType.INDEX) == before


def test_damaged_blobs_of_the_other_place_are_not_taken(places: Places) -> None:
    _lose_everything(places.shop())
    other = places.other()
    for info in list(other.backend.list(FileType.PACK)):
        path = places.folder / "other" / "data" / info.name[:2] / info.name
        content = bytearray(path.read_bytes())
        content[60] ^= 1
        path.chmod(0o600)
        path.write_bytes(bytes(content))
    result = places.heal()
    assert result.lost
    for kind, name in result.lost:
        repository = places.open()
        repository.load_index()
        with pytest.raises(KuramoriError):
            repository.load_blob(kind, parse_id(name))


def test_a_repository_is_no_help_for_itself(places: Places) -> None:
    with pytest.raises(SameRepositoryError):
        places.heal(places.open())


def test_repair_packs_fetches_what_is_not_intact(places: Places) -> None:
    shop = places.shop()
    damaged, gone = shop.packs(BlobType.DATA)
    for offset in (40, 3000, 9000):
        shop.flip(FileType.PACK, damaged, offset)
    shop.remove(FileType.PACK, gone)
    result = repair_packs(places.open(), RepairPacksOptions(packs=(damaged, gone), sources=(places.other(),)))
    assert result.fetched >= 2
    assert not result.lost
    places.assert_whole()


def test_without_a_source_the_same_is_lost(places: Places) -> None:
    shop = places.shop()
    gone = shop.packs(BlobType.DATA)[0]
    shop.remove(FileType.PACK, gone)
    assert repair_packs(places.open(), RepairPacksOptions(packs=(gone,))).lost


# --- the next backup ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["gone", "damaged", "trees gone"])
def test_a_backup_stores_again_what_a_check_found_lost(places: Places, loss: str) -> None:
    """No file has changed, and the index still names what is lost."""
    shop = places.shop()
    pack = shop.packs(BlobType.TREE if loss == "trees gone" else BlobType.DATA)[0]
    assert places.back_up() == 0
    if loss == "damaged":
        for offset in range(40, shop.path(FileType.PACK, pack).stat().st_size - 200, 500):
            shop.flip(FileType.PACK, pack, offset)
    else:
        shop.remove(FileType.PACK, pack)
    assert places.back_up() == 0, "nobody knows it yet"
    assert not check(places.open(), CheckOptions(read_data=loss == "damaged")).sound
    stored = places.back_up()
    assert loss == "trees gone" or stored > 0
    assert places.back_up() == 0, "once is enough"
    repair_packs(places.open(), RepairPacksOptions(packs=(pack,)))
    newest = max(places.shop().names(FileType.SNAPSHOT),
                 key=lambda name: (places.folder / "repository" / "snapshots" / name).stat().st_mtime_ns)
    result = check(places.open(), CheckOptions(read_data=True))
    assert not any(newest[:8] in error.text() for error in result.errors), result.errors


def test_a_backup_after_repair_index_reads_files_whose_data_is_gone(places: Places) -> None:
    shop = places.shop()
    _lose_data_and_its_index(shop)
    assert places.back_up() > 0
    healed = check(places.open(), CheckOptions(read_data=True))
    assert all("daily" in error.text() for error in healed.errors), "only what has changed since is lost"


# --- crashes -----------------------------------------------------------------------------------


def _scene(tmp_path: Path, how: str) -> Scene:
    memory, other, clock, source = MemoryBackend(), MemoryBackend(), FakeClock(), tmp_path / "source"
    create(memory, clock)
    create_repository(other, OLD, CreateOptions(clock=clock, kdf=CHEAP)).close()
    source.mkdir()
    for number in range(3):
        (source / str(number)).write_bytes(os.urandom(30_000))
    back_up(reopen(memory, clock), BackupOptions(paths=(os.fsencode(source),), workers=0))
    copy_snapshots(reopen(memory, clock), reopen(other, clock))
    packs = sorted(info.name for info in memory.list(FileType.PACK))
    for name in packs:
        if how == "packs":
            content = bytearray(memory.load(Handle(FileType.PACK, name)))
            content[50] ^= 1
            memory.save(Handle(FileType.PACK, name), [bytes(content)])
        else:
            memory.remove(Handle(FileType.PACK, name))
    source_files = other.snapshot()

    def act(backend: Backend, clock: Clock) -> None:
        origin = reopen(MemoryBackend(source_files), clock)
        if how == "packs":
            repair_packs(reopen(backend, clock), RepairPacksOptions(packs=tuple(packs), sources=(origin,)))
        else:
            repair_blobs(reopen(backend, clock), (origin,))

    def again(backend: Backend, clock: Clock) -> None:
        act(backend, clock)
        judge_repository(files_of(backend), clock)

    def judge(files: Files, clock: Clock) -> None:
        again(MemoryBackend(files), clock)

    return Scene(memory.snapshot(), act, judge, again)


@pytest.mark.parametrize("how", ["packs", "blobs"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_process_dies_at_every_operation(tmp_path: Path, how: str, after: bool) -> None:
    survive_crashes(_scene(tmp_path, how), after=after)


@pytest.mark.parametrize("how", ["packs", "blobs"])
def test_crashes_of_the_runs_that_clear_up_after_a_crash(tmp_path: Path, how: str) -> None:
    survive_stacked_crashes(_scene(tmp_path, how))


# --- the command -------------------------------------------------------------------------------


def test_the_commands(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Kuramori(places.folder / "repository", PASSWORD, environment={"KURAMORI_FROM_PASSWORD": "another password"})
    source = ("--from-repo", places.folder / "other")
    assert "nothing that snapshots need is lost" in ours.run("repair", "blobs", *source)
    _lose_everything(places.shop())
    said = ours.run("repair", "blobs", *source)
    assert "fetched" in said
    ours.run("check", "--read-data")
    pack = places.shop().packs(BlobType.DATA)[0]
    places.shop().flip(FileType.PACK, pack, 100)
    assert "1 blob was fetched" in ours.run("repair", "packs", *source, pack, directory=tmp_path)
    ours.run("check", "--read-data")
    _lose_data(places.shop())
    other = places.other()
    for info in list(other.backend.list(FileType.PACK)):
        other.remove(FileType.PACK, info.name)
    ours.run("repair", "blobs", *source, codes=(1,))
    ours.run("repair", "blobs", codes=(1,))
