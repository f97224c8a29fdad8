"""Databases saved while programs write to them at full speed: every one is of one instant, restic finds
nothing to complain of and restores the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.archiving.databases import DatabaseOptions
from kuramori.repository.opening import open_repository
from kuramori.secret import Secret
from kuramori.sources.sqlite_facts import examine
from kuramori.storage.local import LocalBackend
from kuramori.testing.restic_judge import Restic
from samples.databases import JOURNAL_MODES, make_bank, transfers_of_instant, writer
from samples.kuramori_command import Kuramori
from samples.repositories import snapshot_files

_RUNS = 10


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_ten_runs_beside_a_writer(tmp_path: Path, restic_new: str, mode: str) -> None:
    restic = Restic(restic_new, tmp_path / "repository", "a password")
    source, image = tmp_path / "source", tmp_path / "image.db"
    source.mkdir()
    make_bank(source / "bank.db", mode)
    Kuramori(Path(restic.repository), "a password").init_quickly()
    seen = []
    with writer(source / "bank.db", mode):
        for _ in range(_RUNS):
            repository = open_repository(LocalBackend(Path(restic.repository)), Secret("a password"))
            result = back_up(repository, BackupOptions(paths=(os.fsencode(source),), databases=DatabaseOptions()))
            assert result.errors == ()
            saved = snapshot_files(repository, result, source)
            assert set(saved) == {b"/bank.db"}
            image.write_bytes(saved[b"/bank.db"])
            seen.append(transfers_of_instant(image))
            record, = result.databases
            assert record.sound
            assert record.tables == examine(image).tables
            assert {table.name: table.rows for table in record.tables}["transfer"] == min(seen[-1], 1000)
    assert seen == sorted(set(seen)), "each run is of a later instant"
    restic.run("check", "--read-data")
    restic.restore("latest", tmp_path / "restored")
    restored = tmp_path / "restored" / (source / "bank.db").relative_to("/")
    assert restored.read_bytes() == image.read_bytes()
    assert transfers_of_instant(restored) == seen[-1]
