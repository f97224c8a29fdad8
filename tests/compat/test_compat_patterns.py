"""Patterns leave out, restore and find the same entries as with restic."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kuramori.browsing.find import FindOptions, find
from kuramori.errors import UsageError
from kuramori.restoring.selection import Selection, SelectionOptions
from kuramori.sources.patterns import PatternList
from kuramori.testing.restic_judge import Restic, ResticFailedError
from samples.repositories import make_repository, reopened
from samples.thoroughness import some

FILES = [
    "a", "b/x.go", "c/a/b.GO", "ab/c/z.go", "ab/y.txt", "abc/a/b/c/d/e", "[x]", "*star", "?mark", "back\\slash",
    "é/ü/日本", "-dash", "^hat", "A/B", "a]b", "!not", ".hidden", "#hash", "cache/tmp/one", "cache/keep",
    "tmp/cache/two", "deep/1/2/3/4/a", "deep/1/2/3/4/b", "sp\tace/x",
]
PATTERNS = [
    "a", "b", "*", "**", "?", "*.go", "*.txt", "[ab]", "[^a]*", "[a-c]b", "ab/c", "c/a", "ab/**/z.go", "**/x",
    "**/a/**", "a/**", "**", "/**", "**/**", "abc/*/b", "abc/**/e", "deep/**/4", "deep/*/4", "deep/1/*/3/?/a",
    "\\[x]", "[[]x]", "\\*star", "[*]star", "[?]mark", "\\?mark", "back\\\\slash", "back[\\\\]slash", "é/ü", "?/?/??",
    "[à-ü]", "\\a/B", "A/*", "a/b", "[\\]a]*", "[\\--z]*", "-dash", "[\\^]hat", "[^^]hat", "a[\\]]b", "\\!not", ".*",
    ".h*", "./ab", "ab/", "ab//", "ab/./c", "ab/../c", "../ab", ".", "cache/*/one", "tmp", "cache", "*/tmp/", "/tmp",
    "//tmp", "***", "**a", "a**", "a**/e", "[z-a]", "[^z-a]", "?*", "*?", "*?*", "*[^.]*", "ab?c", "sp*/x", "#hash",
]
MALFORMED = ["[", "[a", "[]a]", "a\\", "[^]", "[a-", "[a-]", "[-a]", "x/[", "ok/**/["]
LISTS = [["*", "!a"], ["ab", "!ab/c"], ["!a", "*"], ["*.go", "!**/z.go"], ["cache/*", "!cache/keep"],
         ["**", "!deep/**"], ["*", "!*/", "!x"], ["[bc]", "é", "*.txt", "deep/1"], ["a", "!a", "a"],
         ["deep/**", "!deep/1/2/3/4/a"]]
INSENSITIVE = ["*.go", "A", "É", "AB/C", "[A-C]", "CACHE", "ü"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder whose names a pattern could take for something else."""
    folder = tmp_path / "source"
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / os.fsdecode(b"byte\xff")).touch()
    return folder


@pytest.fixture
def restic(tmp_path: Path, restic_new: str) -> Restic:
    """restic, with a repository whose key costs nothing."""
    make_repository(tmp_path).close()
    return Restic(restic_new, tmp_path / "repository", "x", home=tmp_path)


def entries(folder: bytes, leave_out: Callable[[bytes], bool]) -> Iterator[bytes]:
    """Yield what a backup takes of a folder."""
    with os.scandir(folder) as found:
        for entry in found:
            if not leave_out(entry.path):
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    yield from entries(entry.path, leave_out)


def restic_takes(restic: Restic, source: Path, *options: str) -> set[bytes]:
    """Return what restic would back up below a folder. (Its JSON replaces bytes that are no text.)"""
    lines = restic.run("backup", "--dry-run", "-vv", "--json", *options, source).json_lines()
    items = {line["item"].rstrip("/") for line in lines if line.get("action") == "new"}
    return {item.encode() for item in items if item.startswith(f"{source}/")}


def as_restic_shows(paths: Iterator[bytes]) -> set[bytes]:
    return {path.decode("utf-8", "replace").encode() for path in paths}


def assert_same_excludes(restic: Restic, source: Path, patterns: Sequence[str], *, ignore_case: bool = False) -> None:
    """Compare what both would back up."""
    compiled = PatternList([pattern.encode() for pattern in patterns], case_insensitive=ignore_case)
    ours = as_restic_shows(entries(os.fsencode(source), compiled.matches))
    flag = "--iexclude" if ignore_case else "--exclude"
    theirs = restic_takes(restic, source, *(word for pattern in patterns for word in (flag, pattern)))
    assert ours == theirs, f"{patterns}: {sorted(ours ^ theirs)}"


def test_each_pattern_leaves_out_what_restic_leaves_out(restic: Restic, source: Path) -> None:
    for pattern in PATTERNS:
        assert_same_excludes(restic, source, [pattern])
    for pattern in ("a", "ab/**", "*/c", "deep/*/2/**/a", "**/one", "[x]", "\\[x]"):
        assert_same_excludes(restic, source, [f"{source}/{pattern}"])


def test_lists_of_patterns_leave_out_what_restic_leaves_out(restic: Restic, source: Path) -> None:
    for patterns in LISTS:
        assert_same_excludes(restic, source, patterns)


def test_patterns_that_ignore_case_leave_out_what_restic_leaves_out(restic: Restic, source: Path) -> None:
    for pattern in INSENSITIVE:
        assert_same_excludes(restic, source, [pattern], ignore_case=True)


def test_both_refuse_the_same_patterns(restic: Restic, source: Path) -> None:
    for pattern in MALFORMED:
        with pytest.raises(UsageError):
            PatternList([pattern.encode()])
        with pytest.raises(ResticFailedError, match="invalid pattern"):
            restic_takes(restic, source, "--exclude", pattern)


# --- in a snapshot -------------------------------------------------------------------------------

RESTORED = ["a", "*.go", "/ab", "/ab/c/z.go", "/**/z.go", "/deep/**/4", "/deep/*/2/**/b", "/cache/*/one", "tmp",
            "[ab]*", "/*/c", "**/4/a", "/é", "/[x]", "\\[x]", "/deep/1/2/3/4/a/", "/c/**", "*/a", "/*", "/", "?",
            "no such name"]


def restored_by_us(source: Path, options: SelectionOptions) -> set[bytes]:
    """Return the files that a restore writes, without one."""
    selection = Selection(options)
    found: set[bytes] = set()
    pending = [b""]
    while pending:
        folder = pending.pop()
        for entry in os.scandir(os.fsencode(source) + folder):
            path = folder + b"/" + entry.name
            selected, inside = selection.select(path, entry.is_dir())
            if inside:
                pending.append(path)
            if selected and not entry.is_dir():
                found.add(path)
    return found


def restored_by_restic(restic: Restic, source: Path, flag: str, pattern: str) -> set[bytes]:
    """Return the files that restic would write."""
    outcome = restic.restore("latest", source.parent / "target", "--dry-run", "-vv", "--json", flag, pattern)
    items = (line["item"] for line in outcome.json_lines() if line.get("action") == "restored")
    return {item.encode() for item in items if not (source / item[1:]).is_dir()}


def test_a_restore_takes_what_restic_takes(restic: Restic, source: Path) -> None:
    (source / os.fsdecode(b"byte\xff")).unlink()  # restic's JSON cannot name it
    restic.backup(".", directory=source)
    for pattern in some(RESTORED, 3):
        encoded = (pattern.encode(),)
        assert restored_by_us(source, SelectionOptions(includes=encoded)) == restored_by_restic(
            restic, source, "--include", pattern), f"including {pattern}"
        assert restored_by_us(source, SelectionOptions(excludes=encoded)) == restored_by_restic(
            restic, source, "--exclude", pattern), f"excluding {pattern}"


def test_find_finds_what_restic_finds(restic: Restic, source: Path, tmp_path: Path) -> None:
    (source / os.fsdecode(b"byte\xff")).unlink()
    restic.backup(".", directory=source)
    repository = reopened(tmp_path)
    repository.load_index()
    for pattern in some(RESTORED, 3):
        theirs = {match["path"] for found in json.loads(restic.run("find", "--json", pattern).stdout)
                  for match in found["matches"]}
        ours = {walked.path.decode() for found in find(repository, FindOptions(patterns=(pattern.encode(),)))
                for walked in found.entries}
        assert ours == theirs, pattern
    repository.close()
