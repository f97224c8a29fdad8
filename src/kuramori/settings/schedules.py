"""When: a time of day, a cron expression, or every so often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from kuramori.errors import N_, Phrase
from kuramori.settings.model import CronExpression, DailyAt, Every, Schedule
from kuramori.settings.quantities import parse_seconds
from kuramori.settings.reader import Expected, Refused, describe

SHORTEST_INTERVAL = 60.0
"""Seconds. Less would be no backup but a watch on files."""
LONGEST_INTERVAL = 366 * 86400.0

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_SHORTHANDS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}
_ALLOWED = Phrase(N_('"HH:MM" such as "02:00", five fields of cron such as "0 2 * * 1-5", or {{ every = "6h" }}'))
_INTERVAL = Phrase(N_('a duration such as "6h" or "30m", from 1 minute to 366 days'))


def schedule_of(value: object) -> Schedule:
    """Return what a value of the file says about when.

    Raises:
        Refused: it says nothing about it.
    """
    if isinstance(value, Mapping):
        if set(value) != {"every"}:
            raise Refused
        return every_of(value["every"])
    if not isinstance(value, str):
        raise Refused
    words = value.split()
    if len(words) == 2 and words[0].casefold() == "every":
        return every_of(words[1])
    time = _TIME.fullmatch(value.strip())
    if time is not None:
        hour, minute = int(time[1]), int(time[2])
        if hour > 23 or minute > 59:
            raise Refused(Phrase(N_('found "{value!s}", which no clock shows'), value=value[:20]))
        return DailyAt(hour, minute)
    return _cron_of(value)


def _cron_of(value: str) -> CronExpression:
    from cronsim import CronSim, CronSimError

    expression = " ".join(_SHORTHANDS.get(value.strip().casefold(), value).split())
    if len(expression) > 200 or len(expression.split()) != 5:
        raise Refused
    try:
        # Whether there is ever a next time; from any year, but one with a 29th of February is near.
        next(CronSim(expression, datetime(2000, 1, 1)))
    except CronSimError as error:
        raise Refused(Phrase(N_('found the cron expression "{value!s}": {detail!s}'), value=value[:60],
                             detail=str(error))) from None
    except StopIteration:
        raise Refused(Phrase(N_('found the cron expression "{value!s}", which never comes true'),
                             value=value[:60])) from None
    return CronExpression(expression)


CRON_TEXTS = (N_("Bad minute"), N_("Bad hour"), N_("Bad day-of-month"), N_("Bad month"), N_("Bad day-of-week"),
              N_("Wrong number of fields"))
"""What cronsim says, for the catalogues."""


def every_of(value: object) -> Every:
    """Return the interval that ``6h`` means.

    Raises:
        Refused: it is none, or too short or too long.
    """
    if not isinstance(value, str):
        raise Refused(describe(value), _INTERVAL)
    text = value.strip()
    try:
        seconds = parse_seconds(text)
    except ValueError:
        raise Refused(describe(value), _INTERVAL) from None
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise Refused(describe(value), _INTERVAL)
    return Every(seconds, text)


SCHEDULE: Expected[Schedule] = Expected(_ALLOWED, schedule_of)
INTERVAL: Expected[Schedule] = Expected(_INTERVAL, every_of)
