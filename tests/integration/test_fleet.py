"""``kuramori fleet``: how devices are found, opened and judged by what lies in their repositories."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.clock import SystemClock
from kuramori.errors import NoFleetError, StoragePermissionError, StorageRetryableError
from kuramori.manager.fleet import survey_fleet
from kuramori.manager.fleet_model import DeviceState, DeviceStatus, FleetOptions, FleetStatus
from kuramori.manager.model import Health, RunState
from kuramori.repository.snapshots import load_snapshots, save_snapshot
from kuramori.secret import Secret
from kuramori.settings.model import DailyAt, Every
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.backend import Backend, FileType
from kuramori.storage.location import open_backend
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import CallAt, Delay, FailAt, FailKind, Fault, FaultyBackend, Operation
from samples.fleets import Fleet
from samples.repositories import PASSWORD

_HOUR, _DAY = 3600.0, 86_400.0


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """A fleet without devices."""
    return Fleet(tmp_path)


@pytest.fixture(scope="module")
def _two_devices(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("two"))
    fleet.add("pi-1")
    fleet.add("pi-2")
    return fleet


@pytest.fixture
def two_devices(_two_devices: Fleet, tmp_path: Path) -> Fleet:
    """A copy of a fleet of two devices, which were just saved."""
    copy = Fleet(tmp_path)
    shutil.copytree(_two_devices.place, copy.place)
    copy.clock = _two_devices.clock
    return copy


def survey(fleet: Fleet, *, places: Sequence[Path] = (), passwords: Sequence[Secret] = (PASSWORD,),
           **options: Any) -> FleetStatus:
    """Look at the fleet."""
    return survey_fleet(FleetOptions(
        [(str(place), NO_ACCESS) for place in places or [fleet.place]], lambda _: passwords, fleet.clock, **options))


def only(status: FleetStatus) -> DeviceStatus:
    """Return the only device."""
    [device] = status.devices
    return device


def interval_of(schedule: str) -> float | None:
    """Return what the schedules of these tests mean."""
    return {"every 1h": _HOUR, "02:00": _DAY}.get(schedule)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- finding ---------------------------------------------------------------------------------


def test_devices_are_found_at_two_depths_and_nothing_is_written(fleet: Fleet) -> None:
    for name in ("pi-1", "pi-2", "tokyo/pi-3"):
        fleet.add(name)
    (fleet.place / "notes").mkdir()
    (fleet.place / "readme.txt").write_text("not a device")
    (fleet.place / ".hidden").mkdir()
    before = contents(fleet.place)
    status = survey(fleet)
    assert [device.name for device in status.devices] == ["pi-1", "pi-2", "tokyo/pi-3"]
    assert (status.health, status.well_count) == (Health.WELL, 3)
    assert contents(fleet.place) == before


def test_what_a_device_says(fleet: Fleet) -> None:
    device = fleet.add("pi-1")
    fleet.clock.advance(_HOUR)
    second = device.run()
    fleet.clock.advance(2 * _HOUR)
    found = only(survey(fleet))
    [part] = found.parts
    assert (part.hostname, part.job, part.runs, part.last_run) == ("pi-1", "planter", 2, second.run)
    assert part.last_run_state is RunState.COMPLETE
    assert part.age_seconds == pytest.approx(2 * _HOUR, abs=60)
    assert part.size_bytes == second.size_bytes
    assert found.snapshots == 6
    assert found.location == str(fleet.place / "pi-1")
    packs = sum(path.stat().st_size for path in (fleet.place / "pi-1" / "data").rglob("*") if path.is_file())
    assert found.stored_bytes == packs


def test_a_location_that_is_a_repository_is_one_device(fleet: Fleet) -> None:
    fleet.add("pi-1")
    assert only(survey(fleet, places=[fleet.place / "pi-1"])).name == "pi-1"


def test_several_locations(fleet: Fleet) -> None:
    fleet.add("osaka/pi-1")
    fleet.add("tokyo/pi-1")
    found = survey(fleet, places=[fleet.place / "osaka", fleet.place / "tokyo"])
    assert [device.name for device in found.devices] == ["osaka/pi-1", "tokyo/pi-1"]


def test_of_several_locations_one_that_is_gone_does_not_end_the_others(fleet: Fleet) -> None:
    fleet.add("osaka/pi-1")
    found = survey(fleet, places=[fleet.place / "gone", fleet.place / "osaka"])
    assert [(device.name, device.state) for device in found.devices] == [
        ("gone", DeviceState.UNUSABLE), ("osaka/pi-1", DeviceState.WELL)]


@pytest.mark.parametrize("there", [False, True])
def test_no_fleet(fleet: Fleet, there: bool) -> None:
    if there:
        (fleet.place / "a" / "b").mkdir(parents=True)
    with pytest.raises(NoFleetError) as caught:
        survey(fleet)
    assert caught.value.exit_code == 10
    assert str(fleet.place) in caught.value.text()
    assert "{hostname}" in caught.value.advice_text()


def test_links_in_a_circle_end(fleet: Fleet) -> None:
    fleet.add("pi-1")
    (fleet.place / "again").symlink_to(fleet.place)
    (fleet.place / "self").symlink_to(fleet.place / "self")
    assert {device.name for device in survey(fleet).devices} == {"pi-1", "again/pi-1"}


# --- judging ---------------------------------------------------------------------------------


def test_a_device_that_fell_silent_is_overdue_and_comes_first(fleet: Fleet) -> None:
    fleet.add("pi-2")
    fleet.clock.advance(3 * _DAY)
    fleet.add("pi-1")
    status = survey(fleet)
    assert [(device.name, device.state) for device in status.devices] == [
        ("pi-2", DeviceState.OVERDUE), ("pi-1", DeviceState.WELL)]
    assert (status.health, status.well_count) == (Health.ALARM, 1)
    assert status.devices[0].problems[0].text() == "pi-2 has not been backed up for 3 d 0 h"


def test_how_old_a_backup_may_be(fleet: Fleet) -> None:
    for name, schedule in (("hourly", Every(_HOUR, "1h")), ("daily", DailyAt(2, 0)), ("unknown", Every(_DAY, "x")),
                           ("none", None)):
        fleet.add(name, schedule=schedule)

    def overdue(**options: Any) -> set[str]:
        status = survey(fleet, interval_of=interval_of, **options)
        assert {device.state for device in status.devices} <= {DeviceState.WELL, DeviceState.OVERDUE}
        return {device.name for device in status.devices if device.state is DeviceState.OVERDUE}

    fleet.clock.advance(1.5 * _HOUR)
    assert overdue() == set()
    assert overdue(stale_seconds=_HOUR) == {"hourly", "daily", "unknown", "none"}
    fleet.clock.advance(_HOUR)
    assert overdue() == {"hourly"}
    assert overdue(stale_seconds=3 * _HOUR) == set()
    fleet.clock.advance(45 * _HOUR)
    assert overdue() == {"hourly"}
    fleet.clock.advance(_HOUR)
    assert overdue() == {"hourly", "daily", "unknown", "none"}


def test_a_repository_without_a_run(fleet: Fleet) -> None:
    fleet.add("pi-1", saved=False)
    found = only(survey(fleet))
    assert (found.state, found.problems[0].text()) == (DeviceState.NEVER, "pi-1 has never been backed up")


def test_a_run_that_is_not_complete(fleet: Fleet) -> None:
    device = fleet.add("pi-1")
    fleet.clock.advance(_HOUR)
    device.change_component("logs", sources=(fleet.folder / "nowhere",))
    run = device.run().run
    found = only(survey(fleet))
    assert (found.state, found.health) == (DeviceState.PARTIAL, Health.ATTENTION)
    assert f"the last run of pi-1 ({run}, " in found.problems[0].text()
    assert "logs: " in found.problems[0].text()
    assert found.parts[0].last_run_state is RunState.PARTIAL


def test_a_component_that_fails_for_long_is_overdue_although_runs_go_on(fleet: Fleet) -> None:
    device = fleet.add("pi-1")
    device.change_component("logs", sources=(fleet.folder / "nowhere",))
    for _ in range(3):
        fleet.clock.advance(_DAY)
        device.run()
    text = only(survey(fleet)).problems[0].text()
    assert text.startswith("pi-1 (logs) has not been backed up for 3 d 0 h; the last run says: logs: ")


def test_a_component_that_never_came_through(fleet: Fleet) -> None:
    device = fleet.add("pi-1", saved=False)
    device.change_component("logs", sources=(fleet.folder / "nowhere",))
    device.run()
    found = only(survey(fleet))
    assert (found.state, found.age_seconds) == (DeviceState.NEVER, None)
    assert found.problems[0].text().startswith("pi-1 (logs) has never been backed up; the last run says: ")


def test_a_run_of_some_components_does_not_hide_that_the_others_are_old(fleet: Fleet) -> None:
    device = fleet.add("pi-1")
    fleet.clock.advance(3 * _DAY)
    device.run(components=("images",))
    assert only(survey(fleet)).problems[0].text() == "pi-1 (logs) has not been backed up for 3 d 0 h"


def test_a_component_that_was_taken_out_of_the_settings_is_not_missed(fleet: Fleet) -> None:
    device = fleet.add("pi-1")
    fleet.clock.advance(3 * _DAY)
    device.change_component("logs", enabled=False)
    device.run()
    assert only(survey(fleet)).state is DeviceState.WELL


def test_a_run_that_was_broken_off_counts_for_nothing(fleet: Fleet) -> None:
    device = fleet.add("pi-1")
    fleet.clock.advance(_HOUR)
    (fleet.place / "pi-1" / "snapshots" / device.run().manifest_id).unlink()
    fleet.clock.advance(46 * _HOUR)
    assert only(survey(fleet)).state is DeviceState.WELL
    fleet.clock.advance(2 * _HOUR)
    assert only(survey(fleet)).state is DeviceState.OVERDUE


def test_two_machines_in_one_repository_are_judged_apart(fleet: Fleet) -> None:
    first = fleet.add("shared", hostname="pi-1")
    fleet.clock.advance(3 * _DAY)
    second = fleet.add("shared2", hostname="pi-2", saved=False)
    second.location = first.location
    second.run()
    found = next(device for device in survey(fleet).devices if device.name == "shared")
    assert [(part.hostname, part.problem is None) for part in found.parts] == [("pi-1", False), ("pi-2", True)]
    assert found.problems[0].text() == "shared (pi-1) has not been backed up for 3 d 0 h"


def test_a_clock_that_is_ahead(fleet: Fleet) -> None:
    device = fleet.add("pi-1", saved=False)
    device.run(time=fleet.clock.now() + timedelta(days=400))
    found = only(survey(fleet))
    assert (found.state, found.health, found.age_seconds) == (DeviceState.AHEAD, Health.ATTENTION, 0)


def test_snapshots_without_jobs_are_judged_by_their_age(fleet: Fleet) -> None:
    device = fleet.add("pi-1", saved=False)
    with device.open_repository() as repository:
        back_up(repository, BackupOptions(paths=(bytes(device.folder / "logs"),), hostname="pi-1",
                                          time=fleet.clock.now()))
    found = only(survey(fleet))
    [part] = found.parts
    assert (found.state, part.job, part.last_run, part.runs) == (DeviceState.WELL, "", part.last_run, 1)
    fleet.clock.advance(3 * _DAY)
    assert only(survey(fleet)).state is DeviceState.OVERDUE


def test_what_is_saved_by_hand_besides_the_jobs_does_not_count(fleet: Fleet) -> None:
    device = fleet.add("pi-1")
    fleet.clock.advance(3 * _DAY)
    with device.open_repository() as repository:
        back_up(repository, BackupOptions(paths=(bytes(device.folder / "logs"),), hostname="pi-1",
                                          time=fleet.clock.now()))
    assert only(survey(fleet)).state is DeviceState.OVERDUE


# --- repositories that cannot be used --------------------------------------------------------


def test_each_password_is_tried(fleet: Fleet) -> None:
    fleet.add("pi-1", password=Secret("one"))
    fleet.add("pi-2", password=Secret("two"))
    fleet.add("pi-3", password=Secret("three"), saved=False)
    status = survey(fleet, passwords=[Secret("two"), Secret("one")])
    assert [(device.name, device.state) for device in status.devices] == [
        ("pi-3", DeviceState.LOCKED_OUT), ("pi-1", DeviceState.WELL), ("pi-2", DeviceState.WELL)]
    assert status.devices[0].problems[0].text() == "no password that was given opens the repository of pi-3"


def test_a_device_without_a_password(fleet: Fleet) -> None:
    fleet.add("pi-1")
    assert only(survey(fleet, passwords=[])).problems[0].text() == "there is no password for the repository of pi-1"


def damage_config(repository: Path) -> None:
    replace_file(repository / "config", b"\0" * 200)


def empty_config(repository: Path) -> None:
    replace_file(repository / "config", b"")


def lose_config(repository: Path) -> None:
    (repository / "config").unlink()


def lose_keys(repository: Path) -> None:
    for path in (repository / "keys").iterdir():
        path.unlink()


def damage_every(repository: Path, kind: str) -> None:
    for path in (repository / kind).rglob("*"):
        if path.is_file():
            replace_file(path, bytes(reversed(path.read_bytes())))


def replace_file(path: Path, content: bytes) -> None:
    """Write over a file that is read-only."""
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(("spoil", "state", "words"), [
    (damage_config, DeviceState.DAMAGED, "is damaged"), (empty_config, DeviceState.DAMAGED, "the config"),
    (lose_config, DeviceState.DAMAGED, "has lost its config"), (lose_keys, DeviceState.DAMAGED, "no key file"),
    (lambda path: damage_every(path, "index"), DeviceState.DAMAGED, "file index/"),
    (lambda path: damage_every(path, "snapshots"), DeviceState.DAMAGED, "file snapshots/"),
    (lambda path: damage_every(path, "data"), DeviceState.DAMAGED, "is damaged")])
def test_a_spoiled_repository_is_a_row_and_ends_nothing(two_devices: Fleet, spoil: Any, state: DeviceState,
                                                        words: str) -> None:
    fleet = two_devices
    spoil(fleet.place / "pi-1")
    first, second = survey(fleet).devices
    assert (first.name, first.state, first.health) == ("pi-1", state, Health.ALARM)
    assert words in first.problems[0].text()
    assert (second.name, second.state) == ("pi-2", DeviceState.WELL)


class Faulty:
    """Reaches stores of this machine, of which some have faults."""

    def __init__(self, **faults: Fault) -> None:
        """Give the stores in the folders of these names their faults, for as long as the test lasts."""
        self._faults = faults
        self.reached: list[str] = []
        self._faulty: list[FaultyBackend] = []

    def __call__(self, location: str, access: StoreAccess) -> Backend:
        """Return the store."""
        name = location.rpartition("/")[2].replace("-", "_")
        self.reached.append(name)
        fault = self._faults.get(name)
        store = open_backend(location, access)
        if fault is None:
            return store
        self._faulty.append(FaultyBackend(store, fault, clock=SystemClock()))
        return self._faulty[-1]

    @property
    def operations(self) -> list[Operation]:
        """Return all that the stores with faults were asked for."""
        return [operation for store in self._faulty for operation in store.operations]

    @property
    def failed(self) -> bool:
        """Whether an operation came to a :class:`FailAt`."""
        return any(len(store.operations) >= fault.number for store in self._faulty
                   for fault in self._faults.values() if isinstance(fault, FailAt))


def test_what_was_pruned_away_meanwhile_is_no_damage(fleet: Fleet) -> None:
    """At the first look the index files have other names when they are read, at the second they have not."""
    device = fleet.add("pi-1")
    done: list[str] = []

    def write_index_anew() -> None:
        with device.open_repository() as repository:
            for info in [] if done else list(repository.backend.list(FileType.INDEX)):
                document = repository.load_unpacked(FileType.INDEX, info.name)
                done.append(repository.save_unpacked(FileType.INDEX, document))
                repository.remove(FileType.INDEX, info.name)

    config_key_and_snapshots = 5
    reach = Faulty(pi_1=CallAt(config_key_and_snapshots + 1, write_index_anew, "load"))
    assert only(survey(fleet, reach=reach)).state is DeviceState.WELL
    assert done
    assert reach.reached == ["fleet", "pi_1", "pi_1"]


def test_a_store_that_is_away_and_one_that_refuses(two_devices: Fleet) -> None:
    fleet = two_devices
    shutil.copytree(fleet.place / "pi-1", fleet.place / "pi-3")
    about = {"location": "x", "operation": "load", "name": "config", "detail": "no answer"}
    status = survey(fleet, reach=Faulty(pi_1=FailKind("load", StorageRetryableError(**about)),
                                        pi_2=FailKind("load", StoragePermissionError(**about))))
    assert [(device.name, device.state, device.health) for device in status.devices] == [
        ("pi-2", DeviceState.UNUSABLE, Health.ALARM), ("pi-1", DeviceState.AWAY, Health.ATTENTION),
        ("pi-3", DeviceState.WELL, Health.WELL)]
    assert "check the rights" in status.devices[0].problems[0].advice_text()


def test_a_second_look_costs_a_handful_of_requests(two_devices: Fleet, tmp_path: Path) -> None:
    fleet = two_devices
    looks = []
    for _ in range(2):
        reach = Faulty(pi_1=Delay(0))
        survey(fleet, reach=reach, cache_directory=tmp_path / "cache")
        looks.append([f"{operation.kind} {operation.subject.partition('/')[0]}" for operation in reach.operations])
    assert len(looks[1]) < len(looks[0])
    assert len(looks[1]) <= 7, looks[1]
    assert looks[1].count("load data") == 1  # the newest record; only packs of trees are kept in the cache


def test_a_store_that_fails_at_any_moment_is_away_and_never_damaged(two_devices: Fleet) -> None:
    fleet = two_devices
    gone = StorageRetryableError(location="x", operation="load", name="x", detail="no answer")
    for number in range(1, 40):
        status = survey(fleet, reach=(reach := Faulty(pi_1=FailAt(number, gone, forever=True))))
        found = {device.name: device.state for device in status.devices}
        assert found["pi-2"] is DeviceState.WELL
        if not reach.failed:
            break
        assert found["pi-1"] is DeviceState.AWAY, number
    assert number > 10
    assert found["pi-1"] is DeviceState.WELL


@pytest.mark.parametrize("offset", [-720, 0, 720])
def test_a_clock_that_was_never_set(fleet: Fleet, offset: int) -> None:
    """Go writes the year 1 where there is no time; in zones west of Greenwich that is before all days."""
    device = fleet.add("pi-1", saved=False)
    with device.open_repository() as repository:
        back_up(repository, BackupOptions(paths=(bytes(device.folder / "logs"),), hostname="pi-1"))
        [stored] = load_snapshots(repository)
        stored.snapshot.time = "0001-01-01T00:00:00Z"
        save_snapshot(repository, stored.snapshot)
        repository.remove(FileType.SNAPSHOT, stored.id)
    fleet.clock = FakeClock(utc_offset_minutes=offset)
    assert only(survey(fleet)).state is DeviceState.OVERDUE


def test_whoever_presses_ctrl_c_does_not_wait_for_a_store_that_does_not_answer(fleet: Fleet) -> None:
    asked, released = threading.Event(), threading.Event()

    def reach(location: str, access: StoreAccess) -> Backend:
        asked.set()
        released.wait(60)
        return open_backend(location, access)

    def press() -> None:
        asked.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            survey(fleet, reach=reach)
        assert not released.is_set()
    finally:
        released.set()
        presser.join()


def test_a_bug_in_a_thread_is_no_endless_wait(fleet: Fleet) -> None:
    def reach(location: str, access: StoreAccess) -> Backend:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        survey(fleet, reach=reach)
