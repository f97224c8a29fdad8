"""``kuramori mount`` with the kernel, as a user has it. Where the kernel has no FUSE these are skipped;
tests/unit/test_mounting_tree.py asks what it would ask."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from samples.kuramori_command import Kuramori
from samples.mounted import mounted, require_kernel
from samples.nasty_tree import make_nasty_tree
from samples.tree_facts import assert_same_tree, tree_facts

_PASSWORD = "mount"
Mounting = Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]


@pytest.fixture
def kuramori(tmp_path: Path, require_program: Callable[[str], str]) -> Kuramori:
    require_kernel(require_program)
    made = Kuramori(tmp_path / "repository", _PASSWORD)
    made.init_quickly()
    return made


@pytest.fixture
def mount_point(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "mount point"
    folder.mkdir()
    yield folder
    with suppress(OSError):
        if os.path.ismount(folder):
            subprocess.run(["fusermount3", "-u", "-z", folder], check=False)


@pytest.fixture
def mounting(kuramori: Kuramori, mount_point: Path) -> Mounting:
    environment = {**os.environ, "KURAMORI_REPOSITORY": str(kuramori.repository), "KURAMORI_PASSWORD": _PASSWORD}

    def mount(*options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return mounted([sys.executable, "-m", "kuramori", "mount", *options, mount_point], mount_point, environment,
                       b"mounted at ")

    return mount


def _below(mount_point: Path, folder: Path) -> Path:
    return mount_point / "snapshots" / "latest" / str(folder).lstrip("/")


def test_everything_of_a_nasty_tree_is_there(kuramori: Kuramori, mounting: Mounting, mount_point: Path,
                                             tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_nasty_tree(source, large_size=3_000_000)
    expected = tree_facts(source)
    kuramori.backup(source)
    with mounting():
        found = tree_facts(_below(mount_point, source))
    assert_same_tree(expected, found)


def test_nothing_can_be_written(kuramori: Kuramori, mounting: Mounting, mount_point: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("text")
    kuramori.backup(source)
    with mounting():
        shown = _below(mount_point, source)
        for write in (lambda: (shown / "file").write_text("x"), lambda: (shown / "new").mkdir(),
                      lambda: (shown / "file").unlink(), lambda: os.chmod(shown / "file", 0o600),
                      lambda: os.rename(shown / "file", shown / "other"), lambda: (mount_point / "new").touch(),
                      lambda: os.setxattr(shown / "file", "user.x", b"x")):
            with pytest.raises(OSError) as caught:  # noqa: PT011
                write()  # type: ignore[no-untyped-call]
            assert caught.value.errno == errno.EROFS
        assert (shown / "file").read_text() == "text"


def test_a_video_seeks_and_many_read_at_once(kuramori: Kuramori, mounting: Mounting, mount_point: Path,
                                             tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    content = random.Random(1).randbytes(20_000_000)
    (source / "video").write_bytes(content)
    kuramori.backup(source)
    numbers = random.Random(2)
    with mounting("--cache-size", "4M"):
        shown = _below(mount_point, source) / "video"
        readers = [subprocess.Popen(["cat", shown], stdout=subprocess.PIPE) for _ in range(3)]
        with open(shown, "rb", buffering=0) as file:
            for _ in range(60):
                offset = numbers.randrange(len(content))
                file.seek(offset)
                assert file.read(70_000) == content[offset : offset + 70_000]
        for reader in readers:
            assert reader.communicate(timeout=60)[0] == content


_THREADED = """
import sys
from kuramori import Secret, open_repository
from kuramori.mounting.fuse_mounting import MountOptions, mount
from kuramori.mounting.virtual_tree import TreeOptions, VirtualTree
from kuramori.storage.local import LocalBackend

tree = VirtualTree(open_repository(LocalBackend(sys.argv[1]), Secret(sys.argv[2])), TreeOptions(cache_bytes=2_000_000))
mount(tree, sys.argv[3].encode(), MountOptions(threads=True), lambda: print("mounted", flush=True))
tree.close()
print("ended")
"""


def test_several_are_served_at_once_where_the_store_lets_one_wait(kuramori: Kuramori, mount_point: Path,
                                                                  tmp_path: Path) -> None:
    """The command does so for stores that are not on this machine; here the library is told to."""
    source = tmp_path / "source"
    source.mkdir()
    contents = {f"file{number}": random.Random(number).randbytes(3_000_000) for number in range(4)}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    kuramori.backup(source)
    command = [sys.executable, "-c", _THREADED, kuramori.repository, _PASSWORD, mount_point]
    with mounted(command, mount_point, os.environ, b"mounted") as process:
        shown = _below(mount_point, source)
        readers = {name: subprocess.Popen(["cat", shown / name], stdout=subprocess.PIPE) for name in contents}
        walks = [subprocess.Popen(["ls", "-lR", mount_point], stdout=subprocess.DEVNULL) for _ in range(3)]
        for name, reader in readers.items():
            assert reader.communicate(timeout=60)[0] == contents[name]
        assert [walk.wait(60) for walk in walks] == [0, 0, 0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"ended\n"


def test_new_snapshots_appear_while_it_is_mounted(kuramori: Kuramori, mounting: Mounting, mount_point: Path,
                                                  tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    kuramori.backup(source, "--tag", "first")
    with mounting():
        assert len(os.listdir(mount_point / "ids")) == 1
        (source / "new").write_text("new")
        made = kuramori.backup(source, "--host", "other")["snapshot_id"]
        names: list[str] = []
        for _ in range(200_000):  # until the menus look again; the clock there is the real one
            names = os.listdir(mount_point / "ids")
            if len(names) == 2:
                break
        assert made[:8] in names
        assert (mount_point / "ids" / made[:8] / str(source).lstrip("/") / "new").read_text() == "new"
        assert os.readlink(mount_point / "hosts" / "other" / "latest") in os.listdir(mount_point / "hosts" / "other")
        assert os.listdir(mount_point / "tags") == ["first"]


def test_filters_and_templates(kuramori: Kuramori, mounting: Mounting, mount_point: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    kuramori.backup(source, "--host", "a", "--time", "2026-11-23 02:00:00")
    kuramori.backup(source, "--host", "b", "--time", "2026-11-24 02:00:00")
    with mounting("--host", "a", "--path-template", "%h/at-%T", "--time-template", "2006-01-02"):
        assert os.listdir(mount_point) == ["a"]
        assert sorted(os.listdir(mount_point / "a")) == ["at-2026-11-23", "latest"]


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM", "fusermount3"])
def test_the_end(kuramori: Kuramori, mounting: Mounting, mount_point: Path, tmp_path: Path, way: str) -> None:
    """However it ends: nothing is mounted, no lock is left, and that is no failure. restic's unlock asks
    with SIGHUP whether we live, which ends nothing."""
    source = tmp_path / "source"
    source.mkdir()
    kuramori.backup(source)
    with mounting() as process:
        process.send_signal(signal.SIGHUP)
        assert os.listdir(mount_point / "ids")
        assert len(os.listdir(kuramori.repository / "locks")) == 1
        if way == "fusermount3":
            subprocess.run(["fusermount3", "-u", mount_point], check=True)
        else:
            process.send_signal(getattr(signal, way))
        assert process.wait(60) == 0
        assert not os.path.ismount(mount_point)
        assert os.listdir(kuramori.repository / "locks") == []


def test_damage_costs_one_file_and_is_said_once(kuramori: Kuramori, mounting: Mounting, mount_point: Path,
                                                tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "broken").write_bytes(random.Random(3).randbytes(5_000))
    kuramori.backup(source)
    packs = set((kuramori.repository / "data").rglob("*"))
    (source / "sound").write_bytes(b"sound")
    kuramori.backup(source)
    for pack in packs:
        if pack.is_file() and pack.stat().st_size > 5_000:
            os.chmod(pack, 0o600)
            content = bytearray(pack.read_bytes())
            content[100] ^= 1
            pack.write_bytes(content)
    with mounting() as process:
        shown = _below(mount_point, source)
        for _ in range(2):
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                (shown / "broken").read_bytes()
        assert (shown / "sound").read_bytes() == b"sound"
        process.terminate()
        assert process.wait(60) == 0
        assert process.stdout is not None
        said = process.stdout.read().decode()
    assert len(re.findall(r"broken cannot be read: .* is damaged", said)) == 1, said
    assert "Traceback" not in said


def _refused(kuramori: Kuramori, *arguments: str | Path) -> str:
    process = kuramori.start("mount", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.count(b"\n") == 1
    return str(stderr.decode())


def test_where_it_cannot_be_mounted(kuramori: Kuramori, tmp_path: Path) -> None:
    (tmp_path / "full" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert "not empty" in _refused(kuramori, tmp_path / "full")
    assert "no such folder" in _refused(kuramori, tmp_path / "missing")
    assert "no folder" in _refused(kuramori, tmp_path / "file")
    assert "time template" in _refused(kuramori, "--time-template", "a/b", tmp_path / "full" / "inner")
    assert not os.path.exists(kuramori.repository / "locks") or os.listdir(kuramori.repository / "locks") == []


def test_a_mount_that_died_is_explained(kuramori: Kuramori, mounting: Mounting, mount_point: Path) -> None:
    with mounting() as process:
        process.kill()
        process.wait(60)
        assert "its program is gone" in _refused(kuramori, mount_point)
        subprocess.run(["fusermount3", "-u", mount_point], check=True)
        with mounting():
            assert os.path.ismount(mount_point)


def test_json(kuramori: Kuramori, mount_point: Path) -> None:
    process = kuramori.start("mount", "--json", mount_point, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"message_type": "mounted", "mount_point": str(mount_point)}
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()


def test_without_fuse_it_says_what_to_do(tmp_path: Path) -> None:
    """No library: FUSE_LIBRARY_PATH names one that is not there."""
    made = Kuramori(tmp_path / "repository", _PASSWORD, environment={"FUSE_LIBRARY_PATH": "/nonexistent/libfuse.so"})
    made.init_quickly()
    (tmp_path / "empty").mkdir()
    said = _refused(made, tmp_path / "empty")
    assert "fuse3" in said
    assert "kuramori serve-webdav" in said


def test_without_the_package_it_says_what_to_do(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "mfusepy.py").write_text("raise ImportError('hidden')\n")
    made = Kuramori(tmp_path / "repository", _PASSWORD, environment={"PYTHONPATH": str(hidden)})
    made.init_quickly()
    (tmp_path / "empty").mkdir()
    said = _refused(made, tmp_path / "empty")
    assert "pip install 'kuramori[mount]'" in said
    assert "kuramori serve-webdav" in said
    shutil.rmtree(hidden)
