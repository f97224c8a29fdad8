"""Commands that are broken off at every operation of the store, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from kuramori.clock import Clock
from kuramori.crypto.derivation import KdfParameters
from kuramori.errors import FileNotInStorageError, KuramoriError, StorageError, StorageFullError, StorageRetryableError
from kuramori.ids import hash_id
from kuramori.maintenance.check import CheckOptions, check
from kuramori.repository.opening import CreateOptions, OpenOptions, create_repository, open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileType, Handle
from kuramori.storage.memory import MemoryBackend
from kuramori.testing.clock import FakeClock
from kuramori.testing.faulty_backend import CrashAt, FailAt, Fault, FaultyBackend, SimulatedCrash
from samples.thoroughness import first_point, stride

Files = dict[Handle, bytes]
_STEPS = (7, 12)
"""How the moments of a second and a third crash are drawn: far from the first, and each in turn."""
MOST_CRASHES = 1 + len(_STEPS)

OLD = Secret("old password")
CHEAP = KdfParameters(16, 8, 1)
BROKEN = StorageError(location="memory", operation="x", name="y", detail="Input/output error")
FULL = StorageFullError(location="memory", operation="x", name="y")
EVERYDAY = 7
"""On every day each so-many-th operation is broken off; in CI every one."""
AWAY = StorageRetryableError(location="memory", operation="x", name="y", detail="the network is away")


@dataclass
class Scene:
    """A command on a repository, and what must be true after it was broken off."""

    before: Files
    act: Callable[[Backend, Clock], object]
    """The command."""
    judge: Callable[[Files, Clock], object]
    """Looks at what the broken command left; raises if that is bad."""
    again: Callable[[Backend, Clock], object]
    """The command's next run, on what was left, and what must be true then."""


def create(backend: Backend, clock: Clock) -> Repository:
    """Make a repository."""
    return create_repository(backend, OLD, CreateOptions(clock=clock, kdf=CHEAP))


def reopen(backend: Backend, clock: Clock, password: Secret = OLD) -> Repository:
    """Open a repository as the next process does."""
    return open_repository(backend, password, OpenOptions(clock=clock))


def judge_repository(files: Files, clock: Clock, password: Secret = OLD) -> None:
    """Every file is what its name says, and check finds nothing, without any lock in its way."""
    assert all(hash_id(content).hex() == handle.name for handle, content in files.items()
               if handle != CONFIG_HANDLE)
    repository = reopen(MemoryBackend(files), clock, password)
    result = check(repository, CheckOptions(read_data=True))
    assert not result.errors, result.errors


def files_of(backend: Backend) -> Files:
    """Return all files of a store."""
    handles = [Handle(file_type, info.name) for file_type in FileType if file_type is not FileType.CONFIG
               for info in backend.list(file_type)]
    files = {handle: backend.load(handle) for handle in handles}
    with suppress(FileNotInStorageError):  # an init was broken off
        files[CONFIG_HANDLE] = backend.load(CONFIG_HANDLE)
    return files


def moments(every: int = 1) -> Iterator[int]:
    """Count the operations at which something goes wrong: 1, 2, 3 ..., or each ``every``-th of them, and fewer
    on every day; without end."""
    apart = every * stride(EVERYDAY)
    return count(1 + first_point(apart), apart)


def broken_runs(scene: Scene, fault_at: Callable[[int], Fault],
                every: int = 1) -> Iterator[tuple[int, MemoryBackend, FakeClock]]:
    """Run a scene's command again and again on fresh copies, with a fault at each of the ``moments``,
    until one run has fewer operations than that; yield what each left."""
    for number in moments(every):
        memory, clock = MemoryBackend(scene.before), FakeClock()
        clock.advance(24 * 3600)
        faulty = FaultyBackend(memory, fault_at(number))
        with suppress(SimulatedCrash, KuramoriError):
            scene.act(faulty, clock)
        if len(faulty.operations) < number:
            assert number > 5
            return
        clock.advance(60)
        yield number, memory, clock


def survive_crashes(scene: Scene, *, after: bool) -> None:
    """The process dies before (or after) each operation: what it leaves is judged, and the next run
    must succeed."""
    note = f"after a crash {'after' if after else 'before'} operation"
    _survive(scene, lambda number: CrashAt(number, after=after), note)


def survive_failures(scene: Scene, error: StorageError, *, forever: bool, after: bool) -> None:
    """The same where each operation fails, once or from then on."""
    _survive(scene, lambda number: FailAt(number, error, forever=forever, after=after),
             f"after {type(error).__name__} at operation")


def survive_stacked_crashes(scene: Scene) -> None:
    """The process dies after an operation, and the next run, which clears up, dies as well: before or after another
    operation, and so does the one after that. What each leaves is judged, and the next run must succeed.

    The second and third moments differ from first to first, and over all of them go over the whole run.
    """
    undisturbed = FaultyBackend(MemoryBackend(scene.before))
    clock = FakeClock()
    clock.advance(24 * 3600)
    scene.act(undisturbed, clock)
    operations = len(undisturbed.operations)
    for number, memory, clock in broken_runs(scene, lambda number: CrashAt(number, after=True), stride(2)):
        died = [number]
        try:
            for step in _STEPS:
                died.append(1 + number * step % operations)
                with suppress(SimulatedCrash, KuramoriError):
                    scene.act(FaultyBackend(memory, CrashAt(died[-1], after=step % 2 == 1)), clock)
                clock.advance(60)
                scene.judge(memory.snapshot(), clock)
            clock.advance(60)
            scene.again(memory, clock)
        except BaseException as error:
            error.add_note(f"after crashes at operations {died}")
            raise


def _survive(scene: Scene, fault_at: Callable[[int], Fault], note: str) -> None:
    for number, memory, clock in broken_runs(scene, fault_at):
        try:
            scene.judge(memory.snapshot(), clock)
            clock.advance(60)
            scene.again(memory, clock)
        except BaseException as error:
            error.add_note(f"{note} {number}")
            raise
