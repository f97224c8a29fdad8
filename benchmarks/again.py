"""What a daemon's unchanged backups take: the same process opens the repository and saves a folder, several times.

Run as ``again.py FOLDER`` with the environment of kuramori's command. Prints the seconds of each time but the first, in
which modules are imported and the key is derived.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import kuramori
from kuramori.repository.opening import OpenOptions

_TIMES = 5


def main() -> int:
    """Save and print."""
    for number in range(_TIMES):
        started = time.perf_counter()
        state = Path(os.environ["KURAMORI_STATE_DIR"])
        options = OpenOptions(index_directory=Path(os.environ["XDG_CACHE_HOME"]), ledger_directory=state)
        backend = kuramori.open_backend(os.environ["RESTIC_REPOSITORY"])
        repository = kuramori.open_repository(backend, kuramori.Secret(os.environ["RESTIC_PASSWORD"]), options)
        result = kuramori.back_up(repository, kuramori.BackupOptions(paths=(os.fsencode(sys.argv[1]),)))
        repository.close()
        if result.summary.files_new or result.summary.files_changed or result.errors:
            raise SystemExit("something is not unchanged")
        if number:
            print(time.perf_counter() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main())
