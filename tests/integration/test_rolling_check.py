"""The rolling check on real repositories: resumable at any instant, and honest about what it read."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import (
    AffectedPathError,
    KuramoriError,
    RepositoryLockedError,
    StorageError,
    StoragePermissionError,
    StorageRetryableError,
    UsageError,
)
from kuramori.ids import parse_id
from kuramori.ledger.pack_ledger import DAY_NANOSECONDS, PackLedger, PackRecord
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.repair_index import repair_index
from kuramori.maintenance.rolling_check import RollingCheckOptions, RollingCheckResult, rolling_check
from kuramori.model.blob import BlobType
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import CrashAt, FaultyBackend, SimulatedCrash
from samples import repository_workshop
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop


class Shop:
    """A repository of a dozen packs, and a machine that checks it day by day."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.clock = FakeClock()
        repository_workshop.create(base / "repository")
        (base / "source").mkdir()
        for number in range(6):
            (base / "source" / f"file {number}").write_bytes(os.urandom(20_000 + 10_000 * number))
            back_up(self.open(), BackupOptions(paths=(os.fsencode(base / "source"),), workers=0))
            self.clock.advance(60)

    def open(self, backend: Backend | None = None) -> Repository:
        """Open it as the next process does."""
        return open_repository(backend or LocalBackend(self.base / "repository"), Secret(PASSWORD), OpenOptions(
            clock=self.clock, ledger_directory=self.base / "ledger"))

    def roll(self, **options: int) -> RollingCheckResult:
        """Check once."""
        return rolling_check(self.open(), RollingCheckOptions(read_concurrency=1, **options))

    def ledger(self) -> PackLedger:
        """Return the ledger."""
        ledger = self.open().pack_ledger
        assert ledger is not None
        return ledger


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_day_after_day_until_all_is_read(shop: Shop) -> None:
    percents = []
    for _ in range(4):
        result = shop.roll(days=4)
        assert result.check.sound
        percents.append(result.coverage.percent)
        shop.clock.advance(24 * 3600)
    assert 25 <= percents[0] < percents[1] <= percents[2]
    assert percents[0] < 75
    assert percents[1] >= 50
    assert percents[3] == 100
    assert shop.ledger().coverage(2.5).percent < 100, "the first day was longer ago"
    assert shop.ledger().coverage(30).percent == 100


def test_a_second_run_on_the_same_day_reads_nothing_more(shop: Shop) -> None:
    assert shop.roll(days=4).check.packs_read
    assert not shop.roll(days=4).check.packs_read
    assert shop.roll(days=4, budget=10_000_000).check.packs_read, "what was never read is read up to the budget"
    assert shop.ledger().coverage(4).percent == 100


def test_a_full_check_counts(shop: Shop) -> None:
    check(shop.open(), CheckOptions(read_data=True))
    assert shop.ledger().coverage(30).percent == 100


def test_damage_is_named_with_the_files_that_it_touches_and_remembered(shop: Shop) -> None:
    workshop = Workshop(shop.base / "repository")
    pack = workshop.packs(BlobType.DATA)[0]
    workshop.flip(FileType.PACK, pack, 100)
    result = shop.roll(days=1)
    assert result.check.broken_packs == [pack]
    affected = [error for error in result.check.errors if isinstance(error, AffectedPathError)]
    assert affected
    assert "file 5" in affected[0].text()
    assert [name for name, _ in result.coverage.damaged] == [pack]
    shop.clock.advance(60)
    again = shop.roll(days=1)
    assert not again.check.packs_read
    assert [name for name, _ in again.coverage.damaged] == [pack], "until it was read again, or is gone"


def test_a_check_that_reads_no_data_tells_of_damage_that_is_known(shop: Shop) -> None:
    workshop = Workshop(shop.base / "repository")
    pack = workshop.packs(BlobType.DATA)[0]
    workshop.flip(FileType.PACK, pack, 100)
    assert check(shop.open()).known_damage == [], "nobody has read it"
    shop.roll(days=1)
    found = check(shop.open())
    assert (found.errors, found.known_damage) == ([], [pack])
    assert any(pack[:8] in hint.text() for hint in found.hints)
    read = check(shop.open(), CheckOptions(read_data=True))
    assert (read.broken_packs, read.known_damage) == ([pack], []), "it is named as broken"
    workshop.flip(FileType.PACK, pack, 100)  # a disk that has been brought to its senses
    check(shop.open(), CheckOptions(read_data=True))
    assert check(shop.open()).known_damage == []


def test_packs_that_are_gone_are_forgotten(shop: Shop) -> None:
    shop.roll(days=1)
    workshop = Workshop(shop.base / "repository")
    pack = workshop.packs(BlobType.DATA)[0]
    workshop.remove(FileType.PACK, pack)
    result = shop.roll(days=1)
    assert result.check.errors, "the index names it"
    assert shop.ledger().damaged() == {parse_id(pack)}, "so that the next backup stores it again"
    repair_index(shop.open())
    shop.roll(days=1)
    assert parse_id(pack) not in shop.ledger().records()


def test_every_crash_keeps_what_was_read(shop: Shop) -> None:
    """A crash at any operation: the next run reads what is left and nothing twice."""
    for number in count(1):
        ledger = shop.ledger()
        ledger.path.unlink(missing_ok=True)
        dying = FaultyBackend(LocalBackend(shop.base / "repository"), CrashAt(number))
        with suppress(SimulatedCrash, KuramoriError):
            rolling_check(shop.open(dying), RollingCheckOptions(days=1, read_concurrency=1))
        if len(dying.operations) < number:
            assert number > 20
            return
        shop.clock.advance(7200)
        covered = ledger.coverage(1)
        result = shop.roll(days=1)
        assert result.check.packs_read == result.coverage.packs - covered.packs_read
        assert result.coverage.percent == 100
        shop.clock.advance(7200)


def test_a_clock_that_was_wrong(shop: Shop) -> None:
    shop.clock.set(shop.clock.now_nanoseconds() + 3650 * DAY_NANOSECONDS)
    assert shop.roll(days=1).coverage.percent == 100
    shop.clock.set(shop.clock.now_nanoseconds() - 3650 * DAY_NANOSECONDS)
    assert shop.ledger().coverage(30).percent == 0
    result = shop.roll(days=1)
    assert result.plan.clock_doubtful
    assert result.coverage.percent == 100
    assert not shop.roll(days=1).plan.clock_doubtful


def test_a_flipped_bit_in_the_ledger_verifies_nothing(shop: Shop) -> None:
    ledger = shop.ledger()
    pack = parse_id("ab" * 32)
    ledger.observe({pack: 5})
    sound = ledger.path.read_bytes()
    for offset in range(len(sound)):
        if not sound[offset]:
            continue
        damaged = bytearray(sound)
        damaged[offset] ^= 0x40
        ledger.path.write_bytes(bytes(damaged))
        assert all(record == PackRecord(5, record.seen) for record in shop.ledger().records().values())


def test_a_backup_may_run_beside_it_and_a_prune_may_not(shop: Shop) -> None:
    other = open_repository(LocalBackend(shop.base / "repository"), Secret(PASSWORD), OpenOptions(clock=shop.clock))
    with hold_lock(other):
        shop.roll()
    with hold_lock(other, exclusive=True), pytest.raises(RepositoryLockedError):
        shop.roll()


class _Away(ForwardingBackend):
    """A store from which no pack of data comes, for a reason."""

    def __init__(self, inner: Backend, error: StorageError) -> None:
        super().__init__(inner)
        self._error = error

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        if handle.type is FileType.PACK:
            raise self._error
        return super().load(handle, offset, length)


@pytest.mark.parametrize("kind", [StorageRetryableError, StoragePermissionError])
def test_a_network_that_is_away_damages_nothing(shop: Shop, kind: type[StorageError]) -> None:
    """Else the next backup would store everything again."""
    away = _Away(LocalBackend(shop.base / "repository"), kind(location="x", operation="load", name="y", detail="z"))
    result = rolling_check(shop.open(away), RollingCheckOptions(days=1, read_concurrency=1))
    assert result.check.errors
    assert not result.coverage.damaged
    assert result.coverage.percent == 0
    assert not shop.ledger().damaged()
    assert shop.roll(days=1).coverage.percent == 100


def test_requests_that_make_no_sense(shop: Shop) -> None:
    with pytest.raises(UsageError):
        shop.roll(days=0)
    with pytest.raises(UsageError):
        shop.roll(budget=0)
    with pytest.raises(UsageError):
        rolling_check(open_repository(LocalBackend(shop.base / "repository"), Secret(PASSWORD)))


def test_the_command(shop: Shop) -> None:
    ours = Kuramori(shop.base / "repository", PASSWORD)
    assert "read in the last 30 days: 100 %" in ours.run("check", "--rolling", "--budget", "5G")
    summary = json.loads(ours.run("check", "--rolling", "--json", "--days", "10"))
    assert summary["covered_percent"] == 100
    assert summary["damaged_packs"] == []
    for wrong in (["--rolling", "--read-data"], ["--days", "3"], ["--rolling", "--budget", "much"]):
        ours.run("check", *wrong, codes=(1,))
    workshop = Workshop(shop.base / "repository")
    workshop.flip(FileType.PACK, workshop.packs(BlobType.DATA)[0], 9)
    ours.run("check", "--read-data", codes=(1,))
    said = ours.run("check")
    assert "1 pack(s) were damaged when they were last read" in said
    assert "no other errors were found" in said
    assert len(json.loads(ours.run("check", "--json").splitlines()[-1])["known_damage"]) == 1
    summary = json.loads(ours.run("check", "--rolling", "--json", codes=(1,)).splitlines()[-1])
    assert len(summary["damaged_packs"]) == 1
