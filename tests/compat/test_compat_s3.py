"""A repository in S3, used by restic and by us at the same location."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest

from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.secret import Secret
from kuramori.storage.access import StoreAccess
from kuramori.storage.location import open_backend
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.repositories import QUICK
from samples.seaweedfs import ADMIN, SeaweedServer
from samples.tree_facts import assert_same_tree, tree_facts

_PASSWORD = "one for both"


@pytest.fixture
def location(seaweed: SeaweedServer) -> str:
    """A prefix with characters that are encoded in URLs."""
    return seaweed.location(f"compat/{uuid.uuid4().hex}/a b+c~\u00fc")


@pytest.fixture
def planter(tmp_path: Path) -> Path:
    chance = random.Random(1)
    folder = tmp_path / "planter"
    (folder / "photos").mkdir(parents=True)
    for number in range(3):
        (folder / "photos" / f"{number}.jpg").write_bytes(chance.randbytes(400_000))
    (folder / "large").write_bytes(chance.randbytes(9_000_000))
    (folder / "log").write_text("all is well\n" * 1000)
    return folder


def _ours(location: str) -> Kuramori:
    return Kuramori(Path(location), _PASSWORD, environment={**ADMIN.variables(), "KURAMORI_REPOSITORY": location})


def _restic(binary: str, location: str) -> Restic:
    return Restic(binary, location, _PASSWORD, environment=ADMIN.variables())


def test_restic_reads_what_we_wrote(restic_binary: str, location: str, planter: Path, tmp_path: Path) -> None:
    create_repository(open_backend(location, StoreAccess(variables=ADMIN.variables())), Secret(_PASSWORD),
                      CreateOptions(kdf=QUICK)).close()
    _ours(location).run("backup", "planter", directory=tmp_path)
    restic = _restic(restic_binary, location)
    restic.run("check", "--read-data")
    restic.run("restore", "latest", "--target", tmp_path / "restored")
    assert_same_tree(tree_facts(planter), tree_facts(tmp_path / "restored" / "planter"))


def test_we_read_what_restic_wrote_and_both_go_on(restic_binary: str, location: str, planter: Path,
                                                  tmp_path: Path) -> None:
    restic, ours = _restic(restic_binary, location), _ours(location)
    restic.run("init")
    ours.make_key_cheap(StoreAccess(variables=ADMIN.variables()))
    restic.backup("planter", directory=tmp_path)
    ours.run("check", "--read-data")
    ours.run("restore", "latest", "--target", tmp_path / "restored")
    assert_same_tree(tree_facts(planter), tree_facts(tmp_path / "restored" / "planter"))
    (planter / "new").write_bytes(random.Random(2).randbytes(300_000))
    ours.run("backup", "planter", directory=tmp_path)
    ours.run("forget", "--keep-last", "1", "--group-by", "", "--prune")
    restic.run("check", "--read-data")
    assert len(ours.snapshots()) == 1
