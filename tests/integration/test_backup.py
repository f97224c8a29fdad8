"""What a backup takes, leaves out, names and reuses."""

from __future__ import annotations

import os
import random
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from kuramori.archiving.backup import BackupOptions, BackupResult, back_up
from kuramori.archiving.parent import ParentOptions
from kuramori.archiving.stream import StreamSource
from kuramori.errors import (
    Interrupted,
    NothingToBackUpError,
    SourceChangedError,
    SourceCommandError,
    SourceError,
    SourceMissingError,
)
from kuramori.maintenance.check import CheckOptions, check
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.sources.excludes import ExcludeOptions
from kuramori.storage.backend import FileType
from samples.mounted import small_disk
from samples.repositories import make_repository, nodes_by_path, reopened, snapshot_files


def _back_up(repository: Repository, *paths: Path, **options: object) -> BackupResult:
    return back_up(repository, BackupOptions(paths=tuple(map(os.fsencode, paths)), **options))  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small folder."""
    root = tmp_path / "source"
    (root / "inner" / "cache").mkdir(parents=True)
    (root / "a.txt").write_text("first")
    (root / "B.TXT").write_text("second")
    (root / "inner" / "big.bin").write_bytes(os.urandom(700_000))
    (root / "inner" / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (root / "inner" / "cache" / "thumb").write_text("thumb")
    (root / "inner" / ".nobackup").write_text("")
    return root


def test_second_backup_reads_nothing_and_stores_nothing(tmp_path: Path, source: Path) -> None:
    """An unchanged folder makes the same tree, and no new data."""
    first = _back_up(make_repository(tmp_path), source)
    second = _back_up(reopened(tmp_path), source)
    # The folders above belong to others, and so their times change.
    inner = [nodes_by_path(reopened(tmp_path), result.snapshot)[os.fsencode(source)].subtree
             for result in (first, second)]
    assert inner[0] == inner[1]
    assert second.parent is not None
    assert second.parent.id == first.snapshot_id
    assert (second.summary.files_unmodified, second.summary.data_blobs) == (6, 0)


def test_changed_new_and_removed_files_are_noticed(tmp_path: Path, source: Path) -> None:
    """Each kind of change is counted, and the new snapshot holds the new state."""
    _back_up(make_repository(tmp_path), source)
    (source / "a.txt").write_text("first, changed")
    (source / "new").write_text("new")
    (source / "B.TXT").unlink()
    result = _back_up(reopened(tmp_path), source)
    assert (result.summary.files_new, result.summary.files_changed, result.summary.files_unmodified) == (1, 1, 4)
    files = snapshot_files(reopened(tmp_path), result, source)
    assert files[b"/a.txt"] == b"first, changed"
    assert files[b"/new"] == b"new"
    assert b"/B.TXT" not in files


def test_metadata_change_alone_is_kept(tmp_path: Path, source: Path) -> None:
    """A chmod changes the node; the content is not read again."""
    _back_up(make_repository(tmp_path), source)
    os.chmod(source / "a.txt", 0o4711)
    result = _back_up(reopened(tmp_path), source)
    assert result.summary.data_blobs == 0
    modes = {path: node.permissions for path, node in nodes_by_path(reopened(tmp_path), result.snapshot).items()}
    assert modes[os.fsencode(source) + b"/a.txt"] == 0o4711


def test_changed_content_with_old_times_needs_force_or_ctime(tmp_path: Path, source: Path) -> None:
    """A file whose mtime was set back is noticed by its ctime, not by mtime alone."""
    status = (source / "a.txt").stat()
    _back_up(make_repository(tmp_path), source)
    (source / "a.txt").write_text("FIRST")
    os.utime(source / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    blind = _back_up(reopened(tmp_path), source, parent=ParentOptions(ignore_ctime=True))
    assert snapshot_files(reopened(tmp_path), blind, source)[b"/a.txt"] == b"first"
    seeing = _back_up(reopened(tmp_path), source, parent=ParentOptions(force=True))
    assert snapshot_files(reopened(tmp_path), seeing, source)[b"/a.txt"] == b"FIRST"


@pytest.mark.parametrize(("options", "left_out"), [
    (ExcludeOptions(patterns=(b"*.txt",)), {b"/a.txt"}),
    (ExcludeOptions(case_insensitive_patterns=(b"*.txt",)), {b"/a.txt", b"/B.TXT"}),
    (ExcludeOptions(patterns=(b"*.txt", b"!a.txt")), set()),
    (ExcludeOptions(patterns=(b"inner/cache",)), {b"/inner/cache/CACHEDIR.TAG", b"/inner/cache/thumb"}),
    (ExcludeOptions(caches=True), {b"/inner/cache/thumb"}),
    (ExcludeOptions(if_present=(b".nobackup",)),
     {b"/inner/big.bin", b"/inner/cache/CACHEDIR.TAG", b"/inner/cache/thumb"}),
    (ExcludeOptions(if_present=(b".nobackup:HEADER",)), set()),
    (ExcludeOptions(larger_than=100_000), {b"/inner/big.bin"}),
])
def test_excludes(tmp_path: Path, source: Path, options: ExcludeOptions, left_out: set[bytes]) -> None:
    """Each way of leaving out leaves out just what it says."""
    whole = _back_up(make_repository(tmp_path), source)
    everything = set(snapshot_files(reopened(tmp_path), whole, source))
    result = _back_up(reopened(tmp_path), source, excludes=options)
    assert everything - set(snapshot_files(reopened(tmp_path), result, source)) == left_out


def test_one_file_system(tmp_path: Path, source: Path, skip_or_fail: Callable[[str], NoReturn]) -> None:
    """A mounted folder is kept as an empty folder."""
    mounted = source / "inner" / "mounted"
    with small_disk(mounted, "size=1m", skip_or_fail):
        (mounted / "elsewhere").write_text("x")
        result = _back_up(make_repository(tmp_path), source, excludes=ExcludeOptions(one_file_system=True))
    paths = set(nodes_by_path(reopened(tmp_path), result.snapshot))
    assert os.fsencode(mounted) in paths
    assert os.fsencode(mounted / "elsewhere") not in paths


def test_missing_source_is_named_and_the_rest_is_saved(tmp_path: Path, source: Path) -> None:
    """One of two is missing: an error and a snapshot; both: no snapshot."""
    repository = make_repository(tmp_path)
    result = _back_up(repository, source, tmp_path / "gone")
    assert [type(error) for error in result.errors] == [SourceMissingError]
    assert result.snapshot_id is not None
    with pytest.raises(NothingToBackUpError, match="gone"):
        _back_up(reopened(tmp_path), tmp_path / "gone")
    assert len(load_snapshots(reopened(tmp_path))) == 1


def test_everything_excluded_makes_no_snapshot(tmp_path: Path, source: Path) -> None:
    """An explicitly named file is never excluded; but what lies below ``.`` may be, all of it."""
    result = _back_up(make_repository(tmp_path), source / "a.txt", excludes=ExcludeOptions(patterns=(b"*",)))
    assert result.summary.total_files_processed == 1


def _big(source: Path, size: int = 20_000_000) -> Path:
    big = source / "growing.log"
    with open(big, "wb") as file:
        for _ in range(size // 1_000_000):
            file.write(os.urandom(1_000_000))
    return big


@pytest.mark.parametrize("change", ["shrink", "grow", "write"])
def test_file_that_changes_while_it_is_read(tmp_path: Path, source: Path, change: str,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named; what was read is saved; the rest is whole."""
    big = _big(source)
    from kuramori.archiving import file_processor

    real = os.readv
    reads = 0

    def readv(fd: int, buffers: list[memoryview]) -> int:
        nonlocal reads
        reads += 1
        if reads == 2:
            if change == "shrink":
                os.truncate(big, 5_000_000)
            else:
                with open(big, "r+b") as file:
                    file.seek(0, os.SEEK_END if change == "grow" else os.SEEK_SET)
                    file.write(b"more")
        return real(fd, buffers)

    monkeypatch.setattr(file_processor.os, "readv", readv)
    result = _back_up(make_repository(tmp_path), source, workers=1)
    assert [type(error) for error in result.errors] == [SourceChangedError]
    assert str(big) in str(result.errors[0])
    files = snapshot_files(reopened(tmp_path), result, source)
    assert len(files[b"/growing.log"]) == (5_000_000 if change == "shrink" else 20_000_000)
    assert files[b"/a.txt"] == b"first"
    assert check(reopened(tmp_path), CheckOptions(read_data=True)).sound


@pytest.mark.parametrize("replacement", ["nothing", "fifo", "symlink", "folder"])
def test_file_that_is_replaced_before_it_is_read(tmp_path: Path, source: Path, replacement: str,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Between listing and reading a file vanishes or becomes something else: it is named, nothing
    hangs, and no link is followed."""
    victim = source / "a.txt"
    secret = tmp_path / "secret"
    secret.write_text("not part of the source")
    real_open = os.open

    def open_after_replacing(path: bytes, *arguments: int, **places: int) -> int:
        if path == b"a.txt":
            victim.unlink()
            if replacement == "fifo":
                os.mkfifo(victim)
            elif replacement == "symlink":
                victim.symlink_to(secret)
            elif replacement == "folder":
                victim.mkdir()
            monkeypatch.setattr(os, "open", real_open)
        return real_open(path, *arguments, **places)

    monkeypatch.setattr(os, "open", open_after_replacing)
    result = _back_up(make_repository(tmp_path), source, workers=1)
    assert [type(error) for error in result.errors] == [SourceError]
    assert str(victim) in str(result.errors[0])
    files = snapshot_files(reopened(tmp_path), result, source)
    assert b"/a.txt" not in files
    assert all(content != b"not part of the source" for content in files.values())
    assert files[b"/B.TXT"] == b"second"


def test_dry_run_writes_nothing(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a file of the repository changes, not even a lock, and the figures are the real ones."""
    make_repository(tmp_path)
    before = _repository_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    dry = _back_up(reopened(tmp_path), Path(source.name), dry_run=True)
    assert _repository_files(tmp_path) == before
    assert dry.snapshot_id is None
    real = _back_up(reopened(tmp_path), Path(source.name))
    assert dry.summary.data_added == real.summary.data_added
    assert dry.summary.files_new == real.summary.files_new


def _repository_files(tmp_path: Path) -> list[str]:
    return sorted(str(path) for path in (tmp_path / "repository").rglob("*") if path.is_file())


def test_skip_if_unchanged(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second snapshot without a change; one with."""
    monkeypatch.chdir(tmp_path)  # the folders above belong to others, and so their times change
    relative = Path(source.name)
    _back_up(make_repository(tmp_path), relative, skip_if_unchanged=True)
    assert _back_up(reopened(tmp_path), relative, skip_if_unchanged=True).snapshot_id is None
    (source / "a.txt").write_text("changed")
    assert _back_up(reopened(tmp_path), relative, skip_if_unchanged=True).snapshot_id is not None
    assert len(load_snapshots(reopened(tmp_path))) == 2


def test_stream_is_saved_under_its_name(tmp_path: Path) -> None:
    """A stream of several chunks comes back whole."""
    content = os.urandom(5_000_000)
    read_end, write_end = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(write_end, b""), _write_and_close(write_end, content)))
    writer.start()
    result = back_up(make_repository(tmp_path), BackupOptions(
        stream=StreamSource(filename=b"dumps/today.sql", descriptor=read_end)))
    writer.join()
    os.close(read_end)
    assert result.snapshot.paths == ["/dumps/today.sql"]
    assert snapshot_files(reopened(tmp_path), result, Path("/dumps")) == {b"/today.sql": content}


def _write_and_close(fd: int, content: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def test_failing_command_makes_no_snapshot(tmp_path: Path) -> None:
    """A command that prints and then fails leaves no snapshot; one that succeeds leaves one."""
    repository = make_repository(tmp_path)
    for command in (("sh", "-c", "echo half; exit 3"), ("/nonexistent/program",), ("sh", "-c", "echo x; kill -9 $$")):
        with pytest.raises(SourceCommandError):
            back_up(repository, BackupOptions(stream=StreamSource(command=command)))
    assert load_snapshots(reopened(tmp_path)) == []
    result = back_up(reopened(tmp_path), BackupOptions(stream=StreamSource(command=("echo", "whole"))))
    assert snapshot_files(reopened(tmp_path), result, Path("/")) == {b"/stdin": b"whole\n"}


def test_empty_stream_is_refused(tmp_path: Path) -> None:
    """Nothing on standard input is no backup."""
    with pytest.raises(NothingToBackUpError):
        back_up(make_repository(tmp_path), BackupOptions(stream=StreamSource(command=("true",))))


def test_interruption_keeps_what_was_stored(tmp_path: Path, source: Path) -> None:
    """After Ctrl-C there is no lock, no snapshot, and the next run stores only the rest."""
    for number in range(40):
        (source / f"image{number}").write_bytes(os.urandom(1_500_000))
    polls = iter(range(10**9))
    with pytest.raises(Interrupted):
        _back_up(make_repository(tmp_path), source, workers=1, cancelled=lambda: next(polls) > 60)
    repository = reopened(tmp_path)
    assert list(repository.backend.list(FileType.LOCK)) == []
    assert load_snapshots(repository) == []
    repository.load_index()
    kept = len(repository.index)
    assert kept > 5
    result = _back_up(reopened(tmp_path), source)
    assert result.summary.data_blobs <= 40 * 4
    again = reopened(tmp_path)
    again.load_index()
    assert len(again.index) - kept == result.summary.data_blobs + result.summary.tree_blobs
    assert check(reopened(tmp_path), CheckOptions(read_data=True)).sound


def test_workers_make_the_same_snapshot(tmp_path: Path) -> None:
    """Many files through worker processes give the tree that one process gives."""
    source = tmp_path / "many"
    for folder in range(12):
        (source / str(folder)).mkdir(parents=True)
        for number in range(100):
            (source / str(folder) / f"file{number}").write_bytes(os.urandom(folder * 37 + number))
    (source / "large").write_bytes(os.urandom(60_000_000))
    with_workers = _back_up(make_repository(tmp_path), source, workers=3)
    alone = _back_up(make_repository(tmp_path, "other"), source, workers=1)
    assert with_workers.snapshot.tree != ""
    assert with_workers.summary.files_new == alone.summary.files_new == 1201
    assert snapshot_files(reopened(tmp_path), with_workers, source) == snapshot_files(
        reopened(tmp_path, "other"), alone, source)
    assert check(reopened(tmp_path), CheckOptions(read_data=True)).sound


def test_sizes_that_were_not_asked_for_change_nothing(tmp_path: Path) -> None:
    """Of a folder with many small files few are asked for their size before they are read; with ``larger_than`` all."""
    source = tmp_path / "many"
    generator = random.Random(8)
    for folder, large in (("small", 0), ("some large", 3), ("large at the end", 290)):
        (source / folder / "inner" / "empty").mkdir(parents=True)
        for number in range(300):
            size = 100_000 if large and (number >= large > 100 or number % 100 < large < 100) else number % 7 * 50
            (source / folder / f"file{number:03d}").write_bytes(generator.randbytes(size))
        (source / folder / "link").symlink_to("nowhere")
        (source / folder / "inner" / "file").write_text(folder)
    for workers in (1, 2):
        found = []
        for name, larger_than in (("asked", 1 << 50), ("not asked", None)):
            repository = make_repository(tmp_path, f"{name} {workers}")
            result = _back_up(repository, source, workers=workers, excludes=ExcludeOptions(larger_than=larger_than))
            nodes = nodes_by_path(repository, result.snapshot)
            found.append(({path: node for path, node in nodes.items() if path.startswith(os.fsencode(source))},
                          result.summary.files_new, result.summary.dirs_new, result.summary.total_bytes_processed))
        assert found[0] == found[1]
        assert found[0][1] == 3 * 301


def test_relative_targets(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths put their components at the root, and ``.`` its entries."""
    monkeypatch.chdir(source)
    repository = make_repository(tmp_path)
    relative = back_up(repository, BackupOptions(paths=(b"inner/cache", b"./a.txt")))
    paths = set(nodes_by_path(reopened(tmp_path), relative.snapshot))
    assert {b"/inner", b"/inner/cache", b"/inner/cache/thumb", b"/a.txt"} <= paths
    assert b"/inner/big.bin" not in paths
    dot = back_up(reopened(tmp_path), BackupOptions(paths=(b".",)))
    assert {b"/a.txt", b"/inner", b"/inner/big.bin"} <= set(
        nodes_by_path(reopened(tmp_path), dot.snapshot))
    assert dot.snapshot.paths == [str(source)]


def test_same_names_from_different_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two relative targets with the same name are both kept, named as restic names them."""
    for place in (tmp_path / "one", tmp_path):
        (place / "data").mkdir(parents=True)
        (place / "data" / "file").write_text(place.name)
    monkeypatch.chdir(tmp_path / "one")
    result = back_up(make_repository(tmp_path), BackupOptions(paths=(b"data", b"../data")))
    files = snapshot_files(reopened(tmp_path), result, Path("/"))
    assert files == {b"/data/file": b"one", b"/data-1/file": os.fsencode(tmp_path.name)}
    assert result.snapshot.paths == [str(tmp_path / "one" / "data"), str(tmp_path / "data")]


def test_deeper_than_a_path_may_be_long(tmp_path: Path) -> None:
    """Folders whose path exceeds 4,096 bytes are saved."""
    root = tmp_path / "deep"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    with os.fdopen(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "w") as file:
        file.write("reached")
    os.close(fd)
    result = _back_up(make_repository(tmp_path), root)
    assert result.errors == ()
    files = snapshot_files(reopened(tmp_path), result, root)
    assert files == {b"/" + b"/".join([b"d" * 200] * 40) + b"/bottom": b"reached"}


def test_sockets_are_left_out_and_fifos_do_not_block(tmp_path: Path, source: Path) -> None:
    """A FIFO is a node; nobody opens it."""
    os.mkfifo(source / "fifo")
    result = _back_up(make_repository(tmp_path), source)
    kinds = {path: node.type for path, node in nodes_by_path(reopened(tmp_path), result.snapshot).items()}
    assert kinds[os.fsencode(source) + b"/fifo"] == "fifo"
    assert stat.S_ISFIFO((source / "fifo").stat().st_mode)
