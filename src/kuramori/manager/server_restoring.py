"""Components that are fed back: databases on servers, and what goes to a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kuramori.browsing.walk import walk_tree
from kuramori.errors import (
    N_,
    Interrupted,
    KuramoriError,
    NoSuchDatabaseError,
    RestoreTargetError,
    UndoError,
    UsageError,
)
from kuramori.ids import parse_id
from kuramori.manager.component_plans import server_address
from kuramori.manager.swap_journal import ServedDatabase, SwappedComponent
from kuramori.model.databases import DatabaseRecord
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.restoring.database_feeding import FeedOptions, StagedDatabase
from kuramori.restoring.dump_feeding import StoredDump, feed_command
from kuramori.restoring.mysql_feeding import drop_mysql, exchange_mysql, stage_mysql
from kuramori.restoring.postgres_feeding import drop_postgres, exchange_postgres, stage_postgres
from kuramori.settings.model import ComponentKind, ComponentSettings
from kuramori.sources.server_address import ServerAddress

FED_KINDS = (ComponentKind.POSTGRES, ComponentKind.MYSQL, ComponentKind.COMMAND)
"""Kinds that have no place on the disk."""


class _Exchange(Protocol):
    def __call__(self, address: ServerAddress, database: str, kept: str, moment: datetime) -> str: ...


@dataclass(frozen=True, slots=True)
class _Server:
    """What can be done with the databases of one kind of server."""

    stage: Callable[[StoredDump, FeedOptions], AbstractContextManager[StagedDatabase]]
    exchange: _Exchange
    drop: Callable[[ServerAddress, str], None]


_SERVERS = {
    ComponentKind.POSTGRES: _Server(stage_postgres, exchange_postgres, drop_postgres),
    ComponentKind.MYSQL: _Server(stage_mysql, exchange_mysql, drop_mysql),
}
_BY_NAME = {kind.value: server for kind, server in _SERVERS.items()}


def require_way_back(kind: ComponentKind, settings: ComponentSettings | None, name: str) -> ComponentSettings:
    """Return the settings that say where a component goes.

    Raises:
        RestoreTargetError: they do not.
    """
    if settings is None or settings.kind is not kind:
        raise RestoreTargetError(path=name, detail=N_("the settings do not say where it goes; restore it to a folder "
                                                      "with --target"))
    if kind is ComponentKind.COMMAND and not settings.restore_command:
        raise RestoreTargetError(path=name, detail=N_("the settings name no restore_command for it; restore it to a "
                                                      "folder with --target"))
    return settings


def describe_target(settings: ComponentSettings, database: str) -> str:
    """Return where a component is fed to, for people."""
    if settings.kind is ComponentKind.COMMAND:
        return settings.restore_command[0]
    return f"{server_address(settings.server).shown}/{database or settings.server.database}"


def list_dumps(repository: Repository, stored: StoredSnapshot) -> list[StoredDump]:
    """Return the dumps of databases that a snapshot holds. The index must be loaded.

    Raises:
        DamagedError, StorageError, HostileNameError: its trees cannot be read.
    """
    return [StoredDump(repository, stored.id, walked.path)
            for walked in walk_tree(repository, parse_id(stored.snapshot.tree))
            if walked.node.type == "file" and walked.path.split(b"/")[2:3] == [b"databases"]]


@dataclass(frozen=True, slots=True)
class Feeding:
    """How a component is fed back."""

    settings: ComponentSettings
    database: str
    """Into this database instead of the one it came from; empty for that one."""
    disconnect: bool
    records: Sequence[DatabaseRecord]
    cancelled: Callable[[], bool]

    def check(self) -> None:
        """Raise :class:`Interrupted` if somebody asked to end."""
        if self.cancelled():
            raise Interrupted


def feed_component(feeding: Feeding, repository: Repository, stored: StoredSnapshot,
                   noted: Callable[[ServedDatabase], AbstractContextManager[None]],
                   ) -> tuple[int, tuple[KuramoriError, ...]]:
    """Feed a component back; return its bytes, and what the user should know.

    Args:
        noted: a context in which a database takes the place of another: it is written down before, or a process
            that is killed right then would leave something that no undo knows of.

    Raises:
        UsageError: one database was named, and there are several.
        KuramoriError: what could not be fed; databases that were fed before are told already.
    """
    if feeding.settings.kind is ComponentKind.COMMAND:
        return _feed_command(feeding, repository, stored), ()
    dumps = list_dumps(repository, stored)
    if feeding.database and len(dumps) != 1:
        raise UsageError(detail=N_("--database names one database, and the run holds several of this component"))
    server = _SERVERS[feeding.settings.kind]
    size = 0
    warnings: list[KuramoriError] = []
    for dump in dumps:
        path = os.fsdecode(dump.path)
        record = next((record for record in feeding.records if record.path == path), None)
        options = FeedOptions(server_address(feeding.settings.server), database=feeding.database, record=record,
                              disconnect=feeding.disconnect, check=feeding.check)
        with server.stage(dump, options) as staged:
            served = ServedDatabase(staged.database, staged.choose_kept())
            with noted(served):
                result = staged.swap(served.kept)
        size += result.size_bytes
        warnings += result.warnings
    return size, tuple(warnings)


def _feed_command(feeding: Feeding, repository: Repository, stored: StoredSnapshot) -> int:
    files = [walked.path for walked in walk_tree(repository, parse_id(stored.snapshot.tree))
             if walked.node.type == "file"]
    if len(files) != 1:
        raise RestoreTargetError(path=feeding.settings.name, detail=N_("the snapshot does not hold it"))
    return feed_command(StoredDump(repository, stored.id, files[0]), feeding.settings.restore_command, feeding.check)


def undo_served(component: SwappedComponent, settings: ComponentSettings | None, now: datetime, *,
                again: bool) -> list[str]:
    """Give databases on a server back what they had; return the names of those that keep what was restored.

    Args:
        again: it, or the restore, was broken off: what is not kept is back already, or was never replaced.

    Raises:
        UndoError: the settings do not say where the server is.
        KuramoriError: the server refused; nothing of that database has changed.
    """
    if not component.served:
        return []
    server = _BY_NAME.get(component.kind)
    if server is None or settings is None:
        raise UndoError(path=component.name, detail=N_("the settings do not say where its server is"))
    address = server_address(settings.server)
    aside = []
    for served in component.served:
        try:
            aside.append(server.exchange(address, served.database, served.kept, now))
        except NoSuchDatabaseError:
            if not again:
                raise
    return [name for name in aside if name]


def drop_served(component: SwappedComponent, settings: ComponentSettings | None) -> int:
    """Drop the databases that a restore kept on a server; return how many.

    Raises:
        UndoError, KuramoriError: as :func:`undo_served`.
    """
    kept = [served.kept for served in component.served if served.kept]
    if not kept:
        return 0
    server = _BY_NAME.get(component.kind)
    if server is None or settings is None:
        raise UndoError(path=component.name, detail=N_("the settings do not say where its server is"))
    for name in kept:
        server.drop(server_address(settings.server), name)
    return len(kept)
