"""Which snapshots are meant: filters, names, order, and what is damaged or vanishes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import AmbiguousIdError, DamagedError, NoSuchSnapshotError
from kuramori.model.snapshot import Snapshot
from kuramori.model.times import format_nanoseconds
from kuramori.progress import NoProgress
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import (
    SnapshotFilter,
    find_snapshot,
    load_snapshots,
    save_snapshot,
    split_subfolder,
)
from kuramori.secret import Secret
from kuramori.storage.backend import FileInfo, FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.memory import MemoryBackend

START = 1_795_392_000
TREE = "ab" * 32


@pytest.fixture
def store() -> MemoryBackend:
    """An empty repository."""
    backend = MemoryBackend()
    create_repository(backend, Secret("x"), CreateOptions(kdf=KdfParameters(16, 8, 1))).close()
    return backend


@pytest.fixture
def repository(store: MemoryBackend) -> Repository:
    """The same, open."""
    return open_repository(store, Secret("x"))


def _save(repository: Repository, seconds: int = 0, *, host: str = "planter", tags: list[str] | None = None,
          paths: tuple[str, ...] = ("/data",)) -> str:
    time = format_nanoseconds((START + seconds) * 10**9)
    return save_snapshot(repository, Snapshot(time=time, tree=TREE, paths=list(paths), hostname=host, tags=tags))


def test_snapshots_come_oldest_first_whatever_their_names(repository: Repository) -> None:
    names = [_save(repository, seconds) for seconds in (50, 10, 40, 30, 20)]
    order = [names[index] for index in (1, 4, 3, 2, 0)]
    assert [stored.id for stored in load_snapshots(repository)] == order
    assert find_snapshot(repository, "latest").id == order[-1]
    assert find_snapshot(repository, "latest").short_id == order[-1][:8]


def test_snapshots_of_one_moment_have_an_order_too(repository: Repository) -> None:
    names = [_save(repository, host=host) for host in "abcdef"]
    assert [stored.id for stored in load_snapshots(repository)] == sorted(names)


@pytest.mark.parametrize(("wanted", "matching"), [
    (SnapshotFilter(), "abcde"),
    (SnapshotFilter(hosts=("one",)), "ad"),
    (SnapshotFilter(hosts=("one", "two")), "abd"),
    (SnapshotFilter(hosts=("no",)), ""),
    (SnapshotFilter(tags=(("x",),)), "ab"),
    (SnapshotFilter(tags=(("x", "y"),)), "b"),
    (SnapshotFilter(tags=(("x", "y"), ("z",))), "bc"),
    (SnapshotFilter(tags=(("",),)), "de"),
    (SnapshotFilter(tags=((),)), "de"),
    (SnapshotFilter(tags=(("",), ("z",))), "cde"),
    (SnapshotFilter(paths=("/a",)), "ae"),
    (SnapshotFilter(paths=("/a", "/b")), "e"),
    (SnapshotFilter(hosts=("one",), tags=(("x",),), paths=("/a",)), "a"),
])
def test_filters(wanted: SnapshotFilter, matching: str) -> None:
    def snapshot(host: str, tags: list[str] | None, *paths: str) -> Snapshot:
        return Snapshot(time="2026-11-23T00:00:00Z", tree=TREE, paths=list(paths), hostname=host, tags=tags)

    named = {"a": snapshot("one", ["x"], "/a"), "b": snapshot("two", ["x", "y"], "/b"),
             "c": snapshot("three", ["z"], "/c"), "d": snapshot("one", None, "/d"),
             "e": snapshot("three", [], "/b", "/a")}
    assert "".join(name for name, one in named.items() if wanted.matches(one)) == matching


def test_a_filter_decides_what_is_the_latest(repository: Repository) -> None:
    older = _save(repository, 1, tags=["nightly"])
    _save(repository, 2)
    assert find_snapshot(repository, "latest", SnapshotFilter(tags=(("nightly",),))).id == older
    with pytest.raises(NoSuchSnapshotError):
        find_snapshot(repository, "latest", SnapshotFilter(hosts=("other",)))
    # A name says which one is meant, whatever the filter.
    assert find_snapshot(repository, older, SnapshotFilter(hosts=("other",))).id == older


def test_names_are_whole_ids_or_their_beginnings(repository: Repository) -> None:
    names = sorted(_save(repository, seconds) for seconds in range(40))
    for name in names:
        assert find_snapshot(repository, name).id == name
        assert find_snapshot(repository, name[:20]).id == name
    first = next(name[0] for name in names if sum(other[0] == name[0] for other in names) > 1)  # 40 names, 16 digits
    with pytest.raises(AmbiguousIdError) as failure:
        find_snapshot(repository, first)
    assert str(sum(name.startswith(first) for name in names)) in str(failure.value)
    for text in ("", "z", names[0] + "0", "latest "):
        with pytest.raises(NoSuchSnapshotError):
            find_snapshot(repository, text)


def test_an_empty_repository_has_no_latest(repository: Repository) -> None:
    assert load_snapshots(repository) == []
    with pytest.raises(NoSuchSnapshotError):
        find_snapshot(repository, "latest")


class _Warnings(NoProgress):
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def warning(self, error: Exception) -> None:
        self.errors.append(error)


def test_a_damaged_snapshot_is_named_and_does_not_hide_the_others(repository: Repository) -> None:
    good, bad = _save(repository, 1), _save(repository, 2)
    sealed = repository.backend.load(Handle(FileType.SNAPSHOT, bad))
    repository.backend.save(Handle(FileType.SNAPSHOT, bad), [sealed[:-1] + bytes([sealed[-1] ^ 1])])
    progress = _Warnings()
    assert [stored.id for stored in load_snapshots(repository, progress)] == [good]
    assert bad in str(progress.errors[0])
    with pytest.raises(DamagedError, match=bad):
        find_snapshot(repository, bad)


class _ForgetsMeanwhile(ForwardingBackend):
    """Somebody forgets a snapshot between its listing and its reading."""

    def __init__(self, inner: MemoryBackend, victim: str) -> None:
        super().__init__(inner)
        self._victim = victim

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        found = [*self._inner.list(file_type)]
        handle = Handle(FileType.SNAPSHOT, self._victim)
        if file_type is FileType.SNAPSHOT and any(info.name == self._victim for info in found):
            self._inner.remove(handle)
        return iter(found)


def test_a_snapshot_that_is_forgotten_meanwhile_is_no_error(store: MemoryBackend, repository: Repository) -> None:
    kept, victim = _save(repository, 1), _save(repository, 2)
    repository.backend = _ForgetsMeanwhile(store, victim)
    progress = _Warnings()
    assert [stored.id for stored in load_snapshots(repository, progress)] == [kept]
    assert progress.errors == []


@pytest.mark.parametrize(("text", "name", "folder"), [
    ("latest", "latest", b""), ("latest:/a/b", "latest", b"/a/b"), ("abc:", "abc", b""), ("abc:a:b", "abc", b"a:b"),
    ("abc:/\udcff", "abc", b"/\xff"), (":/x", "", b"/x"),
])
def test_subfolders_follow_a_colon(text: str, name: str, folder: bytes) -> None:
    assert split_subfolder(text) == (name, folder)
