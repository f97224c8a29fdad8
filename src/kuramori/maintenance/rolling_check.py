"""The rolling check: every pack is read at least once in so many days, a part of them each day.

A disk loses bits without a word, and reading everything every day is too much for a large
repository or a store that charges for it. What was read and when is kept on this machine
(:mod:`kuramori.ledger.pack_ledger`), so a run that was broken off is no loss, and the proof that all
was read is there to be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kuramori.errors import N_, Interrupted, RepositoryLockedError, UsageError
from kuramori.ids import Id
from kuramori.ledger.pack_ledger import Coverage, PackLedger, PackNotes, PackRecord, measure_coverage
from kuramori.maintenance.check import find_lost
from kuramori.maintenance.check_crew import CheckCrew
from kuramori.maintenance.check_data import DataCheck
from kuramori.maintenance.check_index import IndexCheck, confirm_presence
from kuramori.maintenance.check_result import CheckResult
from kuramori.maintenance.check_trees import TreeCheck
from kuramori.maintenance.rolling_plan import RollingPlan, plan_rolling_check
from kuramori.progress import NoProgress, Progress
from kuramori.repository.locks import hold_lock
from kuramori.repository.repository import Repository
from kuramori.repository.snapshots import list_snapshots


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class RollingCheckOptions:
    """What to read in which time."""

    days: int = 30
    """Every pack is read at least once in so many days."""
    budget: int | None = None
    """Bytes to read in one day of the local calendar; None for as many as the days ask for."""
    read_concurrency: int = 0
    """How many packs to read at once; 0 for one per processor."""
    retry_lock_seconds: float = 0.0
    lock_waiting: Callable[[RepositoryLockedError], None] | None = None
    """Told before each wait for somebody else's lock."""
    cancelled: Callable[[], bool] = _never
    """Asked before each pack, in the thread of the caller; True ends the check in good order."""


@dataclass(slots=True)
class RollingCheckResult:
    """What was read and found."""

    check: CheckResult = field(default_factory=CheckResult)
    """Damage that was found, in the packs that were read and in the index."""
    plan: RollingPlan = field(default_factory=RollingPlan)
    coverage: Coverage = field(default_factory=Coverage)
    """What was read in the last days, after this run; with all damage that is known."""
    damaged_packs: list[str] = field(default_factory=list)
    """Ids of packs that are gone, or were damaged when they were last read, now or earlier; sorted. What could not be
    read for another reason, such as a network, is not among them."""
    newly_damaged: list[str] = field(default_factory=list)
    """Those of them of which that was not known before."""


def rolling_check(repository: Repository, options: RollingCheckOptions | None = None,
                  progress: Progress | None = None) -> RollingCheckResult:
    """Read the packs whose turn it is. Takes a shared lock; backups may go on meanwhile. The index is
    loaded anew. Damage never ends it; what was read is written down as it goes on, also if it is
    broken off.

    The repository must have been opened with a ledger directory, and without a cache: a copy on this
    machine proves nothing.

    Raises:
        UsageError: the options make no sense, or there is no ledger.
        RepositoryLockedError, LockLostError, StorageError
        Interrupted: ``options.cancelled`` said so.
    """
    options = options or RollingCheckOptions()
    ledger = repository.pack_ledger
    if options.days < 1 or (options.budget is not None and options.budget < 1):
        raise UsageError(detail=N_("the days and the budget of a rolling check must be more than nothing"))
    if ledger is None:
        raise UsageError(detail=N_("a rolling check needs a folder for its ledger"))
    with hold_lock(repository, retry_seconds=options.retry_lock_seconds, waiting=options.lock_waiting) as lock:
        return _RollingCheck(repository, ledger, options, progress or NoProgress()).run(lock.check)


class _RollingCheck:
    """One run."""

    def __init__(self, repository: Repository, ledger: PackLedger, options: RollingCheckOptions,
                 progress: Progress) -> None:
        self._repository = repository
        self._ledger = ledger
        self._options = options
        self._progress = progress
        self._result = RollingCheckResult()
        self._notes = PackNotes(ledger)
        self._records: dict[Id, PackRecord] = {}
        self._known_damage: set[str] = set()

    def run(self, check_lock: Callable[[], None]) -> RollingCheckResult:
        """Do it."""
        def look() -> None:
            check_lock()
            self._check_wanted()

        result, repository = self._result, self._repository
        self._check_wanted()
        self._known_damage = {pack.hex() for pack in self._ledger.damaged()}
        index_check = IndexCheck(repository, result.check)
        complete = index_check.run(self._progress)
        wrong = set(result.check.broken_packs)
        if not complete:
            return self._conclude(self._ledger.coverage(self._options.days), wrong)
        repository.index = index_check.index
        repository.index_names = index_check.index_names
        missing = dict.fromkeys(index_check.packs.keys() - index_check.present.keys(), 0)
        self._records = self._ledger.observe({**index_check.present, **missing})
        for pack in missing:
            del self._records[pack]  # there is nothing to read
        result.plan = self._plan()
        self._check_wanted()
        with CheckCrew(repository) as crew, DataCheck(repository, result.check, crew) as data_check:
            try:
                data_check.run(index_check.packs, result.plan.packs, self._options.read_concurrency, look,
                               self._progress, self._read)
            finally:
                self._notes.flush()
        self._name_affected(data_check, index_check.packs.keys() - index_check.present.keys())
        return self._conclude(measure_coverage(self._records, repository.clock.now_nanoseconds(), self._options.days),
                              wrong)

    def _conclude(self, coverage: Coverage, wrong: set[str]) -> RollingCheckResult:
        """Return the result.

        Args:
            wrong: packs that are not what the index says, without having been read.
        """
        self._result.coverage = coverage
        self._result.damaged_packs = sorted(wrong | {pack for pack, _ in coverage.damaged})
        self._result.newly_damaged = [pack for pack in self._result.damaged_packs if pack not in self._known_damage]
        return self._result

    def _check_wanted(self) -> None:
        if self._options.cancelled():
            raise Interrupted

    def _plan(self) -> RollingPlan:
        now = self._repository.clock.now()
        began = now.replace(hour=0, minute=0, second=0, microsecond=0)
        since_midnight = round((now - began).total_seconds() * 1e9)
        nanoseconds = self._repository.clock.now_nanoseconds()
        return plan_rolling_check(self._records, now=nanoseconds, day_began=nanoseconds - since_midnight,
                                  days=self._options.days, budget=self._options.budget)

    def _read(self, pack: Id, size: int, sound: bool) -> None:
        if not sound:
            confirm_presence(self._repository)
        self._notes.add(pack, size, sound)
        now = self._repository.clock.now_nanoseconds()
        self._records[pack] = PackRecord(size, self._records[pack].seen, now, sound)

    def _name_affected(self, data_check: DataCheck, missing: set[Id]) -> None:
        """Name the files that damage touches; without damage no snapshot is read."""
        data_check.add_missing(missing)
        if not data_check.damaged:
            return
        tree_check = TreeCheck(self._repository, self._result.check)
        tree_check.load_snapshots(list_snapshots(self._repository))
        tree_check.report_affected(find_lost(self._repository, data_check.damaged), self._progress)
