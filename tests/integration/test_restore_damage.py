"""Damaged packs: what they hold is named and never written wrongly; everything else comes back."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.model.blob import BlobType
from kuramori.repository.repository import Repository
from kuramori.restoring.jobs import RestoreOptions, RestoreResult
from kuramori.restoring.restore import restore
from kuramori.storage.backend import FileType
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, create

MANY = 2300
"""Files that are worth worker processes."""
OLD = b"an old file of this name"
MODES = (0o644, 0o400, 0o444, 0o666, 0o755, 0o4755, 0o2750, 0o600, 0o1777)

Damage = Callable[[Workshop, str], None]


def _flip(workshop: Workshop, pack: str) -> None:
    workshop.flip(FileType.PACK, pack, 1000)


def _truncate(workshop: Workshop, pack: str) -> None:
    workshop.truncate(FileType.PACK, pack, workshop.path(FileType.PACK, pack).stat().st_size // 2)


def _remove(workshop: Workshop, pack: str) -> None:
    workshop.remove(FileType.PACK, pack)


DAMAGES = [_flip, _truncate, _remove]


def _workshop(tmp_path: Path, source: Path) -> Workshop:
    """Back a folder up in packs of its own size each and open the repository."""
    create(tmp_path / "repository")
    repository = Workshop(tmp_path / "repository").repository
    result = back_up(repository, BackupOptions(paths=(os.fsencode(source),), pack_size=4 << 20, workers=0))
    assert not result.errors
    return Workshop(tmp_path / "repository")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def _named(result: RestoreResult, source: Path) -> set[str]:
    """Return the files that the errors name, relative to what was restored."""
    return {str(error.fields["path"]).removeprefix("/") for error in result.errors}


def _restore(repository: Repository, source: Path, target: Path, **options: object) -> RestoreResult:
    made = RestoreOptions(target=os.fsencode(target), **options)  # type: ignore[arg-type]
    return restore(repository, f"latest:{source}", made)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Some files of several blobs and some of one."""
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    chance = random.Random(7)
    for number in range(3):
        (source / f"large {number}").write_bytes(chance.randbytes(6_000_000))
    for number in range(40):
        (source / "inner" / f"small {number}").write_bytes(chance.randbytes(20_000))
    (source / "empty").touch()
    return source


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """So many small files, of all kinds of modes, that worker processes make them."""
    source = tmp_path / "source"
    chance = random.Random(8)
    for folder in range(5):
        (source / str(folder)).mkdir(parents=True)
    for number in range(MANY):
        path = source / str(number % 5) / str(number)
        path.write_bytes(chance.randbytes(4000))
        path.chmod(MODES[number % len(MODES)])
    return source


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_damaged_pack_costs_only_its_files(tmp_path: Path, few: Path, damage: Damage, sparse: bool) -> None:
    workshop = _workshop(tmp_path, few)
    packs = workshop.packs(BlobType.DATA)
    assert len(packs) >= 4
    damage(workshop, packs[0])
    expected = _contents(few)
    result = _restore(workshop.repository, few, tmp_path / "target", sparse=sparse, verify=True)
    lost = _named(result, few)
    assert lost
    assert lost < expected.keys()
    assert _contents(tmp_path / "target") == {name: data for name, data in expected.items() if name not in lost}
    assert len(result.errors) == len(lost)
    assert result.files_verified == len(expected) - len(lost)


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_old_file_stays_where_its_successor_is_damaged(tmp_path: Path, few: Path, damage: Damage) -> None:
    workshop = _workshop(tmp_path, few)
    for pack in workshop.packs(BlobType.DATA)[:2]:
        damage(workshop, pack)
    expected = _contents(few)
    target = tmp_path / "target"
    for name in expected:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(OLD)
    result = _restore(workshop.repository, few, target)
    lost = _named(result, few)
    assert lost
    assert lost < expected.keys()
    assert _contents(target) == {name: OLD if name in lost else data for name, data in expected.items()}


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_workers_name_what_is_damaged(tmp_path: Path, many: Path, damage: Damage) -> None:
    workshop = _workshop(tmp_path, many)
    damage(workshop, workshop.packs(BlobType.DATA)[0])
    expected = _contents(many)
    result = _restore(workshop.repository, many, tmp_path / "target", threads=2)
    lost = _named(result, many)
    assert lost
    assert len(result.errors) == len(lost)
    assert lost < expected.keys()
    assert _contents(tmp_path / "target") == {name: data for name, data in expected.items() if name not in lost}
    assert result.items_restored == len(expected) - len(lost) + 5


def test_workers_and_the_process_itself_restore_the_same(tmp_path: Path, many: Path) -> None:
    workshop = _workshop(tmp_path, many)
    counts = []
    for threads in (1, 2):
        target = tmp_path / f"target {threads}"
        result = _restore(workshop.repository, many, target, threads=threads, verify=True)
        assert result.errors == []
        counts.append((result.items_restored, result.bytes_restored, result.files_verified))
        assert _contents(target) == _contents(many)
        for path in many.rglob("*"):
            made = target / path.relative_to(many)
            assert (made.stat().st_mtime_ns, made.stat().st_mode) == (path.stat().st_mtime_ns, path.stat().st_mode)
    assert counts[0] == counts[1]


def test_large_files_come_back_with_their_modes_and_times(tmp_path: Path, few: Path) -> None:
    for number, path in enumerate(sorted(path for path in few.rglob("*") if path.is_file())):
        path.chmod(MODES[number % len(MODES)])
        os.utime(path, ns=(number * 10**9, 1_700_000_000_123_456_789 + number))
    workshop = _workshop(tmp_path, few)
    target = tmp_path / "target"
    (target / "inner").mkdir(parents=True)
    (target / "large 1").write_bytes((few / "large 1").read_bytes()[:5_000_000] + OLD)
    (target / "large 2").symlink_to("elsewhere")
    result = _restore(workshop.repository, few, target, verify=True)
    assert result.errors == []
    assert result.bytes_restored == sum(map(len, _contents(few).values()))
    assert _contents(target) == _contents(few)
    for path in few.rglob("*"):
        made = target / path.relative_to(few)
        assert (made.stat().st_mtime_ns, made.stat().st_mode) == (path.stat().st_mtime_ns, path.stat().st_mode)


def test_a_disk_that_is_full_leaves_no_half_file(tmp_path: Path, few: Path) -> None:
    """A limit on the size of files stands for the disk: every write beyond it fails."""
    workshop = _workshop(tmp_path, few)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, before[1]))
    try:
        result = _restore(workshop.repository, few, tmp_path / "target")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert _named(result, few) == {"large 0", "large 1", "large 2"}
    assert len(result.errors) == 3
    assert _contents(tmp_path / "target") == {
        name: data for name, data in _contents(few).items() if not name.startswith("large")}


@pytest.mark.parametrize("old", [False, True])
def test_no_link_is_made_to_a_file_that_failed(tmp_path: Path, old: bool) -> None:
    """Else the second name would show an old file as if it were restored."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "first").write_bytes(random.Random(9).randbytes(50_000))
    os.link(source / "first", source / "second")
    workshop = _workshop(tmp_path, source)
    workshop.flip(FileType.PACK, workshop.packs(BlobType.DATA)[0], 1000)
    target = tmp_path / "target"
    target.mkdir()
    if old:
        (target / "first").write_bytes(b"old first")
        (target / "second").write_bytes(b"old second")
    result = _restore(workshop.repository, source, target)
    assert _named(result, source) == {"first", "second"}
    assert _contents(target) == ({"first": b"old first", "second": b"old second"} if old else {})


def test_a_damaged_folder_is_named_and_nothing_of_it_deleted(tmp_path: Path, few: Path) -> None:
    workshop = _workshop(tmp_path, few)
    for pack in workshop.packs(BlobType.TREE):
        workshop.flip(FileType.PACK, pack, 20)
    target = tmp_path / "target"
    (target / "inner").mkdir(parents=True)
    (target / "inner" / "mine").write_bytes(OLD)
    result = _restore(workshop.repository, few, target, delete=True)
    assert result.errors
    assert {name: data for name, data in _contents(target).items() if name.startswith("inner")} == {"inner/mine": OLD}


def test_the_command_names_the_file_and_ends_with_an_error(tmp_path: Path, few: Path) -> None:
    workshop = _workshop(tmp_path, few)
    workshop.flip(FileType.PACK, workshop.packs(BlobType.DATA)[0], 1000)
    command = Kuramori(tmp_path / "repository", PASSWORD, environment={"LC_ALL": "C.UTF-8"})
    process = command.start("restore", f"latest:{few}", "--target", tmp_path / "target", stdout=-1, stderr=-1)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    lost = _contents(few).keys() - _contents(tmp_path / "target").keys()
    assert lost
    assert all(f"/{name} could not be restored" in stderr.decode() for name in lost)
    assert b"Traceback" not in stderr
