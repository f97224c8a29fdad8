"""The history of operations: what it keeps, what it survives."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from kuramori.errors import (
    HistoryDamagedError,
    HistoryTooNewError,
    HistoryUnavailableError,
    Phrase,
    RepositoryLockedError,
    SourceError,
    StorageFullError,
)
from kuramori.history import history as limits
from kuramori.history import schema
from kuramori.history.history import History
from kuramori.history.operation import LOG_LINES
from kuramori.history.records import ComponentEntry, DueState, KeptComponent, OperationKind, OperationState
from kuramori.testing.clock import FakeClock

_START = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def history(tmp_path: Path, clock: FakeClock) -> History:
    return History(tmp_path / "state" / "history.sqlite", clock)


# --- what it keeps ---------------------------------------------------------------------------


def test_an_operation_is_remembered_with_all_that_was_said(history: History, clock: FakeClock) -> None:
    operation = history.begin(OperationKind.BACKUP, "planter", repository="usb")
    assert history.operations()[0].state is OperationState.RUNNING
    operation.name_run("full_backup_20261123_000000")
    clock.advance(90)
    entry = ComponentEntry("database", "usb", OperationState.COMPLETE, 1000, 10, 1, 1.5, "ab" * 32)
    operation.finish(OperationState.PARTIAL, size_bytes=1000, added_bytes=10, files=1,
                     errors=[SourceError(path="/x", detail="Permission denied")], components=[entry])

    [record] = history.operations()
    assert (record.kind, record.job, record.run, record.repository, record.state) == (
        OperationKind.BACKUP, "planter", "full_backup_20261123_000000", "usb", OperationState.PARTIAL)
    assert (record.started, record.ended) == (_START, _START + timedelta(seconds=90))
    assert (record.size_bytes, record.added_bytes, record.files, record.pid) == (1000, 10, 1, os.getpid())
    assert record.components == (entry,)
    assert record.errors[0].kind == "SourceError"
    assert record.errors[0].text() == SourceError(path="/x", detail="Permission denied").text()
    again = history.operation(record.id)
    assert again is not None
    assert replace(again, errors=()) == replace(record, errors=())
    assert history.operation(record.id + 1) is None
    assert history.problems == ()


def test_operations_are_found_by_job_kind_and_state_newest_first(history: History) -> None:
    for job, kind, state in (("a", OperationKind.BACKUP, OperationState.COMPLETE),
                             ("b", OperationKind.BACKUP, OperationState.FAILED),
                             ("a", OperationKind.CLEANUP, OperationState.COMPLETE),
                             ("a", OperationKind.BACKUP, OperationState.FAILED)):
        history.begin(kind, job).finish(state)

    def numbers(**wanted: object) -> list[int]:
        return [record.id for record in history.operations(**wanted)]  # type: ignore[arg-type]

    assert numbers() == [4, 3, 2, 1]
    assert numbers(limit=2) == [4, 3]
    assert numbers(job="a") == [4, 3, 1]
    assert numbers(job="a", kind=OperationKind.BACKUP) == [4, 1]
    assert numbers(state=OperationState.FAILED) == [4, 2]


def test_errors_are_told_in_the_language_of_the_reader(history: History) -> None:
    inner = StorageFullError(location="/mnt/usb", operation="write", name="data/00")
    outer = SourceError(path="/x", detail=(Phrase("because of {reason}", reason=inner), Phrase("{n} more", n=3)))
    history.begin(OperationKind.BACKUP, "planter").finish(OperationState.FAILED, errors=[inner, outer])

    first, second = history.operations()[0].errors
    spoken = {StorageFullError.message: "{location!s} に空きがありません", "because of {reason}": "理由: {reason}"}

    def japanese(text: str) -> str:
        return spoken.get(text, text)

    assert first.text(japanese) == inner.text(japanese) == "/mnt/usb に空きがありません"
    assert first.advice_text() == inner.advice_text()
    assert second.text(japanese) == outer.text(japanese)
    assert "理由: /mnt/usb に空きがありません" in second.text(japanese)


def test_the_first_end_counts(history: History) -> None:
    operation = history.begin(OperationKind.CHECK, "planter")
    operation.finish(OperationState.FAILED)
    operation.finish(OperationState.COMPLETE)
    assert history.operations()[0].state is OperationState.FAILED
    with pytest.raises(ValueError, match="does not run"):
        history.begin(OperationKind.CHECK, "planter").finish(OperationState.RUNNING)


def test_a_log_is_written_in_batches_and_keeps_its_last_lines(history: History, clock: FakeClock) -> None:
    operation = history.begin(OperationKind.BACKUP, "planter")
    assert operation.number is not None
    operation.log("first")
    assert history.log_lines(operation.number) == []
    clock.advance(5)
    operation.log("second")
    assert [line.text for line in history.log_lines(operation.number)] == ["first", "second"]
    for number in range(LOG_LINES + 10):
        operation.log(f"line {number}")
    operation.finish(OperationState.COMPLETE)
    lines = history.log_lines(operation.number)
    assert len(lines) == LOG_LINES
    assert lines[0].text == "line 10"
    assert lines[-1].text == f"line {LOG_LINES + 9}"
    assert lines[-1].time == _START + timedelta(seconds=5)


def test_totals_grow_and_outlive_the_operations(history: History, clock: FakeClock) -> None:
    def back_up(state: OperationState, size: int) -> None:
        operation = history.begin(OperationKind.BACKUP, "planter", f"run-{size}")
        operation.finish(OperationState.PARTIAL, components=[
            ComponentEntry("images", "usb", state, size, 1, 7, 2.5),
            ComponentEntry("images", "cloud", OperationState.FAILED)])
        clock.advance(3600)

    back_up(OperationState.COMPLETE, 100)
    back_up(OperationState.COMPLETE, 200)
    back_up(OperationState.FAILED, 0)
    cloud, usb = history.component_totals()
    assert (usb.repository, usb.successes, usb.failures, usb.size_bytes, usb.files, usb.seconds) == (
        "usb", 2, 1, 200, 7, 2.5)
    assert (usb.last_good, usb.last_good_run) == (_START + timedelta(hours=1), "run-200")
    assert (cloud.last_good, cloud.successes, cloud.failures) == (None, 0, 3)


def test_a_restore_does_not_count_as_a_backup(history: History) -> None:
    history.begin(OperationKind.RESTORE, "planter").finish(
        OperationState.COMPLETE, components=[ComponentEntry("images", "usb", OperationState.COMPLETE)])
    assert history.component_totals() == []


def test_due_states_come_back_as_they_were(history: History) -> None:
    assert history.due_state("backup planter") is None
    state = DueState(due=_START + timedelta(days=1), schedule="02:00 Asia/Tokyo", last_due=_START,
                     last_started=_START + timedelta(microseconds=7), running=True, failures=3,
                     retry=_START + timedelta(minutes=20), problem="failed", told="failed", overdue_told=True)
    assert history.set_due_state("backup planter", state)
    assert history.due_state("backup planter") == state
    assert history.set_due_state("backup planter", DueState())
    assert history.due_state("backup planter") == DueState()


def test_the_newest_time_never_goes_back_unless_the_clock_is_accepted(history: History, clock: FakeClock) -> None:
    assert history.newest_time() is None
    clock.advance(100)
    history.begin(OperationKind.BACKUP, "planter")
    clock.set(0)
    history.begin(OperationKind.BACKUP, "planter")
    assert history.newest_time() == _START + timedelta(seconds=100)
    history.accept_clock()
    assert history.newest_time() == datetime(1970, 1, 1, tzinfo=UTC)


def test_restores_can_be_remembered_and_forgotten(history: History, clock: FakeClock) -> None:
    kept = [KeptComponent("images", "files", "/srv/images", "/srv/.images.kept"),
            KeptComponent("images", "files", "/srv/more", "/srv/.more.kept")]
    assert history.remember_restore("r1", job="planter", run="full", repository="usb", components=kept)
    clock.advance(1)
    assert history.remember_restore("r2", job="planter", run="full", repository="usb", components=[])
    assert history.remember_restore("r2", job="planter", run="later", repository="usb", components=kept[:1])
    second, first = history.restores()
    assert (second.id, second.run, second.components) == ("r2", "later", tuple(kept[:1]))
    assert (first.id, first.components, first.time) == ("r1", tuple(kept), _START)
    assert history.forget_restore("r1")
    assert not history.forget_restore("r1")
    assert [record.id for record in history.restores()] == ["r2"]


def test_growth_is_bounded_by_age_and_number(history: History, clock: FakeClock,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_AT_LEAST", 5)
    monkeypatch.setattr(limits, "KEPT_AT_MOST", 8)
    for _number in range(12):
        operation = history.begin(OperationKind.BACKUP, "planter")
        operation.log("x")
        operation.finish(OperationState.COMPLETE, components=[
            ComponentEntry("images", "usb", OperationState.COMPLETE)])
    assert len(history.operations()) == 8
    clock.advance(500 * 86400)
    history.begin(OperationKind.BACKUP, "planter").finish(OperationState.COMPLETE)
    assert [record.id for record in history.operations()] == [13, 12, 11, 10, 9]
    connection = apsw.Connection(str(history.path))
    for table in ("log_lines", "components"):
        assert set(connection.execute(f"SELECT DISTINCT operation FROM {table}")) == {(9,), (10,), (11,), (12,)}
    connection.close()


# --- processes -------------------------------------------------------------------------------


_CHILD = """
import sys
from pathlib import Path
from kuramori.clock import SystemClock
from kuramori.history.history import History
from kuramori.history.records import OperationKind, OperationState
history = History(Path(sys.argv[1]), SystemClock())
for _ in range(int(sys.argv[2])):
    operation = history.begin(OperationKind.BACKUP, "child")
    operation.log("hello")
    operation.finish(OperationState.COMPLETE)
history.begin(OperationKind.BACKUP, "child")
assert history.problems == (), history.problems
print("ready", flush=True)
sys.stdin.read()
"""


def _child(history: History, operations: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _CHILD, str(history.path), str(operations)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_what_a_killed_process_left_is_marked_and_what_lives_is_not(history: History) -> None:
    mine = history.begin(OperationKind.CHECK, "mine")
    child = _child(history, 0)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert history.mark_unfinished() == 0
    finally:
        child.kill()
        child.communicate()
    assert history.mark_unfinished() == 1
    assert history.mark_unfinished() == 0
    states = {record.job: record.state for record in history.operations()}
    assert states == {"child": OperationState.UNFINISHED, "mine": OperationState.RUNNING}
    mine.finish(OperationState.COMPLETE)
    assert history.operations(job="mine")[0].state is OperationState.COMPLETE


def test_another_process_with_the_same_number_is_not_taken_for_it(history: History) -> None:
    history.begin(OperationKind.CHECK, "old")
    connection = apsw.Connection(str(history.path))
    connection.execute("UPDATE operations SET process_mark = 'another-boot/17'")
    connection.close()
    assert history.mark_unfinished() == 1


def test_several_processes_write_at_once(history: History) -> None:
    children = [_child(history, 15) for _number in range(3)]
    for child in children:
        output, _errors = child.communicate(timeout=120)
        assert output == b"ready\n"
    assert len(history.operations(limit=100, state=OperationState.COMPLETE)) == 45
    assert history.problems == ()


def test_only_the_owner_may_read_it(history: History) -> None:
    before = os.umask(0)
    try:
        history.begin(OperationKind.BACKUP, "planter")
    finally:
        os.umask(before)
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.path.parent.stat().st_mode) == 0o700


def test_looking_makes_nothing(history: History) -> None:
    assert history.operations() == []
    assert history.component_totals() == []
    assert history.newest_time() is None
    assert history.due_state("x") is None
    assert not history.path.parent.exists()
    assert history.problems == ()


# --- trouble ---------------------------------------------------------------------------------


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 100)


def _torn(path: Path) -> None:
    """Overwrite everything but the first page, so that opening works and reading does not."""
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_garbage, _torn])
def test_a_damaged_file_is_moved_aside_and_work_goes_on(history: History, clock: FakeClock,
                                                        damage: Callable[[Path], None]) -> None:
    for _number in range(20):
        history.begin(OperationKind.BACKUP, "before").finish(OperationState.COMPLETE)
    history.close()
    damage(history.path)
    damaged = history.path.read_bytes()

    told: list[Exception] = []
    again = History(history.path, clock, told=told.append)
    operation = again.begin(OperationKind.BACKUP, "after")
    operation.finish(OperationState.COMPLETE)
    assert [record.job for record in again.operations()] == ["after"]
    [problem] = again.problems
    assert isinstance(problem, HistoryDamagedError)
    assert told == [problem]
    kept = Path(str(problem.fields["kept"]))
    assert kept.read_bytes() == damaged
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600


def test_damage_in_the_middle_of_an_operation_loses_only_what_was_before(history: History) -> None:
    history.begin(OperationKind.BACKUP, "before").finish(OperationState.COMPLETE)
    operation = history.begin(OperationKind.BACKUP, "during")
    _garbage(history.path)
    operation.log("still here")
    operation.finish(OperationState.COMPLETE)
    [record] = history.operations()
    assert (record.job, record.state) == ("during", OperationState.COMPLETE)
    assert [line.text for line in history.log_lines(record.id)] == ["still here"]


def test_a_state_directory_that_cannot_be_made_stops_nothing(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").write_text("in the way")
    history = History(tmp_path / "file" / "history.sqlite", clock)
    operation = history.begin(OperationKind.BACKUP, "planter")
    operation.log("x")
    operation.finish(OperationState.COMPLETE)
    assert operation.number is None
    assert history.operations() == []
    assert not history.set_due_state("x", DueState())
    assert not history.remember_restore("r", job="", run="", repository="", components=[])
    assert history.mark_unfinished() == 0
    [problem] = history.problems
    assert isinstance(problem, HistoryUnavailableError)
    assert "Not a directory" in str(problem)


_LIMITED = """
import resource, sys
from pathlib import Path
from kuramori.clock import SystemClock
from kuramori.history.history import History
from kuramori.history.records import OperationKind, OperationState
history = History(Path(sys.argv[1]), SystemClock())
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
operation = history.begin(OperationKind.BACKUP, "full")
operation.finish(OperationState.COMPLETE)
print([type(problem).__name__ for problem in history.problems])
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
operation = history.begin(OperationKind.BACKUP, "room again")
operation.finish(OperationState.COMPLETE)
print([record.job for record in history.operations()])
"""


def test_a_disk_without_room_stops_nothing_and_room_brings_it_back(history: History) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("the size of files is limited here")
    history.begin(OperationKind.BACKUP, "before").finish(OperationState.COMPLETE)
    history.close()
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(history.path)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["['HistoryUnavailableError']", "['room again', 'before']"]


def test_a_lock_that_somebody_keeps_is_waited_for_and_then_reported(tmp_path: Path, clock: FakeClock) -> None:
    from kuramori.history.database import HistoryDatabase

    path = tmp_path / "history.sqlite"
    History(path, clock).begin(OperationKind.BACKUP, "x")
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    database = HistoryDatabase(path, busy_seconds=0)
    assert database.write(lambda connection: 1) is None
    assert isinstance(database.problems[0], HistoryUnavailableError)
    other.execute("ROLLBACK")
    other.close()
    assert database.write(lambda connection: 1) == 1


def test_a_newer_file_is_left_as_it_is(history: History, clock: FakeClock) -> None:
    history.begin(OperationKind.BACKUP, "planter").finish(OperationState.COMPLETE)
    history.close()
    connection = apsw.Connection(str(history.path))
    connection.pragma("user_version", len(schema.MIGRATIONS) + 1)
    connection.close()
    before = history.path.read_bytes()
    again = History(history.path, clock)
    again.begin(OperationKind.BACKUP, "planter").finish(OperationState.COMPLETE)
    assert again.operations() == []
    assert [type(problem) for problem in again.problems] == [HistoryTooNewError]
    assert history.path.read_bytes() == before


def test_an_error_with_odd_fields_is_kept(history: History) -> None:
    odd = RepositoryLockedError(holder=b"\xff\x00", other=object(), number=None, long="x" * 10_000)
    history.begin(OperationKind.BACKUP, "planter").finish(OperationState.FAILED, errors=[odd] * 300)
    errors = history.operations()[0].errors
    assert len(errors) == 100
    assert errors[0].kind == "RepositoryLockedError"
    assert errors[0].text()


# --- copies ----------------------------------------------------------------------------------


def test_what_repositories_lack_is_counted_and_since_when(memory_folder: Path) -> None:
    clock = FakeClock()
    history = History(memory_folder / "history.sqlite", clock)
    first = clock.now()
    history.note_caught_up("planter", "nas")
    assert history.copy_records() == []
    history.note_missed_run("planter", "nas", first)
    history.note_missed_run("planter", "nas", first + timedelta(days=1))
    history.note_missed_run("other", "nas", first)
    [record] = history.copy_records("planter")
    assert (record.lacking, record.stale_since, record.told) == (2, first, None)
    history.note_missed_run("planter", "nas", first - timedelta(days=300))  # the clock was wrong, then or now
    assert history.copy_records("planter")[0].stale_since == first - timedelta(days=300)
    history.note_copy_told("planter", "nas", first)
    history.note_caught_up("planter", "nas")
    [record] = history.copy_records("planter")
    assert (record.lacking, record.stale_since, record.told) == (0, None, first)
    history.note_copy_told("planter", "nas", None)
    assert len(history.copy_records()) == 2
    history.close()
