"""The repositories that hold a run, from the nearest on: opened when they are needed, passed over when
they cannot be used. What one has lost of its blobs, the others are asked for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kuramori.errors import (
    AmbiguousRunError,
    Interrupted,
    KuramoriError,
    NoCompleteRunError,
    OutdatedRepositoryNote,
    UnknownRunError,
    suggest,
)
from kuramori.ids import Id
from kuramori.manager.model import RunState
from kuramori.manager.naming import LATEST
from kuramori.manager.places import Places
from kuramori.manager.run_catalogue import RunCatalogue, RunKey, RunSnapshots
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.progress import Progress
from kuramori.repository.locks import hold_lock
from kuramori.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Holder:
    """A repository that has the run."""

    name: str
    repository: Repository
    catalogue: RunCatalogue
    run: RunSnapshots


class Holders:
    """Finds a run in several repositories. A context manager: what was opened is closed at its end."""

    def __init__(self, places: Places, names: Sequence[str], run: str, job: str,
                 hostname_of: Callable[[str], str], progress: Progress, *, spare_names: Sequence[str] = ()) -> None:
        """Nothing is opened yet.

        Args:
            names: of the repositories, the nearest first.
            run: a run's name, or ``latest`` for the newest complete one that any of them has.
            job: empty for any.
            hostname_of: gives the name that this machine has in a job's snapshots: where several
                machines have such a run, this one's is meant.
            progress: is told which repositories were passed over.
            spare_names: of further repositories, which are only asked for blobs that the others lack.
        """
        self._places = places
        self._names = list(names)
        self._all_names = list(dict.fromkeys([*names, *spare_names]))
        self._run = run
        self._job = job
        self._hostname_of = hostname_of
        self._progress = progress
        self._stack = ExitStack()
        self._guard = threading.RLock()
        """Spares are asked for by the threads of a restore."""
        self._repositories: dict[str, Repository | KuramoriError] = {}
        self._catalogues: dict[str, RunCatalogue | KuramoriError] = {}
        self._spares: dict[str, Repository | None] = {}
        self._givers: dict[str, SpareRepositories] = {}
        self._opened: list[Holder] = []
        self._waiting = iter(self._names)
        self._key: RunKey | None = None
        self._known: set[str] = set()
        self._failures: list[KuramoriError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    def first(self) -> Holder:
        """Return the nearest that has the run.

        Raises:
            UnknownRunError: none that could be read has it; :class:`NoCompleteRunError` where the latest was meant.
            AmbiguousRunError: several jobs or machines have such a run.
            KuramoriError: none could be read; the first one's error.
        """
        holder = next(iter(self), None)
        if holder is not None:
            return holder
        if len(self._failures) == len(self._names) and self._failures:
            raise self._failures[0]
        if self._run == LATEST:
            raise NoCompleteRunError
        raise UnknownRunError(name=self._run, suggestion=suggest(self._run, self._known))

    def __iter__(self) -> Iterator[Holder]:
        """Yield all that have the run, the nearest first; each is opened when it is come to, once."""
        if self._run == LATEST and self._key is None:
            self._settle_latest()
        position = 0
        while position < len(self._opened) or self._open_next():
            yield self._opened[position]
            position += 1

    def given_to(self, name: str) -> Counter[str]:
        """Return how many blobs that one of the repositories had lost the others gave so far, by their names."""
        return self._givers[name].given

    def repository(self, name: str) -> Repository | None:
        """Return a repository, open; None where it cannot be used, which was told."""
        with self._guard:
            if name not in self._repositories:
                self._repositories[name] = self._open(name)
            found = self._repositories[name]
            return found if isinstance(found, Repository) else None

    def _open(self, name: str) -> Repository | KuramoriError:
        try:
            repository = self._stack.enter_context(self._places.open(name))
            repository.spares = self._givers[name] = SpareRepositories(
                self, [other for other in self._all_names if other != name])
            return repository
        except Interrupted:
            raise
        except KuramoriError as error:
            if len(self._all_names) > 1:
                self._progress.warning(OutdatedRepositoryNote(name=name, detail=error))
            return error

    def spare(self, name: str) -> Repository | None:
        """Return a repository that blobs can be read from, with its index; None where that cannot be.

        It gets a shared lock, so that no prune takes away what is being read; where it cannot have one it is
        read all the same, as everything is verified.
        """
        with self._guard:
            repository = self.repository(name)
            if repository is None or name in self._spares:
                return self._spares.get(name)
            self._spares[name] = None
            with suppress(KuramoriError):
                self._stack.enter_context(hold_lock(repository, reading=True))
            try:
                if not repository.index_names:
                    repository.load_index(self._progress)
            except KuramoriError as error:
                self._progress.warning(OutdatedRepositoryNote(name=name, detail=error))
                return None
            self._spares[name] = repository
            return repository

    def _settle_latest(self) -> None:
        """Find out which run is the newest complete one: a place that is near may lack the last ones.

        Raises:
            AmbiguousRunError: places hold runs of different jobs.
        """
        found: list[RunSnapshots] = []
        for name in self._names:
            catalogue = self._catalogue(name)
            run = self._find(catalogue) if catalogue is not None else None
            self._key = None
            if run is not None:
                found.append(run)
        if found:
            self._key = self._only_one(sorted(found, key=lambda run: run.time_nanoseconds)).key

    def _catalogue(self, name: str) -> RunCatalogue | None:
        """Return the runs of a repository; None where they cannot be read, which was told."""
        if name not in self._catalogues:
            repository = self.repository(name)
            found: RunCatalogue | KuramoriError
            if repository is None:
                failure = self._repositories[name]
                assert isinstance(failure, KuramoriError)
                found = failure
            else:
                try:
                    found = RunCatalogue(repository, name, self._progress)
                except Interrupted:
                    raise
                except KuramoriError as error:
                    self._progress.warning(OutdatedRepositoryNote(name=name, detail=error))
                    found = error
            self._catalogues[name] = found
        known = self._catalogues[name]
        return known if isinstance(known, RunCatalogue) else None

    def _open_next(self) -> bool:
        """Open one more that has the run; return False if there is none."""
        for name in self._waiting:
            catalogue = self._catalogue(name)
            if catalogue is None:
                failure = self._catalogues[name]
                assert isinstance(failure, KuramoriError)
                self._failures.append(failure)
                continue
            found = self._find(catalogue)
            repository = self.repository(name)
            if found is not None and repository is not None:
                self._opened.append(Holder(name, repository, catalogue, found))
                return True
        return False

    def _find(self, catalogue: RunCatalogue) -> RunSnapshots | None:
        if self._key is not None:
            return next((run for run in catalogue.runs if run.key == self._key), None)
        runs = [run for run in catalogue.runs if self._job in ("", run.key.job)]
        self._known |= {run.key.run for run in runs}
        if self._run == LATEST:
            runs = [run for run in runs if catalogue.describe(run).state is RunState.COMPLETE]
        else:
            runs = [run for run in runs if run.key.run == self._run]
        if not runs:
            return None
        found = self._only_one(runs)
        self._key = found.key
        return found

    def _only_one(self, runs: Sequence[RunSnapshots]) -> RunSnapshots:
        """Return the newest of the runs that are meant.

        Raises:
            AmbiguousRunError: nobody can say whose are meant.
        """
        own = [run for run in runs if run.key.hostname == self._hostname_of(run.key.job)] or list(runs)
        owners = sorted({(run.key.job, run.key.hostname) for run in own})
        if len(owners) > 1:
            raise AmbiguousRunError(name=self._run, owners=", ".join(f"{job} ({host})" for job, host in owners))
        return own[-1]


class SpareRepositories:
    """A :class:`~kuramori.repository.spare_blobs.SpareBlobs` that asks repositories of the settings. They are opened
    with the first blob that is asked for, and are not asked for their own spares.

    Attributes:
        given: how many blobs each of them gave, by its name.
    """

    def __init__(self, holders: Holders, names: Sequence[str]) -> None:
        """Nothing is opened yet.

        Args:
            names: whom to ask, in this order.
        """
        self._holders = holders
        self._names = names
        self._guard = threading.Lock()
        self.given: Counter[str] = Counter()

    def find(self, blob_type: BlobType, blob_id: Id) -> PackedBlob | None:
        """Return where the nearest that has a blob has it."""
        for _name, repository in self._repositories():
            copies = repository.index.lookup(blob_type, blob_id)
            if copies:
                return copies[0]
        return None

    def fetch(self, blobs: Sequence[tuple[BlobType, Id]]) -> Iterator[tuple[BlobType, Id, bytes]]:
        """Yield what any of them has whole."""
        waiting = dict.fromkeys(blobs)
        for name, repository in self._repositories():
            if not waiting:
                return
            for blob, plain in _read(repository, list(waiting)):
                del waiting[blob]
                with self._guard:
                    self.given[name] += 1
                yield *blob, plain

    def _repositories(self) -> Iterator[tuple[str, Repository]]:
        for name in self._names:
            repository = self._holders.spare(name)
            if repository is not None:
                yield name, repository


def _read(repository: Repository, blobs: Sequence[tuple[BlobType, Id]]) -> Iterator[tuple[tuple[BlobType, Id], bytes]]:
    """Yield those of some blobs that a repository has whole, pack by pack."""
    by_pack: dict[Id, list[PackedBlob]] = {}
    for blob_type, blob_id in blobs:
        for copy in repository.index.lookup(blob_type, blob_id)[:1]:
            by_pack.setdefault(copy.pack, []).append(copy)
    for pack, copies in by_pack.items():
        for copy, _sealed, plain in repository.read_sealed_blobs(pack, copies):
            if isinstance(plain, KuramoriError):
                plain = _read_other_copy(repository, copy) or plain
            if isinstance(plain, bytes):
                yield (copy.type, copy.id), plain


def _read_other_copy(repository: Repository, damaged: PackedBlob) -> bytes | None:
    """Return a blob from another pack than the one where it is damaged; None if no pack has it whole."""
    for copy in repository.index.lookup(damaged.type, damaged.id):
        if copy.pack != damaged.pack:
            for _copy, _sealed, plain in repository.read_sealed_blobs(copy.pack, [copy]):
                if isinstance(plain, bytes):
                    return plain
    return None
