"""``check --read-data`` with worker processes finds what one thread finds, whatever becomes of the workers."""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.ids import Id
from kuramori.maintenance import check_crew, check_data, check_trees
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.check_crew import CheckCrew
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.pack_readers import PackReaders
from kuramori.maintenance.sound_packs import sound_digest
from kuramori.maintenance.tree_judges import TreeJudges, WaitingTree
from kuramori.model.blob import BlobType
from kuramori.repository.opening import open_repository
from kuramori.repository.repository import Repository
from kuramori.storage.local import LocalBackend
from samples.repositories import PASSWORD, make_repository


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository of several packs, for whose check workers are thought to be worth it."""
    monkeypatch.setattr(check_data, "_WORTH_A_WORKER", 0)
    source = tmp_path / "source"
    generator = random.Random(5)
    made = make_repository(tmp_path)
    for number in range(6):
        source.mkdir(exist_ok=True)
        for file in range(8):
            (source / f"{number}-{file}").write_bytes(generator.randbytes(3000))
        back_up(made, BackupOptions(paths=(os.fsencode(source),)))
    return open_repository(LocalBackend(tmp_path / "repository"), PASSWORD)


def _packs(repository: Repository) -> list[Path]:
    return sorted(path for path in Path(repository.backend.location, "data").rglob("*") if path.is_file())


def _found(repository: Repository, threads: int) -> tuple[list[str], list[str], int, int]:
    result: CheckResult = check(repository, CheckOptions(read_data=True, no_lock=True, read_concurrency=threads))
    return sorted(error.text() for error in result.errors), result.broken_packs, result.packs_read, result.bytes_read


def test_a_sound_repository_is_sound(repository: Repository) -> None:
    errors, broken, packs, size = _found(repository, 3)
    assert (errors, broken, packs) == ([], [], len(_packs(repository)))
    assert size == sum(path.stat().st_size for path in _packs(repository))


def test_damage_of_every_kind_is_found_as_by_one_thread(repository: Repository) -> None:
    packs = _packs(repository)
    for number, path in enumerate(packs):
        content = bytearray(path.read_bytes())
        place = (40, len(content) // 2, len(content) - 40, len(content) - 2)[number % 4]
        if number % 5:
            content[place] ^= 4
        path.chmod(0o600)
        path.write_bytes(content)
    alone, together = _found(repository, 1), _found(repository, 3)
    assert alone == together
    assert len(alone[1]) == sum(1 for number in range(len(packs)) if number % 5)


def _readers(repository: Repository, threads: int) -> PackReaders[bytes | None]:
    return PackReaders(repository, threads, lambda pack, size, digest: digest)


def _sizes(repository: Repository) -> dict[Id, int]:
    return {Id(bytes.fromhex(path.name)): path.stat().st_size for path in _packs(repository)}


def test_workers_that_are_killed_cost_nothing_but_time(repository: Repository) -> None:
    packs = _sizes(repository)
    with CheckCrew(repository) as crew, closing(_readers(repository, 2)) as readers:
        workers = crew.take(2)
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker.process.pid, signal.SIGKILL)
        readers.add_workers(workers)
        readers.begin(packs.items())
        digests = [readers.take(pack, size) for pack, size in packs.items()]
    assert digests == [sound_digest(repository, pack, size) for pack, size in packs.items()]
    assert None not in digests
    assert all(worker.process.returncode is not None for worker in workers)


def test_workers_read_before_this_process_does(repository: Repository) -> None:
    """And are had for something else when they have nothing left to read, and not before."""
    packs = _sizes(repository)
    with CheckCrew(repository) as crew, closing(_readers(repository, 2)) as readers:
        readers.begin(packs.items())
        assert readers.spare_worker() is None
        workers = crew.take(1)
        readers.add_workers(workers)
        for pack, size in packs.items():
            assert readers.take(pack, size) == sound_digest(repository, pack, size)
        while (spare := readers.spare_worker()) is None:
            pass
        assert spare is workers[0]
        assert readers.spare_worker() is None


def test_what_nobody_wants_any_more_is_not_read(repository: Repository) -> None:
    packs = [*_sizes(repository).items()]
    read: list[Id] = []
    with CheckCrew(repository) as crew, \
            closing(PackReaders(repository, 2, lambda pack, _size, _digest: read.append(pack))) as readers:
        readers.begin(packs)
        readers.drop_others(set(packs[-2:]))
        readers.add_workers(crew.take(1))
        for pack in packs[-2:]:
            readers.take(*pack)
    assert set(read) <= {pack for pack, _ in packs[:2] + packs[-2:]}, "two had been begun"
    assert len(packs) > 4


def test_packs_that_no_reader_has_taken_are_given_up(repository: Repository) -> None:
    before = set(threading.enumerate())
    with closing(_readers(repository, 3)) as readers:
        readers.begin(_sizes(repository).items())
        assert set(threading.enumerate()) - before
    assert not _threads_left(before)


def test_nothing_is_left_where_the_index_cannot_be_read(repository: Repository) -> None:
    for path in Path(repository.backend.location, "index").iterdir():
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    before = set(threading.enumerate())
    result = check(repository, CheckOptions(read_data=True, no_lock=True, read_concurrency=3))
    assert result.errors
    assert not result.packs_read
    assert not _threads_left(before)


def _threads_left(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return what was begun and has not ended, though it had a moment for it."""
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(10)
    return [thread for thread in left if thread.is_alive()]


# --- trees -------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository of many folders, for whose check a worker is started at once, for batches of two."""
    monkeypatch.setattr(check_crew, "_WORTH_A_WORKER", 0)
    monkeypatch.setattr(check_crew, "available_processors", lambda: 2)
    monkeypatch.setattr(check_trees, "_BATCH", 2)
    source = tmp_path / "source"
    for number in range(40):
        folder = source / f"{number % 5}" / f"{number % 7}" / f"{number}"
        folder.mkdir(parents=True)
        (folder / "file").write_text(str(number))
    back_up(make_repository(tmp_path), BackupOptions(paths=(os.fsencode(source),)))
    return open_repository(LocalBackend(tmp_path / "repository"), PASSWORD)


def _walked(repository: Repository) -> tuple[list[str], int]:
    result = check(repository, CheckOptions(no_lock=True))
    return sorted(error.text() for error in result.errors), result.trees


def test_every_tree_is_judged_once(folders: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    together = _walked(folders)
    monkeypatch.setattr(check_crew, "_WORTH_A_WORKER", 10**9)
    assert together == _walked(folders)
    trees = sum(1 for blob in folders.index.blobs() if blob.type is BlobType.TREE)
    assert together == ([], trees)


def test_damaged_trees_are_named_as_without_a_worker(folders: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.load_index()
    for number, blob in enumerate(sorted(folders.index.blobs(), key=lambda blob: blob.id)):
        if blob.type is BlobType.TREE and number % 6 == 0:
            path = Path(folders.backend.location, "data", blob.pack.hex()[:2], blob.pack.hex())
            content = bytearray(path.read_bytes())
            content[blob.offset + 20] ^= 1
            path.chmod(0o600)
            path.write_bytes(content)
    together = _walked(folders)
    monkeypatch.setattr(check_crew, "_WORTH_A_WORKER", 10**9)
    assert together == _walked(folders)
    assert together[0]


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_worker_that_is_killed_costs_nothing_but_time(folders: Repository, after: int) -> None:
    folders.load_index()
    waiting = [WaitingTree((), blob) for blob in folders.index.blobs() if blob.type is BlobType.TREE]
    with CheckCrew(folders) as crew:
        worker = crew.take_for_trees(len(waiting))
        assert worker is not None
        judges = TreeJudges(folders, lambda: worker)
        for start in range(0, len(waiting), 2):
            judges.add(waiting[start : start + 2])
        found: list[WaitingTree] = []
        unjudged = taken = 0
        while (judged := judges.take()) is not None:
            taken += 1
            if taken == after:
                os.kill(worker.process.pid, signal.SIGKILL)
            found += [place for place, _ in judged]
            unjudged += sum(1 for _, verdict in judged if verdict is None)
    assert sorted(place.blob.id for place in found) == sorted(place.blob.id for place in waiting)
    assert unjudged <= 4, "what the worker had, and nothing else"
