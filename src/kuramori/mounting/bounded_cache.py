"""What was read last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """A cache that drops what was not used for longest. May be used by several threads; what two of
    them want at the same time is loaded once."""

    def __init__(self, capacity: int) -> None:
        """Begin empty.

        Args:
            capacity: bytes. The value that was put in last is kept even if it is larger.
        """
        self.capacity = capacity
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._pending: dict[Key, Future[Value]] = {}
        self._weight = 0
        self._guard = threading.Lock()

    @property
    def weight(self) -> int:
        """Bytes that are held at the moment."""
        return self._weight

    def __len__(self) -> int:
        """The number of values."""
        return len(self._values)

    def obtain(self, key: Key, load: Callable[[], tuple[Value, int]]) -> Value:
        """Return the value of a key.

        Args:
            load: returns the value and its bytes, if it is not there; called without any lock held.

        Raises:
            What ``load`` raises, also where another thread called it. Nothing is kept then.
        """
        with self._guard:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
                return found[0]
            pending = self._pending.get(key)
            claimed = pending is None
            if pending is None:
                pending = self._pending[key] = Future()
        if not claimed:
            return pending.result()
        try:
            value, weight = load()
        except BaseException as error:
            self.fail(key, error)
            raise
        self.settle(key, value, weight)
        return value

    def claim(self, keys: Iterable[Key]) -> list[Key]:
        """Return those of the keys that are neither there nor being loaded. For each of them the
        caller must call :meth:`settle` or :meth:`fail`: others may be waiting for it from now on."""
        claimed = []
        with self._guard:
            for key in keys:
                if key not in self._values and key not in self._pending:
                    self._pending[key] = Future()
                    claimed.append(key)
        return claimed

    def settle(self, key: Key, value: Value, weight: int) -> None:
        """Put in the value of a key that was claimed, and wake who waits for it."""
        with self._guard:
            future = self._pending.pop(key)
            self._values[key] = (value, weight)
            self._weight += weight
            while self._weight > self.capacity and len(self._values) > 1:
                _, (_, dropped) = self._values.popitem(last=False)
                self._weight -= dropped
        future.set_result(value)

    def fail(self, key: Key, error: BaseException) -> None:
        """Say that a key that was claimed could not be loaded. Who waits for it gets the error; who asks
        later tries again."""
        with self._guard:
            future = self._pending.pop(key)
        future.set_exception(error)
