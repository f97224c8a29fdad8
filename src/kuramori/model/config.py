"""The ``config`` file of a repository (format section 1.4)."""

from __future__ import annotations

import msgspec

from kuramori.errors import N_
from kuramori.ids import is_hex_id
from kuramori.model.json import decode_json, go_json
from kuramori.model.polynomial import is_irreducible


class RepositoryConfig(msgspec.Struct):
    """What a repository is. The order of the fields is the order in the file."""

    version: int
    id: str
    chunker_polynomial: str


def encode_config(config: RepositoryConfig) -> bytes:
    """Return the JSON of the config."""
    return go_json(config)


_DECODER = msgspec.json.Decoder(RepositoryConfig)
_LONGEST_POLYNOMIAL = 16
"""Hexadecimal digits: it has 64 bits."""


def decode_config(document: bytes) -> RepositoryConfig:
    """Return the config of a JSON document.

    Raises:
        ValueError: it is none, or its version, id or polynomial is not allowed.
    """
    config = decode_json(_DECODER, document)
    if config.version not in (1, 2):
        raise ValueError(f"repository version {config.version} is not known")
    if not is_hex_id(config.id):
        raise ValueError(N_("the id of the repository is malformed"))
    if len(config.chunker_polynomial) > _LONGEST_POLYNOMIAL or not is_irreducible(int(config.chunker_polynomial, 16)):
        raise ValueError(N_("the chunker polynomial is not irreducible"))
    return config
