"""A ping as Healthchecks takes it (healthchecks.io and its relatives): silence is the alarm, so it
also notices a machine that is dead."""

from __future__ import annotations

from kuramori.notify.http import send
from kuramori.notify.notifier import TIMEOUT_SECONDS

_MOST_BYTES = 10_000


class PingWatcher:
    """A :class:`kuramori.notify.notifier.Watcher`: the address itself for success, and with ``/start``
    and ``/fail`` appended for the others."""

    name = "ping"

    def __init__(self, address: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        """Nothing is sent yet.

        Args:
            address: without ``/start``; a query (``?...``) stays at its end.
            timeout: seconds.
        """
        self._path, self._mark, self._query = address.partition("?")
        self._timeout = timeout

    def started(self) -> None:
        """A run begins."""
        self._send("/start", "")

    def succeeded(self) -> None:
        """All is well."""
        self._send("", "")

    def failed(self, text: str) -> None:
        """Something is wrong."""
        self._send("/fail", text)

    def _send(self, what: str, text: str) -> None:
        address = self._path.rstrip("/") + what + self._mark + self._query
        body = text.encode()[:_MOST_BYTES] or None  # without a text a GET, which every such service takes
        send(self.name, address, body, "text/plain; charset=utf-8", self._timeout)
