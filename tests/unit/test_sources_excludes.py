"""What is left out by name, size, file system and tag files; and what is counted beforehand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.errors import UsageError
from kuramori.sources.counting import count_files
from kuramori.sources.excludes import CACHE_TAG_SIGNATURE, ExcludeOptions, Excluder


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """A descriptor of an empty folder."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_nothing_is_left_out_by_default(tmp_path: Path, directory: int) -> None:
    excluder = Excluder(ExcludeOptions())
    assert not excluder.by_name
    assert not excluder.excludes_path(b"/a/cache")
    assert not excluder.excludes_status(os.stat(tmp_path), 0)
    assert excluder.tag_in([b"CACHEDIR.TAG"], directory) is None


def test_either_kind_of_pattern_leaves_out(tmp_path: Path) -> None:
    excluder = Excluder(ExcludeOptions(patterns=(b"*.tmp",), case_insensitive_patterns=(b"*.BAK",)))
    assert excluder.by_name
    assert [excluder.excludes_path(path) for path in (b"/a/x.tmp", b"/a/x.TMP", b"/a/x.bak", b"/a/x.BaK", b"/a/x")] == [
        True, False, True, True, False]


@pytest.mark.parametrize(("size", "out"), [(99, False), (100, False), (101, True)])
def test_larger_files_are_left_out_and_folders_never(tmp_path: Path, size: int, out: bool) -> None:
    excluder = Excluder(ExcludeOptions(larger_than=100))
    (tmp_path / "file").write_bytes(bytes(size))
    assert excluder.excludes_status(os.lstat(tmp_path / "file"), 0) is out
    assert not Excluder(ExcludeOptions(larger_than=0)).excludes_status(os.lstat(tmp_path), 0)


def _status(device: int, mode: int) -> os.stat_result:
    return os.stat_result((mode, 1, device, 1, 0, 0, 0, 0, 0, 0))


def test_other_file_systems_are_left_out_but_for_the_mount_point() -> None:
    excluder = Excluder(ExcludeOptions(one_file_system=True))
    excluder.allow_device(1)
    excluder.allow_device(2)
    folder, file = 0o40755, 0o100644
    assert not excluder.excludes_status(_status(1, folder), 1)
    assert not excluder.excludes_status(_status(2, file), 1)  # the file system of another target
    assert not excluder.excludes_status(_status(3, folder), 1)  # a mount point
    assert excluder.excludes_status(_status(3, folder), 3)  # what is in it
    assert excluder.excludes_status(_status(3, file), 3)
    assert excluder.excludes_status(_status(3, file), 1)  # a mounted file
    assert not Excluder(ExcludeOptions()).excludes_status(_status(3, file), 1)


def test_a_tag_leaves_out_what_lies_beside_it(tmp_path: Path, directory: int) -> None:
    excluder = Excluder(ExcludeOptions(if_present=(b".nobackup", b"TAG:keep out")))
    (tmp_path / ".nobackup").touch()
    (tmp_path / "TAG").write_bytes(b"keep outside")
    assert excluder.tag_in([b"x", b".nobackup"], directory) == b".nobackup"
    assert excluder.tag_in([b"x", b"TAG"], directory) == b"TAG"
    assert excluder.tag_in([b"x"], directory) is None
    (tmp_path / "TAG").write_bytes(b"keep in")
    assert excluder.tag_in([b"TAG"], directory) is None
    assert excluder.tag_in([b"TAG", b".nobackup"], directory) == b".nobackup"


def test_a_cache_tag_must_have_its_signature(tmp_path: Path, directory: int) -> None:
    excluder = Excluder(ExcludeOptions(caches=True))
    tag = b"CACHEDIR.TAG"
    for content, found in ((CACHE_TAG_SIGNATURE + b"\n# more", tag), (b"Signature: 8a47", None), (b"", None)):
        (tmp_path / "CACHEDIR.TAG").write_bytes(content)
        assert excluder.tag_in([b"CACHEDIR.TAG"], directory) == found


def test_a_tag_that_is_no_readable_file_is_none(tmp_path: Path, directory: int) -> None:
    """Least of all a FIFO: opening one would wait for ever."""
    excluder = Excluder(ExcludeOptions(if_present=(b"fifo:x", b"link:x", b"folder:x", b"gone:x")))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    assert excluder.tag_in([b"fifo", b"link", b"folder", b"gone"], directory) is None


@pytest.mark.parametrize("tag", [b"", b":header", b"a/b", b"/a"])
def test_a_tag_is_the_name_of_a_file(tag: bytes) -> None:
    with pytest.raises(UsageError, match="--exclude-if-present"):
        Excluder(ExcludeOptions(if_present=(tag,)))


# --- counting ------------------------------------------------------------------------------------


def _totals(*paths: Path, excludes: ExcludeOptions = ExcludeOptions()) -> tuple[int, int]:  # noqa: B008 - it is frozen
    *_, last = count_files([os.fsencode(path) for path in paths], excludes)
    return last


def test_counting_adds_up_regular_files(tmp_path: Path) -> None:
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "inner" / "b.tmp").write_bytes(bytes(100))
    (tmp_path / "inner" / "deep" / "c").write_bytes(bytes(1000))
    (tmp_path / "link").symlink_to("inner")
    os.mkfifo(tmp_path / "fifo")
    assert _totals(tmp_path) == (3, 1110)
    assert _totals(tmp_path / "inner", tmp_path / "a") == (3, 1110)
    assert _totals(tmp_path, excludes=ExcludeOptions(patterns=(b"*.tmp",))) == (2, 1010)
    assert _totals(tmp_path, excludes=ExcludeOptions(patterns=(b"deep",))) == (2, 110)


def test_counting_passes_over_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    assert _totals(tmp_path / "gone", tmp_path) == (1, 10)
    assert _totals() == (0, 0)


def test_counting_never_goes_down(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file").write_bytes(bytes(number))
    seen = list(count_files([os.fsencode(tmp_path)], ExcludeOptions()))
    assert seen == sorted(seen)
    assert seen[-1] == (5, 10)
