"""What of a snapshot is restored: ``--include`` and ``--exclude``."""

from __future__ import annotations

from dataclasses import dataclass

from kuramori.errors import N_, UsageError
from kuramori.sources.patterns import PatternList


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """Patterns over paths in the snapshot, in restic's language. Includes and excludes exclude
    each other."""

    includes: tuple[bytes, ...] = ()
    case_insensitive_includes: tuple[bytes, ...] = ()
    excludes: tuple[bytes, ...] = ()
    case_insensitive_excludes: tuple[bytes, ...] = ()


class Selection:
    """Decides what is restored. May be used by several threads."""

    def __init__(self, options: SelectionOptions) -> None:
        """Compile the patterns.

        Raises:
            UsageError: includes and excludes are mixed, or a pattern is malformed.
        """
        self._includes = _lists(options.includes, options.case_insensitive_includes)
        self._excludes = _lists(options.excludes, options.case_insensitive_excludes)
        if self._includes and self._excludes:
            raise UsageError(detail=N_("include and exclude patterns cannot be used together"))

    def select(self, path: bytes, is_folder: bool) -> tuple[bool, bool]:
        """Tell whether an entry is restored, and whether something in it may be.

        Args:
            path: the path in the snapshot, beginning with a slash.
        """
        if self._includes:
            selected = any(patterns.matches(path) for patterns in self._includes)
            inside = is_folder and (selected or any(patterns.may_match_child(path) for patterns in self._includes))
            return selected, inside
        excluded = any(patterns.matches(path) for patterns in self._excludes)
        return not excluded, is_folder and not excluded


def _lists(plain: tuple[bytes, ...], folded: tuple[bytes, ...]) -> list[PatternList]:
    lists = []
    if plain:
        lists.append(PatternList(plain))
    if folded:
        lists.append(PatternList(folded, case_insensitive=True))
    return lists
