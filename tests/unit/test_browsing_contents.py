"""Looking into a repository: diff, stats, dump."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from kuramori.browsing.diff import DiffOptions, diff_snapshots
from kuramori.browsing.dump import ArchiveFormat, DumpOptions, dump
from kuramori.browsing.stats import StatisticsMode, StatisticsOptions, count_statistics
from kuramori.errors import NoSuchPathError, NotADirectoryInSnapshotError, UsageError
from samples.two_snapshots import NOISE, House, make_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two snapshots, made once."""
    return make_house(tmp_path_factory.mktemp("browsing"))


# --- diff ----------------------------------------------------------------------------------------


def _changes(house: House, first: str, second: str, *, metadata: bool = False) -> dict[bytes, str]:
    folder = os.fsdecode(house.source)
    result = diff_snapshots(house.repository, f"{first}:{folder}", f"{second}:{folder}", DiffOptions(metadata))
    return {change.path: change.modifier for change in result.changes}


FORWARD = {b"/a.txt": "M", b"/gone.log": "-", b"/hard": "M", b"/new": "+", b"/turns/": "T"}


def test_a_diff_names_what_differs(house: House) -> None:
    assert _changes(house, house.one.id, house.two.id) == FORWARD
    assert _changes(house, house.two.id, house.one.id) == {
        b"/a.txt": "M", b"/gone.log": "+", b"/hard": "M", b"/new": "-", b"/turns": "T"}
    assert _changes(house, house.one.id, house.one.id, metadata=True) == {}
    changed = _changes(house, house.one.id, house.two.id, metadata=True)
    assert changed[b"/touched"] == "U"
    assert changed[b"/a.txt"] == "M"
    assert b"/same/" not in changed


def test_a_diff_adds_up_both_sides(house: House) -> None:
    result = diff_snapshots(house.repository, house.one.id, house.two.id)
    assert {change.path for change in result.changes} == {house.source + path for path in FORWARD}
    assert (result.first, result.second) == (house.one, house.two)
    sums = result.statistics
    assert (sums.changed_files, sums.added.files, sums.removed.files, sums.added.dirs) == (2, 1, 1, 0)
    # What went with gone.log is still there in same/copy; a.txt and hard are one content.
    assert (sums.added.data_blobs, sums.removed.data_blobs) == (2, 2)
    folders = house.source.count(b"/") + 1
    assert (sums.added.tree_blobs, sums.removed.tree_blobs) == (folders + 1, folders)  # "turns" became one
    assert sums.removed.bytes > sums.removed.tree_blobs * 100 + len(b"first") + len(b"a file")


# --- stats ---------------------------------------------------------------------------------------


def test_the_size_of_a_restore_counts_a_hard_link_once(house: House) -> None:
    folders_above = house.source.count(b"/")
    found = count_statistics(house.repository, StatisticsOptions(snapshots=(house.one.id,)))
    assert found.snapshots == 1
    assert found.total_file_count == 12 + folders_above
    names = [b"first", NOISE, b"touched", b"a file", NOISE, b"bee", b"odd"]
    assert found.total_size == sum(map(len, names))
    both = count_statistics(house.repository)
    assert both.snapshots == 2
    assert both.total_size == 2 * found.total_size - len(NOISE) + len(b"second!") - len(b"first") + \
        len(b"new") + len(b"inner") - len(b"a file")


def test_each_content_is_counted_once_by_contents(house: House) -> None:
    contents = {b"first", NOISE, b"touched", b"a file", b"bee", b"odd", b"second!", b"new", b"inner"}
    found = count_statistics(house.repository, StatisticsOptions(StatisticsMode.FILES_BY_CONTENTS))
    assert found.total_size == sum(map(len, contents))
    assert found.total_file_count == len(contents) + 1  # whatever has no content counts as one, as with restic


def test_blobs_per_file_counts_what_a_path_brings(house: House) -> None:
    found = count_statistics(house.repository, StatisticsOptions(StatisticsMode.BLOBS_PER_FILE))
    contents = {b"first", NOISE, b"touched", b"a file", b"bee", b"odd", b"second!", b"new", b"inner"}
    assert found.total_blob_count == len(contents)
    assert found.total_size == sum(map(len, contents))
    assert found.total_file_count == len(contents) - 1  # a.txt has two contents


def test_raw_data_is_what_the_index_holds(house: House) -> None:
    found = count_statistics(house.repository, StatisticsOptions(StatisticsMode.RAW_DATA))
    blobs = list(house.repository.index.blobs())
    assert found.total_blob_count == len(blobs)
    assert found.total_size == sum(blob.length for blob in blobs)
    assert found.total_uncompressed_size == sum(blob.plain_length + 32 for blob in blobs)
    compressed = [blob for blob in blobs if blob.uncompressed_length]
    assert found.compressed_blobs_size == sum(blob.length for blob in compressed)
    assert found.compression_ratio > 1
    assert 0 < found.compression_space_saving < 100
    assert 0 < found.compression_progress <= 100


# --- dump ----------------------------------------------------------------------------------------


def _dump(house: House, path: bytes, archive: ArchiveFormat = ArchiveFormat.TAR) -> io.BytesIO:
    stream = io.BytesIO()
    result = dump(house.repository, f"{house.one.id}:{os.fsdecode(house.source)}", stream, DumpOptions(path, archive))
    assert result.snapshot == house.one
    stream.seek(0)
    return stream


def test_a_file_is_dumped_as_it_is(house: House) -> None:
    assert _dump(house, b"/gone.log").read() == NOISE
    assert _dump(house, b"deep//./deeper/b.txt").read() == b"bee"


def test_a_folder_is_dumped_as_tar(house: House, tmp_path: Path) -> None:
    with tarfile.open(fileobj=_dump(house, b"/"), errors="surrogateescape") as archive:
        members = {member.name: member for member in archive.getmembers()}
        archive.extractall(tmp_path, filter="fully_trusted")
    root = tmp_path
    assert (root / "a.txt").read_bytes() == b"first"
    assert (root / "hard").read_bytes() == b"first"
    assert (root / "deep" / os.fsdecode("é\n".encode() + b"\xff")).read_bytes() == b"odd"
    assert os.readlink(root / "link") == "a.txt"
    assert stat.S_IMODE((root / "deep").stat().st_mode) == stat.S_IMODE(os.stat(house.source + b"/deep").st_mode)
    assert (root / "touched").stat().st_mtime == 1_600_000_000
    assert len(members) == 12


def test_a_folder_is_dumped_as_zip(house: House) -> None:
    with zipfile.ZipFile(_dump(house, b"/deep", ArchiveFormat.ZIP)) as archive:
        assert archive.testzip() is None
        contents = {name.rstrip("/").rsplit("/", 1)[-1]: archive.read(name) for name in archive.namelist()}
    assert contents["b.txt"] == b"bee"
    assert b"odd" in contents.values()


@pytest.mark.parametrize(("path", "error"), [(b"/no", NoSuchPathError), (b"/deep/no", NoSuchPathError),
                                             (b"/a.txt/x", NotADirectoryInSnapshotError), (b"/link", UsageError)])
def test_what_cannot_be_dumped_is_named_before_anything_is_written(house: House, path: bytes,
                                                                   error: type[Exception]) -> None:
    stream = io.BytesIO()
    with pytest.raises(error) as failure:
        dump(house.repository, f"{house.one.id}:{os.fsdecode(house.source)}", stream, DumpOptions(path))
    assert os.fsdecode(path.split(b"/")[1]) in str(failure.value)
    assert stream.getvalue() == b""
