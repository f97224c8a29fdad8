"""``restore`` with each option leaves the target as restic leaves it, and counts what restic counts."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.tree_facts import Facts, assert_same_tree, tree_facts

PASSWORD = "options"
LONG_AGO = 1_500_000_000 * 10**9
THEN = 1_600_000_000 * 10**9
LATER = 1_700_000_000 * 10**9


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository, the folder that it holds, and a target in which every kind of thing is in the way."""
    base = tmp_path_factory.mktemp("options")
    source = base / "source"
    for folder in ("keep/inner", "logs", "Photos", "bare"):
        (source / folder).mkdir(parents=True)
    files = {"same": b"same" * 999, "touched": b"touched", "grown": b"0123456789", "older": b"older here",
             "newer": b"newer here", "quiet": b"as long!", "keep/inner/file": b"inner", "keep/one.txt": b"one",
             "logs/a.log": b"a" * 5000, "logs/b.LOG": b"b", "Photos/p.JPG": b"\xff\xd8" * 900, "was folder": b"file",
             "was link": b"file too", "zeros": bytes(3_000_000) + b"end"}
    for name, content in files.items():
        (source / name).write_bytes(content)
        os.utime(source / name, ns=(THEN, THEN))
    (source / "link").symlink_to("same")
    for folder in (source, *(path for path in source.rglob("*") if path.is_dir())):
        os.utime(folder, ns=(THEN, THEN))
    Kuramori(base / "repository", PASSWORD).init_quickly()
    Kuramori(base / "repository", PASSWORD).backup(".", "--no-scan", directory=source)
    target = base / "target"
    shutil.copytree(source, target, symlinks=True)
    for name, content, time in (("touched", b"touched", LATER), ("grown", b"0123", THEN), ("older", b"old", LONG_AGO),
                                ("newer", b"new", LATER), ("quiet", b"changed!", THEN)):
        (target / name).write_bytes(content)
        os.utime(target / name, ns=(time, time))
    (target / "was folder").unlink()
    (target / "was folder").mkdir()
    (target / "was link").unlink()
    (target / "was link").symlink_to("same")
    (target / "keep" / "one.txt").unlink()
    (target / "keep" / "mine.txt").write_text("mine")
    (target / "logs" / "mine.log").write_text("mine")
    (target / "logs" / "mine folder" / "deep").mkdir(parents=True)
    (target / "logs" / "mine folder" / "deep" / "file").write_text("mine")
    (target / "mine").symlink_to("same")
    return base


def _pair(world: Path, tmp_path: Path, restic_new: str) -> tuple[Kuramori, Restic]:
    for name in ("ours", "theirs"):
        shutil.copytree(world / "target", tmp_path / name, symlinks=True)
    return (Kuramori(world / "repository", PASSWORD),
            Restic(restic_new, world / "repository", PASSWORD, home=tmp_path))


def _compare(world: Path, tmp_path: Path, restic_new: str, *options: str) -> dict[str, int]:
    """Restore with both into equal targets; return our summary."""
    kuramori, restic = _pair(world, tmp_path, restic_new)
    arguments = ("restore", "latest", "--json", *options, "--target")
    theirs = [json.loads(line) for line in restic.run(*arguments, tmp_path / "theirs").stdout.splitlines()]
    ours = [json.loads(line) for line in kuramori.run(*arguments, tmp_path / "ours").splitlines()]
    if "--dry-run" in options:
        assert_same_tree(_settled(world / "target"), _settled(tmp_path / "ours"))
    _same_facts(tmp_path)
    counted = ("files_deleted", "files_skipped", "bytes_skipped", "total_bytes", "files_restored", "bytes_restored")
    assert {name: ours[-1].get(name, 0) for name in counted} == {
        name: theirs[-1].get(name, 0) for name in counted}
    return dict(ours[-1])


def _settled(folder: Path) -> dict[bytes, Facts]:
    """Return the facts, without the times of folders that only noticed what was done in them."""
    return {name: replace(facts, mtime_ns=0) if facts.mtime_ns > LATER else facts
            for name, facts in tree_facts(folder).items()}


def _same_facts(tmp_path: Path) -> None:
    assert_same_tree(_settled(tmp_path / "theirs"), _settled(tmp_path / "ours"))


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("overwrite", ["always", "if-changed", "if-newer", "never"])
@pytest.mark.parametrize("more", [(), ("--delete",), ("--sparse",), ("--dry-run",), ("--delete", "--dry-run"),
                                  ("--delete", "--verify")], ids=" ".join)
def test_overwrite(world: Path, tmp_path: Path, restic_new: str, overwrite: str, more: tuple[str, ...]) -> None:
    _compare(world, tmp_path, restic_new, "--overwrite", overwrite, *more)


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("delete", [(), ("--delete",)], ids=["", "delete"])
@pytest.mark.parametrize("patterns", [
    ("--include", "/logs"), ("--include", "*.log"), ("--iinclude", "*.LOG"), ("--include", "/keep/inner/file"),
    ("--include", "/logs", "--include", "/Photos"), ("--include", "nothing like it"),
    ("--exclude", "/logs"), ("--exclude", "*.log"), ("--iexclude", "*.log"), ("--exclude", "inner"),
    ("--exclude", "*", "--exclude", "!/keep"), ("--iexclude", "PHOTOS", "--exclude", "zeros"),
    ("--include", "mine*"), ("--exclude", "mine*"),
], ids=" ".join)
def test_patterns(world: Path, tmp_path: Path, restic_new: str, patterns: tuple[str, ...],
                  delete: tuple[str, ...]) -> None:
    _compare(world, tmp_path, restic_new, *patterns, *delete)


def test_patterns_from_files(world: Path, tmp_path: Path, restic_new: str) -> None:
    (tmp_path / "patterns").write_text("# comment\n\n/logs\n*.JPG\n")
    _compare(world, tmp_path, restic_new, "--include-file", str(tmp_path / "patterns"))


def test_a_subfolder(world: Path, tmp_path: Path, restic_new: str) -> None:
    """Its own content goes into the target, not its name."""
    kuramori, restic = _pair(world, tmp_path, restic_new)
    for command, name in ((kuramori, "ours"), (restic, "theirs")):
        command.run("restore", "latest:/keep", "--target", tmp_path / f"{name} keep")
    assert_same_tree(_settled(tmp_path / "theirs keep"), _settled(tmp_path / "ours keep"))


def test_sparse_files_have_holes(world: Path, tmp_path: Path) -> None:
    kuramori = Kuramori(world / "repository", PASSWORD)
    kuramori.run("restore", "latest", "--sparse", "--verify", "--target", tmp_path / "target")
    made = tmp_path / "target" / "zeros"
    assert made.read_bytes() == (world / "source" / "zeros").read_bytes()
    assert made.stat().st_blocks * 512 < 1_500_000


def test_a_dry_run_makes_no_target(world: Path, tmp_path: Path) -> None:
    """And says how many items it would restore: as many as the real run does."""
    kuramori = Kuramori(world / "repository", PASSWORD)
    said = []
    for more in (("--dry-run",), ()):
        lines = kuramori.run("restore", "latest", "--json", "--target", tmp_path / "target", *more).splitlines()
        said.append(json.loads(lines[-1]))
        assert (tmp_path / "target").exists() == (not more)
    names = ("total_files", "files_restored", "total_bytes", "bytes_restored")
    assert [said[0][name] for name in names] == [said[1][name] for name in names]


def test_verify_passes_over_what_was_left_standing(world: Path, tmp_path: Path, restic_new: str) -> None:
    """It is not what the snapshot has, and nobody asked that it should be."""
    summary = _compare(world, tmp_path, restic_new, "--overwrite", "never", "--verify")
    assert summary["files_verified"] >= 1


@pytest.mark.exhaustive(except_each=7)
@pytest.mark.parametrize("overwrite", ["always", "if-changed", "if-newer", "never"])
@pytest.mark.parametrize("there", [(), ("one",), ("two",), ("one", "two")], ids=" ".join)
@pytest.mark.parametrize("equal", [False, True])
def test_hard_links(tmp_path: Path, restic_new: str, overwrite: str, there: tuple[str, ...], equal: bool) -> None:
    """Names that stand there already, with the same content or another: linked as restic links them;
    but never to a file that was left standing though it is another one."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "one").write_bytes(b"content")
    os.link(source / "one", source / "two")
    os.utime(source / "one", ns=(THEN, THEN))
    Kuramori(tmp_path / "repository", PASSWORD).init_quickly()
    Kuramori(tmp_path / "repository", PASSWORD).backup(".", directory=source)
    for target in ("ours", "theirs"):
        (tmp_path / target).mkdir()
        for name in there:
            (tmp_path / target / name).write_bytes(b"content" if equal else b"another")
            os.utime(tmp_path / target / name, ns=(THEN, THEN) if equal else (LATER, LATER))
    arguments = ("restore", "latest", "--overwrite", overwrite, "--target")
    Kuramori(tmp_path / "repository", PASSWORD).run(*arguments, tmp_path / "ours")
    Restic(restic_new, tmp_path / "repository", PASSWORD, home=tmp_path).run(*arguments, tmp_path / "theirs")
    standing = overwrite in ("if-newer", "never") and there == ("one",)
    if standing:
        assert (tmp_path / "ours" / "two").read_bytes() == b"content"
        assert (tmp_path / "ours" / "one").read_bytes() == (b"content" if equal else b"another")
    else:
        _same_facts(tmp_path)
