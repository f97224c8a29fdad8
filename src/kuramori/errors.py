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
      Interrupted                     130
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar


def N_(text: str) -> str:
    """Mark ``text`` for the gettext catalogues without translating it here."""
    return text


class KuramoriError(Exception):
    """The root. ``message`` and ``advice`` are templates filled from the keyword arguments.

    Args:
        **fields: what the templates name. Values are shown to people: no secrets.
    """

    message: ClassVar[str] = N_("something went wrong: {detail}")
    advice: ClassVar[str] = ""
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__()

    def __reduce__(self) -> tuple[Callable[..., KuramoriError], tuple[object, ...]]:
        return (_rebuild, (type(self), self.fields))

    def text(self, translate: Callable[[str], str] = str) -> str:
        """Return what happened, in one sentence; ``translate`` maps a template to a language."""
        return _fill(translate(self.message), self.fields, translate)

    def advice_text(self, translate: Callable[[str], str] = str) -> str:
        """Return what the user can do, or an empty string."""
        return _fill(translate(self.advice), self.fields, translate) if self.advice else ""

    def __str__(self) -> str:
        advice = self.advice_text()
        return f"{self.text()}; {advice}" if advice else self.text()


def _rebuild(kind: type[KuramoriError], fields: dict[str, object]) -> KuramoriError:
    return kind(**fields)


class Phrase:
    """A part of an error's text that has fields of its own and is translated with it.

    Args:
        template: English, marked with ``N_``.
        **fields: what it names, as in an error.
    """

    def __init__(self, template: str, **fields: object) -> None:
        self.template = template
        self.fields = fields

    def __reduce__(self) -> tuple[Callable[..., Phrase], tuple[object, ...]]:
        return (_rebuild_phrase, (self.template, self.fields))

    def text(self, translate: Callable[[str], str] = str) -> str:
        """Return the phrase in the language of ``translate``."""
        return _fill(translate(self.template), self.fields, translate)

    def __str__(self) -> str:
        return self.text()


def _rebuild_phrase(template: str, fields: dict[str, object]) -> Phrase:
    return Phrase(template, **fields)


def _fill(template: str, fields: dict[str, object], translate: Callable[[str], str]) -> str:
    return template.format_map(_Shown(fields, translate))


_TRANSLATED = ("what", "detail")


class _Shown(dict[str, object]):
    """Fields of a template: a missing one is shown as a question mark instead of raising, text that
    a terminal would obey is escaped, and phrases are translated. What an error is about and its
    detail are translated too, where the catalogues know them: details pass between processes as
    plain text, and some come from the system."""

    def __init__(self, fields: dict[str, object], translate: Callable[[str], str]) -> None:
        super().__init__(fields)
        self._translate = translate

    def __missing__(self, key: str) -> str:
        return "?"

    def __getitem__(self, key: str) -> object:
        value = super().__getitem__(key) if key in self else "?"
        if isinstance(value, (KuramoriError, Phrase)):
            return value.text(self._translate)
        if type(value) is tuple:
            return "; ".join(part.text(self._translate) for part in value)
        if isinstance(value, str) and value and key in _TRANSLATED:
            value = self._translate(value)
        return printable(value) if isinstance(value, (str, bytes)) else value


def printable(text: str | bytes) -> str:
    """Return ``text`` safe to show: control characters, escape sequences and undecodable bytes
    become backslash escapes; line breaks too."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


_SYSTEM_TEXTS = (
    N_("No such file or directory"), N_("Permission denied"), N_("Operation not permitted"), N_("Not a directory"),
    N_("Is a directory"), N_("File exists"), N_("Directory not empty"), N_("No space left on device"),
    N_("Input/output error"), N_("Read-only file system"), N_("Too many levels of symbolic links"),
    N_("File name too long"), N_("Device or resource busy"), N_("Disk quota exceeded"), N_("Too many open files"),
    N_("No such device or address"), N_("Stale file handle"), N_("Operation not supported"), N_("File too large"),
    N_("Connection refused"), N_("Connection timed out"), N_("Broken pipe"), N_("Cannot allocate memory"),
    N_("Transport endpoint is not connected"), N_("Invalid argument"), N_("Text file busy"),
)
"""What the system says most often, for the catalogues: these reach people as the detail of an error."""


# --- what was asked for makes no sense -------------------------------------------------------


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
    advice = N_("give a folder, such as /srv/backup; write local: before a path that has a colon in it")


class StoreNotBuiltError(UsageError):
    """The location names a kind of store that this version does not have."""

    message = N_("this version of kuramori cannot use {scheme!s}: repositories yet; only folders (local)")
    advice = N_("mount that store as a folder and name the folder")


class NothingToBackUpError(KuramoriError):
    """Nothing of what was named could be saved; no snapshot was made."""

    message = N_("nothing could be backed up, so no snapshot was made: {detail}")
    advice = N_("check that the sources exist and can be read")


# --- the repository --------------------------------------------------------------------------


class RepositoryError(KuramoriError):
    """Something about the repository as a whole."""

    message = N_("repository at {location!s}: {detail}")


class NoRepositoryError(RepositoryError):
    """There is no repository at the location."""

    message = N_("there is no repository at {location!s}")
    advice = N_("check the location, or make a repository there with: kuramori init -r {location!s}")
    exit_code = 10


class RepositoryExistsError(RepositoryError):
    """``init`` was asked to make a repository where one is."""

    message = N_("there is already a repository at {location!s} ({detail})")
    advice = N_("use it as it is, or choose another place")


class RepositoryLockedError(RepositoryError):
    """Somebody else holds a lock that excludes ours."""

    message = N_("the repository is in use: lock {lock!s} ({kind}) by {owner!s}, process {pid}, since {since}")
    advice = N_("wait and try again (--retry-lock 10m waits for you); "
                "if that process is gone for certain: kuramori unlock")
    exit_code = 11


class LockLostError(RepositoryError):
    """Our own lock disappeared or could not be kept fresh while we worked."""

    message = N_("the lock on the repository at {location!s} was lost: {detail}")
    advice = N_("nothing that was complete is lost; run the command again")
    exit_code = 11


class WrongPasswordError(RepositoryError):
    """No key of the repository opens with the password."""

    message = N_("wrong password for the repository at {location!s}, or no key for it")
    advice = N_("check the password; RESTIC_PASSWORD, --password-file and --password-command also give it")
    exit_code = 12


class WrongSourcePasswordError(WrongPasswordError):
    """No key of the repository that is copied from opens with its password."""

    message = N_("wrong password for the source repository at {location!s}, or no key for it")
    advice = N_("check the password; RESTIC_FROM_PASSWORD, --from-password-file and --from-password-command also "
                "give it")


class TooManyKeysError(RepositoryError):
    """The limit on keys tried was reached before one opened (format section 1.3)."""

    message = N_("none of the first {count} keys opens with this password, and no more are tried")
    advice = N_("name the key with --key-hint")
    exit_code = 12


class UnsupportedRepositoryError(RepositoryError):
    """A format version or a feature that we do not know."""

    message = N_("the repository at {location!s} cannot be used: {detail}")
    advice = N_("a newer version of kuramori or restic may be needed")


class DamagedError(RepositoryError):
    """What was read is not what was written: a MAC, a hash, a size or a structure is wrong."""

    message = N_("{what!s} is damaged: {detail}")
    advice = N_("run: kuramori check --read-data")


class DamagedLockError(DamagedError):
    """A lock cannot be read, so nobody can tell who holds it."""

    advice = N_("if no program uses the repository, this removes it: kuramori unlock")


class MissingBlobError(DamagedError):
    """No index names the blob, so nobody knows where it would lie."""

    message = N_("{kind} blob {blob!s} is missing from the index")
    advice = N_("run: kuramori check; a backup of the same files may heal it")


class LossyTreeError(RepositoryError):
    """A tree holds something that our encoder cannot say, so rewriting it would lose that."""

    message = N_("the tree of {path!s} in snapshot {snapshot!s} cannot be written anew without losing information: "
                 "another program, or another version, has put more into it than is known here")
    advice = N_("nothing was changed; leave such snapshots out by naming the others")


class SealVerificationError(RepositoryError):
    """Just-sealed data did not open to what it was made from: bad memory, or a broken library."""

    message = N_("what was sealed for {what!s} did not open again: {detail}; it was not written")
    advice = N_("this machine's memory or processor may be faulty: test it before trusting any backup made on it")


# --- storage ---------------------------------------------------------------------------------


class StorageError(KuramoriError):
    """The backend failed, for good as far as it can tell."""

    message = N_("storage {location!s}: {operation} {name!s} failed: {detail}")


class StorageRetryableError(StorageError):
    """The backend failed in a way that may pass: network, busy, a time-out."""

    retryable = True


class FileNotInStorageError(StorageError):
    """The file is not there."""

    message = N_("storage {location!s}: there is no {name!s}")


class ShortReadError(StorageError):
    """The file is shorter than the range that was asked for."""

    message = N_("storage {location!s}: {name!s} is too short: {detail}")


class StorageFullError(StorageError):
    """No space is left."""

    message = N_("no space is left in {location!s} ({operation} {name!s})")
    advice = N_("free some space there, then run the command again; "
                "what was complete before is not affected")


class StoragePermissionError(StorageError):
    """The store refuses."""

    message = N_("storage {location!s}: not allowed to {operation} {name!s}: {detail}")
    advice = N_("check the rights on it, or run as the user who owns it")


class ReadOnlyStorageError(StorageError):
    """A change was asked of a backend that was opened for reading only."""

    message = N_("storage {location!s} was opened for reading only: {operation} {name!s} was refused")


class MissingExtraError(KuramoriError):
    """An optional part is not installed."""

    message = N_("{feature} needs the package {package!s}, which is not installed")
    advice = N_("install it with: pip install 'kuramori[{extra}]'")


# --- sources and targets ---------------------------------------------------------------------


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


class PackMissingError(DamagedError):
    """The index names a pack that is not there."""

    message = N_("pack {pack!s} is missing; the index says that it holds {count} blob(s)")
    advice = N_("bring the file back, if some copy of it exists")


class PackSizeError(DamagedError):
    """A pack is longer or shorter than what the index says it holds."""

    message = N_("pack {pack!s} has {found} bytes and should have {expected}")


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


class PackCopyError(KuramoriError):
    """The copy of a damaged pack could not be kept, so the pack was not touched."""

    message = N_("the copy of a damaged pack could not be written to {path!s}: {detail}")
    advice = N_("nothing was changed; run the command in a folder where there is room and that you may write to")


class SameRepositoryError(UsageError):
    """A repository was to be copied into itself."""

    message = N_("{location!s} is both the source and the target of the copy: it is the same repository")
    advice = N_("give another repository to --from-repo or to -r")


class SnapshotNotCopiedError(RepositoryError):
    """A snapshot could not be copied whole, so it was not written."""

    message = N_("snapshot {snapshot!s} was not copied: {detail}")


class IncompleteCopyError(RepositoryError):
    """A copy ended, but some snapshots are missing."""

    message = N_("{count} snapshot(s) could not be copied")
    advice = N_("they are named above; what was copied is whole, and the next copy leaves it out")


class Interrupted(KuramoriError):
    """The user pressed Ctrl-C or the process was asked to end."""

    message = N_("interrupted")
    advice = N_("what was uploaded is kept, and the next run goes on from there")
    exit_code = 130
