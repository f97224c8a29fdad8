"""The repeated check of a repository: a part of it is read back, damage is named and noted in the history."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from kuramori.errors import (
    N_,
    AffectedPathError,
    DamageFoundError,
    FaultyRepositoryError,
    Interrupted,
    KuramoriError,
    Phrase,
    StorageError,
)
from kuramori.history.history import History
from kuramori.history.operation import Operation
from kuramori.history.records import OperationKind, OperationState
from kuramori.maintenance.rolling_check import RollingCheckOptions, RollingCheckResult, rolling_check
from kuramori.manager.finishing import Finished
from kuramori.manager.places import Places
from kuramori.progress import Progress
from kuramori.repository.repository import Repository

_PACKS_NAMED = 3
"""Damaged packs that are named in one sentence; their ids are long."""
_MEBIBYTE = 1024 * 1024


class CheckState(enum.Enum):
    """How the check of a repository ended."""

    SOUND = "sound"
    """What was read is what it should be, and no damage is known from before."""
    DAMAGED = "damaged"
    """Something that is stored is not what it should be. That does not pass by itself."""
    FAILED = "failed"
    """Something could not be read now: a network, rights. That says nothing of what is stored."""
    AWAY = "away"
    """The disk that comes and goes is not there. Nothing was done, and that is no failure."""


@dataclass(frozen=True, slots=True)
class RepositoryCheck:
    """What came of a check."""

    repository: str
    state: CheckState
    errors: tuple[KuramoriError, ...] = ()
    """For people: first what is wrong as a whole and what to do, then the files that it touches, then the rest."""
    details: RollingCheckResult | None = None
    """All of it; None where nothing was done."""

    @property
    def success(self) -> bool:
        """Whether all that was read is sound."""
        return self.state is CheckState.SOUND


class PlaceChecking:
    """Checks repositories of the settings."""

    def __init__(self, places: Places, history: History, progress: Progress,
                 hold: Callable[[str], AbstractContextManager[None]]) -> None:
        """Nothing is opened yet.

        Args:
            history: gets a note of every check that was begun.
            hold: keeps other jobs of this machine from a repository of a name, for a ``with`` block.
        """
        self._places = places
        self._history = history
        self._progress = progress
        self._hold = hold

    def check(self, name: str, others: Sequence[str], options: RollingCheckOptions) -> RepositoryCheck:
        """Read back the packs of a repository whose turn it is.

        Args:
            others: names of repositories that hold copies of the same snapshots, for the advice.

        Raises:
            Interrupted: ``options.cancelled`` said so; what was read stays noted.
            KuramoriError: it could not be opened, locked or listed.
        """
        if self._places.is_away(name):
            return RepositoryCheck(name, CheckState.AWAY)
        with Finished(self._history.begin(OperationKind.CHECK, "", repository=name)) as operation:
            try:
                with self._hold(name), self._places.open(name, cached=False) as repository:
                    return check_open_repository(repository, name, others, options, operation, self._progress)
            except Interrupted:
                raise
            except KuramoriError as error:
                if not self._places.is_away(name):
                    raise
                operation.finish(OperationState.INTERRUPTED, errors=[error])  # unplugged in its middle
                return RepositoryCheck(name, CheckState.AWAY)


def check_open_repository(repository: Repository, name: str, others: Sequence[str], options: RollingCheckOptions,
                          operation: Operation, progress: Progress) -> RepositoryCheck:
    """Read back the packs whose turn it is, and finish ``operation`` with what was found.

    Args:
        repository: opened without a cache.
        name: what the settings call it.
        others: names of repositories that hold copies of the same snapshots.

    Raises:
        Interrupted, KuramoriError: as :func:`rolling_check`; ``operation`` is not finished then.
    """
    result = rolling_check(repository, options, progress)
    found = judge_check(name, others, result)
    operation.log(describe_check(result, options.days))
    operation.finish(OperationState.COMPLETE if found.success else OperationState.FAILED,
                     size_bytes=result.check.bytes_read, errors=found.errors)
    return found


def describe_check(result: RollingCheckResult, days: int) -> str:
    """Return a line for the log."""
    coverage = result.coverage
    line = (f"read {result.check.packs_read} packs, {result.check.bytes_read} bytes; in the last {days} days "
            f"{coverage.packs_read} of {coverage.packs} packs, {int(coverage.percent)} %")
    return line + f"; {len(coverage.damaged)} are damaged" if coverage.damaged else line


# --- what to make of it ----------------------------------------------------------------------


def judge_check(name: str, others: Sequence[str], result: RollingCheckResult) -> RepositoryCheck:
    """Return what a check means. Damage that is known from before counts until the pack was read again, or is gone."""
    errors = result.check.errors
    packs = result.damaged_packs
    if packs:
        summary: KuramoriError = DamageFoundError(name=name, count=len(packs), packs=_enumerate(packs),
                                                  remedy=_remedy(name, packs, others))
    elif any(map(_tells_of_damage, errors)):
        summary = FaultyRepositoryError(name=name, count=len(errors))
    elif errors:
        return RepositoryCheck(name, CheckState.FAILED, tuple(errors), result)
    else:
        return RepositoryCheck(name, CheckState.SOUND, details=result)
    return RepositoryCheck(name, CheckState.DAMAGED, (summary, *_files_first(errors)), result)


def _tells_of_damage(error: KuramoriError) -> bool:
    """Tell whether an error is about what is stored, and not about the way to it."""
    return not error.retryable and not isinstance(error, StorageError)


def _files_first(errors: Iterable[KuramoriError]) -> list[KuramoriError]:
    """Return errors in the order in which they matter to a person, who is shown the first ones: each file once, what
    is wrong with packs, and then the same files in other snapshots."""
    files: dict[object, KuramoriError] = {}
    rest: list[KuramoriError] = []
    again: list[KuramoriError] = []
    for error in errors:
        if not isinstance(error, AffectedPathError):
            rest.append(error)
        elif files.setdefault(error.fields["path"], error) is not error:
            again.append(error)
    return [*files.values(), *rest, *again]


def _enumerate(packs: Sequence[str]) -> str:
    return " ".join(packs[:_PACKS_NAMED]) + (" ..." if len(packs) > _PACKS_NAMED else "")


def _remedy(name: str, packs: Sequence[str], others: Sequence[str]) -> Phrase:
    """Return what to do about damaged packs, in the order in which it helps."""
    fields = {"name": name, "packs": _enumerate(packs), "others": ", ".join(others)}
    if others:
        return Phrase(N_(
            "do not delete anything; first kuramori backup stores again what still exists, then kuramori -r {name!s} "
            "repair packs {packs} saves what is intact in them and fetches the rest from {others!s}"), **fields)
    return Phrase(N_(
        "do not delete anything; first kuramori backup stores again what still exists, then kuramori -r {name!s} "
        "repair packs {packs} saves what is intact in them; look after the disk"), **fields)


def needed_mebibytes(total_bytes: int, days: int) -> int:
    """Return how much is to be read every day, so that all is read in time; rounded up."""
    return -(-total_bytes // (days * _MEBIBYTE))
