"""``kuramori daemon``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.manager_access import refuse_repository
from kuramori.cli.options import command as declare
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from kuramori.clock import Clock
    from kuramori.history.history import History
    from kuramori.scheduling.daemon import Daemon, DaemonOptions, DaemonParts
    from kuramori.settings.model import Settings

_IMPATIENT = 3
"""With so many signals the end in good order is given up."""


@declare("daemon", _(
    "run backups, cleanups and checks by their schedules\n\n"
    "Stays in the foreground and logs to standard error. SIGHUP reads the settings anew; SIGTERM and Ctrl-C end it, "
    "and a run in progress, in good order."))
@click.option("--once", is_flag=True, help=_("do what is due now, and end; for cron and timers"))
@pass_application
def command(application: Application, once: bool) -> int:
    """Run backups, cleanups and checks by their schedules."""
    from kuramori.cli.settings_access import load_application_settings
    from kuramori.clock import SystemClock
    from kuramori.scheduling.daemon import Daemon

    clock = SystemClock()
    refuse_repository(application)
    settings = load_application_settings(application)
    daemon = Daemon(settings, clock, _options(application, clock))
    with _obeying_signals(daemon):
        if once:
            return 0 if daemon.run_once() else 1
        daemon.run()
    return 0


def _options(application: Application, clock: Clock) -> DaemonOptions:
    from kuramori.cli.daemon_log import DaemonLog
    from kuramori.cli.environment import time_zone
    from kuramori.cli.settings_access import application_secrets, hostname, load_application_settings
    from kuramori.cli.store_access import named_access
    from kuramori.manager.manager import Manager
    from kuramori.notify.teller import make_teller
    from kuramori.scheduling.daemon import DaemonOptions, DaemonParts
    from kuramori.scheduling.local_zone import local_zone
    from kuramori.scheduling.manager_runner import ManagerRunner
    from kuramori.scheduling.service_manager import ServiceManager

    zone = local_zone(clock, time_zone())

    def make_parts(settings: Settings, history: History, cancelled: Callable[[], bool]) -> DaemonParts:
        manager = Manager(settings, clock=clock, history=history, secrets=application_secrets(application),
                          access=named_access(application), retrying=application.retrying, environment=os.environ)
        return DaemonParts(ManagerRunner(manager),
                           make_teller(settings.notify, translate=_, zone=zone, cancelled=cancelled),
                           is_attached=manager.is_attached)

    return DaemonOptions(
        make_parts=make_parts, load=lambda: load_application_settings(application), log=DaemonLog(application, clock),
        zone=zone, hostname=hostname(), translate=_,
        service=ServiceManager(os.environ.get("NOTIFY_SOCKET", ""), clock, watchdog_seconds=_watchdog_seconds()))


def _watchdog_seconds() -> float:
    """Return after how much silence systemd ends us; 0 for never, or where another process is meant."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(microseconds) / 1e6


@contextmanager
def _obeying_signals(daemon: Daemon) -> Iterator[None]:
    """Let signals end the daemon, or make it read its settings, for a ``with`` block."""
    asked = 0

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked >= _IMPATIENT:
            raise KeyboardInterrupt
        daemon.stop()

    def reload(number: int, frame: FrameType | None) -> None:
        daemon.request_reload()

    wanted = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
