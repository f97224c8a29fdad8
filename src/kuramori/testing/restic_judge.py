"""The real restic, asked for its opinion of a repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ResticFailedError(AssertionError):
    """restic ended with another exit code than it should have."""


@dataclass(frozen=True, slots=True)
class ResticOutcome:
    """How one call of restic ended."""

    code: int
    stdout: str
    stderr: str

    def json_lines(self) -> list[Any]:
        """Return the JSON documents of the output, one a line; other lines are left out."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith(("{", "["))]


class Restic:
    """One restic binary and one repository."""

    def __init__(self, binary: str | Path, repository: str | Path, password: str, *,
                 environment: Mapping[str, str] | None = None, home: str | Path = "/nonexistent") -> None:
        """Nothing is run yet.

        Args:
            binary: the program.
            repository: its location; for restic a path or URL.
            password: handed over in the child's environment.
            environment: more variables for the child, which gets nothing else of ours.
            home: its home folder. It keeps no cache.
        """
        self.binary = str(binary)
        self.repository = str(repository)
        self._environment = {
            "PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC",
            "RESTIC_REPOSITORY": self.repository, "RESTIC_PASSWORD": password,
            **(environment or {}),
        }

    def run(self, *arguments: str | bytes | Path, codes: Sequence[int] = (0,), stdin: bytes = b"",
            directory: str | Path | None = None, timeout_seconds: float = 600) -> ResticOutcome:
        """Run restic with ``arguments``.

        Args:
            codes: the exit codes that are right; an empty sequence allows all.
            stdin: what it reads there.
            directory: its working directory.

        Raises:
            ResticFailedError: it ended otherwise; the text holds all it said.
        """
        command: list[str | bytes | Path] = [self.binary, "--no-cache", *arguments]
        done = subprocess.run(command, env=self._environment, input=stdin, capture_output=True, cwd=directory,
                              timeout=timeout_seconds, check=False)
        outcome = ResticOutcome(done.returncode, done.stdout.decode(errors="surrogateescape"),
                                done.stderr.decode(errors="surrogateescape"))
        if codes and outcome.code not in codes:
            raise ResticFailedError(
                f"restic {arguments!r} ended with {outcome.code}, not one of {tuple(codes)}:\n"
                f"{outcome.stdout}\n{outcome.stderr}"
            )
        return outcome

    def version(self) -> tuple[int, int, int]:
        """Return the binary's version."""
        match = re.search(r"restic (\d+)\.(\d+)\.(\d+)", self.run("version").stdout)
        if match is None:
            raise ResticFailedError(f"{self.binary} does not say its version")
        return int(match[1]), int(match[2]), int(match[3])

    def init(self, repository_version: int = 2) -> None:
        """Make a repository."""
        self.run("init", "--repository-version", str(repository_version))

    def backup(self, *paths: str | bytes | Path, options: Sequence[str] = (), codes: Sequence[int] = (0,),
               directory: str | Path | None = None) -> dict[str, Any]:
        """Back up ``paths`` and return the summary (restic's JSON: ``snapshot_id``, ``files_new``,
        ``files_unmodified`` and so on); empty where there is none."""
        outcome = self.run("backup", "--json", *options, *paths, codes=codes, directory=directory)
        for message in outcome.json_lines():
            if isinstance(message, dict) and message.get("message_type") == "summary":
                return message
        return {}

    def snapshots(self, *options: str) -> list[dict[str, Any]]:
        """Return all snapshots as restic's JSON."""
        found = json.loads(self.run("snapshots", "--json", *options).stdout or "[]")
        return list(found or [])

    def restore(self, snapshot: str, target: str | Path, *options: str) -> ResticOutcome:
        """Restore a snapshot into a folder."""
        return self.run("restore", snapshot, "--target", target, *options)

    def check(self, *, read_data: bool = True, codes: Sequence[int] = (0,)) -> ResticOutcome:
        """Check the repository, by default every byte of it."""
        return self.run("check", *(["--read-data"] if read_data else []), codes=codes)

    def list(self, kind: str) -> list[str]:
        """Return the ids of all ``packs``, ``index``, ``snapshots``, ``keys``, ``locks`` or
        ``blobs`` (these as ``type id``)."""
        return [line for line in self.run("list", kind, "--no-lock").stdout.splitlines() if line]

    def cat(self, kind: str, *identifier: str) -> Any:
        """Return what ``restic cat`` shows of a ``config``, ``snapshot``, ``index``, ``key``,
        ``lock`` or ``tree``."""
        return json.loads(self.run("cat", kind, *identifier).stdout)

    def forget(self, *options: str) -> ResticOutcome:
        """Forget snapshots, and with ``--prune`` what they alone used."""
        return self.run("forget", *options)

    def prune(self, *options: str) -> ResticOutcome:
        """Remove what no snapshot uses."""
        return self.run("prune", *options)

    def key_add(self, new_password_file: str | Path) -> ResticOutcome:
        """Add a key whose password is in a file."""
        return self.run("key", "add", "--new-password-file", new_password_file)

    def unlock(self, *, remove_all: bool = False) -> ResticOutcome:
        """Remove stale locks, or all."""
        return self.run("unlock", *(["--remove-all"] if remove_all else []))
