"""A store that can only be read: for ``--no-lock`` and for media that must not be touched."""

from __future__ import annotations

from collections.abc import Sequence

from kuramori.errors import Phrase, ReadOnlyStorageError
from kuramori.storage.backend import A_PACK, Buffer, Handle, StagedFile
from kuramori.storage.forwarding import ForwardingBackend


class ReadOnlyBackend(ForwardingBackend):
    """Refuses every change before it reaches the wrapped backend."""

    @property
    def worker_location(self) -> str | None:
        """None: a worker would go past the wrapper."""
        return None

    def create(self) -> None:
        """Refuse.

        Raises:
            ReadOnlyStorageError: always.
        """
        raise self._refusal("create", self.location)

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Refuse.

        Raises:
            ReadOnlyStorageError: always.
        """
        raise self._refusal("save", str(handle))

    def stage(self) -> StagedFile:
        """Refuse.

        Raises:
            ReadOnlyStorageError: always.
        """
        raise self._refusal("write", A_PACK)

    def remove(self, handle: Handle) -> None:
        """Refuse.

        Raises:
            ReadOnlyStorageError: always.
        """
        raise self._refusal("remove", str(handle))

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Leave them where they are."""
        return 0

    def _refusal(self, operation: str, name: str | Phrase) -> ReadOnlyStorageError:
        return ReadOnlyStorageError(location=self.location, operation=operation, name=name)
