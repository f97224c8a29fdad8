"""Repositories in Google Cloud Storage: ``gs:bucket:/prefix`` (format section 7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from obstore.store import GCSStore

from kuramori.errors import N_, MissingCredentialsError, Phrase, StoreOptionError, UnknownLocationError
from kuramori.storage.access import DEFAULT_CONNECTIONS, StoreAccess
from kuramori.storage.http_address import HttpAddress, parse_http_address
from kuramori.storage.http_pools import proxy_for
from kuramori.storage.object_failures import ObjectFailures
from kuramori.storage.object_store import (
    ObjectStoreBackend,
    client_options,
    no_patience,
    parse_bucket_address,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSConfig

_VARIABLES = "GOOGLE_APPLICATION_CREDENTIALS (or GOOGLE_ACCESS_TOKEN)"
_SERVER = "https://storage.googleapis.com"
_PIECE_SIZE = 5 << 20
"""The smallest part that Google takes."""
_PATIENCE_FOR_A_PIECE = 5
"""A part must be sent within so many times the length of a silence that is a failure."""


def open_gs(address: str, access: StoreAccess) -> ObjectStoreBackend:
    """Return the store at ``bucket:/prefix``. Nothing is asked yet.

    Who we are say GOOGLE_ACCESS_TOKEN, the file GOOGLE_APPLICATION_CREDENTIALS, what ``gcloud auth
    application-default login`` left in the home folder, or the machine itself. STORAGE_EMULATOR_HOST names another
    server than Google's.

    Raises:
        UnknownLocationError, StoreOptionError, MissingCredentialsError: the address or a variable cannot be used.
        CertificateFileError: the access cannot be used.
    """
    place = parse_bucket_address(address)
    location = f"gs:{place.bucket}:/{place.prefix}"
    server = _server(access)
    failures = ObjectFailures(location, "Google Cloud Storage", place.bucket, host=server.place,
                              variables=_VARIABLES, proxied=proxy_for(server, access.variables) is not None)
    configuration = _configuration(location, server, access)

    def client(silence_seconds: float) -> GCSStore:
        options: ClientConfig = client_options(server, access, silence_seconds=silence_seconds)
        with failures.of_configuration():
            return GCSStore(place.bucket, config=configuration, client_options=options, retry_config=no_patience())

    return ObjectStoreBackend(client(access.stall_seconds), place, failures,
                              uploads=client(access.stall_seconds * _PATIENCE_FOR_A_PIECE),
                              connections=access.connections or DEFAULT_CONNECTIONS, piece_size=_PIECE_SIZE)


def _server(access: StoreAccess) -> HttpAddress:
    emulator = access.variables.get("STORAGE_EMULATOR_HOST", "")
    address = emulator if "://" in emulator or not emulator else f"http://{emulator}"
    try:
        return parse_http_address(address or _SERVER)
    except UnknownLocationError as error:
        raise StoreOptionError(option="STORAGE_EMULATOR_HOST", value=emulator,
                               detail=N_("it is no address such as http://host:port")) from error


def _configuration(location: str, server: HttpAddress, access: StoreAccess) -> GCSConfig:
    variables = access.variables
    found: GCSConfig = {"base_url": server.origin}
    if token := variables.get("GOOGLE_ACCESS_TOKEN"):
        found["bearer_token"] = token
        return found
    named = variables.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    left = Path(variables.get("HOME", "/"), ".config", "gcloud", "application_default_credentials.json")
    if named and not Path(named).is_file():
        raise MissingCredentialsError(
            location=location, operation="get", name="credentials", variables=_VARIABLES,
            detail=Phrase(N_("{path!s} cannot be read: {reason!s}"), path=named, reason="No such file or directory"))
    if named or left.is_file():
        found["application_credentials"] = named or str(left)
    return found
