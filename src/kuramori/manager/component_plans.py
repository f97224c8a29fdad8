"""What the engine is asked for each kind of component."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from kuramori.archiving.backup import BackupOptions
from kuramori.archiving.databases import DatabaseOptions
from kuramori.archiving.parent import ParentOptions
from kuramori.errors import Interrupted, KuramoriError
from kuramori.manager.losses import loss_judge
from kuramori.manager.manifest import ManifestComponent
from kuramori.manager.naming import run_tags
from kuramori.model.databases import DatabaseRecord
from kuramori.repository.compression import Compression
from kuramori.settings.model import ComponentKind, ComponentSettings, DatabaseServer, RepositorySettings
from kuramori.sources.command import plan_command
from kuramori.sources.excludes import ExcludeOptions
from kuramori.sources.mysql import MysqlDumpOptions, plan_mysql
from kuramori.sources.postgres import PostgresDumpOptions, plan_postgres
from kuramori.sources.server_address import ServerAddress


@dataclass(frozen=True, slots=True)
class SavingContext:
    """What all components of a run have in common."""

    job: str
    run: str
    hostname: str
    repository: RepositorySettings
    accept_loss: bool
    cancelled: Callable[[], bool]
    retry_lock_seconds: float
    program: str
    time: datetime | None = None
    """What the snapshots say of when they were made; None for now."""

    def check(self) -> None:
        """Raise :class:`Interrupted` if the run is to end."""
        if self.cancelled():
            raise Interrupted


@dataclass(frozen=True, slots=True)
class LastSaving:
    """What was saved of a component before."""

    parent_id: str = ""
    """Its newest snapshot; empty if there is none."""
    good: ManifestComponent | None = None
    """The record of the last time it was saved whole."""
    good_run: str = ""
    known: tuple[DatabaseRecord, ...] = ()
    """What is recorded of the databases in the snapshot ``parent_id``."""


def _no_records() -> tuple[DatabaseRecord, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """How a component is saved."""

    options: BackupOptions
    warnings: tuple[KuramoriError, ...] = ()
    """What the user should know though all may go well."""
    finish: Callable[[], tuple[DatabaseRecord, ...]] = _no_records
    """Asked once, after the backup: what is known of its databases besides what the engine knows."""


def plan_component(component: ComponentSettings, context: SavingContext,
                   last: LastSaving) -> AbstractContextManager[ComponentPlan]:
    """Give the plan of a component for a ``with`` block, in which it is carried out.

    Raises:
        KuramoriError: the source cannot be asked what there is to save.
    """
    common = BackupOptions(
        parent=ParentOptions(snapshot=last.parent_id, force=not last.parent_id),
        tags=run_tags(context.job, component.name, context.run), hostname=context.hostname, time=context.time,
        compression=Compression(context.repository.compression), pack_size=context.repository.pack_size,
        retry_lock_seconds=context.retry_lock_seconds, program_version=context.program, cancelled=context.cancelled,
        before_snapshot=loss_judge(component, last.good, last.good_run, context.accept_loss))
    return _PLANNERS[component.kind](component, common, context, last)


def describe_sources(component: ComponentSettings) -> tuple[str, ...]:
    """Return what a component is made of, for people and for the record: never a secret."""
    if component.kind is ComponentKind.COMMAND:
        return component.command[:1]  # arguments may hold secrets
    if component.kind in (ComponentKind.POSTGRES, ComponentKind.MYSQL):
        server = component.server
        return (f"{server_address(server).shown}/{server.database}",)
    return tuple(map(str, component.sources))


def server_address(server: DatabaseServer) -> ServerAddress:
    """Return what the settings say of a server, as the engine takes it."""
    return ServerAddress(database=server.database, host=server.host, port=server.port, user=server.user,
                         password_file=server.password_file, defaults_file=server.defaults_file)


def _real_paths(sources: tuple[Path, ...]) -> tuple[bytes, ...]:
    """Return the sources that are there. One that is a link stands for what it leads to: whoever
    names it in the settings wants that, and not the link."""
    return tuple(os.fsencode(os.path.realpath(path)) for path in sources if os.path.exists(path))


@contextmanager
def _plan_files(component: ComponentSettings, common: BackupOptions, context: SavingContext,
                last: LastSaving) -> Iterator[ComponentPlan]:
    databases = DatabaseOptions(busy_timeout=component.busy_timeout, known=last.known) if component.databases else None
    yield ComponentPlan(replace(
        common, paths=_real_paths(component.sources), databases=databases, excludes=ExcludeOptions(
            patterns=tuple(map(os.fsencode, component.exclude)), caches=component.exclude_caches,
            if_present=tuple(map(os.fsencode, component.exclude_if_present)),
            larger_than=component.exclude_larger_than, one_file_system=component.one_file_system)))


@contextmanager
def _plan_sqlite(component: ComponentSettings, common: BackupOptions, context: SavingContext,
                 last: LastSaving) -> Iterator[ComponentPlan]:
    paths = _real_paths(component.sources)
    yield ComponentPlan(replace(common, paths=paths, databases=DatabaseOptions(
        busy_timeout=component.busy_timeout, required=frozenset(paths), known=last.known)))


@contextmanager
def _plan_postgres(component: ComponentSettings, common: BackupOptions, context: SavingContext,
                   last: LastSaving) -> Iterator[ComponentPlan]:
    with plan_postgres(PostgresDumpOptions(server_address(component.server), check=context.check)) as plan:
        yield ComponentPlan(replace(common, streams=plan.streams), plan.warnings, plan.finish)


@contextmanager
def _plan_mysql(component: ComponentSettings, common: BackupOptions, context: SavingContext,
                last: LastSaving) -> Iterator[ComponentPlan]:
    with plan_mysql(MysqlDumpOptions(server_address(component.server), check=context.check)) as plan:
        yield ComponentPlan(replace(common, streams=plan.streams), plan.warnings, plan.finish)


@contextmanager
def _plan_command(component: ComponentSettings, common: BackupOptions, context: SavingContext,
                  last: LastSaving) -> Iterator[ComponentPlan]:
    plan = plan_command(component.command, component.filename or component.name)
    yield ComponentPlan(replace(common, streams=plan.streams), plan.warnings, plan.finish)


_Planner = Callable[[ComponentSettings, BackupOptions, SavingContext, LastSaving],
                    AbstractContextManager[ComponentPlan]]

_PLANNERS: dict[ComponentKind, _Planner] = {
    ComponentKind.FILES: _plan_files,
    ComponentKind.SQLITE: _plan_sqlite,
    ComponentKind.POSTGRES: _plan_postgres,
    ComponentKind.MYSQL: _plan_mysql,
    ComponentKind.COMMAND: _plan_command,
}
