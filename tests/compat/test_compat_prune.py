"""Prunes beside restic's: as much goes, everything that is kept restores equal, and restic finds
the repository sound. What restic has pruned we prune on, and the other way round."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.model.blob import SEALED_OVERHEAD
from kuramori.model.index_file import decode_index
from kuramori.repository.opening import open_repository
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.tree_facts import Facts, assert_same_tree, tree_facts

PASSWORD = "pruned"
_KEPT = (3, 6)


@dataclass
class Kept:
    """A snapshot that stays and what is in it."""

    snapshot: str
    facts: dict[bytes, Facts]


def _live_a_day(root: Path, day: int) -> dict[bytes, Facts]:
    """Make or change a folder so that each day leaves whole packs and parts of packs behind."""
    chance = random.Random(day)
    (root / f"week {day // 3}").mkdir(parents=True, exist_ok=True)
    for number in range(4):
        (root / f"week {day // 3}" / f"{day}-{number}.jpg").write_bytes(chance.randbytes(150_000 + 40_000 * number))
    (root / "log.txt").write_text(f"day {day}: all is well\n" * 4000 * day)
    (root / "copied").write_bytes(chance.randbytes(300_000))
    if day > 1:
        (root / f"week {(day - 1) // 3}" / f"{day - 1}-0.jpg").unlink()
    if day > 2:
        (root / f"week {(day - 2) // 3}" / f"{day - 2}-1.jpg").unlink()
    return tree_facts(root)


def _history(folder: Path, writer: Restic | Kuramori, options: tuple[str, ...] = ()) -> list[Kept]:
    """Make six snapshots and leave two."""
    root = folder / "planter"
    kept = []
    ours = Kuramori(folder / "repository", PASSWORD)
    for day in range(1, 7):
        facts = _live_a_day(root, day)
        before = {path.name for path in (folder / "repository" / "snapshots").iterdir()}
        if isinstance(writer, Restic):
            writer.backup(root.name, options=options, directory=folder)
        else:
            writer.backup(root.name, *options, directory=folder)
        (snapshot,) = {path.name for path in (folder / "repository" / "snapshots").iterdir()} - before
        if day in _KEPT:
            kept.append(Kept(snapshot, facts))
        else:
            (folder / "repository" / "snapshots" / snapshot).unlink()
    assert {found["id"] for found in ours.snapshots()} == {each.snapshot for each in kept}
    return kept


@pytest.fixture(scope="module")
def pruned_later(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, list[Kept]]]:
    """Return a repository that restic has written and its snapshots; each is made once and must be
    copied before it is changed."""
    made: dict[tuple[str, int, tuple[str, ...]], tuple[Path, list[Kept]]] = {}

    def make(binary: str, version: int = 2, options: tuple[str, ...] = ()) -> tuple[Path, list[Kept]]:
        key = (binary, version, options)
        if key not in made:
            folder = tmp_path_factory.mktemp("history")
            Kuramori(folder / "repository", PASSWORD).init_quickly(version)
            writer = Restic(binary, folder / "repository", PASSWORD)
            made[key] = folder / "repository", _history(folder, writer, options)
        return made[key]

    return make


def pack_bytes(repository: Path) -> int:
    """Return the bytes of all packs."""
    return sum(path.stat().st_size for path in (repository / "data").rglob("*") if path.is_file())


def _unpacked_bytes(repository: Path) -> int:
    """Return the bytes of all blobs in all packs, each as often as it is there, before compression."""
    opened = open_repository(LocalBackend(repository), Secret(PASSWORD))
    indexes = [decode_index(opened.load_unpacked(FileType.INDEX, path.name))
               for path in (repository / "index").iterdir()]
    return sum(blob.uncompressed_length or blob.length - SEALED_OVERHEAD
               for index in indexes for pack in index.packs for blob in pack.blobs)


def assert_no_more_than(theirs: Path, ours: Path, *, written_by_us: bool = False) -> None:
    """Compare the packs to the byte, and the indexes as well as chance allows: offsets depend on the
    order of blobs in packs, and their digits compress as they may.

    Restic compresses anew whatever it moves; of what we have written, that is a little more or less. There the bytes
    are compared to the byte as they are before they are compressed.
    """
    assert _unpacked_bytes(ours) <= _unpacked_bytes(theirs)
    assert pack_bytes(ours) <= pack_bytes(theirs) * (1.01 if written_by_us else 1)
    indexes = [sum(path.stat().st_size for path in (repository / "index").iterdir()) for repository in (ours, theirs)]
    assert indexes[0] <= 1.02 * indexes[1] + 16


def _assert_all_is_there(folder: Path, repository: Path, restic: Restic, kept: list[Kept]) -> None:
    ours = Kuramori(repository, PASSWORD)
    judge = Restic(restic.binary, repository, PASSWORD)
    judge.check(read_data=True)
    ours.run("check", "--read-data")
    assert {found["id"] for found in ours.snapshots()} == {each.snapshot for each in kept}
    for number, each in enumerate(kept):
        target = folder / f"restored-{repository.name}-{number}"
        if number % 2:
            judge.restore(each.snapshot, target)
        else:
            ours.run("restore", each.snapshot, "--target", target)
        assert_same_tree(each.facts, tree_facts(target / "planter"))


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize(("version", "options"), [
    (1, ()), (2, ("--max-unused", "0")), (2, ("--max-unused", "unlimited")), (2, ("--max-unused", "25%")),
    (2, ("--max-repack-size", "1M")), (2, ("--repack-cacheable-only",)),
], ids=str)
def test_no_more_is_left_than_after_restic(tmp_path: Path, restic_binary: str, version: int, options: tuple[str, ...],
                                           pruned_later: Callable[..., tuple[Path, list[Kept]]]) -> None:
    repository, kept = pruned_later(restic_binary, version)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for copied in (theirs, ours):
        shutil.copytree(repository, copied)
    restic = Restic(restic_binary, ours, PASSWORD)
    Restic(restic_binary, theirs, PASSWORD).prune(*options)
    Kuramori(ours, PASSWORD).run("prune", *options)
    assert_no_more_than(theirs, ours)
    if version == 1 or options == ("--max-unused", "0"):
        _assert_all_is_there(tmp_path, ours, restic, kept)
    else:
        restic.check(read_data=True)


@pytest.mark.exhaustive
def test_what_was_uncompressed_is_compressed(tmp_path: Path, restic_new: str,
                                             pruned_later: Callable[..., tuple[Path, list[Kept]]]) -> None:
    repository, kept = pruned_later(restic_new, 2, ("--compression", "off"))
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for copied in (theirs, ours):
        shutil.copytree(repository, copied)
    Restic(restic_new, theirs, PASSWORD).prune("--repack-uncompressed")
    Kuramori(ours, PASSWORD).run("prune", "--repack-uncompressed")
    assert pack_bytes(ours) <= pack_bytes(theirs) * 1.01, "the two compressors differ a little"
    assert pack_bytes(ours) < 0.7 * pack_bytes(repository)
    _assert_all_is_there(tmp_path, ours, Restic(restic_new, ours, PASSWORD), kept)
    before = sorted(path.name for path in (ours / "data").rglob("*"))
    Kuramori(ours, PASSWORD).run("prune", "--repack-uncompressed")
    assert sorted(path.name for path in (ours / "data").rglob("*")) == before, "there is nothing left to compress"


def test_small_packs_are_joined_as_restic_joins_them(tmp_path: Path, restic_old: str, restic_new: str) -> None:
    """Small backups leave packs that neither program likes; each has its own word for it."""
    Kuramori(tmp_path / "repository", PASSWORD).init_quickly()
    repository = open_repository(LocalBackend(tmp_path / "repository"), Secret(PASSWORD))
    root = tmp_path / "planter"
    root.mkdir()
    for day in range(10):
        (root / f"{day}.jpg").write_bytes(os.urandom(20_000))
        back_up(repository, BackupOptions(paths=(os.fsencode(root),)))
    for number, (binary, option) in enumerate([(restic_old, "--repack-small"),
                                               (restic_new, "--repack-smaller-than=8M")]):
        theirs, copied = tmp_path / f"theirs-{number}", tmp_path / f"ours-{number}"
        for target in (theirs, copied):
            shutil.copytree(tmp_path / "repository", target)
        judge = Restic(binary, copied, PASSWORD)
        Restic(binary, theirs, PASSWORD).prune(option)
        Kuramori(copied, PASSWORD).run("prune", option)
        assert_no_more_than(theirs, copied, written_by_us=True)
        assert len(judge.list("packs")) == len(Restic(binary, theirs, PASSWORD).list("packs"))
        judge.check(read_data=True)
        judge.restore("latest", tmp_path / f"restored-{number}")
        assert_same_tree(tree_facts(root), tree_facts(tmp_path / f"restored-{number}" / root.relative_to("/")))


@pytest.mark.exhaustive
def test_ours_pruned_by_us(tmp_path: Path, restic_binary: str) -> None:
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    ours.init_quickly()
    kept = _history(tmp_path, ours)
    theirs = tmp_path / "theirs"
    shutil.copytree(tmp_path / "repository", theirs)
    restic = Restic(restic_binary, tmp_path / "repository", PASSWORD)
    Restic(restic_binary, theirs, PASSWORD).prune("--max-unused", "0")
    ours.run("prune", "--max-unused", "0", "--accept-missing")  # the history's snapshots were deleted behind its back
    assert_no_more_than(theirs, tmp_path / "repository", written_by_us=True)
    _assert_all_is_there(tmp_path, tmp_path / "repository", restic, kept)
    assert "0 blobs" in restic.prune("--dry-run").stdout, "restic finds nothing more to do"
    assert ours.backup("planter", directory=tmp_path)["data_added"] == 0
    summary = restic.backup("planter", directory=tmp_path)
    assert summary["files_new"] == summary["files_changed"] == 0


def test_both_prune_in_turn(tmp_path: Path, restic_binary: str) -> None:
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    ours.init_quickly()
    restic = Restic(restic_binary, tmp_path / "repository", PASSWORD)
    root = tmp_path / "planter"
    kept: list[Kept] = []
    snapshots = tmp_path / "repository" / "snapshots"
    for day in range(1, 6):
        facts = _live_a_day(root, day)
        before = {path.name for path in snapshots.iterdir()}
        if day % 2:
            restic.backup(root.name, directory=tmp_path)
        else:
            ours.backup(root.name, directory=tmp_path)
        (snapshot,) = {path.name for path in snapshots.iterdir()} - before
        kept.append(Kept(snapshot, facts))
        if len(kept) > 2:
            (snapshots / kept.pop(0).snapshot).unlink()
        if day % 3:
            ours.run("prune", "--max-unused", "0", "--accept-missing")
        else:
            restic.prune("--max-unused", "0")
    _assert_all_is_there(tmp_path, tmp_path / "repository", restic, kept)


def test_no_room_at_all(tmp_path: Path, restic_new: str,
                        pruned_later: Callable[..., tuple[Path, list[Kept]]]) -> None:
    repository, kept = pruned_later(restic_new)
    shutil.copytree(repository, tmp_path / "repository")
    ours = Kuramori(tmp_path / "repository", PASSWORD)
    restic = Restic(restic_new, tmp_path / "repository", PASSWORD)
    ours.run("prune", "--unsafe-recover-no-free-space", "00", codes=(1,))
    ours.run("prune", "--unsafe-recover-no-free-space", restic.cat("config")["id"])
    assert pack_bytes(tmp_path / "repository") < pack_bytes(repository)
    _assert_all_is_there(tmp_path, tmp_path / "repository", restic, kept)


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("damage", ["no index", "one index gone", "index damaged", "pack gone"])
def test_repairing_the_index_as_restic_does(tmp_path: Path, restic_old: str, restic_new: str, damage: str,
                                            pruned_later: Callable[..., tuple[Path, list[Kept]]]) -> None:
    """Both programs know the same blobs afterwards, and restic finds our index sound."""
    binary = restic_old if damage == "index damaged" else restic_new
    theirs, ours = Restic(binary, tmp_path / "theirs", PASSWORD), Restic(binary, tmp_path / "ours", PASSWORD)
    shutil.copytree(pruned_later(binary)[0], theirs.repository)
    indexes = sorted((tmp_path / "theirs" / "index").iterdir())
    if damage == "no index":
        for path in indexes:
            path.unlink()
    elif damage == "one index gone":
        indexes[0].unlink()
    elif damage == "index damaged":
        indexes[0].chmod(0o600)
        indexes[0].write_bytes(indexes[0].read_bytes()[:-1])
    else:
        next(path for path in sorted((tmp_path / "theirs" / "data").rglob("*")) if path.is_file()).unlink()
    shutil.copytree(theirs.repository, ours.repository)
    theirs.run(*(["rebuild-index"] if binary == restic_old else ["repair", "index"]))
    repair = Kuramori(tmp_path / "ours", PASSWORD)
    repair.run("repair", "index")
    assert sorted(ours.list("blobs")) == sorted(theirs.list("blobs"))
    assert ours.check(codes=()).code == theirs.check(codes=()).code
    assert "needs no repair" in repair.run("repair", "index")
