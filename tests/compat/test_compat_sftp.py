"""One repository on an SSH server, used by kuramori and by the real restic in turn."""

from __future__ import annotations

import secrets
from pathlib import Path

from kuramori.repository.opening import CreateOptions, create_repository
from kuramori.secret import Secret
from kuramori.storage.location import open_backend
from kuramori.testing.restic_judge import Restic
from samples.kuramori_command import Kuramori
from samples.repositories import QUICK
from samples.ssh_server import SshServer
from samples.tree_facts import assert_same_tree, tree_facts

PASSWORD = "pass word"


def _both(server: SshServer, restic_binary: str) -> tuple[Kuramori, Restic]:
    """Return both programs for one place on the server that is not there yet."""
    location = server.location(secrets.token_hex(8))
    ours = Kuramori(location, PASSWORD, environment={"HOME": str(server.home), "USER": server.user})
    return ours, _ResticOverSsh(restic_binary, location, PASSWORD, command=server.ssh_command)


class _ResticOverSsh(Restic):
    """restic with the client's configuration: ssh itself looks for it in the home of the account only."""

    def __init__(self, binary: str, repository: str, password: str, *, command: str) -> None:
        super().__init__(binary, repository, password)
        self._command = command

    def run(self, *arguments, **options):  # type: ignore[no-untyped-def]
        return super().run("-o", f"sftp.command={self._command}", *arguments, **options)


def test_restic_checks_and_restores_what_we_wrote(tmp_path: Path, ssh_server: SshServer, restic_binary: str,
                                                  small_tree: Path) -> None:
    ours, restic = _both(ssh_server, restic_binary)
    backend = open_backend(str(ours.repository), ssh_server.access())
    create_repository(backend, Secret(PASSWORD), CreateOptions(kdf=QUICK))
    backend.close()
    ours.backup(small_tree)
    restic.check(read_data=True)
    restic.restore("latest", tmp_path / "restored")
    assert_same_tree(tree_facts(small_tree), tree_facts(tmp_path / "restored" / small_tree.relative_to("/")))


def test_we_check_restore_and_go_on_with_what_restic_wrote(tmp_path: Path, ssh_server: SshServer, restic_binary: str,
                                                           small_tree: Path) -> None:
    ours, restic = _both(ssh_server, restic_binary)
    restic.init()
    ours.make_key_cheap(ssh_server.access())
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
