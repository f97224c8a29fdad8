"""Opening into memory that is used again gives the same bytes as opening into new memory, until the next time."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.crypto.master_key import MasterKey, OpenError
from kuramori.errors import DamagedError
from kuramori.ids import hash_id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.repository.compression import Compression
from kuramori.repository.sealing import BlobSealer, open_blob, open_blob_briefly
from kuramori.restoring.jobs import RestoreOptions
from kuramori.restoring.restore import restore
from samples.repository_workshop import Workshop, create

KEY = MasterKey.random()
PACK = hash_id(b"some pack")
MIB = 1024 * 1024
LENGTHS = (0, 1, 65535, 65536, 65537, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB, 70_000)


def test_every_length_opens_to_what_it_was() -> None:
    for length in (*LENGTHS, *reversed(LENGTHS)):
        plain = random.Random(length).randbytes(length)
        sealed = KEY.seal(plain)
        for kind in (bytes, bytearray, memoryview):
            assert KEY.open_briefly(kind(sealed)) == KEY.open(kind(sealed)) == plain


def test_what_was_opened_lasts_until_this_thread_opens_the_next() -> None:
    first, second = os.urandom(MIB), os.urandom(MIB)
    sealed = [KEY.seal(first), KEY.seal(second)]
    opened = KEY.open_briefly(sealed[0])
    assert KEY.open(sealed[1]) == second
    KEY.seal(second)
    other = threading.Thread(target=KEY.open_briefly, args=(sealed[1],))
    other.start()
    other.join()
    assert opened == first, "only opening briefly in this thread takes its memory"
    with pytest.raises(TypeError):
        opened[0] = 1  # type: ignore[index]
    assert KEY.open_briefly(sealed[1]) == second
    assert opened == second, "the memory is one: else nothing is saved"


def test_a_larger_text_takes_new_memory_and_leaves_the_old_to_whom_it_was_given() -> None:
    key = MasterKey.random()
    small, large = os.urandom(100_000), os.urandom(200_000)
    opened = key.open_briefly(key.seal(small))
    assert key.open_briefly(key.seal(large)) == large
    assert opened == small


def test_a_wrong_tag_opens_nothing() -> None:
    good, bad = os.urandom(MIB), KEY.seal(os.urandom(MIB))
    opened = KEY.open_briefly(KEY.seal(good))
    bad[500_000] ^= 1
    with pytest.raises(OpenError):
        KEY.open_briefly(bad)
    with pytest.raises(OpenError):
        KEY.open_briefly(bad[:31])
    assert opened == good


@pytest.mark.parametrize("compression", [Compression.OFF, Compression.AUTO])
def test_blobs_open_to_the_same_both_ways_and_have_the_same_errors(compression: Compression) -> None:
    sealer = BlobSealer(KEY, 2, compression)
    for plain in (os.urandom(300_000), b"a line of a log\n" * 30_000, b"short", b""):
        sealed, uncompressed_length = sealer.seal(BlobType.DATA, hash_id(plain), plain)
        blob = PackedBlob(BlobType.DATA, hash_id(plain), PACK, 0, len(sealed), uncompressed_length)
        assert open_blob_briefly(KEY, sealed, blob) == open_blob(KEY, sealed, blob) == plain
        assert type(open_blob(KEY, sealed, blob)) is bytes
        for wrong, named in ((bytes(sealed[:-1]), blob), (bytes(sealed[:-1]) + bytes([sealed[-1] ^ 1]), blob),
                             (sealed, blob._replace(id=PACK)), (sealed, blob._replace(uncompressed_length=7))):
            said = []
            for open_one in (open_blob, open_blob_briefly):
                with pytest.raises(DamagedError) as caught:
                    open_one(KEY, wrong, named)
                said.append(str(caught.value))
            assert said[0] == said[1]


def test_threads_open_at_once_without_disturbing_each_other() -> None:
    plains = [os.urandom(65_536 + 1000 * number) for number in range(40)]
    sealed = [KEY.seal(plain) for plain in plains]

    def open_many(seed: int) -> bool:
        chance = random.Random(seed)
        numbers = [chance.randrange(len(plains)) for _ in range(100)]
        return all(hash_id(KEY.open_briefly(sealed[number])) == hash_id(plains[number]) for number in numbers)

    with ThreadPoolExecutor(6) as executor:
        assert all(executor.map(open_many, range(12)))


@pytest.mark.exhaustive(except_each=4)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("threads", [None, 1])
def test_a_restore_of_photographs_that_share_pieces_is_what_was_backed_up(tmp_path: Path, sparse: bool,
                                                                          threads: int | None) -> None:
    chance = random.Random(5)
    pieces = [chance.randbytes(chance.randint(200_000, 9 * MIB)) for _ in range(5)]
    source = tmp_path / "source"
    source.mkdir()
    for number in range(12):
        some = [chance.choice(pieces) for _ in range(3)]
        (source / f"{number}.jpg").write_bytes(b"".join(some))
    (source / "holes").write_bytes(bytes(3 * MIB) + pieces[0] + bytes(2 * MIB))
    (source / "also holes").write_bytes(bytes(100_000) + pieces[1])
    create(tmp_path / "repository")
    repository = Workshop(tmp_path / "repository").repository
    assert not back_up(repository, BackupOptions(paths=(os.fsencode(source),))).errors
    target = tmp_path / "target"
    result = restore(Workshop(tmp_path / "repository").repository, "latest",
                     RestoreOptions(target=os.fsencode(target), sparse=sparse, threads=threads))
    assert not result.errors
    for path in source.iterdir():
        assert (target / path.relative_to("/")).read_bytes() == path.read_bytes()
