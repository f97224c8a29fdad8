"""Processes that look at folders beside the main one: what they say, and what becomes of it when one of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.archiving import folder_scouts
from kuramori.archiving.folder_scouts import FolderScouts, count_scouts
from kuramori.archiving.metadata import NodeBuilder
from kuramori.archiving.scout import FolderAnswer, FolderQuestion
from kuramori.model.node import decode_node
from kuramori.model.tree import encode_tree

SEEN = 10**6


@pytest.fixture
def scouts() -> Iterator[FolderScouts[str]]:
    scouts: FolderScouts[str] = FolderScouts(2, with_atime=False)
    yield scouts
    scouts.close()


def _question(folder: Path, inode: int | None = None) -> FolderQuestion:
    nodes = []
    builder = NodeBuilder()
    for entry in sorted(os.scandir(os.fsencode(folder)), key=lambda entry: entry.name):
        node = builder.build(entry.name, entry.stat(follow_symlinks=False))
        if entry.is_dir():
            node.subtree = "00" * 32
        else:
            node.size, node.content = entry.stat().st_size, ["11" * 32]
        nodes.append(node)
    status = folder.stat()
    return FolderQuestion(os.fsencode(folder), status.st_dev, status.st_ino if inode is None else inode,
                          encode_tree(nodes))


def _collect(scouts: FolderScouts[str]) -> dict[str, FolderAnswer]:
    answers: dict[str, FolderAnswer] = {}
    while scouts.busy:
        answers.update(scouts.collect(10))
    return answers


def _make(folder: Path, files: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(files):
        (folder / f"file {number}").write_text("content")
    return folder


def test_what_is_as_before_is_told_with_the_folders_in_it(scouts: FolderScouts[str], tmp_path: Path) -> None:
    same, changed = _make(tmp_path / "same", 3), _make(tmp_path / "changed", 2)
    (same / "inner").mkdir()
    questions = {"same": _question(same), "changed": _question(changed), "another": _question(same, inode=1),
                 "no folder": FolderQuestion(os.fsencode(same / "file 1"), 0, 0, _question(same).document),
                 "no tree": FolderQuestion(os.fsencode(same), 0, 0, b'{"nodes":[')}
    (changed / "file 1").write_text("other content")
    for about, question in questions.items():
        assert scouts.has_room(len(question.document), SEEN)
        scouts.ask(about, question)
    answers = _collect(scouts)
    inner = (same / "inner").stat()
    assert answers["same"].folders == [("inner", inner.st_dev, inner.st_ino)]
    assert (answers["same"].files, answers["same"].size) == (3, 3 * len("content"))
    node = decode_node(answers["same"].node)
    assert (node.name, node.type, node.inode) == ("same", "dir", same.stat().st_ino)
    assert {about for about, answer in answers.items() if answer.node} == {"same"}
    assert answers.keys() == questions.keys()


def test_what_a_dead_scout_was_asked_is_answered_as_changed(scouts: FolderScouts[str], tmp_path: Path) -> None:
    question = _question(_make(tmp_path / "folder", 1))
    assert scouts.has_room(len(question.document), SEEN)
    for each in scouts._scouts:
        os.kill(each.process.pid, signal.SIGKILL)
        each.wait()
    for number in range(3):
        if scouts.has_room(len(question.document), SEEN):
            scouts.ask(str(number), question)
    answers = _collect(scouts)
    assert answers
    assert not any(answer.node for answer in answers.values())
    assert not scouts.has_room(len(question.document), SEEN), "no more is asked of any"


def test_more_is_not_sent_than_its_socket_holds(scouts: FolderScouts[str], tmp_path: Path) -> None:
    """A scout that waits until its answer is read must not be waited for."""
    question = _question(_make(tmp_path / "folder", 40))
    sent = 0
    while scouts.has_room(len(question.document), SEEN) and sent < 1000:
        scouts.ask(str(sent), question)
        sent += 1
    assert 2 < sent < 30
    assert len(_collect(scouts)) == sent


def test_few_files_and_huge_folders_are_looked_at_alone(scouts: FolderScouts[str]) -> None:
    assert not scouts.has_room(1000, folder_scouts._WORTH_SCOUTS - 1)
    assert not scouts.has_room(folder_scouts._LARGEST_TREE + 1, SEEN)
    assert not scouts._scouts
    assert not scouts.busy


def test_there_are_as_many_as_there_is_to_do_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, expected in ((1, 0), (2, 1), (4, 3), (64, 3)):
        monkeypatch.setattr(folder_scouts, "available_processors", lambda processors=processors: processors)
        assert count_scouts(None) == expected
    assert [count_scouts(workers) for workers in (0, 1, 2, 100)] == [0, 0, 1, 3]
