"""A backend that fails, lies, dawdles and dies on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from kuramori.clock import Clock
from kuramori.errors import StorageError
from kuramori.storage.backend import Backend, Buffer, FileInfo, FileType, Handle, StagedFile
from kuramori.storage.forwarding import ForwardingBackend

Result = TypeVar("Result")


class SimulatedCrash(BaseException):
    """The process is dead from here on, as far as the store can see. It is no ``Exception``, so
    that nothing but clean-up code runs, and that finds the store refusing everything."""


class Operation(NamedTuple):
    """One call that reached a :class:`FaultyBackend`."""

    number: int
    """From 1, over all threads."""
    kind: str
    """``create save stage write read_back commit discard load size list remove
    remove_leftovers``."""
    subject: str
    """What it was about: a handle, a type of files or nothing."""


@dataclass(frozen=True, slots=True)
class FailAt:
    """Operation ``number`` raises ``error``; with ``forever`` all later ones do too. With
    ``after``, it is carried out first: its answer got lost."""

    number: int
    error: StorageError
    forever: bool = False
    after: bool = False


@dataclass(frozen=True, slots=True)
class FailKind:
    """Every operation of a kind raises ``error``; ``times`` limits how often."""

    kind: str
    error: StorageError
    times: int | None = None


@dataclass(frozen=True, slots=True)
class CrashAt:
    """The process dies before operation ``number``, or right after it was carried out."""

    number: int
    after: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Every operation of ``kind`` (or every one) takes ``seconds`` longer by the clock."""

    seconds: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Reads of matching files end after ``keep`` bytes, without saying so."""

    matches: Callable[[Handle], bool]
    keep: int
    times: int | None = None


@dataclass(frozen=True, slots=True)
class FlipBit:
    """Bit ``bit`` of the byte at ``offset`` in matching files is wrong in every read that covers
    it."""

    matches: Callable[[Handle], bool]
    offset: int
    bit: int = 0
    times: int | None = None


@dataclass(frozen=True, slots=True)
class CallAt:
    """Just before operation ``number`` (of a kind, if one is given) something else happens: what another
    process does in that moment. It may use the wrapped store itself; operations of its own on this one
    are numbered too."""

    number: int
    action: Callable[[], object]
    kind: str = ""


Fault: TypeAlias = FailAt | FailKind | CrashAt | Delay | Truncate | FlipBit | CallAt


class FaultyBackend(ForwardingBackend):
    """Wraps a backend, numbers every operation and lets faults happen.

    Attributes:
        operations: all operations so far, in the order in which they began.
    """

    def __init__(self, inner: Backend, *faults: Fault, clock: Clock | None = None) -> None:
        """Wrap ``inner``.

        Args:
            faults: what goes wrong; more with :meth:`inject`.
            clock: what :class:`Delay` sleeps by; needed only for it.
        """
        super().__init__(inner)
        self.operations: list[Operation] = []
        self._faults: list[Fault] = list(faults)
        self._used: dict[int, int] = {}
        self._clock = clock
        self._guard = threading.Lock()
        self._crashed = False

    @property
    def worker_location(self) -> str | None:
        """None: nothing shall go past the faults."""
        return None

    @property
    def crashed(self) -> bool:
        """Whether a :class:`CrashAt` has happened."""
        return self._crashed

    def inject(self, *faults: Fault) -> None:
        """Add faults."""
        with self._guard:
            self._faults.extend(faults)

    def heal(self) -> None:
        """Forget all faults, and a crash: the same store, seen by the next process."""
        with self._guard:
            self._faults.clear()
            self._used.clear()
            self._crashed = False

    def create(self) -> None:
        """Make the place ready."""
        self.perform("create", "", self._inner.create)

    def save(self, handle: Handle, parts: Sequence[Buffer]) -> None:
        """Store a file."""
        self.perform("save", str(handle), lambda: self._inner.save(handle, parts))

    def stage(self) -> StagedFile:
        """Begin a pack; what is done with it is numbered too."""
        return _FaultyStagedFile(self, self.perform("stage", "", self._inner.stage))

    def load(self, handle: Handle, offset: int = 0, length: int | None = None) -> bytes:
        """Return a range of a file, as good as the faults allow."""
        data = self.perform("load", str(handle), lambda: self._inner.load(handle, offset, length))
        return self._spoil(handle, offset, data)

    def size(self, handle: Handle) -> int:
        """Return the file's size in bytes."""
        return self.perform("size", str(handle), lambda: self._inner.size(handle))

    def list(self, file_type: FileType) -> Iterator[FileInfo]:
        """Yield the files of a type. The whole listing is one operation."""
        return iter(self.perform("list", file_type.value, lambda: [*self._inner.list(file_type)]))

    def remove(self, handle: Handle) -> None:
        """Delete a file."""
        self.perform("remove", str(handle), lambda: self._inner.remove(handle))

    def remove_leftovers(self, older_than_seconds: float) -> int:
        """Delete what killed processes left."""
        return self.perform("remove_leftovers", "", lambda: self._inner.remove_leftovers(older_than_seconds))

    def perform(self, kind: str, subject: str, action: Callable[[], Result]) -> Result:
        """Number an operation, let what is due before it happen, carry it out, and let what is due
        after it happen."""
        with self._guard:
            self._die_if_dead()
            operation = Operation(len(self.operations) + 1, kind, subject)
            self.operations.append(operation)
            faults = list(self._faults)
        for number, fault in enumerate(faults):
            self._before(number, fault, operation)
        result = action()
        for fault in faults:
            self._after(fault, operation)
        with self._guard:
            self._die_if_dead()  # another thread's crash: the answer reaches nobody
        return result

    def _before(self, number: int, fault: Fault, operation: Operation) -> None:
        if isinstance(fault, CrashAt) and not fault.after and operation.number == fault.number:
            self._crash()
        elif isinstance(fault, FailAt) and not fault.after:
            if operation.number == fault.number or (fault.forever and operation.number > fault.number):
                raise _fresh(fault.error)
        elif isinstance(fault, FailKind) and operation.kind == fault.kind and self._use(number, fault.times):
            raise _fresh(fault.error)
        elif isinstance(fault, CallAt) and self._position(operation, fault.kind) == fault.number:
            fault.action()
        elif isinstance(fault, Delay) and fault.kind in ("", operation.kind):
            if self._clock is None:
                raise ValueError("a Delay needs a clock")
            self._clock.sleep(fault.seconds)

    def _position(self, operation: Operation, kind: str) -> int:
        """Return the number of an operation among those of a kind; 0 if it is of another one."""
        if not kind:
            return operation.number
        if operation.kind != kind:
            return 0
        return sum(earlier.kind == kind for earlier in self.operations[: operation.number])

    def _after(self, fault: Fault, operation: Operation) -> None:
        if isinstance(fault, CrashAt) and fault.after and operation.number == fault.number:
            self._crash()
        if isinstance(fault, FailAt) and fault.after and operation.number == fault.number:
            raise _fresh(fault.error)

    def _spoil(self, handle: Handle, offset: int, data: bytes) -> bytes:
        for number, fault in enumerate(self._faults):
            if isinstance(fault, Truncate) and fault.matches(handle):
                keep = max(fault.keep - offset, 0)
                if keep < len(data) and self._use(number, fault.times):
                    data = data[:keep]
            elif isinstance(fault, FlipBit) and fault.matches(handle):
                position = fault.offset - offset
                if 0 <= position < len(data) and self._use(number, fault.times):
                    spoiled = bytearray(data)
                    spoiled[position] ^= 1 << fault.bit
                    data = bytes(spoiled)
        return data

    def _use(self, number: int, times: int | None) -> bool:
        with self._guard:
            used = self._used.get(number, 0)
            self._used[number] = used + 1
        return times is None or used < times

    def _crash(self) -> None:
        with self._guard:
            self._crashed = True
            self._die_if_dead()

    def _die_if_dead(self) -> None:
        if self._crashed:
            raise SimulatedCrash("the process died")


class _FaultyStagedFile:
    def __init__(self, backend: FaultyBackend, inner: StagedFile) -> None:
        self._backend = backend
        self._inner = inner

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._inner.size

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append the buffers in order."""
        self._backend.perform("write", "", lambda: self._inner.write(parts))

    def read_back(self) -> bytes:
        """Return everything written so far."""
        return self._backend.perform("read_back", "", self._inner.read_back)

    def commit(self, handle: Handle) -> None:
        """Make the file durable under its name."""
        self._backend.perform("commit", str(handle), lambda: self._inner.commit(handle))

    def discard(self) -> None:
        """Drop it."""
        self._backend.perform("discard", "", self._inner.discard)


def _fresh(error: StorageError) -> StorageError:
    """Return a new error like ``error``: one that is raised often would gather the frames, and with
    them the memory, of every call that it ever passed through."""
    return type(error)(**error.fields)
