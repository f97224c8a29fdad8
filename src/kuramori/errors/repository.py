"""The repository as a whole, and what was read from it."""

from __future__ import annotations

from kuramori.errors.root import N_, KuramoriError


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


class NoKeyListedError(RepositoryError):
    """There is a config, and no key."""

    message = N_("the repository at {location!s} has a config, but no key file: either the listing of the store is "
                 "wrong, or all keys are lost")
    advice = N_("run the command again later; nothing can be read without a key file, so if it stays so, bring one "
                "back from a copy of the repository")
    exit_code = 12


class WrongNamedPasswordError(WrongPasswordError):
    """No key of a repository of the settings opens with the password that they give."""

    message = N_("wrong password for the repository {name!s} at {location!s}, or no key for it")
    advice = N_("check what the settings give as its password: password_file or password_command of {name!s}")


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
