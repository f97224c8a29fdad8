"""Copies on this machine: used when good, healed when not, never in the way."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.errors import FileNotInStorageError, ShortReadError
from kuramori.storage.backend import CONFIG_HANDLE, FileType, Handle
from kuramori.storage.cache import CacheBackend
from kuramori.storage.leftovers import leftover_name
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.backend_contract import handle_of, noise
from kuramori.testing.faulty_backend import FaultyBackend, FlipBit

REPOSITORY = "5" * 64
CONTENT = noise(10_000)
INDEX = handle_of(FileType.INDEX, CONTENT)
SNAPSHOT = handle_of(FileType.SNAPSHOT, CONTENT)
PACK = handle_of(FileType.PACK, CONTENT)
EVERYTHING = {INDEX: CONTENT, SNAPSHOT: CONTENT, PACK: CONTENT}


@pytest.fixture
def inner() -> FaultyBackend:
    return FaultyBackend(MemoryBackend(EVERYTHING))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(inner: FaultyBackend, folder: Path) -> CacheBackend:
    return CacheBackend(inner, folder, REPOSITORY)


def copy_of(folder: Path, handle: Handle) -> Path:
    return folder / REPOSITORY / handle.type.value / handle.name[:2] / handle.name


def loads(inner: FaultyBackend) -> int:
    return sum(operation.kind == "load" for operation in inner.operations)


@pytest.mark.parametrize("handle", [INDEX, SNAPSHOT], ids=str)
def test_indexes_and_snapshots_are_fetched_once(cache: CacheBackend, inner: FaultyBackend,
                                                handle: Handle) -> None:
    for _ in range(3):
        assert cache.load(handle) == CONTENT
        assert cache.load(handle, 10, 20) == CONTENT[10:30]
    assert loads(inner) == 1


def test_the_next_process_uses_the_copies(cache: CacheBackend, inner: FaultyBackend, folder: Path) -> None:
    cache.keep_pack(PACK.name)
    for handle in EVERYTHING:
        cache.load(handle)
    before = loads(inner)
    later = CacheBackend(inner, folder, REPOSITORY)
    later.keep_pack(PACK.name)
    for handle in EVERYTHING:
        assert later.load(handle) == CONTENT
        assert later.load(handle, 500, 9) == CONTENT[500:509]
    assert loads(inner) == before


def test_only_packs_that_are_to_be_kept_are(cache: CacheBackend, inner: FaultyBackend, folder: Path) -> None:
    assert cache.load(PACK, 10, 10) == CONTENT[10:20]
    assert cache.load(PACK, 10, 10) == CONTENT[10:20]
    assert loads(inner) == 2
    assert not copy_of(folder, PACK).exists()
    cache.keep_pack(PACK.name)
    for offset in range(0, 10_000, 1000):
        assert cache.load(PACK, offset, 1000) == CONTENT[offset : offset + 1000]
    assert loads(inner) == 3
    assert copy_of(folder, PACK).read_bytes() == CONTENT


def test_what_is_saved_is_copied(inner: FaultyBackend, folder: Path) -> None:
    cache = CacheBackend(inner, folder, REPOSITORY)
    content = b"a new file"
    handle = handle_of(FileType.SNAPSHOT, content)
    cache.save(handle, [content[:3], content[3:]])
    pack = handle_of(FileType.PACK, content)
    cache.keep_pack(pack.name)
    staged = cache.stage()
    staged.write([content])
    staged.commit(pack)
    assert cache.load(handle) == cache.load(pack) == content
    assert loads(inner) == 0
    assert inner.inner.load(pack) == content


def test_keys_locks_and_the_config_are_never_copied(cache: CacheBackend, folder: Path) -> None:
    handles = [CONFIG_HANDLE, handle_of(FileType.KEY, b"secret"), handle_of(FileType.LOCK, b"secret")]
    for handle in handles:
        cache.save(handle, [b"secret"])
        assert cache.load(handle) == b"secret"
    cache.load(INDEX)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == sorted(["CACHEDIR.TAG", INDEX.name])


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT + b"x", bytes(10_000), b"x" + CONTENT[1:]],
                         ids=["empty", "short", "long", "zeros", "one byte"])
@pytest.mark.parametrize("handle", EVERYTHING, ids=str)
def test_a_damaged_copy_is_fetched_anew(cache: CacheBackend, inner: FaultyBackend, folder: Path,
                                        handle: Handle, damage: bytes) -> None:
    cache.keep_pack(PACK.name)
    cache.load(handle)
    path = copy_of(folder, handle)
    path.write_bytes(damage)
    later = CacheBackend(inner, folder, REPOSITORY)
    later.keep_pack(PACK.name)
    assert later.load(handle, 100, 100) == CONTENT[100:200]
    assert later.load(handle) == CONTENT
    assert path.read_bytes() == CONTENT
    assert loads(inner) == 2


def test_a_copy_that_is_damaged_later_is_fetched_anew(cache: CacheBackend, folder: Path) -> None:
    cache.keep_pack(PACK.name)
    path = copy_of(folder, PACK)
    damages: list[Callable[[], None]] = [
        lambda: os.truncate(path, 5), path.unlink, lambda: shutil.rmtree(folder)]
    for damage in damages:
        for _ in range(3):
            assert cache.load(PACK, 50, 50) == CONTENT[50:100]
        assert path.read_bytes() == CONTENT
        damage()
        assert cache.load(PACK, 50, 50) == CONTENT[50:100]


def test_what_is_damaged_in_the_store_is_given_as_it_is_and_not_copied(folder: Path) -> None:
    flip = FlipBit(lambda handle: True, offset=5000)
    cache = CacheBackend(FaultyBackend(MemoryBackend(EVERYTHING), flip), folder, REPOSITORY)
    cache.keep_pack(PACK.name)
    for handle in EVERYTHING:
        assert cache.load(handle) != CONTENT
        assert cache.load(handle, 0, 5000) == CONTENT[:5000]
        assert not copy_of(folder, handle).exists()


@pytest.mark.parametrize("handle", EVERYTHING, ids=str)
def test_errors_of_the_store_come_through(cache: CacheBackend, handle: Handle) -> None:
    cache.keep_pack(PACK.name)
    with pytest.raises(ShortReadError):
        cache.load(handle, 9_999, 2)
    cache.load(handle, 0, 1)
    with pytest.raises(ShortReadError):
        cache.load(handle, 9_999, 2)
    cache.remove(handle)
    with pytest.raises(FileNotInStorageError):
        cache.load(handle)
    with pytest.raises(FileNotInStorageError):
        cache.remove(handle)


def test_copies_of_what_a_listing_no_longer_shows_are_dropped(
        cache: CacheBackend, inner: FaultyBackend, folder: Path) -> None:
    cache.keep_pack(PACK.name)
    for handle in EVERYTHING:
        cache.load(handle)
    next(cache.list(FileType.INDEX))
    inner.inner.remove(INDEX)
    inner.inner.remove(PACK)
    for file_type in (FileType.INDEX, FileType.SNAPSHOT, FileType.PACK):
        assert all(info.size == len(CONTENT) for info in cache.list(file_type))
    assert copy_of(folder, INDEX).exists()  # a listing of nothing at all may be an accident
    assert copy_of(folder, PACK).exists()
    for file_type in (FileType.INDEX, FileType.PACK):
        inner.inner.save(handle_of(file_type, b"another"), [b"another"])
    iterator = cache.list(FileType.INDEX)
    assert copy_of(folder, INDEX).exists()
    assert len([*cache.list(FileType.PACK)]) == len([*iterator]) == 1
    assert not copy_of(folder, INDEX).exists()
    assert not copy_of(folder, PACK).exists()
    assert copy_of(folder, SNAPSHOT).exists()


def test_listing_collects_half_copies_of_the_dead_only(cache: CacheBackend, folder: Path) -> None:
    cache.load(INDEX)
    place = copy_of(folder, INDEX).parent
    living = place / leftover_name("kuramori")
    dead = place / leftover_name("kuramori").replace(f"-{os.getpid()}-", "-4194305-")  # above any pid
    for path in (living, dead):
        path.write_bytes(b"half")
    assert len([*cache.list(FileType.INDEX)]) == 1
    assert living.exists()
    assert not dead.exists()


def test_modes_and_the_tag(cache: CacheBackend, folder: Path) -> None:
    cache.load(INDEX)
    assert stat.S_IMODE(copy_of(folder, INDEX).stat().st_mode) == 0o600
    folders = [path for path in [folder, *folder.rglob("*")] if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert (folder / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")


def test_nothing_is_made_before_something_is_copied(cache: CacheBackend, folder: Path) -> None:
    assert len([*cache.list(FileType.INDEX)]) == 1
    cache.load(PACK, 0, 5)
    assert not folder.exists()


def test_a_link_planted_in_the_cache_is_not_followed(cache: CacheBackend, folder: Path,
                                                     tmp_path: Path) -> None:
    cache.load(INDEX)
    victim = tmp_path / "victim"
    victim.write_bytes(CONTENT)
    path = copy_of(folder, INDEX)
    path.unlink()
    path.symlink_to(victim)
    assert cache.load(INDEX) == CONTENT
    assert victim.read_bytes() == CONTENT
    assert not path.is_symlink()


def test_repositories_have_folders_of_their_own_whatever_their_id(inner: FaultyBackend, folder: Path) -> None:
    for identifier in (REPOSITORY, "6" * 64, "../../escape", ""):
        CacheBackend(inner, folder, identifier).load(INDEX)
    folders = [path.name for path in folder.iterdir() if path.is_dir()]
    assert len(folders) == 4
    assert all(len(name) == 64 for name in folders)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_folder_that_cannot_be_written_fails_nothing(inner: FaultyBackend, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = CacheBackend(inner, tmp_path / "file" / "cache", REPOSITORY)
    cache.keep_pack(PACK.name)
    for handle in EVERYTHING:
        assert cache.load(handle) == CONTENT
        assert cache.load(handle, 5, 5) == CONTENT[5:10]
        assert len([*cache.list(handle.type)]) == 1
        cache.remove(handle)
