"""What this machine remembers of a repository, and where the repository does not agree."""

from __future__ import annotations

from kuramori.errors.maintenance import CheckHint, PruneRefusedError
from kuramori.errors.repository import DamagedError
from kuramori.errors.root import N_, KuramoriError


class LedgerError(KuramoriError):
    """The ledger cannot be used. Only ever a warning: no backup fails because of it."""

    message = N_("the ledger {path!s} cannot be used: {detail}")
    advice = N_("without it nobody notices when snapshots vanish; make sure that its folder can be written to")


class LedgerDamagedError(LedgerError):
    """The ledger's file is damaged; it was put aside and a new one begins."""

    message = N_("the ledger {path!s} was damaged and is kept as {kept!s}; a new one begins ({detail})")
    advice = N_("what vanished before now goes unnoticed; look at the disk that it lies on")


class SnapshotVanishedError(DamagedError):
    """A snapshot that this machine has seen is gone, and nobody here removed it."""

    message = N_("snapshot {snapshot!s}, known here since {since}, is gone, and nobody here removed it")
    advice = N_("if it was forgotten on purpose by another machine or by restic: kuramori check --accept-missing; "
                "if not, do not prune: its data may still be there, and kuramori recover finds it")


class SnapshotUnlistedError(DamagedError):
    """A snapshot is there, and the listing of the store leaves it out."""

    message = N_("snapshot {snapshot!s} is there, but the store does not list it")
    advice = N_("the listing of the store is wrong or out of date: run the command again later, and do not prune with "
                "restic until then")


class RolledBackError(DamagedError):
    """The repository was put back to an older state: what came later is gone, what was removed is back."""

    message = N_("the repository was rolled back: {gone} snapshot(s) are gone, and {back} that were removed are back")
    advice = N_("somebody put an old copy of it in its place; look for the newer one before anything is changed")


class SnapshotsReturnedHint(CheckHint):
    """Snapshots that were removed here are there again."""

    message = N_("{count} snapshot(s) that were removed here are back, the first is {snapshot!s}; an old copy of the "
                 "repository may stand in its place")


class SnapshotsVanishedError(PruneRefusedError):
    """Nothing may be removed: snapshots are gone that nobody here removed."""

    message = N_("nothing was removed, because {count} of {known} snapshot(s) known here are gone and nobody here "
                 "removed them: {names}")
    advice = N_("kuramori check shows more; if they were forgotten on purpose by another machine or by restic, add "
                "--accept-missing")


class SnapshotsUnlistedError(PruneRefusedError):
    """Nothing may be removed: the store does not list all snapshots that are there."""

    message = N_("nothing was removed, because the store does not list {count} snapshot(s) that are there: {names}")
    advice = N_("the listing of the store is wrong or out of date: run the command again later")
