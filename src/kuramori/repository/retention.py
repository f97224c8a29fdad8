"""Object lock of a whole repository: what is still referenced is retained for longer.

Every file is retained for some days from when it is written. That of the config is prolonged last, so it tells when all
the others were: no machine has to remember anything, and one question answers whether there is something to do.

What is prolonged: the config, the keys, and every pack that the index names. Snapshots are not: rules of ``forget``
could never remove one. Who deletes an old snapshot with stolen credentials does not get at its data; ``recover`` makes
snapshots of what lies there, as ``repair index`` makes an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice

from kuramori.errors import StorageError
from kuramori.progress import Progress
from kuramori.repository.repository import Repository
from kuramori.storage.backend import CONFIG_HANDLE, FileType, Handle
from kuramori.storage.retention import RetainingStore, retaining_store

_ENOUGH_FAILURES = 10
"""When so many could not be prolonged, the others will not be either."""


def extend_retention(repository: Repository, progress: Progress) -> int:
    """Prolong the retention of what the repository's index names, if half of it is over; return of how many files.

    Does nothing where the store does not retain. What fails is told as a warning, and the next call begins anew: half
    of the time is left for that. Called with the index loaded, and with a lock held.
    """
    store = retaining_store(repository.backend)
    days = store.retention_days if store is not None else None
    if store is None or days is None:
        return 0
    now = repository.clock.now()
    try:
        known = store.retained_until(CONFIG_HANDLE)
        if known is not None and known - now > timedelta(days=days) / 2:
            return 0
        keys = [Handle(FileType.KEY, info.name) for info in repository.backend.list(FileType.KEY)]
    except StorageError as error:
        progress.warning(error)
        return 0
    packs = [Handle(FileType.PACK, pack.hex()) for pack in repository.index.pack_ids()]
    until = now + timedelta(days=days)
    progress.start("extend object lock", len(packs) + len(keys) + 1)
    done, failures = _extend_all(store, [*keys, *packs], until, repository.backend.connections, progress)
    if not failures:
        last, failures = _extend_all(store, [CONFIG_HANDLE], until, 1, progress)
        done += last
    progress.finish()
    if failures:
        progress.warning(failures[0])
    return done


def retained_files(repository: Repository, file_type: FileType, names: Iterable[str]) -> dict[str, datetime]:
    """Return until when files may not be deleted, of those that may not now. Empty where the store does not retain.

    Raises:
        StorageError
    """
    store = retaining_store(repository.backend)
    if store is None:
        return {}
    with ThreadPoolExecutor(repository.backend.connections) as pool:
        asked = [(name, pool.submit(store.retained_until, Handle(file_type, name))) for name in names]
        answers = [(name, future.result()) for name, future in asked]
    return {name: until for name, until in answers if until is not None}


def _extend_all(store: RetainingStore, handles: Sequence[Handle], until: datetime, connections: int,
                progress: Progress) -> tuple[int, list[StorageError]]:
    """Prolong some files, several at once; return how many it worked for, and what went wrong."""
    done, failures = 0, list[StorageError]()
    with ThreadPoolExecutor(connections) as pool:
        for batch in _batches(handles, connections * 8):
            for future in [pool.submit(store.extend_retention, handle, until) for handle in batch]:
                try:
                    future.result()
                    done += 1
                except StorageError as error:
                    failures.append(error)
                progress.advance(1)
            if len(failures) >= _ENOUGH_FAILURES:
                break
    return done, failures


def _batches(handles: Sequence[Handle], size: int) -> Iterator[list[Handle]]:
    waiting = iter(handles)
    while batch := list(islice(waiting, size)):
        yield batch
