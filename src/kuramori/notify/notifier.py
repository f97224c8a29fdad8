"""The two kinds of listeners: those who tell a person, and those who watch for silence."""

from __future__ import annotations

from typing import Protocol

from kuramori.notify.notices import Notice, NoticeText

TIMEOUT_SECONDS = 10.0
"""How long any service may take to answer."""


class Notifier(Protocol):
    """Brings a notice to a person."""

    @property
    def name(self) -> str:
        """What it is called in messages; no secret."""
        ...

    def tell(self, notice: Notice, text: NoticeText) -> None:
        """Deliver it, within about :data:`TIMEOUT_SECONDS`.

        Raises:
            NotifierError: it was not delivered.
            MissingExtraError: the package for it is not installed.
        """
        ...


class Watcher(Protocol):
    """Is told of every run, and alarms somebody when it hears nothing for too long."""

    @property
    def name(self) -> str:
        """What it is called in messages; no secret."""
        ...

    def started(self) -> None:
        """A run begins.

        Raises:
            NotifierError: it did not hear.
        """
        ...

    def succeeded(self) -> None:
        """All is well.

        Raises:
            NotifierError: it did not hear.
        """
        ...

    def failed(self, text: str) -> None:
        """Something is wrong; ``text`` says what.

        Raises:
            NotifierError: it did not hear.
        """
        ...
