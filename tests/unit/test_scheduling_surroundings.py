"""What stands around the scheduler: metrics, systemd, one daemon for each state directory, zones."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kuramori.errors import ClockImplausibleError, DaemonRunningError, MetricsAddressError, MissingExtraError
from kuramori.history.history import History
from kuramori.history.records import ComponentEntry, OperationKind, OperationState
from kuramori.scheduling.forecast import forecast
from kuramori.scheduling.local_zone import local_zone
from kuramori.scheduling.metrics import MetricsCollector, MetricsServer, split_address
from kuramori.scheduling.plausibility import MADE, ClockJudge, Verdict
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.service_manager import ServiceManager
from kuramori.scheduling.state_directory import daemon_runs, sole_daemon
from kuramori.scheduling.waiting import EventWaiter, SignalWaiter
from kuramori.scheduling.work import ScheduledWork, WorkKind
from kuramori.settings.model import DailyAt, Every
from kuramori.testing.clock import FakeClock
from kuramori.testing.scheduling import LightRunner, ScriptedWaiter, SilentListener

_START = datetime(2026, 11, 23, tzinfo=UTC)
_DAILY = ScheduledWork(WorkKind.BACKUP, "planter", DailyAt(2, 0))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def history(memory_folder: Path, clock: FakeClock) -> Iterator[History]:
    opened = History(memory_folder / "history.sqlite", clock)
    yield opened
    opened.close()


# --- metrics ---------------------------------------------------------------------------------


def _scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_metrics_tell_age_size_duration_and_failures(history: History, clock: FakeClock) -> None:
    for state, size in ((OperationState.COMPLETE, 4096), (OperationState.FAILED, 0)):
        history.begin(OperationKind.BACKUP, "planter", "run").finish(state, components=[
            ComponentEntry("database", "usb", state, size, 17, 3, 2.5)])
    clock.advance(90)
    scheduler = Scheduler([_DAILY], LightRunner(clock), history, clock, ScriptedWaiter(clock), SilentListener(),
                          SchedulerOptions())
    scheduler.step()
    with closing(MetricsServer("127.0.0.1:0", MetricsCollector(history, clock, scheduler.upcoming))) as server:
        place = '{component="database",job="planter",repository="usb"}'
        found = _scrape(server.port)
        expected = {"last_success_timestamp_seconds": _START.timestamp(), "age_seconds": 90, "size_bytes": 4096,
                    "files": 3, "duration_seconds": 2.5, "successes_total": 1, "failures_total": 1}
        for name, value in expected.items():
            assert found[f"kuramori_backup_{name}{place}"] == value
        work = '{job="planter",repository="",work="backup"}'
        assert found[f"kuramori_next_run_timestamp_seconds{work}"] == (_START + timedelta(hours=2)).timestamp()
        assert found[f"kuramori_failures_in_a_row{work}"] == 0
        assert all(name.startswith("kuramori") for name in found)  # nothing of Python's own
        clock.advance(10)
        assert _scrape(server.port)[f"kuramori_backup_age_seconds{place}"] == 100
        port = server.port
        with pytest.raises(MetricsAddressError):
            MetricsServer(f"127.0.0.1:{port}", MetricsCollector(history, clock, list))
    with pytest.raises(urllib.error.URLError):
        _scrape(port)


def test_metrics_tell_the_checks_of_several_repositories_apart(history: History, clock: FakeClock) -> None:
    works = [ScheduledWork(WorkKind.CHECK, "", DailyAt(5, 0), name) for name in ("usb", "nas")]
    scheduler = Scheduler(works, LightRunner(clock), history, clock, ScriptedWaiter(clock), SilentListener(),
                          SchedulerOptions())
    scheduler.step()
    clock.advance(5 * 3600)
    scheduler.step()
    with closing(MetricsServer(":0", MetricsCollector(history, clock, scheduler.upcoming))) as server:
        found = _scrape(server.port)
    place = '{job="",repository="%s",work="check"}'
    assert found["kuramori_next_run_timestamp_seconds" + place % "usb"] == (_START + timedelta(hours=29)).timestamp()
    assert found["kuramori_next_run_timestamp_seconds" + place % "nas"] == (_START + timedelta(hours=5)).timestamp()
    done = [name for name in found if name.startswith("kuramori_last_success")]
    assert done == ["kuramori_last_success_timestamp_seconds" + place % "usb"]


def test_metrics_tell_how_far_copies_are_behind(history: History, clock: FakeClock) -> None:
    for _number in range(2):
        history.note_missed_run("planter", "nas", clock.now())
        clock.advance(60)
    with closing(MetricsServer(":0", MetricsCollector(history, clock, list))) as server:
        place = '{job="planter",repository="nas"}'
        found = _scrape(server.port)
        assert (found[f"kuramori_copy_lacking_runs{place}"], found[f"kuramori_copy_behind_seconds{place}"]) == (2, 120)
        history.note_caught_up("planter", "nas")
        found = _scrape(server.port)
        assert (found[f"kuramori_copy_lacking_runs{place}"], found[f"kuramori_copy_behind_seconds{place}"]) == (0, 0)


def test_what_never_succeeded_has_failures_and_no_age(history: History, clock: FakeClock) -> None:
    history.begin(OperationKind.BACKUP, "planter").finish(OperationState.FAILED, components=[
        ComponentEntry("database", "usb", OperationState.FAILED)])
    with closing(MetricsServer(":0", MetricsCollector(history, clock, list))) as server:
        found = _scrape(server.port)
    assert [name.partition("{")[0] for name in found if "database" in name] == [
        "kuramori_backup_successes_total", "kuramori_backup_failures_total"]


@pytest.mark.parametrize(("address", "expected"), [
    ("127.0.0.1:9477", ("127.0.0.1", 9477)), (":9477", ("127.0.0.1", 9477)), ("[::1]:80", ("::1", 80)),
    ("0.0.0.0:1", ("0.0.0.0", 1))])
def test_addresses_of_metrics(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", "9477", "host:", "host:x", "host:70000", "host:-1", "host:²"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(MetricsAddressError):
        split_address(address)


def test_without_the_package_metrics_say_how_to_get_it(history: History, clock: FakeClock,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match="metrics"):
        MetricsServer(":0", MetricsCollector(history, clock, list))


# --- systemd ---------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(memory_folder: Path, clock: FakeClock, abstract: bool) -> None:
    clock.advance(1.5)
    address = f"@kuramori-test-{memory_folder.name}" if abstract else str(memory_folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        manager.settimeout(10)
        service = ServiceManager(address, clock, watchdog_seconds=30)
        service.ready()
        service.status("バックアップ\nin two lines")
        service.reloading()
        service.keep_alive()
        service.stopping()
        heard = [manager.recv(1000).decode() for _number in range(5)]
    assert heard == ["READY=1", "STATUS=バックアップ in two lines", "RELOADING=1\nMONOTONIC_USEC=1500000", "WATCHDOG=1",
                     "STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nonexistent/socket", "@nobody-listens", "x" * 5000, "nul\0byte"])
def test_without_systemd_nothing_happens(clock: FakeClock, address: str) -> None:
    service = ServiceManager(address, clock)
    service.ready()
    service.keep_alive()
    service.stopping()


# --- one daemon ------------------------------------------------------------------------------


def test_only_one_daemon_works_with_a_state_directory(memory_folder: Path) -> None:
    folder = memory_folder / "deep" / "state"
    assert not daemon_runs(folder)
    assert not folder.exists()
    with sole_daemon(folder):
        assert daemon_runs(folder)
        with pytest.raises(DaemonRunningError), sole_daemon(folder):
            pass
        with sole_daemon(memory_folder / "other"):
            pass
    assert not daemon_runs(folder)
    with sole_daemon(folder):
        assert folder.stat().st_mode & 0o777 == 0o700


# --- clocks and waiting ----------------------------------------------------------------------


def test_a_clock_that_went_back_is_doubted_for_an_hour(history: History, clock: FakeClock) -> None:
    judge = ClockJudge(clock, history)
    assert judge.judge() is Verdict.TRUSTED
    now = clock.now_nanoseconds()
    clock.set(now - 4 * 60 * 10**9)
    assert judge.judge() is Verdict.TRUSTED  # NTP does that
    clock.set(now - 365 * 86400 * 10**9)
    assert judge.judge() is Verdict.DOUBTED
    assert isinstance(judge.doubt, ClockImplausibleError)
    assert "2025-11-23" in str(judge.doubt)
    assert "2026-11-23" in str(judge.doubt)
    clock.advance(3599)
    assert judge.judge() is Verdict.DOUBTED
    clock.advance(1)
    assert judge.judge() is Verdict.BELIEVED
    assert judge.judge() is Verdict.TRUSTED
    assert judge.doubt is None


def test_what_the_history_knows_counts_after_a_restart(history: History, clock: FakeClock) -> None:
    history.begin(OperationKind.BACKUP, "planter")
    clock.set(int((MADE - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10**9 + 1)
    assert ClockJudge(clock, history).judge() is Verdict.DOUBTED


def test_one_that_looks_once_in_a_while_remembers_its_doubts(history: History, clock: FakeClock) -> None:
    history.begin(OperationKind.BACKUP, "planter")
    clock.set(clock.now_nanoseconds() - 365 * 86400 * 10**9)
    for minutes, verdict in ((0, Verdict.DOUBTED), (30, Verdict.DOUBTED), (30, Verdict.BELIEVED), (0, Verdict.TRUSTED)):
        clock.advance(minutes * 60)
        assert ClockJudge(clock, history, remembers=True).judge() is verdict


def test_run_due_does_each_thing_once_and_refuses_a_wrong_clock(history: History, clock: FakeClock) -> None:
    works = (_DAILY, ScheduledWork(WorkKind.BACKUP, "often", Every(0.01)))

    def once() -> tuple[bool, list[str]]:
        runner = LightRunner(clock, seconds=60)
        scheduler = Scheduler(works, runner, history, clock, ScriptedWaiter(clock), SilentListener(),
                              SchedulerOptions(one_turn=True))
        return scheduler.run_due(), [run.key for run in runner.runs]

    assert once() == (True, ["backup planter", "backup often"])
    clock.advance(1)
    assert once() == (True, ["backup often"])
    clock.advance(86400)
    assert once() == (True, ["backup often", "backup planter"])
    clock.set(0)
    with pytest.raises(ClockImplausibleError):
        once()


def test_the_forecast_is_what_a_scheduler_would_do(history: History, clock: FakeClock) -> None:
    works = (_DAILY, ScheduledWork(WorkKind.CLEANUP, "planter", DailyAt(1, 0)))
    before = forecast(works, history, clock.now(), UTC)
    assert history.due_state(_DAILY.key) is None  # nothing was written
    scheduler = Scheduler(works, LightRunner(clock), history, clock, ScriptedWaiter(clock), SilentListener(),
                          SchedulerOptions())
    scheduler.step()
    assert [(entry.work, entry.time) for entry in scheduler.upcoming()] == [
        (entry.work, entry.time) for entry in before] == [
        (works[1], _START + timedelta(hours=1)), (works[0], _START + timedelta(hours=2))]
    assert [entry.time for entry in forecast(works, history, clock.now(), UTC)] == [entry.time for entry in before]


def test_the_forecast_counts_what_was_done_by_hand(history: History, clock: FakeClock) -> None:
    [entry] = forecast([_DAILY], history, clock.now(), UTC)
    assert entry.state.last_good is None
    history.begin(OperationKind.BACKUP, "planter").finish(OperationState.COMPLETE)
    clock.advance(60)
    history.begin(OperationKind.BACKUP, "planter").finish(OperationState.FAILED)
    [entry] = forecast([_DAILY], history, clock.now(), UTC)
    assert entry.state.last_good == _START
    scheduler = Scheduler([_DAILY], LightRunner(clock), history, clock, ScriptedWaiter(clock), SilentListener(),
                          SchedulerOptions())
    scheduler.step()
    clock.advance(86_400)
    scheduler.step()
    [entry] = forecast([_DAILY], history, clock.now(), UTC)
    assert entry.state.last_good == clock.now()



@pytest.mark.parametrize("waiter", [EventWaiter(), SignalWaiter()])
def test_a_wait_ends_when_woken_also_before_it_began(waiter: EventWaiter | SignalWaiter) -> None:
    waiter.wait(0)
    for _number in range(3):
        waiter.wake()
    waiter.wait(600)  # would outlive the test
    waiter.wait(0.001)


@pytest.mark.parametrize(("name", "offset"), [
    ("Asia/Tokyo", 9), (":Asia/Tokyo", 9), ("/usr/share/zoneinfo/Asia/Tokyo", 9), ("UTC", 0)])
def test_the_local_zone_is_what_tz_says(clock: FakeClock, name: str, offset: int) -> None:
    assert _START.astimezone(local_zone(clock, name)).utcoffset() == timedelta(hours=offset)


def test_a_zone_that_nobody_knows_is_the_offset_of_now() -> None:
    clock = FakeClock(utc_offset_minutes=540)
    assert local_zone(clock, "JST-9").utcoffset(_START.replace(tzinfo=None)) == timedelta(hours=9)
    assert isinstance(local_zone(FakeClock()), ZoneInfo) or not Path("/etc/localtime").exists()
