"""The backend that docs/adding-a-backend.md shows passes the suite, and keeps a repository."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kuramori
from kuramori.crypto.derivation import KdfParameters
from kuramori.repository.opening import CreateOptions
from kuramori.storage.backend import Backend
from kuramori.testing.backend_contract import BackendContract

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-backend.md"


def _documented(path: Path) -> Backend:
    """Run the page's first block and make the backend that it defines."""
    block = re.findall(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(compile(block, str(_PAGE), "exec"), names)
    make: Callable[[Path], Backend] = names["SqliteBackend"]
    return make(path)


class TestDocumentedBackend(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return _documented(tmp_path / "repository.sqlite")


def test_it_keeps_a_repository(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(100_000))
    backend = _documented(tmp_path / "repository.sqlite")
    create = CreateOptions(kdf=KdfParameters(N=16, r=8, p=1))
    kuramori.create_repository(backend, kuramori.Secret("x"), create).close()
    backend.create()
    repository = kuramori.open_repository(backend, kuramori.Secret("x"))
    assert kuramori.back_up(repository, kuramori.BackupOptions(paths=(os.fsencode(source),))).errors == ()
    target = tmp_path / "target"
    kuramori.restore(repository, f"latest:{source}", kuramori.RestoreOptions(target=os.fsencode(target)))
    assert (target / "file").read_bytes() == (source / "file").read_bytes()
    assert kuramori.check(repository, kuramori.CheckOptions(read_data=True)).sound
    repository.close()
