"""The repositories of a job, of which some are away: a run is saved where it can be, and the others catch up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kuramori.errors import (
    DetachedNote,
    DifferentRepositoryError,
    InsteadOfFirstNote,
    Interrupted,
    RepositoryAwayError,
    RepositoryBusyError,
)
from kuramori.history.records import OperationKind, OperationState
from kuramori.manager.model import CopyState, Health, RunOptions, RunResult, RunState, Status, Timetable
from kuramori.manager.state_files import hold_repositories
from kuramori.scheduling.manager_runner import ManagerRunner
from kuramori.scheduling.work import ScheduledWork, WorkKind
from kuramori.settings.model import ComponentRetention, RepositorySettings
from samples.planter import JOB, Planter, make_planter

_DAY = 86_400


@contextmanager
def _unplugged(planter: Planter, *names: str) -> Iterator[None]:
    """Take disks away for a ``with`` block; their empty mount points stay, and stay empty."""
    for name in names:
        planter.repository(name).rename(planter.folder / f"unplugged {name}")
        planter.repository(name).mkdir()
    yield
    for name in names:
        assert list(planter.repository(name).iterdir()) == []
        planter.repository(name).rmdir()
        (planter.folder / f"unplugged {name}").rename(planter.repository(name))


def _runs(planter: Planter, name: str) -> list[str]:
    return [run.name for run in planter.manager.list_runs(repository=name)]


def _states(result: RunResult) -> dict[str, CopyState]:
    return {copy.repository: copy.state for copy in result.copies}


def _status(planter: Planter) -> Status:
    return planter.manager.status(lambda _: Timetable(None, 365.0 * _DAY))


def test_a_run_is_saved_in_the_next_place_while_the_first_is_away_which_then_gets_it(tmp_path: Path) -> None:
    planter = make_planter(tmp_path, repositories=("usb", "nas", "cloud"))
    names = [planter.back_up().run]
    with _unplugged(planter, "usb"):
        result = planter.back_up()
        assert (result.state, result.repository) == (RunState.COMPLETE, "nas")
        assert _states(result) == {"usb": CopyState.STALE, "cloud": CopyState.COMPLETE}
        names += [result.run, planter.back_up().run]
        [note] = [error for error in planter.told.errors if isinstance(error, InsteadOfFirstNote)][:1]
        assert "so this run is saved in nas" in str(note)
        [operation] = planter.history.operations(limit=1)
        assert (operation.state, operation.repository) == (OperationState.COMPLETE, "nas")
        [record] = [record for record in planter.history.copy_records() if record.stale_since is not None]
        assert (record.job, record.repository, record.lacking, record.stale_since) == (JOB, "usb", 2, result.started)
    status = _status(planter)
    assert status.health is Health.ATTENTION, "it is back, and lacks them until the next run"
    assert "lacks 2 run(s)" in str(status.problems[0])
    result = planter.back_up()
    names.append(result.run)
    assert result.repository == "usb"
    assert _states(result) == {"usb": CopyState.COMPLETE, "nas": CopyState.COMPLETE, "cloud": CopyState.COMPLETE}
    assert [_runs(planter, name) for name in ("usb", "nas", "cloud")] == [names] * 3
    assert all(record.stale_since is None for record in planter.history.copy_records())
    assert _status(planter).health is Health.WELL


def test_what_the_first_has_cleaned_up_does_not_come_back_from_the_others(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    for component in ("images", "logs"):
        planter.change_component(component, retention=ComponentRetention(days=10))
    old = planter.back_up().run
    planter.clock.advance(20 * _DAY)
    planter.back_up()
    with _unplugged(planter, "nas"):
        planter.manager.clean_up()
    assert old not in _runs(planter, "usb")
    assert old in _runs(planter, "nas")
    with _unplugged(planter, "usb"):
        missed = planter.back_up().run
    planter.back_up()
    assert missed in _runs(planter, "usb")
    assert old not in _runs(planter, "usb")


def test_a_place_that_missed_runs_and_is_the_only_one_there_is_not_forgotten(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    with _unplugged(planter, "nas"):
        missed = planter.back_up()
    with _unplugged(planter, "usb"):
        result = planter.back_up()
        assert (result.repository, missed.run in _runs(planter, "nas")) == ("nas", False)
        assert _states(result) == {"nas": CopyState.STALE, "usb": CopyState.STALE}
        records = {record.repository: record for record in planter.history.copy_records()}
        assert records["nas"].stale_since == missed.started, "what it lacked it lacks still"
    planter.back_up()
    assert _runs(planter, "usb") == _runs(planter, "nas")
    assert len(_runs(planter, "usb")) == 4


def test_another_disk_in_place_of_the_first_is_left_alone_and_the_run_goes_on(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    shutil.rmtree(planter.repository("usb"))
    shutil.copytree(planter.repository("nas"), planter.repository("usb"))
    before = sorted(planter.repository("usb").rglob("*"))
    result = planter.back_up()
    [copy] = result.copies
    assert (result.repository, copy.state) == ("nas", CopyState.FAILED)
    assert isinstance(copy.error, DifferentRepositoryError)
    assert sorted(planter.repository("usb").rglob("*")) == before
    assert not planter.manager.clean_up().success
    assert sorted(planter.repository("usb").rglob("*")) == before


def test_with_no_place_left_the_run_fails_and_names_the_first(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    with _unplugged(planter, "usb", "nas"):
        result = planter.back_up()
        assert (result.state, result.repository) == (RunState.FAILED, "usb")
        assert isinstance(result.errors[0], RepositoryAwayError)
        assert planter.told.texts.count("although nas was there before") == 1
        assert planter.history.copy_records() == []


def test_status_grows_louder_when_a_place_has_lacked_runs_for_too_long(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    with _unplugged(planter, "nas"):
        missed = planter.back_up()
        for _number in range(3):
            planter.back_up()
        planter.clock.advance(6 * _DAY)
        status = _status(planter)
        assert status.health is Health.ATTENTION
        assert (status.repositories["nas"].lacking_runs, status.repositories["nas"].stale_since) == (4, missed.started)
        planter.clock.advance(2 * _DAY)
        status = _status(planter)
        assert status.health is Health.ALARM
        assert "has lacked 4 run(s) of job planter since" in str(status.problems[0])
        assert "which is 8 d" in str(status.problems[0])
        planter.places["nas"] = RepositorySettings("nas", str(planter.repository("nas")), stale_after=None)
        assert _status(planter).health is Health.ATTENTION
    planter.back_up()
    assert _status(planter).health is Health.WELL


def test_a_disk_that_may_come_and_go_is_a_note_and_no_problem_while_it_is_not_away_for_too_long(
        tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.places["nas"] = RepositorySettings("nas", str(planter.repository("nas")), run_when_attached=True)
    planter.back_up()
    assert planter.manager.is_attached("nas")
    with _unplugged(planter, "nas"):
        assert not planter.manager.is_attached("nas")
        planter.back_up()
        status = _status(planter)
        assert status.health is Health.WELL
        assert isinstance(status.notes[0], DetachedNote)
        planter.clock.advance(8 * _DAY)
        assert _status(planter).health is Health.ALARM


def test_only_the_very_repository_counts_as_attached(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    shutil.rmtree(planter.repository("nas"))
    shutil.copytree(planter.repository("usb"), planter.repository("nas"))
    assert planter.manager.is_attached("usb")
    assert not planter.manager.is_attached("nas")
    planter.manager.initialise(["nas"], renew=True)
    assert planter.manager.is_attached("nas")


def test_jobs_that_share_a_repository_wait_for_each_other(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    locks = tmp_path / "state" / "locks"
    with hold_repositories(locks, ["nas"], planter.clock), pytest.raises(RepositoryBusyError) as busy:
        planter.back_up()
    assert (busy.value.exit_code, busy.value.retryable) == (11, True)
    with hold_repositories(locks, ["nas"], planter.clock):
        [error] = [one.error for one in planter.manager.clean_up().repositories.values() if one.error is not None]
        assert isinstance(error, RepositoryBusyError)
        assert planter.manager.clean_up(dry_run=True).success, "whoever only looks waits for nobody"
    holding = hold_repositories(locks, ["nas"], planter.clock)
    holding.__enter__()
    asked = iter(range(5))

    def cancelled() -> bool:
        if next(asked, None) == 4:
            holding.__exit__(None, None, None)
        return False

    planter.told.errors.clear()
    assert planter.back_up(cancelled=cancelled).state is RunState.COMPLETE
    assert planter.told.texts == "the repository nas is used by another job of this machine; waiting for it"


def test_a_copy_of_a_job_that_is_never_made_good_is_a_failure_and_not_only_stale(tmp_path: Path) -> None:
    planter = Planter(tmp_path)
    planter.manager.initialise(["usb"])
    result = planter.back_up()
    assert _states(result) == {"nas": CopyState.FAILED}
    assert "kuramori init" in str(result.copies[0].error)
    planter.job = replace(planter.job, repositories=("usb",))
    assert planter.back_up().copies == ()


def test_what_a_place_lacks_is_copied_without_a_new_run_when_its_disk_appears(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    work = ScheduledWork(WorkKind.COPY, JOB, None)
    planter.back_up()
    with _unplugged(planter, "nas"):
        planter.back_up()
        outcome = ManagerRunner(planter.manager).run(work, lambda: False)
        assert (outcome.state, outcome.errors) == (OperationState.COMPLETE, ()), "it went again: that is no failure"
        assert len([record for record in planter.history.copy_records() if record.stale_since is not None]) == 1
    [copied] = planter.manager.catch_up(JOB)
    assert (copied.repository, copied.state, copied.snapshots_copied) == ("nas", CopyState.COMPLETE, 3)
    [operation] = planter.history.operations(limit=1)
    assert (operation.kind, operation.state, operation.repository) == (
        OperationKind.COPY, OperationState.COMPLETE, "usb")
    assert _runs(planter, "nas") == _runs(planter, "usb")
    assert len(_runs(planter, "usb")) == 2
    assert [record.stale_since for record in planter.history.copy_records()] == [None]


def test_the_first_place_gets_what_it_missed_without_a_new_run(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    with _unplugged(planter, "usb"):
        planter.back_up()
    outcomes = planter.manager.catch_up(JOB)
    assert [(one.repository, one.state, one.snapshots_copied) for one in outcomes] == [
        ("usb", CopyState.COMPLETE, 3), ("nas", CopyState.COMPLETE, 0)]
    assert len(_runs(planter, "usb")) == 2
    with _unplugged(planter, "usb", "nas"), pytest.raises(RepositoryAwayError):
        planter.manager.catch_up(JOB)


def test_a_copy_that_cannot_be_made_is_a_failure_of_the_scheduler(tmp_path: Path) -> None:
    planter = Planter(tmp_path)
    planter.manager.initialise(["usb"])
    planter.back_up()
    outcome = ManagerRunner(planter.manager).run(ScheduledWork(WorkKind.COPY, JOB, None), lambda: False)
    assert outcome.state is OperationState.PARTIAL
    assert "kuramori init" in str(outcome.errors[0])
    with pytest.raises(Interrupted):
        planter.manager.catch_up(JOB, RunOptions(cancelled=lambda: True))
    assert planter.history.operations(limit=1)[0].state is OperationState.INTERRUPTED
