"""Database servers for tests: started as a user without rights, ended with the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class ServerProcess:
    """A server in a temporary folder of its own, which lies right below the system's one: sockets have
    short names only, and a user without rights must be able to reach it."""

    def __init__(self, name: str, users: Sequence[str]) -> None:
        """Nothing is started yet.

        Args:
            users: who shall run it, if we are root: the first that exists.
        """
        self.folder = Path(tempfile.mkdtemp(prefix=f"kuramori-{name}-"))
        self._prefix: list[str] = []
        self._ending: list[str] = []
        if os.getuid() == 0:
            account = next(account for account in pwd.getpwall() for user in [*users, "nobody"]
                           if account.pw_name == user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            self._ending = ["--pdeathsig=KILL"]  # nothing of it outlives the tests, however these end
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = self.folder / "server.log"

    @property
    def number(self) -> int | None:
        """The number of the running process."""
        return None if self._process is None else self._process.pid

    def run(self, *command: str | Path) -> None:
        """Run a command as the server's user to its end."""
        done = subprocess.run([*self._prefix, *command], cwd=self.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def start(self, command: Sequence[str | Path], answers: Callable[[], bool]) -> None:
        """Start the server and return when it answers."""
        prefix = [*self._prefix[:1], *self._ending, *self._prefix[1:]]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*prefix, *command], cwd=self.folder, stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, start_new_session=True)
        for _ in range(600):
            if answers():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(self.log.read_text(errors="replace")[-3000:])

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def remove(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
