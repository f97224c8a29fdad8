"""Cleanups of repositories that may have only so many bytes: the oldest runs go, and nothing comes back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kuramori.errors import (
    ClockLeapError,
    MaxSizeMissedError,
    MaxSizeUnreachableError,
    OverMaxSizeProblem,
    SnapshotsVanishedError,
    StoragePermissionError,
    UnknownRepositoryNameError,
    UnreadableSnapshotsError,
)
from kuramori.history.records import OperationKind, OperationState
from kuramori.maintenance.check import CheckOptions, check
from kuramori.manager.manager import Manager
from kuramori.manager.model import CleanUpOptions, Health, RunOptions, RunState, SizeCleanUp
from kuramori.manager.removing import Removal
from kuramori.manager.run_catalogue import RunCatalogue
from kuramori.manager.size_retention import limited_job
from kuramori.model.retention import RetentionPolicy
from kuramori.progress import NoProgress
from kuramori.repository.opening import open_repository
from kuramori.scheduling.manager_runner import ManagerRunner
from kuramori.scheduling.work import ScheduledWork, WorkKind
from kuramori.settings.model import ComponentRetention, DailyAt, JobSettings, RepositorySettings
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from samples.planter import HOST, JOB, Planter, make_planter
from samples.repositories import PASSWORD, QUICK

DAY = 24 * 3600.0
IMAGE = 60_000
"""Bytes that a run of ``images`` adds, as good as exactly: they cannot be compressed."""
LOG = 15_000


def _write(planter: Planter, number: int) -> None:
    chance = random.Random(number)
    for name, size in (("images", IMAGE), ("logs", LOG)):
        if (planter.folder / name).exists():
            (planter.folder / name / "0.txt").write_bytes(chance.randbytes(size))


def _planter(folder: Path, runs: int = 5, repositories: tuple[str, ...] = ("usb",)) -> Planter:
    """Return one with a run every ten days, each of which adds IMAGE and LOG bytes."""
    planter = make_planter(folder, repositories=repositories)
    for number in range(runs):
        _write(planter, number)
        assert planter.back_up().state is RunState.COMPLETE
        planter.clock.advance(10 * DAY)
    return planter


def _limit(planter: Planter, size: int | None, name: str = "usb") -> None:
    planter.places[name] = RepositorySettings(name, str(planter.repository(name)), max_size=size)


def _size(planter: Planter, name: str = "usb") -> int:
    return sum(path.stat().st_size for path in planter.repository(name).rglob("*") if path.is_file())


def _files(planter: Planter) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in planter.repository().rglob("*") if path.is_file()}


def _parts(planter: Planter, name: str = "usb") -> list[set[str]]:
    """Return the components that are left of each run, the oldest first."""
    return [{component.name for component in run.components.values() if component.snapshot_id}
            for run in planter.manager.list_runs(repository=name)]


def _set_clock_back(planter: Planter, days: int) -> None:
    planter.clock.set(planter.clock.now_nanoseconds() - int(days * DAY) * 10**9)


def _judge(planter: Planter) -> None:
    assert check(open_repository(LocalBackend(planter.repository()), PASSWORD), CheckOptions(read_data=True)).sound


def test_the_oldest_runs_go_whole_and_no_more_than_have_to(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    names = [run.name for run in planter.manager.list_runs()]
    before = _size(planter)
    _limit(planter, before - 2 * IMAGE - LOG)
    told: list[SizeCleanUp] = []
    result = planter.manager.clean_up(before_size_limit=told.append).repositories["usb"]
    assert result.error is None
    assert [run.name for run in planter.manager.list_runs()] == names[2:]
    assert _parts(planter) == [{"images", "logs"}] * 3
    assert {(one.run, one.component) for one in result.removed} == {
        (run, component) for run in names[:2] for component in ("images", "logs", "manifest")}
    assert "may have" in str(result.removed[0].reason)
    size = result.size
    assert size is not None
    assert [(run.run, run.components, run.freed_bytes > IMAGE + LOG) for run in size.runs] == [
        (run, ("images", "logs"), True) for run in names[:2]]
    assert (size.bytes_before, size.bytes_after) == (before, _size(planter))
    assert size.bytes_after is not None
    assert size.bytes_after <= size.bytes_expected <= size.limit
    [announced] = told
    assert (announced.bytes_after, announced.runs) == (None, size.runs), "said before, and so it came"
    assert result.kept == 6
    _judge(planter)
    assert planter.manager.clean_up().removed == ()


@pytest.mark.exhaustive
def test_rules_come_first_and_may_be_enough(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    planter.change_component("logs", retention=ComponentRetention(days=15))
    _limit(planter, _size(planter) - 4 * LOG + 2000)
    preview = planter.manager.clean_up(dry_run=True)
    assert {one.component for one in preview.removed} == {"logs"}
    result = planter.manager.clean_up().repositories["usb"]
    assert result.size is not None
    assert result.size.runs == ()
    assert result.size.bytes_after is not None
    assert result.size.bytes_after <= result.size.limit
    assert _parts(planter) == [{"images"}] * 4 + [{"images", "logs"}]
    _limit(planter, _size(planter) - 1)
    assert [run.components for run in planter.manager.clean_up().repositories["usb"].size.runs] == [  # type: ignore[union-attr]
        ("images",)]
    assert _parts(planter) == [{"images"}] * 3 + [{"images", "logs"}]
    _judge(planter)


def test_unused_data_that_the_usual_prune_would_leave_goes_for_the_size(tmp_path: Path) -> None:
    """In a pack of 5 MB 2 % are not used any more: that is not worth writing it anew, but for the size."""
    planter = make_planter(tmp_path, repositories=("usb",))
    chance = random.Random(1)
    (tmp_path / "images" / "large").write_bytes(chance.randbytes(5_000_000))
    (tmp_path / "images" / "small").write_bytes(chance.randbytes(100_000))
    planter.back_up()
    (tmp_path / "images" / "small").unlink()
    planter.back_up()
    _limit(planter, _size(planter) - 50_000)
    result = planter.manager.clean_up().repositories["usb"]
    assert result.error is None
    assert result.size is not None
    assert len(result.size.runs) == 1
    assert _size(planter) <= result.size.limit
    _judge(planter)


def test_a_cleanup_that_was_killed_before_its_prune_is_ended_by_the_next(tmp_path: Path) -> None:
    """Nothing has to go any more, and it is too large all the same."""
    planter = _planter(tmp_path, runs=3)
    size = _size(planter)
    _limit(planter, size - IMAGE)
    oldest = planter.manager.list_runs()[0]
    repository = open_repository(LocalBackend(planter.repository()), PASSWORD)
    ids = [component.snapshot_id for component in oldest.components.values()] + [oldest.manifest_id]
    for name in ids:
        repository.backend.remove(Handle(FileType.SNAPSHOT, name))
    result = planter.manager.clean_up(accept_missing=True).repositories["usb"]
    assert (result.error, result.removed) == (None, ())
    assert result.freed_bytes > IMAGE
    assert _size(planter) <= size - IMAGE


def test_the_newest_good_snapshot_of_each_component_stays_with_its_record_alone(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=2)
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    for number in (2, 3, 4):
        _write(planter, number)
        planter.back_up()
        planter.clock.advance(10 * DAY)
    planter.change_component("logs", enabled=False)
    _limit(planter, _size(planter) - 3 * IMAGE - 2 * LOG)
    assert planter.manager.clean_up().success
    runs = planter.manager.list_runs()
    assert _parts(planter) == [{"logs"}, {"images"}]
    assert runs[0].manifest_id, "what is left of a run can still be named"
    _judge(planter)


def test_what_a_tag_keeps_and_what_nobody_claims_stays(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    names = [run.name for run in planter.manager.list_runs()]
    keep = RetentionPolicy(tags=((f"run={names[0]}",),))
    planter.change_component("images", retention=ComponentRetention(days=10_000, policy=keep))
    planter.change(components={"images": planter.job.components["images"]})
    _limit(planter, _size(planter) - 2 * IMAGE)
    assert planter.manager.clean_up().success
    assert _parts(planter) == [{"images", "logs"}] + [{"logs"}] * 2 + [{"images", "logs"}] * 2


def test_all_jobs_of_this_machine_give_and_other_machines_do_not(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=2)
    planter.change(hostname="another")
    _write(planter, 7)
    planter.back_up()
    planter.change(hostname=HOST)
    (tmp_path / "second").mkdir()
    planter.more_jobs["second"] = JobSettings(
        "second", ("usb",), {"second": planter.component("second")}, hostname=HOST)
    for number in range(3):
        (tmp_path / "second" / "x").write_bytes(random.Random(100 + number).randbytes(IMAGE))
        planter.clock.advance(3600)
        assert planter.manager.back_up("second").state is RunState.COMPLETE
    others = [run.name for run in planter.manager.list_runs() if run.hostname == "another"]
    _limit(planter, _size(planter) - 2 * IMAGE - LOG)
    result = planter.manager.clean_up(JOB)
    assert result.success
    size = result.repositories["usb"].size
    assert size is not None
    assert [run.job for run in size.runs] == [JOB, "second"], "by age, though only one job is cleaned up"
    left = planter.manager.list_runs()
    assert [(run.job, run.hostname) for run in left] == [
        (JOB, HOST), (JOB, "another"), ("second", HOST), ("second", HOST)]
    assert [run.name for run in left if run.hostname == "another"] == others
    _judge(planter)


@pytest.mark.exhaustive
def test_a_dry_run_changes_nothing_and_says_what_a_cleanup_does(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    planter.change_component("logs", retention=ComponentRetention(days=25))
    _limit(planter, _size(planter) - 2 * IMAGE - 2 * LOG)
    before = _files(planter)
    dry = planter.manager.clean_up(dry_run=True)
    assert _files(planter) == before
    assert planter.history.operations(kind=OperationKind.CLEANUP) == []
    real = planter.manager.clean_up()
    assert [one.snapshot_id for one in dry.removed] == [one.snapshot_id for one in real.removed]
    planned, done = dry.repositories["usb"].size, real.repositories["usb"].size
    assert planned is not None
    assert done is not None
    assert (planned.runs, planned.bytes_expected, planned.bytes_after) == (done.runs, done.bytes_expected, None)


def test_a_limit_that_cannot_be_is_an_error_and_only_the_rules_count(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    planter.change_component("logs", retention=ComponentRetention(days=15))
    _limit(planter, IMAGE)
    work = ScheduledWork(WorkKind.CLEANUP, JOB, DailyAt(3, 0))
    outcome = ManagerRunner(planter.manager).run(work, lambda: False)
    assert outcome.state is OperationState.PARTIAL
    [error] = outcome.errors
    assert isinstance(error, MaxSizeUnreachableError)
    assert "58.594 KiB" in str(error)
    assert "larger max_size" in str(error)
    assert not outcome.may_pass
    assert _parts(planter) == [{"images"}] * 4 + [{"images", "logs"}]
    assert planter.history.operations(kind=OperationKind.CLEANUP)[0].state is OperationState.PARTIAL
    before = _files(planter)
    assert isinstance(planter.manager.clean_up().repositories["usb"].error, MaxSizeUnreachableError)
    assert _files(planter) == before
    _judge(planter)


@pytest.mark.exhaustive
def test_the_daemon_says_what_its_cleanup_gave_up(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    _limit(planter, _size(planter) - IMAGE)
    newest_gone = planter.manager.list_runs()[0].name
    _set_clock_back(planter, 9)  # the last run was a day ago
    outcome = ManagerRunner(planter.manager).run(ScheduledWork(WorkKind.CLEANUP, JOB, DailyAt(3, 0)), lambda: False)
    assert outcome.state is OperationState.COMPLETE
    [note] = outcome.notes
    assert f"1 run(s) went, the oldest, up to {newest_gone}" in str(note)
    number = planter.history.operations(kind=OperationKind.CLEANUP)[0].id
    assert any(str(note) in line.text for line in planter.history.log_lines(number))


def test_nothing_goes_while_the_clock_may_have_leapt_or_something_vanished(tmp_path: Path) -> None:
    planter = _planter(tmp_path)
    _limit(planter, _size(planter) - IMAGE)
    planter.clock.advance(365 * DAY)
    result = planter.manager.clean_up(unattended=True).repositories["usb"]
    assert isinstance(result.error, ClockLeapError)
    _set_clock_back(planter, 365)
    snapshots = sorted((planter.repository() / "snapshots").iterdir())
    kept = snapshots[0].read_bytes()
    snapshots[0].unlink()
    before = _files(planter)
    assert isinstance(planter.manager.clean_up().repositories["usb"].error, SnapshotsVanishedError)
    snapshots[0].write_bytes(kept[:-1])
    assert isinstance(planter.manager.clean_up().repositories["usb"].error, UnreadableSnapshotsError)
    snapshots[0].unlink()
    assert _files(planter) == before


class _Phases(NoProgress):
    """Keeps what was done."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def start(self, phase: str, total_items: int | None = None, total_bytes: int | None = None) -> None:
        """Keep it."""
        self.phases.append(phase)


def test_within_the_limit_nothing_is_weighed(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=2)

    def phases() -> list[str]:
        seen = _Phases()
        manager = Manager(planter.settings, clock=planter.clock, history=planter.history,
                          secrets=lambda _: PASSWORD, progress=seen, kdf=QUICK)
        assert manager.clean_up().success
        return seen.phases

    usual = phases()
    _limit(planter, _size(planter) + 10_000)
    assert phases() == usual
    _limit(planter, _size(planter) - 10_000)
    assert "find used data" in set(phases()) - set(usual)


class _Stubborn(ForwardingBackend):
    """Lets no pack be removed."""

    def remove(self, handle: Handle) -> None:
        """Refuse."""
        if handle.type is FileType.PACK:
            raise StoragePermissionError(location="x", operation="remove", name=handle, detail="forbidden")
        super().remove(handle)


def test_what_could_not_be_deleted_is_said(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=3)
    limit = _size(planter) - IMAGE
    repository = open_repository(_Stubborn(LocalBackend(planter.repository())), PASSWORD)
    job = limited_job(RunCatalogue(repository, "usb"), planter.job, HOST)
    done = Removal(repository, RepositorySettings("usb", ""), CleanUpOptions(), NoProgress()).remove_for_size(
        [], [job], limit)
    assert isinstance(done.error, MaxSizeMissedError)
    assert "the next cleanup tries again" in str(done.error)
    assert len(done.removed) == 3
    _limit(planter, limit)
    planter.manager.clean_up(accept_missing=True)
    assert _size(planter) <= limit


def test_what_one_place_gave_up_does_not_come_back_from_the_others(tmp_path: Path) -> None:
    planter = _planter(tmp_path, repositories=("usb", "nas"))
    names = [run.name for run in planter.manager.list_runs(repository="usb")]
    _limit(planter, _size(planter, "nas") - 2 * IMAGE - LOG, "nas")
    assert planter.manager.clean_up().success

    def runs(place: str) -> list[str]:
        return [run.name for run in planter.manager.list_runs(repository=place)]

    assert (runs("usb"), runs("nas")) == (names, names[2:])
    assert planter.manager.status().health is Health.WELL, "it lacks nothing that it should have"
    planter.repository("nas").rename(tmp_path / "away")
    names.append(planter.back_up().run)
    (tmp_path / "away").rename(planter.repository("nas"))
    assert "lacks 1 run(s)" in str(planter.manager.status().problems[0])
    planter.manager.catch_up(JOB, RunOptions())
    assert (runs("usb"), runs("nas")) == (names, names[2:])
    names.append(planter.back_up().run)
    assert (runs("usb"), runs("nas")) == (names, names[2:])
    assert planter.manager.status().health is Health.WELL


@pytest.mark.exhaustive
def test_status_says_when_a_repository_is_too_large_and_nobody_sees_to_it(tmp_path: Path) -> None:
    planter = _planter(tmp_path, runs=3)
    _limit(planter, _size(planter) - IMAGE)
    status = planter.manager.status()
    assert status.health is Health.ATTENTION
    [problem] = status.problems
    assert isinstance(problem, OverMaxSizeProblem)
    assert "kuramori cleanup --dry-run" in str(problem)
    assert status.repositories["usb"].max_size == planter.places["usb"].max_size
    planter.change(cleanup=DailyAt(3, 0))
    assert planter.manager.status().health is Health.ATTENTION, "it was never done"
    planter.manager.clean_up()
    assert planter.manager.status().health is Health.WELL
    _write(planter, 50)
    planter.back_up()
    status = planter.manager.status()
    [note] = status.notes
    assert (status.health, type(note)) == (Health.WELL, OverMaxSizeProblem)
    assert "the next cleanup removes" in str(note)
    planter.change(cleanup=None)
    assert planter.manager.status().health is Health.ATTENTION, "nothing starts the next cleanup"
    planter.change(cleanup=DailyAt(3, 0))
    _limit(planter, IMAGE)
    planter.manager.clean_up()
    assert planter.manager.status().health is Health.ATTENTION, "the cleanup could not help"


@pytest.mark.exhaustive
def test_another_size_for_one_time(tmp_path: Path) -> None:
    planter = _planter(tmp_path, repositories=("usb", "nas"))
    size = _size(planter)
    assert planter.manager.clean_up(max_sizes={"usb": size - IMAGE}).success
    assert [len(planter.manager.list_runs(repository=name)) for name in ("usb", "nas")] == [4, 5]
    assert planter.manager.clean_up().removed == ()
    _limit(planter, 1000)
    assert planter.manager.clean_up(max_sizes={"usb": size}).removed == (), "it goes before the settings"
    with pytest.raises(UnknownRepositoryNameError):
        planter.manager.clean_up(max_sizes={"ubs": size})


def test_a_repository_that_no_job_shares_is_judged_by_its_own_jobs(tmp_path: Path) -> None:
    """A job elsewhere gives nothing for this one."""
    planter = _planter(tmp_path, runs=3)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "x").write_text("x")
    planter.more_jobs["second"] = JobSettings(
        "second", ("cloud",), {"second": planter.component("second")}, hostname=HOST)
    planter.manager.initialise(["cloud"])
    planter.manager.back_up("second")
    _limit(planter, _size(planter) - IMAGE)
    result = planter.manager.clean_up()
    assert {one.repository for one in result.removed} == {"usb"}
    assert len(planter.manager.list_runs(repository="cloud")) == 1
