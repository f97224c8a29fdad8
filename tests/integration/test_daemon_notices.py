"""The scheduler, the manager and somebody who is told, all real; only the clock is not: what is told of a
job that fails and recovers, how often it is tried, and when."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from kuramori.history.records import OperationKind
from kuramori.notify.teller import make_teller
from kuramori.scheduling.announcing import Announcer
from kuramori.scheduling.copy_watch import watched_copies
from kuramori.scheduling.manager_runner import ManagerRunner
from kuramori.scheduling.reporting import Listener, Voice
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.service_manager import ServiceManager
from kuramori.scheduling.work import scheduled_work
from kuramori.settings.model import ComponentKind, Every, NotifySettings, RepositorySettings
from kuramori.testing.scheduling import ScriptedWaiter
from samples.planter import JOB, make_planter
from samples.webhook_server import WebhookServer

_HOUR = 3600.0


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    """Whoever is told."""
    started = WebhookServer()
    yield started
    started.close()


class _Watched:
    """A planter with a job of one command, which fails while the file ``trouble`` is there."""

    def __init__(self, folder: Path, server: WebhookServer) -> None:
        self.trouble = folder / "trouble"
        self.server = server
        planter = self.planter = make_planter(folder, repositories=("usb",))
        for name in ("images", "logs"):
            planter.change_component(name, enabled=False)
        planter.change_component("report", kind=ComponentKind.COMMAND, sources=(), command=(
            sys.executable, "-c", f"import os; print('fine'); raise SystemExit(os.path.exists({str(self.trouble)!r}))"))
        planter.change(schedule=Every(6 * _HOUR, "6h"))

    def live(self, hours: float, *events: tuple[float, bool]) -> None:
        """Let a scheduler, as the daemon has it, run for some hours.

        Args:
            events: after how many hours the trouble begins or ends.
        """
        clock, history = self.planter.clock, self.planter.history
        waiter = ScriptedWaiter(clock)
        teller = make_teller(NotifySettings(webhook=self.server.url("told"), ping=self.server.url("ping")),
                             translate=str, zone=UTC)
        problems: list[Exception] = []
        voice = Voice(lambda _priority, _text: None, history.begin(OperationKind.DAEMON, ""), str)
        listener = Listener(voice, Announcer(teller, history, clock, UTC, "pi", problems.append),
                            ServiceManager("", clock), UTC, str)
        works, runner = scheduled_work(self.planter.settings), ManagerRunner(self.planter.manager)
        scheduler = Scheduler(works, runner, history, clock, waiter, listener,
                              SchedulerOptions(zone=UTC, longest_wait=600.0))
        listener.scheduler = scheduler
        for moment, begins in events:
            waiter.at(moment * _HOUR, self.trouble.touch if begins else self.trouble.unlink)
        waiter.at(hours * _HOUR, scheduler.stop)
        scheduler.run()
        history.close()
        assert problems == []

    def told(self) -> list[str]:
        """Return what happened by the webhook."""
        return [json.loads(body)["event"] for _method, path, body in self.server.requests if path == "/told"]

    def pinged(self) -> list[str]:
        """Return how runs ended by the ping."""
        return [path.removeprefix("/ping").strip("/") or "success" for _method, path, _body in self.server.requests
                if path.startswith("/ping") and not path.endswith("/start")]

    def attempts(self) -> list[int]:
        """Return when runs began, in minutes after the first."""
        records = self.planter.history.operations(JOB, OperationKind.BACKUP, limit=100)
        started = sorted(record.started for record in records)
        return [round((moment - started[0]).total_seconds() / 60) for moment in started]


def test_a_failing_job_is_tried_again_and_again_and_told_once(tmp_path: Path, server: WebhookServer) -> None:
    job = _Watched(tmp_path, server)
    job.live(9.0, (1, True))
    first, *failed = job.attempts()
    assert (first, failed) == (0, [360, 365, 375, 395, 435, 515]), "5, 10, 20, 40, 80 minutes between them"
    assert job.told() == ["failed"]
    message = json.loads(next(body for _method, path, body in server.requests if path == "/told"))
    assert JOB in message["title"]
    assert "exit status 1" in message["text"]
    job.live(4.0, (0.1, False))  # another daemon: it neither forgets nor repeats what was told
    assert job.attempts()[-1] == 515 + 160
    assert job.told() == ["failed", "recovered"]
    assert job.pinged() == ["success", *["fail"] * 6, "success"]


def test_a_job_without_a_good_run_for_twice_its_interval_is_overdue_once(tmp_path: Path,
                                                                         server: WebhookServer) -> None:
    job = _Watched(tmp_path, server)
    job.live(30.0, (1, True))
    assert job.told() == ["failed", "overdue"]
    job.live(12.0, (0.1, False))
    assert job.told() == ["failed", "overdue", "recovered"]


def test_a_copy_that_stays_behind_is_told_when_that_has_lasted_too_long_and_when_it_is_up_to_date(
        tmp_path: Path, server: WebhookServer) -> None:
    planter = make_planter(tmp_path)
    planter.places["nas"] = RepositorySettings("nas", str(planter.repository("nas")), stale_after=2 * 24 * _HOUR)
    planter.back_up()
    planter.repository("nas").rename(tmp_path / "unplugged")
    missed = planter.back_up()
    teller = make_teller(NotifySettings(webhook=server.url("told")), translate=str, zone=UTC)

    def look(hours: float) -> list[str]:
        """Let some hours pass, each with a look of another daemon; return what was told."""
        begun = len(server.requests)
        for _hour in range(round(hours)):
            planter.clock.advance(_HOUR)
            history = planter.history
            Announcer(teller, history, planter.clock, UTC, "pi", lambda error: pytest.fail(str(error)),
                      watched_copies(planter.settings)).look((), {})
            history.close()
        return [json.loads(body)["event"] for _method, _path, body in server.requests[begun:]]

    assert look(47) == []
    assert look(2) == ["stale"]
    told = json.loads(server.requests[-1][2])
    assert (told["job"], told["repository"], told["work"]) == (JOB, "nas", "copy")
    assert told["since"] == missed.started.isoformat()
    assert told["title"] == f"[pi] the copy of {JOB} in nas is out of date"
    assert "has lacked 1 run(s)" in told["text"]
    assert look(46) == []
    assert look(4) == ["stale"], "when it has doubled"
    assert look(2 * 24) == []
    (tmp_path / "unplugged").rename(planter.repository("nas"))
    planter.back_up()
    assert look(2) == ["caught_up"]
    assert look(24) == []


def test_a_copy_that_was_caught_up_before_anybody_was_told_is_no_news(tmp_path: Path, server: WebhookServer) -> None:
    planter = make_planter(tmp_path)
    teller = make_teller(NotifySettings(webhook=server.url("told")), translate=str, zone=UTC)
    planter.history.note_missed_run(JOB, "nas", planter.clock.now())
    planter.clock.advance(6 * 24 * _HOUR)
    planter.back_up()
    Announcer(teller, planter.history, planter.clock, UTC, "pi", lambda error: pytest.fail(str(error)),
              watched_copies(planter.settings)).look((), {})
    assert server.requests == []
