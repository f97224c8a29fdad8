"""A look at every device of a fleet: each has a repository of its own below one place.

Nothing is written, locked or remembered (but for the cache of remote files, where there is one), so a machine that
has only the right to read may look. A repository that cannot be opened is one row of the answer and ends nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue

from kuramori.errors import (
    ConfigMissingProblem,
    DamagedError,
    DeviceDamagedProblem,
    DeviceLockedOutProblem,
    DeviceUnusableProblem,
    DeviceWithoutPasswordProblem,
    FileNotInStorageError,
    FleetTooWideError,
    KuramoriError,
    NoFleetError,
    NoKeyListedError,
    NoRepositoryError,
    Phrase,
    ShortReadError,
    StorageError,
    TooManyKeysError,
    WrongPasswordError,
)
from kuramori.manager.fleet_judging import HEALTH, Rules, judge_device
from kuramori.manager.fleet_model import DeviceState, DeviceStatus, FleetOptions, FleetStatus
from kuramori.manager.run_catalogue import RunCatalogue
from kuramori.progress import NoProgress
from kuramori.repository.opening import OpenOptions, open_repository
from kuramori.repository.repository import Repository
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType
from kuramori.storage.location import open_backend
from kuramori.storage.prefixes import Prefix, last_part, list_prefixes
from kuramori.storage.reaching import reach_store
from kuramori.storage.read_only import ReadOnlyBackend

_DEEPEST = 2
"""Levels of folders below the location: ``site/device`` is found, what lies deeper is not looked for."""
_MOST_FOLDERS = 20_000
"""A location with more is a mistake, such as the root of a disk."""
_ORDER = (DeviceState.DAMAGED, DeviceState.OVERDUE, DeviceState.NEVER, DeviceState.LOCKED_OUT, DeviceState.UNUSABLE,
          DeviceState.PARTIAL, DeviceState.AHEAD, DeviceState.AWAY, DeviceState.WELL)
"""The worst first."""
_PARTS_OF_A_REPOSITORY = frozenset(one.value for one in (FileType.KEY, FileType.PACK))
_NEVER_A_DEVICE = frozenset({"lost+found"})
_DAMAGE = (DamagedError, NoKeyListedError)
_LOOKS = 2
"""What seems damaged or gone is looked at once more: somebody may have pruned meanwhile."""
_WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a listing that failed is tried again."""


def survey_fleet(options: FleetOptions) -> FleetStatus:
    """Return how all devices stand, the worst first.

    Raises:
        NoFleetError: there is no repository there.
        PrefixListingError: the store does not say what lies below a location.
        UnknownLocationError, StoreNotBuiltError, MissingExtraError, StorageError: a location itself cannot be used.
    """
    return _Survey(options).make()


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder that may be a repository."""

    name: str
    location: str
    access: StoreAccess
    depth: int


_Outcome = DeviceStatus | list[_Place] | BaseException
"""A device; or the folders to look into; or why everything ends."""


class _Survey:
    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        self._now = options.clock.now()
        self._rules = Rules(self._now, options.stale_seconds, options.interval_of)
        self._waiting: SimpleQueue[_Place | None] = SimpleQueue()
        self._done: SimpleQueue[_Outcome] = SimpleQueue()
        self._ended = threading.Event()

    def make(self) -> FleetStatus:
        """Look at everything, several places at once."""
        roots = [_Place("", location, access, 0) for location, access in self._options.locations]
        count = max(self._options.at_once, 1)
        for _ in range(count):
            # They end with the process: whoever presses Ctrl-C shall not wait for a store that does not answer.
            threading.Thread(target=self._work, daemon=True).start()
        self._options.progress.start("look at devices")
        try:
            devices = list(self._collect(roots))
        finally:
            self._options.progress.finish()
            self._ended.set()
            for _ in range(count):
                self._waiting.put(None)
        if not devices:
            raise NoFleetError(location=self._shown_roots())
        return FleetStatus(self._now, tuple(sorted(devices, key=_rank)))

    def _shown_roots(self) -> str:
        return ", ".join(_shown_location(location, access) for location, access in self._options.locations)

    def _collect(self, roots: Sequence[_Place]) -> Iterator[DeviceStatus]:
        """Yield the devices as they are found."""
        places = 0
        pending = list(roots)
        outstanding = 0
        while pending or outstanding:
            places += len(pending)
            if places > _MOST_FOLDERS:
                raise FleetTooWideError(location=self._shown_roots(), count=_MOST_FOLDERS)
            for place in pending:
                self._waiting.put(place)
            outstanding += len(pending)
            pending = []
            outcome = self._done.get()
            outstanding -= 1
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(outcome, DeviceStatus):
                self._options.progress.advance(1)
                yield outcome
            else:
                pending = outcome

    # --- in threads --------------------------------------------------------------------------

    def _work(self) -> None:
        while (place := self._waiting.get()) is not None and not self._ended.is_set():
            try:
                self._done.put(self._look(place))
            except BaseException as error:  # a thread's boundary: the main thread raises it, and never waits in vain
                self._done.put(error)

    def _look(self, place: _Place) -> _Outcome:
        """Return what is at a place.

        Raises:
            KuramoriError: it is the only one that was asked for, and cannot be used.
        """
        name = place.name or last_part(_shown_location(place.location, place.access))
        try:
            device = self._look_at_repository(place, name)
            return self._look_below(place, name) if device is None else device
        except KuramoriError as error:
            alone = place.depth == 0 and len(self._options.locations) == 1
            if alone and isinstance(error, FileNotInStorageError):
                return []
            if alone and not isinstance(error, _DAMAGE):
                raise
            return _unusable(name, place, error)

    def _look_at_repository(self, place: _Place, name: str) -> DeviceStatus | None:
        """Return how the device stands whose repository is at a place; None if there is none."""
        device: DeviceStatus | None = None
        for attempt in range(_LOOKS):
            try:
                device = self._look_once(place, name)
            except (*_DAMAGE, FileNotInStorageError):
                if attempt == _LOOKS - 1:
                    raise
                continue
            if device is None or device.state is not DeviceState.DAMAGED:
                break
        return device

    def _look_once(self, place: _Place, name: str) -> DeviceStatus | None:
        store = self._reach(place.location, place.access)
        cache = self._options.cache_directory if store.worker_location is None else None
        backend = ReadOnlyBackend(store)
        try:
            return self._look_into(backend, name, OpenOptions(clock=self._options.clock, cache_directory=cache,
                                                              last_keys_directory=cache))
        except NoRepositoryError:
            return None
        finally:
            backend.close()

    def _look_into(self, backend: Backend, name: str, options: OpenOptions) -> DeviceStatus:
        passwords = self._options.passwords(name)
        for password in passwords:
            try:
                repository = open_repository(backend, password, options)
            except (WrongPasswordError, TooManyKeysError):
                continue
            return self._judge(name, repository)
        if passwords:
            return _row(name, backend.location, DeviceState.LOCKED_OUT, DeviceLockedOutProblem(device=name))
        try:
            backend.load(CONFIG_HANDLE)  # and not its size: to a HEAD a server does not say what is wrong
        except FileNotInStorageError:
            raise NoRepositoryError(location=backend.location) from None
        return _row(name, backend.location, DeviceState.LOCKED_OUT, DeviceWithoutPasswordProblem(device=name))

    def _judge(self, name: str, repository: Repository) -> DeviceStatus:
        damages = _Damages()
        catalogue = RunCatalogue(repository, name, damages)
        device = judge_device(name, repository.backend.location, catalogue, damages.found, self._rules,
                              repository_id=repository.id, stored_bytes=repository.index.packed_bytes())
        if damages.away is not None:
            raise damages.away
        return device

    def _reach(self, location: str, access: StoreAccess) -> Backend:
        if self._options.reach is not None:
            return self._options.reach(location, access)
        return reach_store(location, access, clock=self._options.clock)

    def _look_below(self, place: _Place, name: str) -> _Outcome:
        """Return the folders at a place that is no repository, where that may be of use."""
        prefixes = self._list(place)
        if {prefix.name for prefix in prefixes} >= _PARTS_OF_A_REPOSITORY:
            return _row(name, _shown_location(place.location, place.access), DeviceState.DAMAGED,
                        ConfigMissingProblem(device=name))
        if place.depth >= _DEEPEST:
            return []
        above = f"{name}/" if place.depth or len(self._options.locations) > 1 else ""
        return [_Place(above + prefix.name, prefix.location, place.access, place.depth + 1) for prefix in prefixes
                if not prefix.name.startswith(".") and prefix.name not in _NEVER_A_DEVICE]

    def _list(self, place: _Place) -> list[Prefix]:
        for wait in (*_WAITS, None):
            try:
                return list(islice(list_prefixes(place.location, place.access), _MOST_FOLDERS + 1))
            except StorageError as error:
                if not error.retryable or wait is None:
                    raise
                self._options.clock.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


class _Damages(NoProgress):
    """Keeps what was found damaged, and apart from it that the store failed: then nobody knows."""

    def __init__(self) -> None:
        self.found: list[KuramoriError] = []
        self.away: StorageError | None = None

    def warning(self, error: Exception) -> None:
        """Keep it."""
        if isinstance(error, StorageError) and not isinstance(error, (FileNotInStorageError, ShortReadError)):
            self.away = error
        elif isinstance(error, KuramoriError):
            self.found.append(error)


def _unusable(name: str, place: _Place, error: KuramoriError) -> DeviceStatus:
    location = _shown_location(place.location, place.access)
    if isinstance(error, _DAMAGE):
        return _row(name, location, DeviceState.DAMAGED, DeviceDamagedProblem(device=name, detail=error))
    remedy = Phrase(error.advice, **error.fields) if error.advice else ""
    return _row(name, location, DeviceState.AWAY if error.retryable else DeviceState.UNUSABLE,
                DeviceUnusableProblem(device=name, detail=error, remedy=remedy))


def _row(name: str, location: str, state: DeviceState, problem: KuramoriError) -> DeviceStatus:
    return DeviceStatus(name=name, location=location, health=HEALTH[state], state=state, problems=(problem,))


def _shown_location(location: str, access: StoreAccess) -> str:
    """Return a location without its password."""
    backend = open_backend(location, access)
    try:
        return backend.location
    finally:
        backend.close()


def _rank(device: DeviceStatus) -> tuple[int, float, str]:
    """The worst first, then the oldest, then by name."""
    return _ORDER.index(device.state), -(device.age_seconds or 0.0), device.name
