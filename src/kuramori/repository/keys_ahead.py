"""The config and the keys are asked for at the same time: of a store that is far away each question takes a while."""

from __future__ import annotations

from concurrent.futures import Future

from kuramori.errors import KuramoriError
from kuramori.ids import hash_id
from kuramori.repository.listings import list_files
from kuramori.repository.transfers import TransferThreads
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType, Handle


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
        self._configs: TransferThreads[bytes] = TransferThreads(1)
        self._config = self._configs.submit(backend.load, CONFIG_HANDLE)
        self._contents: TransferThreads[bytes] = TransferThreads(1)
        self._listings: TransferThreads[list[str]] = TransferThreads(1)
        self._content: Future[bytes] | None = None
        self._names: Future[list[str]] | None = None
        if likely:
            self._content = self._contents.submit(backend.load, Handle(FileType.KEY, likely))
        else:
            self._names = self._listings.submit(_list_names, backend)

    def config(self) -> bytes:
        """Return the config as it lies in the store; waits for it.

        Raises:
            StorageError
        """
        return self._config.result()

    def content(self, name: str) -> bytes | None:
        """Return the key file of this name, if it was asked for and is sound; waits for it."""
        if self._content is None or name != self._likely:
            return None
        try:
            content = self._content.result()
        except KuramoriError:
            return None
        return content if hash_id(content).hex() == name else None

    def names(self) -> list[str]:
        """Return the names of the keys, sorted; none if that was not asked for. Waits for them."""
        if self._names is None:
            return []
        try:
            return self._names.result()
        except KuramoriError:
            return []

    def drop(self) -> None:
        """Ask for nothing more. What is on its way is not waited for: somebody may have given up."""
        self._configs.close()
        self._contents.close()
        self._listings.close()


def _list_names(backend: Backend) -> list[str]:
    return [info.name for info in list_files(backend, FileType.KEY)]
