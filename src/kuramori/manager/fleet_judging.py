"""How a device of a fleet stands, judged by nothing but what lies in its repository.

The device itself knows more: its history, its sources, runs that failed before they could write anything. From here
all of these are the same silence, so silence is what is judged: the last good backup of each component is too old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kuramori.errors import (
    N_,
    DeviceAheadProblem,
    DeviceDamagedProblem,
    KuramoriError,
    LastRunDeviceProblem,
    NeverSavedDeviceProblem,
    OverdueDeviceProblem,
    Phrase,
)
from kuramori.manager.fleet_model import DEFAULT_STALE_SECONDS, DeviceState, DeviceStatus, FleetPart
from kuramori.manager.manifest import Manifest
from kuramori.manager.model import Health, RunState
from kuramori.manager.naming import read_tags
from kuramori.manager.run_catalogue import RunCatalogue, RunSnapshots
from kuramori.manager.status import duration_phrase
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import parse_datetime

_INTERVALS = 2
"""So many intervals without a good run are too many, as for ``kuramori status``."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(hours=1)
"""By so much clocks may differ."""

HEALTH = {
    DeviceState.WELL: Health.WELL,
    DeviceState.PARTIAL: Health.ATTENTION, DeviceState.AHEAD: Health.ATTENTION, DeviceState.AWAY: Health.ATTENTION,
    DeviceState.OVERDUE: Health.ALARM, DeviceState.NEVER: Health.ALARM, DeviceState.LOCKED_OUT: Health.ALARM,
    DeviceState.DAMAGED: Health.ALARM, DeviceState.UNUSABLE: Health.ALARM,
}
_SEVERITY = (DeviceState.DAMAGED, DeviceState.NEVER, DeviceState.OVERDUE, DeviceState.PARTIAL, DeviceState.AHEAD)
"""The worst first, of what can be found in a repository that opens."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is too old. See :class:`~kuramori.manager.fleet_model.FleetOptions`."""

    now: datetime
    stale_seconds: float | None
    interval_of: Callable[[str], float | None]

    def allowed_seconds(self, schedule: str) -> float:
        """Return how old the last good backup of a job may be that runs by a schedule."""
        if self.stale_seconds is not None:
            return self.stale_seconds
        interval = self.interval_of(schedule) if schedule else None
        return DEFAULT_STALE_SECONDS if interval is None else _INTERVALS * interval


def judge_device(name: str, location: str, catalogue: RunCatalogue, damages: Sequence[KuramoriError], rules: Rules,
                 *, repository_id: str, stored_bytes: int) -> DeviceStatus:
    """Return how a device stands.

    Args:
        catalogue: of its repository.
        damages: what was found damaged; it may grow while manifests are read, so it is looked at last.
    """
    judge = _Judge(name, catalogue, rules)
    parts = judge.judge_all()
    found = judge.findings
    if not parts:
        found.append((DeviceState.NEVER, NeverSavedDeviceProblem(device=name, part="", why="")))
    if damages:
        found.append((DeviceState.DAMAGED, DeviceDamagedProblem(device=name, detail=damages[0])))
    found.sort(key=lambda finding: _SEVERITY.index(finding[0]))
    state = found[0][0] if found else DeviceState.WELL
    return DeviceStatus(
        name=name, location=location, health=HEALTH[state], state=state, problems=tuple(error for _, error in found),
        repository_id=repository_id, parts=tuple(parts), snapshots=len(catalogue.snapshots), stored_bytes=stored_bytes)


class _Judge:
    """The judge of one repository."""

    def __init__(self, device: str, catalogue: RunCatalogue, rules: Rules) -> None:
        self._device = device
        self._catalogue = catalogue
        self._rules = rules
        self.findings: list[tuple[DeviceState, KuramoriError]] = []
        self._jobs: dict[tuple[str, str], list[RunSnapshots]] = {}
        for run in catalogue.runs:
            self._jobs.setdefault((run.key.hostname, run.key.job), []).append(run)
        self._others = self._without_jobs()
        self._hosts = {hostname for hostname, _ in self._jobs} | self._others.keys()

    def _without_jobs(self) -> dict[str, list[StoredSnapshot]]:
        """Return the snapshots of machines of which no job made any, the oldest first. What somebody saves by hand
        besides the jobs has no schedule, and is not judged."""
        with_jobs = {hostname for hostname, _ in self._jobs}
        found: dict[str, list[StoredSnapshot]] = {}
        for stored in self._catalogue.snapshots:
            if read_tags(stored.snapshot) is None and stored.snapshot.hostname not in with_jobs:
                found.setdefault(stored.snapshot.hostname, []).append(stored)
        return found

    def judge_all(self) -> list[FleetPart]:
        """Return all parts of the device; what is wrong with them is in :attr:`findings`."""
        return [*(self._judge_job(hostname, job, runs) for (hostname, job), runs in self._jobs.items()),
                *(self._judge_snapshots(hostname, stored) for hostname, stored in self._others.items())]

    def _part_text(self, hostname: str, job: str, components: Sequence[str] = ()) -> Phrase | str:
        """Return what is meant, behind the name of the device; nothing where it is all of it."""
        names = [hostname] if len(self._hosts) > 1 else []
        names += [job] if job and len({name for _, name in self._jobs}) > 1 else []
        whole = "/".join(names)
        if components:
            whole += f"{': ' if whole else ''}{', '.join(components)}"
        return Phrase(" ({whole!s})", whole=whole) if whole else ""

    def _note(self, state: DeviceState, problem: KuramoriError) -> KuramoriError:
        self.findings.append((state, problem))
        return problem

    # --- jobs --------------------------------------------------------------------------------

    def _judge_job(self, hostname: str, job: str, runs: Sequence[RunSnapshots]) -> FleetPart:
        recorded = next((run for run in reversed(runs) if self._catalogue.manifest(run) is not None), None)
        manifest = self._catalogue.manifest(recorded) if recorded is not None else None
        good = self._good_components(hostname, job, runs, manifest)
        times = [saved.time for saved in good.values() if saved is not None]
        since = min(times) if times and len(times) == len(good) else None
        allowed = self._rules.allowed_seconds(manifest.schedule if manifest is not None else "")
        newest = recorded if recorded is not None else runs[-1]
        state = self._catalogue.describe(recorded).state if recorded is not None else None
        return FleetPart(
            hostname=hostname, job=job, runs=len(runs), last_run=newest.key.run, last_run_time=self._time_of(newest),
            last_run_state=state, last_good_time=since, age_seconds=None if since is None else self._age(since),
            allowed_seconds=allowed, size_bytes=sum(saved.size for saved in good.values() if saved is not None),
            problem=self._problem_of_job(hostname, job, good, allowed, newest, manifest, state))

    def _good_components(self, hostname: str, job: str, runs: Sequence[RunSnapshots],
                         manifest: Manifest | None) -> dict[str, _Saved | None]:
        """Return the newest good snapshot of each component that the job has now."""
        names = [name for run in runs for name in run.components] if manifest is None else \
            manifest.job_components or list(manifest.components)
        found: dict[str, _Saved | None] = {}
        for name in dict.fromkeys(names):
            good = self._catalogue.last_good(job, name, hostname)
            found[name] = None if good is None else _Saved(self._snapshot_time(good[0].components[name]),
                                                           good[1].size_bytes)
        return found

    def _problem_of_job(self, hostname: str, job: str, good: Mapping[str, _Saved | None], allowed: float,
                        newest: RunSnapshots, manifest: Manifest | None,
                        state: RunState | None) -> KuramoriError | None:
        """Note what is wrong with a job, the worst only; return it."""
        why: Phrase | str = ""
        failed = _failure(manifest) if manifest is not None and state is not RunState.COMPLETE else None
        if failed is not None:
            why = Phrase(N_("; the last run says: {detail}"), detail=failed)
        never = [name for name, saved in good.items() if saved is None]
        if never or not good:
            part = self._part_text(hostname, job, never if len(never) < len(good) else ())
            return self._note(DeviceState.NEVER, NeverSavedDeviceProblem(device=self._device, part=part, why=why))
        ages = {name: self._age(saved.time) for name, saved in good.items() if saved is not None}
        late = [name for name, age in ages.items() if age > allowed]
        if late:
            part = self._part_text(hostname, job, late if len(late) < len(good) else ())
            return self._note(DeviceState.OVERDUE, OverdueDeviceProblem(
                device=self._device, part=part, why=why, age=duration_phrase(max(ages.values()))))
        time = self._time_of(newest)
        if failed is not None:
            return self._note(DeviceState.PARTIAL, LastRunDeviceProblem(
                device=self._device, part=self._part_text(hostname, job), run=newest.key.run, since=_text(time),
                detail=failed))
        return self._judge_clock(time)

    def _judge_clock(self, newest: datetime) -> KuramoriError | None:
        if newest - self._rules.now <= _AHEAD:
            return None
        return self._note(DeviceState.AHEAD, DeviceAheadProblem(device=self._device, time=_text(newest)))

    # --- snapshots without jobs --------------------------------------------------------------

    def _judge_snapshots(self, hostname: str, snapshots: Sequence[StoredSnapshot]) -> FleetPart:
        newest = snapshots[-1]
        time, allowed = self._snapshot_time(newest), self._rules.allowed_seconds("")
        age, problem = self._age(time), None
        if age > allowed:
            problem = self._note(DeviceState.OVERDUE, OverdueDeviceProblem(
                device=self._device, part=self._part_text(hostname, ""), why="", age=duration_phrase(age)))
        summary = newest.snapshot.summary
        return FleetPart(
            hostname=hostname, job="", runs=len(snapshots), last_run=newest.short_id, last_run_time=time,
            last_good_time=time, age_seconds=age, allowed_seconds=allowed,
            size_bytes=summary.total_bytes_processed if summary else 0, problem=problem or self._judge_clock(time))

    # --- times -------------------------------------------------------------------------------

    def _snapshot_time(self, stored: StoredSnapshot) -> datetime:
        try:
            return parse_datetime(stored.snapshot.time).astimezone(self._rules.now.tzinfo)
        except OverflowError:  # the year 1, as of a clock that was never set, has no day before it
            return _LONG_AGO.astimezone(self._rules.now.tzinfo)

    def _time_of(self, run: RunSnapshots) -> datetime:
        return self._snapshot_time(min(run.snapshots(), key=lambda stored: stored.snapshot.time_nanoseconds))

    def _age(self, time: datetime) -> float:
        return max((self._rules.now - time).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class _Saved:
    """The newest good snapshot of a component."""

    time: datetime
    size: int


def _failure(manifest: Manifest) -> Phrase:
    """Return what a run failed of, as its record says it."""
    for name, component in manifest.components.items():
        if not component.success:
            return Phrase("{name!s}: {detail}", name=name, detail=next(iter(component.errors), component.message))
    return Phrase("{state!s}", state=manifest.state[:40])


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
