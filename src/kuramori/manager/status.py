"""Whether all is well: what every repository holds, what the history knows, what is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kuramori.errors import (
    N_,
    DamagedPacksProblem,
    Interrupted,
    KuramoriError,
    LastRunProblem,
    NeverSavedProblem,
    OverdueProblem,
    Phrase,
    SnapshotsVanishedError,
    StaleCopyProblem,
    UnfinishedProblem,
    UnfinishedRestoreProblem,
    UnreachableProblem,
    VanishedProblem,
)
from kuramori.history.history import History
from kuramori.history.records import OperationKind, OperationRecord, OperationState
from kuramori.ledger.pack_ledger import Coverage
from kuramori.manager.model import ComponentStatus, Health, RepositoryStatus, Status, Timetable
from kuramori.manager.places import Places
from kuramori.manager.run_catalogue import RunCatalogue
from kuramori.manager.swap_journal import DONE, RestoreJournal
from kuramori.model.times import parse_datetime
from kuramori.progress import Progress
from kuramori.repository.ledger_comparison import refuse_vanished
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots
from kuramori.settings.model import JobSettings, Settings
from kuramori.storage.backend import FileType

_OVERDUE = 2
"""So many intervals without a good run are too many."""
_CHECKED_DAYS = 30
_REMEMBERED = 200
_ORDER = (Health.ALARM, Health.ATTENTION, Health.WELL)


@dataclass(slots=True)
class _Place:
    """What was found in one repository."""

    status: RepositoryStatus
    runs: dict[str, list[str]] = field(default_factory=dict)
    """By job: the names of its runs that have a record, the oldest first."""
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

    def make(self) -> Status:
        """Look.

        Raises:
            Interrupted: somebody asked to end.
        """
        found = {name: self._look(name) for name in self._settings.repositories}
        rows: list[ComponentStatus] = []
        for job in self._settings.jobs.values():
            table = self._timetable(job)
            for component in job.components.values():
                if component.enabled:
                    rows += self._judge(job, component.name, table, found)
            self._judge_last_run(job)
            self._judge_copies(job, found)
        self._judge_history()
        problems = sorted(self._problems, key=lambda one: _ORDER.index(one[0]))
        return Status(
            health=problems[0][0] if problems else Health.WELL, time=self._now,
            problems=tuple(error for _, error in problems), components=tuple(rows),
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
            # One that is only away may be a disk in a drawer; what is overdue for it says so itself.
            self._note(Health.ATTENTION if error.retryable else Health.ALARM,
                       UnreachableProblem(name=name, detail=error))
            return _Place(RepositoryStatus(name, location, False, error=error))

    def _read(self, name: str, location: str, repository: Repository) -> _Place:
        catalogue = RunCatalogue(repository, name, self._progress)
        try:
            refuse_vanished(repository, list_snapshots(repository))
        except SnapshotsVanishedError as error:
            self._note(Health.ALARM, VanishedProblem(name=name, detail=Phrase(
                N_("{count} of {known} snapshot(s) known here are gone and nobody here removed them: {names}"),
                **error.fields)))
        newest = catalogue.runs[-1] if catalogue.runs else None
        coverage = repository.pack_ledger.coverage(_CHECKED_DAYS) if repository.pack_ledger is not None else Coverage()
        if coverage.damaged:
            self._note(Health.ALARM, DamagedPacksProblem(name=name, count=len(coverage.damaged)))
        place = _Place(RepositoryStatus(
            name, location, True, runs=len(catalogue.runs), last_run=newest.key.run if newest else "",
            last_run_time=catalogue.describe(newest).time if newest else None,
            stored_bytes=sum(info.size for info in repository.backend.list(FileType.PACK)),
            verified_percent=coverage.percent if coverage.packs else None))
        for job in self._settings.jobs.values():
            if name in job.repositories:
                self._read_job(place, catalogue, job)
        return place

    def _read_job(self, place: _Place, catalogue: RunCatalogue, job: JobSettings) -> None:
        hostname = self._hostname_of(job)
        runs = catalogue.of_job(job.name, hostname)
        place.runs[job.name] = [run.key.run for run in runs if run.manifest is not None]
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

    def _judge(self, job: JobSettings, component: str, table: Timetable,
               found: dict[str, _Place]) -> list[ComponentStatus]:
        """Return how one component stands in each repository of its job; note what is wrong with it."""
        rows = [found[name].components.get((job.name, component)) or self._remembered(job.name, component, name)
                for name in job.repositories if name in found]
        newest = max((row for row in rows if row.last_good_time is not None),
                     key=lambda row: row.last_good_time or self._now, default=None)
        problem: KuramoriError | None = None
        if newest is None or newest.last_good_time is None:
            problem = NeverSavedProblem(component=component, job=job.name)
        elif table.interval_seconds is not None and \
                self._now - newest.last_good_time > timedelta(seconds=_OVERDUE * table.interval_seconds):
            problem = OverdueProblem(
                component=component, job=job.name, since=_text(newest.last_good_time),
                age=duration_phrase((self._now - newest.last_good_time).total_seconds()),
                every=duration_phrase(table.interval_seconds))
        if problem is not None:
            self._note(Health.ALARM, problem)
        return [replace(row, next_run=table.next_run, problem=problem) for row in rows]

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

    def _judge_last_run(self, job: JobSettings) -> None:
        ended = [record for record in self._history.operations(job.name, OperationKind.BACKUP, limit=_REMEMBERED)
                 if record.state not in (OperationState.RUNNING, OperationState.INTERRUPTED,
                                         OperationState.UNFINISHED)]
        if ended and ended[0].state is not OperationState.COMPLETE:
            last = ended[0]
            detail = Phrase("{text}", text=last.errors[0].message) if last.errors else N_("see the history")
            self._note(Health.ATTENTION, LastRunProblem(
                job=job.name, run=last.run, since=_text(last.started.astimezone(self._now.tzinfo)), detail=detail))

    def _judge_copies(self, job: JobSettings, found: dict[str, _Place]) -> None:
        first = found[job.repositories[0]]
        if not first.status.reachable:
            return
        for name in job.repositories[1:]:
            place = found[name]
            if not place.status.reachable:
                continue
            has = place.runs.get(job.name, [])
            lacking = [run for run in first.runs.get(job.name, []) if run not in has]
            if lacking:
                self._note(Health.ATTENTION, StaleCopyProblem(
                    name=name, job=job.name, count=len(lacking), since=has[-1] if has else "-"))

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


def _made_good(broken: OperationRecord, newer: Sequence[OperationRecord]) -> bool:
    """Tell whether what was broken off was done since."""
    return any((record.kind, record.job, record.state) == (broken.kind, broken.job, OperationState.COMPLETE)
               for record in newer)


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
