"""What object stores and the library that speaks with them say went wrong, as our own errors.

The library (obstore) hands errors over as text. Of that text only the status, the code and the message of the server's
answer are taken, and the kind of a broken connection: never a URL, which may hold a signature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape

from obstore.exceptions import BaseError

from kuramori.errors import (
    N_,
    ArchivedObjectError,
    ExpiredCredentialsError,
    FileNotInStorageError,
    MissingCredentialsError,
    NoSuchBucketError,
    NotARepositoryServerError,
    OddObjectError,
    Phrase,
    ProxyAwayError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
    StoreUnreachableError,
    UnknownHostError,
    UntrustedServerError,
    WrongClockError,
    WrongCredentialsError,
    WrongRegionError,
    printable,
)
from kuramori.storage.http_failures import HttpFailures, retry_after

_ANSWERED = re.compile(r"status code: (\d{3})\b(.*?)(?:\n\nDebug source|\Z)", re.DOTALL)
_CODE = re.compile(r"<Code>([A-Za-z0-9._-]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,2000})</Message>")
_REGION = re.compile(r"<Region>([A-Za-z0-9-]{1,40})</Region>")
_ODD_KEY = re.compile(r"object with invalid path:[^\"]*\"([^\"]+)\"", re.DOTALL)
_LONGEST_MESSAGE = 200

_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "FilesystemNotFound"})
_WRONG_CREDENTIALS = frozenset({
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed", "InvalidAuthenticationInfo",
    "InvalidSecurity", "NotSignedUp", "AccountProblem", "UnauthorizedAccess", "AuthenticationRequired"})
_EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired", "InvalidToken", "RequestExpired"})
_WRONG_REGION = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect",
                           "IllegalLocationConstraintException"})
_PASSING = frozenset({
    "RequestTimeout", "IncompleteBody", "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "Md5Mismatch",
    "OperationAborted", "ConditionalRequestConflict", "SlowDown", "InternalError", "ServiceUnavailable", "ServerBusy",
    "OperationTimedOut", "ContainerBeingDeleted"})
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "StorageQuotaExceeded", "XMinioStorageFull",
                   "XMinioAdminBucketQuotaExceeded", "AccountStorageQuotaExceeded"})
_METADATA_SERVICES = ("//169.254.169.254/", "//metadata.google.internal", "//metadata/")
_BUSY = frozenset({408, 409, 423, 425, 429})


class ObjectFailures(HttpFailures):
    """Makes errors of one object store: of answers to requests of our own, and of what obstore raises."""

    def __init__(self, location: str, kind: str, bucket: str, *, host: str, variables: str,
                 proxied: bool = False) -> None:
        """Name the store.

        Args:
            location: for people.
            kind: what the server shall be, such as ``S3``.
            bucket: where the objects lie.
            host: host, and port if it is not the usual one.
            variables: of credentials, for advice.
            proxied: whether obstore connects to a proxy.
        """
        super().__init__(location, kind)
        self.bucket = bucket
        self._host = host
        self._variables = variables
        self._proxied = proxied

    # --- answers -----------------------------------------------------------------------------

    def of_status(self, status: int, headers: Mapping[str, str], body: bytes, operation: str,
                  name: str) -> StorageError:
        """Return the error for an answer that is no success."""
        error = self._of_answer(status, body.decode("utf-8", "replace"), operation, name)
        wait = retry_after(headers)
        if isinstance(error, StorageRetryableError) and wait is not None:
            error.fields["retry_after"] = wait
        return error

    def _of_answer(self, status: int, text: str, operation: str, name: str) -> StorageError:
        found = _CODE.search(text)
        code = found[1] if found is not None else ""
        fields: dict[str, object] = {"location": self.location, "operation": operation, "name": name}
        detail = _detail(status, code, text)
        if found is not None:
            self.reached = True
        if code in _NO_BUCKET or (status == 404 and "bucket does not exist" in text):
            return NoSuchBucketError(**fields, bucket=self.bucket)
        if status == 404 and not code and (operation == "list" or (operation == "load" and not self.reached)):
            # An object store says what it does not find, but for questions that have no answer's body.
            return self.strange_answer(detail, operation, name)
        if status == 404:
            return FileNotInStorageError(**fields)
        return (self._of_credentials(status, code, text, {**fields, "detail": detail})
                or self._of_trouble(status, code, {**fields, "detail": detail}))

    def _of_credentials(self, status: int, code: str, text: str, fields: Mapping[str, object]) -> StorageError | None:
        if code == "RequestTimeTooSkewed":
            return WrongClockError(**fields)
        if code in _EXPIRED or (code == "AccessDenied" and "expired" in text.lower()):
            return ExpiredCredentialsError(**fields, variables=self._variables)
        if code in _WRONG_REGION or status == 301:
            region = _REGION.search(text)
            detail = Phrase(N_("it is in {region!s}"), region=region[1]) if region is not None else fields["detail"]
            return WrongRegionError(**{**fields, "detail": detail})
        if code in _WRONG_CREDENTIALS or status == 401:
            return WrongCredentialsError(**fields, variables=self._variables)
        if code == "InvalidObjectState":
            return ArchivedObjectError(**fields)
        if code in _FULL or status == 507:
            return StorageFullError(**fields)
        return None

    def _of_trouble(self, status: int, code: str, fields: Mapping[str, object]) -> StorageError:
        if status == 403:
            return StoragePermissionError(**fields)
        if code in _PASSING or status in _BUSY or (status >= 500 and status != 501):
            return StorageRetryableError(**fields)
        if code or 300 < status < 400:
            return StorageError(**fields)
        return self.strange_answer(str(fields["detail"]), str(fields["operation"]), str(fields["name"]))

    # --- obstore -----------------------------------------------------------------------------

    @contextmanager
    def of_configuration(self) -> Iterator[None]:
        """Raise what obstore says of credentials that it cannot use as an error of our own. Its text is left out: it
        may quote them."""
        try:
            yield
        except (BaseError, ValueError, OSError) as error:
            raise WrongCredentialsError(location=self.location, operation="read", name="credentials",
                                        detail=N_("they cannot be read"), variables=self._variables) from error

    def of_obstore(self, error: Exception, operation: str, name: str) -> StorageError:
        """Return the error of our own for one that obstore raised: one of its ``BaseError``, or ``FileNotFoundError``
        or ``ValueError``."""
        text = str(error)
        fields: dict[str, object] = {"location": self.location, "operation": operation, "name": name}
        if any(service in text for service in _METADATA_SERVICES):
            detail = N_("neither variables nor files nor this machine's metadata service give any")
            missing = MissingCredentialsError(**fields, variables=self._variables, detail=detail)
            return self._certain(missing, fields, N_("this machine's metadata service does not answer"))
        answered = _ANSWERED.search(text)
        if answered is not None:
            return self._of_answer(int(answered[1]), answered[2], operation, name)
        if isinstance(error, FileNotFoundError):
            return FileNotInStorageError(**fields)
        if "HttpError {" in text:
            return self._of_broken_connection(text, fields)
        if "Metadata {" in text or "MissingEtag" in text or "MissingContentLength" in text:
            return self.strange_answer(N_("its answers lack what must be in them"), operation, name)
        odd = _ODD_KEY.search(text)
        if odd is not None:
            return OddObjectError(**fields, key=printable(odd[1])[:_LONGEST_MESSAGE])
        if isinstance(error, ValueError):
            return StorageError(**fields, detail=text.partition("\n")[0])
        # Listings that cannot be read and ranges that were not asked for: transfers that went wrong.
        return StorageRetryableError(**fields, detail=N_("the answer is damaged or cut off"))

    def _of_broken_connection(self, text: str, fields: Mapping[str, object]) -> StorageError:
        if "dns error" in text:
            found = UnknownHostError(**fields, host=self._host)
            passing = "Temporary failure" in text or "Try again" in text
            return StorageRetryableError(**fields, detail=found) if passing else self._certain(found, fields, found)
        if "InvalidCertificate" in text:
            detail = N_("it cannot be verified")
            return self._certain(UntrustedServerError(**fields, detail=detail, host=self._host), fields, detail)
        if "InvalidContentType" in text or "InvalidMessage" in text:
            detail = N_("it does not speak TLS; write http:// if that is meant")
            return self._certain(NotARepositoryServerError(**fields, kind=self.kind, detail=detail), fields, detail)
        if "kind: Connect," in text:
            detail = N_("Connection refused") if "ConnectionRefused" in text else N_("no answer in time")
            if self._proxied:
                return ProxyAwayError(**fields, detail=detail)
            return StoreUnreachableError(**fields, host=self._host, detail=detail)
        if "kind: Timeout" in text or "TimedOut" in text:
            return StorageRetryableError(**fields, detail=N_("no answer in time"))
        return StorageRetryableError(**fields, detail=N_("the connection was closed"))


def _detail(status: int, code: str, text: str) -> str:
    """Return the code and the message of an answer, or its status."""
    if not code:
        return f"HTTP {status}"
    message = _MESSAGE.search(text)
    said = unescape(message[1]).splitlines()[0].strip()[:_LONGEST_MESSAGE] if message is not None else ""
    return f"{code}: {said}" if said else code
