"""Mounting a repository with FUSE."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOTCONN
from types import ModuleType

from kuramori.errors import (
    N_,
    FuseBindingMissingError,
    FuseFailedError,
    FuseMissingError,
    MountError,
    Phrase,
    StaleMountError,
)
from kuramori.model.names import display_text
from kuramori.mounting.virtual_tree import VirtualTree

_DEVICE = "/dev/fuse"
_REASONS = {
    1: N_("the FUSE library does not know an option that is needed"),
    4: N_("the FUSE library could not mount it; what it said is above"),
}
_ENDED_BY_SIGNAL = 8
_THREADS = 8


@dataclass(frozen=True, slots=True)
class MountOptions:
    """Who may look into the mount."""

    allow_other: bool = False
    """Other users than the one who mounts."""
    default_permissions: bool = True
    """With ``allow_other``: they may read what the modes of the files let them."""
    threads: bool = True
    """Answer several questions at once: for stores that let one wait. One by one is twice as quick where
    the answers are at hand, because threads of the library are costly to call Python from."""


def require_fuse() -> ModuleType:
    """Return the module that speaks with the kernel.

    Raises:
        FuseBindingMissingError: the Python package is not installed.
        FuseMissingError: the system's library or device is.
    """
    try:
        from kuramori.mounting import fuse_binding
    except ImportError:
        raise FuseBindingMissingError(feature=N_("mount"), package="mfusepy", extra="mount") from None
    except (OSError, AttributeError) as error:  # mfusepy finds no libfuse, or one that it does not know
        raise FuseMissingError(detail=str(error)) from None
    if os.name == "posix" and os.uname().sysname == "Linux":
        try:
            os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            raise FuseMissingError(detail=Phrase(N_("{device} cannot be opened: {reason}"), device=_DEVICE,
                                                 reason=error.strerror)) from None
    return fuse_binding


def require_mount_point(path: bytes) -> None:
    """Return if a repository can be mounted on ``path``: an empty folder.

    Raises:
        MountError: it is none; StaleMountError: a mount that has died is there.
    """
    shown = display_text(path)
    try:
        if os.listdir(path):
            raise MountError(path=shown, detail=N_("the folder is not empty, and what is in it would be hidden"))
    except FileNotFoundError:
        raise MountError(path=shown, detail=N_("there is no such folder")) from None
    except NotADirectoryError:
        raise MountError(path=shown, detail=N_("it is no folder")) from None
    except OSError as error:
        if error.errno == ENOTCONN:
            raise StaleMountError(path=shown) from None
        raise MountError(path=shown, detail=error.strerror) from None


def mount(tree: VirtualTree, mount_point: bytes, options: MountOptions | None = None,
          on_ready: Callable[[], None] | None = None) -> None:
    """Show ``tree`` at ``mount_point``; return when it was unmounted (``fusermount3 -u``, ``umount``),
    or when Ctrl-C or SIGTERM ended it. To be called from the main thread: while it runs, these two
    signals go to the FUSE library.

    Args:
        on_ready: called from another thread when the mount is there.

    Raises:
        FuseBindingMissingError, FuseMissingError, MountError, StaleMountError: it cannot be mounted.
        FuseFailedError: the system refused it.
    """
    options = options or MountOptions()
    binding = require_fuse()
    require_mount_point(mount_point)
    operations = binding.Operations(tree, on_ready)
    more: dict[str, object] = {} if binding.VERSION_3 else {"use_ino": True, "kernel_cache": True}
    more |= {"max_threads": _THREADS} if binding.TAKES_THREADS else {}
    if options.allow_other:
        more |= {"allow_other": True, "default_permissions": options.default_permissions}
    try:
        with _signals_left_to_library():
            binding.Connection(operations, display_text(os.path.abspath(mount_point)), foreground=True, ro=True,
                               nothreads=not options.threads, fsname="kuramori", subtype="kuramori", **more)
    except RuntimeError as error:
        code = error.args[0] if error.args else 0
        if code != _ENDED_BY_SIGNAL:
            reason = _REASONS.get(code) or Phrase(N_("the FUSE library ended with {code}"), code=code)
            raise FuseFailedError(path=display_text(mount_point), detail=reason) from None


@contextmanager
def _signals_left_to_library() -> Iterator[None]:
    """Take our handlers away: the library sets its own only where there is none, and Python's would not
    run while the main thread waits in the library."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
