"""What is left out of a backup, as restic's ``--exclude`` options say it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from kuramori.errors import N_, Phrase, UsageError
from kuramori.sources.patterns import PatternList

CACHE_TAG = b"CACHEDIR.TAG"
CACHE_TAG_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""https://bford.info/cachedir/"""


@dataclass(frozen=True, slots=True)
class ExcludeOptions:
    """What to leave out. Patterns are bytes, in restic's language (:mod:`kuramori.sources.patterns`)."""

    patterns: tuple[bytes, ...] = ()
    case_insensitive_patterns: tuple[bytes, ...] = ()
    caches: bool = False
    """Leave out what lies beside a ``CACHEDIR.TAG``."""
    if_present: tuple[bytes, ...] = ()
    """``NAME`` or ``NAME:HEADER``: leave out what lies beside a file of that name (that begins so)."""
    larger_than: int | None = None
    """Leave out files of more bytes."""
    one_file_system: bool = False
    """Leave out what lies on other file systems than the targets."""


class Excluder:
    """Decides what is left out. Used by one thread."""

    def __init__(self, options: ExcludeOptions) -> None:
        """Compile the options.

        Raises:
            UsageError: a pattern or tag is malformed.
        """
        self._plain = PatternList(options.patterns) if options.patterns else None
        self._folded = (PatternList(options.case_insensitive_patterns, case_insensitive=True)
                        if options.case_insensitive_patterns else None)
        self._tags = [_parse_tag(text) for text in options.if_present]
        if options.caches:
            self._tags.append((CACHE_TAG, CACHE_TAG_SIGNATURE))
        self._larger_than = options.larger_than
        self._one_file_system = options.one_file_system
        self._devices: set[int] = set()
        self.by_name = self._plain is not None or self._folded is not None
        """False if :meth:`excludes_path` never says yes."""
        self.keeps_all = not (self.by_name or self._tags or self._one_file_system or self._larger_than is not None)
        """True if nothing at all is left out."""

    def excludes_path(self, path: bytes) -> bool:
        """Tell whether an absolute path is left out by its name."""
        return bool((self._plain and self._plain.matches(path)) or (self._folded and self._folded.matches(path)))

    def allow_device(self, device: int) -> None:
        """Note the file system of a target, for ``one_file_system``."""
        self._devices.add(device)

    def excludes_status(self, status: os.stat_result, outer_device: int) -> bool:
        """Tell whether an entry is left out by its size or file system. A mount point itself is
        kept, so that it is there to mount on after a restore; what is in it is not."""
        if self._larger_than is not None and stat.S_ISREG(status.st_mode) and status.st_size > self._larger_than:
            return True
        if not self._one_file_system or status.st_dev in self._devices:
            return False
        return not (stat.S_ISDIR(status.st_mode) and outer_device in self._devices)

    def tag_in(self, names: Sequence[bytes], directory: int) -> bytes | None:
        """Return the name of the tag file because of which the rest of a folder is left out.

        Args:
            names: what is in the folder.
            directory: a descriptor of it.
        """
        for name, header in self._tags:
            if name in names and _begins_with(name, header, directory):
                return name
        return None


def _parse_tag(text: bytes) -> tuple[bytes, bytes]:
    name, _, header = text.partition(b":")
    if not name or b"/" in name:
        raise UsageError(detail=Phrase(N_("--exclude-if-present wants the name of a file, not {text!r}"), text=text))
    return name, header


def _begins_with(name: bytes, header: bytes, directory: int) -> bool:
    if not header:
        return True
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        return os.read(fd, len(header)) == header
    except OSError:
        return False
    finally:
        os.close(fd)
