"""``BackupScheduler`` of the smart-planter guide, on the scheduler of :mod:`kuramori.scheduling`.

Due times are kept on disk beside the history of the backup manager, so a restart neither loses a
backup nor makes it twice; a device that was off catches up once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Any

from kuramori.errors import N_, ClockImplausibleError, Phrase, PlanterSettingsError
from kuramori.history.history import History
from kuramori.history.records import DueState, OperationState
from kuramori.planter.backup_manager import JOB, BackupManager
from kuramori.planter.schedule_settings import DEFAULTS, check_schedule_settings, schedule_of, time_of
from kuramori.scheduling import plan
from kuramori.scheduling.local_zone import local_zone
from kuramori.scheduling.scheduler import Scheduler, SchedulerOptions
from kuramori.scheduling.waiting import EventWaiter, Waiter
from kuramori.scheduling.work import ScheduledWork, WorkKind, WorkOutcome, due_key

_LOOK_SECONDS = 0.25
_NAMES = {WorkKind.BACKUP: "full_backup", WorkKind.CLEANUP: "cleanup"}


class BackupScheduler:
    """バックアップスケジューラークラス: makes backups and cleans up by the clock, in a thread of its own.

    Attributes:
        backup_manager: does the work.
        schedule_settings: the guide's keys; change them with :meth:`update_schedule_settings`.
        running: whether the thread works.
        last_full_backup: when the last whole backup ended; None if there was none.
        last_cleanup: the same of the cleanup.
    """

    def __init__(self, backup_manager: BackupManager | None = None, *, zone: tzinfo | None = None,
                 waiter: Waiter | None = None) -> None:
        """Nothing runs yet.

        Args:
            backup_manager: does the work; by default one with the guide's folders.
            zone: the local zone; by default this machine's.
            waiter: waits, by the clock of the backup manager.
        """
        self.backup_manager = backup_manager or BackupManager()
        self.logger = logging.getLogger("backup_scheduler")
        self.schedule_settings: dict[str, Any] = dict(DEFAULTS)
        self.running = False
        self._zone = zone
        self._waiter = waiter or EventWaiter()
        self._history = History(self.backup_manager.history_path, self.backup_manager.clock)
        self._scheduler: Scheduler | None = None
        self._guard = threading.Lock()
        """Held while something runs: what is forced waits for what is due."""
        self.scheduler_thread: threading.Thread | None = None
        self.last_full_backup = self._last_good(WorkKind.BACKUP)
        self.last_cleanup = self._last_good(WorkKind.CLEANUP)

    def _last_good(self, kind: WorkKind) -> datetime | None:
        if not self.backup_manager.history_path.exists():
            return None
        state = self._history.due_state(due_key(kind, JOB))
        return state.last_good.astimezone() if state is not None and state.last_good is not None else None

    # --- running -----------------------------------------------------------------------------

    def start_scheduler(self) -> None:
        """スケジューラーを開始: work until :meth:`stop_scheduler`. May be called twice."""
        if self.running:
            self._log(logging.WARNING, N_("the backup scheduler works already"))
            return
        check_schedule_settings(self.schedule_settings)
        works = self._works()
        self._scheduler = Scheduler(works, self, self._history, self.backup_manager.clock, self._waiter, self,
                                    SchedulerOptions(zone=self._local_zone()))
        self._begin_keeping(works)
        self.running = True
        self.scheduler_thread = threading.Thread(target=self._scheduler.run, name="backup_scheduler", daemon=True)
        self.scheduler_thread.start()
        self._log(logging.INFO, N_("the backup scheduler was started"))

    def stop_scheduler(self) -> None:
        """スケジューラーを停止: return as soon as nothing runs; a backup in progress is ended in good order.
        May be called twice."""
        if not self.running:
            self._log(logging.WARNING, N_("the backup scheduler does not work"))
            return
        self.running = False
        assert self._scheduler is not None
        self._scheduler.stop()
        if self.scheduler_thread is not None and self.scheduler_thread is not threading.current_thread():
            self.scheduler_thread.join()
        self._history.close()
        self._log(logging.INFO, N_("the backup scheduler was stopped"))

    def _works(self) -> tuple[ScheduledWork, ...]:
        return tuple(ScheduledWork(kind, JOB, schedule_of(self.schedule_settings, name))
                     for kind, name in _NAMES.items() if self.schedule_settings[f"{name}_enabled"])

    def _begin_keeping(self, works: Sequence[ScheduledWork]) -> None:
        """What was never done is due when its time of the day comes, and at once where that has passed
        today: so the guide has it."""
        now = self.backup_manager.clock.now()
        for work in works:
            if self._history.due_state(work.key) is None:
                hour, minute = time_of(self.schedule_settings, _NAMES[work.kind])
                today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
                self._history.set_due_state(work.key, DueState(
                    due=max(now, today), since=now, schedule=plan.fingerprint(work, self._local_zone())))

    def _local_zone(self) -> tzinfo:
        if self._zone is not None:
            return self._zone
        now = self.backup_manager.clock.now()
        zone = local_zone(self.backup_manager.clock)
        # Where the two differ, this process was told another zone than the system has.
        return zone if now.astimezone(zone).utcoffset() == now.utcoffset() else now.tzinfo or zone

    def run(self, work: ScheduledWork, cancelled: Callable[[], bool]) -> WorkOutcome:
        """Do what is due: for the scheduler."""
        while not self._guard.acquire(timeout=_LOOK_SECONDS):
            if cancelled():
                return WorkOutcome(OperationState.INTERRUPTED)
        try:
            if work.kind is WorkKind.BACKUP:
                result = self.backup_manager.create_full_backup(cancelled=cancelled)
            else:
                result = self.backup_manager.cleanup_old_backups(cancelled=cancelled)
        finally:
            self._guard.release()
        if result["success"]:
            state = OperationState.COMPLETE
        elif cancelled():
            state = OperationState.INTERRUPTED
        else:
            state = OperationState(result.get("state", "failed"))
        return WorkOutcome(state, result.get("backup_name", ""))

    # --- what the scheduler says -------------------------------------------------------------

    def began(self, work: ScheduledWork, state: DueState) -> None:
        """Log it."""
        text = N_("the scheduled full backup begins") if work.kind is WorkKind.BACKUP else \
            N_("the scheduled cleanup begins")
        self._log(logging.INFO, text)

    def ended(self, work: ScheduledWork, outcome: WorkOutcome, state: DueState) -> None:
        """Log it, and remember when it was."""
        if outcome.state is OperationState.COMPLETE:
            self._remember(work.kind)
            self._log(logging.INFO, N_("what was scheduled is done: {name}"), name=outcome.run or self._name(work))
        elif outcome.state is OperationState.INTERRUPTED:
            text = N_("what was scheduled was broken off, and is done after the next start: {name}")
            self._log(logging.WARNING, text, name=self._name(work))
        else:
            self._log(logging.ERROR, N_("what was scheduled was not a success: {name}"), name=self._name(work))

    @staticmethod
    def _name(work: ScheduledWork) -> Phrase:
        return Phrase(N_("full backup") if work.kind is WorkKind.BACKUP else N_("cleanup of old backups"))

    def doubted(self, doubt: ClockImplausibleError) -> None:
        """Log it: nothing runs while the clock cannot be right."""
        self.logger.error("%s", doubt.text(self.backup_manager.translate))

    def trusted(self, *, believed: bool) -> None:
        """The clock is right again."""

    def looked(self, works: Sequence[ScheduledWork], states: dict[str, DueState]) -> None:
        """Nobody else is told."""

    def _remember(self, kind: WorkKind) -> None:
        if kind is WorkKind.BACKUP:
            self.last_full_backup = self.backup_manager.clock.now()
        else:
            self.last_cleanup = self.backup_manager.clock.now()

    # --- settings ----------------------------------------------------------------------------

    def update_schedule_settings(self, settings: Mapping[str, Any]) -> bool:
        """スケジュール設定を更新: take over all of it, or nothing where any of it cannot be meant.

        Returns:
            Whether it was taken over.
        """
        try:
            check_schedule_settings(settings)
        except PlanterSettingsError as error:
            self.logger.error("%s", error.text(self.backup_manager.translate))
            return False
        self.schedule_settings = {**self.schedule_settings, **settings}
        if self._scheduler is not None and self.running:
            self._scheduler.replace_works(self._works(), self)
        self._log(logging.INFO, N_("the schedule was changed"))
        return True

    def get_schedule_settings(self) -> dict[str, Any]:
        """スケジュール設定を取得: a copy."""
        return dict(self.schedule_settings)

    def get_scheduler_status(self) -> dict[str, Any]:
        """スケジューラーの状態を取得: the guide's keys, and when something is due next."""
        upcoming = self._scheduler.upcoming() if self._scheduler is not None and self.running else []
        following = {_NAMES[entry.work.kind]: entry.time.astimezone().isoformat() for entry in upcoming}
        return {
            "running": self.running,
            "schedule_settings": self.get_schedule_settings(),
            "last_full_backup": self.last_full_backup.isoformat() if self.last_full_backup else None,
            "last_cleanup": self.last_cleanup.isoformat() if self.last_cleanup else None,
            "timestamp": self.backup_manager.clock.now().timestamp(),
            "next_full_backup": following.get("full_backup"),
            "next_cleanup": following.get("cleanup"),
        }

    # --- by hand -----------------------------------------------------------------------------

    def force_full_backup(self) -> dict[str, Any]:
        """強制的にフルバックアップを実行: back up now, whenever it is due."""
        self._log(logging.INFO, N_("a full backup by hand begins"))
        with self._guard:
            result = self.backup_manager.create_full_backup()
        if result["success"]:
            self._force_done(WorkKind.BACKUP)
        return result

    def force_cleanup(self) -> dict[str, Any]:
        """強制的にクリーンアップを実行: clean up now, whenever it is due."""
        self._log(logging.INFO, N_("a cleanup by hand begins"))
        with self._guard:
            result = self.backup_manager.cleanup_old_backups()
        if result["success"]:
            self._force_done(WorkKind.CLEANUP)
        return result

    def _force_done(self, kind: WorkKind) -> None:
        self._remember(kind)
        state = self._history.due_state(due_key(kind, JOB))
        if state is not None and not self.running:
            self._history.set_due_state(due_key(kind, JOB), replace(state, last_good=self.backup_manager.clock.now()))

    def _log(self, level: int, template: str, **fields: object) -> None:
        self.logger.log(level, "%s", Phrase(template, **fields).text(self.backup_manager.translate))
