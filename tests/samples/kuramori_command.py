"""The ``kuramori`` command, run as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from kuramori.crypto.derivation import KdfParameters
from kuramori.repository.keys import change_password
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.secret import Secret
from kuramori.storage.access import NO_ACCESS, StoreAccess
from kuramori.storage.local import LocalBackend
from kuramori.storage.location import open_backend

_CHEAP = KdfParameters(1024, 8, 1)


class Kuramori:
    """The command with one repository and password."""

    def __init__(self, repository: Path, password: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Nothing is run yet. What the command remembers of repositories is remembered for this folder
        alone: tests copy whole repositories, with their ids.

        Args:
            environment: more variables.
        """
        state = os.path.join(os.environ["KURAMORI_STATE_DIR"], hashlib.sha256(os.fsencode(repository)).hexdigest()[:16])
        self.repository = repository
        self._password = password
        self.environment = {
            **os.environ, "KURAMORI_STATE_DIR": state,
            "KURAMORI_REPOSITORY": str(repository), "KURAMORI_PASSWORD": password,
            **(environment or {}),
        }

    def init_quickly(self, version: int = 2) -> None:
        """Make the repository with a key that costs next to nothing to derive, because both programs
        will open it many times."""
        create_repository(LocalBackend(self.repository), Secret(self._password),
                          CreateOptions(version=version, kdf=_CHEAP))

    def make_key_cheap(self, access: StoreAccess = NO_ACCESS) -> None:
        """Open the repository with the key that restic has made, and put one for the same password in its place that
        costs next to nothing: a test that is not about keys has to pay for restic's once only."""
        location = self.environment["KURAMORI_REPOSITORY"]
        with closing(open_repository(open_backend(location, access), Secret(self._password))) as opened:
            change_password(opened, Secret(self._password), parameters=_CHEAP)

    def start(self, *arguments: str | bytes | Path, under: Sequence[str] = (),
              **options: Any) -> subprocess.Popen[bytes]:
        """Start the command, by another one if ``under`` names it, and return its process."""
        command = [*under, sys.executable, "-m", "kuramori", *arguments]
        return subprocess.Popen(command, env=self.environment, **options)

    def run(self, *arguments: str | bytes | Path, codes: Sequence[int] = (0,), directory: Path | None = None) -> str:
        """Run the command and return what it prints.

        Raises:
            AssertionError: the exit code is none of ``codes``.
        """
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=directory)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode in codes, (
            f"kuramori {arguments} ended with {process.returncode}:\n{stdout.decode(errors='replace')}\n"
            f"{stderr.decode(errors='replace')}")
        return stdout.decode()

    def backup(self, *arguments: str | bytes | Path, directory: Path | None = None) -> dict[str, Any]:
        """Back up and return the summary."""
        lines = self.run("backup", "--json", *arguments, directory=directory).splitlines()
        summary = json.loads(lines[-1])
        assert summary["message_type"] == "summary"
        return dict(summary)

    def snapshots(self) -> list[dict[str, Any]]:
        """Return all snapshots."""
        return list(json.loads(self.run("snapshots", "--json")))

    def tree_of(self, snapshot: str) -> str:
        """Return the id of a snapshot's tree."""
        return next(found["tree"] for found in self.snapshots() if found["id"] == snapshot)
