"""SFTP servers that are away, refuse, fill up, hang or lose the connection; and what they are left with."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from kuramori.clock import SystemClock
from kuramori.errors import (
    FileNotInStorageError,
    NoFolderForStoreError,
    SshConfigurationError,
    SshProtocolError,
    SshServerAwayError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
    UsageError,
)
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileInfo, FileType
from kuramori.storage.location import open_backend
from kuramori.storage.reaching import reach_store
from kuramori.storage.retry import RetryBackend
from kuramori.storage.sftp import SftpBackend
from kuramori.storage.sftp_address import parse_sftp_address
from kuramori.testing.backend_contract import handle_of, noise
from kuramori.testing.clock import FakeClock
from samples import mounted
from samples.ssh_server import ALIAS, RcloneSftpServer, SshServer

_HOUR = 3600.0


@pytest.fixture
def folder(ssh_server: SshServer) -> Path:
    """A folder on the server that is not there yet."""
    return ssh_server.folder_for(secrets.token_hex(8))


@pytest.fixture
def store(ssh_server: SshServer, folder: Path) -> Iterator[Backend]:
    """An empty store in it, with a config."""
    backend = open_backend(f"sftp:{ALIAS}:{folder}", ssh_server.access())
    backend.create()
    backend.save(CONFIG_HANDLE, [b"config"])
    yield backend
    backend.close()


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- cannot be reached -----------------------------------------------------------------------


def test_a_server_that_is_off(ssh_server: SshServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, and nobody listens
        port = unused.getsockname()[1]
        with pytest.raises(SshServerAwayError) as caught:
            open_backend(f"sftp://somebody@127.0.0.1:{port}//srv", ssh_server.access()).size(CONFIG_HANDLE)
    assert caught.value.retryable
    assert f"127.0.0.1 port {port} cannot be reached: Connection refused" in str(caught.value)


def test_something_else_answers(ssh_server: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def answer() -> None:
            connection, _address = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 2000)

        thread = threading.Thread(target=answer)
        thread.start()
        port = listening.getsockname()[1]
        with pytest.raises((SshProtocolError, SshServerAwayError), match=f"port {port}"):
            open_backend(f"sftp://somebody@127.0.0.1:{port}//srv", ssh_server.access()).size(CONFIG_HANDLE)
        thread.join()


def test_a_server_that_never_greets_is_given_up(ssh_server: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        access = ssh_server.access(options={"sftp.args": "-o ConnectTimeout=1"})
        with pytest.raises(SshServerAwayError, match="does not answer"):
            open_backend(f"sftp://somebody@127.0.0.1:{port}//srv", access).size(CONFIG_HANDLE)


def test_a_server_without_sftp(sshd: str) -> None:
    server = SshServer(sshd, service="/bin/false")
    try:
        with pytest.raises(SshProtocolError, match=r"has no SFTP service for this user.* -s sftp"):
            open_backend(server.location("any"), server.access()).size(CONFIG_HANDLE)
    finally:
        server.remove()


def test_a_broken_configuration_is_named_with_its_line(ssh_server: SshServer, tmp_path: Path) -> None:
    configuration = tmp_path / "config"
    configuration.write_text("Host *\n  Port many\n")
    access = ssh_server.access(options={"sftp.args": f"-F {configuration}"})
    with pytest.raises(SshConfigurationError, match=f"{configuration} line 2"):
        open_backend("sftp:vault:folder", access).size(CONFIG_HANDLE)


def test_a_command_in_place_of_ssh_is_refused(ssh_server: SshServer) -> None:
    with pytest.raises(UsageError, match="ProxyCommand"):
        open_backend("sftp:vault:folder", ssh_server.access(options={"sftp.command": "ssh x -s sftp"}))


# --- jump hosts ------------------------------------------------------------------------------


@pytest.fixture
def jump(sshd: str, ssh_server: SshServer) -> Iterator[SshServer]:
    """A second server, by which alone the first one may be reached: its client knows no other way."""
    server = SshServer(sshd)
    inner = ssh_server.client_configuration().replace(f"Host {ALIAS}", f"Host inner\n  ProxyJump {ALIAS}")
    configuration = server.home / ".ssh" / "config"
    configuration.write_text(inner + server.client_configuration())
    yield server
    server.remove()


def test_through_a_jump_host(ssh_server: SshServer, jump: SshServer, folder: Path) -> None:
    store = reach_store(f"sftp:inner:{folder}", jump.access(), clock=SystemClock())
    store.create()
    content = noise(3_000_000)
    handle = handle_of(FileType.PACK, content)
    store.save(handle, [content])
    assert len(jump.session_processes()) > 0
    for server in (jump, ssh_server, jump):
        assert store.load(handle) == content
        server.end_sessions()
    assert store.load(handle) == content
    store.close()


def test_an_unknown_jump_host_is_named(jump: SshServer, folder: Path) -> None:
    jump.trust("")
    with pytest.raises(Exception, match=f"127.0.0.1 port {jump.port} is not in known_hosts"):
        open_backend(f"sftp:inner:{folder}", jump.access()).create()


def test_a_server_behind_the_jump_host_that_is_off(ssh_server: SshServer, jump: SshServer, folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(SshServerAwayError, match=f"port {port} cannot be reached: Connection refused"):
            open_backend(f"sftp://somebody@127.0.0.1:{port}/{folder}",
                         jump.access(options={"sftp.args": f"-J {ALIAS}"})).create()


def test_jump_hosts_that_need_each_other_are_refused(ssh_server: SshServer, tmp_path: Path) -> None:
    configuration = tmp_path / "config"
    configuration.write_text("".join(f"Host hop{n}\n  ProxyJump hop{n + 1}\n" for n in range(20)))
    with pytest.raises(SshConfigurationError, match="ProxyJump"):
        open_backend("sftp:hop0:folder", ssh_server.access(options={"sftp.args": f"-F {configuration}"})).create()


# --- refusals --------------------------------------------------------------------------------


def test_a_folder_that_may_not_be_written(store: Backend, folder: Path) -> None:
    (folder / "index").chmod(0o500)
    (folder / "keys").chmod(0)
    with pytest.raises(StoragePermissionError, match=r"index/.*Permission denied"):
        store.save(handle_of(FileType.INDEX, b"x"), [b"x"])
    with pytest.raises(StoragePermissionError):
        [*store.list(FileType.KEY)]
    (folder / "keys").chmod(0o700)


def test_a_full_disk(ssh_server: SshServer, tmp_path: Path, skip_or_fail: Callable[[str], NoReturn]) -> None:
    disk = ssh_server.files / "disk"
    owner = ssh_server.files.stat().st_uid
    with mounted.small_disk(disk, f"size=4m,mode=700,uid={owner}", skip_or_fail):
        store = open_backend(f"sftp:{ALIAS}:{disk}/repository", ssh_server.access())
        store.create()
        large = noise(6_000_000)
        with pytest.raises(StorageFullError, match="no space is left"):
            store.save(handle_of(FileType.PACK, large), [large])
        assert _files(disk / "repository") == []
        small = noise(100_000)
        store.save(handle_of(FileType.PACK, small), [small])
        store.close()


def test_nothing_is_written_where_the_repository_is_gone(store: Backend, folder: Path) -> None:
    """As on an empty mount point; but folders that a copying tool left out are made again."""
    handle = handle_of(FileType.PACK, b"x")
    (folder / "data" / handle.name[:2]).rmdir()
    store.save(handle, [b"x"])
    assert store.load(handle) == b"x"
    (folder / "index").rmdir()
    store.save(handle_of(FileType.INDEX, b"x"), [b"x"])
    folder.rename(folder.with_name(folder.name + "-away"))
    folder.mkdir()
    with pytest.raises(NoFolderForStoreError, match="mounted"):
        store.save(handle, [b"x"])
    assert [*folder.iterdir()] == []
    with pytest.raises(FileNotInStorageError):
        store.load(handle)
    assert [*store.list(FileType.PACK)] == []


# --- large folders ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [97, 98, 198, 1500])
def test_folders_that_need_several_answers(store: Backend, folder: Path, count: int) -> None:
    """OpenSSH tells of 100 names at once, two of which are the folder itself and the one above."""
    expected = {FileInfo(f"{number:064x}", number % 7) for number in range(count)}
    for info in expected:
        (folder / "snapshots" / info.name).write_bytes(b"x" * info.size)
    found = [*store.list(FileType.SNAPSHOT)]
    assert len(found) == count
    assert set(found) == expected


# --- servers that can do less ----------------------------------------------------------------


def test_what_has_the_name_already_is_replaced_without_any_extension(plain_sftp_server: SshServer) -> None:
    """Such a server refuses to rename over a file."""
    folder = plain_sftp_server.folder_for(secrets.token_hex(8))
    store = open_backend(f"sftp:{ALIAS}:{folder}", plain_sftp_server.access())
    store.create()
    content = noise(100_000)
    handle = handle_of(FileType.PACK, content)
    path = folder / "data" / handle.name[:2] / handle.name
    path.write_bytes(content[:40_000])  # cut off by another program
    store.save(handle, [content])
    assert path.read_bytes() == content
    inode = path.stat().st_ino
    store.save(handle, [content])  # a late duplicate
    assert path.stat().st_ino == inode
    for version in (b"first", b"other"):
        store.save(CONFIG_HANDLE, [version])
        assert store.load(CONFIG_HANDLE) == version
    assert _files(folder) == ["config", f"data/{handle.name[:2]}/{handle.name}"]
    store.close()


# --- modes -----------------------------------------------------------------------------------


def test_files_are_read_only_and_private_as_those_of_restic(store: Backend, folder: Path) -> None:
    store.save(handle_of(FileType.INDEX, b"x"), [b"x"])
    [file] = (folder / "index").iterdir()
    assert oct(file.stat().st_mode & 0o777) == "0o400"
    assert oct((folder / "data" / "00").stat().st_mode & 0o777) == "0o700"


def test_the_group_reads_all_where_it_reads_the_config(ssh_server: SshServer, store: Backend, folder: Path) -> None:
    (folder / "config").chmod(0o440)
    shared = open_backend(f"sftp:{ALIAS}:{folder}", ssh_server.access())
    shared.save(handle_of(FileType.INDEX, b"x"), [b"x"])
    shared.close()
    [file] = (folder / "index").iterdir()
    assert oct(file.stat().st_mode & 0o777) == "0o440"


# --- connections that break ------------------------------------------------------------------


class _Parts(Sequence[bytes]):
    """Content in pieces; before one of them something happens, once."""

    def __init__(self, content: bytes, at: int, happening: Callable[[], None]) -> None:
        self._content = content
        self._at = at
        self._happening = happening

    def __len__(self) -> int:
        return 16

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        if number >= 16:
            raise IndexError
        if number == self._at:
            self._at = -1
            self._happening()
        size = -(-len(self._content) // 16)
        return self._content[number * size : (number + 1) * size]


def test_a_session_that_is_killed_in_the_middle_of_an_upload(ssh_server: SshServer, folder: Path) -> None:
    clock = FakeClock(SystemClock().now_nanoseconds())
    store = SftpBackend(parse_sftp_address(f"{ALIAS}:{folder}"), ssh_server.access(), clock=clock)
    store.create()
    content = noise(8_000_000)
    handle = handle_of(FileType.PACK, content)
    with pytest.raises(StorageRetryableError):
        store.save(handle, _Parts(content, 12, ssh_server.end_sessions))
    assert [*store.list(FileType.PACK)] == []
    left = _files(folder)
    assert len(left) == 1
    assert "-tmp-" in left[0]
    store.save(handle, [content])
    assert store.load(handle) == content
    assert store.remove_leftovers(24 * _HOUR) == 0  # it may be somebody's who is slow
    clock.advance(_HOUR)
    assert store.remove_leftovers(24 * _HOUR) == 1
    assert _files(folder) == [f"data/{handle.name[:2]}/{handle.name}"]
    store.close()


def test_a_server_that_is_killed_and_comes_back(ssh_server: SshServer, folder: Path) -> None:
    """With the patience that everything above has, nobody notices."""
    store = reach_store(f"sftp:{ALIAS}:{folder}", ssh_server.access(), clock=SystemClock())
    store.create()

    def come_back() -> None:
        ssh_server.kill()
        ssh_server.start()

    content = noise(8_000_000)
    handle = handle_of(FileType.PACK, content)
    store.save(handle, _Parts(content, 8, come_back))
    ssh_server.end_sessions()
    assert store.load(handle) == content
    ssh_server.end_sessions()
    assert [*store.list(FileType.PACK)] == [FileInfo(handle.name, len(content))]
    ssh_server.end_sessions()
    store.remove(handle)
    store.close()


@pytest.mark.exhaustive(except_each=2)
@pytest.mark.parametrize("operation", ["load", "save"])
def test_a_server_that_hangs_is_noticed(ssh_server: SshServer, folder: Path, operation: str) -> None:
    before = set(ssh_server.session_processes())
    store = open_backend(f"sftp:{ALIAS}:{folder}", ssh_server.access(stall_seconds=4.0))
    patient = RetryBackend(store, clock=SystemClock())  # a busy machine may stand still for so long, too
    patient.create()
    content = noise(4_000_000)
    handle = handle_of(FileType.PACK, content)
    patient.save(handle, [content])
    own: set[int] = set()

    def stop() -> None:
        own.update(set(ssh_server.session_processes()) - before)
        for process in own:
            os.kill(process, signal.SIGSTOP)

    with pytest.raises(StorageRetryableError):
        if operation == "load":
            stop()
            store.load(handle)
        else:
            store.save(handle, _Parts(content, 8, stop))
    assert patient.load(handle) == content  # by a new connection
    store.close()
    for process in own:
        os.kill(process, signal.SIGKILL)


def test_closing_ends_a_connection_that_is_being_made(ssh_server: SshServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        store = open_backend(f"sftp://somebody@127.0.0.1:{silent.getsockname()[1]}//srv", ssh_server.access())
        waiting = pool.submit(store.size, CONFIG_HANDLE)
        connection, _address = silent.accept()
        with connection:
            store.close()
            with pytest.raises(StorageRetryableError):
                waiting.result()


def test_what_cannot_be_read_here_is_no_fault_of_the_server(store: Backend, folder: Path) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    content = noise(1_000_000)
    with pytest.raises(OSError, match="Input/output error"):
        store.save(handle_of(FileType.PACK, content), _Parts(content, 8, fail))
    assert _files(folder) == ["config"]


# --- leftovers -------------------------------------------------------------------------------


def test_leftovers_of_restic_and_of_dead_processes_are_collected(ssh_server: SshServer, folder: Path) -> None:
    clock = FakeClock(SystemClock().now_nanoseconds())
    store = SftpBackend(parse_sftp_address(f"{ALIAS}:{folder}"), ssh_server.access(), clock=clock)
    store.create()
    name, dead = "ab" * 32, subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    restic = [folder / "data" / "ab" / f"{name}-restic-temp-{'0' * 32}",
              folder / "snapshots" / f"{name}-restic-temp-{'1' * 32}", folder / f"config-restic-temp-{'2' * 32}"]
    ours = [folder / "data" / f"{name}-tmp-{host}-{dead.pid}-{'0' * 16}"]
    elsewhere = [folder / "index" / f"{name}-tmp-another.host-1-{'0' * 16}"]
    strange = [folder / "data" / "ab" / "README", folder / f"{name}-restic-temp-0"]
    for file in [*restic, *ours, *elsewhere, *strange]:
        file.write_bytes(b"half")
    store.save(handle_of(FileType.PACK, b"whole"), [b"whole"])
    assert len([*store.list(FileType.PACK)]) == 1
    assert store.remove_leftovers(24 * _HOUR) == 0
    clock.advance(_HOUR)
    [*store.list(FileType.PACK)]
    assert store.remove_leftovers(24 * _HOUR) == 1
    assert not ours[0].exists()
    clock.advance(24 * _HOUR)
    [*store.list(FileType.PACK)]
    assert store.remove_leftovers(24 * _HOUR) == 4
    assert [file for file in [*restic, *ours, *elsewhere, *strange] if file.exists()] == strange
    assert len([*store.list(FileType.PACK)]) == 1
    store.close()


# --- other processes -------------------------------------------------------------------------

_FORK = """
import os, sys
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE
from kuramori.storage.location import open_backend
store = open_backend(sys.argv[1], StoreAccess(variables={"HOME": sys.argv[2], "USER": sys.argv[3]}))
assert store.load(CONFIG_HANDLE) == b"config"
child = os.fork()
if not child:
    assert store.load(CONFIG_HANDLE) == b"config"
    store.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store.load(CONFIG_HANDLE) == b"config"
# and it ends without close()
"""


def test_a_fork_makes_a_connection_of_its_own_and_nobody_hangs(ssh_server: SshServer, store: Backend,
                                                               folder: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _FORK, f"sftp:{ALIAS}:{folder}", ssh_server.home,
                           ssh_server.user], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_rclone_says_when_its_disk_is_full(rclone_sftp_server: RcloneSftpServer,
                                           skip_or_fail: Callable[[str], NoReturn]) -> None:
    disk = rclone_sftp_server.files / "disk"
    owner = rclone_sftp_server.files.stat().st_uid
    with mounted.small_disk(disk, f"size=4m,mode=700,uid={owner}", skip_or_fail):
        store = open_backend(f"sftp:{ALIAS}:/disk/repository", rclone_sftp_server.access())
        store.create()
        large = noise(6_000_000)
        with pytest.raises(StorageFullError, match="no space is left"):
            store.save(handle_of(FileType.PACK, large), [large])
        store.close()
