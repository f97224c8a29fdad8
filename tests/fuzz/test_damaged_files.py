"""A bit flips, a file is cut off or grows, anywhere in any file of a repository: a check that reads
the data notices, a restore never makes a wrong byte, and nothing but our own errors is raised."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import KuramoriError
from kuramori.maintenance.check import CheckOptions, check
from kuramori.model.blob import BlobType
from kuramori.repository.opening import open_repository
from kuramori.restoring.jobs import RestoreOptions
from kuramori.restoring.restore import restore
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from samples import repository_workshop as workshop
from samples.thoroughness import stride

_OFFSETS = 24
KINDS = ("config", "key", "index", "snapshot", "data pack", "tree pack")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two snapshots of a small folder."""
    folder = tmp_path_factory.mktemp("damage")
    workshop.create(folder / "repository")
    workshop.make_source(folder / "source")
    for text in ("before", "after"):
        (folder / "source" / "text").write_text(text * 300)
        repository = open_repository(LocalBackend(folder / "repository"), Secret(workshop.PASSWORD))
        back_up(repository, BackupOptions(paths=(os.fsencode(folder / "source"),)))
        repository.close()
    return folder


@pytest.fixture
def place(template: Path, tmp_path: Path) -> workshop.Workshop:
    """A copy to break."""
    return workshop.copy(template / "repository", tmp_path / "repository")


def _file(place: workshop.Workshop, kind: str) -> tuple[FileType, str]:
    if kind == "config":
        return FileType.CONFIG, ""
    if kind.endswith("pack"):
        return FileType.PACK, place.packs(BlobType.DATA if kind.startswith("data") else BlobType.TREE)[0]
    file_type = {"key": FileType.KEY, "index": FileType.INDEX, "snapshot": FileType.SNAPSHOT}[kind]
    return file_type, place.names(file_type)[0]


def _contents(folder: Path) -> dict[bytes, bytes]:
    found = {}
    for parent, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, os.fsencode(folder))] = file.read()
    return found


def judge(folder: Path, template: Path, target: Path) -> None:
    """The damage is noticed; what a restore makes is right or missing."""
    password = Secret(workshop.PASSWORD)
    try:
        repository = open_repository(LocalBackend(folder), password)
        result = check(repository, CheckOptions(read_data=True))
        assert not result.sound
        repository.close()
        repository = open_repository(LocalBackend(folder), password)
        repository.load_index()
        whole = f"latest:{template / 'source'}"
        restored = restore(repository, whole, RestoreOptions(target=os.fsencode(target)))
    except KuramoriError:
        restored = None
    expected = _contents(template / "source")
    found = _contents(target) if target.exists() else {}
    right = {path: content for path, content in found.items() if content == expected.get(path)}
    older = {b"text": b"before" * 300}  # where the newer snapshot is lost, the older one is the latest
    assert {path: content for path, content in found.items() if path not in right} in ({}, older)
    if restored is not None and not restored.errors:
        assert found.keys() == expected.keys()


def _positions(size: int, kind: str) -> Iterator[int]:
    chance = random.Random(kind)
    edges = {0, 1, 15, 16, 17, size // 2, size - 1, size - 4, size - 5, size - 16, size - 17, size - 21}
    yield from sorted({offset for offset in edges if 0 <= offset < size}
                      | {chance.randrange(size) for _ in range(_OFFSETS // stride(4))})


@pytest.mark.parametrize("kind", KINDS)
def test_a_bit_flips(template: Path, place: workshop.Workshop, tmp_path: Path, kind: str) -> None:
    file_type, name = _file(place, kind)
    whole = place.read(file_type, name)
    for number, offset in enumerate(_positions(len(whole), kind)):
        place.flip(file_type, name, offset, number % 8)
        judge(place.folder, template, tmp_path / f"target {offset}")
        place.change(file_type, name, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_cut_off(template: Path, place: workshop.Workshop, tmp_path: Path, kind: str) -> None:
    file_type, name = _file(place, kind)
    whole = place.read(file_type, name)
    for size in sorted({*_positions(len(whole), kind)})[::2]:
        place.change(file_type, name, whole[:size])
        judge(place.folder, template, tmp_path / f"target {size}")
    place.change(file_type, name, whole)


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [b"\0", b"x" * 16, b"\0" * 5000, "itself"], ids=["zero", "x", "zeros", "itself"])
def test_a_file_grows(template: Path, place: workshop.Workshop, tmp_path: Path, kind: str, more: bytes | str) -> None:
    file_type, name = _file(place, kind)
    whole = place.read(file_type, name)
    place.change(file_type, name, whole + (whole if isinstance(more, str) else more))
    judge(place.folder, template, tmp_path / "target")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_swapped_for_another_of_its_kind_or_missing(template: Path, place: workshop.Workshop, tmp_path: Path,
                                                            kind: str) -> None:
    """Sealed data in the wrong place is damage as well; a pack or tree that is gone is named."""
    file_type, name = _file(place, kind)
    other_type, other = _file(place, "tree pack" if kind != "tree pack" else "data pack")
    place.change(file_type, name, place.read(other_type, other))
    judge(place.folder, template, tmp_path / "target")
    if kind in ("config", "key", "data pack", "tree pack", "index"):
        place.remove(file_type, name)
        judge(place.folder, template, tmp_path / "target without")
