"""``kuramori cat``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.translation import translate as _
from kuramori.errors import AmbiguousIdError, MissingBlobError, UsageError

if TYPE_CHECKING:
    from kuramori.repository.repository import Repository
    from kuramori.storage.backend import FileType

_KINDS = ("config", "masterkey", "snapshot", "index", "key", "lock", "pack", "blob", "tree")


@declare("cat", _("print an object of the repository\n\nKIND is config, masterkey, snapshot, index, key, lock, pack, "
                  "blob or tree; all but the first two need an ID."))
@click.argument("kind", type=click.Choice(_KINDS), metavar="KIND")
@click.argument("name", required=False, metavar="[ID]")
@pass_application
def command(application: Application, kind: str, name: str | None) -> None:
    """Print an object."""
    if name is None and kind not in ("config", "masterkey"):
        raise UsageError(detail=_("please name the {kind}").format(kind=kind))
    with application.open() as repository, application.lock(repository):
        sys.stdout.flush()
        sys.stdout.buffer.write(_content(repository, kind, name or ""))
        sys.stdout.buffer.flush()


def _content(repository: Repository, kind: str, name: str) -> bytes:
    from kuramori.model.config import encode_config
    from kuramori.storage.backend import FileType

    if kind == "config":
        return _pretty(encode_config(repository.config))
    if kind == "masterkey":
        return _pretty(_master_key(repository))
    if kind == "snapshot":
        from kuramori.repository.snapshots import find_snapshot

        return _pretty(repository.load_unpacked(FileType.SNAPSHOT, find_snapshot(repository, name).id))
    if kind in ("index", "lock"):
        file_type = FileType.INDEX if kind == "index" else FileType.LOCK
        return _pretty(repository.load_unpacked(file_type, _find(repository, file_type, name)))
    if kind == "key":
        return _pretty(repository.load_file(FileType.KEY, _find(repository, FileType.KEY, name)))
    if kind == "pack":
        return repository.load_file(FileType.PACK, _find(repository, FileType.PACK, name))
    return _blob(repository, kind, name)


def _pretty(document: bytes) -> bytes:
    import msgspec

    return msgspec.json.format(document, indent=2) + b"\n"


def _master_key(repository: Repository) -> bytes:
    from kuramori.model.json import go_json
    from kuramori.model.key_file import MacKey, MasterKeyFile

    encrypt, mac_k, mac_r = repository.key.reveal()
    return go_json(MasterKeyFile(mac=MacKey(k=mac_k, r=mac_r), encrypt=encrypt))


def _find(repository: Repository, file_type: FileType, prefix: str) -> str:
    names = [info.name for info in repository.backend.list(file_type) if info.name.startswith(prefix)]
    if not names:
        raise UsageError(detail=_("nothing begins with {prefix}").format(prefix=prefix))
    if len(names) > 1:
        raise AmbiguousIdError(name=prefix, count=len(names))
    return names[0]


def _blob(repository: Repository, kind: str, name: str) -> bytes:
    from kuramori.ids import parse_id
    from kuramori.model.blob import BlobType
    from kuramori.repository.snapshots import resolve_tree

    repository.load_index()
    if kind == "tree":
        _stored, tree_id, _folder = resolve_tree(repository, name)
        return repository.load_blob(BlobType.TREE, tree_id)
    try:
        blob_id = parse_id(name)
    except ValueError:
        raise UsageError(detail=_("a blob is named by 64 hexadecimal digits")) from None
    for blob_type in BlobType:
        if repository.index.has(blob_type, blob_id):
            return repository.load_blob(blob_type, blob_id)
    raise MissingBlobError(kind="data", blob=name)
