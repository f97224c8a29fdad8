"""Listings that leave out what is there: for a moment, or for as long as a command runs. Nothing is taken for lost
because of them, and nothing is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kuramori.errors import (
    KuramoriError,
    ListingChangedHint,
    LockLostError,
    NoIndexListedError,
    NoKeyListedError,
    PruneRefusedError,
    RepositoryExistsError,
    SnapshotsUnlistedError,
    SnapshotUnlistedError,
    UnlistedPacksHint,
)
from kuramori.maintenance.check import CheckOptions, CheckResult, check
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.repair_index import repair_index
from kuramori.repository.keys import find_master_key, write_key
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.secret import Secret
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.proxy_faults import EmptyListing, Fault, StaleListing, requests_of
from samples.broken_runs import CHEAP, OLD, Files, Scene, create, files_of
from samples.remote_faults import Case, disturb
from samples.remote_links import Link
from samples.remote_scenes import RemoteScenes

_EVERYTHING = 1000
"""Writes that a stale listing does not show: all of them."""


# --- one listing of a command ----------------------------------------------------------------


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("case", [
    Case(EmptyListing(), listing=True), Case(StaleListing(1), listing=True), Case(StaleListing(3), listing=True),
], ids=str)
def test_a_listing_that_lies_once(link: Link, scene: Scene, case: Case) -> None:
    for run in disturb(link, scene, case, passes=False):
        # A prune that has not seen the whole index goes no further; a lock that is not listed counts as lost.
        assert all(isinstance(error, (PruneRefusedError, LockLostError)) for error in run.errors), run.errors


# --- all listings of a kind, as long as the command runs -------------------------------------


@pytest.fixture
def history(scenes: RemoteScenes) -> Files:
    return scenes.check().before


class Place:
    """A repository of which this machine remembers everything."""

    def __init__(self, link: Link, files: Files, ledger: Path | None) -> None:
        self.link = link
        self.clock = FakeClock()
        self.clock.advance(24 * 3600)
        self.name = link.plant({}, self.clock)
        self._ledger = ledger
        with link.reach(self.name, self.clock) as backend:  # through the proxy, which remembers the uploads
            for handle, content in files.items():
                backend.save(handle, [content])
        with link.reach(self.name, self.clock, direct=True) as backend:
            load_snapshots(self.open(backend))

    def open(self, backend: Backend) -> Repository:
        return open_repository(backend, OLD, OpenOptions(clock=self.clock, ledger_directory=self._ledger))

    def lie(self, fault: Fault, kinds: str, times: int | None = None) -> None:
        self.link.proxy.inject(fault, requests_of("", kinds, listing=True, times=times))

    def files(self) -> Files:
        with self.link.reach(self.name, self.clock, direct=True) as backend:
            return {handle: content for handle, content in files_of(backend).items()
                    if handle.type is not FileType.LOCK}

    def check(self) -> CheckResult:
        with self.link.reach(self.name, self.clock) as backend:
            return check(self.open(backend), CheckOptions(read_data=True))

    def prune(self) -> KuramoriError | None:
        with self.link.reach(self.name, self.clock) as backend:
            try:
                prune(self.open(backend), PruneOptions())
            except KuramoriError as error:
                return error
        return None


@pytest.fixture
def place(link: Link, history: Files, tmp_path: Path) -> Place:
    return Place(link, history, tmp_path / "ledger")


FAULTS = [EmptyListing(), StaleListing(_EVERYTHING)]


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("fault", FAULTS, ids=["empty", "stale"])
@pytest.mark.parametrize(("kinds", "refusal"), [
    ("snapshots", SnapshotsUnlistedError), ("index", PruneRefusedError),
    ("snapshots index", SnapshotsUnlistedError), ("snapshots index data", SnapshotsUnlistedError),
])
def test_a_prune_removes_nothing(place: Place, history: Files, fault: Fault, kinds: str,
                                 refusal: type[KuramoriError]) -> None:
    place.lie(fault, kinds)
    assert type(place.prune()) is refusal
    assert place.files() == history
    place.link.proxy.heal()
    assert place.prune() is None
    assert place.check().sound


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("fault", FAULTS, ids=["empty", "stale"])
@pytest.mark.parametrize("kinds", ["snapshots", "index"])
def test_a_prune_without_memory_removes_nothing_either(link: Link, history: Files, fault: Fault, kinds: str) -> None:
    place = Place(link, history, None)
    place.lie(fault, kinds)
    assert type(place.prune()) is PruneRefusedError
    assert place.files() == history


@pytest.mark.parametrize("fault", FAULTS, ids=["empty", "stale"])
def test_a_prune_asks_for_packs_that_are_not_listed(place: Place, history: Files, fault: Fault) -> None:
    place.lie(fault, "data")
    assert place.prune() is None
    assert place.files() == history


@pytest.mark.parametrize("kinds", ["snapshots index", "index"])
def test_a_prune_does_not_believe_a_listing_that_grows(link: Link, scenes: RemoteScenes, kinds: str) -> None:
    """At first the newest index file is not listed, and perhaps neither the snapshot that needs it: without both, its
    packs look like leftovers."""
    scene = scenes.backup()
    place = Place(link, scene.before, None)
    with link.reach(place.name, place.clock) as backend:
        assert not scene.act(backend, place.clock)
    before = place.files()
    place.lie(StaleListing(1), kinds, times=len(kinds.split()))
    assert type(place.prune()) is PruneRefusedError
    assert place.files() == before
    assert place.prune() is None
    assert place.check().sound


def test_a_check_says_that_the_listing_disagrees(place: Place, history: Files) -> None:
    for kinds, kind_of_error in (("snapshots", SnapshotUnlistedError), ("index", NoIndexListedError)):
        place.lie(EmptyListing(), kinds)
        result = place.check()
        assert result.errors
        assert all(isinstance(error, kind_of_error) for error in result.errors), result.errors
        place.link.proxy.heal()
    place.lie(EmptyListing(), "data")
    result = place.check()
    assert result.sound
    assert [type(hint) for hint in result.hints] == [UnlistedPacksHint]
    assert result.packs_read == sum(handle.type is FileType.PACK for handle in history)
    place.link.proxy.heal()
    assert not place.check().hints


def test_a_check_whose_listing_grows_begins_again(place: Place) -> None:
    with place.link.reach(place.name, place.clock) as backend:
        newest = next(handle for handle in place.files() if handle.type is FileType.INDEX)
        backend.save(newest, [backend.load(newest)])
    place.lie(StaleListing(1), "index", times=1)
    result = place.check()
    assert result.sound
    assert [type(hint) for hint in result.hints] == [ListingChangedHint]


def test_a_new_index_forgets_no_pack(place: Place, history: Files) -> None:
    place.lie(EmptyListing(), "data")
    with place.link.reach(place.name, place.clock) as backend:
        result = repair_index(place.open(backend))
    assert not result.changed
    assert not result.missing
    assert place.files() == history


def test_no_key_is_not_a_wrong_password(place: Place) -> None:
    place.lie(EmptyListing(), "keys")
    with place.link.reach(place.name, place.clock) as backend, pytest.raises(NoKeyListedError):
        place.open(backend)
    place.link.proxy.heal()
    place.lie(EmptyListing(), "keys", times=1)
    with place.link.reach(place.name, place.clock) as backend:
        place.open(backend)


@pytest.mark.parametrize("times", [1, 2])
def test_an_init_that_is_begun_again_makes_no_second_master_key(link: Link, times: int) -> None:
    clock = FakeClock()
    memory = MemoryBackend()
    first = create(memory, clock)
    begun = {handle: content for handle, content in memory.snapshot().items() if handle != CONFIG_HANDLE}
    name = link.plant(begun, clock)
    link.proxy.inject(EmptyListing(), requests_of("", "keys", listing=True, times=times))
    with link.reach(name, clock) as backend:
        try:
            create(backend, clock)
        except RepositoryExistsError:
            assert times == 2  # twice in a row there was no key
    link.proxy.heal()
    with link.reach(name, clock, direct=True) as backend:
        if times == 2:
            create(backend, clock)
        keys = [info.name for info in backend.list(FileType.KEY)]
        for key in keys:
            assert find_master_key(backend, OLD, key)[0].reveal() == first.key.reveal()


def test_a_key_that_is_not_listed_opens_all_the_same(place: Place) -> None:
    with place.link.reach(place.name, place.clock) as backend:
        repository = place.open(backend)
        new = Secret("another")
        with hold_lock(repository):
            write_key(backend, repository.key, new, clock=place.clock, username="", hostname="", parameters=CHEAP)
        place.lie(StaleListing(1), "keys", times=1)
        assert find_master_key(backend, new)[0].reveal() == repository.key.reveal()
