"""Listings of restic's REST servers and of S3 stores that lie: empty, or as they were some time ago."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit


class Write(NamedTuple):
    """An upload or a removal that a server carried out."""

    path: str
    """Of the file, without query."""
    kind: str
    name: str
    size: int | None
    """Bytes that were uploaded; None for a removal."""


def write_of(target: str, kind: str, name: str, size: int | None) -> Write:
    """Return what a request to ``target`` changed."""
    return Write(unquote(urlsplit(target).path), kind, name, size)


def empty_listing(body: bytes) -> bytes:
    """Return a listing in which nothing is."""
    return _edited(body, lambda name: False, ())


def stale_listing(body: bytes, kind: str, writes: Sequence[Write], count: int) -> bytes:
    """Return a listing as it was before the last ``count`` of those ``writes`` that are of ``kind``.

    Removals of what was not uploaded before do not count: an S3 store confirms also those of what was never there.
    """
    sizes = {write.name: write.size for write in writes if write.kind == kind and write.size is not None}
    changes = [write for write in writes if write.kind == kind and write.name in sizes]
    first: dict[str, Write] = {}
    for write in changes[max(len(changes) - count, 0):]:
        first.setdefault(write.name, write)  # only the first change tells how it was before
    gone = {name for name, write in first.items() if write.size is not None}
    back = [(write.path, name, sizes[name]) for name, write in first.items() if write.size is None]
    return _edited(body, lambda name: name not in gone, back)


def _edited(body: bytes, keep: Callable[[str], bool], more: Sequence[tuple[str, str, int]]) -> bytes:
    if body.lstrip().startswith(b"<"):
        return _edited_xml(body, keep, more)
    entries: list[Any] = [entry for entry in json.loads(body) or [] if keep(_name(entry))]
    plain = any(isinstance(entry, str) for entry in json.loads(body) or [])  # version 1 of the protocol
    there = {_name(entry) for entry in entries}
    entries += [name if plain else {"name": name, "size": size} for _, name, size in more if name not in there]
    return json.dumps(entries).encode()


def _name(entry: Any) -> str:
    return str(entry["name"] if isinstance(entry, dict) else entry)


def _edited_xml(body: bytes, keep: Callable[[str], bool], more: Sequence[tuple[str, str, int]]) -> bytes:
    root = ElementTree.fromstring(body)
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    if space:
        ElementTree.register_namespace("", space[1:-1])
    there = set()
    for entry in root.findall(f"{space}Contents"):
        name = (entry.findtext(f"{space}Key") or "").rpartition("/")[2]
        there.add(name)
        if not keep(name):
            root.remove(entry)
    for path, name, size in more:
        if name in there:
            continue
        entry = ElementTree.SubElement(root, f"{space}Contents")
        key = path.lstrip("/").partition("/")[2]  # without the bucket
        for field, value in (("Key", key), ("LastModified", "2026-01-01T00:00:00.000Z"), ("ETag", '"0"'),
                             ("Size", str(size)), ("StorageClass", "STANDARD")):
            ElementTree.SubElement(entry, f"{space}{field}").text = value
    found = root.find(f"{space}KeyCount")
    if found is not None:
        found.text = str(len(root.findall(f"{space}Contents")))
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root)
