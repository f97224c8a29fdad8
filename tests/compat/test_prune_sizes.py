"""After our prune a repository is no larger than after restic's with the same options, whatever its history is.

A budget for writing packs anew is the exception: which packs still fit in it hangs on which copy of a blob that is
there twice counts as the used one, and there restic itself draws lots (the same repository, pruned four times, came
to 405,042, 430,991 and 493,416 bytes). There it only must be kept, and do some good.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from compat.test_compat_prune import PASSWORD, assert_no_more_than, pack_bytes
from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.repository.compression import Compression
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.secret import Secret
from kuramori.storage.local import LocalBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.thoroughness import is_exhaustive

_BUDGET = "--max-repack-size"
_OPTIONS = [
    (), ("--max-unused", "0"), ("--max-unused", "5%"), ("--max-unused", "200k"), ("--max-unused", "unlimited"),
    (_BUDGET, "500k"), ("--repack-cacheable-only",), ("--repack-uncompressed",),
    ("--repack-smaller-than", "2M"), ("--repack-smaller-than", "8M", "--max-unused", "unlimited"),
]
_EVERYDAY_SEEDS = 1
_SEEDS = 24


def _change(root: Path, chance: random.Random) -> None:
    """Add, change and remove files, as they come: photographs, logs, many small ones, some copied."""
    folder = root / f"folder {chance.randrange(4)}"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(chance.randrange(1, 6)):
        kind, path = chance.randrange(3), folder / f"{chance.randrange(12)}"
        if kind == 0:
            path.write_bytes(chance.randbytes(chance.choice([500, 20_000, 300_000])))
        elif kind == 1:
            path.write_text("".join(f"{chance.random()}: all is well\n" for _ in range(chance.randrange(1, 3000))))
        else:
            path.write_bytes(b"the same in several places" * 1000)
    for path in sorted(root.rglob("*")):
        if path.is_file() and chance.random() < 0.15:
            path.unlink()


def _generate(folder: Path, seed: int, binary: str) -> Path:
    """Make a repository with the traces of a random life: backups by either program, compressed or not, in packs of
    several sizes, at the same moment on two machines, and snapshots that were deleted."""
    chance, clock, repository, root = random.Random(seed), FakeClock(), folder / "repository", folder / "planter"
    Kuramori(repository, PASSWORD).init_quickly()
    restic = Restic(binary, repository, PASSWORD)
    for _ in range(chance.randrange(4, 9)):
        _change(root, chance)
        if chance.random() < 0.3:
            restic.backup(root.name, directory=folder)
            continue
        compression = chance.choice([Compression.AUTO, Compression.AUTO, Compression.OFF])
        before = folder / "before"
        two_machines = chance.random() < 0.3
        if two_machines:
            shutil.copytree(repository, before)
        clock.advance(3600)
        for place in (repository, before) if two_machines else (repository,):
            opened = open_repository(LocalBackend(place), Secret(PASSWORD), OpenOptions(clock=clock))
            back_up(opened, BackupOptions(paths=(os.fsencode(root),), compression=compression, workers=0,
                                          pack_size=4 * 1024 * 1024))
        if two_machines:
            shutil.copytree(before, repository, dirs_exist_ok=True)
            shutil.rmtree(before)
    snapshots = sorted((repository / "snapshots").iterdir())
    for path in chance.sample(snapshots, chance.randrange(1, len(snapshots))):
        path.unlink()
    return repository


def _bytes_moved(before: Path, after: Path) -> int:
    """Return the bytes of the packs that are new."""
    old = {path.name for path in (before / "data").rglob("*")}
    return sum(path.stat().st_size for path in (after / "data").rglob("*") if path.is_file() and path.name not in old)


@pytest.mark.parametrize("seed", [
    seed if seed < _EVERYDAY_SEEDS else pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(_SEEDS)])
def test_no_more_is_left_than_after_restic(tmp_path: Path, restic_new: str, seed: int) -> None:
    repository = _generate(tmp_path, seed, restic_new)
    for options in random.Random(seed).sample(_OPTIONS, 4 if is_exhaustive() else 2):
        theirs, ours = tmp_path / "theirs", tmp_path / "ours"
        for copied in (theirs, ours):
            shutil.copytree(repository, copied)
        Restic(restic_new, theirs, PASSWORD).prune(*options)
        Kuramori(ours, PASSWORD).run("prune", *options)
        try:
            if _BUDGET in options:
                assert pack_bytes(ours) < pack_bytes(repository)
                assert _bytes_moved(repository, ours) < 500 * 1024
            else:
                assert_no_more_than(theirs, ours, written_by_us=True)
            Restic(restic_new, ours, PASSWORD).check(read_data=True)
        except AssertionError as error:
            error.add_note(f"seed {seed}, options {options}")
            raise
        shutil.rmtree(theirs)
        shutil.rmtree(ours)
