"""What the daemon says of what it does: to its log, the history, systemd and the person."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Protocol

from kuramori.errors import N_, ClockImplausibleError, KuramoriError, Phrase
from kuramori.history.operation import Operation
from kuramori.history.records import DueState, OperationState
from kuramori.scheduling import plan
from kuramori.scheduling.announcing import Announcer
from kuramori.scheduling.scheduler import Scheduler
from kuramori.scheduling.service_manager import ServiceManager
from kuramori.scheduling.work import ScheduledWork, WorkKind, WorkOutcome

WORK_NAMES = {WorkKind.BACKUP: N_("the backup"), WorkKind.CLEANUP: N_("the cleanup"), WorkKind.COPY: N_("the copy"),
              WorkKind.CHECK: N_("the check")}


class Priority(enum.IntEnum):
    """How much a line of the log matters, as syslog(3) counts."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


class Log(Protocol):
    """Takes what the daemon has to say."""

    def __call__(self, priority: Priority, text: Phrase | KuramoriError) -> None:
        """One line. Called from several threads; must not raise."""
        ...


class Voice:
    """Says everything twice: in the log now, and in the history."""

    def __init__(self, log: Log, operation: Operation, translate: Callable[[str], str]) -> None:
        self._log = log
        self._operation = operation
        self._translate = translate
        self._guard = threading.Lock()

    def say(self, priority: Priority, text: Phrase | KuramoriError) -> None:
        """Say it."""
        self._log(priority, text)
        with self._guard:
            self._operation.log(text.text(self._translate))
            self._operation.flush()

    def warn(self, error: KuramoriError) -> None:
        """Say what went wrong."""
        self.say(Priority.WARNING, error)


class Listener:
    """Hears the scheduler, for the log, systemd and the person."""

    def __init__(self, voice: Voice, announcer: Announcer, service: ServiceManager, zone: tzinfo,
                 translate: Callable[[str], str]) -> None:
        self._voice = voice
        self._announcer = announcer
        self._service = service
        self._zone = zone
        self._translate = translate
        self.scheduler: Scheduler | None = None

    def began(self, work: ScheduledWork, state: DueState) -> None:
        """A run begins."""
        text = Phrase(N_("{work} of {job} begins"), work=Phrase(WORK_NAMES[work.kind]), job=work.subject)
        self._voice.say(Priority.INFO, text)
        self._service.status(text.text(self._translate))
        self._announcer.began(work)

    def ended(self, work: ScheduledWork, outcome: WorkOutcome, state: DueState) -> None:
        """A run ended."""
        if outcome.state is not OperationState.INTERRUPTED:
            for error in outcome.errors:
                self._voice.warn(error)
        for note in outcome.notes:
            self._voice.say(Priority.NOTICE, note)
        self._voice.say(*self._verdict(work, outcome, state))
        others = [] if self.scheduler is None else [entry for entry in self.scheduler.upcoming()
                                                    if entry.work.kind is WorkKind.BACKUP and entry.work != work]
        self._announcer.ended(work, outcome, state, others_well=not any(entry.state.problem for entry in others))
        self._show_next()

    def _verdict(self, work: ScheduledWork, outcome: WorkOutcome, state: DueState) -> tuple[Priority, Phrase]:
        fields = {"work": Phrase(WORK_NAMES[work.kind]), "job": work.subject,
                  "time": f"{plan.wake_time(state).astimezone(self._zone):%Y-%m-%d %H:%M:%S}"}
        if outcome.waiting:
            return Priority.INFO, Phrase(N_("{work} of {job} waits until its disk is attached"), **fields)
        if outcome.damaged:
            return Priority.ERROR, Phrase(N_("{work} of {job} found damage; the next one is at {time}"), **fields)
        if outcome.state is OperationState.COMPLETE and plan.wake_time(state) >= plan.NEVER:
            return Priority.INFO, Phrase(N_("{work} of {job} is complete"), **fields)
        if outcome.state is OperationState.COMPLETE:
            return Priority.INFO, Phrase(N_("{work} of {job} is complete; the next one is at {time}"), **fields)
        if outcome.state is OperationState.INTERRUPTED and self.scheduler is not None and not self.scheduler.stopped():
            return Priority.INFO, Phrase(N_("{work} of {job} makes room for what is due, and goes on after that"),
                                         **fields)
        if outcome.state is OperationState.INTERRUPTED:
            return Priority.NOTICE, Phrase(N_("{work} of {job} was broken off"), **fields)
        if outcome.state is OperationState.PARTIAL:
            return Priority.ERROR, Phrase(N_("{work} of {job} is incomplete; the next attempt is at {time}"), **fields)
        return Priority.ERROR, Phrase(N_("{work} of {job} failed; the next attempt is at {time}"), **fields)

    def _show_next(self) -> None:
        entries = self.scheduler.upcoming() if self.scheduler is not None else []
        if entries:
            text = Phrase(N_("next: {work} of {job} at {time}"), work=Phrase(WORK_NAMES[entries[0].work.kind]),
                          job=entries[0].work.subject,
                          time=f"{entries[0].time.astimezone(self._zone):%Y-%m-%d %H:%M:%S}")
            self._service.status(text.text(self._translate))

    def doubted(self, doubt: ClockImplausibleError) -> None:
        """The clock cannot be right."""
        self._voice.warn(doubt)
        self._service.status(doubt.text(self._translate))

    def trusted(self, *, believed: bool) -> None:
        """The clock is right again, or believed."""
        if believed:
            self._voice.say(Priority.WARNING,
                            Phrase(N_("the clock went back and stays there; it is believed from now on")))
        else:
            self._voice.say(Priority.NOTICE, Phrase(N_("the clock is right again")))

    def looked(self, works: Sequence[ScheduledWork], states: dict[str, DueState]) -> None:
        """Nothing runs right now."""
        self._announcer.look(works, states)
