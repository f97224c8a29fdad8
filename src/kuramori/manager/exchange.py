"""Two names that change places in one step, where the system can do that."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Any

_AT_FDCWD = -100
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@cache
def _renameat2() -> Any:
    """Return the C library's renameat2 (Linux, glibc 2.28 or later), or None."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function


def _rename(old: str, new: str, flags: int) -> bool:
    """Return False where this system or file system has no such renaming."""
    function = _renameat2()
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), old, None, new)


def exchange(one: str, other: str) -> bool:
    """Let two existing names on one file system change places at once; return False where that
    cannot be done in one step, and nothing was done.

    Raises:
        OSError: it can, and failed.
    """
    return _rename(one, other, _RENAME_EXCHANGE)


def move(old: str, new: str) -> None:
    """Rename, and never replace what stands at the new name.

    Raises:
        FileExistsError: something stands there.
        OSError: it failed.
    """
    if _rename(old, new, _RENAME_NOREPLACE):
        return
    if os.path.lexists(new):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
    os.rename(old, new)
