"""Whether all is well: what every repository holds, what the history knows, what is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kuramori.errors import (
    N_,
    DetachedNote,
    FailingRunsProblem,
    Interrupted,
    KuramoriError,
    LastRunProblem,
    NeverSavedProblem,
    NotInitialisedError,
    OutOfDateProblem,
    OverdueProblem,
    OverMaxSizeProblem,
    Phrase,
    RepositoryAwayError,
    SnapshotsVanishedError,
    StaleCopyProblem,
    UnclaimedSnapshotsNote,
    UnfinishedProblem,
    UnfinishedRestoreProblem,
    UnreachableProblem,
    UnusableProblem,
    VanishedProblem,
)
from kuramori.history.history import History
from kuramori.history.records import CopyRecord, OperationKind, OperationRecord, OperationState
from kuramori.history.rows import to_nanoseconds
from kuramori.ledger.pack_ledger import Coverage
from kuramori.manager.check_judging import GRACE_DAYS, judge_coverage, judge_last_check, note_budget
from kuramori.manager.model import ComponentStatus, Health, RepositoryStatus, Status, Timetable
from kuramori.manager.places import Places
from kuramori.manager.run_catalogue import RunCatalogue, RunSnapshots
from kuramori.manager.size_retention import is_wanted, limited_job, oldest_wanted
from kuramori.manager.swap_journal import DONE, RestoreJournal
from kuramori.model.times import parse_datetime
from kuramori.progress import Progress
from kuramori.repository.ledger_comparison import refuse_vanished
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.settings.model import JobSettings, Settings
from kuramori.settings.quantities import size_text
from kuramori.storage.backend import FileType

_OVERDUE = 2
"""So many intervals without a good run are too many."""
_REMEMBERED = 200
_ENDED = (OperationState.COMPLETE, OperationState.PARTIAL, OperationState.FAILED)
_ORDER = (Health.ALARM, Health.ATTENTION, Health.WELL)


@dataclass(slots=True)
class _Place:
    """What was found in one repository."""

    status: RepositoryStatus
    runs: dict[str, list[RunSnapshots]] = field(default_factory=dict)
    """By job: its runs that have a record, the oldest first."""
    oldest_wanted: dict[str, RunSnapshots] = field(default_factory=dict)
    """By job, where the size is limited: older runs were given up."""
    components: dict[tuple[str, str], ComponentStatus] = field(default_factory=dict)
    """By job and component."""


class StatusReport:
    """One look at everything. Nothing is written."""

    def __init__(self, settings: Settings, places: Places, history: History, restores: Sequence[RestoreJournal],
                 now: datetime, hostname_of: Callable[[JobSettings], str],
                 timetable: Callable[[JobSettings], Timetable], progress: Progress) -> None:
        """Nothing is opened yet.

        Args:
            restores: those that can be undone.
            now: aware, in the zone that texts are to be in.
        """
        self._settings = settings
        self._places = places
        self._history = history
        self._restores = restores
        self._now = now
        self._hostname_of = hostname_of
        self._timetable = timetable
        self._progress = progress
        self._problems: list[tuple[Health, KuramoriError]] = []
        self._notes: list[KuramoriError] = []

    def make(self) -> Status:
        """Look.

        Raises:
            Interrupted: somebody asked to end.
        """
        found = {name: self._look(name) for name in self._settings.repositories}
        rows: list[ComponentStatus] = []
        for job in self._settings.jobs.values():
            rows += self._judge_components(job, found)
            self._judge_last_run(job)
            self._judge_copies(job, found)
        self._judge_history()
        problems = sorted(self._problems, key=lambda one: _ORDER.index(one[0]))
        return Status(
            health=problems[0][0] if problems else Health.WELL, time=self._now,
            problems=tuple(error for _, error in problems), notes=tuple(self._notes), components=tuple(rows),
            repositories={name: place.status for name, place in found.items()})

    def _note(self, health: Health, problem: KuramoriError) -> None:
        self._problems.append((health, problem))

    # --- repositories ------------------------------------------------------------------------

    def _look(self, name: str) -> _Place:
        location = self._places.location_of(name)
        try:
            with self._places.open(name) as repository:
                return self._read(name, location, repository)
        except Interrupted:
            raise
        except KuramoriError as error:
            if isinstance(error, RepositoryAwayError) and self._places.settings_of(name).run_when_attached:
                good = self._last_good(name)
                self._notes.append(DetachedNote(name=name, since=good or Phrase(N_("none"))))
                return _Place(RepositoryStatus(name, location, False, error=error))
            # One that is only away may be a disk in a drawer; what is overdue for it says so itself.
            self._note(Health.ATTENTION if error.retryable else Health.ALARM, self._describe_absence(name, error))
            return _Place(RepositoryStatus(name, location, False, error=error))

    def _describe_absence(self, name: str, error: KuramoriError) -> KuramoriError:
        if isinstance(error, NotInitialisedError):
            return error
        remedy = Phrase(error.advice, **error.fields) if error.advice else ""
        good = self._last_good(name)
        if not good:
            return UnusableProblem(name=name, detail=error, remedy=remedy)
        return UnreachableProblem(name=name, detail=error, remedy=remedy, since=good)

    def _last_good(self, name: str) -> str:
        """Return when something in a repository was last complete, as the history knows; empty for never."""
        good = [totals.last_good for totals in self._history.component_totals()
                if totals.repository == name and totals.last_good is not None]
        return _text(max(good).astimezone(self._now.tzinfo)) if good else ""

    def _read(self, name: str, location: str, repository: Repository) -> _Place:
        catalogue = RunCatalogue(repository, name, self._progress)
        try:
            refuse_vanished(repository, list_snapshots(repository))
        except SnapshotsVanishedError as error:
            self._note(Health.ALARM, VanishedProblem(name=name, detail=Phrase(
                N_("{count} of {known} snapshot(s) known here are gone and nobody here removed them: {names}"),
                **error.fields)))
        newest = catalogue.runs[-1] if catalogue.runs else None
        coverage = self._judge_checks(name, repository)
        place = _Place(RepositoryStatus(
            name, location, True, runs=len(catalogue.runs), last_run=newest.key.run if newest else "",
            last_run_time=catalogue.describe(newest).time if newest else None,
            stored_bytes=sum(info.size for info in repository.backend.list(FileType.PACK)),
            max_size=self._places.settings_of(name).max_size,
            verified_percent=coverage.percent if coverage.packs else None,
            check_days=self._places.settings_of(name).check_days))
        self._judge_size(place, newest)
        for job in self._settings.jobs.values():
            if name in job.repositories:
                self._read_job(place, catalogue, job)
        return place

    def _judge_checks(self, name: str, repository: Repository) -> Coverage:
        """Say what is wrong with what was read back of a repository; return how much that was."""
        settings, ledger = self._places.settings_of(name), repository.pack_ledger
        coverage = ledger.coverage(settings.check_days) if ledger is not None else Coverage()
        late = ledger.coverage(settings.check_days + GRACE_DAYS) if ledger is not None else Coverage()
        for health, problem in judge_coverage(settings, coverage, late):
            self._note(health, problem)
        note = note_budget(settings, coverage)
        if note is not None:
            self._notes.append(note)
        failed = judge_last_check(settings, self._history, bool(coverage.damaged), self._now.tzinfo)
        if failed is not None:
            self._note(*failed)
        return coverage

    def _judge_size(self, place: _Place, newest: RunSnapshots | None) -> None:
        """Say if a repository is larger than it may be. One that has grown over it with the last runs, and that a
        cleanup is going to see to which ended well the last time, is no reason to worry anybody."""
        name, size = place.status.name, place.status.stored_bytes or 0
        limit = place.status.max_size
        if limit is None or size <= limit:
            return
        last = self._last_scheduled_cleanup(name)
        grown = last is not None and last.state is OperationState.COMPLETE and newest is not None and \
            to_nanoseconds(last.started) < newest.time_nanoseconds
        remedy = N_("the next cleanup removes the oldest runs for that") if grown else \
            N_("kuramori cleanup removes the oldest runs for that (kuramori cleanup --dry-run shows which); or give it "
               "a larger max_size")
        problem = OverMaxSizeProblem(name=name, found=size_text(size), over=size_text(size - limit),
                                     remedy=Phrase(remedy))
        if grown:
            self._notes.append(problem)
        else:
            self._note(Health.ATTENTION, problem)

    def _last_scheduled_cleanup(self, name: str) -> OperationRecord | None:
        """Return the last cleanup that concerned a repository and came to an end; None if there was none, or if nothing
        starts the next one."""
        jobs = {job.name for job in self._settings.jobs.values() if name in job.repositories}
        if not any(self._settings.jobs[job].cleanup is not None for job in jobs):
            return None
        ended = (record for record in self._history.operations(kind=OperationKind.CLEANUP, limit=_REMEMBERED)
                 if record.job in ("", *jobs) and record.state in _ENDED)
        return next(ended, None)

    def _read_job(self, place: _Place, catalogue: RunCatalogue, job: JobSettings) -> None:
        hostname = self._hostname_of(job)
        runs = catalogue.of_job(job.name, hostname)
        place.runs[job.name] = [run for run in runs if run.manifest is not None]
        if place.status.max_size is not None:
            oldest = oldest_wanted(limited_job(catalogue, job, hostname))
            if oldest is not None:
                place.oldest_wanted[job.name] = oldest
        unclaimed = [component for run in runs for component in run.components if component not in job.components]
        if unclaimed:
            self._notes.append(UnclaimedSnapshotsNote(name=place.status.name, job=job.name, count=len(unclaimed),
                                                      component=", ".join(sorted(set(unclaimed)))))
        for component in job.components:
            status = ComponentStatus(job.name, component, place.status.name,
                                     snapshots=sum(component in run.components for run in runs))
            good = catalogue.last_good(job.name, component, hostname)
            if good is not None:
                run, record = good
                time = parse_datetime(run.components[component].snapshot.time).astimezone(self._now.tzinfo)
                status = replace(status, last_good_run=run.key.run, last_good_time=time, size_bytes=record.size_bytes,
                                 age_seconds=(self._now - time).total_seconds())
            place.components[job.name, component] = status

    # --- judging -----------------------------------------------------------------------------

    def _judge_components(self, job: JobSettings, found: dict[str, _Place]) -> list[ComponentStatus]:
        """Return how each component stands in each repository of its job. What is wrong with several
        in the same way is noted once."""
        table = self._timetable(job)
        failing = self._failing_runs(job)
        rows: list[ComponentStatus] = []
        wrong: dict[str, list[str]] = {}
        """By the last good run: the components that it was the last for."""
        times: dict[str, datetime | None] = {}
        for component in job.components.values():
            if not component.enabled:
                continue
            known = [found[name].components.get((job.name, component.name))
                     or self._remembered(job.name, component.name, name) for name in job.repositories if name in found]
            good = [(row.last_good_time, row.last_good_run) for row in known if row.last_good_time is not None]
            newest, run = max(good, default=(None, ""))
            problem = None
            if self._is_late(newest, table):
                problem = self._describe_lateness(job, [component.name], newest, table, failing)
                wrong.setdefault(run, []).append(component.name)
                times.setdefault(run, newest)
            rows += [replace(row, next_run=table.next_run, problem=problem) for row in known]
        for run, names in wrong.items():
            self._note(Health.ALARM, self._describe_lateness(job, names, times[run], table, failing))
        return rows

    def _is_late(self, newest: datetime | None, table: Timetable) -> bool:
        """Tell whether the newest good snapshot of a component is too old, or missing."""
        if newest is None:
            return True
        return table.interval_seconds is not None and \
            self._now - newest > timedelta(seconds=_OVERDUE * table.interval_seconds)

    def _describe_lateness(self, job: JobSettings, components: Sequence[str], newest: datetime | None,
                           table: Timetable, failing: Sequence[OperationRecord]) -> KuramoriError:
        names = ", ".join(components)
        why = Phrase(N_("; the last run failed: {detail}"), detail=_cause(failing[0])) if failing else ""
        remedy = _remedy(failing[0]) if failing else ""
        if newest is None:
            return NeverSavedProblem(component=names, job=job.name, why=why, remedy=remedy)
        return OverdueProblem(
            component=names, job=job.name, since=_text(newest), why=why, remedy=remedy,
            age=duration_phrase((self._now - newest).total_seconds()),
            every=duration_phrase(table.interval_seconds or 0))

    def _remembered(self, job: str, component: str, repository: str) -> ComponentStatus:
        """Return what the history knows, where the repository cannot be asked."""
        status = ComponentStatus(job, component, repository)
        for totals in self._history.component_totals():
            known = (totals.job, totals.component, totals.repository) == (job, component, repository)
            if known and totals.last_good is not None:
                time = totals.last_good.astimezone(self._now.tzinfo)
                return replace(status, last_good_run=totals.last_good_run, last_good_time=time,
                               size_bytes=totals.size_bytes, age_seconds=(self._now - time).total_seconds())
        return status

    def _failing_runs(self, job: JobSettings) -> list[OperationRecord]:
        """Return the last runs that did not save everything, the newest first. Those before a complete one do not
        count; but a complete one that was only of some components makes nothing good of the others."""
        ended = [record for record in self._history.operations(job.name, OperationKind.BACKUP, limit=_REMEMBERED)
                 if record.state not in (OperationState.RUNNING, OperationState.INTERRUPTED,
                                         OperationState.UNFINISHED)]
        enabled = {name for name, component in job.components.items() if component.enabled}
        failing: list[OperationRecord] = []
        saved: set[str] = set()
        for record in ended:
            whole = {entry.component for entry in record.components if entry.state is OperationState.COMPLETE}
            if record.state is OperationState.COMPLETE:
                saved |= whole
                if enabled <= saved:
                    break
            else:
                missing = {entry.component for entry in record.components} - whole or enabled
                failing += [record] if missing & enabled - saved else []
        return failing

    def _judge_last_run(self, job: JobSettings) -> None:
        failing = self._failing_runs(job)
        if not failing:
            return
        kind = LastRunProblem if len(failing) == 1 else FailingRunsProblem
        self._note(Health.ATTENTION, kind(
            job=job.name, run=failing[0].run, count=len(failing), detail=_cause(failing[0]),
            remedy=_remedy(failing[0]), since=_text(failing[-1].started.astimezone(self._now.tzinfo))))

    def _judge_copies(self, job: JobSettings, found: dict[str, _Place]) -> None:
        """Say which repositories lack runs: by what they hold, or by what the history knows of them."""
        records = {record.repository: record for record in self._history.copy_records(job.name)}
        first = found[job.repositories[0]]
        for name in job.repositories:
            place, record = found[name], records.get(name)
            lacking = len(_lacking_runs(job.name, first, place))
            if record is not None and record.stale_since is not None:
                lacking = record.lacking
                self._judge_record(job, place, record, record.stale_since)
            if lacking and place.status.reachable and (first.status.reachable or name == first.status.name):
                good = [row.last_good_time for (owner, _), row in place.components.items()
                        if owner == job.name and row.last_good_time is not None]
                self._note(Health.ATTENTION, StaleCopyProblem(
                    name=name, job=job.name, count=lacking, since=_text(max(good)) if good else Phrase(N_("none"))))

    def _judge_record(self, job: JobSettings, place: _Place, record: CopyRecord, since: datetime) -> None:
        since = since.astimezone(self._now.tzinfo)
        age = max(0.0, (self._now - since).total_seconds())
        before = place.status.stale_since
        place.status = replace(place.status, lacking_runs=place.status.lacking_runs + record.lacking,
                               stale_since=since if before is None else min(since, before))
        settings = self._places.settings_of(record.repository)
        too_long = settings.stale_after is not None and age > settings.stale_after
        if not place.status.reachable and (too_long or not settings.run_when_attached):
            self._note(Health.ALARM if too_long else Health.ATTENTION, OutOfDateProblem(
                name=record.repository, job=job.name, count=record.lacking, since=_text(since),
                age=duration_phrase(age)))

    def _judge_history(self) -> None:
        for journal in self._restores:
            if journal.state != DONE:
                self._note(Health.ALARM, UnfinishedRestoreProblem(id=journal.restore_id, run=journal.run))
        operations = self._history.operations(limit=_REMEMBERED, hidden=OperationKind.DAEMON)
        broken = [record for position, record in enumerate(operations)
                  if record.state is OperationState.UNFINISHED and not _made_good(record, operations[:position])]
        if broken:
            since = _text(broken[0].started.astimezone(self._now.tzinfo))
            self._note(Health.ATTENTION, UnfinishedProblem(count=len(broken), since=since))


def _lacking_runs(job: str, first: _Place, place: _Place) -> list[RunSnapshots]:
    """Return the runs of a job that the first repository has and another one should have and has not."""
    has = {run.key for run in place.runs.get(job, [])}
    oldest = place.oldest_wanted.get(job)
    return [run for run in first.runs.get(job, []) if run.key not in has and (oldest is None or is_wanted(run, oldest))]


def _made_good(broken: OperationRecord, newer: Sequence[OperationRecord]) -> bool:
    """Tell whether what was broken off was done since."""
    checked = broken.repository if broken.kind is OperationKind.CHECK else ""
    return any((record.kind, record.job, record.state) == (broken.kind, broken.job, OperationState.COMPLETE)
               and checked in ("", record.repository) for record in newer)


def _cause(record: OperationRecord) -> Phrase | str:
    """Return what an operation failed of, as it was noted."""
    return record.errors[0].message if record.errors else N_("see the history")


def _remedy(record: OperationRecord) -> Phrase | str:
    """Return what somebody can do about it, to be followed by something else; empty if nothing is known."""
    advice = record.errors[0].advice if record.errors else None
    return Phrase("{advice}; ", advice=advice) if advice is not None else ""


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


def duration_phrase(seconds: float) -> Phrase:
    """Return a duration as people say it: days and hours, hours and minutes, or minutes."""
    minutes = int(max(seconds, 0)) // 60
    hours, days = minutes // 60, minutes // 1440
    if days:
        return Phrase(N_("{days} d {hours} h"), days=days, hours=hours % 24)
    if hours:
        return Phrase(N_("{hours} h {minutes} min"), hours=hours, minutes=minutes % 60)
    return Phrase(N_("{minutes} min"), minutes=minutes)
