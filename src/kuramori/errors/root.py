"""The root of the tree of errors, and how their texts are made."""

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


_TRANSLATED = ("what", "detail", "operation")


class _Shown(dict[str, object]):
    """Fields of a template: a missing one is shown as a question mark instead of raising, text that
    a terminal would obey is escaped, and phrases are translated. What an error is about, its detail and
    the operation that failed are translated too, where the catalogues know them: they pass between
    processes as plain text, and some details come from the system."""

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


class Interrupted(KuramoriError):
    """The user pressed Ctrl-C or the process was asked to end, and whoever does the work found out because he asked.

    A signal that ends what does not ask is a ``KeyboardInterrupt``, which no ``except KuramoriError`` can take for the
    error of a file.
    """

    message = N_("interrupted")
    advice = N_("what was uploaded is kept, and the next run goes on from there")
    exit_code = 130
