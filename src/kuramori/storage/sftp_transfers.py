"""What an SFTP session is asked to do, as coroutines: many requests are on their way at once."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncssh

from kuramori.storage.backend import Buffer
from kuramori.storage.sftp_connection import SftpLink

WINDOW_BYTES = 4 * 1024 * 1024
"""On their way at once for one file."""
_ANSWERS_AHEAD = 16
"""Of 100 names each, in OpenSSH."""
_FOLDERS_AT_ONCE = 64
"""That are made or listed. Servers do not like many open files."""
_UNTOLD_LIMIT = 16 * 1024
"""What asyncssh assumes where the server does not say how long a read or a write may be."""
_USUAL_LIMIT = 32 * 1024
"""What every server takes (draft-ietf-secsh-filexfer-02, section 3)."""
_REGULAR, _FOLDER, _LINK, _UNKNOWN = 1, 2, 3, 5
"""Kinds of files (draft-ietf-secsh-filexfer-13, section 7.2)."""
_READ_ONLY_FLAG = 1
_GONE = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
_PRIVATE = asyncssh.SFTPAttrs(permissions=0o600)


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A file in a folder of the server."""

    name: bytes
    size: int
    """Bytes."""
    changed: int
    """When it was last written, by the server's clock: seconds since 1970-01-01 UTC."""


def longest_write(link: SftpLink) -> int:
    """Return how many bytes one request may write."""
    return _limit(link.client.limits.max_write_len)


def _limit(told: int) -> int:
    return _USUAL_LIMIT if told in (0, _UNTOLD_LIMIT) else told


def pieces_of(parts: Iterable[Buffer], longest: int) -> Iterator[bytes]:
    """Yield the content of ``parts`` in pieces of ``longest`` bytes, the last one shorter."""
    waiting = bytearray()
    for part in parts:
        waiting += memoryview(part).cast("B")
        position = 0
        while len(waiting) - position >= longest:
            yield bytes(memoryview(waiting)[position : position + longest])
            position += longest
        if position:
            del waiting[:position]
    if waiting:
        yield bytes(waiting)


# --- writing ---------------------------------------------------------------------------------


@dataclass(slots=True)
class OpenFile:
    """A temporary file on the server, and the folder that will hold it under its name, both open."""

    file: asyncssh.SFTPClientFile
    folder: asyncssh.SFTPClientFile | None
    """None where folders cannot be synced."""


async def begin_file(link: SftpLink, path: bytes, folder: bytes | None, config: bytes) -> OpenFile:
    """Make a new file; look at what else saving needs on the way.

    Args:
        path: of the temporary file.
        folder: to be synced later; None for none.
        config: path of the config, whose mode says who may read the others.
    """
    flags = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
    beside = link.begin(_open_folder(link, folder)) if folder is not None and link.syncs_folders else None
    look = link.begin(_look_at_mode(link, config)) if link.group_reads is None else None
    try:
        file = await link.answered(link.client.open(path, flags, _PRIVATE, encoding=None, block_size=0))
    except BaseException:
        if beside is not None:
            link.forget(_close_folder(beside))
        raise
    if look is not None:
        await look
    return OpenFile(file, None if beside is None else await beside)


async def _close_folder(opening: asyncio.Task[asyncssh.SFTPClientFile | None]) -> None:
    folder = await opening
    if folder is not None:
        await folder.close()


async def _open_folder(link: SftpLink, folder: bytes) -> asyncssh.SFTPClientFile | None:
    try:
        return await link.answered(link.client.open(folder, asyncssh.FXF_READ, encoding=None, block_size=0))
    except asyncssh.SFTPNoSuchFile:
        return None
    except _GONE:
        raise
    except asyncssh.SFTPError:
        link.syncs_folders = False  # this server opens no folders as files
        return None


async def _look_at_mode(link: SftpLink, config: bytes) -> None:
    try:
        attributes = await link.answered(link.client.stat(config))
    except asyncssh.SFTPNoSuchFile:
        return  # before the first config is written
    link.group_reads = bool((attributes.permissions or 0) & 0o040)


async def write_piece(link: SftpLink, open_file: OpenFile, piece: bytes, offset: int) -> None:
    """Write a piece of the file."""
    await link.answered(open_file.file.write(piece, offset))


async def finish_file(link: SftpLink, open_file: OpenFile) -> None:
    """Make the file read-only, durable and close it. To be begun when all pieces are on their way: a server treats
    what concerns one file in the order in which it was asked (draft-ietf-secsh-filexfer-02, section 4.1)."""
    mode = 0o440 if link.group_reads else 0o400
    await asyncio.gather(_protect(link, open_file, mode), _sync(link, open_file.file),
                         link.answered(open_file.file.close()))


async def _protect(link: SftpLink, open_file: OpenFile, mode: int) -> None:
    try:
        await link.answered(open_file.file.setstat(asyncssh.SFTPAttrs(permissions=mode)))
    except _GONE:
        raise
    except asyncssh.SFTPError:
        pass  # this server knows no modes


async def _sync(link: SftpLink, file: asyncssh.SFTPClientFile) -> None:
    if not link.syncs:
        return
    try:
        await link.answered(file.fsync())
    except asyncssh.SFTPOpUnsupported:
        link.syncs = link.syncs_folders = False


async def place_file(link: SftpLink, open_file: OpenFile, path: bytes, final: bytes, *, replace: bool) -> None:
    """Give a finished file its name, in place of what may have it, and sync the folder.

    Args:
        replace: the content under that name may be another one, and matters. Everything else is named by its
            content: what has the name and the size is the same file.
    """
    await _rename(link, path, final, open_file, replace=replace)
    if open_file.folder is not None:
        link.forget(open_file.folder.close())


async def _rename(link: SftpLink, path: bytes, final: bytes, open_file: OpenFile, *, replace: bool) -> None:
    if link.replaces:
        try:
            renaming = link.answered(link.client.posix_rename(path, final))
            if link.in_order:
                await asyncio.gather(renaming, _sync_open_folder(link, open_file.folder))
            else:
                await renaming
                await _sync_open_folder(link, open_file.folder)
            return
        except asyncssh.SFTPOpUnsupported:
            link.replaces = False
    try:
        await link.answered(link.client.rename(path, final))
    except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
        await _rename_over(link, path, final, replace=replace)
    await _sync_open_folder(link, open_file.folder)


async def _rename_over(link: SftpLink, path: bytes, final: bytes, *, replace: bool) -> None:
    """Rename where the name is taken and the server cannot replace a file in one step."""
    there = await link.answered(link.client.stat(final))  # not there: the renaming failed for another reason
    ours = await link.answered(link.client.stat(path))
    if replace:
        aside = final + b"-before-" + path[-16:]
        await link.answered(link.client.rename(final, aside))
        try:
            await link.answered(link.client.rename(path, final))
        except asyncssh.SFTPError:
            await link.answered(link.client.rename(aside, final))
            raise
        await link.answered(link.client.remove(aside))
    elif there.size == ours.size:
        await link.answered(link.client.remove(path))
    else:
        await link.answered(link.client.remove(final))  # cut off by somebody who wrote it under its name
        await link.answered(link.client.rename(path, final))


async def drop_file(link: SftpLink, open_file: OpenFile | None, path: bytes) -> None:
    """Remove a file that was not finished."""
    if open_file is not None:
        link.forget(open_file.file.close())
        if open_file.folder is not None:
            link.forget(open_file.folder.close())
    await link.answered(link.client.remove(path))


# --- reading ---------------------------------------------------------------------------------


class EndedEarlyError(Exception):
    """A file ended before the size that the server said."""


class TooShortError(Exception):
    """A file is shorter than the range that is wanted."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


async def read_file(link: SftpLink, path: bytes, offset: int, length: int | None) -> bytes:
    """Return a range of a file, or all from ``offset`` on.

    Its size is asked for together with its beginning, so that a small range costs two times on the way and back.

    Raises:
        TooShortError: the range is not in it.
        EndedEarlyError: it became shorter meanwhile.
    """
    file = await link.answered(link.client.open(path, asyncssh.FXF_READ, encoding=None, block_size=0))
    try:
        step = _limit(link.client.limits.max_read_len)
        attributes, head = await asyncio.gather(
            link.answered(file.stat()),
            _read_once(link, file, offset, step) if length is None
            else _read_range(link, file, offset, min(length, WINDOW_BYTES)))
        size = attributes.size or 0
        end = size if length is None else offset + length
        if length is not None and end > size:
            raise TooShortError(size)
        missing = end - offset - len(head)
        if missing <= 0:
            return head[: max(end - offset, 0)]
        tail = await _read_range(link, file, offset + len(head), missing)
        if len(tail) < missing:
            raise EndedEarlyError
        return head + tail
    finally:
        link.forget(file.close())


async def _read_range(link: SftpLink, file: asyncssh.SFTPClientFile, start: int, length: int) -> bytes:
    """Return a range, or less where the file ends before, with several reads on their way at once."""
    step = _limit(link.client.limits.max_read_len)
    end = start + length
    asked: deque[tuple[int, int, asyncio.Task[bytes]]] = deque()
    found = bytearray()
    position = start
    try:
        while position < end or asked:
            while position < end and len(asked) * step < WINDOW_BYTES:
                count = min(step, end - position)
                asked.append((position, count, link.begin(_read_once(link, file, position, count))))
                position += count
            begin, count, task = asked.popleft()
            data = await task
            while data and len(data) < count:  # a server may give less at once
                more = await _read_once(link, file, begin + len(data), count - len(data))
                if not more:
                    break
                data += more
            found += data
            if len(data) < count:
                return bytes(found)
    finally:
        for _begin, _count, task in asked:
            task.cancel()
    return bytes(found)


async def _read_once(link: SftpLink, file: asyncssh.SFTPClientFile, position: int, count: int) -> bytes:
    """Return up to ``count`` bytes; none at the end."""
    data: bytes = await link.answered(file.read(count, position))
    return data


# --- folders ---------------------------------------------------------------------------------


async def list_folder(link: SftpLink, folder: bytes) -> list[FolderEntry]:
    """Return the regular files of a folder, none where it is not there. Links are followed."""
    found = []
    links = []
    try:
        entries = await _read_folder(link, folder)
    except asyncssh.SFTPNoSuchFile:
        return []
    for entry in entries:
        name, attributes = entry.filename, entry.attrs
        assert isinstance(name, bytes)
        if attributes.type == _REGULAR and attributes.size is not None:
            found.append(FolderEntry(name, attributes.size, int(attributes.mtime or 0)))
        elif attributes.type in (_LINK, _UNKNOWN, _REGULAR):
            links.append(name)
    for name in links:
        with suppress(asyncssh.SFTPNoSuchFile):
            attributes = await link.answered(link.client.stat(folder + b"/" + name))
            if attributes.type == _REGULAR:
                found.append(FolderEntry(name, attributes.size or 0, int(attributes.mtime or 0)))
    return found


async def _read_folder(link: SftpLink, folder: bytes) -> list[asyncssh.SFTPName]:
    """Return what is in a folder.

    The answers are asked for ahead, so that a small folder costs two times on the way and back. asyncssh's own
    ``scandir`` asks for one after the other; what is below it is used here.
    """
    handler = link.client._handler
    handle = await link.answered(handler.opendir(link.client.compose_path(folder)))
    found: list[asyncssh.SFTPName] = []
    ahead = 2
    try:
        while True:
            answers = await asyncio.gather(*[link.answered(handler.readdir(handle)) for _ in range(ahead)],
                                           return_exceptions=True)
            for answer in answers:
                if isinstance(answer, asyncssh.SFTPEOFError):
                    return found
                if isinstance(answer, BaseException):
                    raise answer
                names, at_end = answer
                found += names
                if at_end:
                    return found
            ahead = min(2 * ahead, _ANSWERS_AHEAD)
    finally:
        link.forget(handler.close(handle))


async def list_subfolders(link: SftpLink, folder: bytes) -> list[str]:
    """Return the names of the folders in a folder. Links are followed."""
    found = []
    links = []
    for entry in await _read_folder(link, folder):
        name, kind = entry.filename, entry.attrs.type
        assert isinstance(name, bytes)
        if kind == _FOLDER and name not in (b".", b".."):
            found.append(os.fsdecode(name))
        elif kind in (_LINK, _UNKNOWN):
            links.append(name)
    for name in links:
        with suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPFailure):  # the latter: a link in a circle
            if await link.answered(link.client.isdir(folder + b"/" + name)):
                found.append(os.fsdecode(name))
    return found


async def list_folders(link: SftpLink, folders: Sequence[bytes]) -> list[list[FolderEntry]]:
    """Return the regular files of each folder, with many requests on their way at once."""
    turn = asyncio.Semaphore(_FOLDERS_AT_ONCE)

    async def listed(folder: bytes) -> list[FolderEntry]:
        async with turn:
            return await list_folder(link, folder)

    return await asyncio.gather(*map(listed, folders))


async def make_folders(link: SftpLink, folder: bytes, mode: int | None) -> None:
    """Make a folder and those above it that are missing.

    Args:
        mode: None for the server's usual one.
    """
    missing = []
    while folder not in (b"", b"/", b"."):
        try:
            await link.answered(link.client.stat(folder))
            break
        except asyncssh.SFTPNoSuchFile:
            missing.append(folder)
            folder = folder.rpartition(b"/")[0] or (b"/" if folder.startswith(b"/") else b"")
    for each in reversed(missing):
        await make_folder(link, each, mode)


async def make_folder(link: SftpLink, folder: bytes, mode: int | None) -> None:
    """Make a folder, if it is not there."""
    attributes = asyncssh.SFTPAttrs() if mode is None else asyncssh.SFTPAttrs(permissions=mode)
    try:
        await link.answered(link.client.mkdir(folder, attributes))
    except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
        if not await link.answered(link.client.isdir(folder)):
            raise


async def make_repository_folders(link: SftpLink, root: bytes, folders: Sequence[bytes], mode: int) -> None:
    """Make the folder of a repository and those in it."""
    above = root.rpartition(b"/")[0]
    await make_folders(link, above, None)
    await make_folder(link, root, mode)
    turn = asyncio.Semaphore(_FOLDERS_AT_ONCE)

    async def made(folder: bytes) -> None:
        async with turn:
            await make_folder(link, folder, mode)

    for level in sorted({folder.count(b"/") for folder in folders}):
        await asyncio.gather(*[made(folder) for folder in folders if folder.count(b"/") == level])
    await asyncio.gather(*[sync_folder(link, folder) for folder in {folder.rpartition(b"/")[0] for folder in folders}])


async def remove_file(link: SftpLink, path: bytes, folder: bytes | None) -> None:
    """Remove a file.

    Args:
        folder: to be synced, so that the file does not come back; None for none.
    """
    if folder is None or not (link.syncs and link.syncs_folders):
        await _remove(link, path)
        return
    opening = link.begin(_open_folder(link, folder))
    try:
        await _remove(link, path)
        await _sync_open_folder(link, await opening)
    finally:
        link.forget(_close_folder(opening))


async def _remove(link: SftpLink, path: bytes) -> None:
    try:
        await link.answered(link.client.remove(path))
    except asyncssh.SFTPPermissionDenied:
        # Windows refuses to delete what is marked read-only.
        with suppress(asyncssh.SFTPError):
            await link.answered(link.client.chmod(path, 0o600))
        await link.answered(link.client.remove(path))


async def remove_files(link: SftpLink, paths: Sequence[bytes]) -> int:
    """Remove files as far as they are there and we may; return how many were removed."""
    count = 0
    for path in paths:
        try:
            await _remove(link, path)
            count += 1
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied):
            continue  # somebody else did it, or may do it
    return count


async def sync_folder(link: SftpLink, folder: bytes) -> None:
    """Make durable what was removed from a folder or renamed in it, where the server can do that."""
    if not (link.syncs and link.syncs_folders):
        return
    opened = await _open_folder(link, folder)
    if opened is not None:
        try:
            await _sync_open_folder(link, opened)
        finally:
            link.forget(opened.close())


async def _sync_open_folder(link: SftpLink, folder: asyncssh.SFTPClientFile | None) -> None:
    if folder is None:
        return
    try:
        await _sync(link, folder)
    except asyncssh.SFTPBadMessage:
        link.syncs_folders = False  # so OpenSSH says that this file system cannot do it (EINVAL)


@dataclass(frozen=True, slots=True)
class Space:
    """What is left on the server's disk."""

    free: int
    """Bytes."""
    files: int
    """That may still be made."""
    read_only: bool


async def free_space(link: SftpLink, folder: bytes) -> Space | None:
    """Return how much space is left; None where the server does not tell."""
    try:
        found = await link.answered(link.client.statvfs(folder))
    except asyncssh.SFTPError:
        return None
    files = found.favail if found.files else 1  # some file systems do not count them
    return Space(found.bavail * found.frsize, files, bool(found.flags & _READ_ONLY_FLAG))
