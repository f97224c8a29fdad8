"""Object stores refuse or are not what they should be."""

from __future__ import annotations

from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_, KuramoriError
from kuramori.errors.storage import StorageError, StoragePermissionError


class NoSuchBucketError(StorageError):
    """The place for objects is not there."""

    message = N_("storage {location!s}: there is no bucket or container {bucket!r}")
    advice = N_("check how it is spelled in the location; make it with the provider's console, or for s3: with "
                "kuramori init")


class BucketNameError(StorageError):
    """The server takes no bucket of this name."""

    message = N_("storage {location!s}: the bucket {bucket!r} cannot be made: {detail}")
    advice = N_("choose another name (3 to 63 lower-case letters, digits and hyphens; on Amazon nobody else in the "
                "world may have it), or make the bucket with the provider's console")


class MissingCredentialsError(StoragePermissionError):
    """Nothing says who we are."""

    message = N_("storage {location!s}: there are no credentials for it: {detail}")
    advice = N_("set {variables}, in the environment or in the settings of the repository")


class WrongCredentialsError(StoragePermissionError):
    """The server does not know us."""

    message = N_("storage {location!s} does not accept the credentials: {detail}")
    advice = N_("check {variables}; they may have been changed, or belong to another provider")


class ExpiredCredentialsError(StoragePermissionError):
    """The credentials were good once."""

    message = N_("storage {location!s}: the credentials have expired: {detail}")
    advice = N_("get new ones and set {variables} again")


class WrongClockError(StoragePermissionError):
    """Signatures are good for some minutes only."""

    message = N_("storage {location!s}: the clocks of this machine and of the server differ by too much")
    advice = N_("set this machine's clock (timedatectl status shows whether it is set by itself), then run the command "
                "again")


class WrongRegionError(StorageError):
    """The bucket is elsewhere."""

    message = N_("storage {location!s}: the bucket is in another region: {detail}")
    advice = N_("give the region with -o s3.region=NAME or the variable AWS_DEFAULT_REGION")


class OddObjectError(StorageError):
    """Something lies among the files of a repository whose name cannot be understood."""

    message = N_("storage {location!s}: an object with a name that cannot be understood lies among {name!s}: {key}")
    advice = N_("no program for repositories makes such names: remove it with the provider's tools")


class ArchivedObjectError(StorageError):
    """The object lies in an archive and must be thawed first."""

    message = N_("storage {location!s}: {name!s} lies in an archive class and cannot be read: {detail}")
    advice = N_("restore it to a class that can be read with the provider's tools, then run the command again")


class ObjectLockedError(StoragePermissionError):
    """Retention protects an object."""

    message = N_("storage {location!s}: {name!s} may not be deleted before {until!s}: it is under object lock")
    advice = N_("nothing is wrong: run the command again after that day")


class RetainedSnapshotsNote(KuramoriError):
    """Snapshots that should go and may not yet."""

    message = N_("snapshots that may not be deleted yet, because they are under object lock: {count} (the first may be "
                 "on {first!s})")
    advice = N_("nothing is wrong: run the command again after that day")


class RetainedPacksNote(KuramoriError):
    """Packs that nobody needs and that may not be deleted yet."""

    message = N_("packs that are no longer needed and may not be deleted yet, because they are under object lock: "
                 "{count} (the first may be on {first!s})")
    advice = N_("nothing is wrong: a prune after that day removes them")


class ObjectLockUnsupportedError(StorageError):
    """Retention was asked for where there is none."""

    message = N_("storage {location!s}: objects cannot be locked there: {detail}")
    advice = N_("object lock must be switched on when a bucket of S3 is made: use a new one (kuramori init makes it "
                "so), or leave out object_lock_days")


class StoreOptionError(UsageError):
    """An option of a store that has no such meaning."""

    message = N_("-o {option!s}={value!s} cannot be used: {detail}")
