"""Looking at trees that no sound program writes: what is wrong is named, the rest is shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.browsing.diff import diff_snapshots
from kuramori.browsing.dump import dump
from kuramori.browsing.find import FindOptions, find
from kuramori.browsing.stats import count_statistics
from kuramori.browsing.walk import MAXIMUM_DEPTH, walk_tree
from kuramori.errors import DamagedError, HostileNameError, KuramoriError
from kuramori.ids import Id
from kuramori.repository.snapshots import load_snapshots
from samples.repository_workshop import Workshop, copy, create, make_source, node, tree

MISSING = "ab" * 32


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one sound snapshot."""
    base = tmp_path_factory.mktemp("hostile")
    make_source(base / "source")
    create(base / "repository")
    workshop = Workshop(base / "repository")
    back_up(workshop.repository, BackupOptions(paths=(str(base / "source").encode(),)))
    return base / "repository"


@pytest.fixture
def workshop(template: Path, tmp_path: Path) -> Iterator[Workshop]:
    """A copy of it to spoil."""
    made = copy(template, tmp_path / "copy")
    yield made
    made.repository.close()


def _reload(workshop: Workshop) -> None:
    workshop.repository.load_index()


def _walk(workshop: Workshop, document: bytes) -> tuple[list[bytes], list[tuple[bytes, KuramoriError]]]:
    root = workshop.add_tree(document)
    _reload(workshop)
    errors: list[tuple[bytes, KuramoriError]] = []
    walked = [found.path for found in walk_tree(workshop.repository, root,
                                                on_error=lambda path, error: errors.append((path, error)))]
    return walked, errors


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/etc", "..\\x2fup", "nul\\x00", "a\\\\/b"])
def test_a_name_that_could_leave_its_folder_is_named_and_passed_over(workshop: Workshop, name: str) -> None:
    quoted = name.replace("\\", "\\\\")
    walked, errors = _walk(workshop, tree(node("before", "fifo"), node(quoted, "fifo"), node("behind", "fifo")))
    assert walked == [b"/before", b"/behind"]
    assert [type(error) for _, error in errors] == [HostileNameError]


@pytest.mark.parametrize("name", ['a\\"b', "\\\\q", "\\\\x4", "\\\\"])
def test_a_name_that_is_malformed_is_damage(workshop: Workshop, name: str) -> None:
    walked, errors = _walk(workshop, tree(node(name, "fifo"), node("behind", "fifo")))
    assert walked == [b"/behind"]
    assert [type(error) for _, error in errors] == [DamagedError]


@pytest.mark.parametrize("rest", ["", ',"subtree":null', ',"subtree":"zz"', f',"subtree":"{MISSING}"',
                                  f',"subtree":"{MISSING.upper()}"'])
def test_a_folder_without_its_tree_is_shown_and_named(workshop: Workshop, rest: str) -> None:
    walked, errors = _walk(workshop, tree(node("folder", "dir", rest), node("next", "fifo")))
    assert walked == [b"/folder", b"/next"]
    assert [path for path, _ in errors] == [b"/folder"]
    assert isinstance(errors[0][1], DamagedError)


def test_without_anybody_to_tell_the_first_problem_ends_the_walk(workshop: Workshop) -> None:
    root = workshop.add_tree(tree(node("first", "fifo"), node("..", "fifo"), node("last", "fifo")))
    _reload(workshop)
    walk = walk_tree(workshop.repository, root)
    assert next(walk).path == b"/first"
    with pytest.raises(HostileNameError):
        next(walk)


def test_folders_that_nest_for_ever_end(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kuramori.browsing.walk.MAXIMUM_DEPTH", 30)
    assert MAXIMUM_DEPTH > 30
    below = workshop.add_tree(tree())
    for _ in range(40):
        below = workshop.add_tree(tree(node("d", "dir", f',"subtree":"{below.hex()}"')))
    _reload(workshop)
    errors: list[KuramoriError] = []
    walked = list(walk_tree(workshop.repository, below, on_error=lambda path, error: errors.append(error)))
    assert max(found.path.count(b"/") for found in walked) == 30
    assert len(errors) == 1
    assert "deep" in str(errors[0])


@pytest.mark.parametrize("document", [b"", b"no tree", b'{"nodes":[{"name":"x"}]}', b'{"nodes":{}}'])
def test_a_blob_that_is_no_tree_is_damage(workshop: Workshop, document: bytes) -> None:
    walked, errors = _walk(workshop, document)
    assert walked == []
    assert [type(error) for _, error in errors] == [DamagedError]


def _spoiled_snapshot(workshop: Workshop) -> Id:
    root = workshop.add_tree(tree(node("..", "fifo"), node("folder", "dir", f',"subtree":"{MISSING}"'),
                                  node("good", "file", ',"content":[]')))
    workshop.add_snapshot(root)
    _reload(workshop)
    return root


def test_finding_comparing_and_counting_go_on(workshop: Workshop) -> None:
    spoiled = _spoiled_snapshot(workshop).hex()
    repository = workshop.repository
    names = {stored.snapshot.tree: stored.id for stored in load_snapshots(repository)}
    other = next(name for root, name in names.items() if root != spoiled)
    errors: list[KuramoriError] = []

    def note(path: bytes, error: KuramoriError) -> None:
        errors.append(error)

    found = [walked.path for entries in find(repository, FindOptions((b"good",)), on_error=note)
             for walked in entries.entries]
    assert found == [b"/good"]
    assert len(errors) == 2
    errors.clear()
    changes = [change.path for change in diff_snapshots(repository, other, names[spoiled], on_error=note).changes]
    assert b"/good" in changes
    assert errors
    errors.clear()
    assert count_statistics(repository, on_error=note).snapshots == 2
    assert len(errors) == 2


def test_a_dump_of_it_fails_and_says_why(workshop: Workshop) -> None:
    spoiled = _spoiled_snapshot(workshop).hex()
    name = next(stored.id for stored in load_snapshots(workshop.repository) if stored.snapshot.tree == spoiled)
    with pytest.raises(HostileNameError):
        dump(workshop.repository, name, io.BytesIO())
