"""Whatever a repository says and whoever plants links in the target: not a byte lands outside it."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.errors import HostileNameError, KuramoriError, RestoreError
from kuramori.ids import hash_id
from kuramori.model.blob import BlobType
from kuramori.restoring.jobs import RestoreOptions, RestoreResult
from kuramori.restoring.restore import restore
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, create, node, tree
from samples.tree_facts import assert_same_tree, tree_facts

CONTENT = b"content from the snapshot"
SENTINEL = "not to be touched"


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A repository with one blob of :data:`CONTENT` and a snapshot to copy."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(CONTENT)
    create(tmp_path / "repository")
    first = Workshop(tmp_path / "repository")
    back_up(first.repository, BackupOptions(paths=(os.fsencode(tmp_path / "source"),)))
    first.repository.close()
    made = Workshop(tmp_path / "repository")
    yield made
    made.repository.close()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the target with what an attacker would like to change."""
    folder = tmp_path / "jail" / "outside"
    (folder / "inner").mkdir(parents=True)
    for path in (folder / "file", folder / "inner" / "file", folder / "x"):
        path.write_text(SENTINEL)
        path.chmod(0o600)
    os.utime(folder, ns=(10**18, 10**18))
    return folder


@pytest.fixture
def target(tmp_path: Path, outside: Path) -> Path:
    """The folder that is restored into."""
    folder = tmp_path / "jail" / "target"
    folder.mkdir()
    return folder


def regular(name: str, rest: str = "") -> str:
    """Return the JSON of a file with :data:`CONTENT`."""
    return node(name, "file", f',"size":{len(CONTENT)},"content":["{hash_id(CONTENT).hex()}"]{rest}')


def link(name: str, destination: Path | str) -> str:
    """Return the JSON of a symlink."""
    return node(name, "symlink", f',"linktarget":"{destination}"')


def folder_of(workshop: Workshop, name: str, *nodes: str) -> str:
    """Store a tree; return the JSON of a folder that has it."""
    return node(name, "dir", f',"subtree":"{workshop.add_tree(tree(*nodes)).hex()}"')


def restore_tree(workshop: Workshop, target: Path, *nodes: str, **options: object) -> RestoreResult:
    """Store a snapshot of a tree with these nodes and restore it."""
    snapshot = workshop.add_snapshot(workshop.add_tree(tree(*nodes)))
    workshop.repository.load_index()
    made = RestoreOptions(target=os.fsencode(target), **options)  # type: ignore[arg-type]
    return restore(workshop.repository, snapshot, made)


HOSTILE_NAMES = ["..", ".", "", "../outside/file", "../../jail/outside/x", "inner/../../outside/x", "a/b", "/etc/x",
                 "nul\\\\x00byte", "..\\\\x2foutside", "\\\\x2e\\\\x2e"]


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["file", "dir", "symlink", "fifo"])
def test_a_name_that_leaves_its_folder(workshop: Workshop, outside: Path, target: Path, name: str, kind: str) -> None:
    """It is named and passed over; what stands beside it comes back."""
    before = tree_facts(outside)
    shaped = {"file": lambda: regular(name), "dir": lambda: folder_of(workshop, name, regular("file")),
              "symlink": lambda: link(name, outside), "fifo": lambda: node(name, "fifo")}[kind]()
    result = restore_tree(workshop, target, shaped, regular("sound"), delete=True)
    assert [type(error) for error in result.errors] == [HostileNameError]
    assert os.listdir(target) == ["sound"]
    assert (target / "sound").read_bytes() == CONTENT
    assert_same_tree(tree_facts(outside), before)
    assert sorted(os.listdir(outside.parent)) == ["outside", "target"]


def _first_kinds(workshop: Workshop, outside: Path) -> dict[str, str]:
    return {"symlink": link("x", outside), "file": regular("x"), "dir": folder_of(workshop, "x", regular("file")),
            "fifo": node("x", "fifo")}


@pytest.mark.parametrize("first", ["symlink", "file", "dir", "fifo"])
@pytest.mark.parametrize("second", ["symlink", "file", "dir", "fifo"])
def test_a_name_that_comes_twice(workshop: Workshop, outside: Path, target: Path, first: str, second: str) -> None:
    """A link and then a folder of its name would write through the link."""
    before = tree_facts(outside)
    nodes = _first_kinds(workshop, outside)
    result = restore_tree(workshop, target, nodes[first], nodes[second])
    assert any(isinstance(error, HostileNameError) for error in result.errors)
    assert_same_tree(tree_facts(outside), before)
    assert os.listdir(target) == ["x"]


@pytest.mark.parametrize("delete", [False, True])
def test_links_in_the_snapshot_are_made_and_not_followed(workshop: Workshop, outside: Path, target: Path,
                                                         delete: bool) -> None:
    before = tree_facts(outside)
    nodes = [link("absolute", outside), link("up", "../outside"), link("etc", "/etc/passwd"), link("self", "self"),
             folder_of(workshop, "z", link("file", outside / "file"), regular("other"))]
    for _ in range(2):
        result = restore_tree(workshop, target, *nodes, delete=delete, verify=True)
        assert result.errors == []
        assert_same_tree(tree_facts(outside), before)
    assert os.readlink(target / "absolute") == str(outside)
    assert os.readlink(target / "z" / "file") == str(outside / "file")


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("planted", ["folder", "file", "deep folder", "dangling", "hard link"])
@pytest.mark.parametrize("options", [{}, {"delete": True}, {"sparse": True}, {"verify": True}], ids=str)
def test_links_planted_in_the_target(workshop: Workshop, outside: Path, target: Path, planted: str,
                                     options: dict[str, bool]) -> None:
    """They are replaced; what they point to stays as it is."""
    if planted == "folder":
        (target / "inner").symlink_to(outside)
    elif planted == "deep folder":
        (target / "inner").mkdir()
        (target / "inner" / "deep").symlink_to(outside / "inner")
    elif planted == "dangling":
        (target / "file").symlink_to(outside / "made by nobody")
    elif planted == "hard link":
        os.link(outside / "file", target / "file")
    else:
        (target / "file").symlink_to(outside / "file")
    before = {name: path.read_bytes() for name, path in _files(outside)}
    names = sorted(os.listdir(outside))
    result = restore_tree(
        workshop, target, regular("file", ',"mode":511'),
        folder_of(workshop, "inner", folder_of(workshop, "deep", regular("file")), regular("file")), **options)
    assert result.errors == []
    assert {name: path.read_bytes() for name, path in _files(outside)} == before
    assert sorted(os.listdir(outside)) == names
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for _, path in _files(outside))
    for path in ("file", "inner/file", "inner/deep/file"):
        assert (target / path).read_bytes() == CONTENT
        assert not (target / path).is_symlink()


def _files(folder: Path) -> list[tuple[str, Path]]:
    return [(str(path.relative_to(folder)), path) for path in sorted(folder.rglob("*")) if path.is_file()]


def test_hard_links_never_take_a_file_from_outside(workshop: Workshop, outside: Path, target: Path) -> None:
    """The first name is hostile or a planted link: the second is not linked to what it points to."""
    (target / "first").symlink_to(outside / "file")
    twice = ',"links":2,"inode":77,"device_id":5'
    before = tree_facts(outside)
    result = restore_tree(workshop, target, regular("../outside/file", twice), regular("first", twice),
                          regular("second", twice))
    assert [type(error) for error in result.errors] == [HostileNameError]
    assert_same_tree(tree_facts(outside), before)
    assert (target / "second").samefile(target / "first")
    assert (target / "second").read_bytes() == CONTENT


BAD_NODES: dict[str, Callable[[Workshop], str]] = {
    "unknown type": lambda _: node("x", "wormhole"),
    "no subtree": lambda _: node("x", "dir"),
    "missing subtree": lambda _: node("x", "dir", f',"subtree":"{"ab" * 32}"'),
    "subtree is no id": lambda _: node("x", "dir", ',"subtree":"../../config"'),
    "missing blob": lambda _: node("x", "file", f',"size":9,"content":["{"cd" * 32}"]'),
    "content is no id": lambda _: node("x", "file", ',"size":9,"content":["..","/etc/passwd"]'),
    "size too large": lambda _: regular("x").replace(f'"size":{len(CONTENT)}', '"size":9007199254740991'),
    "size too small": lambda _: regular("x").replace(f'"size":{len(CONTENT)}', '"size":1'),
    "link without target": lambda _: node("x", "symlink"),
    "link with a NUL": lambda _: link("x", "a\\u0000b"),
    "link that is too long": lambda _: link("x", "y" * 100_000),
    "name that is too long": lambda _: regular("x" * 300),
    "time out of range": lambda _: regular("x").replace("2020-01-01", "9999-12-31"),
    "owner out of range": lambda _: regular("x").replace('"uid":0', '"uid":4294967295'),
    "tree in a content": lambda workshop: node(
        "x", "file", f',"size":20,"content":["{workshop.add_tree(tree(regular("y"))).hex()}"]'),
    "blob as a tree": lambda _: node("x", "dir", f',"subtree":"{hash_id(CONTENT).hex()}"'),
}


@pytest.mark.parametrize("bad", BAD_NODES)
def test_a_bad_node_costs_only_itself(workshop: Workshop, outside: Path, target: Path, bad: str) -> None:
    """It is named, in an error of ours, and its neighbours come back."""
    before = tree_facts(outside)
    result = restore_tree(workshop, target, regular("before"), BAD_NODES[bad](workshop), regular("zz"))
    assert all(isinstance(error, KuramoriError) for error in result.errors)
    assert (target / "before").read_bytes() == CONTENT
    assert (target / "zz").read_bytes() == CONTENT
    assert_same_tree(tree_facts(outside), before)


def test_a_chain_of_folders_without_end(workshop: Workshop, target: Path) -> None:
    """Depth is bounded, and no path is too long for the system calls."""
    inner = workshop.add_tree(tree(regular("file")))
    for _ in range(400):
        inner = workshop.add_tree(tree(node("d" * 200, "dir", f',"subtree":"{inner.hex()}"')))
    workshop.repository.load_index()
    result = restore(workshop.repository, workshop.add_snapshot(inner), RestoreOptions(target=os.fsencode(target)))
    assert all(isinstance(error, RestoreError) for error in result.errors)
    subprocess.run(["rm", "-rf", str(target)], check=True)


ATTACK = """
import os, sys
target, outside = map(os.fsencode, sys.argv[1:])
swaps = 0
while os.path.exists(target + b"/go on"):
    for number in range(12):
        folder = target + b"/%d" % number
        try:
            os.rename(folder, folder + b".aside")
            os.symlink(outside, folder)
            swaps += 1
        except OSError:
            pass
        file = target + b"/%d/%d" % ((number + 5) % 12, number)
        try:
            os.unlink(file)
            os.symlink(outside + b"/file", file)
            swaps += 1
        except OSError:
            pass
        try:
            if os.path.islink(folder):
                os.unlink(folder)
            os.rename(folder + b".aside", folder)
        except OSError:
            pass
print(swaps)
"""


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize(("files", "threads"), [(240, 1), (240, 3), (4800, 2)])
def test_links_that_somebody_swaps_in_meanwhile(tmp_path: Path, outside: Path, target: Path, files: int,
                                                threads: int) -> None:
    """Folders and files turn into links to the outside again and again while we restore."""
    source = tmp_path / "source"
    chance = random.Random(files)
    for number in range(12):
        (source / str(number)).mkdir(parents=True)
    for number in range(files):
        path = source / str(number % 12) / str(number)
        path.write_bytes(chance.randbytes(300))
        path.chmod(0o644)
    create(tmp_path / "repository")
    workshop = Workshop(tmp_path / "repository")
    back_up(workshop.repository, BackupOptions(paths=(os.fsencode(source),)))
    workshop = Workshop(tmp_path / "repository")
    before = tree_facts(outside)
    (target / "go on").touch()
    attacker = subprocess.Popen([sys.executable, "-c", ATTACK, target, outside], stdout=subprocess.PIPE, text=True)
    try:
        began, rounds = time.monotonic(), 0
        while rounds < 2 or time.monotonic() - began < 3:
            result = restore(workshop.repository, f"latest:{source}",
                             RestoreOptions(target=os.fsencode(target), threads=threads))
            assert all(isinstance(error, RestoreError) for error in result.errors)
            rounds += 1
    finally:
        (target / "go on").unlink()
        swaps = int(attacker.communicate(timeout=60)[0])
    assert swaps > 20
    assert_same_tree(tree_facts(outside), before)


def test_the_command_names_it_in_one_line(workshop: Workshop, outside: Path, target: Path) -> None:
    snapshot = workshop.add_snapshot(workshop.add_tree(tree(regular("../outside/file"), regular("sound"))))
    command = Kuramori(workshop.folder, PASSWORD, environment={"LC_ALL": "C.UTF-8"})
    process = command.start("restore", snapshot, "--target", target, stdout=-1, stderr=-1)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"Traceback" not in stderr
    assert b"../outside/file" in stderr
    assert (outside / "file").read_text() == SENTINEL
    assert (target / "sound").read_bytes() == CONTENT
    assert workshop.repository.load_blob(BlobType.DATA, hash_id(CONTENT)) == CONTENT
