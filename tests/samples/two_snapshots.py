"""Two snapshots of one small folder, for looking at them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.model.snapshot import StoredSnapshot
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import load_snapshots
from samples.repositories import make_repository

NOISE = bytes(range(256)) * 40


@dataclass
class House:
    """A repository with two snapshots of one folder."""

    repository: Repository
    source: bytes
    one: StoredSnapshot
    two: StoredSnapshot

    def inside(self, path: bytes) -> bytes:
        """Return a path without the folder it began with."""
        return path.removeprefix(self.source)


def make_house(base: Path) -> House:
    """Make two snapshots: between them a file is new, one gone, one changed, one only touched, and a file
    has become a folder."""
    source = base / "source"
    (source / "deep" / "deeper").mkdir(parents=True)
    (source / "same").mkdir()
    files = {"a.txt": b"first", "gone.log": NOISE, "touched": b"touched", "turns": b"a file", "same/copy": NOISE,
             "deep/deeper/b.txt": b"bee", "deep/é\n\udcff": b"odd"}
    for name, content in files.items():
        (source / name).write_bytes(content)
        os.utime(source / name, (1_600_000_000, 1_600_000_000))
    (source / "link").symlink_to("a.txt")
    os.link(source / "a.txt", source / "hard")
    repository = make_repository(base)
    back_up(repository, BackupOptions(paths=(os.fsencode(source),), tags=("one",)))
    (source / "a.txt").write_bytes(b"second!")
    (source / "gone.log").unlink()
    (source / "new").write_bytes(b"new")
    (source / "turns").unlink()
    (source / "turns").mkdir()
    (source / "turns" / "inner").write_bytes(b"inner")
    os.utime(source / "touched", (1_700_000_000, 1_700_000_000))
    back_up(repository, BackupOptions(paths=(os.fsencode(source),), tags=("two",)))
    repository.load_index()
    one, two = load_snapshots(repository)
    return House(repository, os.fsencode(source), one, two)
