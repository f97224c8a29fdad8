"""Locks as restic keeps them (format section 3).

A lock is a file. Shared ones exclude exclusive ones; it is refreshed every five minutes and stale
after thirty. What restic leaves to ``restic unlock`` is done here when a lock is taken: one that a
dead process of this host left behind, or that nobody has refreshed for half an hour, is cleared.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from kuramori.clock import Clock
from kuramori.errors import (
    N_,
    DamagedError,
    DamagedLockError,
    FileNotInStorageError,
    Interrupted,
    KuramoriError,
    LockLostError,
    Phrase,
    RepositoryLockedError,
    StorageError,
    StoragePermissionError,
)
from kuramori.model.lock_file import LockFile, decode_lock, encode_lock
from kuramori.model.times import format_datetime
from kuramori.repository.forking import at_rest
from kuramori.repository.process_identity import ProcessIdentity, current_identity, process_is_alive
from kuramori.repository.repository import Repository
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.retry import impatience

REFRESH_SECONDS = 5 * 60.0
SELDOM_REFRESH_SECONDS = 15 * 60.0
STALE_SECONDS = 30 * 60.0
LOST_SECONDS = 22.5 * 60.0
"""Without a refresh for so long, the lock counts as lost until it was verified."""
_SETTLE_SECONDS = 0.2
_SURELY_SEEN_SECONDS = 0.1
_READER_SURELY_SEEN_SECONDS = 0.15
"""A lock that is written so soon after its owner looked is seen by all others when they look again: see
:meth:`Lock.confirm`."""
_CONFIRMATION_SECONDS = 5.0
"""So long a look that is on its way is waited for where it is of no use any more; a store may have ceased to answer."""
_UNREADABLE_WAITS = (0.5, 2.0, 5.0)

_held_names: set[str] = set()
"""Names of the locks that this very process holds. One with our host and process number that is
not here was left by an earlier process of the same number, or by a crash simulated in a test."""
_held_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class StoredLock:
    """A lock of somebody and the name of its file."""

    name: str
    lock: LockFile


def list_locks(repository: Repository, *, own: str = "") -> list[StoredLock]:
    """Return every readable lock; empty and vanished files are left out.

    Args:
        own: the name of a lock that is left out, as its holder knows what is in it.

    Raises:
        DamagedError: one cannot be read, after some patience (it may just be being written).
    """
    found = []
    for info in list(repository.backend.list(FileType.LOCK)):
        if info.size == 0 or info.name == own:
            continue
        lock = _load_patiently(repository, info.name)
        if lock is not None:
            found.append(StoredLock(info.name, lock))
    return found


def _load_patiently(repository: Repository, name: str) -> LockFile | None:
    for wait in (*_UNREADABLE_WAITS, None):
        try:
            return decode_lock(repository.load_unpacked(FileType.LOCK, name))
        except FileNotInStorageError:
            return None
        except (DamagedError, ValueError) as error:
            if wait is None:
                detail = error.fields.get("detail") if isinstance(error, DamagedError) else str(error)
                raise DamagedLockError(what=Phrase(N_("lock {name}"), name=name), detail=detail) from None
            repository.clock.sleep(wait)
    return None


def is_stale(stored: StoredLock, now_nanoseconds: int, identity: ProcessIdentity) -> bool:
    """Tell whether a lock's owner is certainly gone: not refreshed for thirty minutes, or a
    process of this host that no longer lives."""
    age = (now_nanoseconds - stored.lock.time_nanoseconds) / 1e9
    if age > STALE_SECONDS:
        return True
    if stored.lock.hostname != identity.hostname:
        return False
    if stored.lock.pid == identity.pid:
        with _held_guard:
            return stored.name not in _held_names
    return not process_is_alive(stored.lock.pid, stored.lock.time_nanoseconds)


def remove_stale_locks(repository: Repository) -> int:
    """Delete the locks whose owners are gone, and those that cannot be read; return how many."""
    identity = current_identity()
    now = repository.clock.now_nanoseconds()
    removed = 0
    for info in list(repository.backend.list(FileType.LOCK)):
        try:
            lock = decode_lock(repository.load_unpacked(FileType.LOCK, info.name))
        except FileNotInStorageError:
            continue
        except (DamagedError, ValueError):
            removed += _remove_quietly(repository, info.name)
            continue
        if is_stale(StoredLock(info.name, lock), now, identity):
            removed += _remove_quietly(repository, info.name)
    return removed


def remove_all_locks(repository: Repository) -> int:
    """Delete every lock, also of the living; return how many."""
    return sum(_remove_quietly(repository, info.name) for info in list(repository.backend.list(FileType.LOCK)))


def _remove_quietly(repository: Repository, name: str) -> int:
    try:
        repository.remove(FileType.LOCK, name)
    except FileNotInStorageError:
        return 0
    return 1


class Lock:
    """A lock that we hold. A thread keeps it fresh."""

    def __init__(self, repository: Repository, exclusive: bool, reading: bool = False) -> None:
        """For :func:`hold_lock`."""
        self.exclusive = exclusive
        self._reading = reading and not exclusive
        self._repository = repository
        self._clock: Clock = repository.clock
        self._identity = current_identity()
        self._name = ""
        self._refreshed = 0.0
        self._written = 0.0
        self._surely_seen = False
        self._confirmed = False
        self._refused: BaseException | None = None
        self._confirming = threading.RLock()
        self._confirmation: threading.Thread | None = None
        self._may_delete = True
        self._lost: LockLostError | None = None
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The name of the lock's file at this moment."""
        return self._name

    def acquire(self) -> None:
        """Look for conflicts and write the lock. :meth:`confirm` must follow before anything that
        relies on it is written.

        Raises:
            RepositoryLockedError: somebody else's lock excludes ours.
        """
        began, began_wall = self._clock.monotonic(), self._clock.now_nanoseconds()
        self._refuse_conflicts()
        self._name = self._write()
        self._written = self._refreshed = self._clock.monotonic()
        # Two clocks: one may stand while the machine sleeps, the other may be set.
        taken = max(self._written - began, abs(self._clock.now_nanoseconds() - began_wall) / 1e9)
        self._surely_seen = not self.exclusive and taken < self._seen_within()

    def _seen_within(self) -> float:
        if self._reading:
            return _READER_SURELY_SEEN_SECONDS
        return _SURELY_SEEN_SECONDS if self._repository.backend.worker_location is not None else 0.0

    def confirm(self) -> None:
        """Wait until everybody who wrote a lock at the same moment can be seen, and look again.
        May be called more than once.

        A shared lock on this machine's disk that was written within a tenth of a second need not: what excludes it
        is an exclusive one that was not there when we looked, so it was written later, and its owner (restic as well)
        looks again 0.2 s after that. By then ours was there, and it is the exclusive one that gives way. Beyond the
        network this holds as long as listings are never out of date. Whoever only reads relies on that, for the worst
        is a reading that fails; whoever writes looks again.

        Raises:
            RepositoryLockedError: somebody else's lock excludes ours; ours is gone.
        """
        with self._confirming:
            if self._confirmed:
                return
            if self._refused is not None:
                raise self._refused
            if not self._surely_seen:
                self._look_again()
            self._confirmed = True
            self._thread = threading.Thread(target=self._keep_fresh, name="kuramori-lock", daemon=True)
            self._thread.start()

    def confirm_meanwhile(self) -> None:
        """Begin :meth:`confirm`, in a thread where it has to wait. :meth:`check` raises what came of it as soon as it
        is known; :meth:`confirm` must be called before anything is written, or said about what was read.

        Raises:
            RepositoryLockedError: it is known at once that somebody else's lock excludes ours.
        """
        if self._surely_seen:
            self.confirm()
        else:
            self._confirmation = threading.Thread(target=self._confirm_quietly, name="kuramori-lock-confirm",
                                                  daemon=True)
            self._confirmation.start()

    def _confirm_quietly(self) -> None:
        with suppress(BaseException):  # whatever it is, it was kept for those who rely on the lock
            self.confirm()

    def _look_again(self) -> None:
        rest = _SETTLE_SECONDS - (self._clock.monotonic() - self._written)
        if rest > 0:
            with at_rest():
                self._clock.sleep(rest)
        try:
            self._refuse_conflicts()
        except BaseException as error:
            self._refused = error
            self.release()
            raise

    def check(self) -> None:
        """Return if the lock still holds.

        Raises:
            LockLostError: it does not; nothing may be written any more.
            RepositoryLockedError: it never did (see :meth:`confirm_meanwhile`).
        """
        if self._refused is not None:
            raise self._refused
        if self._lost is not None:
            raise self._lost
        if self._clock.monotonic() - self._refreshed > LOST_SECONDS:
            # The machine slept, or the store was away: believe only what lies in the store now.
            self._verify_and_refresh()

    def release(self) -> None:
        """Delete the lock. May be called more than once.

        Where the store does not let us, what was done is done all the same. The lock stays, and is stale after half
        an hour, and at once for this machine.
        """
        try:
            self._let_go()
        except (Interrupted, KeyboardInterrupt):
            self._let_go()  # it came at the very end, and shall not leave a lock behind
            raise

    def _let_go(self) -> None:
        self._stop.set()
        self._await_confirmation()
        thread = self._thread
        # An interruption may come before a thread that was made is started.
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join()
        with self._guard:
            name = self._name
            if not name:
                return
            try:
                with suppress(StorageError):
                    self._repository.remove(FileType.LOCK, name)
                self._name = ""
            finally:
                with _held_guard:
                    _held_names.discard(name)

    def _await_confirmation(self) -> None:
        """Let the look at the others end, which nobody needs any more: it is on its way, and shall not outlive us."""
        thread = self._confirmation
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            with impatience(self._repository.backend):
                thread.join(_CONFIRMATION_SECONDS)

    def _refuse_conflicts(self) -> None:
        now = self._clock.now_nanoseconds()
        for stored in list_locks(self._repository, own=self._name):
            if is_stale(stored, now, self._identity):
                # Also where it excludes nobody now: restic would refuse to check or prune.
                self._clear(stored.name)
                continue
            if not (self.exclusive or stored.lock.exclusive):
                continue
            raise RepositoryLockedError(
                lock=stored.name[:8], kind="exclusive" if stored.lock.exclusive else "shared",
                owner=f"{stored.lock.username}@{stored.lock.hostname}", pid=stored.lock.pid,
                since=stored.lock.time[:19].replace("T", " "), location=self._repository.backend.location,
            )

    def _clear(self, name: str) -> None:
        """Delete a lock file that nobody needs; where the store refuses that, ask for no more of it."""
        if self._may_delete:
            try:
                self._repository.remove(FileType.LOCK, name)
            except StoragePermissionError:
                self._may_delete = False
            except StorageError:
                pass  # the next one to take a lock tries again

    def _write(self) -> str:
        identity = self._identity
        document = encode_lock(LockFile(
            time=format_datetime(self._clock.now()), exclusive=self.exclusive, hostname=identity.hostname,
            username=identity.username, pid=identity.pid, uid=identity.uid, gid=identity.gid,
        ))
        name, sealed = self._repository.seal_document(document)
        try:
            self._repository.backend.save(Handle(FileType.LOCK, name), [sealed])
        except (Interrupted, KeyboardInterrupt):
            # Perhaps it is there already, and nobody would know its name.
            with suppress(StorageError):
                self._repository.backend.remove(Handle(FileType.LOCK, name))
            raise
        with _held_guard:
            _held_names.add(name)
        return name

    def _keep_fresh(self) -> None:
        # Where old ones stay, each refresh leaves one behind: then fewer do.
        while not self._is_ending(REFRESH_SECONDS if self._may_delete else SELDOM_REFRESH_SECONDS):
            try:
                if self._clock.monotonic() - self._refreshed > LOST_SECONDS:
                    self._verify_and_refresh()
                else:
                    self._replace()
            except LockLostError:
                return
            except KuramoriError:
                continue  # tried again at the next turn; check() notices if that never succeeds

    def _is_ending(self, seconds: float) -> bool:
        with at_rest():
            return self._stop.wait(seconds)

    def _replace(self) -> None:
        with self._guard:
            if not self._name:
                return
            new = self._write()
            old, self._name = self._name, new
            self._refreshed = self._clock.monotonic()
        self._clear(old)
        with _held_guard:
            _held_names.discard(old)

    def _verify_and_refresh(self) -> None:
        try:
            names = {info.name for info in self._repository.backend.list(FileType.LOCK)}
            if self._name not in names:
                raise LockLostError(location=self._repository.backend.location,
                                    detail=N_("somebody removed it while this machine was not keeping it fresh"))
            self._replace()
            self._clock.sleep(_SETTLE_SECONDS)
            self._refuse_conflicts()
        except RepositoryLockedError as error:
            self._lost = LockLostError(location=self._repository.backend.location, detail=error)
            raise self._lost from None
        except LockLostError as error:
            self._lost = error
            raise
        except StorageError as error:
            self._lost = LockLostError(location=self._repository.backend.location, detail=error)
            raise self._lost from None


def withdraw_unless_held(repository: Repository, file_type: FileType, name: str, check: Callable[[], None]) -> None:
    """Look at the lock after an index file or a snapshot was saved, and delete that again if the lock was
    lost.

    A machine may sleep while a file is on its way. Others then take the lock for stale and what was
    stored for unused, and remove it; and every later backup would believe an index that names it.

    Args:
        check: :meth:`Lock.check`, or nothing where there is no lock.

    Raises:
        LockLostError: it was lost.
    """
    try:
        check()
    except LockLostError:
        with suppress(StorageError):
            repository.remove(file_type, name)
        raise


@contextmanager
def hold_lock(repository: Repository, *, exclusive: bool = False, retry_seconds: float = 0.0,
              confirm: bool = True, reading: bool = False,
              waiting: Callable[[RepositoryLockedError], None] | None = None) -> Iterator[Lock]:
    """Hold a lock for the time of a ``with`` block.

    While it is held, SIGHUP is ignored: ``restic unlock`` sends it to see whether we live.

    Args:
        exclusive: exclude everybody else.
        retry_seconds: how long to try again while somebody else's lock is in the way.
        confirm: False to call :meth:`Lock.confirm` oneself, and read meanwhile.
        reading: nothing is written under it, and it is shared (see :meth:`Lock.confirm`).
        waiting: called each time before waiting.

    Raises:
        RepositoryLockedError: somebody else's lock stayed in the way.
    """
    with _hangup_ignored():
        lock = Lock(repository, exclusive, reading)
        _acquire_patiently(lock, repository.clock, retry_seconds, confirm, waiting)
        try:
            yield lock
        finally:
            lock.release()


def _acquire_patiently(lock: Lock, clock: Clock, retry_seconds: float, confirm: bool,
                       waiting: Callable[[RepositoryLockedError], None] | None) -> None:
    deadline = clock.monotonic() + retry_seconds
    pause = 5.0
    while True:
        try:
            lock.acquire()
            try:
                if confirm:
                    lock.confirm()
            except BaseException:
                lock.release()
                raise
            return
        except RepositoryLockedError as error:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise
            if waiting is not None:
                waiting(error)
            clock.sleep(min(pause, left))
            pause = min(pause * 2, 60.0)


_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
_hangup_count = 0
_hangup_previous: _Handler = None


@contextmanager
def _hangup_ignored() -> Iterator[None]:
    """Ignore SIGHUP while any lock is held. Only the main thread may set handlers; a library user
    who locks from another thread must ignore SIGHUP itself."""
    global _hangup_count, _hangup_previous
    possible = hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread()
    if not possible:
        yield
        return
    if _hangup_count == 0:
        _hangup_previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _hangup_count += 1
    try:
        yield
    finally:
        _hangup_count -= 1
        if _hangup_count == 0:
            signal.signal(signal.SIGHUP, _hangup_previous if _hangup_previous is not None else signal.SIG_DFL)
