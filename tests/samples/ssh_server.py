"""Servers of SFTP for tests: with keys of their own, as a user without rights, and a home folder for the client."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kuramori.storage.access import StoreAccess
from samples.server_process import ServerProcess, free_port

ALIAS = "vault"
"""The server's name in the client's configuration."""
FORGETS_FOLDERS_AFTER = 0.001
"""For how long rclone answers from what it remembers of a folder, in seconds."""
_MEMORY = Path("/dev/shm")


def _in_memory() -> bool:
    return os.access(_MEMORY, os.W_OK | os.X_OK)


def sshd_program() -> str | None:
    """Return the path of the server, which is in no user's PATH."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def make_key(file: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """Make a key and return its file."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", file], check=True, timeout=60,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return file


class SftpServer:
    """A server with an SSH key, and the home folder of a client who may log in."""

    def __init__(self, name: str, users: Sequence[str]) -> None:
        """Make both; nothing is started yet.

        Args:
            users: see :class:`~samples.server_process.ServerProcess`.
        """
        self._process = ServerProcess(name, users)
        self.folder = self._process.folder
        self.user = pwd.getpwuid(self.folder.stat().st_uid).pw_name
        self.port = free_port()
        self.home = self.folder / "client"
        # In memory, where there is some: each test makes a repository, which is more than 260 folders.
        self.files = Path(tempfile.mkdtemp(prefix=f"kuramori-{name}-files-", dir=_MEMORY if _in_memory() else None))
        """Where relative paths begin."""
        owner = self.folder.stat()
        os.chown(self.files, owner.st_uid, owner.st_gid)
        self.host_key = self.folder / "host_key"
        """The server's secret key."""
        self.authorized_keys = self.folder / "authorized_keys"
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.remove()
            raise

    def _prepare(self) -> None:
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True)
        self.home.chmod(0o700)
        ssh.chmod(0o700)
        self._process.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "server", "-f", self.host_key)
        self.key = make_key(ssh / "id_ed25519")
        self.authorize(self.key)
        self.trust()
        (ssh / "config").write_text(self.client_configuration())

    def client_configuration(self) -> str:
        """Return what the client's ``~/.ssh/config`` says of the server."""
        ssh = self.home / ".ssh"
        return (f"Host {ALIAS}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.user}\n"
                f"  IdentityFile {self.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {ssh / 'known_hosts'}\n"
                "  GlobalKnownHostsFile /dev/null\n"
                "  BatchMode yes\n  IdentityAgent none\n")

    def authorize(self, key: Path) -> None:
        """Let the owner of a key in."""
        with self.authorized_keys.open("a") as file:
            file.write(key.with_name(key.name + ".pub").read_text())
        self.authorized_keys.chmod(0o644)

    def host_line(self) -> str:
        """Return the line of ``known_hosts`` that is true of this server."""
        public = self.host_key.with_name("host_key.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n"

    def trust(self, line: str | None = None) -> None:
        """Let the client know the server by this line and no other; by the true one if none is given."""
        (self.home / ".ssh" / "known_hosts").write_text(self.host_line() if line is None else line)

    def start(self) -> None:
        """Start it (again), at the same port."""
        self._process.start(self._command(), self.answers)

    def _command(self) -> list[str | Path]:
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether it greets."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a power cut does."""
        self._process.kill()

    def remove(self) -> None:
        """End it and remove all of it."""
        self.kill()
        self._process.remove()
        shutil.rmtree(self.files, ignore_errors=True)

    # --- for the client ----------------------------------------------------------------------

    def access(self, *, variables: Mapping[str, str] | None = None, **fields: Any) -> StoreAccess:
        """Return how the client reaches it: with the home folder made for it, and more variables."""
        return StoreAccess(variables={"HOME": str(self.home), "USER": self.user, **(variables or {})}, **fields)

    def folder_for(self, name: str) -> Path:
        """Return a folder on this machine that does not exist yet, and which the server's user could make."""
        return self.files / name

    def location(self, name: str) -> str:
        """Return the location of such a folder."""
        return f"sftp:{ALIAS}:{self.folder_for(name)}"

    @property
    def ssh_command(self) -> str:
        """What restic runs to reach it."""
        return f"ssh -F {self.home / '.ssh' / 'config'} {ALIAS} -s sftp"


class SshServer(SftpServer):
    """A running sshd of OpenSSH."""

    def __init__(self, program: str, *, settings: Sequence[str] = (), service: str = "internal-sftp") -> None:
        """Make it and start it.

        Args:
            settings: more lines of its configuration; they come first, so they count.
            service: what serves SFTP, with options.
        """
        self._program = program
        self.settings = settings
        self._service = service
        # Not "nobody": to a server that may not read the shadow passwords systemd says that this account is locked.
        super().__init__("ssh", ["daemon"])

    def _command(self) -> list[str | Path]:
        configuration = self.folder / "sshd_config"
        configuration.write_text("\n".join([
            *self.settings, f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized_keys}", "StrictModes no", "UsePAM no", "PidFile none",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "MaxStartups 100", "MaxSessions 100",
            f"Subsystem sftp {self._service} -d {self.files}", "PrintMotd no", ""]))
        return [self._program, "-D", "-e", "-f", configuration]

    def kill(self) -> None:
        """End it and all its sessions as a power cut does."""
        sessions = self.session_processes()  # they go on when the server has died, and nothing leads to them then
        super().kill()
        _kill(sessions)

    def end_sessions(self) -> None:
        """Break off all sessions; the server itself goes on."""
        _kill(self.session_processes())

    def session_processes(self) -> list[int]:
        """Return the processes that serve sessions, each in a process group of its own."""
        main = self._process.number
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found: list[int] = []
        waiting = [main] if main is not None else []
        while waiting:
            below = children.get(waiting.pop(), [])
            found += below
            waiting += below
        return found


class RcloneSftpServer(SftpServer):
    """A running ``rclone serve sftp``: another implementation of the protocol, with few of OpenSSH's extensions."""

    def __init__(self, program: str) -> None:
        """Make it and start it."""
        self._program = program
        super().__init__("rclone-sftp", [])

    def _command(self) -> list[str | Path]:
        # The tests put files beside it, so it must soon forget what it remembers of folders. With no time at all it
        # spins and does not answer.
        return [self._program, "--config", "/dev/null", "serve", "sftp", "--addr", f"127.0.0.1:{self.port}",
                "--key", self.host_key, "--authorized-keys", self.authorized_keys, "--dir-cache-time",
                f"{FORGETS_FOLDERS_AFTER * 1000:.0f}ms",
                self.files]

    def location(self, name: str) -> str:
        """Return the location of a folder: what rclone serves is its root."""
        return f"sftp:{ALIAS}:/{name}"


def _kill(processes: Sequence[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
