"""What snapshots weigh, against the brute force: a prune's plan with and without them."""

from __future__ import annotations

import os
import random
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import MissingBlobError
from kuramori.ids import Id, hash_id
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.snapshot_weights import weigh_alone, weigh_in_turn
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.repository.index import Index
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples.broken_runs import create, reopen
from samples.pack_descriptions import add_blobs

_PATHS = ("a", "b", "deep/a", "deep/b", "deep/er/a", "side/a", "side/er/a")
_FOLDERS = st.lists(st.dictionaries(st.sampled_from(_PATHS), st.integers(0, 5), min_size=1), min_size=1, max_size=6)


def make_snapshots(folder: Path, states: list[dict[str, int]]) -> tuple[MemoryBackend, FakeClock]:
    """Return a repository with a snapshot of each state of a folder: paths and numbers of contents."""
    memory, clock = MemoryBackend(), FakeClock()
    create(memory, clock)
    source = folder / "source"
    source.mkdir()
    before: dict[str, int] = {}
    for state in states:
        # What stays is not touched, so that whole folders are shared.
        for path, number in state.items():
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if before.get(path) != number:
                target.write_bytes(random.Random(number).randbytes(500 + 300 * number))
        for path in before.keys() - state.keys():
            (source / path).unlink()
        before = state
        clock.advance(3600)
        back_up(reopen(memory, clock), BackupOptions(paths=(os.fsencode(source),), workers=0))
    return memory, clock


def used(repository: Repository, without: frozenset[str]) -> tuple[int, int]:
    """Return the blobs and bytes that the other snapshots use, as a prune plans."""
    counts = prune(repository, PruneOptions(dry_run=True, no_lock=True, ignored_snapshots=without,
                                            allow_no_snapshots=True)).plan.counts
    return counts.used.blobs, counts.used.bytes


@settings(max_examples=25, deadline=None)
@given(_FOLDERS)
def test_what_each_holds_alone(states: list[dict[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory, clock = make_snapshots(Path(folder), states)
    repository = reopen(memory, clock)
    snapshots = load_snapshots(repository)
    repository.load_index()
    weights = weigh_alone(repository, snapshots)
    blobs, size = used(repository, frozenset())
    for weight in weights:
        less_blobs, less_size = used(repository, frozenset({weight.stored.id}))
        assert (weight.blobs, weight.bytes) == (blobs - less_blobs, size - less_size)


@settings(max_examples=15, deadline=None)
@given(_FOLDERS, st.randoms(use_true_random=False))
def test_what_goes_when_the_last_ones_go(states: list[dict[str, int]], chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory, clock = make_snapshots(Path(folder), states)
    repository = reopen(memory, clock)
    snapshots = load_snapshots(repository)
    chance.shuffle(snapshots)
    repository.load_index()
    weights = weigh_in_turn(repository, snapshots)
    blobs, size = used(repository, frozenset())
    assert (sum(weight.blobs for weight in weights), sum(weight.bytes for weight in weights)) == (blobs, size)
    for count in range(1, len(snapshots) + 1):
        gone = frozenset(stored.id for stored in snapshots[-count:])
        left = used(repository, gone)
        assert left == (blobs - sum(weight.blobs for weight in weights[-count:]),
                        size - sum(weight.bytes for weight in weights[-count:]))


def test_no_tree_is_read_more_than_twice(tmp_path: Path) -> None:
    states = [{"deep/er/a": 1, "side/er/a": 2, "a": number % 3} for number in range(8)]
    memory, clock = make_snapshots(tmp_path, states)
    repository = reopen(memory, clock)
    snapshots = load_snapshots(repository)
    repository.load_index()
    reads: dict[Id, int] = {}
    load = repository.load_blob

    def counting(blob_type: BlobType, blob_id: Id) -> bytes:
        reads[blob_id] = reads.get(blob_id, 0) + 1
        return load(blob_type, blob_id)

    repository.load_blob = counting  # type: ignore[method-assign]
    weigh_alone(repository, snapshots)
    assert max(reads.values()) == 2
    reads.clear()
    weigh_in_turn(repository, snapshots)
    assert max(reads.values()) == 1


def test_a_missing_blob_is_an_error(tmp_path: Path) -> None:
    memory, clock = make_snapshots(tmp_path, [{"a": 1}])
    repository = reopen(memory, clock)
    snapshots = load_snapshots(repository)
    for info in list(memory.list(FileType.INDEX)):
        memory.remove(Handle(FileType.INDEX, info.name))
    repository.load_index()
    with pytest.raises(MissingBlobError):
        weigh_alone(repository, snapshots)


def test_memory_of_many_blobs(tmp_path: Path) -> None:
    """Beside the index itself, 40,000 blobs take less than 4 MB, so a million less than 100."""
    memory, clock = make_snapshots(tmp_path, [{"a": 1}])
    repository = reopen(memory, clock)
    stored = load_snapshots(repository)[0]
    repository.load_index()
    pack = hash_id(b"pack")
    index: Index = repository.index
    add_blobs(index, [PackedBlob(BlobType.DATA, hash_id(number.to_bytes(4, "big")), pack, number * 100, 100, 0)
                      for number in range(40_000)])
    index.settle()
    snapshots = [StoredSnapshot(stored.id, Snapshot(time=stored.snapshot.time, tree=stored.snapshot.tree, paths=[]))]
    tracemalloc.start()
    weights = weigh_alone(repository, snapshots)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert weights[0].blobs
    assert most < 4_000_000
