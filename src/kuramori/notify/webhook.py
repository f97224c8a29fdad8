"""A webhook: the notice as JSON, by POST."""

from __future__ import annotations

import json

from kuramori.notify.http import send
from kuramori.notify.notices import Notice, NoticeText
from kuramori.notify.notifier import TIMEOUT_SECONDS


class WebhookNotifier:
    """A :class:`kuramori.notify.notifier.Notifier` for programs.

    The fields: ``event`` (a value of :class:`kuramori.notify.notices.NoticeKind`), ``work``, ``job``,
    ``run``, ``repository`` (of a copy or a check), ``hostname``, ``time``, ``since`` and ``retry`` (RFC 3339 or null),
    ``errors`` (English), and ``title`` and ``text`` in the user's language.
    """

    name = "webhook"

    def __init__(self, address: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        """Nothing is sent yet; ``timeout`` is in seconds."""
        self._address = address
        self._timeout = timeout

    def tell(self, notice: Notice, text: NoticeText) -> None:
        """Send it."""
        fields = {
            "event": notice.kind.value, "work": notice.work, "job": notice.job, "run": notice.run,
            "repository": notice.repository,
            "hostname": notice.hostname, "time": notice.time.isoformat(),
            "since": notice.since and notice.since.isoformat(), "retry": notice.retry and notice.retry.isoformat(),
            "errors": [error.text() for error in notice.errors], "title": text.title, "text": text.body,
        }
        body = json.dumps(fields, ensure_ascii=True).encode()
        send(self.name, self._address, body, "application/json", self._timeout)
