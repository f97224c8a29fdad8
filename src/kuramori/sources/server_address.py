"""How to reach a database server, and the files by which its tools learn the password."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kuramori.errors import N_, NoSuchDatabaseError, PasswordFileError
from kuramori.secret import Secret

_MAXIMUM_PASSWORD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A database server and how to log in. Passwords come from files or the tools' own means only."""

    database: str = ""
    """Empty for every database that is not the server's own."""
    host: str = ""
    """A name, an address, or where the socket is (PostgreSQL: its folder; MySQL: the socket itself); empty
    for the tools' default."""
    port: int | None = None
    user: str = ""
    password_file: Path | None = None
    """A file with nothing but the password, readable by its owner only."""
    defaults_file: Path | None = None
    """PostgreSQL: a ``.pgpass``; MySQL: an option file. Readable by their owner only."""

    @property
    def shown(self) -> str:
        """The server, for people."""
        if not self.host:
            return f"localhost:{self.port}" if self.port else "localhost"
        if self.host.startswith("/"):
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    def require(self, database: str, present: Collection[str]) -> None:
        """Refuse a database that the server does not have.

        Raises:
            NoSuchDatabaseError
        """
        if database not in present:
            raise NoSuchDatabaseError(server=self.shown, detail=database)


def read_password_file(path: Path) -> Secret:
    """Return the password that a file holds: all of it but one line break at its end.

    Raises:
        PasswordFileError: it cannot be read, others may read it, or it holds no single line.
    """
    require_private(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_PASSWORD_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise PasswordFileError(path=str(path), detail=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise PasswordFileError(path=str(path), detail=N_("it is not UTF-8 text")) from None
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or "\n" in password or "\0" in password or len(content) > _MAXIMUM_PASSWORD_BYTES:
        raise PasswordFileError(path=str(path), detail=N_("it does not hold one line with a password"))
    return Secret(password)


def require_private(path: Path) -> None:
    """Refuse a file with a password that others than its owner may read.

    Raises:
        PasswordFileError: they may, or it is not there.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise PasswordFileError(path=str(path), detail=error.strerror or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise PasswordFileError(path=str(path), detail=N_("it is not a regular file"))
    if status.st_mode & 0o077:
        raise PasswordFileError(path=str(path), detail=N_("others than its owner can read or change it"))


@contextmanager
def credentials_file(address: ServerAddress, write: Callable[[str], str]) -> Iterator[Path | None]:
    """Give the file by which the tools learn the password: the user's own, a temporary one made of the
    password file, or None if the tools have means of their own.

    The temporary one lies in a folder that only its owner can enter, and goes with the context.

    Args:
        write: makes the text of the tools' file of a password.

    Raises:
        PasswordFileError
    """
    if address.defaults_file is not None:
        require_private(address.defaults_file)
        yield address.defaults_file.absolute()
        return
    if address.password_file is None:
        yield None
        return
    password = read_password_file(address.password_file)
    folder = tempfile.mkdtemp(prefix="kuramori-")
    try:
        path = Path(folder, "login")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(write(password.reveal()))
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)
