"""Whole folders are compared with the same result as entry by entry: the same trees, the same counts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.archiving import folder_scouts
from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.model.blob import BlobType
from kuramori.repository.complete_snapshots import CompleteSnapshots
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.sources.excludes import ExcludeOptions
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from samples.repositories import PASSWORD, make_repository, nodes_by_path, snapshot_files

QUICK_LOOK, CLOSE_LOOK = ExcludeOptions(), ExcludeOptions(larger_than=1 << 60)
"""The second one leaves nothing out either, but might, so every entry is looked at by itself."""
NAMES = ["a", "b\\x41", "bA", "ü", "quoted\"name", "new\nline", "in/c", "in/d", "in/deep/e", "other/f"]
CHANGES = ["write", "append", "same size", "touch", "back in time", "chmod", "remove", "rename", "link", "symlink",
           "folder", "fifo", "owner", "set id"]
JUST_NOW = 1_700_000_000_000_000_000


def make_source(root: Path) -> None:
    """Make some folders with files in them, all of one old second."""
    for number, name in enumerate([*NAMES, os.fsdecode(b"\xff\xfe")]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %d" % (number % 4))
        os.utime(path, ns=(JUST_NOW, JUST_NOW))
    (root / "link").symlink_to("a")
    (root / "empty").mkdir()


def change(root: Path, kind: str, name: str) -> None:
    """Do something to one of the files, if it is still one."""
    path = root / name
    if not path.is_file() or path.is_symlink():
        return
    size = path.stat().st_size
    if kind in ("write", "append", "same size"):
        path.write_bytes({"write": b"other", "append": path.read_bytes() + b"!", "same size": b"x" * size}[kind])
    elif kind == "touch":
        os.utime(path)
    elif kind == "back in time":
        path.write_bytes(b"y" * size)
        os.utime(path, ns=(JUST_NOW, JUST_NOW))
    elif kind == "chmod":
        path.chmod(0o600)
    elif kind == "set id":
        path.chmod(0o4755)
    elif kind == "rename":
        path.rename(path.with_name(path.name + " renamed"))
    elif kind == "link":
        os.link(path, path.with_name(f"{path.name} linked {path.stat().st_nlink}"))
    elif kind == "owner":
        os.chown(path, os.geteuid(), os.getegid())
    else:
        path.unlink()
        if kind == "symlink":
            path.symlink_to("b")
        elif kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)


def save(repository: Repository, source: Path, excludes: ExcludeOptions = QUICK_LOOK) -> BackupResult:
    return back_up(repository, BackupOptions(paths=(os.fsencode(source),), excludes=excludes, hostname="h", workers=0))


def outcome(repository: Repository, source: Path, result: BackupResult) -> tuple[object, ...]:
    """Return what must not depend on how it was compared: not the folders above, where others make files."""
    summary = result.summary
    return (nodes_by_path(repository, result.snapshot)[os.fsencode(source)], summary.files_new, summary.files_changed,
            summary.files_unmodified, summary.total_files_processed, summary.total_bytes_processed,
            summary.data_blobs, len(result.errors))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that all examples share."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from(NAMES)), max_size=4))
def test_both_ways_of_comparing_make_the_same_trees(place: Path, changes: list[tuple[str, str]]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    source = place / "source"
    make_source(source)
    results = []
    make_repository(place).close()
    save(open_repository(LocalBackend(place / "repository"), PASSWORD), source)
    shutil.copytree(place / "repository", place / "second")
    for kind, name in changes:
        change(source, kind, name)
    for name, excludes in (("repository", QUICK_LOOK), ("second", CLOSE_LOOK)):
        repository = open_repository(LocalBackend(place / name), PASSWORD, OpenOptions(index_directory=place / "cache"))
        results.append(outcome(repository, source, save(repository, source, excludes)))
    assert results[0] == results[1]


@pytest.mark.exhaustive
@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from(NAMES)), max_size=3))
def test_scouts_find_what_one_process_finds(place: Path, changes: list[tuple[str, str]]) -> None:
    """All folders are looked at by another process first."""
    shutil.rmtree(place, ignore_errors=True)
    source = place / "source"
    make_source(source)
    for inner in ("in/1/2/3", "in/1/b", "of its own"):
        make_source(source / inner)
    make_repository(place).close()
    save(_opened(place), source)
    for copied in ("repository", "cache"):
        shutil.copytree(place / copied, place / "alone" / copied)
    for number, (kind, name) in enumerate(changes):
        change(source / ("", "in/1/2/3", "in/1/b")[number], kind, name)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_scouts, "_WORTH_SCOUTS", 0)
        for folder, workers in ((place, 3), (place / "alone", 0)):
            repository = _opened(folder)
            result = back_up(repository, BackupOptions(paths=(os.fsencode(source),), hostname="h", workers=workers))
            summary = result.summary
            results.append((*outcome(repository, source, result), summary.dirs_new, summary.dirs_changed,
                            summary.dirs_unmodified))
    assert results[0] == results[1]


# --- snapshots that are known to be complete --------------------------------------------------


@pytest.fixture
def cached(tmp_path: Path) -> Repository:
    """A repository with a local cache, and a source beside it."""
    make_repository(tmp_path).close()
    make_source(tmp_path / "source")
    return _opened(tmp_path)


def _opened(folder: Path) -> Repository:
    return open_repository(LocalBackend(folder / "repository"), PASSWORD, OpenOptions(index_directory=folder / "cache"))


def _notes(repository: Repository) -> CompleteSnapshots:
    assert repository.complete_snapshots is not None
    return repository.complete_snapshots


def test_a_snapshot_is_known_to_be_complete_while_its_index_files_are_there(cached: Repository, tmp_path: Path) -> None:
    first = save(cached, tmp_path / "source").snapshot_id
    assert first is not None
    names = {info.name for info in cached.backend.list(FileType.INDEX)}
    notes = _notes(_opened(tmp_path))
    assert notes.is_complete(first, names)
    assert notes.is_complete(first, names | {"ab" * 32})
    assert not notes.is_complete(first, set())
    second = save(_opened(tmp_path), tmp_path / "source").snapshot_id
    names = {info.name for info in cached.backend.list(FileType.INDEX)}  # a folder above has changed
    assert second is not None
    assert notes.is_complete(second, names)
    assert not notes.is_complete(first, names), "nobody will ask for it again"


def test_lost_blobs_are_stored_again_once_the_index_was_written_anew(cached: Repository, tmp_path: Path) -> None:
    source = tmp_path / "source"
    save(cached, source)
    _lose_a_data_blob(_opened(tmp_path))
    again = save(_opened(tmp_path), source)
    assert again.summary.data_blobs == 1
    assert again.summary.files_changed > 0
    found = snapshot_files(_opened(tmp_path), again, source)
    assert found[b"/a"] == (source / "a").read_bytes()


def _lose_a_data_blob(repository: Repository) -> None:
    """Write the index anew without one of the blobs, as a prune or a repair would after a loss."""
    repository.load_index()
    old = set(repository.index_names)
    blobs = [blob for found in repository.index.blobs_of(repository.index.pack_ids()).values() for blob in found]
    lost = next(blob for blob in blobs if blob.type is BlobType.DATA)
    writer = IndexWriter(repository)
    for blob in blobs:
        if blob.id != lost.id:
            writer.describe(blob.pack, [(blob.type, blob.id, blob.offset, blob.length, blob.uncompressed_length)])
    writer.flush()
    for name in old:
        repository.remove(FileType.INDEX, name)


@pytest.mark.parametrize("content", [b"", b"cut", b"x" * 200])
def test_a_damaged_note_says_nothing(cached: Repository, tmp_path: Path, content: bytes) -> None:
    snapshot = save(cached, tmp_path / "source").snapshot_id
    [note] = (tmp_path / "cache").glob("*/complete-snapshots/*")
    names = {info.name for info in cached.backend.list(FileType.INDEX)}
    assert snapshot is not None
    assert note.name == snapshot
    renamed = note.with_name("cd" * 32)
    shutil.copy(note, renamed)
    assert not _notes(cached).is_complete(renamed.name, names)
    note.write_bytes(content)
    assert not _notes(cached).is_complete(snapshot, names)
    assert save(_opened(tmp_path), tmp_path / "source").summary.files_changed == 0


def test_old_notes_go(cached: Repository, tmp_path: Path) -> None:
    for number in range(70):
        _notes(cached).note(f"{number:064x}", {"ab" * 32}, None)
    assert len(list((tmp_path / "cache").glob("*/complete-snapshots/*"))) == 64


def test_a_dry_run_leaves_no_note(cached: Repository, tmp_path: Path) -> None:
    back_up(cached, BackupOptions(paths=(os.fsencode(tmp_path / "source"),), dry_run=True))
    assert not list((tmp_path / "cache").glob("*/complete-snapshots/*"))
