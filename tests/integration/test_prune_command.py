"""The command ``prune``: what it prints, its options, its exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.cli.prune_options import parse_unused
from kuramori.errors import StoragePermissionError, UsageError
from kuramori.maintenance.prune import PruneOptions, prune
from kuramori.maintenance.prune_plan import PrunePolicy, UnusedLimit
from kuramori.repository.opening import open_repository
from kuramori.repository.repository import Repository
from kuramori.secret import Secret
from kuramori.storage.backend import FileType, Handle
from kuramori.storage.forwarding import ForwardingBackend
from kuramori.storage.local import LocalBackend
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, copy, create, make_source


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a pack of data and one of trees that go, and others that are used in part."""
    folder = tmp_path_factory.mktemp("command")
    source = folder / "source"
    make_source(source)
    create(folder / "repository")
    repository = Workshop(folder / "repository").repository
    made = []
    for number in range(3):
        (source / "new").write_bytes(os.urandom(100_000))
        (source / "deep" / f"file{number}").unlink()
        made.append(back_up(repository, BackupOptions(paths=(os.fsencode(source),))).snapshot_id)
    for name in made[:2]:
        assert name is not None
        repository.remove(FileType.SNAPSHOT, name)
    return folder / "repository"


@pytest.fixture
def shop(base: Path, tmp_path: Path) -> Workshop:
    return copy(base, tmp_path / "repository")


def _run(shop: Workshop, *arguments: str, code: int = 0) -> str:
    return Kuramori(shop.folder, PASSWORD).run("prune", *arguments, codes=(code,))


def test_a_dry_run_says_what_a_prune_then_does(shop: Workshop) -> None:
    packs = shop.names(FileType.PACK)
    planned = _run(shop, "--dry-run", "--max-unused", "0", "-vv").splitlines()
    assert planned[0] == "this would be done:"
    assert shop.names(FileType.PACK) == packs
    done = _run(shop, "--max-unused", "0", "-v").splitlines()
    amounts = [line for line in planned if " blobs / " in line]
    assert len(amounts) == 8
    assert amounts == [line for line in done if " blobs / " in line]
    named = [line for line in planned if line.startswith("would ")]
    gone = set(packs) - set(shop.names(FileType.PACK))
    assert {line.split(": ")[1] for line in named} == gone
    assert done[-1] == f"removed {len(gone)} packs"


def test_the_json_says_the_same(shop: Workshop) -> None:
    size = sum(path.stat().st_size for path in (shop.folder / "data").rglob("*") if path.is_file())
    planned = json.loads(_run(shop, "--dry-run", "--json", "--max-unused=0"))
    done = json.loads(_run(shop, "--json", "--max-unused=0"))
    assert planned.pop("dry_run")
    assert not done.pop("dry_run")
    assert planned == done
    assert done["message_type"] == "summary"
    assert done["packs"]["removed"] >= 1
    assert done["packs"]["repacked"] >= 1
    assert done["bytes"]["unused"] == done["bytes"]["removed"] + done["bytes"]["repack_removed"]
    left = sum(path.stat().st_size for path in (shop.folder / "data").rglob("*") if path.is_file())
    assert size - left >= done["bytes"]["unused"]


def test_quiet_is_quiet(shop: Workshop) -> None:
    assert _run(shop, "--quiet") == ""
    assert json.loads(_run(shop, "--json", "--quiet"))["bytes"]["unused"] == 0


@pytest.mark.parametrize(("arguments", "said"), [
    (("--max-unused", "lots"), "lots"), (("--max-unused", "x%"), "x%"), (("--max-unused", "100%"), "below 100%"),
    (("--max-repack-size", "-1"), "-1"), (("--repack-smaller-than", "1T"), "--repack-smaller-than"),
    (("--no-lock",), "dry run"), (("--repack-uncompressed", "--compression", "off"), "--repack-uncompressed"),
])
def test_what_makes_no_sense_is_said(shop: Workshop, arguments: tuple[str, ...], said: str) -> None:
    process = Kuramori(shop.folder, PASSWORD).start("prune", *arguments, stdout=-1, stderr=-1)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stdout == b""
    assert said in stderr.decode()
    assert stderr.count(b"\n") == 1


@pytest.mark.parametrize(("text", "limit"), [
    ("5%", UnusedLimit(percent=5.0)), (" 2.5% ", UnusedLimit(percent=2.5)), ("0", UnusedLimit(size=0)),
    ("500M", UnusedLimit(size=500 * 1024 * 1024)), ("1g", UnusedLimit(size=1024**3)), ("unlimited", UnusedLimit()),
])
def test_limits(text: str, limit: UnusedLimit) -> None:
    assert parse_unused(text) == limit


@pytest.mark.parametrize("text", ["", "%", "5 percent", "-3%", "nan%", "inf%", "1e400%", "unlimited%"])
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_unused(text)


def test_snapshots_that_are_to_be_forgotten_can_be_left_out_of_a_dry_run(shop: Workshop) -> None:
    names = frozenset(shop.names(FileType.SNAPSHOT))
    options = PruneOptions(dry_run=True, ignored_snapshots=names, allow_no_snapshots=True)
    counts = prune(shop.repository, options).plan.counts
    assert counts.used.blobs == 0
    assert counts.removed.blobs == counts.total_blobs


class _Stubborn(ForwardingBackend):
    """Lets no pack be removed."""

    def remove(self, handle: Handle) -> None:
        if handle.type is FileType.PACK:
            raise StoragePermissionError(location="x", operation="remove", name=handle, detail="forbidden")
        super().remove(handle)


def _stubborn(shop: Workshop) -> Repository:
    return open_repository(_Stubborn(LocalBackend(shop.folder)), Secret(PASSWORD))


def test_packs_that_cannot_be_removed_wait_for_the_next_prune(shop: Workshop) -> None:
    options = PruneOptions(policy=PrunePolicy(max_unused=UnusedLimit(size=0)))
    result = prune(_stubborn(shop), options)
    expected = len(result.plan.removed) + len(result.plan.repacked)
    assert len(result.errors) == expected > 0
    assert result.packs_removed == 0
    assert len(prune(_stubborn(shop), PruneOptions(dry_run=True)).plan.unreferenced) == expected
    assert prune(shop.repository, options).packs_removed == expected
    assert prune(shop.repository, options).plan.empty


def test_it_stops_trying_after_many_packs(shop: Workshop) -> None:
    for number in range(15):
        shop.write(FileType.PACK, b"left over" * (number + 1))
    assert len(prune(_stubborn(shop), PruneOptions(policy=PrunePolicy(max_repack_size=0))).errors) in range(10, 21)
