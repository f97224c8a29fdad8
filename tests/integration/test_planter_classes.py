"""The guide's two classes: its methods, keys and words, without its faults."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kuramori.planter import BackupManager, BackupScheduler
from kuramori.testing.clock import FakeClock
from kuramori.testing.restic_judge import Restic
from kuramori.testing.scheduling import ScriptedWaiter
from samples.repositories import QUICK

DAY = 86400.0
COMPONENTS = ("database", "images", "logs", "settings")


class Device:
    """A planter's files and a backup manager for them."""

    def __init__(self, folder: Path, clock: FakeClock | None = None) -> None:
        self.folder = folder
        self.clock = clock or FakeClock(utc_offset_minutes=540)
        self.database = folder / "smart_planter.db"
        for name in ("images", "logs", "config"):
            (folder / name).mkdir(parents=True)
            (folder / name / "one.txt").write_text(f"{name} one\n")
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, moisture REAL)")
            connection.executemany("INSERT INTO reading (moisture) VALUES (?)", [(n / 7,) for n in range(100)])
        self.manager = self.make_manager()

    def make_manager(self) -> BackupManager:
        """Return a manager as another process would make it."""
        manager = BackupManager(str(self.folder / "usb" / "backup"), key_file=self.folder / "private" / "planter.key",
                                state_dir=self.folder / "state", clock=self.clock, kdf=QUICK)
        sources = {"database": self.database, "images": self.folder / "images", "logs": self.folder / "logs",
                   "settings": self.folder / "config"}
        for name, source in sources.items():
            manager.backup_settings[name]["source_path"] = str(source)
        return manager

    def readings(self) -> list[tuple[Any, ...]]:
        """Return what is in the database."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute("SELECT * FROM reading ORDER BY id").fetchall()


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def _plain(result: Any) -> Any:
    """What a result is after a trip through JSON, as the guide's web page would get it."""
    return json.loads(json.dumps(result, ensure_ascii=False))


# --- backing up ------------------------------------------------------------------------------


def test_a_full_backup_has_the_keys_and_words_of_the_guide(device: Device) -> None:
    result = _plain(device.manager.create_full_backup())
    assert result["success"] is True
    assert result["message"].startswith("フルバックアップを作成しました")
    assert result["backup_name"] == "full_backup_20261123_090000"
    assert {"backup_path", "total_size_bytes", "components", "timestamp"} <= result.keys()
    assert set(result["components"]) == set(COMPONENTS)
    for name, component in result["components"].items():
        assert component["success"] is True
        assert component["message"] == f"{name}をバックアップしました"
        assert {"source_path", "backup_path", "size_bytes"} <= component.keys()
    assert result["total_size_bytes"] == sum(part["size_bytes"] for part in result["components"].values())
    assert Path(result["backup_path"]).is_dir()


def test_the_key_is_made_once_private_and_said(device: Device) -> None:
    first = device.manager.create_full_backup()
    key = device.manager.key_file
    assert key.stat().st_mode & 0o777 == 0o600
    assert str(key) in first["message"]
    secret = key.read_text().strip()
    second = device.manager.create_full_backup()
    assert second["success"]
    assert str(key) not in second["message"]
    assert key.read_text().strip() == secret
    assert secret not in json.dumps([first, second, device.manager.list_backups(), device.manager.get_backup_status()])
    assert not str(key).startswith(str(device.manager.backup_dir))


def test_a_key_that_others_can_read_is_refused(device: Device) -> None:
    device.manager.create_full_backup()
    device.manager.key_file.chmod(0o644)
    result = device.manager.create_full_backup()
    assert result["success"] is False
    assert str(device.manager.key_file) in result["message"]


def test_what_is_missing_is_never_success(device: Device) -> None:
    """The guide said success as soon as it had written its own record."""
    shutil.rmtree(device.folder / "images")
    result = device.manager.create_full_backup()
    assert result["success"] is False
    assert result["state"] == "partial"
    assert "images" in result["message"]
    assert result["components"]["images"] | {"message": ""} == {"success": False, "message": "", "size_bytes": 0}
    assert result["components"]["logs"]["success"] is True


def test_components_that_are_switched_off_are_left_out(device: Device) -> None:
    device.manager.backup_settings["logs"]["enabled"] = False
    device.manager.backup_settings["diary"] = {"enabled": True, "source_path": str(device.folder / "logs" / "one.txt")}
    result = device.manager.create_full_backup("my_backup")
    assert result["success"] is True
    assert result["backup_name"] == "my_backup"
    assert set(result["components"]) == {"database", "images", "settings", "diary"}


def test_a_name_is_used_once_and_is_no_path(device: Device) -> None:
    assert device.manager.create_full_backup("again")["success"]
    for name in ("again", "../outside", "a/b", ""):
        result = device.manager.create_full_backup(name)
        assert result["success"] is (name == "")
    assert not list(device.folder.rglob("outside"))


def test_settings_that_make_no_sense_are_named_all_at_once(device: Device) -> None:
    device.manager.backup_settings["images"] = {"enabled": "yes", "source_path": "", "retention_days": -3, "colour": 1}
    device.manager.backup_settings["logs"] = "everything"  # type: ignore[assignment]
    for call in (device.manager.create_full_backup, device.manager.cleanup_old_backups):
        result = call()
        assert result["success"] is False
        for word in ("enabled", "source_path", "retention_days", "colour", "logs"):
            assert word in result["message"]
    assert not device.manager.backup_dir.exists()


def test_backups_are_listed_whatever_the_settings_say(device: Device) -> None:
    """A mistake in them must not look as if there were no backups."""
    name = device.manager.create_full_backup()["backup_name"]
    device.manager.backup_settings["images"]["retention_days"] = 0
    device.manager.backup_settings["logs"] = "everything"  # type: ignore[assignment]
    device.manager.backup_settings["settings"]["source_path"] = Path("/etc")
    assert [entry["backup_name"] for entry in device.manager.list_backups()] == [name]
    status = _plain(device.manager.get_backup_status())
    assert (status["total_backups"], status["latest_backup"]["backup_name"]) == (1, name)
    assert status["backup_settings"]["settings"]["source_path"] == "/etc"


def test_without_any_source_nothing_is_made(device: Device) -> None:
    """The disk with the sources is not mounted: a repository made now would lie on the wrong disk."""
    for settings in device.manager.backup_settings.values():
        settings["source_path"] = str(device.folder / "nowhere")
    result = device.manager.create_full_backup()
    assert result["success"] is False
    assert "マウント" in result["message"]
    assert set(result["components"]) == set(COMPONENTS)
    assert not device.manager.backup_dir.exists()
    assert not device.manager.key_file.exists()


def test_a_repository_that_is_away_is_not_made_anew(device: Device) -> None:
    device.manager.create_full_backup()
    (device.folder / "usb").rename(device.folder / "unplugged")
    result = device.make_manager().create_full_backup()
    assert result["success"] is False
    assert "マウント" in result["message"]
    assert not (device.folder / "usb").exists()
    (device.folder / "unplugged").rename(device.folder / "usb")
    assert device.make_manager().create_full_backup()["success"]
    shutil.rmtree(device.folder / "usb")
    assert device.manager.renew_repository()["success"]
    assert device.manager.create_full_backup()["success"]


def test_any_restic_reads_it(device: Device, restic_old: str) -> None:
    device.manager.create_full_backup()
    password = device.manager.key_file.read_text().strip()
    restic = Restic(restic_old, device.manager.repository_path, password, home=device.folder)
    restic.check()
    assert len(restic.snapshots()) == len(COMPONENTS) + 1


# --- restoring -------------------------------------------------------------------------------


def test_everything_comes_back_and_nothing_is_destroyed(device: Device) -> None:
    before = device.readings()
    name = device.manager.create_full_backup()["backup_name"]
    application = sqlite3.connect(device.database)
    with closing(application):
        with application:
            application.execute("DELETE FROM reading WHERE id > 10")
        (device.folder / "images" / "one.txt").write_text("spoilt")
        result = _plain(device.manager.restore_from_backup(name))
        assert result["success"] is True
        assert result["message"] == "バックアップから復元しました"
        assert result["backup_name"] == name
        assert set(result["restored_components"]) == set(COMPONENTS)
        for component, restored in result["restored_components"].items():
            assert restored["message"] == f"{component}を復元しました"
        assert application.execute("SELECT * FROM reading ORDER BY id").fetchall() == before
    images = result["restored_components"]["images"]
    assert Path(images["target_path"]) == device.folder / "images"
    assert (device.folder / "images" / "one.txt").read_text() == "images one\n"
    assert (Path(images["kept_path"]) / "one.txt").read_text() == "spoilt"


def test_only_what_was_asked_for_comes_back(device: Device) -> None:
    name = device.manager.create_full_backup()["backup_name"]
    for folder in ("images", "logs"):
        (device.folder / folder / "one.txt").write_text("new")
    result = device.manager.restore_from_backup(name, ["logs"])
    assert set(result["restored_components"]) == {"logs"}
    assert (device.folder / "logs" / "one.txt").read_text() == "logs one\n"
    assert (device.folder / "images" / "one.txt").read_text() == "new"


def test_it_goes_where_the_settings_say_now(device: Device) -> None:
    name = device.manager.create_full_backup()["backup_name"]
    device.manager.backup_settings["images"]["source_path"] = str(device.folder / "pictures")
    assert device.manager.restore_from_backup(name, ["images"])["success"]
    assert (device.folder / "pictures" / "one.txt").read_text() == "images one\n"


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize(("name", "components"), [
    ("full_backup_19990101_000000", None), ("../../etc", None), ("", None), (None, ["cellar"]), (None, ["manifest"])])
def test_a_restore_of_what_is_not_there_says_so(device: Device, name: str | None, components: list[str] | None) -> None:
    made = device.manager.create_full_backup()["backup_name"]
    result = device.manager.restore_from_backup(made if name is None else name, components)
    assert result["success"] is False
    assert result["message"]
    assert _plain(result)["timestamp"] > 0
    assert (device.folder / "images" / "one.txt").read_text() == "images one\n"


def test_a_restore_without_any_backup_makes_nothing(device: Device) -> None:
    result = device.manager.restore_from_backup("full_backup_20261123_090000")
    assert result["message"] == "バックアップが見つかりません: full_backup_20261123_090000"
    assert not device.manager.backup_dir.exists()


# --- cleaning up -----------------------------------------------------------------------------


def test_each_component_is_cleaned_up_by_its_own_days(device: Device) -> None:
    """The guide removed a whole backup as soon as its shortest component was too old."""
    names = []
    for _number in range(3):
        (device.folder / "logs" / "one.txt").write_text(f"{device.clock.now()}")
        names.append(device.manager.create_full_backup()["backup_name"])
        device.clock.advance(20 * DAY)
    result = _plain(device.manager.cleanup_old_backups())
    assert result["success"] is True
    assert result["message"] == "古いバックアップをクリーンアップしました"
    counts = {name: entry["deleted_count"] for name, entry in result["cleanup_results"].items()}
    assert counts == {"database": 2, "images": 0, "logs": 2, "settings": 0}
    assert result["cleanup_results"]["logs"].keys() == {"deleted_count", "deleted_size_bytes", "retention_days"}
    assert result["total_deleted_count"] == 4
    assert result["total_deleted_size_bytes"] > 0
    oldest = device.manager.list_backups()[-1]
    assert oldest["backup_name"] == names[0]
    assert device.manager.restore_from_backup(names[0], ["images"])["success"]
    assert not device.manager.restore_from_backup(names[0], ["logs"])["success"]


def test_the_newest_of_a_component_stays_however_old_it_is(device: Device) -> None:
    name = device.manager.create_full_backup()["backup_name"]
    device.clock.advance(4000 * DAY)
    assert device.manager.cleanup_old_backups()["total_deleted_count"] == 0
    assert device.manager.restore_from_backup(name)["success"]


def test_a_cleanup_before_the_first_backup_has_nothing_to_do(device: Device) -> None:
    result = device.manager.cleanup_old_backups()
    assert result["success"] is True
    assert result["total_deleted_count"] == 0
    assert not device.manager.backup_dir.exists()


def test_a_clock_that_went_back_cleans_nothing_up(device: Device) -> None:
    device.manager.create_full_backup()
    device.clock.set(0)
    result = device.manager.cleanup_old_backups()
    assert result["success"] is False
    assert len(device.manager.list_backups()) == 1


# --- looking ---------------------------------------------------------------------------------


def test_backups_are_listed_the_newest_first(device: Device) -> None:
    assert device.manager.list_backups() == []
    names = []
    for _number in range(3):
        names.append(device.manager.create_full_backup()["backup_name"])
        device.clock.advance(DAY)
    listed = _plain(device.manager.list_backups())
    assert [entry["backup_name"] for entry in listed] == names[::-1]
    for entry in listed:
        assert {"created_at", "components", "total_size_bytes", "backup_type", "backup_size_bytes",
                "backup_path"} <= entry.keys()
        assert entry["backup_type"] == "full"


def test_the_status_has_the_keys_of_the_guide(device: Device) -> None:
    empty = _plain(device.manager.get_backup_status())
    assert (empty["total_backups"], empty["latest_backup"], empty["last_backup_age_hours"]) == (0, None, None)
    device.manager.create_full_backup()
    device.clock.advance(3 * 3600)
    status = _plain(device.manager.get_backup_status())
    assert status["total_backups"] == 1
    assert status["total_size_bytes"] == status["latest_backup"]["backup_size_bytes"] > 0
    assert status["last_backup_age_hours"] == pytest.approx(3, abs=0.01)
    assert set(status["backup_settings"]) == set(COMPONENTS)


def test_a_repository_that_cannot_be_read_is_said(device: Device) -> None:
    device.manager.create_full_backup()
    (device.manager.repository_path / "config").chmod(0o600)
    (device.manager.repository_path / "config").write_bytes(b"nonsense")
    assert device.manager.list_backups() == []
    assert device.manager.get_backup_status().keys() == {"error", "timestamp"}
    assert device.manager.create_full_backup()["success"] is False


# --- the guide's own backups -----------------------------------------------------------------


def _make_folder_backup(device: Device, name: str = "full_backup_20250101_020000") -> Path:
    """Do what the guide's code did: copy everything, and write a record."""
    folder = device.manager.backup_dir / name
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "one.txt").write_text("images of old\n")
    shutil.copy2(device.database, folder / "database")
    info = {"backup_name": name, "created_at": "2025-01-01T02:00:00.123456", "backup_type": "full",
            "total_size_bytes": 14, "components": {"images": {"success": True, "source_path": "/mnt/usb/images"}}}
    (folder / "backup_info.json").write_text(json.dumps(info))
    return folder


def test_folder_backups_are_listed_and_restored(device: Device) -> None:
    with closing(sqlite3.connect(device.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old = device.readings()
    folder = _make_folder_backup(device)
    [listed] = _plain(device.manager.list_backups())
    assert listed["backup_name"] == folder.name
    assert listed["backup_path"] == str(folder)
    assert listed["backup_size_bytes"] > 4096
    with closing(sqlite3.connect(device.database)) as connection, connection:
        connection.execute("DELETE FROM reading")
    result = device.manager.restore_from_backup(folder.name)
    assert result["success"] is True, result
    assert set(result["restored_components"]) == {"database", "images"}
    assert device.readings() == old
    assert (device.folder / "images" / "one.txt").read_text() == "images of old\n"
    assert (folder / "images" / "one.txt").read_text() == "images of old\n"


def test_folder_backups_are_imported_once_with_their_time(device: Device) -> None:
    folder = _make_folder_backup(device)
    result = _plain(device.manager.import_folder_backups())
    assert result["success"] is True
    assert list(result["imported_backups"]) == [folder.name]
    assert _plain(device.manager.import_folder_backups())["imported_backups"] == {}
    device.manager.create_full_backup()
    listed = device.manager.list_backups()
    assert [entry["backup_name"] for entry in listed] == ["full_backup_20261123_090000", folder.name]
    assert listed[1]["created_at"].startswith("2025-01-01T02:00:00.123456+09:00")
    shutil.rmtree(folder)
    assert device.manager.restore_from_backup(folder.name, ["images"])["success"]
    assert (device.folder / "images" / "one.txt").read_text() == "images of old\n"


def test_folder_backups_are_never_removed(device: Device) -> None:
    folder = _make_folder_backup(device)
    device.manager.create_full_backup()
    device.clock.advance(1000 * DAY)
    assert device.manager.cleanup_old_backups()["success"]
    assert (folder / "backup_info.json").exists()


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("record", [
    "", "[]", "{", '{"created_at": 7, "components": [1]}', '{"created_at": "tomorrow"}'])
def test_a_damaged_record_hides_nothing(device: Device, record: str) -> None:
    folder = _make_folder_backup(device)
    (folder / "backup_info.json").write_text(record)
    [listed] = _plain(device.manager.list_backups())
    assert listed["backup_name"] == folder.name
    assert device.manager.restore_from_backup(folder.name, ["images"])["success"]


def test_links_in_folder_backups_are_not_followed(device: Device) -> None:
    folder = _make_folder_backup(device)
    os.symlink("/etc", folder / "logs")
    result = device.manager.import_folder_backups()
    assert set(result["imported_backups"][folder.name]["components"]) == {"database", "images"}


# --- the scheduler ---------------------------------------------------------------------------


def _scheduler(device: Device) -> tuple[BackupScheduler, ScriptedWaiter]:
    """Return a scheduler that saves the images only: what is saved does not matter here."""
    for name in ("database", "logs", "settings"):
        device.manager.backup_settings[name]["enabled"] = False
    waiter = ScriptedWaiter(device.clock)
    return BackupScheduler(device.manager, zone=device.clock.now().tzinfo, waiter=waiter), waiter


def _live(scheduler: BackupScheduler, waiter: ScriptedWaiter, seconds: float) -> None:
    """Let the scheduler work for so long."""
    over = threading.Event()

    def end() -> None:
        assert scheduler._scheduler is not None
        scheduler._scheduler.stop()
        over.set()

    waiter.at(seconds, end)
    scheduler.start_scheduler()
    assert over.wait(120)
    scheduler.stop_scheduler()


def test_it_backs_up_and_cleans_up_by_the_clock(device: Device) -> None:
    """The first backup is due at once where its time has passed today, as in the guide; then daily."""
    scheduler, waiter = _scheduler(device)
    assert (scheduler.running, scheduler.last_full_backup, scheduler.last_cleanup) == (False, None, None)
    _live(scheduler, waiter, 3 * DAY)
    names = [entry["backup_name"] for entry in device.manager.list_backups()]
    assert [name[:20] for name in names] == ["full_backup_20261126", "full_backup_20261125", "full_backup_20261124",
                                             "full_backup_20261123"]
    assert [name[21:25] for name in names] == ["0200", "0200", "0200", "0900"]
    status = _plain(scheduler.get_scheduler_status())
    assert {"running", "schedule_settings", "last_full_backup", "last_cleanup", "timestamp"} <= status.keys()
    assert status["last_full_backup"].startswith("2026-11-26T02:00")
    assert status["last_cleanup"].startswith("2026-11-26T03:00")


def test_a_restart_neither_repeats_nor_loses(device: Device) -> None:
    scheduler, waiter = _scheduler(device)
    _live(scheduler, waiter, 3600)
    again, waiter = _scheduler(device)
    assert again.last_full_backup is not None
    _live(again, waiter, 3600)
    assert len(device.manager.list_backups()) == 1
    device.clock.advance(10 * DAY)
    _live(*_scheduler(device), 3600)
    assert len(device.manager.list_backups()) == 2


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize(("hours", "time", "expected"), [
    (12, "02:00", ["0900", "1400", "0200"]), (6, "03:30", ["0900", "0930", "1530", "2130", "0330"]),
    (48, "08:00", ["0900"]), (5, "10:00", ["1000", "1500", "2000", "0100", "0600"])])
def test_other_intervals(device: Device, hours: float, time: str, expected: list[str]) -> None:
    scheduler, waiter = _scheduler(device)
    assert scheduler.update_schedule_settings({
        "full_backup_interval_hours": hours, "full_backup_time": time, "cleanup_enabled": False})
    _live(scheduler, waiter, DAY - 60)
    assert [entry["backup_name"][21:25] for entry in device.manager.list_backups()][::-1] == expected
    assert scheduler.last_cleanup is None


@pytest.mark.parametrize("settings", [
    {"full_backup_time": "25:00"}, {"full_backup_time": 2}, {"cleanup_interval_hours": 0},
    {"full_backup_enabled": "yes"}, {"full_backup_interval_hours": True}, {"colour": "red"},
    {"full_backup_time": "04:00", "cleanup_time": "noon"}, "02:00"])
def test_bad_settings_are_refused_whole(device: Device, settings: Any) -> None:
    scheduler, _waiter = _scheduler(device)
    before = scheduler.get_schedule_settings()
    assert scheduler.update_schedule_settings(settings) is False
    assert scheduler.get_schedule_settings() == before


def test_what_was_returned_is_a_copy(device: Device) -> None:
    scheduler, _waiter = _scheduler(device)
    scheduler.get_schedule_settings()["full_backup_time"] = "99:99"
    assert scheduler.schedule_settings["full_backup_time"] == "02:00"


def test_it_stops_at_once_and_may_be_told_twice(device: Device) -> None:
    """The guide's scheduler slept on for up to a minute."""
    scheduler = BackupScheduler(device.manager, zone=device.clock.now().tzinfo)  # waits for real
    scheduler.update_schedule_settings({"full_backup_enabled": False, "cleanup_enabled": False})
    scheduler.stop_scheduler()
    scheduler.start_scheduler()
    scheduler.start_scheduler()
    assert scheduler.running
    scheduler.stop_scheduler()
    scheduler.stop_scheduler()
    assert scheduler.running is False
    assert scheduler.scheduler_thread is not None
    assert not scheduler.scheduler_thread.is_alive()


def test_a_stop_ends_a_backup_in_good_order(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    """What runs is asked to end; the next start does it again."""
    scheduler, _waiter = _scheduler(device)
    real = device.manager.create_full_backup

    def stopped_meanwhile(backup_name: str | None = None, cancelled: Any = None) -> dict[str, Any]:
        assert scheduler._scheduler is not None
        scheduler._scheduler.stop()
        return real(backup_name, cancelled)

    device.manager.create_full_backup = stopped_meanwhile  # type: ignore[method-assign]
    scheduler.start_scheduler()
    assert scheduler.scheduler_thread is not None
    scheduler.scheduler_thread.join(60)
    scheduler.stop_scheduler()
    assert scheduler.last_full_backup is None
    assert "中断しました" in caplog.text
    assert "失敗" not in caplog.text
    device.manager.create_full_backup = real  # type: ignore[method-assign]
    _live(*_scheduler(device), 600)
    assert [entry["state"] for entry in device.manager.list_backups() if entry["state"] == "complete"] == ["complete"]


def test_by_hand(device: Device) -> None:
    scheduler, _waiter = _scheduler(device)
    result = _plain(scheduler.force_full_backup())
    assert result["success"]
    assert scheduler.last_full_backup == device.clock.now()
    assert _plain(scheduler.force_cleanup())["success"]
    assert scheduler.last_cleanup == device.clock.now()
    shutil.rmtree(device.folder / "images")
    device.clock.advance(60)
    assert scheduler.force_full_backup()["success"] is False
    assert scheduler.last_full_backup != device.clock.now()
