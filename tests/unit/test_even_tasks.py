"""What a walk hands out: many small files together, and no large ones among them unnoticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kuramori.archiving.folder import FileTask
from kuramori.archiving.parent import ParentOptions, ParentReader
from kuramori.archiving.targets import arrange_targets
from kuramori.archiving.tree_builder import TreeBuilder
from kuramori.crypto.derivation import KdfParameters
from kuramori.ids import hash_id
from kuramori.model.polynomial import random_polynomial
from kuramori.model.snapshot import SnapshotSummary
from kuramori.progress import NoProgress
from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.secret import Secret
from kuramori.sources.excludes import ExcludeOptions, Excluder
from kuramori.storage.memory import MemoryBackend

MIB = 1 << 20
POLYNOMIAL = f"{random_polynomial():x}"


def _tasks(folder: Path) -> list[FileTask]:
    """Return the tasks of a first backup of a folder."""
    create = CreateOptions(kdf=KdfParameters(N=16, r=8, p=1), polynomial=POLYNOMIAL)
    repository = create_repository(MemoryBackend(), Secret("x"), create)
    tasks: list[FileTask] = []
    builder = TreeBuilder(
        excluder=Excluder(ExcludeOptions()), parent=ParentReader(repository, ParentOptions(), NoProgress(), None),
        store_tree=lambda document: hash_id(document).hex(), submit=tasks.append, progress=NoProgress(),
        summary=SnapshotSummary(backup_start="", backup_end=""), with_atime=False)
    root, _ = arrange_targets([os.fsencode(folder)])
    for _ in builder.walk(root, None):
        pass
    repository.close()
    return tasks


def _make(folder: Path, count: int, size: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        with open(folder / f"{number:04d}", "wb") as file:
            file.truncate(size)


@pytest.mark.parametrize("large", ["a", "n", "z"], ids=["first", "between", "last"])
def test_large_files_beside_folders_of_small_ones(tmp_path: Path, large: str) -> None:
    for name in "bcmpqx":
        _make(tmp_path / name, 100, 30)
    _make(tmp_path / large, 40, 6 * MIB)
    tasks = _tasks(tmp_path)
    of_large = [task for task in tasks if task.folder.path.endswith(b"/" + large.encode())]
    assert sum(len(task.names) for task in of_large) == 40
    assert all(len(task.names) <= 2 and task.size == 6 * MIB * len(task.names) for task in of_large)
    of_small = [task for task in tasks if task not in of_large]
    assert [(len(task.names), task.size) for task in of_small] == [(100, 3000)] * 6


def test_large_files_in_the_middle_of_small_ones_are_soon_noticed(tmp_path: Path) -> None:
    _make(tmp_path / "data", 400, 30)
    for number in range(200, 240):
        os.truncate(tmp_path / "data" / f"{number:04d}", 6 * MIB)
    tasks = _tasks(tmp_path / "data")
    large = [sum(b"0200" <= name < b"0240" for name in task.names) for task in tasks]
    assert sum(large) == 40
    assert max(large) <= 2 + 8
