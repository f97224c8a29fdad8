"""A worker that saves files does not wait for each answer of the main process, which is played by the test."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from kuramori.archiving import wire
from kuramori.archiving.databases import DatabaseSettings
from kuramori.chunking.content_defined import derive_seed
from kuramori.crypto.master_key import MasterKey
from kuramori.ids import split_ids
from kuramori.model.node import decode_node
from kuramori.repository.compression import Compression
from kuramori.repository.worker_channel import wait_for_messages
from kuramori.repository.worker_process import WorkerProcess, end_workers

FILES = 5


class _Main:
    """The other end of a worker."""

    def __init__(self, databases: DatabaseSettings | None = None) -> None:
        key = MasterKey.random()
        self.worker = WorkerProcess("kuramori.archiving.worker")
        self.worker.send_settings(wire.encode(wire.WorkerSettings(
            None, key.reveal(), 2, Compression.AUTO, 16 << 20, derive_seed(key.reveal()), False, databases)))

    def give(self, task: int, folder: Path, names: list[str] | None = None) -> None:
        found = sorted(os.listdir(folder)) if names is None else names
        self.say(wire.ProcessFiles(task, os.fsencode(folder), [os.fsencode(name) for name in found]))

    def say(self, message: wire.ToWorker) -> None:
        self.worker.connection.send_bytes(wire.encode(message))

    def hear(self) -> wire.FromWorker:
        assert wait_for_messages([self.worker.connection], 30), "the worker says nothing"
        message: wire.FromWorker = wire.decode_from_worker(self.worker.connection.recv_bytes())
        return message

    def hears_nothing(self) -> bool:
        return not wait_for_messages([self.worker.connection], 0.3)

    def hear_claim(self) -> list[bytes]:
        message = self.hear()
        assert isinstance(message, wire.ClaimRequest)
        return list(split_ids(message.ids))

    def finish(self) -> wire.WorkerDone:
        self.say(wire.Finish())
        message = self.hear()
        assert isinstance(message, wire.WorkerDone)
        assert self.worker.wait() == 0
        return message


@pytest.fixture
def main() -> Iterator[_Main]:
    main = _Main()
    yield main
    end_workers([main.worker])


def _make_folders(tmp_path: Path, count: int) -> list[Path]:
    folders = []
    for number in range(count):
        folder = tmp_path / f"folder {number}"
        folder.mkdir()
        for file in range(FILES):
            (folder / f"file {file}").write_text(f"content {number} {file}")
        folders.append(folder)
    return folders


def _ids(folder: Path) -> list[bytes]:
    return [sha256((folder / name).read_bytes()).digest() for name in sorted(os.listdir(folder))]


def test_the_next_files_are_read_while_an_answer_is_still_to_come(main: _Main, tmp_path: Path) -> None:
    folders = _make_folders(tmp_path, 3)
    for task, folder in enumerate(folders):
        main.give(task, folder)
    for folder in folders:
        assert main.hear_claim() == _ids(folder)
    assert main.hears_nothing(), "nothing is stored, or said to be, before it was claimed"
    wanted = [b"\1\0\1\0\1", b"\0" * FILES, b"\1" * FILES]
    for answer in wanted:
        main.say(wire.ClaimAnswer(answer))
    for task, folder in enumerate(folders):
        handed = main.hear() if any(wanted[task]) else None
        if handed is not None:
            assert isinstance(handed, wire.HandOver)
            assert handed.ids == [each for each, ours in zip(_ids(folder), wanted[task], strict=True) if ours]
        saved = main.hear()
        assert isinstance(saved, wire.FilesSaved)
        assert saved.task == task
        assert [decode_node(node).content for node in saved.nodes] == [[each.hex()] for each in _ids(folder)]
    assert main.finish().blobs == 3 + FILES


def test_so_many_wait_at_most(main: _Main, tmp_path: Path) -> None:
    from kuramori.archiving.worker import _CLAIMED_AHEAD

    [folder] = _make_folders(tmp_path, 1)
    for task in range(_CLAIMED_AHEAD + 5):
        main.give(task, folder)
    for _ in range(_CLAIMED_AHEAD):
        main.hear_claim()
    assert main.hears_nothing()
    done = set()
    main.say(wire.ClaimAnswer(b"\0" * FILES))
    answered = 1
    while len(done) < _CLAIMED_AHEAD + 5:
        message = main.hear()
        if isinstance(message, wire.FilesSaved):
            done.add(message.task)
        if answered < _CLAIMED_AHEAD + 5:
            main.say(wire.ClaimAnswer(b"\0" * FILES))
            answered += 1
    assert done == set(range(_CLAIMED_AHEAD + 5))


def test_an_interruption_does_not_wait_for_answers(main: _Main, tmp_path: Path) -> None:
    """The main process gives none any more; what was claimed and not stored is nobody's."""
    folders = _make_folders(tmp_path, 2)
    for task, folder in enumerate(folders):
        main.give(task, folder)
        main.hear_claim()
    assert main.finish().blobs == 0


def test_answers_belong_to_the_oldest_question_also_while_a_large_file_is_saved(main: _Main, tmp_path: Path) -> None:
    """Its chunks are claimed at once, between those of small files that were asked for before."""
    folders = _make_folders(tmp_path, 2)
    large = os.urandom(1 << 20)
    (folders[1] / "large").write_bytes(large)
    main.give(0, folders[0])
    assert main.hear_claim() == _ids(folders[0])
    main.give(1, folders[1])
    chunks = main.hear_claim()
    main.say(wire.ClaimAnswer(b"\0" * FILES))
    main.say(wire.ClaimAnswer(b"\0" * len(chunks)))
    heard = [main.hear(), main.hear()]
    assert sorted(type(message).__name__ for message in heard) == ["ClaimRequest", "FilesSaved"]
    main.say(wire.ClaimAnswer(b"\1" * FILES))
    handed, saved = main.hear(), main.hear()
    assert isinstance(handed, wire.HandOver)
    assert isinstance(saved, wire.FilesSaved)
    nodes = {decode_node(node).name: decode_node(node) for node in saved.nodes}
    assert nodes["large"].content == [each.hex() for each in chunks]
    assert handed.ids == [sha256((folders[1] / f"file {number}").read_bytes()).digest() for number in range(FILES)]
    assert main.finish().blobs == FILES


def test_answers_that_come_while_a_database_is_waited_for_are_not_lost(tmp_path: Path) -> None:
    main = _Main(DatabaseSettings(20.0, True))
    try:
        [folder] = _make_folders(tmp_path, 1)
        place = tmp_path / "databases"
        place.mkdir()
        connection = apsw.Connection(str(place / "planter.db"))
        connection.execute("CREATE TABLE readings (value); INSERT INTO readings VALUES (1)")
        list(connection.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; INSERT INTO readings VALUES (2)"))
        main.give(0, folder)
        main.hear_claim()
        main.give(1, place, ["planter.db"])
        threading.Event().wait(0.5)  # it waits for the writer, and listens
        main.say(wire.ClaimAnswer(b"\1" * FILES))
        threading.Event().wait(0.5)
        list(connection.execute("COMMIT; PRAGMA locking_mode = NORMAL; SELECT count(*) FROM readings"))
        connection.close()
        done: dict[int, wire.FromWorker] = {}
        while len(done) < 2:
            message = main.hear()
            if isinstance(message, wire.ClaimRequest):
                main.say(wire.ClaimAnswer(b"\1" * (len(message.ids) // 32)))
            elif isinstance(message, wire.FilesSaved | wire.FilesDone):
                done[message.task] = message
        assert isinstance(done[0], wire.FilesSaved)
        [outcome] = done[1].outcomes if isinstance(done[1], wire.FilesDone) else []
        assert outcome.node
        assert not outcome.problem
        assert main.finish().blobs > FILES
    finally:
        end_workers([main.worker])
