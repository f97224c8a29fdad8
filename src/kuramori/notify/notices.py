"""What a person is told, in his language."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

from kuramori.errors import N_, printable

Translate = Callable[[str], str]

_MOST_ERRORS = 10
_MOST_TEXT = 4000
"""Characters; some services take no more."""


class NoticeKind(enum.Enum):
    """What happened. The values are what a webhook receives."""

    FAILED = "failed"
    PARTIAL = "partial"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"
    """A check found damage in what is stored."""
    RECOVERED = "recovered"
    OVERDUE = "overdue"
    STALE = "stale"
    """A repository of a job lacks runs that the others have."""
    CAUGHT_UP = "caught_up"
    """It has them."""
    TEST = "test"


class Sayable(Protocol):
    """An error, fresh or out of the history."""

    def text(self, translate: Translate = str) -> str:
        """Return what happened, in one sentence."""
        ...

    def advice_text(self, translate: Translate = str) -> str:
        """Return what the user can do, or an empty string."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell."""

    kind: NoticeKind
    time: datetime
    """Aware."""
    hostname: str
    job: str = ""
    work: str = "backup"
    """``backup``, ``cleanup``, ``copy`` or ``check``."""
    run: str = ""
    errors: Sequence[Sayable] = ()
    since: datetime | None = None
    """``OVERDUE``: since when there is nothing good."""
    retry: datetime | None = None
    """When it is tried again."""
    repository: str = ""
    """Of a check, and of ``STALE`` and ``CAUGHT_UP``: which."""


_TITLES = {
    (NoticeKind.FAILED, "backup"): N_("[{hostname}] the backup of {job} failed"),
    (NoticeKind.PARTIAL, "backup"): N_("[{hostname}] the backup of {job} is incomplete"),
    (NoticeKind.UNFINISHED, "backup"): N_("[{hostname}] the backup of {job} was cut off again and again"),
    (NoticeKind.RECOVERED, "backup"): N_("[{hostname}] the backup of {job} works again"),
    (NoticeKind.OVERDUE, "backup"): N_("[{hostname}] there is no recent backup of {job}"),
    (NoticeKind.FAILED, "cleanup"): N_("[{hostname}] the cleanup of {job} failed"),
    (NoticeKind.PARTIAL, "cleanup"): N_("[{hostname}] the cleanup of {job} is incomplete"),
    (NoticeKind.UNFINISHED, "cleanup"): N_("[{hostname}] the cleanup of {job} was cut off again and again"),
    (NoticeKind.RECOVERED, "cleanup"): N_("[{hostname}] the cleanup of {job} works again"),
    (NoticeKind.FAILED, "copy"): N_("[{hostname}] the copy of {job} failed"),
    (NoticeKind.PARTIAL, "copy"): N_("[{hostname}] the copy of {job} is incomplete"),
    (NoticeKind.UNFINISHED, "copy"): N_("[{hostname}] the copy of {job} was cut off again and again"),
    (NoticeKind.RECOVERED, "copy"): N_("[{hostname}] the copy of {job} works again"),
    (NoticeKind.STALE, "copy"): N_("[{hostname}] the copy of {job} in {repository} is out of date"),
    (NoticeKind.CAUGHT_UP, "copy"): N_("[{hostname}] the copy of {job} in {repository} is up to date again"),
    (NoticeKind.DAMAGED, "check"): N_("[{hostname}] the backups in {repository} are damaged"),
    (NoticeKind.FAILED, "check"): N_("[{hostname}] the check of {repository} failed"),
    (NoticeKind.UNFINISHED, "check"): N_("[{hostname}] the check of {repository} was cut off again and again"),
    (NoticeKind.RECOVERED, "check"): N_("[{hostname}] the check of {repository} finds no fault any more"),
}
_TEST_TITLE = N_("[{hostname}] kuramori can reach you")
_TEST_BODY = N_("This is a test. When a backup fails, is incomplete, recovers or is overdue, you are told in this way.")


@dataclass(frozen=True, slots=True)
class NoticeText:
    """A notice in words."""

    title: str
    body: str


def write_notice(notice: Notice, translate: Translate, zone: tzinfo) -> NoticeText:
    """Return a notice in the language of ``translate``, with times of ``zone``.

    Everything in it comes from texts that people are shown anyway; there are no secrets in those.
    """
    if notice.kind is NoticeKind.TEST:
        title, lines = _TEST_TITLE, [translate(_TEST_BODY)]
    else:
        title, lines = _TITLES[notice.kind, notice.work], _lines(notice, translate, zone)
    return NoticeText(translate(title).format(hostname=printable(notice.hostname), job=printable(notice.job),
                                              repository=printable(notice.repository)),
                      "\n".join(lines)[:_MOST_TEXT])


def _lines(notice: Notice, translate: Translate, zone: tzinfo) -> list[str]:
    lines = [translate("Time: {time}").format(time=_local(notice.time, zone))]
    if notice.run:
        lines.append(translate("Run: {run}").format(run=printable(notice.run)))
    if notice.since is not None and notice.kind is not NoticeKind.STALE:
        lines.append(translate("Nothing good since {time}.").format(time=_local(notice.since, zone)))
    for error in notice.errors[:_MOST_ERRORS]:
        advice = error.advice_text(translate)
        lines.append("- " + error.text(translate) + (f"; {advice}" if advice else ""))
    if len(notice.errors) > _MOST_ERRORS:
        lines.append(translate("... and {count} more").format(count=len(notice.errors) - _MOST_ERRORS))
    if notice.retry is not None and notice.kind is not NoticeKind.DAMAGED:
        lines.append(translate("It is tried again at {time}.").format(time=_local(notice.retry, zone)))
    if notice.kind not in (NoticeKind.RECOVERED, NoticeKind.CAUGHT_UP):
        lines.append(translate("kuramori history shows more."))
    return lines


def _local(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")
