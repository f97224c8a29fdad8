"""The settings file, and the files and commands that hold passwords."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kuramori.errors.requests import UsageError
from kuramori.errors.root import N_, KuramoriError, Phrase, printable


@dataclass(frozen=True)
class SettingsProblem:
    """One thing that is wrong in a settings file.

    ``keys`` is the path of the value, or of the key that is missing, from the top of the file.
    """

    keys: tuple[str | int, ...]
    message: Phrase
    """What was found. Never a secret."""
    allowed: Phrase | None = None
    """What may stand there."""
    nearest: str = ""
    """The known name that was probably meant."""

    @property
    def place(self) -> str:
        """The path as people write it: ``jobs.planter.repositories[0]``."""
        return dotted(self.keys)

    def text(self, translate: Callable[[str], str] = str) -> str:
        """Return the problem as one line, in the language of ``translate``."""
        parts = [self.message.text(translate)]
        if self.nearest:
            parts.append(Phrase(N_("did you mean {near!s}?"), near=self.nearest).text(translate))
        if self.allowed is not None:
            parts.append(Phrase(N_("allowed: {allowed}"), allowed=self.allowed).text(translate))
        said = "; ".join(parts)
        return f"{self.place}: {said}" if self.keys else said


def dotted(keys: tuple[str | int, ...]) -> str:
    """Return a path in a settings file as TOML would write it, on one line."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
            continue
        plain = key.isascii() and key.replace("-", "_").replace("_", "a").isalnum()
        shown = key if plain else _quoted(key)
        text += f".{shown}" if text else shown
    return text


def _quoted(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(escaped)}"'


class SettingsError(KuramoriError):
    """The settings file cannot be used; ``problems`` holds everything that is wrong with it.

    Args:
        path: the file.
        problems: a tuple of :class:`SettingsProblem`, in the order of the file's parts.
        language: what the file says about its language, if that much can be told.
    """

    message = N_("the settings file {path!s} cannot be used:")

    @property
    def problems(self) -> tuple[SettingsProblem, ...]:
        """Everything that is wrong."""
        found = self.fields.get("problems", ())
        return found if isinstance(found, tuple) else ()

    @property
    def language(self) -> str:
        """``en``, ``ja`` or empty."""
        return str(self.fields.get("language", ""))

    def text(self, translate: Callable[[str], str] = str) -> str:
        """Return a sentence, then one line for each problem; a single one stands in the same line."""
        first, lines = super().text(translate), [problem.text(translate) for problem in self.problems]
        if len(lines) == 1:
            return f"{first} {lines[0]}"
        return "\n".join([first, *(f"  {line}" for line in lines)])


class NoSettingsError(UsageError):
    """There is no settings file where one was looked for."""

    message = N_("there is no settings file; looked for: {places}")
    advice = N_("kuramori setup makes one; or say with -r where the repository is")


class SettingsFileMissingError(UsageError):
    """The settings file that was named does not exist."""

    message = N_("there is no settings file {path!s}")
    advice = N_("kuramori setup makes one")


class UntrustedSettingsError(KuramoriError):
    """A settings file names commands to run, and belongs to somebody else."""

    message = N_("the settings file {path!s} is not used: it belongs to another user")
    advice = N_("it may name commands that would be run; if you trust it, name it with --settings")


class WritableSettingsError(UntrustedSettingsError):
    """Every user may write to a settings file, and it names commands to run."""

    message = N_("the settings file {path!s} is not used: every user may write to it")
    advice = N_("it may name commands that would be run; this changes it: chmod o-w {path!s}")


class CredentialError(KuramoriError):
    """A password or another secret cannot be had."""

    message = N_("the password of {repository!s} cannot be had: {detail}")


class PasswordFileMissingError(CredentialError):
    """The password file does not exist."""

    message = N_("the password file {path!s} of {repository!s} does not exist")
    advice = N_("bring it back from where you keep the copy")


class GeneratedPasswordFileMissingError(PasswordFileMissingError):
    """The password file does not exist, and stands where ``init`` puts new ones."""

    advice = N_("bring it back from where you keep the copy; for a new repository, kuramori init makes one")


class NamedPasswordFileMissingError(PasswordFileMissingError):
    """The password file does not exist, and the settings name it: then nobody but the user makes it."""

    advice = N_("bring it back from where you keep the copy; for a new repository, make one, as with: "
                "(umask 077; head -c 30 /dev/urandom | base64 > {path!s})")


class StoreCredentialError(CredentialError):
    """What opens a repository's store cannot be had."""

    message = N_("the credentials for the store of {repository!s} cannot be had: {detail}")


class EnvironmentFileMissingError(StoreCredentialError):
    """The file with the variables of a store does not exist."""

    message = N_("the environment_file {path!s} of {repository!s} does not exist")
    advice = N_("make it, with one line NAME=value for each variable, and chmod 600 {path!s}")


class UnsafeSecretFileError(CredentialError):
    """A file with a secret in it can be read by others, or belongs to somebody else."""

    message = N_("the file {path!s} holds a secret and is not used: {detail}")
    advice = N_("this makes it yours alone: chmod 600 {path!s}")


class ForeignSecretFileError(UnsafeSecretFileError):
    """A file with a secret in it belongs to somebody else."""

    advice = N_("give it to the user who runs kuramori, or name a file of your own")


class UnitNotInstalledError(KuramoriError):
    """A unit could not be put in its place."""

    message = N_("the systemd unit {path!s} could not be installed: {detail}")
