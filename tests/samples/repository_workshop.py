"""Making repositories that no sound program would make, with a real key and real seals."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from kuramori.crypto.derivation import KdfParameters
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.model.index_file import (
    IndexBlob,
    IndexPack,
    decode_index,
    encode_index,
    encode_index_blobs,
    encode_index_pack,
)
from kuramori.model.snapshot import Snapshot, decode_snapshot, encode_snapshot
from kuramori.repository.compression import Compression
from kuramori.repository.opening import CreateOptions, create_repository, open_repository
from kuramori.repository.pack_header import COMPRESSED_ENTRY, PLAIN_ENTRY
from kuramori.repository.repository import Repository
from kuramori.repository.sealing import BlobSealer
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend

PASSWORD = "workshop"
CHEAP_KDF = KdfParameters(N=16, r=8, p=1)
"""restic takes it as it is, and a test opens hundreds of repositories."""

NODE = ('{"name":"%s","type":"%s","mode":420,"mtime":"2020-01-01T00:00:00Z","atime":"2020-01-01T00:00:00Z",'
        '"ctime":"2020-01-01T00:00:00Z","uid":0,"gid":0%s}')


def node(name: str, kind: str, rest: str = "") -> str:
    """Return a node's JSON; ``name`` as it stands between the quotes."""
    return NODE % (name, kind, rest)


def tree(*nodes: str) -> bytes:
    """Return a tree's JSON."""
    return ('{"nodes":[' + ",".join(nodes) + "]}\n").encode()


class Workshop:
    """One repository on disk, and tools to break it."""

    def __init__(self, folder: Path) -> None:
        """Open the repository in ``folder``, which :func:`create` or :func:`copy` made."""
        self.folder = folder
        self.repository: Repository = open_repository(LocalBackend(folder), Secret(PASSWORD))
        self.repository.load_index()
        self.key = self.repository.key
        self._sealer = BlobSealer(self.key, self.repository.version, Compression.AUTO)

    # --- files -------------------------------------------------------------------------------

    def path(self, file_type: FileType, name: str) -> Path:
        """Return where a file lies."""
        if file_type is FileType.PACK:
            return self.folder / "data" / name[:2] / name
        return self.folder / file_type.value / name if name else self.folder / "config"

    def names(self, file_type: FileType) -> list[str]:
        """Return the names of all files of a type, sorted."""
        return sorted(info.name for info in self.repository.backend.list(file_type))

    def packs(self, blob_type: BlobType) -> list[str]:
        """Return the packs that hold blobs of a type, the one with the most bytes first."""
        found = [pack.hex() for pack, blobs in self.repository.index.packs() if blobs[0].type is blob_type]
        return sorted(found, key=lambda name: -self.path(FileType.PACK, name).stat().st_size)

    def write(self, file_type: FileType, content: bytes, name: str | None = None) -> str:
        """Store a file under the name that its content has, or under another one."""
        name = hash_id(content).hex() if name is None else name
        path = self.path(file_type, name)
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return name

    def remove(self, file_type: FileType, name: str) -> None:
        """Delete a file."""
        self.path(file_type, name).unlink()

    def change(self, file_type: FileType, name: str, content: bytes) -> None:
        """Give a file other content and leave its name."""
        self.write(file_type, content, name)

    def read(self, file_type: FileType, name: str) -> bytes:
        """Return a file's bytes."""
        return self.path(file_type, name).read_bytes()

    def flip(self, file_type: FileType, name: str, offset: int, bit: int = 0) -> None:
        """Flip one bit; a negative offset counts from the end."""
        content = bytearray(self.read(file_type, name))
        content[offset] ^= 1 << bit
        self.change(file_type, name, bytes(content))

    def truncate(self, file_type: FileType, name: str, size: int) -> None:
        """Cut a file off; a negative size says how much is lost."""
        self.change(file_type, name, self.read(file_type, name)[:size])

    # --- documents ---------------------------------------------------------------------------

    def index_documents(self) -> dict[str, list[IndexPack]]:
        """Return every index file's packs."""
        return {name: decode_index(self.repository.load_unpacked(FileType.INDEX, name)).packs
                for name in self.names(FileType.INDEX)}

    def add_index(self, packs: Sequence[IndexPack]) -> str:
        """Store one more index file."""
        return self.repository.save_unpacked(FileType.INDEX, encode_index(
            encode_index_pack(pack.id, [encode_index_blobs(pack.blobs)]) for pack in packs))

    def replace_index(self, packs: Sequence[IndexPack]) -> None:
        """Store one index file in the place of all."""
        old = self.names(FileType.INDEX)
        new = self.add_index(packs)
        for name in old:
            if name != new:
                self.remove(FileType.INDEX, name)

    def all_index_packs(self) -> list[IndexPack]:
        """Return the packs of all index files."""
        return [pack for packs in self.index_documents().values() for pack in packs]

    def add_raw(self, file_type: FileType, plain: bytes) -> str:
        """Seal ``plain`` just as it is (lead byte and all) and store it."""
        return self.write(file_type, bytes(self.key.seal(plain)))

    def latest(self) -> Snapshot:
        """Return one of the snapshots."""
        return decode_snapshot(self.repository.load_unpacked(FileType.SNAPSHOT, self.names(FileType.SNAPSHOT)[0]))

    def add_snapshot(self, tree_id: Id) -> str:
        """Store a snapshot of a tree."""
        snapshot = self.latest()
        snapshot.tree = tree_id.hex()
        return self.repository.save_unpacked(FileType.SNAPSHOT, encode_snapshot(snapshot))

    # --- packs -------------------------------------------------------------------------------

    def sealed(self, blob_type: BlobType, plain: bytes) -> tuple[bytes, int]:
        """Return a sealed blob and its uncompressed length."""
        sealed, length = self._sealer.seal(blob_type, hash_id(plain), plain)
        return bytes(sealed), length

    def header(self, blobs: Sequence[PackedBlob]) -> bytes:
        """Return a pack's sealed header with its length field."""
        entries = b""
        for blob in blobs:
            kind = 1 if blob.type is BlobType.TREE else 0
            if blob.uncompressed_length:
                entries += COMPRESSED_ENTRY.pack(kind + 2, blob.length, blob.uncompressed_length, blob.id)
            else:
                entries += PLAIN_ENTRY.pack(kind, blob.length, blob.id)
        sealed = bytes(self.key.seal(entries))
        return sealed + len(sealed).to_bytes(4, "little")

    def add_pack(self, contents: Sequence[tuple[BlobType, Id, bytes, int]], *, header: bytes | None = None,
                 index: bool = True) -> str:
        """Store a pack of blobs (type, id, sealed bytes, uncompressed length) and, if wanted, an
        index file that says the same."""
        blobs: list[PackedBlob] = []
        offset = 0
        for blob_type, blob_id, sealed, length in contents:
            blobs.append(PackedBlob(blob_type, blob_id, Id(b""), offset, len(sealed), length))
            offset += len(sealed)
        body = b"".join(sealed for _, _, sealed, _ in contents)
        name = self.write(FileType.PACK, body + (self.header(blobs) if header is None else header))
        if index:
            self.add_index([index_pack(name, blobs)])
        return name

    def add_tree(self, document: bytes) -> Id:
        """Store a tree in a pack of its own; return its id."""
        sealed, length = self.sealed(BlobType.TREE, document)
        self.add_pack([(BlobType.TREE, hash_id(document), sealed, length)])
        return hash_id(document)

    def add_tree_snapshot(self, document: bytes) -> None:
        """Store a snapshot whose root is this tree."""
        self.add_snapshot(self.add_tree(document))


def index_pack(name: str, blobs: Sequence[PackedBlob]) -> IndexPack:
    """Return what an index says of a pack."""
    return IndexPack(name, [
        IndexBlob(blob.id.hex(), blob.type.value, blob.offset, blob.length, blob.uncompressed_length)
        for blob in blobs])


def create(folder: Path, version: int = 2) -> None:
    """Make an empty repository whose key is cheap to open."""
    create_repository(LocalBackend(folder), Secret(PASSWORD), CreateOptions(version=version, kdf=CHEAP_KDF)).close()


def copy(source: Path, target: Path) -> Workshop:
    """Copy a repository and open the copy."""
    shutil.copytree(source, target)
    for folder, _, files in os.walk(target):
        for name in files:
            os.chmod(os.path.join(folder, name), 0o600)
    return Workshop(target)


def make_source(folder: Path) -> None:
    """Make a small folder to back up: text, random bytes in several blobs, folders, a link."""
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "text").write_text("the quick brown fox\n" * 500)
    for number in range(8):
        (folder / "deep" / f"file{number}").write_bytes(os.urandom(2000 + number))
    (folder / "deep" / "deeper" / "large").write_bytes(os.urandom(700_000))
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("text")


