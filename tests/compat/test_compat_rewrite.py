"""The same repository, rewritten by restic and by us with the same options: the snapshots are the same to the
byte, and restic finds what we left sound."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kuramori.ids import parse_id
from kuramori.model.snapshot import decode_snapshot, encode_snapshot
from kuramori.repository.repository import Repository
from kuramori.storage.backend import FileType
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, copy, make_source, node, tree


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, restic_old: str, restic_new: str) -> Path:
    """Three snapshots: of an old restic (without summary), a new one and ours."""
    folder = tmp_path_factory.mktemp("rewrite")
    source = folder / "source"
    make_source(source)
    for name in ("Picture.JPG", "deep/picture.jpg", "deep/deeper/notes.tmp", "we <& \N{LINE SEPARATOR} ird\n\"name\""):
        (source / name).write_text(name)
    (source / os.fsdecode(b"not utf-8 \xff")).write_text("x")
    (source / "hollow").mkdir()
    (source / "odd link").symlink_to(b"to \xff <nowhere>\x08")
    ours = Kuramori(folder / "repository", PASSWORD)
    ours.init_quickly()
    (source / "odd link").rename(folder / "odd link")  # the old one writes such a target in another way
    Restic(restic_old, folder / "repository", PASSWORD).run("backup", "source", "--tag", "old", directory=folder)
    (folder / "odd link").rename(source / "odd link")
    (source / "daily").write_text("second")
    Restic(restic_new, folder / "repository", PASSWORD).run("backup", source, "--tag", "new,too", "--host", "other")
    (source / "daily").write_text("third")
    ours.backup("source", "--tag", "ours", directory=folder)
    return folder


def _both(base: Path, folder: Path, restic: str) -> tuple[Restic, Kuramori]:
    for name in ("theirs", "ours"):
        shutil.copytree(base / "repository", folder / name)
    return Restic(restic, folder / "theirs", PASSWORD), Kuramori(folder / "ours", PASSWORD)


def _snapshots(repository: Path, password: str = PASSWORD) -> list[str]:
    """Return all snapshots without their ids."""
    opened: Repository = Workshop(repository).repository
    return sorted(encode_snapshot(decode_snapshot(opened.load_unpacked(FileType.SNAPSHOT, info.name))).decode()
                  for info in opened.backend.list(FileType.SNAPSHOT))


OPTIONS = [
    ("--exclude", "deep/deeper"), ("--exclude", "*.jpg"), ("--iexclude", "*.jpg"),
    ("-e", "/source/text", "-e", "empty"),
    ("--exclude", "source"), ("--exclude", "/nothing/like/it"), ("--exclude", "*", "--exclude", "!*.jpg"),
    ("--exclude", "not utf-8*"), ("--exclude", "we*name*"), ("--exclude", "file[2-5]", "--iexclude", "NOTES.*"),
    ("--exclude", "/**/deep/*[0-9]"),
    ("--include", "*.jpg"), ("--iinclude", "*.JPG"), ("--include", "hollow"), ("--include", "deep/deeper"),
    ("--include", "/source/deep/file1", "--iinclude", "TEXT"), ("--include", "/nothing/like/it"),
    ("--include", "source/**"),
    ("--new-host", "elsewhere"), ("--new-time", "2020-02-29 12:34:56"),
    ("--new-host", "elsewhere", "--new-time", "1999-12-31 23:59:59", "--exclude", "daily"),
    ("--snapshot-summary",), ("-s", "--exclude", "text"), ("--exclude", "text", "--tag", "old"),
    ("--exclude", "text", "--host", "other"), ("--exclude", "text", "--path", "/nowhere"),
    ("--exclude", "text", "latest"),
]


@pytest.mark.exhaustive(except_each=11)
@pytest.mark.parametrize("forget", [False, True], ids=["kept", "forgotten"])
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_the_new_snapshots_are_the_same(base: Path, tmp_path: Path, restic_new: str, options: tuple[str, ...],
                                        forget: bool) -> None:
    restic, ours = _both(base, tmp_path, restic_new)
    arguments = (*options, *(["--forget"] if forget else []))
    theirs = restic.run("rewrite", *arguments).stdout
    said = ours.run("rewrite", *arguments)
    assert _snapshots(tmp_path / "ours") == _snapshots(tmp_path / "theirs")
    assert ("no snapshots were modified" in said) == ("no snapshots were modified" in theirs)
    if forget:
        Restic(restic_new, tmp_path / "ours", PASSWORD).run("check", "--read-data", timeout_seconds=60)
    elif "--new-host" not in options and "--new-time" not in options:
        made = _snapshots(tmp_path / "ours")
        assert "no snapshots were modified" in ours.run("rewrite", *arguments, codes=(0,)), "they are there already"
        assert _snapshots(tmp_path / "ours") == made


@pytest.mark.parametrize("option", ["--exclude-file", "--iexclude-file", "--include-file", "--iinclude-file"])
def test_patterns_from_files(base: Path, tmp_path: Path, restic_new: str, option: str) -> None:
    restic, ours = _both(base, tmp_path, restic_new)
    (tmp_path / "patterns").write_text("# pictures\n*.jpg\n\n  deep/file1  \n")
    restic.run("rewrite", option, "patterns", directory=tmp_path)
    assert "modified 3 snapshots" in ours.run("rewrite", option, "patterns", directory=tmp_path)
    assert _snapshots(tmp_path / "ours") == _snapshots(tmp_path / "theirs")


def test_a_dry_run_writes_nothing(base: Path, tmp_path: Path, restic_new: str) -> None:
    restic, ours = _both(base, tmp_path, restic_new)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    arguments = ("rewrite", "--exclude", "*.jpg", "--forget", "--dry-run")
    said = ours.run(*arguments)
    assert "would modify 3 snapshots" in said
    assert "would modify 3 snapshots" in restic.run(*arguments).stdout
    assert said.count("would save a new snapshot") == said.count("would remove the old one") == 3
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "ours").rglob("*") if path.is_file()} == before
    named = ours.run(*arguments, "-vv")
    assert "excluded   /source/deep/picture.jpg" in named


def test_what_makes_no_sense_is_refused(base: Path, tmp_path: Path, restic_new: str) -> None:
    restic, ours = _both(base, tmp_path, restic_new)
    before = _snapshots(tmp_path / "ours")
    for arguments in ([], ["--exclude", "a", "--include", "b"], ["--new-time", "yesterday"], ["--exclude", "[a"]):
        restic.run("rewrite", *arguments, codes=(1,))
        ours.run("rewrite", *arguments, codes=(1,))
    for arguments in (["--exclude", "text", "00000000"], ["--exclude", "text", "--host", "other", "latest", ""]):
        ours.run("rewrite", *arguments, codes=(1,))
    assert _snapshots(tmp_path / "ours") == before


LOSSY = {
    "an unknown field": b'{"nodes":[%s]}\n' % node("a", "fifo", ',"content":null,"label":"kept"').encode(),
    "an unknown field of the tree": b'{"label":"kept","nodes":[]}\n',
    "fields in another order": b'{"nodes":[{"type":"fifo","name":"a","mode":420,"mtime":"2020-01-01T00:00:00Z",'
                               b'"atime":"2020-01-01T00:00:00Z","ctime":"2020-01-01T00:00:00Z","uid":0,"gid":0,'
                               b'"content":null}]}\n',
    "spaces": b'{"nodes": []}\n',
    "no line break": b'{"nodes":[]}',
    "null": b'{"nodes":null}\n',
    "another escape": tree(node("a\\u0062", "fifo", ',"content":null')),
}


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("name", LOSSY)
def test_what_would_lose_information_is_refused(base: Path, tmp_path: Path, restic_new: str, name: str) -> None:
    workshop = copy(base / "repository", tmp_path / "ours")
    inner = workshop.add_tree(LOSSY[name]).hex()
    workshop.add_tree_snapshot(tree(node("in", "dir", f',"content":null,"subtree":"{inner}"')))
    before = _snapshots(tmp_path / "ours")
    arguments = ("rewrite", "--exclude", "text", "--forget")
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    Restic(restic_new, tmp_path / "theirs", PASSWORD).run(*arguments, codes=(1,))
    Kuramori(tmp_path / "ours", PASSWORD).run(*arguments, codes=(1,))
    assert _snapshots(tmp_path / "ours") == before, "of the other snapshots too"
    Kuramori(tmp_path / "ours", PASSWORD).run("rewrite", "--new-host", "x")
    Kuramori(tmp_path / "ours", PASSWORD).run("rewrite", "--exclude", "/in")


def test_a_damaged_tree_is_refused(base: Path, tmp_path: Path) -> None:
    workshop = copy(base / "repository", tmp_path / "ours")
    workshop.add_snapshot(parse_id("ab" * 32))
    before = _snapshots(tmp_path / "ours")
    Kuramori(tmp_path / "ours", PASSWORD).run("rewrite", "--exclude", "text", codes=(1,))
    assert _snapshots(tmp_path / "ours") == before


def test_json(base: Path, tmp_path: Path, restic_new: str) -> None:
    _, ours = _both(base, tmp_path, restic_new)
    *changed, summary = [json.loads(line) for line in ours.run("rewrite", "--exclude", "text", "--json").splitlines()]
    assert summary == {"message_type": "summary", "dry_run": False, "snapshots": 3, "modified": 3}
    by_id = {each["id"]: each for each in ours.snapshots()}
    for each in changed:
        assert by_id[each["new_snapshot"]]["original"] == each["snapshot"]
        assert by_id[each["new_snapshot"]]["tree"] == each["new_tree"]
