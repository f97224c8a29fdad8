"""Reads restored files back and compares them with the snapshot (``--verify``)."""

from __future__ import annotations

import os
import stat
from collections.abc import Set

from kuramori.errors import N_, KuramoriError, Phrase, VerificationError
from kuramori.ids import Id, hash_id
from kuramori.model.blob import BlobType
from kuramori.model.names import display_text, name_problem
from kuramori.model.node import Node
from kuramori.progress import Progress
from kuramori.repository.repository import Repository
from kuramori.restoring.jobs import RestoreResult
from kuramori.restoring.selection import Selection
from kuramori.restoring.target import TargetFolder, join

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def verify_files(repository: Repository, target: TargetFolder, selection: Selection, tree_id: Id,
                 left_standing: Set[bytes], result: RestoreResult, progress: Progress) -> None:
    """Compare every selected regular file with the hashes of its blobs. Differences become errors
    of the result; files that failed before are not named again, and what ``overwrite`` left standing
    (``left_standing``, paths in the target) is not what the snapshot has and is passed over."""
    progress.start("verify", result.items_total, result.bytes_total)
    failed = {str(error.fields.get("path")) for error in result.errors}
    stack = [(b"", b"", tree_id)]
    while stack:
        path, folder, tree = stack.pop()
        try:
            nodes = repository.load_tree(tree).nodes
        except KuramoriError:
            continue  # the restore has named it
        for node in nodes:
            try:
                name = node.name_bytes
            except ValueError:
                continue
            inner = path + b"/" + name
            selected, inside = selection.select(inner, node.type == "dir")
            if name_problem(name) is not None or display_text(inner) in failed:
                continue
            if node.type == "dir" and inside and node.subtree is not None:
                stack.append((inner, join(folder, name), Id(bytes.fromhex(node.subtree))))
            elif node.type == "file" and selected and join(folder, name) not in left_standing:
                _verify_file(repository, target, folder, name, inner, node, result, progress)
    progress.finish()


def _verify_file(repository: Repository, target: TargetFolder, folder: bytes, name: bytes, path: bytes, node: Node,
                 result: RestoreResult, progress: Progress) -> None:
    problem = _difference(repository, target, folder, name, node)
    if problem:
        error = VerificationError(path=display_text(path), detail=problem)
        result.errors.append(error)
        progress.warning(error)
        return
    result.files_verified += 1
    progress.advance(1, node.size)
    progress.item("verified", display_text(path), node.size)


def _difference(repository: Repository, target: TargetFolder, folder: bytes, name: bytes, node: Node) -> str | Phrase:
    try:
        with target.folder(folder) as directory:
            fd = os.open(name, _READ, dir_fd=directory)
    except OSError as error:
        return error.strerror or str(error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return N_("it is not a regular file")
        offset = 0
        for text in node.content_ids:
            length = repository.plain_length(BlobType.DATA, Id(bytes.fromhex(text)))
            if length is None:
                return Phrase(N_("blob {id} is not in the index"), id=text)
            if hash_id(os.pread(fd, length, offset)).hex() != text:
                return Phrase(N_("its content differs at byte {offset}"), offset=offset)
            offset += length
        if status.st_size != offset:
            return Phrase(N_("it has {found} bytes instead of {size}"), found=status.st_size, size=offset)
        return ""
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(fd)
