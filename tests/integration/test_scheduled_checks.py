"""Repositories that are read back by schedule: the scheduler, the manager, repositories and somebody who is told, all
real; only the clock is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from kuramori.errors import (
    AffectedPathError,
    DamagedError,
    DamagedPacksProblem,
    FailedCheckProblem,
    FaultyRepositoryError,
    Interrupted,
    MendedDamageProblem,
    NotInitialisedError,
    RepositoryLockedError,
    SmallBudgetNote,
    StorageRetryableError,
    UnknownRepositoryNameError,
    UnreadPacksProblem,
)
from kuramori.history.records import OperationKind, OperationState
from kuramori.ids import Id
from kuramori.ledger.pack_ledger import DAY_NANOSECONDS, PackLedger
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.rolling_check import RollingCheckResult
from kuramori.manager.checking import CheckState, judge_check
from kuramori.manager.model import Health
from kuramori.notify.teller import make_teller
from kuramori.repository.locks import hold_lock
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.scheduling.announcing import Announcer
from kuramori.scheduling.arrivals import Arrivals, wanted_arrivals
from kuramori.scheduling.manager_runner import ManagerRunner
from kuramori.scheduling.reporting import Listener, Voice
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.service_manager import ServiceManager
from kuramori.scheduling.work import JobRunner, ScheduledWork, WorkKind, WorkOutcome, scheduled_work
from kuramori.settings.model import DailyAt, NotifySettings, RepositorySettings
from kuramori.storage.local import LocalBackend
from kuramori.testing.scheduling import ScriptedWaiter
from samples.planter import make_planter
from samples.webhook_server import WebhookServer

_HOUR = 3600.0
_DAY = 24 * _HOUR


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    """Whoever is told."""
    started = WebhookServer()
    yield started
    started.close()


class _Watched:
    """A planter with some runs in one repository, which is read back at 05:00 by a daemon's scheduler."""

    def __init__(self, folder: Path, server: WebhookServer, runs: int = 3, **place: Any) -> None:
        self.server = server
        self.planter = make_planter(folder, repositories=("usb",))
        self.place(**{"check": DailyAt(5, 0), **place})
        for _number in range(runs):
            self.grow()
        midnight = self.planter.clock.now().replace(hour=0, minute=0) + timedelta(days=1)
        self.planter.clock.advance((midnight - self.planter.clock.now()).total_seconds())
        self.lines: list[str] = []

    def place(self, **changes: Any) -> None:
        """Change the repository's settings."""
        known = self.planter.settings.repositories["usb"]
        self.planter.places["usb"] = replace(known, **changes)

    def grow(self) -> None:
        """Back up something new."""
        images = self.planter.folder / "images"
        (images / f"{len(list(images.iterdir()))}.png").write_bytes(os.urandom(60_000))
        self.planter.back_up()

    def live(self, days: float, *events: tuple[float, Callable[[], object]],
             wrapped: Callable[[ManagerRunner], JobRunner] = lambda runner: runner) -> None:
        """Let a scheduler, as the daemon has it, run for some days.

        Args:
            events: after how many days something happens.
            wrapped: what stands between the scheduler and its runner.
        """
        planter = self.planter
        clock, history, manager = planter.clock, planter.history, planter.manager
        waiter = ScriptedWaiter(clock)
        teller = make_teller(NotifySettings(webhook=self.server.url("told")), translate=str, zone=UTC)
        voice = Voice(lambda _priority, text: self.lines.append(text.text()), history.begin(OperationKind.DAEMON, ""),
                      str)
        listener = Listener(voice, Announcer(teller, history, clock, UTC, "pi", lambda error: pytest.fail(str(error))),
                            ServiceManager("", clock), UTC, str)
        scheduler = Scheduler(
            scheduled_work(planter.settings), wrapped(ManagerRunner(manager)), history, clock, waiter, listener,
            SchedulerOptions(zone=UTC, longest_wait=1800.0),
            Arrivals(wanted_arrivals(planter.settings, (), starting=True), manager.is_attached, clock))
        listener.scheduler = self.scheduler = scheduler
        for moment, action in events:
            waiter.at(moment * _DAY, action)
        waiter.at(days * _DAY, scheduler.stop)
        scheduler.run()
        history.close()

    def told(self) -> list[Mapping[str, Any]]:
        """Return what the webhook received."""
        return [json.loads(body) for _method, path, body in self.server.requests if path == "/told"]

    def checks(self) -> list[tuple[OperationState, int]]:
        """Return how checks ended and how many bytes they read, the oldest first."""
        records = self.planter.history.operations(kind=OperationKind.CHECK, limit=200)
        return [(record.state, record.size_bytes) for record in reversed(records)]

    def open(self) -> Repository:
        """Open the repository as another process does."""
        return open_repository(LocalBackend(self.planter.repository()), self.planter.password, OpenOptions(
            clock=self.planter.clock, ledger_directory=self.planter.folder / "state" / "ledger"))

    def ledger(self) -> PackLedger:
        """Return what is known of its packs."""
        ledger = self.open().pack_ledger
        assert ledger is not None
        return ledger

    def packs(self) -> dict[Id, Path]:
        """Return the files of its packs."""
        return {Id(bytes.fromhex(path.name)): path for path in (self.planter.repository() / "data").rglob("*")
                if path.is_file()}

    def damage(self, among: Collection[Id] | None = None) -> tuple[str, Callable[[], object]]:
        """Flip a bit in the largest pack, of all or of some; return its id and what takes that back."""
        packs = self.packs()
        pack = max((packs[one] for one in (packs if among is None else among)), key=lambda path: path.stat().st_size)
        sound = pack.read_bytes()
        pack.chmod(0o600)
        pack.write_bytes(sound[:100] + bytes([sound[100] ^ 1]) + sound[101:])
        return pack.name, lambda: pack.write_bytes(sound)


class _Meddling:
    """Stands before a runner; something happens while a check reads its third pack."""

    def __init__(self, runner: ManagerRunner, action: Callable[[], object], *, times: int = 1) -> None:
        self._runner = runner
        self._action = action
        self._times = times

    def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
        """Run."""
        if work.kind is not WorkKind.CHECK:
            return self._runner.run(work, cancelled)
        asked = 0

        def meddled() -> bool:
            nonlocal asked
            asked += 1
            if asked == 5 and self._times:  # at the beginning, before the packs, and before each
                self._times -= 1
                self._action()
            return cancelled()

        return self._runner.run(work, meddled)


def test_every_pack_is_read_within_the_days_and_never_more_than_the_budget_in_one(
        tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, runs=8, check_days=10)
    size = sum(path.stat().st_size for path in world.packs().values())
    budget = size // 4
    world.place(check_budget=budget)
    days = iter(range(1, 100))

    def look() -> None:
        day, now = next(days), world.planter.clock.now_nanoseconds()
        records = world.ledger().records()
        assert records.keys() == world.packs().keys()
        assert max(now - record.age_key for record in records.values()) <= 10 * DAY_NANOSECONDS
        assert len(world.checks()) == day
        if day % 8 == 0:
            world.grow()

    world.live(40.5, *((day + 0.4, look) for day in range(40)))
    assert next(days) == 41
    assert {state for state, _ in world.checks()} == {OperationState.COMPLETE}
    largest = max(path.stat().st_size for path in world.packs().values())
    assert budget <= world.checks()[0][1], "what was never read is read up to the budget"
    assert max(read for _, read in world.checks()) < budget + largest, "the last pack of a day may go beyond"
    assert sum(read for _, read in world.checks()) > 3 * size, "four rounds of ten days, all but the last whole"
    assert world.told() == []
    status = world.planter.manager.status()
    assert (status.health, status.notes) == (Health.WELL, ())
    assert status.repositories["usb"].check_days == 10
    percent = status.repositories["usb"].verified_percent
    assert percent is not None
    assert percent > 70


def test_damage_is_told_once_with_its_files_and_what_to_do_and_is_not_tried_again_before_it_is_due(
        tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, check_days=1)
    pack, repair = world.damage()
    world.live(2.5)
    assert [state for state, _ in world.checks()] == [OperationState.FAILED] * 3, "on three mornings"
    record = world.planter.history.operations(kind=OperationKind.CHECK, limit=1)[0]
    assert (record.job, record.repository, record.errors[0].kind) == ("", "usb", "DamageFoundError")
    assert f"kuramori -r usb repair packs {pack} saves what is intact" in record.errors[0].advice_text()
    [notice] = world.told()
    assert (notice["event"], notice["work"], notice["job"], notice["repository"]) == ("damaged", "check", "", "usb")
    assert notice["title"] == "[pi] the backups in usb are damaged"
    first, *errors = notice["errors"]
    assert pack in first
    assert any(".png" in error and "cannot be restored whole" in error for error in errors)
    assert f"repair packs {pack}" in notice["text"]
    assert "tried again" not in notice["text"]
    assert any("the check of usb found damage; the next one is at" in line for line in world.lines)
    status = world.planter.manager.status()
    assert status.health is Health.ALARM
    assert [type(problem) for problem in status.problems] == [DamagedPacksProblem], "it is said once"
    repair()
    world.ledger().forget([Id(bytes.fromhex(pack))])  # as repair packs does
    assert [type(problem) for problem in world.planter.manager.status().problems] == [MendedDamageProblem]
    world.live(1.0)
    assert [notice["event"] for notice in world.told()] == ["damaged", "recovered"]
    assert world.told()[-1]["title"] == "[pi] the check of usb finds no fault any more"
    assert world.planter.manager.status().health is Health.WELL


def test_more_damage_is_told_to_who_knows_of_some(tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, check_days=1)
    first, repair = world.damage()
    more: list[tuple[str, Callable[[], object]]] = []
    world.live(4.5, (2.0, lambda: more.append(world.damage(world.packs().keys() - {Id(bytes.fromhex(first))}))))
    assert [notice["event"] for notice in world.told()] == ["damaged", "damaged"], "once each, on five mornings"
    assert more[0][0] not in world.told()[0]["text"]
    assert more[0][0] in world.told()[1]["text"]
    for pack, mend in ((first, repair), *more):
        mend()
        world.ledger().forget([Id(bytes.fromhex(pack))])
    world.live(1.0)
    assert [notice["event"] for notice in world.told()] == ["damaged", "damaged", "recovered"]


def test_who_knows_that_a_check_failed_is_told_of_damage_all_the_same(tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, runs=1, check_days=1)
    password, world.planter.password = world.planter.password, type(world.planter.password)("wrong")
    world.live(0.5)
    assert [notice["event"] for notice in world.told()] == ["failed"]
    assert world.told()[0]["title"] == "[pi] the check of usb failed"
    assert "tried again at" in world.told()[0]["text"]
    assert len(world.checks()) > 2, "unlike damage it is tried again soon"
    world.planter.password = password
    world.damage()
    world.live(1)
    assert [notice["event"] for notice in world.told()] == ["failed", "damaged"]


@pytest.mark.exhaustive
def test_a_disk_that_is_away_is_waited_for_and_read_when_it_comes(tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, runs=2, run_when_attached=True, check_days=3)
    drawer = tmp_path / "drawer"
    world.planter.repository().rename(drawer)
    works = [work for work in scheduled_work(world.planter.settings) if work.kind is WorkKind.CHECK]
    assert [work.key for work in works] == ["check usb"]
    world.live(2.4)
    assert world.checks() == []
    assert all(notice["work"] != "check" for notice in world.told())
    assert any("the check of usb waits until its disk is attached" in line for line in world.lines)
    state = world.planter.history.due_state("check usb")
    assert state is not None
    assert (state.failures, state.problem, state.last_good) == (0, "", None)
    assert not any(isinstance(problem, (UnreadPacksProblem, FailedCheckProblem))
                   for problem in world.planter.manager.status().problems)
    world.live(0.1, (0.05, lambda: drawer.rename(world.planter.repository())))
    assert [state for state, _ in world.checks()] == [OperationState.COMPLETE], "not at 05:00 but when it came"


def test_a_disk_that_is_unplugged_in_the_middle_damages_nothing(tmp_path: Path, server: WebhookServer) -> None:
    """Else the next backup would store everything again."""
    world = _Watched(tmp_path, server, run_when_attached=True, check_days=1)
    repository, drawer = world.planter.repository(), tmp_path / "drawer"
    asked = 0

    def unplugged() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:  # it is known what there is to read, and nothing of it was read
            repository.rename(drawer)
        return False

    found = world.planter.manager.check("usb", cancelled=unplugged)
    assert (found.state, found.errors) == (CheckState.AWAY, ())
    assert [state for state, _ in world.checks()] == [OperationState.INTERRUPTED]
    drawer.rename(repository)
    assert not world.ledger().damaged()
    assert world.planter.manager.check("usb").state is CheckState.SOUND
    assert world.ledger().coverage(1).percent == 100


def test_a_check_that_is_cancelled_goes_on_where_it_was(tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, check_days=1)
    count = len(world.packs())
    world.live(1, wrapped=lambda runner: _Meddling(runner, lambda: world.scheduler.stop()))
    assert world.checks() == [(OperationState.INTERRUPTED, 0)]
    read = world.ledger().coverage(1).packs_read
    assert 0 < read < count
    world.live(0.01)
    assert [state for state, _ in world.checks()] == [OperationState.INTERRUPTED, OperationState.COMPLETE]
    log = world.planter.history.operations(kind=OperationKind.CHECK, limit=1)[0]
    [line] = world.planter.history.log_lines(log.id)
    assert line.text.startswith(f"read {count - read} packs"), "nothing is read twice"
    assert world.ledger().coverage(1).percent == 100


def test_a_check_makes_room_for_a_backup_that_is_due_and_goes_on_after_it(
        tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, check_days=1)
    world.planter.change(schedule=DailyAt(6, 0))
    world.live(0.5, wrapped=lambda runner: _Meddling(runner, lambda: world.planter.clock.advance(2 * _HOUR)))
    records = world.planter.history.operations(limit=4, hidden=OperationKind.DAEMON)[:3]
    assert [(record.kind, record.state) for record in reversed(records)] == [
        (OperationKind.CHECK, OperationState.INTERRUPTED), (OperationKind.BACKUP, OperationState.COMPLETE),
        (OperationKind.CHECK, OperationState.COMPLETE)]
    assert any("makes room for what is due" in line for line in world.lines)
    assert world.told() == []
    assert world.ledger().coverage(1).percent == 100


def test_status_says_when_something_was_not_read_back_for_too_long(tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, runs=1, check_days=3)
    world.live(4)
    assert world.planter.manager.status().problems == ()
    world.planter.clock.advance(4.5 * _DAY)  # no daemon runs
    status = world.planter.manager.status()
    [problem] = status.problems
    assert isinstance(problem, UnreadPacksProblem)
    assert status.health is Health.ATTENTION
    assert "more than 3 days" in problem.text()
    assert "check --read-data" in problem.advice_text()
    world.place(check_budget=1)
    status = world.planter.manager.status()
    assert "raise its check_budget" in status.problems[0].advice_text()
    [note] = status.notes
    assert isinstance(note, SmallBudgetNote), "also before anything is late"
    world.place(check=None)
    status = world.planter.manager.status()
    assert (status.problems, status.notes) == ((), ()), "nobody asked for it"


def test_status_says_that_the_last_check_failed_until_one_is_good(tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, runs=1, check_days=3)
    manager = world.planter.manager
    with hold_lock(world.open(), exclusive=True), pytest.raises(RepositoryLockedError):
        manager.check("usb")
    with pytest.raises(Interrupted):
        manager.check("usb", cancelled=lambda: True)
    status = manager.status()
    [problem] = status.problems
    assert isinstance(problem, FailedCheckProblem)
    assert status.health is Health.ATTENTION
    assert "in use" in problem.text()
    assert manager.check("usb").success
    assert manager.status().problems == ()
    assert [state for state, _ in world.checks()] == [
        OperationState.FAILED, OperationState.INTERRUPTED, OperationState.COMPLETE]


def test_faults_that_are_in_no_pack_are_an_alarm_too(tmp_path: Path, server: WebhookServer) -> None:
    world = _Watched(tmp_path, server, runs=1)
    index = next(path for path in (world.planter.repository() / "index").rglob("*") if path.is_file())
    index.chmod(0o600)
    sound = index.read_bytes()
    index.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    found = world.planter.manager.check("usb")
    assert (found.state, type(found.errors[0])) == (CheckState.DAMAGED, FaultyRepositoryError)
    assert index.name in str(found.errors[1])
    [(state, _)] = world.checks()
    assert state is OperationState.FAILED
    assert world.planter.manager.status().health is Health.ALARM, "it cannot even be opened"
    index.write_bytes(sound)
    status = world.planter.manager.status()
    assert (status.health, [type(problem) for problem in status.problems]) == (Health.ALARM, [FailedCheckProblem])
    assert world.planter.manager.check("usb").success
    assert world.planter.manager.status().health is Health.WELL


def test_what_a_person_reads_first() -> None:
    """Ten errors fit into a notice: not ten times the same file in ten snapshots."""
    files = [AffectedPathError(path=path, snapshot=snapshot, detail="gone")
             for snapshot in ("old", "new") for path in ("/a", "/b")]
    pack = DamagedError(what="pack x", detail="y")
    result = RollingCheckResult(check=CheckResult(errors=[pack, *files]), damaged_packs=["x"])
    found = judge_check("usb", ["nas", "cloud"], result)
    assert found.errors[1:] == (files[0], files[1], pack, files[2], files[3])
    assert "fetches the rest from nas, cloud" in found.errors[0].advice_text()
    away = StorageRetryableError(location="x", operation="load", name="y", detail="z")
    unread = judge_check("usb", [], RollingCheckResult(check=CheckResult(errors=[away], broken_packs=["y"])))
    assert (unread.state, unread.errors) == (CheckState.FAILED, (away,)), "a network damages nothing"


def test_a_repository_that_is_not_known_or_was_never_made_does_not_wait_for_a_disk(tmp_path: Path) -> None:
    planter = make_planter(tmp_path, repositories=("usb",))
    with pytest.raises(UnknownRepositoryNameError, match="usb"):
        planter.manager.check("ubs")
    planter.places["usb"] = RepositorySettings("usb", str(tmp_path / "nowhere"), run_when_attached=True)
    with pytest.raises(NotInitialisedError):
        planter.manager.check("usb")
    [record] = planter.history.operations(kind=OperationKind.CHECK)
    assert (record.state, record.errors[0].kind) == (OperationState.FAILED, "NotInitialisedError")
