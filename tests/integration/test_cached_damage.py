"""Copies on this machine hide no damage in a store far away from those who look for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.cli.application import Application
from kuramori.cli.main import run
from kuramori.model.blob import BlobType
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.secret import Secret
from kuramori.storage import location
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.memory import MemoryBackend
from samples.repositories import PASSWORD, QUICK

_Command = Callable[..., int]


@pytest.fixture
def store() -> MemoryBackend:
    """A repository in a store that no other process can open."""
    backend = MemoryBackend(connections=3)
    create_repository(backend, PASSWORD, CreateOptions(kdf=QUICK))
    return backend


@pytest.fixture
def command(store: MemoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Command:
    """The command line with that store and a cache."""
    monkeypatch.setitem(location._OPENERS, "far", lambda address, access: store)
    monkeypatch.setenv("KURAMORI_PASSWORD", PASSWORD.reveal())

    def call(*arguments: str) -> int:
        return run(["-r", "far:x", "--cache-dir", str(tmp_path / "cache"), *arguments], Application())

    return call


def test_a_lost_pack_of_trees_is_found_although_there_is_a_copy(
        tmp_path: Path, store: MemoryBackend, command: _Command, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "leaf").write_text("green")
    back_up(open_repository(store, Secret(PASSWORD.reveal())), BackupOptions(paths=(os.fsencode(source),)))
    assert command("ls", "latest") == 0
    repository = open_repository(store, PASSWORD)
    repository.load_index()
    [trees] = [pack for pack, blobs in repository.index.packs() if blobs[0].type is BlobType.TREE]
    assert (tmp_path / "cache" / repository.id / "data" / trees.hex()[:2] / trees.hex()).exists()
    store.save(Handle(FileType.PACK, trees.hex()), [b"rubbish" * 100])
    assert command("check") == 1
    capsys.readouterr()
    assert command("repair", "snapshots", "--dry-run", "--forget") == 0
    said = capsys.readouterr().out
    with_copy = command("ls", "latest")
    assert with_copy == 0, "who only reads has the copy"
    assert "would remove it" in said
