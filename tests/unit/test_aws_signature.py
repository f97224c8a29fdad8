"""Signatures, by the worked examples in Amazon's documentation of S3."""

from datetime import UTC, datetime

import pytest

from kuramori.secret import Secret
from kuramori.storage.aws_signature import AwsCredentials, SigningScope, UnsignedRequest, signed_headers

_WHO = AwsCredentials("AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
_WHEN = datetime(2013, 5, 24, tzinfo=UTC)
_HOST = "examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(("request_", "signature"), [
    (UnsignedRequest("GET", _HOST, "/test.txt", headers={"Range": "bytes=0-9"}),
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
    (UnsignedRequest("PUT", _HOST, "/test$file.text",
                     headers={"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
                     content_sha256="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
    (UnsignedRequest("GET", _HOST, "/", {"lifecycle": ""}),
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    (UnsignedRequest("GET", _HOST, "/", {"max-keys": "2", "prefix": "J"}),
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
])
def test_the_examples(request_: UnsignedRequest, signature: str) -> None:
    headers = signed_headers(request_, _WHO, SigningScope("us-east-1"), _WHEN)
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert headers["x-amz-date"] == "20130524T000000Z"


def test_a_token_is_signed_and_sent() -> None:
    who = AwsCredentials("AKIA", Secret("unseen"), Secret("token"))
    headers = signed_headers(UnsignedRequest("GET", _HOST, "/"), who, SigningScope("us-east-1"), _WHEN)
    assert headers["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in headers["Authorization"]
    assert "unseen" not in repr(who)


def test_what_is_sent_is_what_is_signed() -> None:
    request = UnsignedRequest("PUT", _HOST, "/a b/\u00fc~%41", {"versionId": "a/b=", "retention": ""})
    assert request.target == "/a%20b/%C3%BC~%2541?retention=&versionId=a%2Fb%3D"
