"""Any history of backups, forgotten snapshots, prunes, repairs, crashes and second writers, against
a model in plain dictionaries: what is kept restores equal, and check finds nothing.

Ids differ from run to run, so nothing is drawn that depends on them.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import KuramoriError
from kuramori.maintenance.prune import PruneOptions, PrunePolicy, UnusedLimit, prune
from kuramori.maintenance.repair_index import RepairIndexOptions, repair_index
from kuramori.repository.compression import Compression
from kuramori.repository.pack_header import EMPTY_PACK
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.contents import Contents, folder_contents, snapshot_contents
from kuramori.testing.faulty_backend import CrashAt, FaultyBackend, SimulatedCrash
from samples.broken_runs import create, judge_repository, reopen
from samples.example_count import example_count
from samples.thoroughness import stride

_NOTHING_UNUSED = UnusedLimit(size=0)
_POLICIES = st.builds(
    PrunePolicy, max_unused=st.sampled_from([_NOTHING_UNUSED, UnusedLimit(), UnusedLimit(percent=5.0)]),
    max_repack_size=st.sampled_from([None, None, 0, 100_000]), repack_small=st.booleans(),
    repack_cacheable_only=st.booleans(), repack_uncompressed=st.booleans(),
    pack_size=st.sampled_from([8 * 1024, 64 * 1024, 16 * 1024 * 1024]))


class Histories(RuleBasedStateMachine):
    """One repository in memory, one folder on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.memory = MemoryBackend()
        self.clock = FakeClock()
        self.model: dict[str, Contents] = {}
        """Snapshot -> what it holds."""

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        create(self.memory, self.clock)

    # --- what a user does --------------------------------------------------------------------

    @rule(seed=st.integers(0, 7), name=st.sampled_from(["a", "b", "c", "deep/d", "deep/e"]),
          size=st.sampled_from([0, 10, 3000, 40_000]), text=st.booleans())
    def write(self, seed: int, name: str, size: int, text: bool) -> None:
        """The same seed makes the same bytes: blobs come back after they were pruned."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d times\n" % seed * (size // 8) if text else random.Random(seed).randbytes(size))

    @rule(name=st.sampled_from(["a", "b", "deep"]))
    def delete(self, name: str) -> None:
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _back_up(self, memory: MemoryBackend, compression: Compression = Compression.AUTO) -> None:
        self.clock.advance(60)
        options = BackupOptions(paths=(os.fsencode(self.folder),), compression=compression)
        snapshot = back_up(reopen(memory, self.clock), options).snapshot_id
        assert snapshot is not None
        self.model[snapshot] = folder_contents(self.folder)

    @rule(compression=st.sampled_from([Compression.AUTO, Compression.OFF]))
    def back_up(self, compression: Compression) -> None:
        self._back_up(self.memory, compression)

    @rule()
    def back_up_from_two_machines_at_once(self) -> None:
        other = MemoryBackend(self.memory.snapshot())
        self._back_up(self.memory)
        self._back_up(other)
        self.memory = MemoryBackend({**self.memory.snapshot(), **other.snapshot()})

    @rule(which=st.integers(0, 9))
    def forget(self, which: int) -> None:
        if len(self.model) < 2:
            return
        name = list(self.model)[which % len(self.model)]
        self.memory.remove(Handle(FileType.SNAPSHOT, name))
        del self.model[name]

    @rule(policy=_POLICIES)
    def prune(self, policy: PrunePolicy) -> None:
        if not self.model:
            return
        before = self._pack_bytes()
        result = prune(reopen(self.memory, self.clock), PruneOptions(policy=policy))
        assert not result.errors
        if not policy.repack_uncompressed:
            assert self._pack_bytes() <= before + EMPTY_PACK * result.packs_written

    def _pack_bytes(self) -> int:
        return sum(info.size for info in self.memory.list(FileType.PACK))

    @rule()
    def prune_to_the_last_byte(self) -> None:
        options = PruneOptions(policy=PrunePolicy(max_unused=_NOTHING_UNUSED), allow_no_snapshots=True)
        prune(reopen(self.memory, self.clock), options)
        plan = prune(reopen(self.memory, self.clock), options).plan
        assert plan.empty
        assert plan.counts.unused_bytes == 0

    # --- what happens to it ------------------------------------------------------------------

    @rule(policy=_POLICIES, number=st.integers(1, 60), after=st.booleans())
    def prune_that_dies(self, policy: PrunePolicy, number: int, after: bool) -> None:
        with suppress(SimulatedCrash, KuramoriError):
            prune(reopen(FaultyBackend(self.memory, CrashAt(number, after=after)), self.clock),
                  PruneOptions(policy=policy))

    @rule(number=st.integers(1, 60), after=st.booleans())
    def back_up_that_dies(self, number: int, after: bool) -> None:
        faulty = FaultyBackend(self.memory, CrashAt(number, after=after))
        with suppress(SimulatedCrash, KuramoriError):
            back_up(reopen(faulty, self.clock), BackupOptions(paths=(os.fsencode(self.folder),)))
        for name in {info.name for info in self.memory.list(FileType.SNAPSHOT)} - set(self.model):
            self.model[name] = folder_contents(self.folder)

    @rule(which=st.integers(1, 15), read_all_packs=st.booleans())
    def lose_index_files_and_repair(self, which: int, read_all_packs: bool) -> None:
        for number, name in enumerate(sorted(info.name for info in self.memory.list(FileType.INDEX))):
            if which >> number % 4 & 1:
                self.memory.remove(Handle(FileType.INDEX, name))
        repair_index(reopen(self.memory, self.clock), RepairIndexOptions(read_all_packs=read_all_packs))

    @rule(hours=st.integers(-50, 50))
    def change_the_clock(self, hours: int) -> None:
        self.clock.set(self.clock.now_nanoseconds() + hours * 3600 * 10**9)

    # --- what must be true -------------------------------------------------------------------

    @invariant()
    def everything_kept_restores_equal(self) -> None:
        files = self.memory.snapshot()
        if not files:
            return
        judge_repository(files, self.clock)
        repository = reopen(MemoryBackend(files), self.clock)
        repository.load_index()
        stored = load_snapshots(repository)
        assert {snapshot.id for snapshot in stored} == set(self.model)
        for snapshot in stored:
            assert snapshot_contents(repository, snapshot.snapshot.tree, self.folder) == self.model[snapshot.id]


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=example_count(20 // stride(2)), stateful_step_count=14, deadline=None)
