"""Repositories in Azure Blob Storage: ``azure:container:/prefix`` (format section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obstore.store import AzureStore

from kuramori.errors import N_, MissingCredentialsError, StoreOptionError, UnknownLocationError
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
    from obstore.store import AzureConfig

_VARIABLES = "AZURE_ACCOUNT_NAME and AZURE_ACCOUNT_KEY (or AZURE_ACCOUNT_SAS)"
_PIECE_SIZE = 1 << 20
"""A block. All of it must be sent within the time after which a silence is a failure: with five uploads at once that
asks for 0.4 megabit per second."""


def open_azure(address: str, access: StoreAccess) -> ObjectStoreBackend:
    """Return the store at ``container:/prefix``. Nothing is asked yet.

    The account is AZURE_ACCOUNT_NAME; who we are say AZURE_ACCOUNT_KEY, AZURE_ACCOUNT_SAS, the variables of a service
    principal (AZURE_TENANT_ID and its like), the ``az`` program (AZURE_FORCE_CLI_CREDENTIAL), or the machine itself.
    The option ``azure.endpoint`` names another server than Azure's, with the account in its path.

    Raises:
        UnknownLocationError, StoreOptionError, MissingCredentialsError: the address, an option or a variable cannot be
            used.
        CertificateFileError: the access cannot be used.
    """
    place = parse_bucket_address(address)
    location = f"azure:{place.bucket}:/{place.prefix}"
    account = access.variables.get("AZURE_ACCOUNT_NAME", "")
    if not account:
        raise MissingCredentialsError(location=location, operation="get", name="credentials", variables=_VARIABLES,
                                      detail=N_("the name of the account is missing"))
    server = _server(account, access)
    failures = ObjectFailures(location, "Azure", place.bucket, host=server.place, variables=_VARIABLES,
                              proxied=proxy_for(server, access.variables) is not None)
    options = client_options(server, access, silence_seconds=access.stall_seconds)
    with failures.of_configuration():
        client = AzureStore(place.bucket, config=_configuration(account, server, access), client_options=options,
                            retry_config=no_patience())
    return ObjectStoreBackend(client, place, failures, uploads=client,
                              connections=access.connections or DEFAULT_CONNECTIONS, piece_size=_PIECE_SIZE)


def _server(account: str, access: StoreAccess) -> HttpAddress:
    endpoint = access.options.get("azure.endpoint", "")
    suffix = access.variables.get("AZURE_ENDPOINT_SUFFIX") or "core.windows.net"
    try:
        return parse_http_address(endpoint or f"https://{account}.blob.{suffix}/")
    except UnknownLocationError as error:
        raise StoreOptionError(option="azure.endpoint", value=endpoint or suffix,
                               detail=N_("it is no address such as https://host:10000/account")) from error


def _configuration(account: str, server: HttpAddress, access: StoreAccess) -> AzureConfig:
    variables = access.variables
    found: AzureConfig = {"account_name": account, "endpoint": server.origin + server.path.rstrip("/")}
    if variables.get("AZURE_FORCE_CLI_CREDENTIAL", "").lower() in ("1", "true", "yes", "t"):
        found["use_azure_cli"] = True
    elif key := variables.get("AZURE_ACCOUNT_KEY"):
        found["account_key"] = key
    elif signature := variables.get("AZURE_ACCOUNT_SAS"):
        found["sas_key"] = signature.removeprefix("?")
    else:
        if tenant := variables.get("AZURE_TENANT_ID"):
            found["tenant_id"] = tenant
        if client := variables.get("AZURE_CLIENT_ID"):
            found["client_id"] = client
        if secret := variables.get("AZURE_CLIENT_SECRET"):
            found["client_secret"] = secret
        if token_file := variables.get("AZURE_FEDERATED_TOKEN_FILE"):
            found["federated_token_file"] = token_file
    return found
