"""Retention, compared with a second implementation that is slow and obvious: it knows nothing of
counters that move and buckets that are remembered, and takes its calendar from ``datetime``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kuramori.model.calendar import CalendarDuration, parse_calendar_duration
from kuramori.model.retention import (
    UNLIMITED,
    Counters,
    Grouping,
    RetentionPolicy,
    apply_policy,
    group_snapshots,
    parse_grouping,
)
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.model.times import format_datetime

NAMES = ("hourly", "daily", "weekly", "monthly", "yearly")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
ZONES = [ZoneInfo(name) for name in (
    "UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Pacific/Apia", "America/Sao_Paulo")]


# --- the obvious implementation ------------------------------------------------------------------


def _bucket(name: str, moment: datetime) -> object:
    form = {"hourly": "%Y-%m-%d %H", "daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}
    return moment.strftime(form[name])


def _seconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)


def _offset(zone: ZoneInfo, seconds: int) -> int:
    """Return the offset of a zone; 0 where it is not known, as the system says it."""
    try:
        offset = (EPOCH + timedelta(seconds=seconds)).astimezone(zone).utcoffset()
    except OverflowError:
        return 0
    return (offset or timedelta()) // timedelta(seconds=1)


def _minus_calendar(moment: datetime, duration: CalendarDuration) -> datetime:
    """Turn the calendar on the wall back, day for day and month for month."""
    year, month = moment.year, moment.month
    for _ in range(duration.months + 12 * duration.years):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    day = date(year, month, 1) + timedelta(days=moment.day - 1 - duration.days)
    return moment.replace(year=day.year, month=day.month, day=day.day)


def _before(moment: datetime, duration: CalendarDuration, local: ZoneInfo) -> datetime:
    """Return the instant a duration before; what the wall shows twice or never is tried both ways."""
    zone: timezone | ZoneInfo = timezone(moment.utcoffset() or timedelta())
    if moment.tzname() != "UTC" and moment.astimezone(local).utcoffset() == moment.utcoffset():
        zone = local
    wall = _minus_calendar(moment.replace(tzinfo=None), duration)
    readings = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    if len(readings) == 2:
        # restic, that is Go, looks up the offset as if the wall showed UTC, and where this leads to
        # another period of the zone, the offset of that.
        first = wall.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()
        second = (wall - first).replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()
        readings = {(wall - (second if first else first)).replace(tzinfo=UTC)}
    (reading,) = readings
    return reading - timedelta(hours=duration.hours)


def _newest_of_each(name: str, moments: Sequence[datetime]) -> list[int]:
    """Return the positions at which a period begins that is not the one before."""
    buckets = [_bucket(name, moment) for moment in moments]
    return [at for at in range(len(moments)) if at == 0 or buckets[at] != buckets[at - 1]]


def _count_rule(name: str, count: int, moments: Sequence[datetime]) -> dict[int, str]:
    starts = list(range(len(moments))) if name == "last" else _newest_of_each(name, moments)
    chosen = starts if count == UNLIMITED else starts[:count]
    found = dict.fromkeys(chosen, f"{name} snapshot")
    if moments and (count == UNLIMITED or len(chosen) < count) and len(moments) - 1 not in found:
        found[len(moments) - 1] = f"oldest {name} snapshot"
    return found


def _within_rule(name: str, duration: CalendarDuration, moments: Sequence[datetime], after: datetime) -> dict[int, str]:
    recent = [moment for moment in moments if moment > after]
    found = dict.fromkeys(_newest_of_each(name, recent), f"{name} within {duration}")
    if recent and len(recent) == len(moments) and len(moments) - 1 not in found:
        found[len(moments) - 1] = f"oldest {name} within {duration}"
    return found


def _obvious(snapshots: Sequence[StoredSnapshot], policy: RetentionPolicy, local: ZoneInfo) -> dict[str, list[str]]:
    """Return why each snapshot stays; nothing for those that go."""
    ordered = sorted(snapshots, key=lambda stored: datetime.fromisoformat(stored.snapshot.time), reverse=True)
    moments = [datetime.fromisoformat(stored.snapshot.time) for stored in ordered]
    reasons: list[list[str]] = [[] for _ in ordered]
    for tags in policy.tags:
        for at, stored in enumerate(ordered):
            own = stored.snapshot.tags or []
            if all(tag in own for tag in tags) or (not own and tags[0] == ""):
                reasons[at].append(f"has tags [{', '.join(tags)}]")
    past = [moment for moment in moments if moment < NOW]
    for at, moment in enumerate(moments):
        if policy.within and (not past or moment > _before(past[0], policy.within, local)):
            reasons[at].append(f"within {policy.within}")
    rules = [_count_rule(name, getattr(policy, name), moments) for name in ("last", *NAMES) if getattr(policy, name)]
    for name in NAMES:
        duration = getattr(policy, f"within_{name}")
        if duration:
            after = _before(past[0], duration, local) if past else datetime(1, 1, 1, tzinfo=UTC)
            rules.append(_within_rule(name, duration, moments, after))
    for rule in rules:
        for at, reason in rule.items():
            reasons[at].append(reason)
    return {stored.id: found for stored, found in zip(ordered, reasons, strict=True) if found}


# --- what is tried -------------------------------------------------------------------------------

# Snapshots crowd around days on which some zone changes its clocks, new years and month ends.
DAYS = st.sampled_from([
    datetime(2025, 10, 26), datetime(2026, 3, 29), datetime(2026, 3, 8), datetime(2025, 11, 2), datetime(2026, 10, 25),
    datetime(2025, 12, 31), datetime(2024, 12, 30), datetime(2021, 1, 3), datetime(2024, 2, 29), datetime(2026, 11, 22),
    datetime(2011, 12, 30), datetime(2026, 4, 5), datetime(2018, 11, 4), datetime(2027, 3, 1)])
MOMENTS = st.builds(
    lambda day, seconds, micro, zone: (day + timedelta(seconds=seconds, microseconds=micro)).replace(
        tzinfo=UTC).astimezone(zone),
    DAYS, st.integers(-100_000, 200_000) | st.integers(-40, 80).map(lambda n: 1800 * n),
    st.sampled_from([0, 1, 500_000]),
    st.sampled_from(ZONES))
TAGS = st.lists(st.sampled_from(["x", "y", "z"]), unique=True, max_size=2)
TAG_LISTS = st.lists(st.lists(st.sampled_from(["x", "y", ""]), min_size=1, max_size=2, unique=True).map(tuple),
                     max_size=2).map(tuple)
NUMBERS = st.just(0) | st.integers(0, 6) | st.just(UNLIMITED)
DURATIONS = st.just(CalendarDuration()) | st.builds(
    CalendarDuration, st.sampled_from([0, 0, 1, 3]), st.sampled_from([0, 0, 1, 7, 14]),
    st.sampled_from([0, 0, 1, 27, 31, 300]), st.sampled_from([0, 0, 1, 2, 25]))
POLICIES = st.builds(
    RetentionPolicy, last=NUMBERS, tags=TAG_LISTS, within=DURATIONS, **dict.fromkeys(NAMES, NUMBERS),
    **{f"within_{name}": DURATIONS for name in NAMES})
ONE_RULE = st.one_of(
    *[st.builds(RetentionPolicy, **{name: NUMBERS}) for name in ("last", *NAMES)],
    *[st.builds(RetentionPolicy, **{name: DURATIONS}) for name in ("within", *[f"within_{name}" for name in NAMES])])


def _histories(*, future: bool = True) -> st.SearchStrategy[list[StoredSnapshot]]:
    moments = MOMENTS if future else MOMENTS.filter(lambda moment: moment < NOW)
    made = st.lists(st.tuples(moments, TAGS), max_size=25, unique_by=lambda entry: entry[0].astimezone(UTC))
    return made.map(lambda entries: [_stored(number, moment, tags) for number, (moment, tags) in enumerate(entries)])


def _stored(number: int, moment: datetime, tags: list[str]) -> StoredSnapshot:
    snapshot = Snapshot(time=format_datetime(moment), tree="0" * 64, paths=["/"], tags=tags or None)
    return StoredSnapshot(f"{number:064x}", snapshot)


def _at(*texts: str) -> list[StoredSnapshot]:
    return [_stored(number, datetime.fromisoformat(text), []) for number, text in enumerate(texts)]


def _apply(snapshots: Sequence[StoredSnapshot], policy: RetentionPolicy, local: ZoneInfo) -> dict[str, list[str]]:
    selection = apply_policy(snapshots, policy, _seconds(NOW) * 10**9, lambda seconds: _offset(local, seconds))
    kept = {each.stored.id: [str(reason) for reason in each.reasons] for each in selection.kept}
    gone = {stored.id for stored in selection.removed}
    assert not gone & set(kept)
    assert gone | set(kept) == {stored.id for stored in snapshots}
    for part in ([each.stored for each in selection.kept], selection.removed):
        times = [stored.snapshot.time_nanoseconds for stored in part]
        assert times == sorted(times, reverse=True)
    return kept


_SPRING = _at("2026-04-29T02:30:00+02:00", "2026-03-29T01:15:00+01:00", "2026-03-29T03:29:59+02:00")
_AUTUMN = _at("2026-11-01T02:30:00+01:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")


@given(_histories(), POLICIES | ONE_RULE, st.sampled_from(ZONES))
@example(_SPRING, RetentionPolicy(within=CalendarDuration(months=1)), ZONES[1])
@example(_SPRING, RetentionPolicy(within=CalendarDuration(months=1)), ZONES[0])
@example(_AUTUMN, RetentionPolicy(within=CalendarDuration(days=7, hours=1)), ZONES[1])
@example(_AUTUMN, RetentionPolicy(hourly=2), ZONES[4])
def test_it_says_what_the_obvious_implementation_says(snapshots: list[StoredSnapshot], policy: RetentionPolicy,
                                                      local: ZoneInfo) -> None:
    assert _apply(snapshots, policy, local) == _obvious(snapshots, policy, local)


@given(_histories(future=False), POLICIES | ONE_RULE, st.sampled_from(ZONES), st.integers(0, 25))
def test_a_run_that_was_broken_off_is_ended_by_the_next(snapshots: list[StoredSnapshot], policy: RetentionPolicy,
                                                        local: ZoneInfo, done: int) -> None:
    """What goes is removed from the newest to the oldest, so the oldest stays the oldest meanwhile."""
    kept = set(_apply(snapshots, policy, local))
    ordered = sorted(snapshots, key=lambda stored: -stored.snapshot.time_nanoseconds)
    removed = [stored.id for stored in ordered if stored.id not in kept][:done]
    assert set(_apply([stored for stored in snapshots if stored.id not in removed], policy, local)) == kept


@given(_histories(future=False), POLICIES | ONE_RULE, st.sampled_from(ZONES), st.data())
def test_nothing_that_stays_goes_when_others_are_gone_already(
        snapshots: list[StoredSnapshot], policy: RetentionPolicy, local: ZoneInfo, data: st.DataObject) -> None:
    kept = set(_apply(snapshots, policy, local))
    left = [stored for stored in snapshots if stored.id in kept or data.draw(st.booleans())]
    assert kept <= set(_apply(left, policy, local))


@given(_histories(), POLICIES, st.sampled_from(ZONES), st.randoms())
def test_the_order_in_which_snapshots_are_listed_does_not_matter(
        snapshots: list[StoredSnapshot], policy: RetentionPolicy, local: ZoneInfo, chance: object) -> None:
    shuffled = list(snapshots)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _apply(shuffled, policy, local) == _apply(snapshots, policy, local)


@given(_histories(), POLICIES, st.sampled_from(["last", *NAMES]), st.sampled_from(ZONES))
def test_who_asks_for_more_gets_no_less(snapshots: list[StoredSnapshot], policy: RetentionPolicy, name: str,
                                        local: ZoneInfo) -> None:
    count = getattr(policy, name)
    more = replace(policy, **{name: count if count == UNLIMITED else count + 1})
    everything = replace(policy, **{name: UNLIMITED})
    few, some, most = (set(_apply(snapshots, each, local)) for each in (policy, more, everything))
    # The oldest snapshot stays for want of others: with more to keep it is one of the counted.
    assert few <= some <= most


@given(_histories(), POLICIES)
def test_the_newest_stays_whatever_the_rules_are_but_for_tags(snapshots: list[StoredSnapshot],
                                                              policy: RetentionPolicy) -> None:
    policy = replace(policy, tags=())
    kept = _apply(snapshots, policy, ZONES[0])
    if snapshots and not policy.empty:
        newest = max(snapshots, key=lambda stored: stored.snapshot.time_nanoseconds)
        assert newest.id in kept
    if policy.empty:
        assert not kept


@given(_histories(), POLICIES, st.sampled_from(ZONES))
def test_counters_say_what_is_left(snapshots: list[StoredSnapshot], policy: RetentionPolicy, local: ZoneInfo) -> None:
    selection = apply_policy(snapshots, policy, _seconds(NOW) * 10**9, lambda seconds: _offset(local, seconds))
    used = dict.fromkeys(("last", *NAMES), 0)
    for kept in selection.kept:
        said = [str(reason) for reason in kept.reasons]
        for name in used:
            used[name] += f"{name} snapshot" in said or f"oldest {name} snapshot" in said
        for each in fields(Counters):
            count = getattr(policy, each.name)
            assert getattr(kept.counters, each.name) == (count if count == UNLIMITED else count - used[each.name])


# --- durations and groups ------------------------------------------------------------------------


@given(st.builds(CalendarDuration, *[st.integers(0, 10**9 - 1)] * 4))
def test_a_duration_is_read_as_it_is_written(duration: CalendarDuration) -> None:
    assert parse_calendar_duration(f" {duration} ") == duration


@pytest.mark.parametrize("text", ["1", "y", "1w", "-1d", "1 d", "1y5", "1.5d", "٣d", "d1", "1Y", "9999999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1y5m7d2h"):
        parse_calendar_duration(text)


@given(_histories(), st.builds(CalendarDuration, *[st.integers(0, 10**9 - 1)] * 4))
def test_the_longest_durations_keep_all(snapshots: list[StoredSnapshot], duration: CalendarDuration) -> None:
    policy = RetentionPolicy(within=replace(duration, years=5000))
    assert len(_apply(snapshots, policy, ZONES[1])) == len(snapshots)


@pytest.mark.parametrize("wrong", [{"last": -2}, {"yearly": -7}, {"within": CalendarDuration(days=-1)},
                                   {"within_weekly": CalendarDuration(years=1, hours=-1)}], ids=str)
def test_negative_rules_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="negative"):
        RetentionPolicy(**wrong)  # type: ignore[arg-type]


def test_times_at_the_ends_of_the_format() -> None:
    """The years 0 and 9999 have hours, weeks and months like others."""
    texts = ["0000-01-01T00:00:00Z", "0000-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z",
             "9998-12-31T00:00:00-12:00", "9999-12-31T23:59:59+14:00", "9999-12-31T22:59:59+14:00"]
    snapshots = [StoredSnapshot(text, Snapshot(time=text, tree="0" * 64, paths=[])) for text in texts]
    for name, count in (("hourly", 6), ("daily", 5), ("weekly", 5), ("monthly", 5), ("yearly", 4)):
        kept = apply_policy(snapshots, RetentionPolicy(**{name: UNLIMITED}), 0).kept
        assert sum("oldest" not in str(each.reasons[0]) for each in kept) == count, name


SNAPSHOTS = st.builds(
    lambda number, host, paths, tags: StoredSnapshot(str(number), Snapshot(
        time="2020-01-01T00:00:00Z", tree="0" * 64, paths=paths, hostname=host, tags=tags)),
    st.integers(), st.sampled_from(["", "a", "b"]), st.lists(st.sampled_from(["/", "/x", "/y"]), max_size=3),
    st.none() | st.lists(st.sampled_from(["p", "q"]), max_size=2))


@given(st.lists(SNAPSHOTS, max_size=12), st.builds(Grouping, st.booleans(), st.booleans(), st.booleans()))
def test_two_snapshots_share_a_group_if_they_share_what_it_is_made_by(snapshots: list[StoredSnapshot],
                                                                      grouping: Grouping) -> None:
    def alike(one: Snapshot, other: Snapshot) -> bool:
        return ((not grouping.host or one.hostname == other.hostname)
                and (not grouping.paths or sorted(one.paths) == sorted(other.paths))
                and (not grouping.tags or sorted(one.tags or []) == sorted(other.tags or [])))

    groups = group_snapshots(snapshots, grouping)
    assert sorted(id(stored) for _, group in groups for stored in group) == sorted(map(id, snapshots))
    for number, (_, group) in enumerate(groups):
        assert all(alike(group[0].snapshot, stored.snapshot) for stored in group)
        assert not any(alike(group[0].snapshot, other[0].snapshot) for _, other in groups[number + 1:])


@pytest.mark.parametrize(("text", "grouping"), [
    ("host,paths", Grouping()), ("", Grouping(host=False, paths=False)), ("tags", Grouping(False, False, True)),
    ("path,tag,hosts,", Grouping(True, True, True))])
def test_groupings(text: str, grouping: Grouping) -> None:
    assert parse_grouping(text) == grouping


def test_no_such_grouping() -> None:
    with pytest.raises(ValueError, match="host, paths and tags"):
        parse_grouping("host,user")
