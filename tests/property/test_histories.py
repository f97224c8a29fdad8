"""Any history of everything that happens to a repository, against a model in plain dictionaries:
backups, snapshots forgotten by rules, prunes, copies into a second repository, damage and repairs,
commands that die, two that work at once, laptops that sleep in the middle, clocks that jump.

After each step: what the model holds restores equal, from both repositories, and check finds nothing.
Damage is found, named, and costs only what it hit. Ids differ from run to run, so nothing is drawn
that depends on them.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import KuramoriError, LockLostError, PruneRefusedError, RepositoryLockedError
from kuramori.maintenance.check import CheckOptions, check
from kuramori.maintenance.copy import CopyAction, copy_snapshots
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, PrunePolicy, UnusedLimit, prune
from kuramori.maintenance.repair_index import RepairIndexOptions, repair_index
from kuramori.maintenance.repair_packs import RepairPacksOptions, repair_packs
from kuramori.maintenance.repair_snapshots import RepairSnapshotsOptions, RepairSnapshotsResult, repair_snapshots
from kuramori.maintenance.snapshot_replacing import SnapshotSelection
from kuramori.model.retention import RetentionPolicy
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import Backend, FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents
from kuramori.testing.faulty_backend import CallAt, CrashAt, FaultyBackend, SimulatedCrash
from samples.broken_runs import create, judge_repository, reopen
from samples.example_count import example_count
from samples.surviving_contents import surviving_contents
from samples.thoroughness import stride

_HOUR = 3600
_PRUNE = PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(size=0)))
_POLICIES = st.builds(RetentionPolicy, last=st.integers(1, 3), hourly=st.integers(0, 2), daily=st.integers(0, 3),
                      weekly=st.integers(0, 1), yearly=st.integers(0, 1))
_COMMANDS = st.sampled_from(["backup", "forget", "prune", "copy", "repair index"])
Models = dict[str, Contents]


class Histories(RuleBasedStateMachine):
    """Two repositories in memory, one folder on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.memory, self.second = MemoryBackend(name="first"), MemoryBackend(name="second")
        self.clock = FakeClock()
        self.model: Models = {}
        """Snapshot -> what it holds."""
        self.copies: Models = {}
        """The same of the second repository."""
        self.trees: Models = {}
        """Tree of a snapshot -> what it holds, also where the snapshot is gone."""

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        create(self.memory, self.clock)
        create(self.second, self.clock)

    # --- what a user does --------------------------------------------------------------------

    @rule(seed=st.integers(0, 7), name=st.sampled_from(["a", "b", "deep/c", "deep/er/d"]),
          size=st.sampled_from([0, 10, 3000, 40_000]))
    def write(self, seed: int, name: str, size: int) -> None:
        path = self.folder / name
        if path.parent.is_file():
            path.parent.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(seed).randbytes(size))

    @rule(name=st.sampled_from(["a", "b", "deep", "deep/er"]))
    def delete(self, name: str) -> None:
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    @rule(leads_to=st.sampled_from(["a", "nowhere"]))
    def link(self, leads_to: str) -> None:
        path = self.folder / "link"
        path.unlink(missing_ok=True)
        path.symlink_to(leads_to)

    @rule()
    def back_up(self) -> None:
        self.clock.advance(60)
        self._backup(self.memory)
        assert self._take_in_backups() == 1

    @rule(policy=_POLICIES, hours=st.sampled_from([1, 30, 24 * 400]))
    def forget(self, policy: RetentionPolicy, hours: int) -> None:
        self.clock.advance(hours * _HOUR)
        options = ForgetOptions(policy=policy)
        told = {stored.id for stored in forget(self._open(), ForgetOptions(policy=policy, dry_run=True)).removed}
        removed = {stored.id for stored in forget(self._open(), options).removed}
        assert removed == told
        assert len(self.model) - len(removed) >= min(policy.last, len(self.model))
        for name in removed:
            del self.model[name]

    @rule()
    def prune(self) -> None:
        if self.model:
            prune(self._open(), _PRUNE)
            assert prune(self._open(), _PRUNE).plan.counts.unused_bytes == 0

    @rule()
    def copy(self) -> None:
        result = copy_snapshots(self._open(), reopen(self.second, self.clock))
        assert not result.failures
        self._take_in_copies()
        assert {outcome.action for outcome in result.outcomes} <= {CopyAction.COPIED, CopyAction.SKIPPED}
        held = list(self.copies.values())
        assert all(contents in held for contents in self.model.values())

    @rule(hours=st.integers(-50, 50))
    def change_the_clock(self, hours: int) -> None:
        self.clock.set(self.clock.now_nanoseconds() + hours * _HOUR * 10**9)

    # --- what goes wrong ---------------------------------------------------------------------

    @rule(command=_COMMANDS, number=st.integers(1, 70), after=st.booleans())
    def die(self, command: str, number: int, after: bool) -> None:
        """A command dies, and the next run of the same does what is left."""
        self.clock.advance(60)
        with suppress(SimulatedCrash, KuramoriError):
            self._act(command, FaultyBackend(self.memory, CrashAt(number, after=after)))
        self._take_in(command)
        self.everything_kept_restores_equal()
        with suppress(PruneRefusedError):  # nothing was ever saved
            self._act(command, self.memory)
        self._take_in(command)

    @rule(command=st.sampled_from(["backup", "copy", "prune"]), other=_COMMANDS,
          kind=st.sampled_from(["save", "commit", "load", "remove", ""]), number=st.integers(1, 8),
          sleep=st.sampled_from([0, 0, 60, 2 * _HOUR]))
    def two_at_once(self, command: str, other: str, kind: str, number: int, sleep: int) -> None:
        """In the middle of one command another process runs another one; or this machine sleeps for a
        while, so that its lock is nobody's any more."""
        def interrupt() -> None:
            self.clock.advance(sleep)
            with suppress(RepositoryLockedError, PruneRefusedError):
                self._act(other, self.memory)

        with suppress(RepositoryLockedError, LockLostError, PruneRefusedError):
            self._act(command, FaultyBackend(self.memory, CallAt(number if kind else 6 * number, interrupt, kind)))
        for name in (command, other):
            self._take_in(name)

    @rule(pair=st.sampled_from([("backup", "prune"), ("prune", "backup"), ("copy", "prune")]),
          kind=st.sampled_from(["save", "save", "commit", "load", "remove"]), number=st.integers(1, 4),
          seed=st.integers(8, 20), sleep=st.sampled_from([0, 2 * _HOUR]))
    def the_worst_moment(self, pair: tuple[str, str], kind: str, number: int, seed: int, sleep: int) -> None:
        """Somebody removes what is unused while somebody else stores what is not used yet."""
        self.back_up()
        self.write(seed, "new", 3000)
        self.two_at_once(pair[0], pair[1], kind, number, sleep)
        self.delete("new")

    @rule(which=st.integers(0, 9), place=st.integers(0, 10**6), kind=st.sampled_from(["flip", "cut", "lose"]),
          back_up=st.booleans(), two=st.booleans())
    def damage_packs(self, which: int, place: int, kind: str, back_up: bool, two: bool) -> None:
        if not self.model:
            return
        packs = self._by_size(FileType.PACK)
        hit = {packs[number % len(packs)] for number in ([which, which + 1] if two else [which])}
        for name in hit:
            self._damage(Handle(FileType.PACK, name), place, kind)
        survived = self._survivors()
        self._require_named(hit & self._indexed_packs())  # the others are nobody's
        repair_index(self._open())
        broken = tuple(name for name in hit if name in set(self._by_size(FileType.PACK)))
        if broken:
            repair_packs(self._open(), RepairPacksOptions(packs=broken))
        if back_up:  # the source is still there: what is missing is stored again
            self._backup(self.memory)
            self._take_in_backups()
        self._take_in_repairs(repair_snapshots(self._open(), RepairSnapshotsOptions(forget=True)), survived)

    @rule(which=st.integers(0, 9), place=st.integers(0, 10**6), kind=st.sampled_from(["flip", "cut", "lose"]))
    def damage_an_index(self, which: int, place: int, kind: str) -> None:
        """Costs nothing: everything is in the packs."""
        if not self.model:
            return
        names = self._by_size(FileType.INDEX)
        name = names[which % len(names)]
        self._damage(Handle(FileType.INDEX, name), place, kind)
        if kind != "lose":
            self._require_named({name})
        repair_index(self._open(), RepairIndexOptions(read_all_packs=bool(place % 2)))

    @rule(which=st.integers(0, 9), place=st.integers(0, 10**6))
    def damage_a_snapshot(self, which: int, place: int) -> None:
        if not self.model:
            return
        name = list(self.model)[which % len(self.model)]
        self._damage(Handle(FileType.SNAPSHOT, name), place, "flip")
        self._require_named({name})
        result = repair_snapshots(self._open(), RepairSnapshotsOptions(selection=SnapshotSelection((name,)),
                                                                       forget=True))
        assert [found.id for found in result.unreadable if found.removed] == [name]
        del self.model[name]

    # --- how -----------------------------------------------------------------------------------

    def _open(self) -> Repository:
        return reopen(self.memory, self.clock)

    def _act(self, command: str, backend: Backend) -> None:
        actions: dict[str, Callable[[Backend], object]] = {
            "backup": self._backup,
            "forget": lambda store: forget(reopen(store, self.clock), ForgetOptions(policy=RetentionPolicy(last=2))),
            "prune": lambda store: prune(reopen(store, self.clock), _PRUNE),
            "copy": lambda store: copy_snapshots(reopen(store, self.clock), reopen(self.second, self.clock)),
            "repair index": lambda store: repair_index(reopen(store, self.clock)),
        }
        actions[command](backend)

    def _backup(self, backend: Backend) -> None:
        back_up(reopen(backend, self.clock), BackupOptions(paths=(os.fsencode(self.folder),), workers=1))

    def _take_in(self, command: str) -> None:
        """Let the model know what a command did that may have been broken off."""
        if command == "backup":
            self._take_in_backups()
        elif command == "copy":
            self._take_in_copies()
        elif command == "forget":
            gone = set(self.model) - self._names(self.memory)
            assert len(self.model) - len(gone) >= min(2, len(self.model))
            for name in gone:
                del self.model[name]

    def _take_in_backups(self) -> int:
        new = [stored for stored in load_snapshots(self._open()) if stored.id not in self.model]
        for stored in new:
            self.model[stored.id] = self.trees[stored.snapshot.tree] = folder_contents(self.folder)
        return len(new)

    def _take_in_copies(self) -> None:
        self._take_in_backups()  # what was made in between may have been copied
        for stored in load_snapshots(reopen(self.second, self.clock)):
            self.copies.setdefault(stored.id, self.trees[stored.snapshot.tree])

    def _names(self, memory: MemoryBackend) -> set[str]:
        return {info.name for info in memory.list(FileType.SNAPSHOT)}

    def _by_size(self, file_type: FileType) -> list[str]:
        return [info.name for info in sorted(self.memory.list(file_type), key=lambda info: (info.size, info.name))]

    def _indexed_packs(self) -> set[str]:
        repository = self._open()
        repository.load_index()
        return {pack.hex() for pack in repository.index.pack_ids()}

    def _damage(self, handle: Handle, place: int, kind: str) -> None:
        content = bytearray(self.memory.load(handle))
        self.memory.remove(handle)
        if kind == "flip":
            content[place % len(content)] ^= 1 << place % 8
        elif kind == "cut":
            del content[place % len(content) :]
        if kind != "lose":
            self.memory.save(handle, [bytes(content)])

    def _require_named(self, names: set[str]) -> None:
        result = check(self._open(), CheckOptions(read_data=True))
        said = "\n".join(str(error) for error in result.errors)
        for name in names:
            assert name in said or name in result.broken_packs, (name, said)

    def _survivors(self) -> dict[str, tuple[Contents, bool]]:
        """Return what of each snapshot can be read, and whether that is everything."""
        repository = self._open()
        repository.load_index()
        return {stored.id: surviving_contents(repository, stored.snapshot.tree, self.folder)
                for stored in load_snapshots(repository)}

    def _take_in_repairs(self, result: RepairSnapshotsResult, survived: dict[str, tuple[Contents, bool]]) -> None:
        """Snapshots were replaced only where something of them was lost, and nothing else of them is."""
        repository = self._open()
        repository.load_index()
        for change in result.changed:
            old = change.old.id
            whole, before = self.model[old], survived.get(old, (self.model[old], True))
            if change.healed:
                continue
            assert not before[1], "it was whole, and was replaced"
            del self.model[old]
            if change.new is None or change.new_id is None:
                assert not [path for path, (kind, _) in before[0].items() if kind != "dir"]
                continue
            left = self._left_of(repository, StoredSnapshot(change.new_id, change.new))
            assert before[0].items() <= left.items()
            for path, (kind, content) in left.items():
                assert kind == whole[path][0]
                assert len(content) <= len(whole[path][1])
            self.model[change.new_id] = self.trees[change.new.tree] = left

    def _left_of(self, repository: Repository, stored: StoredSnapshot) -> Contents:
        contents, complete = surviving_contents(repository, stored.snapshot.tree, self.folder)
        assert complete
        return contents

    # --- what must be true -------------------------------------------------------------------

    @invariant()
    def everything_kept_restores_equal(self) -> None:
        for memory, model in ((self.memory, self.model), (self.second, self.copies)):
            files = memory.snapshot()
            if not files:
                continue
            judge_repository(files, self.clock)
            repository = reopen(MemoryBackend(files), self.clock)
            repository.load_index()
            found = {stored.id: surviving_contents(repository, stored.snapshot.tree, self.folder)
                     for stored in load_snapshots(repository)}
            assert found == {name: (contents, True) for name, contents in model.items()}


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=example_count(50 // stride(3)), stateful_step_count=16, deadline=None)
