"""Where snapshots are shown, and how their times look."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from kuramori.errors import UsageError
from kuramori.model.snapshot import Snapshot, StoredSnapshot
from kuramori.mounting.layout import LATEST, Layout, Menu, NameBook, build_menus
from kuramori.mounting.time_template import RFC3339, format_by_template

_MOMENT = datetime(2026, 3, 7, 16, 5, 9, 120_000, timezone(timedelta(hours=9)))


@pytest.mark.parametrize(("template", "expected"), [  # the results are those of Go's time.Format
    (RFC3339, "2026-03-07T16:05:09+09:00"),
    ("2006-01-02_15.04.05", "2026-03-07_16.05.09"),
    ("Mon Jan _2 03:04:05PM 06", "Sat Mar  7 04:05:09PM 26"),
    ("Monday, 2 January 2006 3:4:5 pm", "Saturday, 7 March 2026 4:5:9 pm"),
    ("15h04.000", "16h05.120"), ("05.999999", "09.12"), ("05,0", "09,1"),
    ("-0700 -07 Z0700", "+0900 +09 +0900"), ("002 __2", "066  66"), ("_2006", "_2026"), ("1/2", "3/7"),
    ("Janet", "Janet"), ("backup", "backup"),
])
def test_time_templates(template: str, expected: str) -> None:
    assert format_by_template(_MOMENT, template) == expected


def test_utc_is_a_z() -> None:
    moment = _MOMENT.astimezone(timezone.utc)  # noqa: UP017  (its tzname is what is looked at)
    assert format_by_template(moment, RFC3339) == "2026-03-07T07:05:09Z"
    assert format_by_template(moment, "MST Z07 -07:00") == "UTC Z +00:00"


def _stored(number: int, time: str = "2026-11-23T02:00:00Z", host: str = "planter", tags: tuple[str, ...] = (),
            user: str = "") -> StoredSnapshot:
    return StoredSnapshot(f"{number:064x}", Snapshot(
        time=time, tree="0" * 64, paths=["/data"], hostname=host, username=user, tags=list(tags) or None))


def _shown(menu: Menu, path: str = "") -> dict[str, str]:
    """Return every name below a menu, and what it is: a snapshot's number, or where ``latest`` leads."""
    found = {f"{path}{name.decode()}": stored.id.lstrip("0") for name, stored in menu.snapshots.items()}
    if menu.latest is not None:
        found[f"{path}{LATEST.decode()}"] = f"-> {menu.latest.decode()}"
    for name, inner in menu.menus.items():
        found |= _shown(inner, f"{path}{name.decode()}/")
    return found


def test_the_folders_of_restic() -> None:
    snapshots = [_stored(1, tags=("daily",)), _stored(2, "2026-11-24T02:00:00Z", "desk")]
    assert _shown(build_menus(snapshots, Layout(), NameBook())) == {
        "ids/00000000": "1", "ids/00000000-1": "2",
        "snapshots/2026-11-23T02:00:00Z": "1", "snapshots/2026-11-24T02:00:00Z": "2",
        "snapshots/latest": "-> 2026-11-24T02:00:00Z",
        "hosts/planter/2026-11-23T02:00:00Z": "1", "hosts/planter/latest": "-> 2026-11-23T02:00:00Z",
        "hosts/desk/2026-11-24T02:00:00Z": "2", "hosts/desk/latest": "-> 2026-11-24T02:00:00Z",
        "tags/daily/2026-11-23T02:00:00Z": "1", "tags/daily/latest": "-> 2026-11-23T02:00:00Z",
    }


def test_the_runs_of_the_manager() -> None:
    tags = ("kuramori", "job=main", "run=full_backup_20261123_020000")
    snapshots = [_stored(1, tags=(*tags, "component=database")), _stored(2, tags=(*tags, "component=images")),
                 _stored(3, tags=("job=main", "run=x", "component=database"))]  # of somebody else
    layout = Layout(("runs/%j/%r/%c", "components/%c/%T"))
    assert _shown(build_menus(snapshots, layout, NameBook())) == {
        "runs/main/full_backup_20261123_020000/database": "1", "runs/main/full_backup_20261123_020000/images": "2",
        "runs/main/latest": "-> full_backup_20261123_020000",
        "components/database/2026-11-23T02:00:00Z": "1", "components/database/latest": "-> 2026-11-23T02:00:00Z",
        "components/images/2026-11-23T02:00:00Z": "2", "components/images/latest": "-> 2026-11-23T02:00:00Z",
    }


def test_several_tags_show_a_snapshot_several_times() -> None:
    shown = _shown(build_menus([_stored(1, tags=("a", "b", "a"))], Layout(("%t-%h/%u%%",)), NameBook()))
    assert shown == {"a-planter/%": "1", "b-planter/%": "1"}


@pytest.mark.parametrize(("host", "expected"), [
    ("..", "__"), (".", "_"), ("", "_"), ("../../etc", ".._.._etc"), ("a\0b", "a_b"), ("x" * 300, "x" * 240),
    ("蔵" * 100, "蔵" * 80),
])
def test_hostile_names_stay_names(host: str, expected: str) -> None:
    assert list(_shown(build_menus([_stored(1, host=host)], Layout(("%h",)), NameBook()))) == [expected]


def test_what_is_called_latest_does_not_hide_the_latest() -> None:
    shown = _shown(build_menus([_stored(1, host="latest")], Layout(("%h/%T", "%h")), NameBook()))
    assert shown["latest-1/2026-11-23T02:00:00Z"] == "1"
    assert "latest" not in shown


def test_names_stay_with_their_snapshots() -> None:
    """The kernel keeps what it read under a name: another snapshot must not take it."""
    book, layout = NameBook(), Layout(("%T",))
    first, second, third = _stored(1), _stored(2), _stored(3)
    name = "2026-11-23T02:00:00Z"
    assert _shown(build_menus([first, second], layout, book)) == {name: "1", f"{name}-1": "2", "latest": f"-> {name}-1"}
    assert _shown(build_menus([second, third], layout, book)) == {
        f"{name}-1": "2", f"{name}-2": "3", "latest": f"-> {name}-2"}


@pytest.mark.parametrize("template", ["", "/", "%x", "a/%", "../%T", "a/./%T"])
def test_wrong_path_templates(template: str) -> None:
    with pytest.raises(UsageError):
        Layout((template,))


@pytest.mark.parametrize("template", ["", "2006/01/02", "15\\04"])
def test_wrong_time_templates(template: str) -> None:
    with pytest.raises(UsageError):
        Layout(time_template=template)
