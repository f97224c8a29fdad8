"""The virtual tree, and what the kernel would ask of it, without a kernel."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import (
    KuramoriError,
    NoSuchEntryError,
    NotAFolderError,
    StorageError,
    UnreadableEntryError,
    UsageError,
)
from kuramori.ids import Id, hash_id
from kuramori.maintenance.forget import ForgetOptions, forget
from kuramori.maintenance.prune import PruneOptions, PrunePolicy, UnusedLimit, prune
from kuramori.model.blob import BlobType
from kuramori.mounting.entries import Entry
from kuramori.mounting.fuse_operations import FuseOperations
from kuramori.mounting.layout import Layout
from kuramori.mounting.virtual_tree import TreeOptions, VirtualTree
from kuramori.progress import NoProgress
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.snapshots import load_snapshots
from kuramori.storage.backend import FileType
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from samples import repository_workshop as workshop
from samples.repositories import PASSWORD, QUICK

_BY_TIME = Layout(("%T",))
_LARGE = 20_000_000
"""Bytes. Where a file is cut follows a key that is another one each time, but no blob is larger than 8 MiB."""


class _Warnings(NoProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, error: Exception) -> None:
        assert isinstance(error, KuramoriError)
        self.texts.append(error.text())


class _Store:
    """A repository in memory with one snapshot after the other of a folder, and a tree that shows it."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.backend = MemoryBackend()
        self.repository = create_repository(self.backend, PASSWORD, CreateOptions(kdf=QUICK, clock=self.clock))
        self.folder = folder
        self.warnings = _Warnings()

    def back_up(self) -> None:
        self.repository.load_index()
        back_up(self.repository, BackupOptions(paths=(os.fsencode(self.folder),), hostname="planter", workers=1))
        self.clock.advance(60)

    def tree(self, **options: object) -> VirtualTree:
        return VirtualTree(self.repository, TreeOptions(layout=_BY_TIME, **options), self.warnings)  # type: ignore[arg-type]

    def path(self, name: str = "", time: str = "2026-11-23T00:00:00Z") -> bytes:
        return f"/{time}{self.folder}{name}".encode()


@pytest.fixture
def store(tmp_path: Path) -> _Store:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    return _Store(folder)


def _names(tree: VirtualTree, path: bytes) -> list[bytes]:
    return [located.entry.name for located in tree.list_folder(path)]


# --- finding -----------------------------------------------------------------------------------


def test_files_are_found_with_everything_about_them(store: _Store) -> None:
    file = store.folder / "inner" / "file"
    file.write_bytes(b"content")
    os.link(file, store.folder / "second-name")
    (store.folder / "other").write_bytes(b"")
    os.utime(file, ns=(1_500_000_000_000_000_001, 1_600_000_000_123_456_789))
    os.chmod(file, 0o4751)
    store.back_up()
    tree = store.tree()
    found, second = tree.find(store.path("/inner/file")), tree.find(store.path("/second-name"))
    assert found.entry.mode == stat.S_IFREG | 0o4751
    assert (found.entry.size, found.entry.links, found.entry.uid) == (7, 2, os.getuid())
    assert found.entry.modified == 1_600_000_000_123_456_789
    assert found.inode == second.inode != tree.find(store.path("/other")).inode
    assert _names(tree, store.path()) == [b"inner", b"other", b"second-name"]
    assert tree.open_file(store.path("/inner/file")).read(2, 100) == b"ntent"


def test_hard_links_of_two_snapshots_are_two_files(store: _Store) -> None:
    """Whoever copies the whole mount must not join them: they may differ."""
    (store.folder / "a").write_bytes(b"one")
    os.link(store.folder / "a", store.folder / "b")
    store.back_up()
    (store.folder / "a").write_bytes(b"other")
    store.back_up()
    tree = store.tree()
    assert tree.find(store.path("/a")).inode != tree.find(store.path("/a", "2026-11-23T00:01:00Z")).inode


def test_what_is_not_there(store: _Store) -> None:
    (store.folder / "file").write_bytes(b"x")
    store.back_up()
    tree = store.tree()
    for path in (b"/nothing", store.path("/nothing"), store.path("/inner/x/y")):
        with pytest.raises(NoSuchEntryError):
            tree.find(path)
    with pytest.raises(NotAFolderError):
        tree.find(store.path("/file/below"))
    with pytest.raises(NotAFolderError):
        tree.list_folder(store.path("/file"))
    with pytest.raises(UnreadableEntryError):
        tree.open_file(store.path("/inner"))


def test_new_snapshots_appear_and_forgotten_ones_go(store: _Store) -> None:
    store.back_up()
    tree = store.tree(refresh_seconds=5.0)
    assert _names(tree, b"") == [b"2026-11-23T00:00:00Z", b"latest"]
    (store.folder / "new").write_bytes(b"new")
    store.back_up()
    assert _names(tree, b"") == [b"2026-11-23T00:00:00Z", b"2026-11-23T00:01:00Z", b"latest"]
    assert tree.find(b"/latest").entry.target == b"2026-11-23T00:01:00Z"
    assert tree.open_file(store.path("/new", "2026-11-23T00:01:00Z")).read(0, 9) == b"new"
    forget(store.repository, ForgetOptions(ids=(_ids(store)[0],)))
    assert len(_names(tree, b"")) == 3  # looked at a moment ago
    store.clock.advance(5)
    assert _names(tree, b"") == [b"2026-11-23T00:01:00Z", b"latest"]


def _ids(store: _Store) -> list[str]:
    return [stored.id for stored in load_snapshots(store.repository)]


def test_looking_at_each_of_many_snapshots_makes_the_menu_once(store: _Store) -> None:
    """``ls -l`` looks at each: with a new list for each that would take minutes for thousands."""
    store.back_up()
    tree = store.tree()
    first = tree.find_entry(b"/2026-11-23T00:00:00Z")
    assert tree.find_entry(b"/2026-11-23T00:00:00Z") is first
    store.clock.advance(60)
    assert tree.find_entry(b"/2026-11-23T00:00:00Z") is first
    store.back_up()
    assert _names(tree, b"")[1:] == [b"2026-11-23T00:02:00Z", b"latest"]


def test_a_store_that_is_away_for_a_moment_hides_nothing(store: _Store) -> None:
    store.back_up()
    tree = store.tree(refresh_seconds=5.0)
    files = store.backend._files
    store.backend._files = _Away()
    store.clock.advance(5)
    assert _names(tree, b"") == [b"2026-11-23T00:00:00Z", b"latest"]
    assert len(store.warnings.texts) == 1
    store.backend._files = files


class _Away(dict):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[object]:
        raise StorageError(location="memory", operation="list", name="snapshots", detail="unplugged")

    keys = items = values = __iter__  # type: ignore[assignment]


# --- reading -----------------------------------------------------------------------------------


def test_reading_anywhere(store: _Store) -> None:
    numbers = random.Random(5)
    content = numbers.randbytes(_LARGE)
    (store.folder / "video").write_bytes(content)
    store.back_up()
    tree = store.tree(cache_bytes=12 * 1024 * 1024)
    reader = tree.open_file(store.path("/video"))
    assert len(tree.find(store.path("/video")).entry.content) > 2 * 32
    for _ in range(150):
        offset, size = numbers.randrange(_LARGE + 100_000), numbers.randrange(200_000)
        assert reader.read(offset, size) == content[offset : offset + size]
    assert b"".join(reader.read(offset, 65_536) for offset in range(0, _LARGE, 65_536)) == content
    assert tree.held_bytes <= 12 * 1024 * 1024
    tree.close()
    assert reader.read(_LARGE - 1, 10) == content[-1:]  # nothing is read ahead any more, and it still reads


def test_who_reads_on_finds_the_next_blobs_there(store: _Store) -> None:
    (store.folder / "video").write_bytes(random.Random(6).randbytes(_LARGE))
    store.back_up()
    tree = store.tree()
    reader = tree.open_file(store.path("/video"))
    reader.read(0, 1000)
    tree.close()
    before = tree.held_bytes
    again = store.tree()
    reader = again.open_file(store.path("/video"))
    reader.read(0, 1000)
    reader.read(1000, 1000)
    again.close()  # waits for what was begun
    assert again.held_bytes > before + 100_000


def _data_blobs(tree: VirtualTree, path: bytes) -> list[Id]:
    content = tree.find(path).entry.content
    return [Id(content[begin : begin + 32]) for begin in range(0, len(content), 32)]


def test_a_damaged_blob_costs_only_its_file(store: _Store) -> None:
    content = random.Random(7).randbytes(_LARGE)
    (store.folder / "broken").write_bytes(content)
    (store.folder / "sound").write_bytes(b"sound")
    store.back_up()
    tree = store.tree()
    blobs = _data_blobs(tree, store.path("/broken"))
    _spoil(store, store.repository.index.lookup(BlobType.DATA, blobs[1])[0].pack, blobs[1])
    reader = tree.open_file(store.path("/broken"))
    assert reader.read(0, 1000) == content[:1000]
    operations = FuseOperations(tree)
    handle = operations.open(os.fsdecode(store.path("/broken")), os.O_RDONLY)
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            operations.read(os.fsdecode(store.path("/broken")), _LARGE, 0, handle)
    assert len(store.warnings.texts) == 1
    assert store.path("/broken").decode() in store.warnings.texts[0]
    assert blobs[1].hex() in store.warnings.texts[0]
    assert tree.open_file(store.path("/sound")).read(0, 10) == b"sound"
    assert operations.read(os.fsdecode(store.path("/broken")), 100, _LARGE - 50, handle) == content[-50:]


def _spoil(store: _Store, pack: Id, blob: Id) -> None:
    place = next(found for found in store.repository.index.lookup(BlobType.DATA, blob) if found.pack == pack)
    for handle in list(store.backend.snapshot()):
        if handle.type is FileType.PACK and handle.name == pack.hex():
            content = bytearray(store.backend.load(handle))
            content[place.offset + 20] ^= 1
            store.backend._files[handle] = bytes(content)


def test_blobs_that_a_prune_moved_are_found_again(store: _Store) -> None:
    """With --no-lock nothing keeps others from pruning."""
    (store.folder / "a").write_bytes(random.Random(1).randbytes(50_000))
    store.back_up()
    (store.folder / "b").write_bytes(random.Random(2).randbytes(50_000))
    (store.folder / "a").unlink()
    store.back_up()
    tree = store.tree(refresh_seconds=5.0)
    other = open_repository(store.backend, PASSWORD, OpenOptions(clock=store.clock))
    forget(other, ForgetOptions(ids=(_ids(store)[0],)))
    assert prune(other, PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(size=0)))).packs_written
    store.clock.advance(10)
    reader = tree.open_file(store.path("/b", "2026-11-23T00:01:00Z"))
    assert reader.read(0, 50_000) == random.Random(2).randbytes(50_000)


# --- hostile repositories ----------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[workshop.Workshop, bytes]:
    folder = tmp_path / "hostile"
    workshop.create(folder)
    made = workshop.Workshop(folder)
    source = tmp_path / "source"
    source.mkdir()
    back_up(made.repository, BackupOptions(paths=(os.fsencode(source),), workers=1))
    made = workshop.Workshop(folder)
    return made, tmp_path.name.encode()


def _shown(made: workshop.Workshop, document: bytes, warnings: _Warnings) -> dict[bytes, Entry]:
    made.add_tree_snapshot(document)
    reopened = workshop.Workshop(made.folder).repository
    tree = VirtualTree(reopened, TreeOptions(layout=Layout(("%I",))), warnings)
    wanted = hash_id(document)
    for located in tree.list_folder(b""):
        if located.entry.tree == wanted:
            return {found.entry.name: found.entry for found in tree.list_folder(b"/" + located.entry.name)}
    raise AssertionError("it is not shown")


def test_hostile_names_are_left_out_and_named(hostile: tuple[workshop.Workshop, bytes]) -> None:
    warnings = _Warnings()
    names = ("..", ".", "a/b", "", "nul\\\\x00", "bad\\\\q", "l" * 1025, "good", "good")
    shown = _shown(hostile[0], workshop.tree(*(workshop.node(name, "file", ',"content":[]') for name in names)),
                   warnings)
    assert list(shown) == [b"good"]
    assert len(warnings.texts) == 8


def test_hostile_nodes(hostile: tuple[workshop.Workshop, bytes]) -> None:
    warnings = _Warnings()
    node = workshop.node
    shown = _shown(hostile[0], workshop.tree(
        node("big", "file", ',"content":[],"size":18446744073709551615'),
        node("ids", "file", ',"content":["../../../etc/passwd"]'),
        node("missing", "file", f',"content":["{"0" * 64}"],"size":3'),
        node("nowhere", "dir"), node("owner", "file", ',"content":[]').replace('"uid":0', '"uid":18446744073709551615'),
        node("strange", "irregular"), node("times", "file", ',"content":[]').replace("2020-01-01T00", "rubbish")),
        warnings)
    assert set(shown) == {b"big", b"ids", b"missing", b"nowhere", b"owner", b"times"}
    assert len(warnings.texts) == 1
    assert shown[b"big"].size == 2**63 - 1
    assert shown[b"owner"].uid == 65534
    assert shown[b"times"].modified == 0


def test_what_cannot_be_opened_is_an_io_error(hostile: tuple[workshop.Workshop, bytes]) -> None:
    node = workshop.node
    document = workshop.tree(
        node("ids", "file", ',"content":["zz"],"size":1'),
        node("missing", "file", f',"content":["{"0" * 64}"],"size":3'),
        node("nowhere", "dir"), node("wrong", "file", ',"content":[],"size":5'))
    hostile[0].add_tree_snapshot(document)
    warnings = _Warnings()
    tree = VirtualTree(workshop.Workshop(hostile[0].folder).repository, TreeOptions(layout=Layout(("%I",))), warnings)
    root = next(b"/" + found.entry.name for found in tree.list_folder(b"") if found.entry.tree == hash_id(document))
    operations = FuseOperations(tree)
    for name in ("ids", "wrong"):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            operations.open(f"{root.decode()}/{name}", os.O_RDONLY)
    handle = operations.open(f"{root.decode()}/missing", os.O_RDONLY)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        operations.read(f"{root.decode()}/missing", 3, 0, handle)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        operations.readdir(f"{root.decode()}/nowhere", 0)
    assert len(operations.readdir(root.decode(), 0)) == 6
    assert len(warnings.texts) == 4


# --- what the kernel asks ----------------------------------------------------------------------


def test_answers_to_the_kernel(store: _Store) -> None:
    (store.folder / "link").symlink_to(b"odd\xff/target")
    file = store.folder / "file"
    file.write_bytes(b"content")
    os.setxattr(file, "user.note", b"\0value")
    os.mkfifo(store.folder / "pipe")
    store.back_up()
    operations = FuseOperations(store.tree())
    root = os.fsdecode(store.path())
    listed = {name: status for name, status, _ in operations.readdir(root, 0)}
    assert set(listed) == {".", "..", "inner", "link", "file", "pipe"}
    assert listed["file"] == operations.getattr(f"{root}/file")
    assert listed["file"]["st_blocks"] == 1
    assert stat.S_ISFIFO(listed["pipe"]["st_mode"])
    assert operations.readlink(f"{root}/link") == "odd\udcff/target"
    assert operations.listxattr(f"{root}/file") == ["user.note"]
    assert operations.getxattr(f"{root}/file", "user.note") == b"\0value"
    for wrong, number in ((lambda: operations.getxattr(f"{root}/file", "user.none"), errno.ENODATA),
                          (lambda: operations.readlink(f"{root}/file"), errno.EINVAL),
                          (lambda: operations.open(f"{root}/file", os.O_WRONLY), errno.EROFS),
                          (lambda: operations.getattr(f"{root}/none"), errno.ENOENT),
                          (lambda: operations.getattr(f"{root}/file/none"), errno.ENOTDIR)):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            wrong()  # type: ignore[no-untyped-call]
        assert caught.value.errno == number
    handle = operations.open(f"{root}/file", os.O_RDONLY)
    assert operations.read(f"{root}/file", 100, 1, handle) == b"ontent"
    assert operations.release(f"{root}/file", handle) == 0
    assert stat.S_ISDIR(operations.getattr("/")["st_mode"])
    assert operations.statfs("/")["f_namemax"] == 255


def test_owner_root(store: _Store) -> None:
    (store.folder / "file").write_bytes(b"x")
    os.chown(store.folder / "file", *((1234, 1234) if os.geteuid() == 0 else (-1, -1)))
    store.back_up()
    tree = store.tree(owner=(1000, 1000), owner_root=True)
    assert {tree.find(path).entry.uid for path in (b"", b"/latest", store.path("/file"))} == {0}
    plain = store.tree(owner=(1000, 1000))
    assert [plain.find(path).entry.uid for path in (b"", b"/latest")] == [1000, 1000]


def test_a_cache_that_is_too_small_is_refused() -> None:
    with pytest.raises(UsageError):
        TreeOptions(cache_bytes=1000)
