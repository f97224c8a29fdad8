"""Sources that could not be read, targets that could not be written."""

from __future__ import annotations

from kuramori.errors.root import N_, KuramoriError


class SourceError(KuramoriError):
    """Something that was to be backed up could not be read."""

    message = N_("{path!s} could not be read: {detail}")
    exit_code = 3


class SourceMissingError(SourceError):
    """Something that was named to be backed up does not exist."""

    message = N_("{path!s} does not exist")


class SourceChangedError(SourceError):
    """A file became something else while it was read."""

    message = N_("{path!s} changed while it was read: {detail}")


class SourceCommandError(SourceError):
    """The command whose output was to be saved failed; no snapshot was made."""

    message = N_("the command {command!s} failed ({detail}), so no snapshot was made")
    exit_code = 1


class IncompleteBackupError(SourceError):
    """A snapshot was made, but some sources could not be read."""

    message = N_("snapshot saved, but {count} item(s) could not be read")
    advice = N_("they are named above")


class RestoreError(KuramoriError):
    """Something could not be restored."""

    message = N_("{path!s} could not be restored: {detail}")


class HostileNameError(RestoreError):
    """A name in a repository tries to leave its folder, or is none at all."""

    message = N_("the name {path!s} in the repository is refused: {detail}")


class VerificationError(RestoreError):
    """A restored file is not what the snapshot says."""

    message = N_("{path!s} differs from the snapshot: {detail}")


class IncompleteRestoreError(RestoreError):
    """The restore ended, but some items are missing or wrong."""

    message = N_("{count} item(s) could not be restored")
    advice = N_("they are named above")
