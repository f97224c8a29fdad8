"""What check found, and what forget, prune, repair and copy could not do."""

from __future__ import annotations

from kuramori.errors.repository import DamagedError, RepositoryError
from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_, KuramoriError


class PackMissingError(DamagedError):
    """The index names a pack that is not there."""

    message = N_("pack {pack!s} is missing; the index says that it holds {count} blob(s)")
    advice = N_("bring the file back, if some copy of it exists")


class PackSizeError(DamagedError):
    """A pack is longer or shorter than what the index says it holds."""

    message = N_("pack {pack!s} has {found} bytes and should have {expected}")


class NoIndexListedError(DamagedError):
    """There are snapshots and no index: nothing that they name could be found."""

    message = N_("there is no index file, but {count} snapshot(s) ({names}): either the listing of the store is wrong, "
                 "or the index is lost")
    advice = N_("run kuramori check again later; if it says the same, kuramori repair index makes a new one from the "
                "packs")


class SnapshotContentError(DamagedError):
    """Something in a snapshot is missing, damaged or makes no sense."""

    message = N_("{path!s} in snapshot {snapshot!s} (tree {tree!s}): {detail}")


class AffectedPathError(DamagedError):
    """What a snapshot loses by damage that was found elsewhere."""

    message = N_("{path!s} in snapshot {snapshot!s} cannot be restored whole: {detail}")


class CheckHint(KuramoriError):
    """``check`` found something that is untidy and loses nothing. Never raised."""

    message = "{detail}"


class UnreferencedPackHint(CheckHint):
    """A pack that no index names: left by an interrupted backup or prune."""

    message = N_("pack {pack!s} is named by no index; an interrupted run may have left it")
    advice = N_("the next prune removes it")


class UnlistedPacksHint(CheckHint):
    """Packs that are there and that a listing of the store left out."""

    message = N_("a listing of the store left out {count} pack(s) that are there; this check did not believe it")
    advice = N_("if that happens often, do not rely on this store: other programs may take them for lost")


class ListingChangedHint(CheckHint):
    """The check was begun again, because what it went by was not complete."""

    message = N_("the store listed index files that it had not listed before, so everything was checked once more")
    advice = N_("if that happens often, do not rely on this store: other programs may take data for lost")


class KnownDamageHint(CheckHint):
    """Packs that this check has not read, and that were damaged when somebody last did."""

    message = N_("{count} pack(s) were damaged when they were last read, and were not read now: {packs!s}; check "
                 "--read-data looks at them again, repair packs saves what is intact in them")


class DuplicatePackHint(CheckHint):
    """A pack that several index files describe alike."""

    message = N_("pack {pack!s} is described by several index files, which agree")
    advice = N_("the next prune tidies it up")


class MixedPackHint(CheckHint):
    """A pack that holds both trees and data."""

    message = N_("pack {pack!s} holds both trees and data")
    advice = N_("the next prune tidies it up")


class TreeOrderHint(CheckHint):
    """A tree whose names are not sorted, or not different."""

    message = N_("{path!s} in snapshot {snapshot!s} (tree {tree!s}): {detail}")


class CheckFailedError(RepositoryError):
    """``check`` found errors."""

    message = N_("the repository at {location!s} has {count} error(s)")
    advice = N_("they are named above; do not delete anything before reading them")


class PruneRefusedError(RepositoryError):
    """A prune would not start, or went no further: something that is in use could be lost."""

    message = N_("the prune stopped before it removed anything that is in use: {detail}")
    advice = N_("run kuramori check: it names what is damaged and what it affects")


class IncompletePruneError(RepositoryError):
    """A prune is done but for some packs that could not be removed."""

    message = N_("{count} pack(s) could not be removed")
    advice = N_("nothing uses them, and the next prune tries again")


class UnreadableSnapshotsError(RepositoryError):
    """Snapshots were to be chosen for a change, and some cannot be read: nothing was changed."""

    message = N_("nothing was changed, because not every snapshot can be read: {detail}")
    advice = N_("run kuramori check: it names what is damaged and what it affects")


class LastSnapshotError(RepositoryError):
    """The rules would remove every snapshot of a group: nothing was removed."""

    message = N_("nothing was removed, because the rules would remove every snapshot of {group}")
    advice = N_("add a rule that keeps some, such as --keep-last 1, or name the snapshots to remove by their ids")


class SizeLimitError(RepositoryError):
    """A repository cannot stay under a size: what must stay is more."""

    message = N_("nothing was removed, because the {count} snapshot(s) that must stay take {floor} bytes, and the "
                 "limit is {limit}")
    advice = N_("the newest of each group and what --keep-tag names always stays; give a larger limit, or save less")


class SizeLimitMissedError(RepositoryError):
    """A prune is done, and the repository is still larger than it should be."""

    message = N_("the repository has {found} bytes, {over} more than the limit")
    advice = N_("--max-repack-size or --repack-cacheable-only let unused data stay; run it again without them")


class IncompleteForgetError(RepositoryError):
    """Some snapshots could not be removed; the others are gone."""

    message = N_("{count} snapshot(s) could not be removed")
    advice = N_("they are named above, and the next forget tries again")
    exit_code = 3


class IncompleteTagError(RepositoryError):
    """The tags of some snapshots could not be changed; those of the others are."""

    message = N_("the tags of {count} snapshot(s) could not be changed")
    advice = N_("they are named above, and the same command tries again")


class IncompleteRepairError(RepositoryError):
    """A repair is done but for some things that could not be repaired."""

    message = N_("{count} snapshot(s) cannot be read; they are named above")
    advice = N_("kuramori repair snapshots --forget with their ids removes them")


class BlobsLostError(RepositoryError):
    """A repair is done but for blobs that no repository has whole."""

    message = N_("{count} blob(s) are still lost; no repository that was asked has them whole")
    advice = N_("where the files still exist, kuramori backup --force stores them again; else kuramori repair "
                "snapshots --forget takes them out of the snapshots")


class PackCopyError(KuramoriError):
    """The copy of a damaged pack could not be kept, so the pack was not touched."""

    message = N_("the copy of a damaged pack could not be written to {path!s}: {detail}")
    advice = N_("nothing was changed; run the command in a folder where there is room and that you may write to")


class ConfigCopyError(PackCopyError):
    """The copy of the config could not be kept, so the config was not touched."""

    message = N_("the copy of the repository's config could not be written to {path!s}: {detail}")
    advice = N_("nothing was changed; make room in that folder, or make it writable")


class MigrationRefusedError(RepositoryError):
    """A repository was not migrated, because it is not sound."""

    message = N_("nothing was migrated, because the repository at {location!s} has {count} error(s), first: {detail}")
    advice = N_("run kuramori check, and repair it first")


class SameRepositoryError(UsageError):
    """A repository was to be copied into itself, or to be repaired from itself."""

    message = N_("{location!s} is both the source and the target: it is the same repository")
    advice = N_("give another repository to --from-repo or to -r")


class SnapshotNotCopiedError(RepositoryError):
    """A snapshot could not be copied whole, so it was not written."""

    message = N_("snapshot {snapshot!s} was not copied: {detail}")


class IncompleteCopyError(RepositoryError):
    """A copy ended, but some snapshots are missing."""

    message = N_("{count} snapshot(s) could not be copied")
    advice = N_("they are named above; what was copied is whole, and the next copy leaves it out")
