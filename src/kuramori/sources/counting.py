"""Counts files and bytes beforehand, for the time left in a progress bar."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from kuramori.sources.excludes import ExcludeOptions, Excluder


def count_files(paths: Sequence[bytes], excludes: ExcludeOptions) -> Iterator[tuple[int, int]]:
    """Yield now and then how many regular files and bytes were found so far; at last the totals.

    What cannot be listed is left out: the backup itself will name it. Tags of excluded folders are
    not looked for, so the totals may be a little high.
    """
    excluder = Excluder(excludes)
    files = size = 0
    stack = [os.path.abspath(path) for path in paths]
    while stack:
        try:
            found_files, found_size = _look(stack.pop(), stack, excluder)
        except OSError:
            continue
        files, size = files + found_files, size + found_size
        yield files, size
    yield files, size


def _look(path: bytes, stack: list[bytes], excluder: Excluder) -> tuple[int, int]:
    """Count a file, or what lies directly in a folder; put the folders in it on the stack."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        return (1, status.st_size) if stat.S_ISREG(status.st_mode) else (0, 0)
    files = size = 0
    with os.scandir(path) as entries:
        for entry in entries:
            if excluder.excludes_path(entry.path):
                continue
            if entry.is_dir(follow_symlinks=False):
                stack.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                files, size = files + 1, size + entry.stat(follow_symlinks=False).st_size
    return files, size
