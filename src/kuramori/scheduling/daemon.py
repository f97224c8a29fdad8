"""The daemon: a scheduler in a thread, and around it what a service needs: one at a time, settings
that can be read anew, an end in good order, a log, notices, metrics, a word to systemd."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import tzinfo

from kuramori.clock import Clock
from kuramori.errors import N_, KuramoriError, Phrase, UnexpectedError
from kuramori.history.history import History, history_path
from kuramori.history.operation import Operation
from kuramori.history.records import OperationKind, OperationState
from kuramori.notify.teller import Teller
from kuramori.scheduling.announcing import Announcer
from kuramori.scheduling.arrivals import Arrivals, wanted_arrivals
from kuramori.scheduling.copy_watch import watched_copies
from kuramori.scheduling.metrics import MetricsCollector, MetricsServer
from kuramori.scheduling.reporting import WORK_NAMES, Listener, Log, Priority, Voice
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.service_manager import ServiceManager
from kuramori.scheduling.state_directory import sole_daemon
from kuramori.scheduling.waiting import EventWaiter, SignalWaiter
from kuramori.scheduling.work import JobRunner, scheduled_work
from kuramori.settings.inspection import local_folder
from kuramori.settings.model import Settings

_LONGEST_REST = 60.0
"""Seconds between two looks whether the scheduler's thread lives."""
_LONGEST_DELAY = 120.0
"""Seconds; see :attr:`SchedulerOptions.delay_missed`."""


@dataclass(frozen=True, slots=True)
class DaemonParts:
    """What settings are made into."""

    runner: JobRunner
    teller: Teller
    is_attached: Callable[[str], bool]
    """Tells whether a repository on a disk of this machine is there right now."""


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """The daemon's surroundings.

    Attributes:
        make_parts: makes a runner and a teller from settings; the last argument tells whether the daemon ends.
        load: reads the settings anew, for :meth:`Daemon.request_reload`.
        translate: for what systemd and the history show.
    """

    make_parts: Callable[[Settings, History, Callable[[], bool]], DaemonParts]
    load: Callable[[], Settings]
    log: Log
    zone: tzinfo
    hostname: str
    service: ServiceManager
    translate: Callable[[str], str] = str


class Daemon:
    """A process that does what is due. :meth:`stop` and :meth:`request_reload` may be called from signal
    handlers and other threads; the rest belongs to one thread."""

    def __init__(self, settings: Settings, clock: Clock, options: DaemonOptions) -> None:
        """Nothing is opened or run yet."""
        self._settings = settings
        self._clock = clock
        self._options = options
        self._waiter = SignalWaiter()
        self._stopping = False
        self._reloading = False
        self._scheduler: Scheduler | None = None
        """That of :meth:`run_once`, which a signal stops directly."""
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """End soon: a run in progress is cancelled and ends in good order. May be called twice."""
        self._stopping = True
        if self._scheduler is not None:
            self._scheduler.stop()
        self._waiter.wake()

    def request_reload(self) -> None:
        """Read the settings anew. Bad ones are said and the old ones stay."""
        self._reloading = True
        self._waiter.wake()

    # --- running -------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until :meth:`stop` is called.

        Raises:
            DaemonRunningError: another daemon works with the same state directory.
            StateError: that cannot be used.
            MetricsAddressError, MissingExtraError: metrics are wanted and cannot be served.
            UnexpectedError: a bug ended the scheduler.
        """
        with ExitStack() as stack:
            history, operation, voice = self._begin(stack)
            parts = self._parts(history)
            announcer = self._announcer(parts, history, voice)
            scheduler = self._make_scheduler(
                parts, history, self._listener(voice, announcer),
                SchedulerOptions(zone=self._options.zone, delay_missed=self._delay_missed),
                self._arrivals(parts, history, starting=True))
            metrics = _Metrics(MetricsCollector(history, self._clock, scheduler.upcoming))
            stack.callback(metrics.close)
            metrics.serve(self._settings.metrics_listen)
            thread = threading.Thread(target=self._run_scheduler, args=(scheduler,), name="scheduler", daemon=True)
            thread.start()
            self._options.service.ready()
            voice.say(Priority.NOTICE, Phrase(N_("the daemon works; schedules: {count}"),
                                              count=len(scheduled_work(self._settings))))
            try:
                self._supervise(thread, lambda: self._reload(history, scheduler, announcer, metrics, voice))
            finally:
                self._end(scheduler, thread, voice)
            if self._failure is not None:
                operation.finish(OperationState.FAILED)
                raise UnexpectedError(kind=type(self._failure).__name__, detail=str(self._failure)[:200])
            operation.finish(OperationState.COMPLETE)

    def run_once(self) -> bool:
        """Do what is due now, each thing once, and return whether all of it succeeded. What was never
        done before is due.

        Raises:
            DaemonRunningError, StateError: see :meth:`run`.
            ClockImplausibleError: the clock cannot be right; nothing was done.
        """
        with ExitStack() as stack:
            history, operation, voice = self._begin(stack)
            parts = self._parts(history)
            announcer = self._announcer(parts, history, voice)
            scheduler = self._make_scheduler(
                parts, history, self._listener(voice, announcer),
                SchedulerOptions(zone=self._options.zone, one_turn=True))
            self._scheduler = scheduler
            if self._stopping:  # the signal came before there was anything to stop
                scheduler.stop()
            done = scheduler.run_due()
            operation.finish(OperationState.INTERRUPTED if self._stopping else OperationState.COMPLETE)
            return done

    def _begin(self, stack: ExitStack) -> tuple[History, Operation, Voice]:
        stack.enter_context(sole_daemon(self._settings.state_directory))
        log = self._options.log
        history = History(history_path(self._settings.state_directory), self._clock,
                          told=lambda problem: log(Priority.WARNING, problem))
        stack.callback(history.close)
        unfinished = history.mark_unfinished()
        operation = history.begin(OperationKind.DAEMON, "")
        stack.callback(operation.finish, OperationState.FAILED)  # unless it was finished before
        voice = Voice(log, operation, self._options.translate)
        if unfinished:
            voice.say(Priority.WARNING, Phrase(N_("operations that a crash or a power cut ended, marked as unfinished "
                                                  "now: {count}"), count=unfinished))
        return history, operation, voice

    def _listener(self, voice: Voice, announcer: Announcer) -> Listener:
        return Listener(voice, announcer, self._options.service, self._options.zone, self._options.translate)

    def _announcer(self, parts: DaemonParts, history: History, voice: Voice) -> Announcer:
        return Announcer(parts.teller, history, self._clock, self._options.zone, self._options.hostname, voice.warn,
                         watched_copies(self._settings))

    def _arrivals(self, parts: DaemonParts, history: History, *, starting: bool) -> Arrivals:
        behind = {(record.job, record.repository) for record in history.copy_records()
                  if record.stale_since is not None}
        return Arrivals(wanted_arrivals(self._settings, behind, starting=starting), parts.is_attached, self._clock)

    def _delay_missed(self) -> float:
        """Return by how many seconds a missed work is put off: only where a store beyond a network has to bear it."""
        far = any(local_folder(repository.location) is None for repository in self._settings.repositories.values())
        return random.uniform(0.0, _LONGEST_DELAY) if far else 0.0

    def _make_scheduler(self, parts: DaemonParts, history: History, listener: Listener,
                        options: SchedulerOptions, arrivals: Arrivals | None = None) -> Scheduler:
        scheduler = Scheduler(scheduled_work(self._settings), parts.runner, history, self._clock, EventWaiter(),
                              listener, options, arrivals)
        listener.scheduler = scheduler
        return scheduler

    def _parts(self, history: History) -> DaemonParts:
        return self._options.make_parts(self._settings, history, lambda: self._stopping)

    def _run_scheduler(self, scheduler: Scheduler) -> None:
        try:
            scheduler.run()
        except BaseException as error:  # the thread's last words: run() raises what it was
            self._failure = error
        finally:
            self._waiter.wake()

    def _supervise(self, thread: threading.Thread, reload: Callable[[], None]) -> None:
        service = self._options.service
        rest = min(_LONGEST_REST, service.watchdog_seconds / 3) if service.watchdog_seconds else _LONGEST_REST
        while not self._stopping and thread.is_alive():
            service.keep_alive()
            if self._reloading:
                self._reloading = False
                reload()
            self._waiter.wait(rest)

    def _end(self, scheduler: Scheduler, thread: threading.Thread, voice: Voice) -> None:
        scheduler.stop()
        self._options.service.stopping()
        running = scheduler.running
        if running is not None:
            voice.say(Priority.NOTICE, Phrase(N_("ending: {work} of {job} is broken off in good order"),
                                              work=Phrase(WORK_NAMES[running.kind]), job=running.subject))
        while thread.is_alive():
            self._options.service.keep_alive()
            thread.join(1.0)
        voice.say(Priority.NOTICE, Phrase(N_("the daemon ends")))

    # --- new settings --------------------------------------------------------------------------

    def _reload(self, history: History, scheduler: Scheduler, announcer: Announcer, metrics: _Metrics,
                voice: Voice) -> None:
        service = self._options.service
        service.reloading()
        try:
            settings = self._options.load()
            if settings.state_directory != self._settings.state_directory:
                voice.say(Priority.WARNING, Phrase(N_("another state_directory counts only after a restart")))
                settings = replace(settings, state_directory=self._settings.state_directory)
            self._settings = settings
            parts = self._parts(history)
            scheduler.replace_works(scheduled_work(settings), parts.runner,
                                    self._arrivals(parts, history, starting=False))
            announcer.replace_teller(parts.teller, watched_copies(settings))
            voice.say(Priority.NOTICE, Phrase(N_("the settings were read anew; schedules: {count}"),
                                              count=len(scheduled_work(settings))))
            metrics.serve(settings.metrics_listen)
        except KuramoriError as error:
            voice.warn(error)
            voice.say(Priority.ERROR, Phrase(N_("the new settings do not count; the old ones stay")))
        finally:
            service.ready()


class _Metrics:
    """The server of metrics, where one is wanted."""

    def __init__(self, collector: MetricsCollector) -> None:
        self._collector = collector
        self._server: MetricsServer | None = None
        self._address = ""

    def serve(self, address: str) -> None:
        """Serve at ``address`` from now on, nowhere if it is empty."""
        if address == self._address:
            return
        server = MetricsServer(address, self._collector) if address else None
        self.close()
        self._server, self._address = server, address

    def close(self) -> None:
        """Serve nowhere."""
        if self._server is not None:
            self._server.close()
        self._server, self._address = None, ""
