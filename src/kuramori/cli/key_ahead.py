"""The key of the repository is derived while the rest of the program is imported, where it is plain what it will be.

Deriving it takes 0.2 s, and a short command takes half of that for importing its modules. Nothing here decides
anything: who opens the repository reads the key file and asks for the password as ever, and where he arrives at the
same question, the answer is there or on its way (:mod:`kuramori.crypto.scrypt`).
"""

from __future__ import annotations

import os

from kuramori.cli.environment import first_set

TYPE_CHECKING = False  # without the module, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence

    from kuramori.crypto.scrypt import ScryptInput

_OPENING = frozenset((
    "backup", "cat", "check", "diff", "dump", "find", "forget", "list", "ls", "migrate", "mount", "prune", "recover",
    "repair", "restore", "rewrite", "serve-webdav", "snapshots", "stats", "tag"))
"""Commands that open one repository, and the one of the environment if no option says otherwise."""
_OTHERWISE = ("-r", "--repo", "--password", "--insecure-no-password", "--key-hint", "--settings", "-h", "--help")
"""Beginnings of options with which it is another one, or another password, or none at all."""
_KEY_LENGTH = 64
"""Of :mod:`kuramori.crypto.master_key`, which takes longer to import than there is to gain."""
_LARGEST_FILE = 64 * 1024


def begin_deriving(arguments: Sequence[str]) -> None:
    """Begin, if the environment names a folder and a password and there is one key. Whatever does not fit is left to
    whoever opens the repository."""
    wanted = find_question(arguments)
    if wanted is not None:
        from kuramori.crypto import scrypt

        scrypt.begin(wanted)


def find_question(arguments: Sequence[str]) -> ScryptInput | None:
    """Return what will be derived; None where that is not plain.

    Args:
        arguments: of the command line, without the program's name.
    """
    if _OPENING.isdisjoint(arguments) or any(argument.startswith(_OTHERWISE) for argument in arguments):
        return None
    place = first_set(("REPOSITORY", "REPOSITORY_FILE"))
    password = first_set(("PASSWORD_FILE", "PASSWORD_COMMAND", "PASSWORD"))
    if first_set(("KEY_HINT",)) or not place or place[0] != "REPOSITORY" or not password:
        return None
    try:
        secret = _read_password(*password)
        return None if secret is None else _question_of(os.path.join(place[1], "keys"), secret)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _read_password(name: str, value: str) -> bytes | None:
    if name == "PASSWORD_FILE":
        if not os.path.isfile(value):
            return None  # what comes out of a pipe comes once
        with open(value, "rb") as file:
            return file.read(_LARGEST_FILE).strip()
    return value.encode("utf-8", "surrogateescape") if name == "PASSWORD" else None


def _question_of(folder: str, password: bytes) -> ScryptInput | None:
    import binascii
    import json  # neither is needed by commands that open nothing

    from kuramori.crypto.scrypt import ScryptInput

    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    if len(names) != 1:
        return None
    with open(os.path.join(folder, names[0]), "rb") as file:
        content = json.loads(file.read(_LARGEST_FILE))
    cost: tuple[int, int, int] = (content["N"], content["r"], content["p"])
    if content["kdf"] != "scrypt" or not all(type(number) is int for number in cost):
        return None
    return ScryptInput(password, binascii.a2b_base64(content["salt"], strict_mode=True), *cost, _KEY_LENGTH)
