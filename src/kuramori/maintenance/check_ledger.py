"""A small part of a check: the snapshots that are there against those that this machine remembers."""

from __future__ import annotations

from kuramori.errors import RolledBackError, SnapshotsReturnedHint, SnapshotUnlistedError, SnapshotVanishedError
from kuramori.ids import short_id
from kuramori.maintenance.check_result import CheckOptions, CheckResult
from kuramori.model.times import format_nanoseconds
from kuramori.repository.ledger_comparison import compare_with_ledger
from kuramori.repository.repository import Repository


def check_ledger(repository: Repository, listed: set[str], options: CheckOptions, result: CheckResult) -> None:
    """Report snapshots that vanished, and a repository that was rolled back; the ledger takes in what
    is there. A repository without a ledger has nothing to report.

    Args:
        listed: the names of all snapshots that are there.

    Raises:
        StorageError: another listing failed.
    """
    if repository.ledger is None:
        return
    if options.accept_missing:
        repository.ledger.accept(listed, "elsewhere")
        return
    comparison = compare_with_ledger(repository, listed)
    if comparison.unlisted:
        result.errors += [SnapshotUnlistedError(snapshot=short_id(name)) for name in comparison.unlisted]
        return
    if comparison.rolled_back:
        result.errors.append(RolledBackError(gone=len(comparison.vanished), back=len(comparison.returned)))
    elif comparison.returned:
        result.hints.append(SnapshotsReturnedHint(count=len(comparison.returned),
                                                  snapshot=short_id(comparison.returned[0])))
    for known in comparison.vanished:
        result.errors.append(SnapshotVanishedError(snapshot=short_id(known.id),
                                                   since=format_nanoseconds(known.seen_nanoseconds)[:10]))
    result.vanished = [known.id for known in comparison.vanished]
    repository.ledger.observe(listed)
