"""Everything that Apprise knows: mail, ntfy, Telegram, LINE, Discord, Slack and a hundred others."""

from __future__ import annotations

import logging

from kuramori.errors import N_, MissingExtraError, NotifierError
from kuramori.notify.notices import Notice, NoticeKind, NoticeText


class AppriseNotifier:
    """A :class:`kuramori.notify.notifier.Notifier` for one Apprise URL.

    One each, so that it can be said which of several did not take a notice. Apprise applies a
    time-out of its own to each request (4 seconds to connect, 4 to answer, unless the URL says otherwise).
    """

    def __init__(self, url: str) -> None:
        """Nothing is sent or imported yet. The URL holds a secret, as a rule, and is never shown."""
        self._url = url

    @property
    def name(self) -> str:
        """The kind of service: ``ntfy``, ``tgram``."""
        return f"apprise {self._url.partition(':')[0]}"

    def tell(self, notice: Notice, text: NoticeText) -> None:
        """Send it."""
        try:
            import apprise
        except ImportError:
            raise MissingExtraError(feature=N_("telling people by Apprise"), package="apprise",
                                    extra="notify") from None
        # What it logs quotes addresses, and would reach standard error.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        service = apprise.Apprise()
        if not service.add(self._url):
            raise NotifierError(notifier=self.name, detail=N_("Apprise does not understand the address"))
        kinds = {NoticeKind.RECOVERED: apprise.NotifyType.SUCCESS, NoticeKind.TEST: apprise.NotifyType.INFO,
                 NoticeKind.PARTIAL: apprise.NotifyType.WARNING, NoticeKind.OVERDUE: apprise.NotifyType.WARNING}
        taken = service.notify(body=text.body, title=text.title, body_format=apprise.NotifyFormat.TEXT,
                               notify_type=kinds.get(notice.kind, apprise.NotifyType.FAILURE))
        if not taken:
            raise NotifierError(notifier=self.name, detail=N_("the service did not take it"))
