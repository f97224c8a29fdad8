"""Counts files and bytes beforehand, for the time left in a progress bar."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from kuramori.sources.excludes import Excluder, ExcludeOptions


def count_files(paths: Sequence[bytes], excludes: ExcludeOptions) -> Iterator[tuple[int, int]]:
    """Yield now and then how many regular files and bytes were found so far; at last the totals.

    What cannot be listed is left out: the backup itself will name it. Tags of excluded folders are
    not looked for, so the totals may be a little high.
    """
    excluder = Excluder(excludes)
    files = size = 0
    stack = [os.path.abspath(path) for path in paths]
    while stack:
        path = stack.pop()
        try:
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                files, size = files + 1, size + status.st_size
            if not stat.S_ISDIR(status.st_mode):
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    if excluder.excludes_path(entry.path):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        files, size = files + 1, size + entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
        yield files, size
    yield files, size
