"""The repositories that hold a run, from the nearest on: opened when they are needed, passed over when
they cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kuramori.errors import (
    AmbiguousRunError,
    Interrupted,
    KuramoriError,
    OutdatedRepositoryNote,
    UnknownRunError,
    suggest,
)
from kuramori.manager.model import RunState
from kuramori.manager.naming import LATEST
from kuramori.manager.places import Places
from kuramori.manager.run_catalogue import RunCatalogue, RunKey, RunSnapshots
from kuramori.progress import Progress
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
                 hostname_of: Callable[[str], str], progress: Progress) -> None:
        """Nothing is opened yet.

        Args:
            names: of the repositories, the nearest first.
            run: a run's name, or ``latest`` for the newest complete one of the first that has one.
            job: empty for any.
            hostname_of: gives the name that this machine has in a job's snapshots: where several
                machines have such a run, this one's is meant.
            progress: is told which repositories were passed over.
        """
        self._places = places
        self._names = list(names)
        self._run = run
        self._job = job
        self._hostname_of = hostname_of
        self._progress = progress
        self._stack = ExitStack()
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
            UnknownRunError: none that could be read has it.
            AmbiguousRunError: several jobs or machines have such a run.
            KuramoriError: none could be read; the first one's error.
        """
        holder = next(iter(self), None)
        if holder is not None:
            return holder
        if len(self._failures) == len(self._names) and self._failures:
            raise self._failures[0]
        raise UnknownRunError(name=self._run, suggestion=suggest(self._run, self._known))

    def __iter__(self) -> Iterator[Holder]:
        """Yield all that have the run, the nearest first; each is opened when it is come to, once."""
        position = 0
        while position < len(self._opened) or self._open_next():
            yield self._opened[position]
            position += 1

    def _open_next(self) -> bool:
        """Open one more that has the run; return False if there is none."""
        for name in self._waiting:
            try:
                repository = self._stack.enter_context(self._places.open(name))
                catalogue = RunCatalogue(repository, name, self._progress)
            except Interrupted:
                raise
            except KuramoriError as error:
                self._failures.append(error)
                if len(self._names) > 1:
                    self._progress.warning(OutdatedRepositoryNote(name=name, detail=error))
                continue
            found = self._find(catalogue)
            if found is not None:
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
