"""Everything that can go wrong, as one tree.

An error says what happened, to what, and what the user can do. Its text is a template in English
(the message id of the gettext catalogues) and named fields; the exit code and whether trying
again can help are decided here, once.

    KuramoriError                       1
      UsageError                        1   the request makes no sense
        AmbiguousIdError
        NoSuchSnapshotError
        NoSuchPathError
        ...
      RepositoryError                   1
        NoRepositoryError              10
        RepositoryExistsError           1
        RepositoryLockedError          11
        WrongPasswordError             12
        DamagedError                    1   a MAC, a hash, a size or a structure is wrong
      StorageError                      1   the backend failed
        StorageRetryableError           1   ... and may succeed when tried again
        FileNotInStorageError           1
        StorageFullError                1
        StoragePermissionError          1
        ReadOnlyStorageError            1
      SourceError                       3   something to back up could not be read
      RestoreError                      1   something could not be restored
      HistoryError                      1   the history cannot be kept or read; backups go on
      SettingsError                     1   the settings file cannot be used, with all its problems
      CredentialError                   1   a password cannot be had
      Interrupted                     130
"""

from __future__ import annotations

from kuramori.errors.history import (
    HistoryDamagedError,
    HistoryError,
    HistoryTooNewError,
    HistoryUnavailableError,
    NoSuchOperationError,
)
from kuramori.errors.maintenance import (
    AffectedPathError,
    CheckFailedError,
    CheckHint,
    DuplicatePackHint,
    IncompleteCopyError,
    IncompleteForgetError,
    IncompletePruneError,
    IncompleteRepairError,
    IncompleteTagError,
    LastSnapshotError,
    MixedPackHint,
    PackCopyError,
    PackMissingError,
    PackSizeError,
    PruneRefusedError,
    SameRepositoryError,
    SnapshotContentError,
    SnapshotNotCopiedError,
    TreeOrderHint,
    UnreadableSnapshotsError,
    UnreferencedPackHint,
)
from kuramori.errors.repository import (
    DamagedError,
    DamagedLockError,
    LockLostError,
    LossyTreeError,
    MissingBlobError,
    NoRepositoryError,
    RepositoryError,
    RepositoryExistsError,
    RepositoryLockedError,
    SealVerificationError,
    TooManyKeysError,
    UnsupportedRepositoryError,
    WrongPasswordError,
    WrongSourcePasswordError,
)
from kuramori.errors.requests import (
    AmbiguousIdError,
    NoSuchObjectError,
    NoSuchPathError,
    NoSuchSnapshotError,
    NotADirectoryInSnapshotError,
    NothingToBackUpError,
    StoreNotBuiltError,
    UnknownLocationError,
    UsageError,
)
from kuramori.errors.root import (
    N_,
    Interrupted,
    KuramoriError,
    Phrase,
    printable,
)
from kuramori.errors.settings import (
    CredentialError,
    ForeignSecretFileError,
    NoSettingsError,
    PasswordFileMissingError,
    SettingsError,
    SettingsFileMissingError,
    SettingsProblem,
    UnsafeSecretFileError,
    UntrustedSettingsError,
    WritableSettingsError,
)
from kuramori.errors.sources import (
    HostileNameError,
    IncompleteBackupError,
    IncompleteRestoreError,
    RestoreError,
    SourceChangedError,
    SourceCommandError,
    SourceError,
    SourceMissingError,
    VerificationError,
)
from kuramori.errors.storage import (
    FileNotInStorageError,
    MissingExtraError,
    ReadOnlyStorageError,
    ShortReadError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
)

__all__ = [
    "N_",
    "AffectedPathError",
    "AmbiguousIdError",
    "CheckFailedError",
    "CheckHint",
    "CredentialError",
    "DamagedError",
    "DamagedLockError",
    "DuplicatePackHint",
    "FileNotInStorageError",
    "ForeignSecretFileError",
    "HistoryDamagedError",
    "HistoryError",
    "HistoryTooNewError",
    "HistoryUnavailableError",
    "HostileNameError",
    "IncompleteBackupError",
    "IncompleteCopyError",
    "IncompleteForgetError",
    "IncompletePruneError",
    "IncompleteRepairError",
    "IncompleteRestoreError",
    "IncompleteTagError",
    "Interrupted",
    "KuramoriError",
    "LastSnapshotError",
    "LockLostError",
    "LossyTreeError",
    "MissingBlobError",
    "MissingExtraError",
    "MixedPackHint",
    "NoRepositoryError",
    "NoSettingsError",
    "NoSuchObjectError",
    "NoSuchOperationError",
    "NoSuchPathError",
    "NoSuchSnapshotError",
    "NotADirectoryInSnapshotError",
    "NothingToBackUpError",
    "PackCopyError",
    "PackMissingError",
    "PackSizeError",
    "PasswordFileMissingError",
    "Phrase",
    "PruneRefusedError",
    "ReadOnlyStorageError",
    "RepositoryError",
    "RepositoryExistsError",
    "RepositoryLockedError",
    "RestoreError",
    "SameRepositoryError",
    "SealVerificationError",
    "SettingsError",
    "SettingsFileMissingError",
    "SettingsProblem",
    "ShortReadError",
    "SnapshotContentError",
    "SnapshotNotCopiedError",
    "SourceChangedError",
    "SourceCommandError",
    "SourceError",
    "SourceMissingError",
    "StorageError",
    "StorageFullError",
    "StoragePermissionError",
    "StorageRetryableError",
    "StoreNotBuiltError",
    "TooManyKeysError",
    "TreeOrderHint",
    "UnknownLocationError",
    "UnreadableSnapshotsError",
    "UnreferencedPackHint",
    "UnsafeSecretFileError",
    "UnsupportedRepositoryError",
    "UntrustedSettingsError",
    "UsageError",
    "VerificationError",
    "WritableSettingsError",
    "WrongPasswordError",
    "WrongSourcePasswordError",
    "printable",
]
