"""What servers of restic's protocol may answer, and things that are no such servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kuramori.errors import (
    AppendOnlyError,
    FileNotInStorageError,
    FileTooLargeForServerError,
    HalfFileError,
    KuramoriError,
    MovedLocationError,
    NotARepositoryServerError,
    ShortReadError,
    StorageError,
    StorageFullError,
    StoragePermissionError,
    StorageRetryableError,
    StoreUnreachableError,
    UnknownHostError,
    WrongLoginError,
)
from kuramori.storage.access import StoreAccess
from kuramori.storage.backend import CONFIG_HANDLE, Backend, FileInfo, FileType, Handle
from kuramori.storage.location import open_backend
from kuramori.storage.retry import RetryBackend
from kuramori.testing.backend_contract import handle_of, noise
from kuramori.testing.clock import FakeClock
from samples.edge_server import Canned, EdgeServer
from samples.server_process import free_port

_CONTENT = noise(5000)
_PACK = handle_of(FileType.PACK, _CONTENT)
_PATH = f"/data/{_PACK.name}"
_PAGE = Canned(200, b"<!DOCTYPE html><html><body>Welcome</body></html>", {"Content-Type": "text/html; charset=utf-8"})


@pytest.fixture
def server() -> Iterator[EdgeServer]:
    server = EdgeServer()
    yield server
    server.close()


@pytest.fixture
def store(server: EdgeServer) -> Iterator[Backend]:
    store = open_backend(server.location, StoreAccess(stall_seconds=20.0))
    yield store
    store.close()


@pytest.fixture
def patient(store: Backend) -> Backend:
    """The store as everything above uses it; it waits by a clock of the test."""
    return RetryBackend(store, clock=FakeClock())


# --- versions and ranges ---------------------------------------------------------------------


def test_a_server_that_lists_names_only_is_asked_for_each_size(server: EdgeServer, store: Backend) -> None:
    server.quirks.add("names only")
    for number in range(12):
        content = b"x" * number
        store.save(handle_of(FileType.INDEX, content), [content])
    gone = "0" * 64
    server.canned["GET /index/"] = [Canned(200, b'["%s"%s, "README"]' % (
        gone.encode(), b"".join(b',"%s"' % name.removeprefix("index/").encode() for name in server.files)))]
    assert sorted(info.size for info in store.list(FileType.INDEX)) == [*range(12)]
    assert server.count("HEAD /index/") == 13
    assert [*store.list(FileType.PACK)] == []


def test_a_listing_costs_one_request_where_the_server_tells_sizes(server: EdgeServer, store: Backend) -> None:
    for number in range(12):
        content = b"x" * number
        store.save(handle_of(FileType.INDEX, content), [content])
    del server.requests[:]
    assert len([*store.list(FileType.INDEX)]) == 12
    assert server.requests == ["GET /index/"]


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (10, 100), (4999, 1), (4990, None), (5000, None), (0, None)])
def test_a_server_without_ranges_is_read_all_the_same(server: EdgeServer, store: Backend, offset: int,
                                                      length: int | None) -> None:
    server.quirks.add("no ranges")
    store.save(_PACK, [_CONTENT])
    assert store.load(_PACK, offset, length) == _CONTENT[offset:None if length is None else offset + length]
    assert store.load(_PACK) == _CONTENT
    with pytest.raises(ShortReadError):
        store.load(_PACK, 4999, 2)


@pytest.mark.parametrize("answer", [
    Canned(206, _CONTENT[10:20], {"Content-Range": "bytes 10-19/5000"}),
    Canned(206, _CONTENT[:11], {"Content-Range": "bytes 0-10/5000"}),
    Canned(206, _CONTENT[:9], {"Content-Range": "bytes 0-8/5000"}),
    Canned(206, _CONTENT[:9], {"Content-Range": "bytes 0-9/5000"}),
    Canned(206, _CONTENT[:9], {"Content-Range": "bytes 0-9/*"}),
    Canned(206, _CONTENT[:10]),
    Canned(206, _CONTENT[:10], {"Content-Range": "bytes 0-9/5000"}, cut=5),
    Canned(416, b"", {"Content-Range": "bytes */5000"}),
    Canned(200, _CONTENT, cut=3),
    Canned(503), Canned(500), Canned(429), Canned(408),
], ids=range(13))
def test_a_wrong_or_short_answer_is_never_taken_for_the_bytes(server: EdgeServer, store: Backend, patient: Backend,
                                                              answer: Canned) -> None:
    store.save(_PACK, [_CONTENT])
    server.canned[f"GET {_PATH}"] = [answer, answer]
    with pytest.raises(StorageError) as caught:
        store.load(_PACK, 0, 10)
    assert caught.value.retryable
    assert patient.load(_PACK, 0, 10) == _CONTENT[:10]
    assert server.canned[f"GET {_PATH}"] == []


def test_a_whole_file_of_which_nobody_says_how_long_it_is_must_have_its_size(server: EdgeServer,
                                                                            store: Backend) -> None:
    store.save(_PACK, [_CONTENT])
    unmarked = {"Content-Length": "", "Connection": "close"}
    server.canned[f"GET {_PATH}"] = [Canned(200, _CONTENT, unmarked), Canned(200, _CONTENT[:100], unmarked)]
    assert store.load(_PACK) == _CONTENT
    with pytest.raises(StorageRetryableError):
        store.load(_PACK)


def test_content_that_was_changed_on_the_way_is_refused(server: EdgeServer, store: Backend) -> None:
    server.canned["GET /config"] = [Canned(200, b"\x1f\x8b...", {"Content-Encoding": "gzip"})]
    with pytest.raises(StorageError) as caught:
        store.load(CONFIG_HANDLE)
    assert not caught.value.retryable
    assert server.headers[-1]["Accept-Encoding"] == "identity"


# --- uploads ---------------------------------------------------------------------------------


def test_an_upload_that_got_through_unheard_is_a_success(server: EdgeServer, store: Backend, patient: Backend) -> None:
    """The answer is lost, and so is the attempt to delete; then the server refuses the name that it has."""
    server.quirks.add("append-only")
    server.canned[f"POST {_PATH}"] = [Canned(502, stores=True)]
    patient.save(_PACK, [_CONTENT[:7], _CONTENT[7:]])
    assert server.files[_PATH[1:]] == _CONTENT
    assert server.count(f"POST {_PATH}") == 2
    store.save(_PACK, [_CONTENT])
    assert store.load(_PACK) == _CONTENT


def test_half_a_file_of_an_upload_that_was_cut_off_is_deleted_at_once(server: EdgeServer, store: Backend) -> None:
    server.quirks |= {"half files", "refuses existing"}
    with pytest.raises(StorageRetryableError):
        store.save(_PACK, [_CONTENT])
    assert server.files == {}
    store.save(_PACK, [_CONTENT])
    assert server.files[_PATH[1:]] == _CONTENT


def test_half_a_file_that_could_not_be_deleted_at_once_is_replaced(server: EdgeServer, patient: Backend) -> None:
    server.quirks |= {"half files", "refuses existing"}
    server.canned[f"DELETE {_PATH}"] = [Canned(503)]
    patient.save(_PACK, [_CONTENT])
    assert server.files[_PATH[1:]] == _CONTENT


def test_half_a_file_is_deleted_at_the_latest_when_the_store_is_closed(server: EdgeServer, store: Backend) -> None:
    server.quirks.add("half files")
    server.canned[f"DELETE {_PATH}"] = [Canned(503)]
    with pytest.raises(StorageRetryableError):
        store.save(_PACK, [_CONTENT])
    assert len(server.files[_PATH[1:]]) == 2500
    store.close()
    assert server.files == {}


def test_half_a_file_that_may_not_be_replaced_is_told(server: EdgeServer, patient: Backend) -> None:
    server.quirks |= {"half files", "append-only"}
    with pytest.raises(HalfFileError) as caught:
        patient.save(_PACK, [_CONTENT])
    assert not caught.value.retryable
    assert _PACK.name in str(caught.value)


def test_a_config_whose_upload_failed_is_never_deleted(server: EdgeServer, store: Backend) -> None:
    store.save(CONFIG_HANDLE, [b"first"])
    server.canned["POST /config"] = [Canned(503)]
    with pytest.raises(StorageRetryableError):
        store.save(CONFIG_HANDLE, [b"second"])
    assert server.files["config"] == b"first"
    assert server.count("DELETE") == 0


def test_a_config_is_replaced_where_names_cannot_be_written_twice(server: EdgeServer, store: Backend) -> None:
    server.quirks.add("refuses existing")
    store.save(CONFIG_HANDLE, [b"first"])
    store.save(CONFIG_HANDLE, [b"second"])
    assert server.files["config"] == b"second"


def test_a_server_that_takes_nothing_says_so_at_once(server: EdgeServer, patient: Backend) -> None:
    server.canned[f"POST {_PATH}"] = [Canned(403)]
    with pytest.raises(StoragePermissionError):
        patient.save(_PACK, [_CONTENT])
    assert server.count("POST") == 1


def test_content_that_arrived_damaged_is_sent_again(server: EdgeServer, store: Backend, patient: Backend) -> None:
    assert [*store.list(FileType.PACK)] == []
    server.canned[f"POST {_PATH}"] = [Canned(400, b"hash mismatch", {"Content-Type": "text/plain"})]
    patient.save(_PACK, [_CONTENT])
    assert server.files[_PATH[1:]] == _CONTENT


def test_append_only_servers_are_told_apart(server: EdgeServer, patient: Backend) -> None:
    server.quirks.add("append-only")
    patient.save(_PACK, [_CONTENT])
    with pytest.raises(AppendOnlyError) as caught:
        patient.remove(_PACK)
    assert "append-only" in str(caught.value)
    lock = handle_of(FileType.LOCK, b"lock")
    patient.save(lock, [b"lock"])
    patient.remove(lock)


@pytest.mark.parametrize(("answer", "kind"), [
    (Canned(401), WrongLoginError), (Canned(507), StorageFullError), (Canned(413), FileTooLargeForServerError),
    (Canned(500, b"write: no space left on device\n", {"Content-Type": "text/plain"}), StorageFullError),
    (Canned(405), NotARepositoryServerError),
])
def test_refusals_are_told_by_their_cause(server: EdgeServer, store: Backend, answer: Canned,
                                          kind: type[StorageError]) -> None:
    server.canned[f"POST {_PATH}"] = [answer]
    with pytest.raises(kind) as caught:
        store.save(_PACK, [_CONTENT])
    assert not caught.value.retryable
    assert caught.value.advice_text()


def test_a_login_of_another_kind_is_named(server: EdgeServer, store: Backend) -> None:
    server.canned["GET /config"] = [Canned(401, b"", {"WWW-Authenticate": 'Digest realm="x", nonce="y"'})]
    with pytest.raises(WrongLoginError) as caught:
        store.load(CONFIG_HANDLE)
    assert "Digest" in str(caught.value)


def test_a_server_that_asks_for_patience_is_given_it(server: EdgeServer, store: Backend) -> None:
    clock = FakeClock()
    patient = RetryBackend(store, clock=clock)
    server.canned["GET /config"] = [Canned(429, b"", {"Retry-After": "17"})]
    server.files["config"] = b"config"
    began = clock.monotonic()
    assert patient.load(CONFIG_HANDLE) == b"config"
    assert clock.monotonic() - began >= 17


# --- what is no such server ------------------------------------------------------------------


@pytest.mark.parametrize("operation", [
    lambda store: store.load(CONFIG_HANDLE), lambda store: store.size(CONFIG_HANDLE),
    lambda store: [*store.list(FileType.KEY)], lambda store: store.load(_PACK, 3, 4),
])
def test_a_web_server_with_a_page_for_everything_is_told_as_such(server: EdgeServer, patient: Backend,
                                                                 operation: object) -> None:
    for request in ("GET /config", "HEAD /config", "GET /keys/", f"GET {_PATH}"):
        server.canned[request] = [_PAGE, _PAGE]
    with pytest.raises(NotARepositoryServerError) as caught:
        operation(patient)
    assert "restic REST" in str(caught.value)


def test_a_page_for_people_in_the_middle_may_pass(server: EdgeServer, store: Backend, patient: Backend) -> None:
    """The right server has answered before: a router that wants a login, or a proxy that excuses itself."""
    server.files["config"] = b"config"
    assert store.load(CONFIG_HANDLE) == b"config"
    server.canned["GET /config"] = [_PAGE]
    assert patient.load(CONFIG_HANDLE) == b"config"


def test_a_sealed_file_that_looks_like_a_page_to_its_server_is_a_file(server: EdgeServer, store: Backend) -> None:
    content = b"<p " + noise(500)
    server.canned["GET /config"] = [Canned(200, content, {"Content-Type": "text/html"})]
    assert store.load(CONFIG_HANDLE) == content


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"name": "x"}]', b'[{"name": 1, "size": 2}]', b"[" * 100_000,
                                  b'["\xff"]'], ids=range(7))
def test_a_listing_of_another_kind_is_refused(server: EdgeServer, store: Backend, body: bytes) -> None:
    server.canned["GET /snapshots/"] = [Canned(200, body)]
    with pytest.raises(NotARepositoryServerError):
        [*store.list(FileType.SNAPSHOT)]


def test_names_of_a_listing_are_not_believed(server: EdgeServer, store: Backend) -> None:
    name = "a" * 64
    server.canned["GET /snapshots/"] = [Canned(
        200, b'[{"name":"../../x","size":1},{"name":"%s","size":7},{"name":"%s","size":1}]'
             % (name.encode(), name.upper().encode()))]
    assert [*store.list(FileType.SNAPSHOT)] == [FileInfo(name, 7)]


def test_redirects_are_followed_on_the_same_server_only(server: EdgeServer, store: Backend) -> None:
    server.files["elsewhere"] = b"config"
    server.canned["GET /config"] = [Canned(302, b"", {"Location": "/elsewhere"}),
                                    Canned(301, b"", {"Location": "http://user:secret@other.invalid/config?token=x"})]
    assert store.load(CONFIG_HANDLE) == b"config"
    with pytest.raises(MovedLocationError) as caught:
        store.load(CONFIG_HANDLE)
    assert "http://other.invalid/config" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_an_upload_is_sent_again_after_a_redirect_that_keeps_it_one(server: EdgeServer, store: Backend) -> None:
    server.canned[f"POST {_PATH}"] = [Canned(307, b"", {"Location": "/moved"}), Canned(302, b"", {"Location": "/x"})]
    store.save(_PACK, [_CONTENT])
    assert server.files == {"moved": _CONTENT}
    with pytest.raises(MovedLocationError):
        store.save(_PACK, [_CONTENT])


def test_a_server_that_sends_us_in_circles_is_left(server: EdgeServer, store: Backend) -> None:
    server.canned["GET /config"] = [Canned(302, b"", {"Location": "/config"})] * 50
    with pytest.raises(MovedLocationError):
        store.load(CONFIG_HANDLE)
    assert server.count("GET") < 10


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(UnknownHostError) as caught:
        open_backend("rest:http://user:secret@kuramori-test.invalid:8000/").load(CONFIG_HANDLE)
    assert not caught.value.retryable
    assert "secret" not in str(caught.value)


def test_a_port_on_which_nobody_listens() -> None:
    with pytest.raises(StoreUnreachableError) as caught:
        open_backend(f"rest:http://127.0.0.1:{free_port()}/").load(CONFIG_HANDLE)
    assert caught.value.retryable
    assert "refused" in str(caught.value)


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachableError) as caught:
        open_backend(f"rest:http+unix://{tmp_path}/socket:/repository/").load(CONFIG_HANDLE)
    assert str(tmp_path / "socket") in str(caught.value)


def test_a_server_that_says_nothing_any_more_is_noticed(server: EdgeServer) -> None:
    server.canned["GET /config"] = [Canned(200, b"config", {"Content-Length": "4000"})]
    store = open_backend(server.location, StoreAccess(stall_seconds=0.2))
    with pytest.raises(StorageRetryableError) as caught:
        store.load(CONFIG_HANDLE)
    assert "in time" in str(caught.value)
    store.close()


def test_passwords_come_from_variables_where_the_location_has_none(server: EdgeServer) -> None:
    access = StoreAccess({"RESTIC_REST_USERNAME": "planter", "RESTIC_REST_PASSWORD": "pässword"})
    for location, login in ((server.location, "cGxhbnRlcjpww6Rzc3dvcmQ="),
                            (server.location.replace("//", "//other:p%3Aw@"), "b3RoZXI6cDp3")):
        store = open_backend(location, access)
        with pytest.raises(FileNotInStorageError):
            store.load(CONFIG_HANDLE)
        assert server.headers[-1]["Authorization"] == f"Basic {login}"
        assert "p%3Aw" not in store.location
        store.close()


@pytest.mark.parametrize("name", ["../config", "x" * 64, "", "A" * 64])
def test_only_names_of_repository_files_are_asked_for(store: Backend, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        store.load(Handle(FileType.PACK, name))


def test_every_error_of_these_can_be_shown(server: EdgeServer, store: Backend) -> None:
    server.canned["GET /config"] = [Canned(500, b"\x1b[31mred\n", {"Content-Type": "text/plain"})]
    with pytest.raises(KuramoriError) as caught:
        store.load(CONFIG_HANDLE)
    assert str(caught.value).isprintable()
