"""What s3: locations mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from kuramori.errors import UnknownLocationError
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, FileType, Handle
from kuramori.storage.object_store import ObjectPlace, parse_bucket_address
from kuramori.storage.s3 import S3Backend
from kuramori.storage.s3_location import (
    asks_by_host_name,
    named_region,
    parse_s3_address,
    regional_server,
)

_NAME = "ab" * 32


@pytest.mark.parametrize(("address", "shown", "place"), [
    ("s3.amazonaws.com/bucket", "s3:https://s3.amazonaws.com/bucket", ("bucket", "")),
    ("s3.amazonaws.com/bucket/", "s3:https://s3.amazonaws.com/bucket", ("bucket", "")),
    ("s3.amazonaws.com/bucket/a/b/", "s3:https://s3.amazonaws.com/bucket/a/b", ("bucket", "a/b")),
    ("//host/bucket/a//b", "s3:https://host/bucket/a/b", ("bucket", "a/b")),
    ("host:9000/bucket/x", "s3:https://host:9000/bucket/x", ("bucket", "x")),
    ("http://host:9000/bucket/x", "s3:http://host:9000/bucket/x", ("bucket", "x")),
    ("https://host/bucket/a%20b", "s3:https://host/bucket/a b", ("bucket", "a b")),
    ("host/bucket/a%20b", "s3:https://host/bucket/a%20b", ("bucket", "a%20b")),
    ("http://[::1]:8333/bucket", "s3:http://[::1]:8333/bucket", ("bucket", "")),
    ("HTTP://Host/Bucket/X", "s3:http://host/Bucket/X", ("Bucket", "X")),
])
def test_addresses(address: str, shown: str, place: tuple[str, str]) -> None:
    location = parse_s3_address(address)
    assert location.shown == shown
    assert location.place == ObjectPlace(*place)


@pytest.mark.parametrize("address", ["bucket", "host/", "http://host", "http://host/", "//", "http:///bucket",
                                     "http://host:0/bucket", "http://host:x/b", "host/bucket/../other",
                                     "https://key:secret@host/bucket"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UnknownLocationError) as caught:
        parse_s3_address(address)
    assert "secret@" not in str(caught.value)


def test_keys() -> None:
    for prefix, before in (("", ""), ("a/b", "a/b/")):
        place = ObjectPlace("bucket", prefix)
        assert place.key(CONFIG_HANDLE) == f"{before}config"
        assert place.key(Handle(FileType.PACK, _NAME)) == f"{before}data/ab/{_NAME}"
        assert place.key(Handle(FileType.SNAPSHOT, _NAME)) == f"{before}snapshots/{_NAME}"


@pytest.mark.parametrize(("address", "variables", "region"), [
    ("s3.amazonaws.com/b", {}, None),
    ("s3.eu-central-1.amazonaws.com/b", {}, "eu-central-1"),
    ("s3-eu-west-1.amazonaws.com/b", {}, "eu-west-1"),
    ("s3.dualstack.ap-northeast-1.amazonaws.com/b", {}, "ap-northeast-1"),
    ("s3.cn-north-1.amazonaws.com.cn/b", {}, "cn-north-1"),
    ("s3.us-west-004.backblazeb2.com/b", {}, "us-west-004"),
    ("fra1.digitaloceanspaces.com/b", {}, "fra1"),
    ("s3.fr-par.scw.cloud/b", {}, "fr-par"),
    ("minio.example.org/b", {}, None),
    ("minio.example.org/b", {"AWS_DEFAULT_REGION": "here"}, "here"),
    ("s3.eu-central-1.amazonaws.com/b", {"AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1"),
    ("minio.example.org/b", {"AWS_REGION": "there"}, "there"),
])
def test_regions(address: str, variables: Mapping[str, str], region: str | None) -> None:
    assert named_region(parse_s3_address(address).server, variables, {}) == region
    assert named_region(parse_s3_address(address).server, variables, {"s3.region": "option"}) == "option"


def test_the_region_of_a_bucket_is_asked_for_where_nothing_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(403)
            self.send_header("x-amz-bucket-region", "eu-central-1")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("kuramori.storage.s3.GLOBAL_AMAZON", "127.0.0.1")
        location = parse_s3_address(f"http://127.0.0.1:{server.server_address[1]}/bucket/x")
        access = StoreAccess(variables={"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"})
        store = S3Backend(location, access)
        for _ in range(2):
            store._prepare()
        assert asked == [("/bucket", None)]
        assert store._link.region == "eu-central-1"
        named = S3Backend(location, replace(access, options={"s3.region": "us-west-2"}))
        named._prepare()
        assert (named._link.region, len(asked)) == ("us-west-2", 1)
        server.shutdown()


def test_amazons_common_name_is_replaced_by_that_of_the_region() -> None:
    common = parse_s3_address("s3.amazonaws.com/b").server
    assert regional_server(common, "us-east-1").host == "s3.amazonaws.com"
    assert regional_server(common, "eu-central-1").host == "s3.eu-central-1.amazonaws.com"
    other = parse_s3_address("minio.example.org/b").server
    assert regional_server(other, "eu-central-1") == other


@pytest.mark.parametrize(("address", "lookup", "by_name"), [
    ("s3.amazonaws.com/bucket", "", True), ("s3.amazonaws.com/bucket.with.dots", "", False),
    ("minio.example.org/bucket", "auto", False), ("minio.example.org/bucket", "dns", True),
    ("s3.amazonaws.com/bucket", "path", False),
])
def test_how_the_bucket_is_said(address: str, lookup: str, by_name: bool) -> None:
    assert asks_by_host_name(parse_s3_address(address), {"s3.bucket-lookup": lookup}) is by_name


@pytest.mark.parametrize(("address", "place"), [
    ("bucket:/", ("bucket", "")), ("bucket:/a/b/", ("bucket", "a/b")), ("bucket:a", ("bucket", "a")),
    ("bucket:", ("bucket", ""))])
def test_buckets_with_a_colon(address: str, place: tuple[str, str]) -> None:
    assert parse_bucket_address(address) == ObjectPlace(*place)


@pytest.mark.parametrize("address", ["bucket", ":/x", "", "a/b:/c", "bucket:/../x"])
def test_what_is_no_bucket_with_a_colon(address: str) -> None:
    with pytest.raises(UnknownLocationError):
        parse_bucket_address(address)
