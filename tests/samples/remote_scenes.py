"""Commands on a small repository that lies elsewhere, and what must be true after each of them was disturbed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.browsing.walk import walk_tree
from kuramori.clock import Clock
from kuramori.errors import KuramoriError, RepositoryExistsError
from kuramori.ids import parse_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.copy import copy_snapshots
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.prune_plan import PrunePolicy, UnusedLimit
from kuramori.model.retention import RetentionPolicy
from kuramori.repository.snapshots import load_snapshots
from kuramori.restoring.jobs import RestoreOptions
from kuramori.restoring.restore import restore
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from samples.broken_runs import Files, Scene, create, files_of, judge_repository, reopen

_PRUNE = PrunePolicy(max_unused=UnusedLimit(size=0), pack_size=64 * 1024)
Errors = list[KuramoriError]


def empty_repository() -> tuple[Files, Clock]:
    """Return a new repository whose key costs next to nothing, and a clock for whoever plants it."""
    memory, clock = MemoryBackend(), FakeClock()
    create(memory, clock)
    return memory.snapshot(), clock


class RemoteScenes:
    """A history of three snapshots in memory, made once, and commands on copies of it."""

    def __init__(self, folder: Path) -> None:
        """Make the history of a source below ``folder``."""
        self._folder = folder
        self.source = folder / "source"
        self._numbers = iter(range(1_000_000))
        self._contents: dict[str, Contents] = {}
        memory, clock = MemoryBackend(), FakeClock()
        create(memory, clock)
        for day in (1, 2, 3):
            self._change(day)
            clock.advance(3600)
            made = back_up(reopen(memory, clock), self._backup_options())
            assert made.snapshot_id is not None
            self._contents[made.snapshot_id] = folder_contents(self.source)
        self._three = memory.snapshot()
        self._change(4)
        self._newest = folder_contents(self.source)

    def _change(self, day: int) -> None:
        chance = random.Random(day)
        (self.source / f"folder {day}").mkdir(parents=True)
        for number in range(3):
            (self.source / f"folder {day}" / f"{number}.jpg").write_bytes(chance.randbytes(20_000 + 1000 * number))
        (self.source / "log").write_bytes(b"all is well\n" * 500 * day)
        if day > 1:
            (self.source / f"folder {day - 1}" / "0.jpg").unlink()

    def _backup_options(self) -> BackupOptions:
        return BackupOptions(paths=(os.fsencode(self.source),))

    def _judge(self, files: Files, clock: Clock) -> None:
        """All snapshots of the history are there and whole, and so is what else there is."""
        self._judge_kept(files, clock, set(self._contents))

    def _judge_kept(self, files: Files, clock: Clock, kept: set[str]) -> None:
        judge_repository(files, clock)
        repository = reopen(MemoryBackend(files), clock)
        repository.load_index()
        stored = load_snapshots(repository)
        assert kept <= {snapshot.id for snapshot in stored}
        for snapshot in stored:
            found = snapshot_contents(repository, snapshot.snapshot.tree, self.source)
            assert found == self._contents.get(snapshot.id, self._newest)

    # --- the commands -----------------------------------------------------------------------------

    def init(self) -> Scene:
        """A repository is made. One that was begun is taken up again, with the same master key."""
        def act(backend: Backend, clock: Clock) -> Errors:
            create(backend, clock)
            return []

        def judge(files: Files, clock: Clock) -> None:
            if CONFIG_HANDLE in files:
                judge_repository(files, clock)
            assert {handle.type for handle in files} <= {FileType.CONFIG, FileType.KEY}

        def again(backend: Backend, clock: Clock) -> None:
            with suppress(RepositoryExistsError):
                create(backend, clock)
            judge_repository(files_of(backend), clock)

        return Scene({}, act, judge, again)

    def backup(self) -> Scene:
        """A backup of what has changed since the last one."""
        def act(backend: Backend, clock: Clock) -> Errors:
            result = back_up(reopen(backend, clock), self._backup_options())
            assert result.snapshot_id is not None
            return list(result.errors)

        def again(backend: Backend, clock: Clock) -> None:
            assert not act(backend, clock)
            files = files_of(backend)
            assert not [handle for handle in files if handle.type is FileType.LOCK]
            self._judge(files, clock)

        return Scene(self._three, act, self._judge, again)

    def read(self) -> Scene:
        """Snapshots are listed, the oldest is walked, and the newest is restored."""
        def act(backend: Backend, clock: Clock) -> Errors:
            repository = reopen(backend, clock)
            stored = load_snapshots(repository)
            assert {snapshot.id for snapshot in stored} == set(self._contents)
            repository.load_index()
            oldest, *_, newest = sorted(stored, key=lambda snapshot: snapshot.snapshot.time)
            paths = {walked.path for walked in walk_tree(repository, parse_id(oldest.snapshot.tree))}
            assert os.fsencode(self.source / "log") in paths
            target = self._folder / f"restored {next(self._numbers)}"
            result = restore(repository, newest.id, RestoreOptions(target=os.fsencode(target)))
            if not result.errors:
                assert folder_contents(target / self.source.relative_to("/")) == self._contents[newest.id]
            return list(result.errors)

        def again(backend: Backend, clock: Clock) -> None:
            assert not act(backend, clock)

        return Scene(self._three, act, self._judge, again)

    def check(self) -> Scene:
        """Every byte is read."""
        def act(backend: Backend, clock: Clock) -> Errors:
            return check(reopen(backend, clock), CheckOptions(read_data=True)).errors

        def again(backend: Backend, clock: Clock) -> None:
            assert not act(backend, clock)
            assert not [*backend.list(FileType.LOCK)]

        return Scene(self._three, act, self._judge, again)

    def forget_and_prune(self) -> Scene:
        """Two of three snapshots go, and everything that only they used."""
        last = list(self._contents)[-1]

        def act(backend: Backend, clock: Clock) -> Errors:
            result = forget(reopen(backend, clock), ForgetOptions(
                policy=RetentionPolicy(last=1), prune=True, prune_policy=_PRUNE))
            return [*result.errors, *result.not_found, *(result.prune.errors if result.prune is not None else [])]

        def judge(files: Files, clock: Clock) -> None:
            self._judge_kept(files, clock, {last})

        def again(backend: Backend, clock: Clock) -> None:
            assert not act(backend, clock)
            # A run that was broken off may have forgotten all, so that nothing was left to forget, and nothing pruned.
            assert not prune(reopen(backend, clock), PruneOptions(policy=_PRUNE)).errors
            files = files_of(backend)
            judge(files, clock)
            assert [handle.name for handle in files if handle.type is FileType.SNAPSHOT] == [last]
            assert not [handle for handle in files if handle.type is FileType.LOCK]
            plan = prune(reopen(MemoryBackend(files), clock), PruneOptions(policy=_PRUNE, dry_run=True)).plan
            assert plan.empty

        return Scene(self._three, act, judge, again)

    def copy(self) -> Scene:
        """All snapshots are copied from a repository on this machine."""
        contents = list(self._contents.values())

        def act(backend: Backend, clock: Clock) -> Errors:
            source = reopen(MemoryBackend(self._three), clock)
            result = copy_snapshots(source, reopen(backend, clock))
            return [*result.errors, *(outcome.error for outcome in result.outcomes if outcome.error is not None)]

        def judge(files: Files, clock: Clock) -> None:
            judge_repository(files, clock)
            repository = reopen(MemoryBackend(files), clock)
            repository.load_index()
            for snapshot in load_snapshots(repository):
                assert snapshot_contents(repository, snapshot.snapshot.tree, self.source) in contents

        def again(backend: Backend, clock: Clock) -> None:
            assert not act(backend, clock)
            files = files_of(backend)
            judge(files, clock)
            assert len([handle for handle in files if handle.type is FileType.SNAPSHOT]) == len(contents)
            assert not [handle for handle in files if handle.type is FileType.LOCK]

        return Scene(empty_repository()[0], act, judge, again)

    def scene(self, name: str) -> Callable[[], Scene]:
        """Return what makes a scene."""
        return {"init": self.init, "backup": self.backup, "read": self.read, "check": self.check,
                "forget and prune": self.forget_and_prune, "copy": self.copy}[name]


SCENES = ("init", "backup", "read", "check", "forget and prune", "copy")
