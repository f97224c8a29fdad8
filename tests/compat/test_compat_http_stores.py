"""One repository behind a REST server, in rclone or on a WebDAV server, used by kuramori and by restic in turn."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from kuramori.storage.access import StoreAccess
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.rclone_server import PASSWORD as SERVER_PASSWORD
from samples.rclone_server import USER, RcloneServer
from samples.tree_facts import assert_same_tree, tree_facts

PASSWORD = "pass word"


@pytest.fixture(params=["rest", "rclone", "webdav"])
def both(request: pytest.FixtureRequest, tmp_path: Path, rclone: str, restic_binary: str) -> tuple[Kuramori, Restic]:
    """Both programs for one place that is not there yet. restic knows no WebDAV, but rclone does."""
    name = secrets.token_hex(8)
    environment = {"PATH": f"{Path(rclone).parent}:{os.environ['PATH']}", "RCLONE_CONFIG": str(tmp_path / "none.conf")}
    location = theirs = f"rclone:{tmp_path}/{name}"
    if request.param != "rclone":
        server: RcloneServer = request.getfixturevalue(f"{request.param}_server")
        location = f"{request.param}:{server.url(name)}"
        theirs = location if request.param == "rest" else f"rclone:dav:{name}"
        obscured = subprocess.run([rclone, "obscure", SERVER_PASSWORD], stdout=subprocess.PIPE, check=True, text=True)
        environment |= {"RCLONE_CONFIG_DAV_TYPE": "webdav", "RCLONE_CONFIG_DAV_URL": server.url(login=""),
                        "RCLONE_CONFIG_DAV_VENDOR": "other", "RCLONE_CONFIG_DAV_USER": USER,
                        "RCLONE_CONFIG_DAV_PASS": obscured.stdout.strip()}
    return (Kuramori(location, PASSWORD, environment=environment),
            Restic(restic_binary, theirs, PASSWORD, environment=environment))


@pytest.mark.exhaustive(except_each=3)
def test_restic_checks_and_restores_what_we_wrote(tmp_path: Path, both: tuple[Kuramori, Restic],
                                                  small_tree: Path) -> None:
    ours, restic = both
    ours.run("init")
    ours.backup(small_tree)
    restic.check(read_data=True)
    restic.restore("latest", tmp_path / "restored")
    assert_same_tree(tree_facts(small_tree), tree_facts(tmp_path / "restored" / small_tree.relative_to("/")))


@pytest.mark.exhaustive(except_each=5)
def test_we_check_restore_and_go_on_with_what_restic_wrote(tmp_path: Path, both: tuple[Kuramori, Restic],
                                                           small_tree: Path) -> None:
    ours, restic = both
    restic.init()
    ours.make_key_cheap(StoreAccess(variables=ours.environment))
    restic.backup(small_tree)
    ours.run("check", "--read-data")
    ours.run("restore", "latest", "--target", tmp_path / "restored", "--verify")
    assert_same_tree(tree_facts(small_tree), tree_facts(tmp_path / "restored" / small_tree.relative_to("/")))
    (small_tree / "new").write_bytes(secrets.token_bytes(1 << 20))
    ours.backup(small_tree)
    first = ours.snapshots()[0]["id"]
    ours.run("forget", "--prune", first)
    restic.check(read_data=True)
    assert len(restic.snapshots()) == 1
