"""OpenSSH servers for tests: with keys of their own, as a user without rights, and a home folder for the client."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kuramori.storage.access import StoreAccess
from samples.server_process import ServerProcess, free_port

ALIAS = "vault"
"""The server's name in the client's configuration."""


def sshd_program() -> str | None:
    """Return the path of the server, which is in no user's PATH."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def make_key(file: Path, *, passphrase: str = "", kind: str = "ed25519") -> Path:
    """Make a key and return its file."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", file], check=True, timeout=60,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return file


class SshServer:
    """A running sshd, and the home folder of a client who may log in."""

    def __init__(self, program: str, *, settings: Sequence[str] = ()) -> None:
        """Make it and start it.

        Args:
            settings: more lines of its configuration; they come first, so they count.
        """
        self._program = program
        self._settings = settings
        # Not "nobody": to a server that may not read the shadow passwords systemd says that this account is locked.
        self._process = ServerProcess("ssh", ["daemon"])
        self.folder = self._process.folder
        self.user = pwd.getpwuid(self.folder.stat().st_uid).pw_name
        self.port = free_port()
        self.home = self.folder / "client"
        self.files = self.folder / "files"
        """Where relative paths begin."""
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
        self._process.run("mkdir", self.files)
        self._process.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "server", "-f", self.host_key)
        self.key = make_key(ssh / "id_ed25519")
        self.authorize(self.key)
        self.trust()
        (ssh / "config").write_text(
            f"Host {ALIAS}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.user}\n  IdentityFile {self.key}\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {ssh / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n"
            "  BatchMode yes\n  IdentityAgent none\n")

    @property
    def host_key(self) -> Path:
        """The server's secret key."""
        return self.folder / "host_key"

    def authorize(self, key: Path) -> None:
        """Let the owner of a key in."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(key.with_name(key.name + ".pub").read_text())
        (self.folder / "authorized_keys").chmod(0o644)

    def host_line(self) -> str:
        """Return the line of ``known_hosts`` that is true of this server."""
        public = self.host_key.with_name("host_key.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n"

    def trust(self, line: str | None = None) -> None:
        """Let the client know the server by this line and no other; by the true one if none is given."""
        (self.home / ".ssh" / "known_hosts").write_text(self.host_line() if line is None else line)

    def start(self) -> None:
        """Start it (again), at the same port."""
        configuration = self.folder / "sshd_config"
        configuration.write_text("\n".join([
            *self._settings, f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}", "StrictModes no", "UsePAM no", "PidFile none",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "MaxStartups 100", "MaxSessions 100",
            f"Subsystem sftp internal-sftp -d {self.files}", "PrintMotd no", ""]))
        self._process.start([self._program, "-D", "-e", "-f", configuration], self.answers)

    def answers(self) -> bool:
        """Tell whether it greets."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def kill(self) -> None:
        """End it and all its sessions as a power cut does."""
        self.end_sessions()
        self._process.kill()
        self.end_sessions()

    def end_sessions(self) -> None:
        """Break off all sessions; the server itself goes on."""
        for process in self.session_processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def session_processes(self) -> list[int]:
        """Return the processes that serve sessions. They are sessions of their own for the kernel, too, so neither a
        process group nor, when the server has died, a parent leads to them: the folder in their arguments, or the
        server's process does."""
        main = self._process.number
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                fields = re.sub(r"\(.*\)", "", (entry / "stat").read_text(), flags=re.DOTALL).split()
                children.setdefault(int(fields[2]), []).append(int(entry.name))
        found: list[int] = []
        waiting = [main] if main is not None else []
        while waiting:
            below = children.get(waiting.pop(), [])
            found += below
            waiting += below
        return found

    def remove(self) -> None:
        """End it and remove all of it."""
        self.kill()
        self._process.remove()

    # --- for the client ----------------------------------------------------------------------

    def access(self, **fields: object) -> StoreAccess:
        """Return how the client reaches it: with the home folder made for it."""
        return StoreAccess(variables={"HOME": str(self.home), "USER": self.user}, **fields)  # type: ignore[arg-type]

    def folder_for(self, name: str) -> Path:
        """Return a folder that does not exist yet, which the server's user could make."""
        return self.files / name

    def location(self, name: str) -> str:
        """Return the location of such a folder."""
        return f"sftp:{ALIAS}:{self.folder_for(name)}"

    @property
    def ssh_command(self) -> str:
        """What restic runs to reach it."""
        return f"ssh -F {self.home / '.ssh' / 'config'} {ALIAS} -s sftp"
