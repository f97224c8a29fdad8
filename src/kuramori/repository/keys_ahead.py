"""The config and the keys are asked for at the same time: of a store that is far away each question takes a while."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kuramori.errors import KuramoriError
from kuramori.ids import hash_id
from kuramori.repository.listings import list_files
from kuramori.repository.transfers import begin
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileInfo, FileType, Handle


class KeysAhead:
    """Asks for the config, and for the key that is likely to be needed, or where there is none, which keys there are.

    What comes of the keys is an offer only: what failed, or does not match its name, counts as not asked for.
    """

    def __init__(self, backend: Backend, likely: str) -> None:
        """Ask at once, in threads.

        Args:
            likely: name of the key; empty if nobody knows one.
        """
        self._likely = likely
        self._config = begin(backend, partial(backend.load, CONFIG_HANDLE))
        self._content: Callable[[], bytes] | None = None
        self._names: Callable[[], list[FileInfo]] | None = None
        if likely:
            self._content = begin(backend, partial(backend.load, Handle(FileType.KEY, likely)))
        else:
            self._names = begin(backend, partial(list_files, backend, FileType.KEY))

    def config(self) -> bytes:
        """Return the config as it lies in the store; waits for it.

        Raises:
            StorageError
        """
        return self._config()

    def content(self, name: str) -> bytes | None:
        """Return the key file of this name, if it was asked for and is sound; waits for it."""
        if self._content is None or name != self._likely:
            return None
        try:
            content = self._content()
        except KuramoriError:
            return None
        return content if hash_id(content).hex() == name else None

    def names(self) -> list[str]:
        """Return the names of the keys, sorted; none if that was not asked for. Waits for them."""
        if self._names is None:
            return []
        try:
            return [info.name for info in self._names()]
        except KuramoriError:
            return []
