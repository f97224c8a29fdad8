"""A repository in a folder of a server that is reached by SSH, laid out as restic lays it out (format section 7).

A file is written under another name, synced where the server can do that, made read-only and renamed, and its folder
is synced. OpenSSH can do all of it; of another server what it offers is used.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import asyncssh

from kuramori.clock import Clock, SystemClock
from kuramori.errors import (
    N_,
    FileNotInStorageError,
    NoFolderForStoreError,
    Phrase,
    ShortReadError,
    SshConfigurationError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
    UsageError,
)
from kuramori.ids import is_hex_id
from kuramori.storage import sftp_transfers as transfers
from kuramori.storage.access import DEFAULT_CONNECTIONS, NO_ACCESS, StoreAccess
from kuramori.storage.backend import Buffer, FileInfo, FileType, Handle, StagedFile
from kuramori.storage.leftovers import leftover_name, leftover_writer
from kuramori.storage.sftp_address import SftpAddress, parse_sftp_address, parse_ssh_arguments
from kuramori.storage.sftp_connection import LoopThread, SftpLink, open_link
from kuramori.storage.spooled_file import SpooledFile
from kuramori.storage.ssh_configuration import ConfigurationUnusableError, SshUser, find_way

Result = TypeVar("Result")

_SHARDS = tuple(f"{number:02x}" for number in range(256))
_REMOVED_FOR_CERTAIN = {FileType.INDEX, FileType.SNAPSHOT, FileType.KEY}
"""Their removal is synced, as in :mod:`kuramori.storage.local`."""
_PRIVATE_FOLDER, _GROUP_FOLDER = 0o700, 0o770
_RESTIC_LEFTOVER = re.compile(r"(?:config|[0-9a-f]{64})-restic-temp-[0-9a-f]{32}")
_QUIET_SECONDS = 15 * 60.0
"""A temporary file of a process that seems to be gone is dropped when nothing was written to it for so long: another
container may have our host name, and its processes are not seen."""
_LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError, asyncssh.ChannelOpenError,
         OSError, EOFError, concurrent.futures.CancelledError)
_FAILURES = (asyncssh.Error, *_LOST)
_MISSING = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)
_FULL = re.compile(r"no space|disk full|quota", re.IGNORECASE)
_DROP_SECONDS = 5.0
_INTERRUPTED_SECONDS = 10.0
"""The patience with a server that says nothing, once the user has asked to end and only tidying up is left."""

_being_written: set[str] = set()
"""Names of temporary files of this process that are being written."""


def open_sftp(address: str, access: StoreAccess = NO_ACCESS) -> SftpBackend:
    """Return the store at ``address``, which is what follows ``sftp:`` in a location.

    Raises:
        UnknownLocationError, UsageError: the address or an option cannot be used.
    """
    if access.options.get("sftp.command"):
        raise UsageError(detail=N_("-o sftp.command is not supported, because no ssh program is run; "
                                   "write what it would do into ~/.ssh/config (ProxyCommand), or use -o sftp.args"))
    return SftpBackend(parse_sftp_address(address), access)


class SftpBackend:
    """A :class:`~kuramori.storage.backend.Backend` in a folder of a server."""

    def __init__(self, address: SftpAddress, access: StoreAccess = NO_ACCESS, *, clock: Clock | None = None) -> None:
        """Nothing is connected before the first operation.

        Args:
            address: the folder, which need not exist before :meth:`create`.
            access: ``HOME``, ``USER`` and ``SSH_AUTH_SOCK`` say whose configuration, keys and agent are used; the
                option ``sftp.args`` what else would be said to ``ssh``.
            clock: tells how old leftovers are.

        Raises:
            UsageError: ``sftp.args`` cannot be understood.
        """
        self._address = address
        self._access = access
        self._clock = clock or SystemClock()
        self._arguments = parse_ssh_arguments(access.options.get("sftp.args", ""))
        self._root = os.fsencode(address.path)
        self._guard = threading.Lock()
        self._thread: LoopThread | None = None
        self._link: SftpLink | None = None
        self._opening: concurrent.futures.Future[SftpLink] | None = None
        self._reached = False
        self._interrupted = False
        self._strays: dict[bytes, transfers.FolderEntry] = {}

    @property
    def location(self) -> str:
        """The location as it was given."""
        return self._address.location

    @property
    def connections(self) -> int:
        """How many operations at once make sense. They share one connection."""
        return self._access.connections or DEFAULT_CONNECTIONS

    @property
    def worker_location(self) -> str | None:
        """None: a process of its own would have to log in again."""
        return None

    def create(self) -> None:
        """Make the folders of a repository."""
        folders = [self._folder(file_type) for file_type in FileType if file_type is not FileType.CONFIG]
        folders += [self._folder(FileType.PACK, shard) for shard in _SHARDS]

        async def made(link: SftpLink) -> None:
            mode = _GROUP_FOLDER if link.group_reads else _PRIVATE_FOLDER
            await transfers.make_repository_folders(link, self._root, folders, mode)

        self._run("create", self._address.path, made)

    # --- writing -----------------------------------------------------------------------------

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file, durably as far as the server can, and atomically."""
        final = self._path(handle)
        name = leftover_name(handle.name or FileType.CONFIG.value)
        # Packs are written beside the 256 folders: leftovers need not be looked for in each of them.
        path = _join(self._folder(handle.type), name.encode())
        link = self._connected()
        _being_written.add(name)
        opened: transfers.OpenFile | None = None
        try:
            opened = self._begin(link, handle, path, final)
            self._send(link, opened, parts)
            self._place(link, handle, opened, path, final)
        except _PartsFailedError as failed:
            self._drop(link, opened, path)
            raise failed.error from None
        except BaseException as error:  # Ctrl-C, too, shall leave nothing behind
            told = self._failure_of_saving(link, error, str(handle))
            self._drop(link, opened, path)
            if told is None:
                raise
            raise told from error
        finally:
            _being_written.discard(name)

    def stage(self) -> StagedFile:
        """Begin a pack whose name is not known yet, in a temporary file on this machine."""
        return SpooledFile(self.save, self.location)

    def _begin(self, link: SftpLink, handle: Handle, path: bytes, final: bytes) -> transfers.OpenFile:
        # A lock that a power cut takes away is not missed.
        folder = None if handle.type is FileType.LOCK else _folder_of(final)
        config = _join(self._root, FileType.CONFIG.value.encode())
        try:
            return self._wait(link, transfers.begin_file(link, path, folder, config))
        except asyncssh.SFTPNoSuchFile:
            self._make_missing_folders(link, handle, final)
            return self._wait(link, transfers.begin_file(link, path, folder, config))

    def _send(self, link: SftpLink, opened: transfers.OpenFile, parts: Sequence[Buffer]) -> None:
        """Write the content, with several pieces on their way. The parts are made here and not in the loop's thread:
        making them may take its time."""
        longest = transfers.longest_write(link)
        most = max(transfers.WINDOW_BYTES // longest, 1)
        waiting: deque[concurrent.futures.Future[None]] = deque()
        offset = 0
        for piece in _made(transfers.pieces_of(parts, longest)):
            if len(waiting) >= most:
                self._wait_for(link, waiting.popleft())
            waiting.append(self._submit(transfers.write_piece(link, opened, piece, offset)))
            offset += len(piece)
        waiting.append(self._submit(transfers.finish_file(link, opened)))
        while waiting:
            self._wait_for(link, waiting.popleft())

    def _place(self, link: SftpLink, handle: Handle, opened: transfers.OpenFile, path: bytes, final: bytes) -> None:
        replace = handle.type is FileType.CONFIG
        try:
            self._wait(link, transfers.place_file(link, opened, path, final, replace=replace))
        except asyncssh.SFTPNoSuchFile:
            self._make_missing_folders(link, handle, final)
            self._wait(link, transfers.place_file(link, opened, path, final, replace=replace))

    def _make_missing_folders(self, link: SftpLink, handle: Handle, final: bytes) -> None:
        """Make folders that a copying tool may have dropped because they were empty.

        Only where the config is: an unmounted disk leaves an empty mount point, and a repository must not be strewn
        over the disk below it.
        """
        async def made() -> None:
            await link.client.stat(_join(self._root, FileType.CONFIG.value.encode()))
            mode = _GROUP_FOLDER if link.group_reads else _PRIVATE_FOLDER
            await transfers.make_folders(link, _folder_of(final), mode)

        try:
            self._wait(link, made())
        except asyncssh.SFTPNoSuchFile as error:
            raise NoFolderForStoreError(location=self.location, name=str(handle)) from error

    def _failure_of_saving(self, link: SftpLink, error: BaseException, name: str) -> StorageError | None:
        """Return what to raise in place of an error, None where it is no error of the store."""
        if isinstance(error, asyncssh.SFTPNoSuchFile):
            return StorageRetryableError(location=self.location, operation="save", name=name,
                                         detail=N_("its temporary file was removed meanwhile"))
        if not isinstance(error, _FAILURES):
            return None
        if not isinstance(error, asyncssh.SFTPFailure):
            return self._error(error, "save", name)
        # SFTP has one word for all that a disk can say.
        space = None
        with suppress(StorageError, *_FAILURES):
            space = self._wait(link, transfers.free_space(link, self._root))
        if space is not None and space.read_only:
            return StoragePermissionError(location=self.location, operation="save", name=name,
                                          detail=N_("Read-only file system"))
        if _FULL.search(error.reason) or (space is not None and (
                not space.files or space.free < 2 * transfers.longest_write(link))):
            return StorageFullError(location=self.location, operation="save", name=name)
        return StorageError(location=self.location, operation="save", name=name, detail=Phrase(
            N_("the server says {reason!r}; its disk may be damaged, or a quota used up"), reason=error.reason))

    def _drop(self, link: SftpLink, opened: transfers.OpenFile | None, path: bytes) -> None:
        """Remove a file that was not finished, if the server still answers; otherwise it is collected later."""
        if link.lost:
            return
        with suppress(TimeoutError, *_FAILURES):
            self._submit(transfers.drop_file(link, opened, path)).result(_DROP_SECONDS)

    # --- reading -----------------------------------------------------------------------------

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file."""
        path = self._path(handle)
        try:
            return self._run("load", str(handle), lambda link: transfers.read_file(link, path, offset, length),
                             missing_is_absent=True)
        except transfers.TooShortError as error:
            raise ShortReadError(location=self.location, operation="load", name=str(handle), detail=Phrase(
                N_("{wanted} bytes were expected and it has {size}"), wanted=offset + (length or 0),
                size=error.size)) from None
        except transfers.EndedEarlyError:
            raise StorageRetryableError(location=self.location, operation="load", name=str(handle),
                                        detail=N_("it became shorter")) from None

    def size(self, handle: Handle) -> int:
        """Return the file's size in bytes."""
        path = self._path(handle)

        async def looked(link: SftpLink) -> int:
            return (await link.answered(link.client.stat(path))).size or 0

        return self._run("look at", str(handle), looked, missing_is_absent=True)

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type. Packs that lie in the wrong folder are left out."""
        prefixes = _SHARDS if file_type is FileType.PACK else ("",)
        folders = [self._folder(file_type, prefix) for prefix in prefixes]
        listed = self._run("list", file_type.value, lambda link: transfers.list_folders(link, folders))
        return self._files(zip(folders, prefixes, listed, strict=True))

    def _files(self, listed: Iterable[tuple[bytes, str, Sequence[transfers.FolderEntry]]]) -> Iterator[FileInfo]:
        for folder, prefix, entries in listed:
            for entry in entries:
                name = entry.name.decode("ascii", "replace")
                if is_hex_id(name) and name.startswith(prefix):
                    yield FileInfo(name, entry.size)
                elif prefix and _RESTIC_LEFTOVER.fullmatch(name):
                    self._strays[_join(folder, entry.name)] = entry

    def folders(self) -> Iterator[str]:
        """Yield the names of the folders at the location (see :class:`~kuramori.storage.prefixes.FolderLister`)."""
        yield from self._run("list", self._address.path, lambda link: transfers.list_subfolders(link, self._root),
                             missing_is_absent=True)

    # --- removing ----------------------------------------------------------------------------

    def remove(self, handle: Handle) -> None:
        """Delete a file."""
        path = self._path(handle)
        folder = _folder_of(path) if handle.type in _REMOVED_FOR_CERTAIN else None
        self._run("remove", str(handle), lambda link: transfers.remove_file(link, path, folder), missing_is_absent=True)

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete temporary files of ours whose process is gone, and of anybody, restic too, that are that old.

        restic writes packs in the 256 folders of packs. Its leftovers there are those that :meth:`list` has seen:
        looking into all of them for this alone would cost a thousand requests.
        """
        folders = [self._root, *(self._folder(kind) for kind in FileType if kind is not FileType.CONFIG)]
        listed = self._run("list", self._address.path, lambda link: transfers.list_folders(link, folders))
        now = self._clock.now_nanoseconds() / 1e9
        candidates = {_join(folder, entry.name): entry
                      for folder, entries in zip(folders, listed, strict=True) for entry in entries}
        paths = [path for path, entry in (candidates | self._strays).items()
                 if _is_abandoned(entry, now, older_than_seconds)]
        self._strays = {}
        return self._run("remove", self._address.path, lambda link: transfers.remove_files(link, paths)) if paths else 0

    # --- the connection ----------------------------------------------------------------------

    def close(self) -> None:
        """End the connection and its thread. May be called more than once; the next operation connects anew."""
        opening = self._opening
        if opening is not None:
            opening.cancel()
        with self._guard:
            thread, link = self._thread, self._link
            self._thread = self._link = None
        if thread is None or thread.process != os.getpid():
            return
        if link is not None:
            with suppress(TimeoutError, *_FAILURES):
                thread.submit(link.close()).result(2 * _DROP_SECONDS)
        thread.stop()

    def _connected(self) -> SftpLink:
        """Return the connection, made anew if there is none or it was lost."""
        with self._guard:
            if self._thread is not None and self._thread.process != os.getpid():
                self._thread = self._link = None  # a fork has no threads, and the connection is its parent's
            link = self._link
            if link is not None and not link.lost:
                return link
            if self._thread is None:
                self._thread = LoopThread()
            if link is not None:
                self._thread.call(link.abort)  # the jump hosts before it
            self._link = link = self._connect(self._thread)
            self._reached = True
            return link

    def _connect(self, thread: LoopThread) -> SftpLink:
        user = SshUser.of_variables(self._access.variables)
        try:
            way = find_way(user, self._address.host, self._address.port, self._address.user, self._arguments)
        except ConfigurationUnusableError as error:
            raise SshConfigurationError(location=self.location, detail=str(error)) from error
        self._opening = opening = thread.submit(open_link(
            user, way, self.location, stall_seconds=self._access.stall_seconds, known_to_exist=self._reached))
        try:
            return opening.result()
        except concurrent.futures.CancelledError as error:  # by close()
            raise self._error(error, "reach", self._address.host) from error
        except BaseException:
            opening.cancel()
            raise
        finally:
            self._opening = None

    def _submit(self, work: Coroutine[Any, Any, Result]) -> concurrent.futures.Future[Result]:
        thread = self._thread
        if thread is None:
            work.close()
            raise EOFError  # closed by another thread meanwhile
        return thread.submit(work)

    def _run(self, operation: str, name: str, work: Callable[[SftpLink], Coroutine[Any, Any, Result]], *,
             missing_is_absent: bool = False) -> Result:
        link = self._connected()
        try:
            return self._wait(link, work(link))
        except _FAILURES as error:
            raise self._error(error, operation, name, missing_is_absent=missing_is_absent) from error

    def _wait(self, link: SftpLink, work: Coroutine[Any, Any, Result]) -> Result:
        return self._wait_for(link, self._submit(work))

    def _wait_for(self, link: SftpLink, future: concurrent.futures.Future[Result]) -> Result:
        """Return the result, as long as the server answers anything at all from time to time."""
        while True:
            moved = link.moved
            seconds = min(self._access.stall_seconds, _INTERRUPTED_SECONDS if self._interrupted else math.inf)
            try:
                return future.result(seconds)
            except TimeoutError:
                if future.done():
                    return future.result()
                if link.moved == moved:
                    self._give_up(link, future, seconds)
            except BaseException:
                self._interrupted = self._interrupted or not future.done()  # Ctrl-C, in the main thread
                future.cancel()
                raise

    def _give_up(self, link: SftpLink, future: concurrent.futures.Future[Any], seconds: float) -> NoReturn:
        future.cancel()
        if self._thread is not None:
            self._thread.call(link.abort)
        raise StorageRetryableError(location=self.location, operation="reach", name=self._address.host, detail=Phrase(
            N_("nothing has moved for {seconds} seconds"), seconds=round(seconds)))

    def _error(self, error: BaseException, operation: str, name: str, *,
               missing_is_absent: bool = False) -> StorageError:
        """Return the error of our own tree for one of SFTP."""
        detail: str = getattr(error, "reason", "") or str(error) or type(error).__name__
        kind = StorageError
        if isinstance(error, _MISSING) and missing_is_absent:
            kind = FileNotInStorageError
        elif isinstance(error, (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect)):
            kind = StoragePermissionError
        elif isinstance(error, (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)):
            kind = StorageFullError
        elif isinstance(error, _LOST):
            kind, detail = StorageRetryableError, N_("the connection was lost")
        return kind(location=self.location, operation=operation, name=name, detail=detail)

    # --- the layout --------------------------------------------------------------------------

    def _folder(self, file_type: FileType, shard: str = "") -> bytes:
        if file_type is FileType.CONFIG:
            return self._root
        folder = _join(self._root, file_type.value.encode())
        return _join(folder, shard.encode()) if shard else folder

    def _path(self, handle: Handle) -> bytes:
        if handle.type is FileType.CONFIG:
            return _join(self._root, FileType.CONFIG.value.encode())
        if not is_hex_id(handle.name):
            raise ValueError(f"not the name of a repository file: {handle.name[:80]!r}")
        shard = handle.name[:2] if handle.type is FileType.PACK else ""
        return _join(self._folder(handle.type, shard), handle.name.encode())


class _PartsFailedError(Exception):
    """What is to be saved could not be read on this machine; the server has nothing to do with it."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def _made(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except OSError as error:
        raise _PartsFailedError(error) from error


def _join(folder: bytes, name: bytes) -> bytes:
    return name if folder == b"." else folder.rstrip(b"/") + b"/" + name


def _folder_of(path: bytes) -> bytes:
    folder, slash, _name = path.rpartition(b"/")
    return folder or (b"/" if slash else b".")


def _is_abandoned(entry: transfers.FolderEntry, now: float, older_than_seconds: float) -> bool:
    """Tell whether a file is a temporary one that nobody will finish."""
    name = entry.name.decode("ascii", "replace")
    if name in _being_written:
        return False
    old = entry.changed < now - older_than_seconds
    writer = leftover_writer(name)
    if writer is None:
        return old and _RESTIC_LEFTOVER.fullmatch(name) is not None
    # A file of this very process that is not being written: its connection was lost.
    gone = writer.is_here and (writer.process == os.getpid() or not writer.is_alive)
    return old or (gone and entry.changed < now - _QUIET_SECONDS)
