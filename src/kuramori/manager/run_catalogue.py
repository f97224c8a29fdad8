"""The runs of a repository, as its snapshots' tags and manifests tell them.

One that is damaged, or written by a newer version, is listed as far as it can be understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kuramori.errors import KuramoriError
from kuramori.manager.manifest import Manifest, ManifestComponent, load_manifest
from kuramori.manager.model import ComponentState, RunState, StoredComponent, StoredRun
from kuramori.manager.naming import MANIFEST_COMPONENT, read_tags
from kuramori.model.snapshot import StoredSnapshot
from kuramori.model.times import parse_datetime
from kuramori.progress import NoProgress, Progress
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """What makes a run that run: two machines may share a repository, and a name."""

    hostname: str
    job: str
    run: str


@dataclass(slots=True)
class RunSnapshots:
    """The snapshots of one run."""

    key: RunKey
    components: dict[str, StoredSnapshot] = field(default_factory=dict)
    manifest: StoredSnapshot | None = None
    superseded: list[StoredSnapshot] = field(default_factory=list)
    """More snapshots of the same component: only the newest counts."""

    @property
    def time_nanoseconds(self) -> int:
        """When it began, as far as is known: the time of its oldest snapshot."""
        return min(stored.snapshot.time_nanoseconds for stored in self.snapshots())

    def snapshots(self) -> list[StoredSnapshot]:
        """Return all of them."""
        found = [*self.components.values(), *self.superseded]
        return found if self.manifest is None else [*found, self.manifest]

    def add(self, component: str, stored: StoredSnapshot) -> None:
        """Add a snapshot; of several of a component the newest counts."""
        before = self.manifest if component == MANIFEST_COMPONENT else self.components.get(component)
        if before is not None:
            older, stored = sorted((before, stored), key=lambda one: (one.snapshot.time_nanoseconds, one.id))
            self.superseded.append(older)
        if component == MANIFEST_COMPONENT:
            self.manifest = stored
        else:
            self.components[component] = stored


def group_by_run(snapshots: Iterable[StoredSnapshot]) -> list[RunSnapshots]:
    """Return the runs that snapshots belong to, the oldest first; those that are not ours are left out."""
    runs: dict[RunKey, RunSnapshots] = {}
    for stored in snapshots:
        tags = read_tags(stored.snapshot)
        if tags is None:
            continue
        key = RunKey(stored.snapshot.hostname, tags.job, tags.run)
        runs.setdefault(key, RunSnapshots(key)).add(tags.component, stored)
    return sorted(runs.values(), key=lambda run: (run.time_nanoseconds, run.key))


class RunCatalogue:
    """The runs of one repository. Manifests are read when they are asked for, once."""

    def __init__(self, repository: Repository, name: str, progress: Progress | None = None) -> None:
        """Read all snapshots and, if it was not, the index. Damaged snapshots are told and left out.

        Args:
            name: what the settings call the repository.

        Raises:
            StorageError, DamagedError: the repository cannot be listed, or its index not be read.
        """
        self._repository = repository
        self._name = name
        self._progress = progress or NoProgress()
        self.snapshots = load_snapshots(repository, self._progress)
        if not repository.index_names:
            repository.load_index(self._progress)
        self.runs = group_by_run(self.snapshots)
        self._manifests: dict[str, Manifest | None] = {}

    def of_job(self, job: str, hostname: str = "") -> list[RunSnapshots]:
        """Return the runs of a job, the oldest first; of one machine only, if one is named."""
        return [run for run in self.runs if run.key.job == job and hostname in ("", run.key.hostname)]

    def manifest(self, run: RunSnapshots) -> Manifest | None:
        """Return the record of a run; None where there is none, or it cannot be read (which is told)."""
        if run.manifest is None:
            return None
        if run.manifest.id not in self._manifests:
            try:
                self._manifests[run.manifest.id] = load_manifest(self._repository, run.manifest, run.key.run)
            except KuramoriError as error:
                self._progress.warning(error)
                self._manifests[run.manifest.id] = None
        return self._manifests[run.manifest.id]

    def good_component(self, run: RunSnapshots, component: str) -> ManifestComponent | None:
        """Return the record of a component if it was saved whole in this run and is still there."""
        if component not in run.components:
            return None
        manifest = self.manifest(run)
        found = manifest.components.get(component) if manifest is not None else None
        return found if found is not None and found.component_state is ComponentState.COMPLETE else None

    def last_good(self, job: str, component: str,
                  hostname: str = "") -> tuple[RunSnapshots, ManifestComponent] | None:
        """Return the newest run in which a component was saved whole, and its record; None if there is none."""
        for run in reversed(self.of_job(job, hostname)):
            found = self.good_component(run, component)
            if found is not None:
                return run, found
        return None

    def describe(self, run: RunSnapshots) -> StoredRun:
        """Return a run as people want to see it."""
        manifest = self.manifest(run)
        recorded: Mapping[str, ManifestComponent] = manifest.components if manifest is not None else {}
        names = [*recorded, *(name for name in sorted(run.components) if name not in recorded)]
        return StoredRun(
            name=run.key.run, job=run.key.job, repository=self._name, hostname=run.key.hostname,
            time=_started(run, manifest), state=_state(run, manifest),
            components={name: _describe(name, recorded.get(name), run.components.get(name)) for name in names},
            manifest_id=run.manifest.id if run.manifest is not None else "")


def _started(run: RunSnapshots, manifest: Manifest | None) -> datetime:
    if manifest is not None:
        try:
            moment = datetime.fromisoformat(manifest.created_at)
            if moment.tzinfo is not None:
                return moment
        except ValueError:
            pass  # then the snapshots tell
    oldest = min(run.snapshots(), key=lambda stored: stored.snapshot.time_nanoseconds)
    return parse_datetime(oldest.snapshot.time)


def _state(run: RunSnapshots, manifest: Manifest | None) -> RunState | None:
    """Return the state that the record says, unless it claims what is not so any more."""
    if manifest is None:
        return None
    state = manifest.run_state
    if state is RunState.COMPLETE and any(
            component.component_state is not ComponentState.COMPLETE for component in manifest.components.values()):
        return RunState.PARTIAL
    return state


def _describe(name: str, recorded: ManifestComponent | None, stored: StoredSnapshot | None) -> StoredComponent:
    snapshot_id = stored.id if stored is not None else ""
    if recorded is None:
        paths = tuple(stored.snapshot.paths) if stored is not None else ()
        summary = stored.snapshot.summary if stored is not None else None
        return StoredComponent(name, None, snapshot_id, None, paths,
                               summary.total_bytes_processed if summary else 0,
                               summary.total_files_processed if summary else 0)
    return StoredComponent(
        name, recorded.component_kind, snapshot_id, recorded.component_state, tuple(recorded.source_paths),
        recorded.size_bytes, recorded.files, tuple(recorded.databases),
        "" if recorded.success else "; ".join(recorded.errors[:3]) or recorded.message)
