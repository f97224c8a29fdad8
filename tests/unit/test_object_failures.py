"""What object stores answer, as errors of our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError, PermissionDeniedError

from kuramori.errors import (
    ArchivedObjectError,
    ExpiredCredentialsError,
    FileNotInStorageError,
    MissingCredentialsError,
    NoSuchBucketError,
    NotARepositoryServerError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
    WrongClockError,
    WrongCredentialsError,
    WrongRegionError,
)
from kuramori.storage.object_failures import ObjectFailures


def _failures() -> ObjectFailures:
    return ObjectFailures("s3:http://host/bucket", "S3", "bucket", host="host:80", variables="THE_VARIABLES")


def _body(code: str, message: str = "so it is", more: str = "") -> bytes:
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n <Code>{code}</Code><Message>{message}</Message>{more}'
            f"<RequestId>1</RequestId></Error>").encode()


@pytest.mark.parametrize(("status", "code", "kind"), [
    (404, "NoSuchBucket", NoSuchBucketError), (404, "ContainerNotFound", NoSuchBucketError),
    (404, "NoSuchKey", FileNotInStorageError), (404, "BlobNotFound", FileNotInStorageError),
    (403, "AccessDenied", StoragePermissionError), (403, "InvalidAccessKeyId", WrongCredentialsError),
    (403, "SignatureDoesNotMatch", WrongCredentialsError), (403, "AuthenticationFailed", WrongCredentialsError),
    (401, "Whatever", WrongCredentialsError), (400, "ExpiredToken", ExpiredCredentialsError),
    (400, "TokenRefreshRequired", ExpiredCredentialsError), (403, "RequestTimeTooSkewed", WrongClockError),
    (403, "InvalidObjectState", ArchivedObjectError), (301, "PermanentRedirect", WrongRegionError),
    (400, "AuthorizationHeaderMalformed", WrongRegionError), (403, "QuotaExceeded", StorageFullError),
    (507, "XMinioStorageFull", StorageFullError), (503, "SlowDown", StorageRetryableError),
    (500, "InternalError", StorageRetryableError), (400, "BadDigest", StorageRetryableError),
    (400, "RequestTimeout", StorageRetryableError), (400, "XAmzContentSHA256Mismatch", StorageRetryableError),
    (409, "OperationAborted", StorageRetryableError), (429, "TooManyRequests", StorageRetryableError),
])
def test_codes(status: int, code: str, kind: type[StorageError]) -> None:
    error = _failures().of_status(status, {}, _body(code), "load", "config")
    assert type(error) is kind
    assert error.retryable is (kind is StorageRetryableError)
    assert "s3:http://host/bucket" in str(error)
    if kind in (WrongCredentialsError, ExpiredCredentialsError):
        assert "THE_VARIABLES" in str(error)


def test_what_makes_no_sense_is_final() -> None:
    error = _failures().of_status(400, {}, _body("MalformedXML", "the &quot;body&quot; is\nbad"), "save", "config")
    assert type(error) is StorageError
    assert 'MalformedXML: the "body" is' in str(error)


def test_the_right_region_is_named() -> None:
    body = _body("AuthorizationHeaderMalformed", more="<Region>eu-central-1</Region>")
    error = _failures().of_status(400, {}, body, "load", "config")
    assert "eu-central-1" in str(error)
    assert "s3.region" in str(error)


def test_how_long_to_wait() -> None:
    error = _failures().of_status(503, {"Retry-After": "17"}, _body("SlowDown"), "save", "config")
    assert error.fields["retry_after"] == 17


@pytest.mark.parametrize("status", [200, 404, 405, 418])
def test_a_server_that_is_none_is_told_until_it_was_once_right(status: int) -> None:
    failures = _failures()
    assert isinstance(failures.of_status(status, {}, b"<html>", "load", "config"), NotARepositoryServerError)
    failures.of_status(403, {}, _body("AccessDenied"), "load", "config")
    assert not isinstance(failures.of_status(status, {}, b"<html>", "load", "config"), NotARepositoryServerError)


def test_signatures_in_urls_are_not_shown() -> None:
    url = "https://account.blob.core.windows.net/container/config?sv=2024&sig=SIGNATURE"
    texts = [
        (f"Error performing GET {url} in 1ms - Server returned non-2xx status code: 403 Forbidden: "
        f"{_body('AuthenticationFailed').decode()}\n\nDebug source:\nPermissionDenied {{ uri: {url} }}"),
        (f"Error performing GET {url} in 1ms - HTTP error: error sending request\n\nDebug source: HttpError {{\n kind: "
        f"Timeout, {url} }}"),
        f"Something else about {url}",
    ]
    for text in texts:
        for error in (GenericError(text), PermissionDeniedError(text)):
            assert "SIGNATURE" not in str(_failures().of_obstore(error, "load", "config"))


def test_nobody_gives_credentials() -> None:
    text = "Error performing GET http://169.254.169.254/metadata/identity - HTTP error: HttpError { kind: Connect, }"
    error = _failures().of_obstore(GenericError(text), "load", "config")
    assert isinstance(error, MissingCredentialsError)
    assert "THE_VARIABLES" in str(error)


@given(status=st.integers(100, 999), body=st.binary(max_size=300), operation=st.sampled_from(["load", "list", "save"]))
def test_every_answer_is_some_error(status: int, body: bytes, operation: str) -> None:
    error = _failures().of_status(status, {}, body, operation, "config")
    assert isinstance(error, StorageError)
    assert str(error)


@given(st.text(max_size=300))
def test_every_text_of_the_library_is_some_error(text: str) -> None:
    for error in (GenericError(text), FileNotFoundError(text), ValueError(text)):
        assert isinstance(_failures().of_obstore(error, "load", "config"), StorageError)
