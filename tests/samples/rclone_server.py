"""rclone as a server of repositories and files, on this machine, in a temporary folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from samples.server_process import ServerProcess, free_port

USER, PASSWORD = "planter", "a p@ss/w:ord"


def rclone_program() -> str | None:
    """Return the path of rclone: the one that came with the tests' packages, else the system's."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone")


class RcloneServer(ServerProcess):
    """``rclone serve restic`` or ``webdav`` on a folder. Each test uses a folder below it for itself."""

    def __init__(self, program: str, kind: str, *options: str, files: Path | str | None = None,
                 socket_name: str = "") -> None:
        """Start it on a free port (or on a socket in its folder), asking for :data:`USER` and :data:`PASSWORD`.

        Args:
            kind: ``restic`` or ``webdav``.
            options: more of them.
            files: the folder that is served, or another place that rclone knows; by default a folder of its own.
            socket_name: of a socket that it listens on in place of a port.
        """
        super().__init__(f"rclone-{kind}", [])
        self.files = self.folder / "files" if files is None else Path(files)
        if files is None:
            self.run("mkdir", self.files)
        self.port = 0 if socket_name else free_port()
        self.socket = self.folder / socket_name if socket_name else None
        address = f"unix://{self.socket}" if self.socket else f"127.0.0.1:{self.port}"
        self._command: Sequence[str | Path] = [
            program, "--config", "/dev/null", "serve", kind, "--addr", address, "--user", USER, "--pass", PASSWORD,
            *options, files or self.files]
        self.begin()

    def begin(self) -> None:
        """Start it, on the same port again."""
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)
        self.start(self._command, self._answers)

    def _answers(self) -> bool:
        kind, place = (socket.AF_UNIX, str(self.socket)) if self.socket else (socket.AF_INET, ("127.0.0.1", self.port))
        with socket.socket(kind) as probe:
            return probe.connect_ex(place) == 0

    def url(self, path: str = "", *, scheme: str = "http", login: str = "planter:a%20p%40ss%2Fw%3Aord@") -> str:
        """Return the address of a folder below the one that is served."""
        return f"{scheme}://{login}127.0.0.1:{self.port}/{path}"


def make_certificates(folder: Path) -> None:
    """Make an authority, a server and a client: ``authority.pem``, ``server.pem`` and ``server.key`` for 127.0.0.1 and
    store.invalid, and ``client.pem`` with its key in it."""
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-subj",
            "/CN=An authority of the tests", "-keyout", "authority.key", "-out", "authority.pem")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1,DNS:store.invalid"),
                            ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / f"{name}.ext").write_text(extension)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key",
                "-CAcreateserial", "-days", "3650", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    client = folder / "client.pem"
    client.write_text(client.read_text() + (folder / "client.key").read_text())
