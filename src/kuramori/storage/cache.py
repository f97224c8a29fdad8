"""Copies of small, often-read repository files on this machine's own disk.

Kept are snapshots, indexes and those packs that somebody said to keep (the ones with trees);
never keys, locks or the config. A copy is used only when its hash is its name, so a damaged one is
simply fetched anew. Nothing that goes wrong with the cache fails an operation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from kuramori.errors import StorageError
from kuramori.ids import hash_id, is_hex_id
from kuramori.storage import durable_file
from kuramori.storage.backend import Backend, Buffer, FileInfo, FileType, Handle, StagedFile
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.leftovers import is_abandoned, leftover_name

_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of kuramori. It may be deleted at any time.
# Backup programs leave folders with this file out: https://bford.info/cachedir/
"""
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_KEPT_WHOLE = frozenset({FileType.SNAPSHOT, FileType.INDEX})
_CACHED = frozenset({FileType.SNAPSHOT, FileType.INDEX, FileType.PACK})
_LARGEST_PACK = 160 * 1024 * 1024
"""A larger pack is not copied: no program writes any, and it is held in memory for a moment."""


def cache_folder(directory: str, repository_id: str) -> str:
    """Return the folder of what is kept of one repository, below the folder of all caches."""
    # The id comes out of a repository and becomes a path: take it only if it is an id.
    name = repository_id if is_hex_id(repository_id) else hash_id(repository_id.encode()).hex()
    return os.path.join(directory, name)


def make_cache_folder(directory: str, folder: str) -> None:
    """Make the folder of all caches, marked as such, and the one of a repository in it, as far as they are missing.

    Raises:
        OSError: one cannot be made.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    tag = os.path.join(directory, "CACHEDIR.TAG")
    if not os.path.exists(tag):
        Path(tag).write_text(_TAG, encoding="ascii")
    durable_file.make_folder(folder, 0o700)


class CacheBackend(ForwardingBackend):
    """Answers from copies on this machine where it can (see the module)."""

    def __init__(self, inner: Backend, directory: Path, repository_id: str) -> None:
        """Wrap ``inner``.

        Args:
            directory: the folder of all caches; made when something is written.
            repository_id: the id in the repository's config; its copies lie in a folder of this
                name.
        """
        super().__init__(inner)
        self._directory = str(directory)
        self._root = cache_folder(self._directory, repository_id)
        self._kept_packs: set[str] = set()
        self._verified: set[Handle] = set()
        """Packs whose copies had the right hash when this process first read them."""
        self._writable = True
        self._guards = tuple(threading.Lock() for _ in range(16))
        with suppress(OSError):
            os.utime(self._root)  # shows when it was last used

    def keep_pack(self, name: str, least_bytes: int = 0) -> None:
        """Say that a pack holds trees: it is copied whole when a range of it is first read, or
        when it is written after this call.

        Args:
            name: 64 hexadecimal digits.
            least_bytes: that it is known to have; one that is too large is not copied.
        """
        if least_bytes <= _LARGEST_PACK:
            self._kept_packs.add(name)

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file, and keep a copy of it if its kind is kept."""
        self._inner.save(handle, parts)
        if self._keeps(handle):
            self._store(handle, parts)

    def stage(self) -> StagedFile:
        """Begin a pack. Its copy is kept if :meth:`keep_pack` was called before its commit."""
        return _StagedFile(self, self._inner.stage())

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file, from the copy where there is a good one."""
        if not self._keeps(handle):
            return self._inner.load(handle, offset, length)
        with self._guards[int(handle.name[0], 16)]:
            if handle in self._verified:
                data = self._load_range(handle, offset, length)
            else:
                data = self._load_whole(handle, offset, length)
        return self._inner.load(handle, offset, length) if data is None else data

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type; after the last one, copies of files that were not among them
        are dropped. A listing without any file may be an accident and drops none."""
        if file_type not in _CACHED:
            yield from self._inner.list(file_type)
            return
        unlisted = self._copies(file_type)
        some = False
        for info in self._inner.list(file_type):
            some = True
            unlisted.discard(info.name)
            yield info
        for name in unlisted if some else ():
            self._drop(Handle(file_type, name))

    def remove(self, handle: Handle) -> None:
        """Delete a file and its copy."""
        if handle.type in _CACHED:
            self._drop(handle)
        self._inner.remove(handle)

    def _keeps(self, handle: Handle) -> bool:
        if handle.type is FileType.PACK:
            return handle.name in self._kept_packs
        return handle.type in _KEPT_WHOLE

    # --- reading -----------------------------------------------------------------------------

    def _load_whole(self, handle: Handle, offset: int, length: int | None) -> bytes | None:
        """Return a range after the whole file was checked, or None to ask the store for it."""
        content = self._load_copy(handle)
        if content is None:
            content = self._fetch(handle)
            if content is None:
                return None
            self._store(handle, [content])
        elif handle.type is FileType.PACK:
            self._verified.add(handle)
        return _cut(content, offset, length)

    def _load_copy(self, handle: Handle) -> bytes | None:
        try:
            fd = os.open(self._path(handle), _READ)
        except OSError:
            return None
        try:
            size = os.fstat(fd).st_size
            content = durable_file.read_range(fd, 0, size) if size <= _LARGEST_PACK else b""
        except OSError:
            content = b""
        finally:
            os.close(fd)
        if hash_id(content).hex() == handle.name:
            return content
        self._drop(handle)
        return None

    def _load_range(self, handle: Handle, offset: int, length: int | None) -> bytes | None:
        try:
            fd = os.open(self._path(handle), _READ)
        except OSError:
            self._verified.discard(handle)
            return None
        try:
            size = os.fstat(fd).st_size
            wanted = size - offset if length is None else length
            if wanted >= 0 and offset + wanted <= size:
                return durable_file.read_range(fd, offset, wanted)
        except OSError:
            pass
        finally:
            os.close(fd)
        self._verified.discard(handle)  # it may have been cut short since: check it anew next time
        return None

    def _fetch(self, handle: Handle) -> bytes | None:
        """Return the whole file from the store, or None. Its errors come when the store is asked for the range that
        is wanted."""
        try:
            content = self._inner.load(handle)
        except StorageError:
            return None
        return content if hash_id(content).hex() == handle.name else None

    # --- the copies --------------------------------------------------------------------------

    def _path(self, handle: Handle) -> str:
        if not is_hex_id(handle.name):
            raise ValueError(f"not the name of a repository file: {handle.name[:80]!r}")
        return os.path.join(self._root, handle.type.value, handle.name[:2], handle.name)

    def _store(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        if not self._writable:
            return
        path = self._path(handle)
        temporary = os.path.join(os.path.dirname(path), leftover_name("kuramori"))
        try:
            self._make_folder(os.path.dirname(path))
            fd = os.open(temporary, _CREATE, 0o600)
            try:
                durable_file.lock_if_possible(fd)
                # Not synced: what a power cut leaves is found by its hash.
                durable_file.write_all(fd, parts)
                os.replace(temporary, path)
            finally:
                os.close(fd)
        except OSError:
            # A full or read-only disk: work on without new copies.
            self._writable = False
            with suppress(OSError):
                os.unlink(temporary)

    def _make_folder(self, folder: str) -> None:
        if os.path.isdir(folder):
            return
        make_cache_folder(self._directory, self._root)
        for path in (os.path.dirname(folder), folder):
            durable_file.make_folder(path, 0o700)

    def _drop(self, handle: Handle) -> None:
        self._verified.discard(handle)
        with suppress(OSError):
            os.unlink(self._path(handle))

    def _copies(self, file_type: FileType) -> set[str]:
        """Return the names of all copies of a type, and delete half-written ones."""
        names = set()
        for folder, _, files in os.walk(os.path.join(self._root, file_type.value)):
            for name in files:
                if is_hex_id(name):
                    names.add(name)
                    continue
                path = os.path.join(folder, name)
                with suppress(OSError):
                    if is_abandoned(path, 0):
                        os.unlink(path)
        return names


class _StagedFile:
    """Keeps a copy of a pack when it gets its name."""

    def __init__(self, cache: CacheBackend, inner: StagedFile) -> None:
        self._cache = cache
        self._inner = inner

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._inner.size

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append the buffers in order."""
        self._inner.write(parts)

    def read_back(self) -> bytes:
        """Return everything written so far."""
        return self._inner.read_back()

    def commit(self, handle: Handle) -> None:
        """Make the file durable, then keep a copy if its kind is kept."""
        content = self._inner.read_back() if self._cache._keeps(handle) else None
        self._inner.commit(handle)
        if content is not None:
            self._cache._store(handle, [content])

    def discard(self) -> None:
        """Drop it."""
        self._inner.discard()


def _cut(content: bytes, offset: int, length: int | None) -> bytes | None:
    """Return a range, or None where the file ends before it."""
    end = len(content) if length is None else offset + length
    if offset > len(content) or end > len(content):
        return None
    return content if (offset, end) == (0, len(content)) else content[offset:end]
