"""What was asked for makes no sense."""

from __future__ import annotations

from kuramori.errors.root import N_, KuramoriError


class UsageError(KuramoriError):
    """The request itself is wrong: an impossible combination or value."""

    message = "{detail}"


class NoSuchSnapshotError(UsageError):
    """No snapshot has that id, or none matches the filter."""

    message = N_("there is no snapshot {name!s}")
    advice = N_("list what there is with: kuramori snapshots")


class AmbiguousIdError(UsageError):
    """A prefix of an id fits several things."""

    message = N_("{name!s} is the beginning of {count} different ids")
    advice = N_("give more of its digits")


class NoSuchPathError(UsageError):
    """A path is not in the snapshot."""

    message = N_("there is no {path!s} in snapshot {snapshot!s}")
    advice = N_("list what is in it with: kuramori ls {snapshot!s}")


class NoSuchObjectError(UsageError):
    """An id names no blob, tree or pack of the repository."""

    message = N_("there is no {kind} {name!s} in the index")


class NotADirectoryInSnapshotError(UsageError):
    """A path of a snapshot was to be a directory and is something else."""

    message = N_("{path!s} in snapshot {snapshot!s} is not a directory")


class UnknownLocationError(UsageError):
    """A text does not name a place for a repository."""

    message = N_("that is not the location of a repository: {detail}")
    advice = N_("give a folder, such as /srv/backup, or a store, such as sftp:user@host:path; write local: before a "
                "path that has a colon in it")


class StoreNotBuiltError(UsageError):
    """The location names a kind of store that this version does not have."""

    message = N_("kuramori has no store of its own for {scheme!s}: locations")
    advice = N_("go through rclone (rclone:REMOTE:PATH), or by the store's S3 address where it has one")


class NothingToBackUpError(KuramoriError):
    """Nothing of what was named could be saved; no snapshot was made."""

    message = N_("nothing could be backed up, so no snapshot was made: {detail}")
    advice = N_("check that the sources exist and can be read")
