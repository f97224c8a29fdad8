"""``backup_info.json``: what a run saved, as its last snapshot holds it.

The names of the fields are those of the smart-planter guide, and more. Whoever reads one takes it
for what it is: a file from a repository, perhaps of another version of this program.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from kuramori.browsing.dump import file_content
from kuramori.errors import N_, ManifestError
from kuramori.ids import parse_id
from kuramori.manager.model import ComponentOutcome, ComponentState, RunState
from kuramori.model.databases import DatabaseRecord
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.settings.model import ComponentKind, JobSettings

MANIFEST_NAME = "backup_info.json"
_LARGEST_MANIFEST = 64 * 1024 * 1024
_MOST_ERRORS = 100


class ManifestComponent(msgspec.Struct, kw_only=True, omit_defaults=False):
    """One component, as the record has it."""

    success: bool
    message: str = ""
    kind: str = ""
    state: str = ""
    source_path: str = ""
    """The first of ``source_paths``."""
    source_paths: list[str] = []
    snapshot_id: str = ""
    """In the repository that was backed up to; a copy of it has another."""
    size_bytes: int = 0
    files: int = 0
    added_bytes: int = 0
    duration_seconds: float = 0.0
    errors: list[str] = []
    """In English; at most 100 of them."""
    error_count: int = 0
    databases: list[DatabaseRecord] = []

    @property
    def component_state(self) -> ComponentState | None:
        """The state; None where it is none that is known here."""
        return ComponentState(self.state) if self.state in {state.value for state in ComponentState} else None

    @property
    def component_kind(self) -> ComponentKind | None:
        """The kind; None where it is none that is known here."""
        return ComponentKind(self.kind) if self.kind in {kind.value for kind in ComponentKind} else None


class Manifest(msgspec.Struct, kw_only=True, omit_defaults=False):
    """The whole record."""

    backup_name: str
    created_at: str
    """When the run began: ISO 8601 with the offset."""
    finished_at: str = ""
    job: str = ""
    hostname: str = ""
    state: str = ""
    components: dict[str, ManifestComponent] = {}
    job_components: list[str] = []
    """The enabled components of the job, also those that this run was not asked for."""
    schedule: str = ""
    """When the job runs by itself, as the settings may say it; empty where it does not."""
    total_size_bytes: int = 0
    backup_type: str = "full"
    program: str = ""
    format_version: int = 1

    @property
    def run_state(self) -> RunState | None:
        """The state of the run; None where it is none that is known here."""
        return RunState(self.state) if self.state in {state.value for state in RunState} else None


_DECODER = msgspec.json.Decoder(Manifest)


def describe_run(run: str, job: JobSettings, hostname: str, started: datetime, ended: datetime,
                 components: Mapping[str, ComponentOutcome], program: str) -> Manifest:
    """Return the record of a run whose components are done."""
    described = {name: _describe(outcome) for name, outcome in components.items()}
    return Manifest(
        backup_name=run, created_at=started.isoformat(), finished_at=ended.isoformat(), job=job.name,
        hostname=hostname, state=state_of(components).value, components=described, program=program,
        job_components=[component.name for component in job.components.values() if component.enabled],
        schedule="" if job.schedule is None else str(job.schedule),
        total_size_bytes=sum(outcome.size_bytes for outcome in components.values()))


def state_of(components: Mapping[str, ComponentOutcome]) -> RunState:
    """Return what the states of the components make of a run."""
    states = {outcome.state for outcome in components.values()}
    if states == {ComponentState.COMPLETE}:
        return RunState.COMPLETE
    return RunState.PARTIAL if states - {ComponentState.FAILED} else RunState.FAILED


def _describe(outcome: ComponentOutcome) -> ManifestComponent:
    saved = outcome.state is ComponentState.COMPLETE
    errors = [error.text() for error in outcome.errors]
    return ManifestComponent(
        success=saved, message="saved" if saved else "; ".join(errors[:3]) or "not saved", kind=outcome.kind.value,
        state=outcome.state.value, source_path=next(iter(outcome.sources), ""), source_paths=list(outcome.sources),
        snapshot_id=outcome.snapshot_id, size_bytes=outcome.size_bytes, files=outcome.files,
        added_bytes=outcome.added_bytes, duration_seconds=round(outcome.seconds, 3),
        errors=errors[:_MOST_ERRORS], error_count=len(errors), databases=list(outcome.databases))


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the record as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode_manifest(document: bytes, run: str) -> Manifest:
    """Return the record that a document is.

    Raises:
        ManifestError: it is none.
    """
    try:
        return _DECODER.decode(document)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ManifestError(run=run, detail=str(error)) from None


def load_manifest(repository: Repository, stored: StoredSnapshot, run: str) -> Manifest:
    """Return the record that a manifest snapshot holds. The index must be loaded.

    Raises:
        ManifestError: it is not what it should be.
        DamagedError, StorageError: it cannot be read.
    """
    tree = repository.load_tree(parse_id(stored.snapshot.tree))
    for node in tree.nodes:
        if node.name != MANIFEST_NAME or node.type != "file":
            continue
        if node.size > _LARGEST_MANIFEST:
            raise ManifestError(run=run, detail=N_("it is too large"))
        content, size = [], 0
        for part in file_content(repository, node, MANIFEST_NAME.encode()):
            size += len(part)
            if size > _LARGEST_MANIFEST:
                raise ManifestError(run=run, detail=N_("it is too large"))
            content.append(part)
        return decode_manifest(b"".join(content), run)
    raise ManifestError(run=run, detail=N_("it holds no backup_info.json"))
