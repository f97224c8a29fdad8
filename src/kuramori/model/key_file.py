"""A key file: the master key, sealed with a password (format section 1.3)."""

from __future__ import annotations

import msgspec

from kuramori.model.json import decode_json, go_json


class KeyFile(msgspec.Struct):
    """The plain JSON of a key file. The order of the fields is the order in the file."""

    created: str
    username: str
    hostname: str
    kdf: str
    N: int
    r: int
    p: int
    salt: bytes
    data: bytes


class MacKey(msgspec.Struct):
    """The two halves of the MAC key."""

    k: bytes
    r: bytes


class MasterKeyFile(msgspec.Struct):
    """What ``data`` of a key file holds once it is open."""

    mac: MacKey
    encrypt: bytes


def encode_key_file(key: KeyFile) -> bytes:
    """Return the JSON of a key file."""
    return go_json(key)


_DECODER = msgspec.json.Decoder(KeyFile)


def decode_key_file(document: bytes) -> KeyFile:
    """Return the key of a JSON document.

    Raises:
        msgspec.DecodeError: it is none (also ``ValidationError``).
    """
    return decode_json(_DECODER, document)
