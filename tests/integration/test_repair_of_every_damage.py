"""After every kind of damage: what check advises is done, and then the repository is sound, every file that is left is
what it was, and every one that is not was named. With a second place, nothing is lost at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from compat.test_broken_repositories import DAMAGED
from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import SnapshotContentError
from kuramori.ids import parse_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.copy import copy_snapshots
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.recover import recover
from kuramori.maintenance.repair_blobs import repair_blobs
from kuramori.maintenance.repair_index import repair_index
from kuramori.maintenance.repair_packs import RepairPacksOptions, repair_packs
from kuramori.maintenance.repair_snapshots import RepairSnapshotsOptions, repair_snapshots
from kuramori.maintenance.snapshot_replacing import SnapshotSelection
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents
from samples import repository_workshop
from samples.repository_workshop import CHEAP_KDF, PASSWORD, Workshop
from samples.surviving_contents import surviving_contents

_OTHER = Secret("another password")
_FOREIGN = {"tree_with_an_unknown_type", "tree_with_a_nameless_node"}
_KINDS = [kind if number % 5 == 0 else pytest.param(kind, marks=pytest.mark.exhaustive)
          for number, kind in enumerate(DAMAGED)]


class Bench:
    """A repository that is broken, with one snapshot of a folder, and a sound copy of it elsewhere."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.source = base / "source"
        self.folder = folder
        self.elsewhere = base / "other"
        self.clock = FakeClock()
        self.before = folder_contents(self.source)

    def open(self) -> Repository:
        """Open it, as a new process does."""
        return open_repository(LocalBackend(self.folder), Secret(PASSWORD), OpenOptions(clock=self.clock))

    def other(self) -> Repository:
        """Open the other."""
        return open_repository(LocalBackend(self.elsewhere), _OTHER, OpenOptions(clock=self.clock))

    def check(self) -> CheckResult:
        """Read everything."""
        return check(self.open(), CheckOptions(read_data=True))

    def contents(self) -> Contents:
        """Return everything that the snapshots have of the source: of each path the same in all of them."""
        repository = self.open()
        repository.load_index()
        found: Contents = {}
        for stored in load_snapshots(repository):
            trees = [stored.snapshot.tree]
            if stored.snapshot.tags == ["recovered"]:
                trees = [node.subtree or "" for node in repository.load_tree(parse_id(trees[0])).nodes]
            for tree in trees:
                held, _whole = surviving_contents(repository, tree, self.source)
                for path, content in held.items():
                    assert found.setdefault(path, content) == content
        return found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every-damage")
    repository_workshop.make_source(folder / "source")
    repository_workshop.create(folder / "repository")
    repository = Workshop(folder / "repository").repository
    back_up(repository, BackupOptions(paths=(os.fsencode(folder / "source"),), workers=0))
    other = create_repository(LocalBackend(folder / "other"), _OTHER, CreateOptions(kdf=CHEAP_KDF))
    copy_snapshots(open_repository(LocalBackend(folder / "repository"), Secret(PASSWORD)), other)
    return folder


@pytest.fixture(params=_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(kind: str, base: Path, tmp_path: Path) -> Bench:
    workshop = repository_workshop.copy(base / "repository", tmp_path / "repository")
    DAMAGED[kind](workshop)
    workshop.repository.close()
    return Bench(base, tmp_path / "repository")


def _repair_snapshots(bench: Bench) -> None:
    """Take out what is lost for good, as the commands and their advice say."""
    options = RepairSnapshotsOptions(forget=True)
    result = repair_snapshots(bench.open(), options)
    if result.unreadable:
        names = tuple(found.id for found in result.unreadable)
        repair_snapshots(bench.open(), replace(options, selection=SnapshotSelection(names)))


def _forget_what_nobody_can_restore(bench: Bench) -> None:
    """What a newer program may have written is left alone by repairs. Only a person can tell."""
    foreign = {error.fields["snapshot"] for error in bench.check().errors if isinstance(error, SnapshotContentError)}
    if foreign:
        forget(bench.open(), ForgetOptions(ids=tuple(foreign)))


def test_what_is_left_is_true_and_what_is_lost_was_named(bench: Bench, kind: str) -> None:
    named = "\n".join(error.text() for error in bench.check().errors)
    assert named
    repair_index(bench.open())
    found = bench.check()
    named += "\n".join(error.text() for error in found.errors)
    if found.broken_packs:
        repair_packs(bench.open(), RepairPacksOptions(packs=tuple(found.broken_packs)))
        named += "\n".join(error.text() for error in bench.check().errors)
    _repair_snapshots(bench)
    if kind in _FOREIGN:
        _forget_what_nobody_can_restore(bench)
    if kind.startswith("snapshot"):
        recover(bench.open())  # what no snapshot leads to any more
    assert bench.check().sound
    left = bench.contents()
    lost = {path for path, content in bench.before.items() if left.get(path) != content}
    for path in lost:
        place = bench.source / os.fsdecode(path)
        # What lay in a folder that cannot be read is not known: then the folder is named.
        assert any(f"{each} in snapshot" in named for each in (place, *place.parents)), f"{place}: {named}"
    assert len(lost) < len(bench.before) or kind.startswith("tree_pack"), "something is left"
    assert left.keys() <= bench.before.keys(), "nothing was invented"
    if not kind.startswith(("data_pack", "tree_pack")):
        assert not lost, "the packs hold everything"
    elif kind.endswith(("header", "header_length", "longer")):
        assert not lost, "every blob is intact"


def test_with_a_second_place_nothing_is_lost(bench: Bench, kind: str) -> None:
    repair_index(bench.open())
    broken = bench.check().broken_packs
    if broken:
        repair_packs(bench.open(), RepairPacksOptions(packs=tuple(broken), sources=(bench.other(),)))
    repair_blobs(bench.open(), (bench.other(),))
    _repair_snapshots(bench)  # of those that were never sound
    if kind in _FOREIGN:
        _forget_what_nobody_can_restore(bench)
    copy_snapshots(bench.other(), bench.open())
    assert bench.check().sound
    assert bench.contents() == bench.before
    assert [*bench.open().backend.list(FileType.LOCK)] == []
