"""A repository in a folder of this machine, laid out as restic lays it out (format section 7).

A file is written under another name in the folder tree, synced, made read-only, renamed, and its
folder is synced. A failed fsync is never tried again: the kernel may have dropped the dirty pages
and would then report success for data that is not on the disk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from kuramori.clock import Clock, SystemClock
from kuramori.errors import (
    N_,
    FileNotInStorageError,
    Phrase,
    ShortReadError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
)
from kuramori.ids import is_hex_id
from kuramori.storage import durable_file
from kuramori.storage.backend import A_PACK, Buffer, FileInfo, FileType, Handle
from kuramori.storage.leftovers import is_abandoned, leftover_name

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISSING = {errno.ENOENT, errno.ENOTDIR}
_PASSING = {errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR}
_REMOVED_FOR_CERTAIN = {FileType.INDEX, FileType.SNAPSHOT, FileType.KEY}
"""Their removal is synced. After a power cut a snapshot or an index file must not come back when the
packs that it needs are gone already, nor a key whose password was given up."""
_SHARDS = tuple(f"{number:02x}" for number in range(256))
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_GROUP_FOLDER, _GROUP_FILE = 0o770, 0o660


class LocalBackend:
    """A :class:`~kuramori.storage.backend.Backend` in a folder."""

    def __init__(self, path: str | Path, *, connections: int = 2, clock: Clock | None = None) -> None:
        """Use the folder ``path``, which need not exist before :meth:`create`.

        Args:
            path: made absolute now, so that a later change of directory does not matter.
            connections: how many operations at once make sense on its disk.
            clock: tells how old leftovers are.
        """
        self._root = os.path.abspath(path)
        self._data = os.path.join(self._root, FileType.PACK.value)
        self._connections = connections
        self._clock = clock or SystemClock()

    @property
    def location(self) -> str:
        """The absolute path."""
        return self._root

    @property
    def connections(self) -> int:
        """How many operations at once make sense."""
        return self._connections

    @property
    def worker_location(self) -> str | None:
        """The absolute path; None where it is not valid UTF-8, which could not be handed over."""
        try:
            self._root.encode("utf-8")
        except UnicodeEncodeError:
            return None
        return self._root

    def create(self) -> None:
        """Make the folders of a repository.

        Raises:
            StorageError: one cannot be made.
        """
        mode = self._folder_mode()
        try:
            # The folders above are the user's own affair: ordinary modes.
            durable_file.make_folders(os.path.dirname(self._root), 0o777)
            durable_file.make_folders(self._root, mode)
            for file_type in FileType:
                if file_type is not FileType.CONFIG:
                    durable_file.make_folder(os.path.join(self._root, file_type.value), mode)
            for shard in _SHARDS:
                durable_file.make_folder(os.path.join(self._data, shard), mode)
            durable_file.sync_folder(self._data)
            durable_file.sync_folder(self._root)
        except OSError as error:
            raise self._error(error, "create", self._root) from error

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file, durably and atomically (see :class:`~kuramori.storage.backend.Backend`)."""
        # Packs are written beside the 256 folders: leftovers need not be looked for in each of them.
        folder = os.path.dirname(self._path(handle)) if handle.type is not FileType.PACK else self._data
        staged = self._stage(folder, handle.name or FileType.CONFIG.value, str(handle))
        try:
            staged.write(parts)
            staged.commit(handle)
        finally:
            staged.discard()

    def stage(self) -> _StagedLocalFile:
        """Begin a pack whose name is not known yet, as a temporary file in the data folder."""
        return self._stage(self._data, "kuramori", A_PACK)

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file. Nothing is allocated before its size is known to suffice."""
        try:
            fd = os.open(self._path(handle), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                return self._read(fd, handle, offset, length)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(error, "load", str(handle), missing_is_absent=True) from error

    def _read(self, fd: int, handle: Handle, offset: int, length: int | None) -> bytes:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(location=self.location, operation="load", name=str(handle),
                               detail=N_("it is not a regular file"))
        if length is None:
            length = max(status.st_size - offset, 0)
        if offset + length > status.st_size:
            raise self._short(handle, offset + length, status.st_size)
        data = durable_file.read_range(fd, offset, length)
        if len(data) < length:
            raise self._short(handle, offset + length, offset + len(data))
        return data

    def _short(self, handle: Handle, wanted: int, size: int) -> ShortReadError:
        return ShortReadError(location=self.location, operation="load", name=str(handle),
                              detail=Phrase(N_("{wanted} bytes were expected and it has {size}"),
                                            wanted=wanted, size=size))

    def size(self, handle: Handle) -> int:
        """Return the file's size in bytes."""
        try:
            return os.stat(self._path(handle)).st_size
        except OSError as error:
            raise self._error(error, "look at", str(handle), missing_is_absent=True) from error

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type. Packs that lie in the wrong folder are not where they would
        be looked for, so they are left out."""
        folder = os.path.join(self._root, file_type.value)
        if file_type is FileType.PACK:
            for shard in _SHARDS:
                yield from self._list_folder(os.path.join(folder, shard), shard)
        else:
            yield from self._list_folder(folder, "")

    def _list_folder(self, folder: str, prefix: str) -> Iterator[FileInfo]:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not is_hex_id(entry.name) or not entry.name.startswith(prefix):
                        continue
                    info = _regular_file_info(entry)
                    if info is not None:
                        yield info
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(error, "list", folder) from error

    def folders(self) -> Iterator[str]:
        """Yield the names of the folders at the location (see :class:`~kuramori.storage.prefixes.FolderLister`)."""
        try:
            with os.scandir(self._root) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        yield entry.name
        except OSError as error:
            raise self._error(error, "list", self._root, missing_is_absent=True) from error

    def remove(self, handle: Handle) -> None:
        """Delete a file."""
        path = self._path(handle)
        try:
            _unlink_read_only(path)
            if handle.type in _REMOVED_FOR_CERTAIN:
                durable_file.sync_folder(os.path.dirname(path))
        except OSError as error:
            raise self._error(error, "remove", str(handle), missing_is_absent=True) from error

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete temporary files whose process is gone or that are that old; return how many.

        One that a living process holds open is never deleted, whatever its age.
        """
        before = self._clock.now_nanoseconds() - int(older_than_seconds * 1e9)
        count = 0
        for folder in self._folders():
            try:
                names = os.listdir(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._error(error, "list", folder) from error
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if is_abandoned(path, before):
                        os.unlink(path)
                        count += 1
                except (FileNotFoundError, PermissionError):
                    continue  # somebody else did it, or may do it
                except OSError as error:
                    raise self._error(error, "remove", path) from error
        return count

    def close(self) -> None:
        """Nothing is held open."""

    def _folders(self) -> Iterator[str]:
        yield self._root
        for file_type in FileType:
            if file_type is not FileType.CONFIG:
                yield os.path.join(self._root, file_type.value)

    def _path(self, handle: Handle) -> str:
        if handle.type is FileType.CONFIG:
            return os.path.join(self._root, FileType.CONFIG.value)
        if not is_hex_id(handle.name):
            raise ValueError(f"not the name of a repository file: {handle.name[:80]!r}")
        if handle.type is FileType.PACK:
            return os.path.join(self._root, handle.type.value, handle.name[:2], handle.name)
        return os.path.join(self._root, handle.type.value, handle.name)

    def _stage(self, folder: str, stem: str, subject: str | Phrase) -> _StagedLocalFile:
        """Open a temporary file in ``folder``; ``subject`` names it in errors."""
        path = os.path.join(folder, leftover_name(stem))
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                fd = os.open(path, flags, _PRIVATE_FILE)
            except FileNotFoundError:
                self._make_missing_folder(folder)
                fd = os.open(path, flags, _PRIVATE_FILE)
        except OSError as error:
            raise self._error(error, "write", subject) from error
        durable_file.lock_if_possible(fd)
        return _StagedLocalFile(self, fd, path, subject)

    def _make_missing_folder(self, folder: str) -> None:
        """Make a folder that a copying tool may have dropped because it was empty.

        Only where the config is: an unmounted disk leaves an empty mount point, and a repository
        must not be strewn over the disk below it.
        """
        if not os.path.exists(os.path.join(self._root, FileType.CONFIG.value)):
            raise StorageError(location=self.location, operation="write into", name=folder,
                               detail=N_("the repository's folders are gone; is its disk mounted?"))
        durable_file.make_folders(folder, self._folder_mode())

    def _group_may_read(self) -> bool:
        try:
            return bool(os.stat(os.path.join(self._root, FileType.CONFIG.value)).st_mode & stat.S_IRGRP)
        except OSError:
            return False

    def _folder_mode(self) -> int:
        return _GROUP_FOLDER if self._group_may_read() else _PRIVATE_FOLDER

    def _finish(self, staged: _StagedLocalFile, handle: Handle) -> None:
        """Give a written file its mode and name, and sync it."""
        final = self._path(handle)
        folder = os.path.dirname(final)
        mode = (_GROUP_FILE if self._group_may_read() else _PRIVATE_FILE) & ~0o222
        try:
            with suppress(OSError):  # vfat and some network file systems know no modes
                os.fchmod(staged.fd, mode)
            durable_file.sync_file(staged.fd)
            try:
                os.replace(staged.path, final)
            except FileNotFoundError:
                if os.path.isdir(folder):
                    raise
                self._make_missing_folder(folder)
                os.replace(staged.path, final)
            durable_file.sync_folder(folder)
        except OSError as error:
            raise self._error(error, "save", str(handle)) from error

    def _error(self, error: OSError, operation: str, name: str | Phrase, *,
               missing_is_absent: bool = False) -> StorageError:
        """Return the error of our own tree for an error of the system."""
        kind = StorageError
        if error.errno in durable_file.FULL_DISK:
            kind = StorageFullError
        elif error.errno in _REFUSED:
            kind = StoragePermissionError
        elif error.errno in _PASSING:
            kind = StorageRetryableError
        elif missing_is_absent and error.errno in _MISSING:
            kind = FileNotInStorageError
        return kind(location=self.location, operation=operation, name=name,
                    detail=error.strerror or type(error).__name__)


class _StagedLocalFile:
    """A temporary file, open and locked (flock) until it gets its name or is dropped."""

    def __init__(self, backend: LocalBackend, fd: int, path: str, subject: str | Phrase) -> None:
        self.fd = fd
        self.path = path
        self._subject = subject
        self._backend = backend
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._size

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append the buffers in order."""
        try:
            self._size += durable_file.write_all(self.fd, parts)
        except OSError as error:
            raise self._backend._error(error, "write", self._subject) from error

    def read_back(self) -> bytes:
        """Return everything written so far."""
        try:
            data = durable_file.read_range(self.fd, 0, self._size)
        except OSError as error:
            raise self._backend._error(error, "read back", self._subject) from error
        if len(data) != self._size:
            raise StorageError(location=self._backend.location, operation="read back", name=self._subject,
                               detail=N_("it became shorter"))
        return data

    def commit(self, handle: Handle) -> None:
        """Make the file durable under its name."""
        self._backend._finish(self, handle)
        self._close()

    def discard(self) -> None:
        """Close and delete the temporary file, if it still is one."""
        if self.fd < 0:
            return
        with suppress(OSError):  # a leftover is collected later, and the first error is told
            os.unlink(self.path)
        self._close()

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        # All that close could report was already asked of fsync.
        with suppress(OSError):
            os.close(fd)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle


def _regular_file_info(entry: os.DirEntry[str]) -> FileInfo | None:
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None  # it was removed meanwhile, or is a dangling link
    return FileInfo(entry.name, status.st_size) if stat.S_ISREG(status.st_mode) else None


def _unlink_read_only(path: str) -> None:
    try:
        os.unlink(path)
    except PermissionError:
        # Some network file systems refuse to delete what is marked read-only.
        with suppress(OSError):
            os.chmod(path, _PRIVATE_FILE)
        os.unlink(path)
