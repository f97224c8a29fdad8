"""Cleanups by component, and when nothing at all is removed; what the status says of it all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kuramori.errors import (
    ClockLeapError,
    FailingRunsProblem,
    ImplausibleClockError,
    JobBusyError,
    NeverSavedProblem,
    OverdueProblem,
    RepositoryAwayError,
    SnapshotsVanishedError,
    StaleCopyProblem,
    UnfinishedProblem,
    UnreachableProblem,
    VanishedProblem,
)
from kuramori.history.records import OperationKind, OperationState
from kuramori.maintenance.check import CheckOptions, check
from kuramori.manager.model import Health, RunState, Status, Timetable
from kuramori.manager.state_files import hold_job
from kuramori.model.retention import RetentionPolicy
from kuramori.repository.opening import open_repository
from kuramori.settings.model import ComponentRetention
from kuramori.storage.local import LocalBackend
from samples.planter import JOB, Planter, make_planter
from samples.repositories import PASSWORD

DAY = 24 * 3600.0


def _planter(folder: Path, runs: int = 4) -> Planter:
    """Return one with a run every ten days; logs are kept 15 days, images for ever."""
    planter = make_planter(folder)
    planter.change_component("logs", retention=ComponentRetention(days=15))
    for number in range(runs):
        (folder / "logs" / "0.txt").write_text(f"log of run {number}\n" * 1000)
        assert planter.back_up().state is RunState.COMPLETE
        planter.clock.advance(10 * DAY)
    return planter


def _snapshots(planter: Planter, name: str = "usb") -> int:
    return len(list((planter.repository(name) / "snapshots").iterdir()))


def test_each_component_goes_by_its_own_rules_in_every_repository(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    preview = planter.manager.clean_up(JOB, dry_run=True)
    assert {(one.repository, one.component) for one in preview.removed} == {("usb", "logs"), ("nas", "logs")}
    assert len(preview.removed) == 6
    assert "15 days" in str(preview.removed[0].reason)
    assert preview.freed_bytes > 0
    assert _snapshots(planter) == 12
    sizes = sum(path.stat().st_size for path in (planter.repository() / "data").rglob("*") if path.is_file())
    result = planter.manager.clean_up(JOB)
    assert result.success
    assert len(result.removed) == 6
    assert _snapshots(planter) == _snapshots(planter, "nas") == 9
    after = sum(path.stat().st_size for path in (planter.repository() / "data").rglob("*") if path.is_file())
    assert after < sizes
    assert planter.manager.clean_up(JOB).removed == ()
    for name in ("usb", "nas"):
        assert check(open_repository(LocalBackend(planter.repository(name)), PASSWORD),
                     CheckOptions(read_data=True)).sound
    runs = planter.manager.list_runs(repository="usb")
    assert [bool(run.components["logs"].snapshot_id) for run in runs] == [False, False, False, True]
    assert planter.history.operations(kind=OperationKind.CLEANUP)[0].state is OperationState.COMPLETE


def test_the_record_goes_with_the_last_component(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=2)
    planter.change_component("images", retention=ComponentRetention(policy=RetentionPolicy(last=1)))
    planter.clock.advance(100 * DAY)
    planter.manager.clean_up()
    assert _snapshots(planter) == 3
    assert len(planter.manager.list_runs(repository="usb")) == 1


def test_failed_runs_do_not_push_the_last_good_one_out(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=1)
    good = planter.manager.list_runs(repository="usb")[0].name
    shutil.rmtree(tmp_path / "logs")
    for _ in range(3):
        planter.back_up()
        planter.clock.advance(30 * DAY)
    planter.manager.clean_up()
    assert [run.name for run in planter.manager.list_runs(repository="usb")
            if run.components["logs"].snapshot_id] == [good]


def test_a_clock_before_the_newest_snapshot_removes_nothing(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    planter.clock.advance(-0.0)
    planter.clock.set(planter.clock.now_nanoseconds() - int(400 * DAY) * 10**9)
    result = planter.manager.clean_up()
    assert isinstance(result.repositories["usb"].error, ImplausibleClockError)
    assert result.removed == ()
    assert _snapshots(planter) == 12


def test_a_clock_that_leapt_a_year_ahead_removes_nothing_while_nobody_looks(tmp_path: Path) -> None:
    """The daemon's cleanup waits until runs have gone on for three days; a person may go ahead."""
    planter = _planter(tmp_path)
    planter.clock.advance(365 * DAY)
    planter.back_up()
    result = planter.manager.clean_up(unattended=True)
    assert {type(one.error) for one in result.repositories.values()} == {ClockLeapError}
    assert _snapshots(planter) == 15
    assert len(planter.manager.clean_up(dry_run=True).removed) == 8, "by hand it is done"
    for _ in range(4):
        planter.clock.advance(DAY)
        planter.back_up()
    assert planter.manager.clean_up(unattended=True).success
    assert _snapshots(planter) == 27 - 4
    for name in ("usb", "nas"):
        assert _snapshots(planter, name) == 23


def test_snapshots_of_a_component_that_the_settings_no_longer_have_are_noted(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=2)
    planter.change(components={"images": planter.job.components["images"]})
    status = planter.manager.status()
    assert status.health is Health.WELL
    assert [(note.fields["name"], note.fields["count"], note.fields["component"]) for note in status.notes] == [
        ("usb", 2, "logs"), ("nas", 2, "logs")]


def test_vanished_snapshots_raise_an_alarm_instead(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    next((planter.repository() / "snapshots").iterdir()).unlink()
    result = planter.manager.clean_up()
    assert isinstance(result.repositories["usb"].error, SnapshotsVanishedError)
    assert _snapshots(planter) == 11
    assert result.repositories["nas"].error is None
    status = _status(planter)
    assert status.health is Health.ALARM
    assert isinstance(status.problems[0], VanishedProblem)
    assert planter.manager.clean_up(accept_missing=True).success
    assert planter.manager.status().health is Health.WELL


def test_a_repository_that_is_away_does_not_keep_the_others(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    planter.repository("usb").rename(tmp_path / "unplugged")
    result = planter.manager.clean_up()
    assert isinstance(result.repositories["usb"].error, RepositoryAwayError)
    assert len(result.repositories["nas"].removed) == 3
    assert planter.history.operations(kind=OperationKind.CLEANUP)[0].state is OperationState.PARTIAL


def test_other_machines_and_other_snapshots_are_left_alone(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    planter.change(hostname="another")
    planter.clock.advance(100 * DAY)
    planter.back_up()
    assert planter.manager.clean_up().removed == ()


def test_a_run_in_progress_is_waited_for(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=1)
    with hold_job(tmp_path / "state" / "locks", JOB, planter.clock):
        with pytest.raises(JobBusyError):
            planter.manager.clean_up()
        planter.manager.clean_up(dry_run=True)


# --- status ----------------------------------------------------------------------------------


def _status(planter: Planter, interval: float = DAY) -> Status:
    return planter.manager.status(lambda _: Timetable(None, interval))


def test_all_is_well_after_a_complete_run(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    status = _status(planter)
    assert status.health is Health.ALARM
    assert isinstance(status.problems[0], NeverSavedProblem)
    run = planter.back_up()
    planter.clock.advance(3600)
    status = _status(planter)
    assert (status.health, status.problems) == (Health.WELL, ())
    assert {(row.component, row.repository, row.last_good_run) for row in status.components} == {
        (component, name, run.run) for component in ("images", "logs") for name in ("usb", "nas")}
    assert all(row.age_seconds and 3600 <= row.age_seconds < 3700 for row in status.components)
    assert status.repositories["usb"].stored_bytes


def test_before_the_first_use_the_sentence_says_how_to_begin(tmp_path: Path) -> None:
    assert "kuramori init" in str(_status(Planter(tmp_path)).problems[0])


def test_overdue_after_twice_the_interval(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    planter.clock.advance(2 * DAY - 60)
    assert _status(planter).health is Health.WELL
    planter.clock.advance(120)
    status = _status(planter)
    assert status.health is Health.ALARM
    assert isinstance(status.problems[0], OverdueProblem)
    assert "is 2 d 0 h ago" in str(status.problems[0])
    assert len(status.problems) == 1, "what is wrong with both components in the same way is said once"
    assert planter.manager.status().health is Health.WELL, "without a schedule nothing is overdue"
    shutil.rmtree(tmp_path / "images")
    for _ in range(2):
        planter.manager.back_up(JOB)
    said = str(next(problem for problem in _status(planter).problems if isinstance(problem, OverdueProblem)))
    assert "images is not there" in said, "why, and ..."
    assert "is the USB disk mounted?" in said, "... what to do"
    failing = next(problem for problem in _status(planter).problems if isinstance(problem, FailingRunsProblem))
    assert "none of the 2 runs" in str(failing)


def test_a_partial_run_and_a_stale_copy_ask_for_attention(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    planter.repository("nas").rename(tmp_path / "nas")
    planter.back_up()
    (tmp_path / "nas").rename(planter.repository("nas"))
    status = _status(planter)
    assert status.health is Health.ATTENTION
    assert isinstance(status.problems[0], StaleCopyProblem)
    shutil.rmtree(tmp_path / "images")
    planter.back_up()
    status = _status(planter)
    assert status.health is Health.ATTENTION
    assert "is not there" in str(status.problems[0])


def test_a_run_of_some_components_makes_nothing_good_of_the_others(tmp_path: Path) -> None:
    planter = make_planter(tmp_path, repositories=("usb",))
    planter.back_up()
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    planter.back_up()
    planter.back_up(components=("images",))
    status = _status(planter)
    assert status.health is Health.ATTENTION
    assert "logs is not there" in str(status.problems[0])
    (tmp_path / "elsewhere").rename(tmp_path / "logs")
    planter.back_up(components=("logs",))
    assert _status(planter).health is Health.WELL


def test_an_unplugged_disk_is_named_with_what_is_known_of_it(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    run = planter.back_up()
    planter.repository("usb").rename(tmp_path / "unplugged")
    status = _status(planter)
    assert status.health is Health.ATTENTION
    assert isinstance(status.problems[0], UnreachableProblem)
    assert "is the disk mounted" in str(status.problems[0])
    assert f"of {planter.clock.now():%Y-%m-%d %H:%M}" in str(status.problems[0]), "since when it is out of date"
    assert not status.repositories["usb"].reachable
    assert {row.last_good_run for row in status.components if row.repository == "usb"} == {run.run}


def test_what_a_crash_broke_off_is_told_until_it_is_made_good(tmp_path: Path) -> None:
    planter = make_planter(tmp_path)
    planter.back_up()
    operation = planter.history.begin(OperationKind.BACKUP, JOB, "broken")
    operation.finish(OperationState.UNFINISHED)
    assert isinstance(_status(planter).problems[0], UnfinishedProblem)
    planter.back_up()
    assert _status(planter).health is Health.WELL
