"""Writing a small file so that it is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from kuramori.storage.durable_file import sync_file, sync_folder, write_all


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file beside its place, then rename it: whoever looks sees the old one or the new one.

    Raises:
        OSError: nothing is changed; or the name may not be on the disk yet.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        try:
            write_all(descriptor, [text.encode()])
            os.fchmod(descriptor, mode)
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(str(path.parent))
