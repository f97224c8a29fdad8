"""restic and kuramori see the same in a repository: ls, diff, stats, dump, snapshots."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kuramori.browsing.diff import DiffOptions, diff_snapshots
from kuramori.browsing.dump import ArchiveFormat, DumpOptions, dump
from kuramori.browsing.listing import list_snapshot
from kuramori.browsing.stats import StatisticsMode, StatisticsOptions, count_statistics
from kuramori.repository.snapshots import load_snapshots
from kuramori.testing.restic_judge import Restic
from samples.two_snapshots import House, make_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two snapshots, made once."""
    return make_house(tmp_path_factory.mktemp("browsing"))


@pytest.fixture
def restic(house: House, restic_new: str, tmp_path: Path) -> Restic:
    """restic on the same repository."""
    return Restic(restic_new, house.repository.backend.location, "x", home=tmp_path)


def test_listings(house: House, restic: Restic) -> None:
    for stored in (house.one, house.two):
        theirs = [(line["path"], line["type"]) for line in restic.run("ls", "--json", stored.id).json_lines()
                  if line.get("struct_type") == "node"]
        ours = [(walked.path.decode("utf-8", "replace"), walked.node.type)
                for walked in list_snapshot(house.repository, stored.id).nodes]
        assert ours == theirs


@pytest.mark.parametrize("metadata", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_differences(house: House, restic: Restic, metadata: bool, backwards: bool) -> None:
    first, second = (house.two.id, house.one.id) if backwards else (house.one.id, house.two.id)
    lines = restic.run("diff", "--json", *(["--metadata"] if metadata else []), first, second).json_lines()
    theirs = {line["path"]: line["modifier"] for line in lines if line["message_type"] == "change"}
    result = diff_snapshots(house.repository, first, second, DiffOptions(metadata))
    assert {change.path.decode("utf-8", "replace"): change.modifier for change in result.changes} == theirs
    statistics = next(line for line in lines if line["message_type"] == "statistics")
    assert result.statistics.changed_files == statistics["changed_files"]
    for ours, expected in ((result.statistics.added, statistics["added"]),
                           (result.statistics.removed, statistics["removed"])):
        assert {name: getattr(ours, name) for name in expected} == expected


@pytest.mark.parametrize("mode", StatisticsMode)
def test_statistics(house: House, restic: Restic, mode: StatisticsMode) -> None:
    for names in ((), (house.one.id,)):
        theirs: dict[str, Any] = json.loads(restic.run("stats", "--json", "--mode", mode.value, *names).stdout)
        ours = count_statistics(house.repository, StatisticsOptions(mode, snapshots=names))
        assert ours.snapshots == theirs.pop("snapshots_count")
        for name, value in theirs.items():
            assert getattr(ours, name) == pytest.approx(value), name


def test_files_and_archives(house: House, restic: Restic, tmp_path: Path) -> None:
    folder = os.fsdecode(house.source)

    def ours(path: str, archive: ArchiveFormat = ArchiveFormat.TAR) -> bytes:
        stream = io.BytesIO()
        dump(house.repository, house.one.id, stream, DumpOptions(os.fsencode(folder + path), archive))
        return stream.getvalue()

    def theirs(path: str, archive: str = "tar") -> bytes:
        target = tmp_path / "dumped"
        restic.run("dump", "--target", target, "--archive", archive, house.one.id, folder + path)
        return target.read_bytes()

    assert ours("/a.txt") == theirs("/a.txt")
    with tarfile.open(fileobj=io.BytesIO(ours(""))) as one, tarfile.open(fileobj=io.BytesIO(theirs(""))) as other:
        assert [_facts(member) for member in one] == [_facts(member) for member in other]
    with zipfile.ZipFile(io.BytesIO(ours("/same", ArchiveFormat.ZIP))) as one_zip, \
            zipfile.ZipFile(io.BytesIO(theirs("/same", "zip"))) as other_zip:
        assert one_zip.namelist() == other_zip.namelist()
        assert {name: one_zip.read(name) for name in one_zip.namelist()} == \
            {name: other_zip.read(name) for name in other_zip.namelist()}


def _facts(member: tarfile.TarInfo) -> tuple[object, ...]:
    return (member.name, member.type, member.size, member.mode, member.uid, member.gid, member.linkname, member.mtime)


def test_snapshots(house: House, restic: Restic) -> None:
    found = {stored.id: stored.snapshot for stored in load_snapshots(house.repository)}
    theirs = restic.snapshots()
    assert {entry["id"] for entry in theirs} == set(found)
    for entry in theirs:
        ours = found[entry["id"]]
        assert (ours.tree, ours.tags, ours.paths, ours.hostname) == (
            entry["tree"], entry["tags"], entry["paths"], entry["hostname"])
        assert ours.summary is not None
        assert {name: getattr(ours.summary, name) for name in entry["summary"]
                if not name.startswith("backup_")} == {
            name: value for name, value in entry["summary"].items() if not name.startswith("backup_")}
