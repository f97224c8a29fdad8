"""A folder with everything that backup programs get wrong, always the same."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from pathlib import Path

ODD_NAMES = [
    b"plain", b"with space", b" leading", b"trailing ", b"quo\"te", b"apo'strophe", b"back\\slash", b"\\x41",
    b"\\n", b"new\nline", b"carriage\rreturn", b"tab\tname", b"bell\x07", b"back\x08space", b"form\x0cfeed",
    b"esc\x1b[31mred", b"delete\x7f", b"one\x01two\x1f", b"<html>&amp;", b"percent%20", b"dollar$HOME",
    b"star*", b"[bracket]", b"que?stion", b"-rf", b"--help", b"...", b".hidden", b"~", b"#hash#", b"semi;colon",
    b"pipe|", b"a=b", b"@at", b"colon:name", b"invalid\xff", b"\xfe\xff", b"latin1-\xe9", b"half\xe3\x81",
    b"overlong\xc0\xaf", b"surrogate\xed\xa0\x80", "蔵守".encode(), "線分隔\u2028符".encode(), "段落\u2029".encode(),
    "nbsp\u00a0".encode(), "soft\u00adhyphen".encode(), "zero\u200bwidth".encode(),
    "\u202eright-to-left".encode(), "\ufeffbom".encode(), "replaced\ufffd".encode(),
    "emoji \U0001f331\U0001f3fd".encode(), "private\ue000".encode(), "tag\U000e0041".encode(),
    "nonchar\uffff".encode(), "\u00e9-composed".encode(), "e\u0301-composed".encode(),
    "ideographic\u3000space".encode(), "next\u0085line".encode(), b"n" * 255, "蔵".encode() * 85,
]
ODD_TARGETS = [
    b"plain", b"does/not/exist", b"/absolute/nowhere", b"..", b"../../..", b".", b"odd-names/new\nline", b"<&>",
    b"quo\"te\\", "線\u2028".encode(), "replaced\ufffd".encode(), b"t" * 3000, b" ",
]
INVALID_TARGETS = [b"invalid\xff", b"\xfe/\xff", b"half\xe3\x81"]
"""restic 0.14 loses the bytes of these."""
CONTROL_TARGETS = [b"back\x08space", b"form\x0cfeed"]
"""restic before 0.17 encodes these in another way."""
DEPTH = 60
LARGE_SIZE = 64 * 1024 * 1024
_ROOT_OWNS = os.geteuid() == 0


def make_nasty_tree(root: Path, *, modern: bool = True, large_size: int = LARGE_SIZE) -> None:
    """Make the folder ``root`` and everything in it. The same arguments make the same contents.

    Args:
        modern: also what restic 0.14 cannot represent: link targets that are no UTF-8, control
            characters in them, and attributes of links.
        large_size: bytes of the largest file.
    """
    root.mkdir(parents=True)
    base = os.fsencode(root)
    numbers = random.Random(20261123)
    _names(base + b"/odd-names")
    _contents(base + b"/contents", numbers, large_size)
    _links(base + b"/links", modern)
    _modes(base + b"/modes")
    _special(base + b"/special")
    _attributes(base + b"/attributes", modern)
    _deep(base + b"/deep")
    _many(base + b"/many", numbers)
    _times(base + b"/times")
    os.utime(base, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))


def supports_attributes(folder: Path) -> bool:
    """Tell whether the file system of ``folder`` keeps extended attributes."""
    try:
        os.setxattr(folder, "user.probe", b"1")
    except OSError:
        return False
    os.removexattr(folder, "user.probe")
    return True


def _write(path: bytes, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _names(folder: bytes) -> None:
    os.mkdir(folder)
    for number, name in enumerate(ODD_NAMES):
        _write(folder + b"/" + name, b"%d:" % number + name)
    for number, name in enumerate(ODD_NAMES):
        inner = folder + b"-as-folders/" + name
        os.makedirs(inner)
        _write(inner + b"/inside", b"%d" % number)


def _contents(folder: bytes, numbers: random.Random, large_size: int) -> None:
    os.mkdir(folder)
    _write(folder + b"/empty", b"")
    _write(folder + b"/one byte", b"\0")
    block = numbers.randbytes(4 * 1024 * 1024)
    for size in (511, 512 * 1024 - 1, 512 * 1024, 512 * 1024 + 1, 3 * 1024 * 1024):
        _write(folder + b"/size-%d" % size, block[:size])
    _write(folder + b"/zeros", bytes(9 * 1024 * 1024))
    large = bytearray()
    while len(large) < large_size:
        large += numbers.randbytes(3_000_000) + block[: numbers.randrange(len(block))] + b"soil moisture " * 40_000
    _write(folder + b"/large", bytes(large[:large_size]))
    _write(folder + b"/large copy", bytes(large[:large_size]))
    _write(folder + b"/large shifted", b"shifted" + bytes(large[: large_size // 4]))
    with open(folder + b"/sparse", "wb") as file:
        file.write(b"start")
        file.seek(12 * 1024 * 1024)
        file.write(b"end")
    with open(folder + b"/only a hole", "wb") as file:
        file.truncate(5 * 1024 * 1024 + 3)
    _write(folder + b"/like a tree", b'{"nodes":[]}\n')
    os.mkdir(folder + b"/empty folder")


def _links(folder: bytes, modern: bool) -> None:
    os.mkdir(folder)
    os.mkdir(folder + b"/elsewhere")
    _write(folder + b"/hard-1", b"one content, three names")
    os.link(folder + b"/hard-1", folder + b"/hard-2")
    os.link(folder + b"/hard-1", folder + b"/elsewhere/hard-3")
    _write(folder + b"/pair-empty", b"")
    os.link(folder + b"/pair-empty", folder + b"/elsewhere/pair-empty")
    targets = ODD_TARGETS + (INVALID_TARGETS + CONTROL_TARGETS if modern else [])
    for number, target in enumerate(targets):
        os.symlink(target, folder + b"/link-%02d" % number)
        os.utime(folder + b"/link-%02d" % number, ns=(10**18 + number, 10**18 + number), follow_symlinks=False)
    os.link(folder + b"/link-00", folder + b"/link-hard", follow_symlinks=False)


def _modes(folder: bytes) -> None:
    os.mkdir(folder)
    for mode in (0o000, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o1644, 0o6711, 0o7777):
        _write(folder + b"/file-%04o" % mode, b"%o" % mode)
        os.mkdir(folder + b"/folder-%04o" % mode)
        for path in (folder + b"/file-%04o" % mode, folder + b"/folder-%04o" % mode):
            if _ROOT_OWNS:
                os.chown(path, 12345, 54321)
            os.chmod(path, mode if _ROOT_OWNS else mode | 0o500)


def _special(folder: bytes) -> None:
    os.mkdir(folder)
    os.mkfifo(folder + b"/fifo", 0o640)
    if _ROOT_OWNS:
        for name, kind, device in ((b"/null", 0o020666, (1, 3)), (b"/loop", 0o060660, (7, 200))):
            try:
                os.mknod(folder + name, kind, os.makedev(*device))
            except PermissionError:
                return  # a container without the right to make devices


def add_socket(root: Path) -> None:
    """Put a socket into the folder: restic and kuramori leave it out."""
    before = root.stat()
    descriptor = os.open(root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{descriptor}/socket")
    os.close(descriptor)
    os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))


def _attributes(folder: bytes, modern: bool) -> None:
    os.mkdir(folder)
    for name in (b"/file", b"/with-acl"):
        _write(folder + name, name)
    os.mkdir(folder + b"/folder")
    os.symlink(b"file", folder + b"/link")
    if not supports_attributes(Path(os.fsdecode(folder))):
        return
    for path in (folder + b"/file", folder + b"/folder"):
        os.setxattr(path, b"user.nul", b"\0before\0\0after\0")
        os.setxattr(path, b"user.empty", b"")
        os.setxattr(path, b"user.bytes", bytes(range(256)))
        os.setxattr(path, "user.蔵守".encode(), "鍵".encode())
        os.setxattr(path, b"user.<&>\"", b"<&>")
    if modern and _ROOT_OWNS:
        os.setxattr(folder + b"/link", b"trusted.of.link", b"kept", follow_symlinks=False)
    if shutil.which("setfacl"):
        for arguments in (["-m", "u:4321:rwx,g:8765:r", "with-acl"], ["-m", "u:4321:r-x", "folder"],
                          ["-d", "-m", "u:4321:rwx,g::r-x", "folder"]):
            subprocess.run(["setfacl", *arguments], cwd=folder, check=True)


def _deep(folder: bytes) -> None:
    path = folder
    os.mkdir(path)
    for level in range(DEPTH):
        path += b"/level-%02d-of-a-deep-tree" % level
        os.mkdir(path)
        _write(path + b"/here", b"level %d" % level)


def _many(folder: bytes, numbers: random.Random) -> None:
    for number in range(400):
        if number % 100 == 0:
            os.makedirs(folder + b"/%d" % (number // 100))
        _write(folder + b"/%d/file-%04d.txt" % (number // 100, number), numbers.randbytes(numbers.randrange(3000)))


def _times(folder: bytes) -> None:
    os.mkdir(folder)
    moments = [0, 1, -1, 999_999_999, -999_999_999, 10**9, 1_700_000_000_000_000_001, 1_700_000_000_100_000_000,
               -86_400 * 365 * 30 * 10**9 + 7, 4_102_444_800_000_000_000, 1_111_885_200_000_000_000,
               1_111_888_799_999_999_999, 1_130_634_000_000_000_000]
    for number, moment in enumerate(moments):
        path = folder + b"/moment-%02d" % number
        _write(path, b"%d" % moment)
        os.mkdir(path + b"-folder")
        for each in (path, path + b"-folder"):
            os.utime(each, ns=(moment, moment))
