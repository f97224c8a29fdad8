"""How long work tells whoever started it what it is doing.

The engine calls these methods; it never prints. The command line shows them, a library user may
ignore them (:class:`NoProgress`) or take what it needs.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what a long operation reports. Calls come from one thread at a time and are
    frequent; they must return quickly and must not raise."""

    def start(self, phase: str, total_items: int | None = None, total_bytes: int | None = None) -> None:
        """A phase begins.

        Args:
            phase: a short fixed English name, such as ``"backup"`` or ``"check packs"``.
            total_items: how many items there will be, where known.
            total_bytes: how many bytes there will be, where known.
        """
        ...

    def set_total(self, total_items: int, total_bytes: int) -> None:
        """The totals of the running phase became known or changed."""
        ...

    def advance(self, items: int = 0, bytes_: int = 0) -> None:
        """So many more items and bytes of the running phase are done."""
        ...

    def item(self, action: str, path: str, size: int = 0) -> None:
        """One item was dealt with.

        Args:
            action: ``new``, ``changed``, ``unchanged``, ``restored``, ``skipped``, ``deleted``,
                ``updated``, ``verified`` ...
            path: what, printable text (undecodable bytes escaped by ``surrogateescape``).
            size: its size in bytes.
        """
        ...

    def warning(self, error: Exception) -> None:
        """Something went wrong with one item; the operation goes on (``KuramoriError``)."""
        ...

    def finish(self) -> None:
        """The running phase ended, well or badly. May be called more than once."""
        ...


def wants_items(progress: Progress) -> bool:
    """Tell whether a progress does anything with items. One that ignores them may say so, by an attribute
    ``wants_items`` that is False: making the texts for a million unchanged files takes longer than comparing them."""
    return bool(getattr(progress, "wants_items", True))


class NoProgress:
    """A :class:`Progress` that ignores everything."""

    wants_items = False

    def start(self, phase: str, total_items: int | None = None, total_bytes: int | None = None) -> None:
        """Ignore it."""

    def set_total(self, total_items: int, total_bytes: int) -> None:
        """Ignore it."""

    def advance(self, items: int = 0, bytes_: int = 0) -> None:
        """Ignore it."""

    def item(self, action: str, path: str, size: int = 0) -> None:
        """Ignore it."""

    def warning(self, error: Exception) -> None:
        """Ignore it."""

    def finish(self) -> None:
        """Ignore it."""
