"""Copies that fall behind, and who is told of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kuramori.clock import Clock
from kuramori.errors import OutOfDateProblem
from kuramori.history.history import History
from kuramori.history.records import CopyRecord
from kuramori.manager.status import duration_phrase
from kuramori.notify.notices import Notice, NoticeKind
from kuramori.settings.model import Settings

_BETWEEN_LOOKS = 60.0
"""Seconds. Nothing here is urgent, and each look is a question to the history."""
_SHORTEST_SILENCE = timedelta(days=1)
"""Nobody is told more often of one copy."""


@dataclass(frozen=True, slots=True)
class WatchedCopy:
    """A repository of a job, and for how long it may lack runs."""

    job: str
    repository: str
    patience: timedelta


def watched_copies(settings: Settings) -> tuple[WatchedCopy, ...]:
    """Return the repositories that somebody wants to hear of when they fall behind."""
    found = [(job.name, name, settings.repositories[name].stale_after)
             for job in settings.jobs.values() if len(job.repositories) > 1 for name in job.repositories]
    return tuple(WatchedCopy(job, name, timedelta(seconds=patience))
                 for job, name, patience in found if patience is not None)


class CopyWatch:
    """Tells of copies that have been behind for too long: once, again each time that has doubled, and when they are up
    to date. What the person knows is kept in the history, so a restart neither forgets nor repeats a notice."""

    def __init__(self, copies: Sequence[WatchedCopy], history: History, clock: Clock, hostname: str) -> None:
        """Nothing was looked at yet.

        Args:
            hostname: of this machine, for the texts.
        """
        self._copies = copies
        self._history = history
        self._clock = clock
        self._hostname = hostname
        self._next_look = 0.0

    def replace_copies(self, copies: Sequence[WatchedCopy]) -> None:
        """Go on with others."""
        self._copies, self._next_look = copies, 0.0

    def look(self, tell: Callable[[Notice], bool], retry_seconds: float) -> None:
        """Tell what the person does not know yet.

        Args:
            tell: tells; returns whether the person knows now.
            retry_seconds: when to try again where he does not.
        """
        now = self._clock.monotonic()
        if now < self._next_look or not self._copies:
            return
        self._next_look = now + _BETWEEN_LOOKS
        records = {(record.job, record.repository): record for record in self._history.copy_records()}
        for copy in self._copies:
            record = records.get((copy.job, copy.repository))
            if record is not None and not self._look_at(copy, record, tell):
                self._next_look = now + retry_seconds

    def _look_at(self, copy: WatchedCopy, record: CopyRecord, tell: Callable[[Notice], bool]) -> bool:
        """Return whether the person knows all that he is to know."""
        now = self._clock.now().astimezone(UTC)
        if record.stale_since is None:
            if record.told is None:
                return True
            taken = tell(self._notice(NoticeKind.CAUGHT_UP, record, now))
            told = None
        elif _is_news(record, record.stale_since, now, copy.patience):
            taken = tell(self._notice(NoticeKind.STALE, record, now))
            told = now
        else:
            return True
        if taken:
            self._history.note_copy_told(copy.job, copy.repository, told)
        return taken

    def _notice(self, kind: NoticeKind, record: CopyRecord, now: datetime) -> Notice:
        since = record.stale_since
        errors: Sequence[OutOfDateProblem] = ()
        if since is not None:
            errors = (OutOfDateProblem(
                name=record.repository, job=record.job, count=record.lacking,
                since=f"{since.astimezone(self._clock.now().tzinfo):%Y-%m-%d %H:%M}",
                age=duration_phrase((now - since).total_seconds())),)
        return Notice(kind, now, self._hostname, record.job, "copy", errors=errors, since=since,
                      repository=record.repository)


def _is_news(record: CopyRecord, since: datetime, now: datetime, patience: timedelta) -> bool:
    age = now - since
    if record.told is None or record.told < since:  # what was told was an earlier time
        return age > patience
    return now - record.told >= _SHORTEST_SILENCE and age >= 2 * (record.told - since)
