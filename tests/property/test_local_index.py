"""The index with its file on this machine against a plain dictionary: any blobs, in any number of index files, loaded
again and again, with the file damaged, cut short, old or somebody else's in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import StorageError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.polynomial import random_polynomial
from kuramori.repository import index as index_module
from kuramori.repository import index_records, local_index
from kuramori.repository.index import Index
from kuramori.repository.index_records import MemoryRecords, record_key
from kuramori.repository.index_writer import IndexWriter
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.memory import MemoryBackend
from samples.pack_descriptions import description_of

POLYNOMIAL = f"{random_polynomial():x}"
PASSWORD = Secret("x")
Model = dict[tuple[BlobType, Id], set[PackedBlob]]

BLOBS = st.builds(
    PackedBlob, st.sampled_from(BlobType), st.integers(0, 400).map(lambda number: hash_id(b"blob%d" % number)),
    st.integers(0, 9).map(lambda number: hash_id(b"pack%d" % number)), st.integers(0, 3), st.integers(32, 34),
    st.integers(0, 2))
FILES = st.lists(st.lists(BLOBS, min_size=1, max_size=150), min_size=1, max_size=4)


@pytest.fixture(autouse=True, params=["held", "read"])
def always_worthwhile(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Keep the file for the smallest index, and sort added blobs in after a few; hold what is in the file in memory, as
    of a small one, or read it, as of a large one."""
    if request.param == "read":
        monkeypatch.setattr(index_records, "_HELD_BYTES", 0)
    monkeypatch.setattr(local_index, "WORTHWHILE", 0)
    monkeypatch.setattr(index_module, "_NEW", 20)


class Scene:
    """A repository in memory and a folder for the local index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backend = MemoryBackend()
        self.model: Model = defaultdict(set)
        create = CreateOptions(kdf=KdfParameters(N=16, r=8, p=1), polynomial=POLYNOMIAL)
        create_repository(self.backend, PASSWORD, create).close()

    def write(self, blobs: list[PackedBlob]) -> None:
        """Write one more index file, as a backup does that has loaded the index."""
        with closing(self.open()) as repository:
            repository.load_index()
            writer = IndexWriter(repository)
            for blob in blobs:
                writer.add(description_of([blob]))
                self.model[blob.type, blob.id].add(blob)
            writer.flush()
            assert_like(repository.index, self.model)

    def open(self) -> Repository:
        """Open the repository as another process would."""
        return open_repository(self.backend, PASSWORD, OpenOptions(index_directory=self.folder))

    @property
    def file(self) -> Path:
        """The local index."""
        (found,) = self.folder.glob("*/index-records")
        return found


def assert_like(index: Index, model: Model) -> None:
    """Compare what an index answers with the model."""
    assert len(index) == len(model)
    found: Model = defaultdict(set)
    for blob in index.blobs():
        assert blob not in found[blob.type, blob.id]
        found[blob.type, blob.id].add(blob)
    assert found == model
    assert {(kind, blob_id): count for kind, blob_id, count in index.duplicates()} == {
        key: len(copies) for key, copies in model.items() if len(copies) > 1}
    numbers = set()
    for (kind, blob_id), copies in model.items():
        assert index.has(kind, blob_id)
        looked_up = index.lookup(kind, blob_id)
        assert set(looked_up) == copies
        assert len(looked_up) == len(copies)
        assert all(map(index.has_copy, copies))
        assert index.plain_length(kind, blob_id) == looked_up[0].plain_length
        numbers.add(index.number(kind, blob_id))
    assert len(numbers) == len(model)
    assert all(0 <= number < index.record_count for number in numbers)
    assert {(kind, bytes(blob_id)): number for kind, blob_id, number, *_ in index.copies()} == {
        (kind, bytes(blob_id)): index.number(kind, blob_id) for kind, blob_id in model}
    other = hash_id(b"no blob")
    assert not index.has(BlobType.DATA, other)
    assert index.number(BlobType.DATA, other) == -1
    chosen = dict(index.select(list(index.pack_ids()), lambda number: number % 2 == 0))
    for pack, blobs in chosen.items():
        assert blobs == sorted(blobs, key=lambda blob: blob.offset)
        assert set(blobs) == {blob for (kind, blob_id), copies in model.items() for blob in copies
                              if blob.pack == pack and index.number(kind, blob_id) % 2 == 0}


@settings(max_examples=20, deadline=None)
@given(FILES)
def test_it_answers_as_a_dictionary_would(files: list[list[PackedBlob]]) -> None:
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        for blobs in files:
            scene.write(blobs)
            for _ in range(2):  # after the file was written, and from it
                with closing(scene.open()) as repository:
                    repository.load_index()
                    assert repository.index.unstored_count <= repository.index.record_count // 2
                    assert_like(repository.index, scene.model)


def _flip(content: bytes, number: int) -> bytes:
    place = number % len(content)
    return content[:place] + bytes([content[place] ^ 1 << number % 8]) + content[place + 1 :]


@pytest.mark.exhaustive(except_each=2)
@settings(max_examples=25, deadline=None)
@given(FILES, st.integers(0, 2**32), st.sampled_from([
    _flip, lambda content, number: content[: number % len(content)], lambda content, number: content + bytes(49),
    lambda content, number: b""]))
def test_a_damaged_file_is_written_anew(files: list[list[PackedBlob]], number: int,
                                        damage: Callable[[bytes, int], bytes]) -> None:
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        for blobs in files:
            scene.write(blobs)
        with closing(scene.open()) as repository:
            repository.load_index()
        damaged = damage(scene.file.read_bytes(), number)
        scene.file.write_bytes(damaged)
        for _ in range(2):
            with closing(scene.open()) as repository:
                repository.load_index()
                assert_like(repository.index, scene.model)
        assert scene.file.read_bytes() != damaged


def _blobs(first: int, count: int) -> list[PackedBlob]:
    return [PackedBlob(BlobType.DATA, hash_id(b"%d" % number), hash_id(b"pack %d" % (number // 10)),
                       number % 10 * 100, 100, 0) for number in range(first, first + count)]


@pytest.mark.exhaustive(except_each=2)
def test_only_new_index_files_are_read(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.write(_blobs(0, 1000))
    scene.open().load_index()
    before = scene.file.read_bytes()
    scene.write(_blobs(1000, 10))
    with closing(scene.open()) as repository:
        repository.load_index()
        assert repository.index.unstored_count == 10
        assert_like(repository.index, scene.model)
    assert scene.file.read_bytes() == before, "ten blobs are not worth writing a thousand"
    scene.write(_blobs(1010, 500))
    with closing(scene.open()) as repository:
        repository.load_index()
        assert repository.index.unstored_count == 0
        assert_like(repository.index, scene.model)


def test_a_file_of_index_files_that_are_gone_is_not_used(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.write(_blobs(0, 100))
    scene.write(_blobs(100, 100))
    with closing(scene.open()) as repository:
        repository.load_index()
        gone = sorted(repository.index_names)[0]
        repository.remove(FileType.INDEX, gone)
    with closing(scene.open()) as repository:
        repository.load_index()
        assert len(repository.index) == 100


def test_a_file_of_another_repository_is_not_used(tmp_path: Path) -> None:
    first, second = Scene(tmp_path / "a"), Scene(tmp_path / "b")
    for scene in (first, second):
        scene.write(_blobs(0, 100))
        scene.open().load_index()
    # The same index file in both, so that nothing but the key tells them apart.
    content = first.file.read_bytes()
    names = [info.name for info in second.backend.list(FileType.INDEX)]
    (foreign,) = (info.name for info in first.backend.list(FileType.INDEX))
    forged = content.replace(bytes.fromhex(foreign), bytes.fromhex(names[0]))
    second.file.write_bytes(forged)
    with closing(second.open()) as repository:
        repository.load_index()
        assert_like(repository.index, second.model)
    assert second.file.read_bytes() != forged


def test_a_file_that_is_cut_short_while_it_is_used_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a wrong answer, and not the end of the process."""
    monkeypatch.setattr(index_records, "_HELD_BYTES", 0)
    scene = Scene(tmp_path)
    scene.write(_blobs(0, 1000))
    scene.open().load_index()
    with closing(scene.open()) as repository:
        repository.load_index()
        with scene.file.open("r+b") as file:
            file.truncate(1000)
        with pytest.raises(StorageError):
            repository.index.has(BlobType.DATA, hash_id(b"1"))


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "folder")
    (tmp_path / "folder").write_text("a file")
    scene.write(_blobs(0, 100))
    with closing(scene.open()) as repository:
        repository.load_index()
        assert_like(repository.index, scene.model)


def test_an_id_across_two_records_is_not_found() -> None:
    """Bytes that look like a blob's key, but begin in the middle of a record."""
    wanted = record_key(BlobType.DATA, b"\x07" * 32)
    lead = b"\x07" * 20
    first = lead + bytes(12) + b"\x00" + bytes(8) + wanted[:8]
    second = wanted[8:] + bytes(24)
    assert len(first) == len(second) == 49
    records = MemoryRecords()
    records.put(7, first + second)
    assert not records.has(wanted)
    assert records.tails(wanted) == b""
    assert records.number(wanted) == -1
    records.put(7, wanted + bytes(16))
    assert records.has(wanted)
