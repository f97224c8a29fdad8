"""Tells everybody whom the settings name, and is never a reason for a backup to fail or to wait long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from kuramori.errors import N_, KuramoriError, NotifierError, UnexpectedError
from kuramori.notify.apprise_notifier import AppriseNotifier
from kuramori.notify.notices import Notice, NoticeText, Translate, write_notice
from kuramori.notify.notifier import Notifier, Watcher
from kuramori.notify.ping import PingWatcher
from kuramori.notify.webhook import WebhookNotifier
from kuramori.settings.model import NotifySettings

LONGEST_SECONDS = 20.0
"""Nobody is waited for longer. Time-outs of sockets do not cover everything: the resolver, for one."""
_SLICE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notice at one notifier; no error means that it was taken."""

    notifier: str
    error: KuramoriError | None = None


def _never() -> bool:
    return False


class Teller:
    """Tells everybody. For one thread at a time."""

    def __init__(self, notifiers: Sequence[Notifier], watchers: Sequence[Watcher], *, translate: Translate,
                 zone: tzinfo, cancelled: Callable[[], bool] = _never, longest: float = LONGEST_SECONDS) -> None:
        """Tell nobody yet.

        Args:
            translate: for the language of the texts.
            zone: for the times in them.
            cancelled: True means that nobody waits for an answer any more.
            longest: seconds to wait for one notifier.
        """
        self.notifiers = tuple(notifiers)
        self.watchers = tuple(watchers)
        self._translate = translate
        self._zone = zone
        self._cancelled = cancelled
        self._longest = longest

    def write(self, notice: Notice) -> NoticeText:
        """Return a notice in words."""
        return write_notice(notice, self._translate, self._zone)

    def tell(self, notice: Notice) -> list[Delivery]:
        """Bring a notice to every notifier; return what became of it at each."""
        text = self.write(notice)

        def telling(notifier: Notifier) -> Callable[[], None]:
            return lambda: notifier.tell(notice, text)

        return [self._attempt(notifier.name, telling(notifier)) for notifier in self.notifiers]

    def started(self) -> list[Delivery]:
        """Let every watcher know that a run begins."""
        return [self._attempt(watcher.name, watcher.started) for watcher in self.watchers]

    def succeeded(self) -> list[Delivery]:
        """Let every watcher know that all is well."""
        return [self._attempt(watcher.name, watcher.succeeded) for watcher in self.watchers]

    def failed(self, notice: Notice) -> list[Delivery]:
        """Let every watcher know that something is wrong."""
        text = self.write(notice)

        def failing(watcher: Watcher) -> Callable[[], None]:
            return lambda: watcher.failed(f"{text.title}\n{text.body}")

        return [self._attempt(watcher.name, failing(watcher)) for watcher in self.watchers]

    def _attempt(self, name: str, action: Callable[[], None]) -> Delivery:
        """Do it in a thread of its own, so that whatever hangs can be left behind."""
        done = threading.Event()
        errors: list[KuramoriError] = []

        def attempt() -> None:
            try:
                action()
            except KuramoriError as error:
                errors.append(error)
            except Exception as error:  # foreign plug-ins: whatever they raise is about telling, not about backups
                errors.append(UnexpectedError(kind=type(error).__name__, detail=""))
            finally:
                done.set()

        threading.Thread(target=attempt, name=f"notify {name}", daemon=True).start()
        for _slice in range(round(self._longest / _SLICE_SECONDS)):
            if done.wait(_SLICE_SECONDS):
                return Delivery(name, errors[0] if errors else None)
            if self._cancelled():
                break
        return Delivery(name, NotifierError(notifier=name, detail=N_("no answer in time")))


def make_teller(settings: NotifySettings, *, translate: Translate, zone: tzinfo,
                cancelled: Callable[[], bool] = _never) -> Teller:
    """Return what tells everybody whom the settings name."""
    notifiers: list[Notifier] = [AppriseNotifier(url) for url in settings.apprise]
    if settings.webhook:
        notifiers.append(WebhookNotifier(settings.webhook))
    watchers: list[Watcher] = [PingWatcher(settings.ping)] if settings.ping else []
    return Teller(notifiers, watchers, translate=translate, zone=zone, cancelled=cancelled)
