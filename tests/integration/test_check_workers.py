"""``check --read-data`` with worker processes finds what one thread finds, whatever becomes of the workers."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.maintenance import check_data
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.pack_checkers import PackCheckers
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


def test_workers_that_are_killed_cost_nothing_but_time(repository: Repository) -> None:
    repository.load_index()
    result = check(repository, CheckOptions(no_lock=True))
    assert result.sound
    with PackCheckers(repository, 2) as checkers:
        assert len(checkers._workers) == 2
        for worker in checkers._workers:
            os.kill(worker.process.pid, signal.SIGKILL)
        for path in _packs(repository):
            size = path.stat().st_size
            wrong = checkers.is_sound(bytes.fromhex(path.name), size, b"another digest")  # type: ignore[arg-type]
            assert not wrong
    assert all(worker.process.returncode is not None for worker in checkers._workers)
