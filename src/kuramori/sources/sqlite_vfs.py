"""What the VFSes of this room have in common (https://www.sqlite.org/vfs.html, in apsw's words)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_numbers = itertools.count()
_SECTOR_SIZE = 4096


def vfs_name(purpose: str) -> str:
    """Return a name that no other VFS of this process has."""
    return f"kuramori-{purpose}-{next(_numbers)}"


class QuietFile:
    """A file that nobody else knows of: empty, and what is written to it is forgotten. Locks are
    always had."""

    def xFileSize(self) -> int:
        return 0

    def xRead(self, amount: int, offset: int) -> bytes:
        return b""

    def xWrite(self, data: Buffer, offset: int) -> None:
        pass

    def xTruncate(self, newsize: int) -> None:
        pass

    def xSync(self, flags: int) -> None:
        pass

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xSectorSize(self) -> int:
        return _SECTOR_SIZE

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xClose(self) -> None:
        pass
