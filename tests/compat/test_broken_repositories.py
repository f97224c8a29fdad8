"""Repositories that are broken in every way: our check and restic's agree on which are sound, and ours
names what is damaged, in one line each and never with a traceback."""

from __future__ import annotations

import copy as copying
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kuramori.archiving.backup import BackupOptions, back_up
from kuramori.ids import Id, hash_id
from kuramori.maintenance import check_data
from kuramori.maintenance.check import CheckOptions, check
from kuramori.model.blob import BlobType, PackedBlob
from kuramori.repository.opening import open_repository
from kuramori.secret import Secret
from kuramori.storage.backend import FileType
from kuramori.storage.local import LocalBackend
from kuramori.testing.restic_judge import Restic
from samples import repository_workshop
from samples.kuramori_command import Kuramori
from samples.repository_workshop import PASSWORD, Workshop, node, tree

PATIENCE_SECONDS = 3
"""What is missing or lies makes restic read the same bytes again and again for a quarter of an hour. A check
of something sound takes it half a second."""

Break = Callable[[Workshop], str]
"""Breaks the repository; returns what our check has to name (a part of an id or a path), or ``""``."""

DAMAGED: dict[str, Break] = {}
"""What both find damaged."""
SOUND: dict[str, Break] = {}
"""What both find sound."""
UNREADABLE: dict[str, Break] = {}
"""What both refuse to open."""


def damaged(breaker: Break) -> Break:
    """Register a kind of damage under the name of its function."""
    DAMAGED[breaker.__name__] = breaker
    return breaker


def sound(breaker: Break) -> Break:
    """Register something untidy that loses nothing."""
    SOUND[breaker.__name__] = breaker
    return breaker


def unreadable(breaker: Break) -> Break:
    """Register what leaves no repository to open."""
    UNREADABLE[breaker.__name__] = breaker
    return breaker


def data_pack(workshop: Workshop) -> str:
    return workshop.packs(BlobType.DATA)[0]


def tree_pack(workshop: Workshop) -> str:
    return workshop.packs(BlobType.TREE)[0]


def one_index(workshop: Workshop) -> str:
    return workshop.names(FileType.INDEX)[0]


# --- files missing, changed, cut off, grown --------------------------------------------------


def _with_pack(kind: BlobType, change: Callable[[Workshop, str], None], name: str) -> None:
    def breaker(workshop: Workshop) -> str:
        pack = workshop.packs(kind)[0]
        change(workshop, pack)
        return pack[:8]

    DAMAGED[f"{kind.value}_pack_{name}"] = breaker


for _kind in (BlobType.DATA, BlobType.TREE):
    _with_pack(_kind, lambda workshop, pack: workshop.remove(FileType.PACK, pack), "missing")
    _with_pack(_kind, lambda workshop, pack: workshop.flip(FileType.PACK, pack, 40), "flipped_in_a_blob")
    _with_pack(_kind, lambda workshop, pack: workshop.flip(FileType.PACK, pack, -30), "flipped_in_the_header")
    _with_pack(_kind, lambda workshop, pack: workshop.flip(FileType.PACK, pack, -4), "flipped_in_the_header_length")
    _with_pack(_kind, lambda workshop, pack: workshop.truncate(FileType.PACK, pack, -1), "one_byte_short")
    _with_pack(_kind, lambda workshop, pack: workshop.truncate(FileType.PACK, pack, 100), "almost_gone")
    _with_pack(_kind, lambda workshop, pack: workshop.truncate(FileType.PACK, pack, 0), "empty")
    _with_pack(_kind, lambda workshop, pack: workshop.change(
        FileType.PACK, pack, workshop.read(FileType.PACK, pack) + b"more"), "longer")
    _with_pack(_kind, lambda workshop, pack: workshop.change(
        FileType.PACK, pack, bytes(len(workshop.read(FileType.PACK, pack)))), "zeroed")


@damaged
def index_missing(workshop: Workshop) -> str:
    """Nothing says where any blob is."""
    for name in workshop.names(FileType.INDEX):
        workshop.remove(FileType.INDEX, name)
    return workshop.names(FileType.SNAPSHOT)[0][:8]


def _with_unpacked(file_type: FileType, change: Callable[[Workshop, str], None], name: str) -> None:
    def breaker(workshop: Workshop) -> str:
        found = workshop.names(file_type)[0]
        change(workshop, found)
        return found[:8]

    DAMAGED[f"{file_type.name.lower()}_{name}"] = breaker


for _type in (FileType.INDEX, FileType.SNAPSHOT):
    _with_unpacked(_type, lambda workshop, name, t=_type: workshop.flip(t, name, 50), "flipped")
    _with_unpacked(_type, lambda workshop, name, t=_type: workshop.truncate(t, name, -1), "one_byte_short")
    _with_unpacked(_type, lambda workshop, name, t=_type: workshop.truncate(t, name, 0), "empty")
    _with_unpacked(_type, lambda workshop, name, t=_type: workshop.change(t, name, bytes(200)), "zeroed")


def _sealed_garbage(file_type: FileType, plain: bytes, name: str) -> None:
    def breaker(workshop: Workshop) -> str:
        return workshop.add_raw(file_type, plain)[:8]

    DAMAGED[f"{file_type.name.lower()}_{name}"] = breaker


for _type in (FileType.INDEX, FileType.SNAPSHOT):
    _sealed_garbage(_type, b"nonsense", "that_is_no_json")
    _sealed_garbage(_type, b'{"packs":7,"time":7,"tree":7}', "of_wrong_types")
    _sealed_garbage(_type, b"\x02not zstd at all", "that_does_not_decompress")


@damaged
def snapshot_under_another_name(workshop: Workshop) -> str:
    """Its content is sound, but its name is not the hash of it."""
    name = workshop.names(FileType.SNAPSHOT)[0]
    content = workshop.read(FileType.SNAPSHOT, name)
    workshop.remove(FileType.SNAPSHOT, name)
    workshop.write(FileType.SNAPSHOT, content, "ab" * 32)
    return "ab" * 4


@damaged
def snapshot_of_a_missing_tree(workshop: Workshop) -> str:
    return workshop.add_snapshot(Id(bytes.fromhex("cd" * 32))) and "cd" * 4


@sound
def snapshot_missing(workshop: Workshop) -> str:
    """A forgotten snapshot and a lost one look alike."""
    workshop.remove(FileType.SNAPSHOT, workshop.names(FileType.SNAPSHOT)[0])
    return ""


# --- an index that lies -----------------------------------------------------------------------


def _index_lie(change: Callable[[list[repository_workshop.IndexPack]], None], name: str,
               register: Callable[[Break], Break], kind: str = "data") -> None:
    def breaker(workshop: Workshop) -> str:
        packs = copying.deepcopy(workshop.all_index_packs())
        packs.sort(key=lambda pack: (pack.blobs[0].type != kind, -len(pack.blobs)))
        change(packs)
        workshop.replace_index(packs)
        return packs[0].id[:8] if packs else ""

    breaker.__name__ = f"index_{name}"
    register(breaker)


def _set(field: str, value: object) -> Callable[[list[repository_workshop.IndexPack]], None]:
    def change(packs: list[repository_workshop.IndexPack]) -> None:
        setattr(packs[0].blobs[0], field, value)

    return change


_index_lie(_set("id", "ef" * 32), "with_a_wrong_blob_id", damaged)
_index_lie(_set("offset", 3), "with_a_wrong_offset", damaged)
_index_lie(_set("length", 40), "with_a_wrong_length", damaged)
_index_lie(_set("length", 2**31), "with_a_length_behind_the_end", damaged)
_index_lie(_set("uncompressed_length", 7), "with_a_wrong_plain_length", damaged)
_index_lie(_set("type", "tree"), "with_a_wrong_type", damaged)
_index_lie(_set("id", "ef" * 32), "with_a_wrong_tree_id", damaged, "tree")
_index_lie(lambda packs: packs[0].blobs.pop(), "that_forgets_a_blob", damaged)
_index_lie(lambda packs: setattr(packs[0], "id", "aa" * 32), "with_a_wrong_pack_id", damaged)
_index_lie(lambda packs: packs.append(copying.deepcopy(packs[0])), "that_names_a_pack_twice", sound)
_index_lie(lambda packs: packs[0].blobs.reverse(), "in_another_order", sound)


@damaged
def index_that_forgets_a_pack(workshop: Workshop) -> str:
    gone = data_pack(workshop)
    lost = {blob.id for pack in workshop.all_index_packs() if pack.id == gone for blob in pack.blobs}
    workshop.replace_index([pack for pack in workshop.all_index_packs() if pack.id != gone])
    return min(lost)[:0]


# --- packs that lie ---------------------------------------------------------------------------


def _pack_with(workshop: Workshop, content: bytes, *, claimed: Id | None = None, length: int | None = None,
               header: Callable[[list[PackedBlob]], bytes] | None = None) -> str:
    sealed, plain_length = workshop.sealed(BlobType.DATA, content)
    blob_id = claimed or hash_id(content)
    plain = plain_length if length is None else length
    made = None
    if header is not None:
        made = header([PackedBlob(BlobType.DATA, blob_id, Id(b""), 0, len(sealed), plain)])
    return workshop.add_pack([(BlobType.DATA, blob_id, sealed, plain)], header=made)


@damaged
def pack_with_a_blob_under_a_wrong_id(workshop: Workshop) -> str:
    return _pack_with(workshop, b"content" * 90, claimed=Id(b"\x11" * 32))[:8]


@damaged
def pack_with_a_blob_that_nobody_sealed(workshop: Workshop) -> str:
    content = os.urandom(300)
    return workshop.add_pack([(BlobType.DATA, hash_id(content), content, 0)])[:8]


@damaged
def pack_with_a_header_that_lies(workshop: Workshop) -> str:
    return _pack_with(workshop, b"content" * 90, header=lambda blobs: workshop.header(
        [blob._replace(length=blob.length - 1) for blob in blobs]))[:8]


@damaged
def pack_with_a_header_of_another_id(workshop: Workshop) -> str:
    return _pack_with(workshop, b"content" * 90, header=lambda blobs: workshop.header(
        [blob._replace(id=Id(b"\x22" * 32)) for blob in blobs]))[:8]


@damaged
def pack_whose_name_is_not_its_hash(workshop: Workshop) -> str:
    pack = _pack_with(workshop, b"content" * 90)
    content = workshop.read(FileType.PACK, pack)
    packs = workshop.all_index_packs()
    workshop.remove(FileType.PACK, pack)
    workshop.write(FileType.PACK, content, "bb" * 32)
    for found in packs:
        if found.id == pack:
            found.id = "bb" * 32
    workshop.replace_index(packs)
    return "bb" * 4


@sound
def a_pack_that_no_index_names(workshop: Workshop) -> str:
    sealed, length = workshop.sealed(BlobType.DATA, b"orphan" * 50)
    workshop.add_pack([(BlobType.DATA, hash_id(b"orphan" * 50), sealed, length)], index=False)
    return ""


@sound
def a_blob_in_two_packs(workshop: Workshop) -> str:
    for filler in (b"1", b"2"):
        contents = []
        for content in (b"twice" * 50, filler * 99):
            sealed, length = workshop.sealed(BlobType.DATA, content)
            contents.append((BlobType.DATA, hash_id(content), sealed, length))
        workshop.add_pack(contents)
    return ""


@sound
def unused_blobs(workshop: Workshop) -> str:
    _pack_with(workshop, b"nobody wants this" * 9)
    return ""


# --- trees that lie ---------------------------------------------------------------------------


def _bad_tree(document: Callable[[Workshop], bytes], name: str, register: Callable[[Break], Break],
              named: str = "") -> None:
    def breaker(workshop: Workshop) -> str:
        made = document(workshop)
        workshop.add_tree_snapshot(made)
        return named or hash_id(made).hex()[:8]

    breaker.__name__ = f"tree_{name}"
    register(breaker)


MISSING = "ee" * 32
_bad_tree(lambda _: b"nonsense", "that_is_no_json", damaged)
_bad_tree(lambda _: b'{"nodes":7}\n', "of_wrong_types", damaged)
_bad_tree(lambda _: tree(node("x", "dir", f',"subtree":"{MISSING}"')), "with_a_missing_folder", damaged, MISSING[:8])
_bad_tree(lambda _: tree(node("x", "dir")), "with_a_folder_without_tree", damaged)
_bad_tree(lambda _: tree(node("x", "dir", f',"subtree":"{"0" * 64}"')), "with_a_folder_of_a_null_tree", damaged,
          "/x in snapshot")
_bad_tree(lambda _: tree(node("x", "file", f',"size":9,"content":["{MISSING}"]')), "with_a_missing_blob", damaged,
          MISSING[:8])
_bad_tree(lambda _: tree(node("x", "file", ',"size":9,"content":["zz"]')), "with_a_content_that_is_no_id", damaged)
_bad_tree(lambda _: tree(node("x", "wormhole")), "with_an_unknown_type", damaged)
_bad_tree(lambda _: tree(node("", "fifo")), "with_a_nameless_node", damaged)
_bad_tree(lambda _: b'{"nodes":[]}\n', "that_is_empty", sound)
_bad_tree(lambda _: tree(node("x", "socket"), node("y", "fifo"), node("z", "symlink", ',"linktarget":"x"')),
          "of_special_files", sound)


# --- strange files ----------------------------------------------------------------------------


@sound
def leftovers_in_the_folders(workshop: Workshop) -> str:
    (workshop.folder / "data" / "00").mkdir(exist_ok=True)
    (workshop.folder / "data" / "00" / (data_pack(workshop) + "-tmp-123")).write_bytes(b"half")
    (workshop.folder / "README.txt").write_text("hello")
    (workshop.folder / "snapshots" / ".hidden").write_text("x")
    return ""


@sound
def a_stale_lock(workshop: Workshop) -> str:
    document = {"time": "2020-01-01T00:00:00Z", "exclusive": False, "hostname": "elsewhere", "username": "u",
                "pid": 1, "uid": 0, "gid": 0}
    workshop.repository.save_unpacked(FileType.LOCK, json.dumps(document).encode())
    return ""


@unreadable
def config_missing(workshop: Workshop) -> str:
    workshop.remove(FileType.CONFIG, "")
    return "no repository"


@unreadable
def config_flipped(workshop: Workshop) -> str:
    workshop.flip(FileType.CONFIG, "", 40)
    return "config"


@unreadable
def config_empty(workshop: Workshop) -> str:
    workshop.truncate(FileType.CONFIG, "", 0)
    return "config"


def _config(change: dict[str, object], name: str) -> None:
    def breaker(workshop: Workshop) -> str:
        document = {"version": 2, "id": "ab" * 32, "chunker_polynomial": "3dea92648f6e83"} | change
        workshop.change(FileType.CONFIG, "", bytes(workshop.key.seal(json.dumps(document).encode())))
        return ""

    UNREADABLE[f"config_{name}"] = breaker


_config({"version": 3}, "of_the_future")
_config({"version": 0}, "of_version_zero")
_config({"version": "2"}, "of_wrong_types")


@unreadable
def keys_missing(workshop: Workshop) -> str:
    for name in workshop.names(FileType.KEY):
        workshop.remove(FileType.KEY, name)
    return ""


@unreadable
def key_zeroed(workshop: Workshop) -> str:
    name = workshop.names(FileType.KEY)[0]
    workshop.change(FileType.KEY, name, bytes(300))
    return ""


# --- the tests --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one sound snapshot."""
    base = tmp_path_factory.mktemp("broken")
    repository_workshop.make_source(base / "source")
    repository_workshop.create(base / "repository")
    workshop = Workshop(base / "repository")
    back_up(workshop.repository, BackupOptions(paths=(os.fsencode(base / "source"),)))
    workshop.repository.close()
    return base / "repository"


def _judge(template: Path, tmp_path: Path, binary: str, breaker: Break,
           patience_seconds: float = PATIENCE_SECONDS) -> tuple[str, int, str, int, str]:
    """Break a copy; return what is to be named, and code and words of ours and of restic's check."""
    workshop = repository_workshop.copy(template, tmp_path / "repository")
    named = breaker(workshop)
    workshop.repository.close()
    process = Kuramori(tmp_path / "repository", PASSWORD).start("check", "--read-data", stdout=-1, stderr=-1)
    stdout, stderr = process.communicate(timeout=120)
    said = stdout.decode() + stderr.decode()
    assert "Traceback" not in said
    restic = Restic(binary, tmp_path / "repository", PASSWORD, home=tmp_path)
    try:
        theirs = restic.run("check", "--read-data", codes=(), timeout_seconds=patience_seconds)
    except subprocess.TimeoutExpired:
        return named, process.returncode, said, 1, "still trying again"
    return named, process.returncode, said, theirs.code, theirs.stdout + theirs.stderr


def test_the_template_is_sound(template: Path, tmp_path: Path, restic_binary: str) -> None:
    _, ours, said, theirs, _ = _judge(template, tmp_path, restic_binary, lambda workshop: "", 120)
    assert (ours, theirs) == (0, 0), said


@pytest.mark.exhaustive(except_each=5)
@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_named(template: Path, tmp_path: Path, restic_binary: str, kind: str) -> None:
    named, ours, said, theirs, heard = _judge(template, tmp_path, restic_binary, DAMAGED[kind])
    assert (ours, theirs != 0) == (1, True), f"{said}\n---\n{heard}"
    assert named in said


@pytest.mark.exhaustive(except_each=3)
@pytest.mark.parametrize("kind", SOUND)
def test_what_is_only_untidy_is_sound(template: Path, tmp_path: Path, restic_binary: str, kind: str) -> None:
    _, ours, said, theirs, heard = _judge(template, tmp_path, restic_binary, SOUND[kind], 120)
    assert (ours, theirs) == (0, 0), f"{said}\n---\n{heard}"


@pytest.mark.parametrize("kind", [*DAMAGED, *SOUND])
def test_packs_that_are_read_ahead_make_no_difference(template: Path, tmp_path: Path, kind: str,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not the index, which says what should be in a pack, is known when the pack is read."""
    monkeypatch.setattr(check_data, "_WORTH_A_WORKER", 0)
    workshop = repository_workshop.copy(template, tmp_path / "repository")
    {**DAMAGED, **SOUND}[kind](workshop)
    workshop.repository.close()
    found = []
    for threads in (1, 2):
        with closing(open_repository(LocalBackend(tmp_path / "repository"), Secret(PASSWORD))) as repository:
            result = check(repository, CheckOptions(read_data=True, no_lock=True, read_concurrency=threads))
        errors = sorted(error.text() for error in result.errors)
        hints = sorted(hint.text() for hint in result.hints)
        found.append((errors, hints, result.broken_packs, result.packs_read, result.bytes_read, result.trees))
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", UNREADABLE)
def test_no_repository_is_left(template: Path, tmp_path: Path, restic_binary: str, kind: str) -> None:
    named, ours, said, theirs, heard = _judge(template, tmp_path, restic_binary, UNREADABLE[kind])
    assert (ours != 0, theirs != 0) == (True, True), f"{said}\n---\n{heard}"
    assert named in said
    assert len(said.strip().splitlines()) <= 2
