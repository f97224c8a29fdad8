"""What everybody on this machine can see of running programs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def watched_processes() -> Iterator[set[bytes]]:
    """Collect the arguments and variables of all processes, over and over, while the context lasts."""
    seen: set[bytes] = set()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.002):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        seen.add((process / name).read_bytes())
                    except OSError:
                        continue

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield seen
    finally:
        done.set()
        sampler.join()


def children_of(process: int) -> set[int]:
    """Return the processes that a process of this machine has started itself, as far as they have not ended."""
    found: set[int] = set()
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # a thread that has ended since
            found.update(map(int, (task / "children").read_text().split()))
    return found
