"""Copies of files of a repository that are kept outside of it before something is changed."""

from __future__ import annotations

import os

from kuramori.errors import N_, PackCopyError
from kuramori.storage.durable_file import sync_file, sync_folder, write_all


def keep_copy(folder: str, name: str, content: bytes, failure: type[PackCopyError]) -> str:
    """Write a file into a folder, durably; return its path. A file that is there already is left
    alone, and must have the same content.

    Raises:
        PackCopyError: it cannot be written, or another file is there; of the class ``failure``.
    """
    path = os.path.join(folder, name)
    part = f"{path}.part"
    try:
        if os.path.lexists(path):
            with open(path, "rb") as file:
                if file.read() == content:
                    return path
            raise failure(path=path, detail=N_("another file is there already"))
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, [content])
            sync_file(fd)
        finally:
            os.close(fd)
        os.rename(part, path)
        sync_folder(folder)
    except OSError as error:
        raise failure(path=path, detail=error.strerror or str(error)) from None
    return path
