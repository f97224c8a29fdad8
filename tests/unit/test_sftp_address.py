"""Locations of SFTP servers, and the arguments that restic would hand to ssh."""

import pytest

from kuramori.errors import UnknownLocationError, UsageError
from kuramori.storage.location import open_backend
from kuramori.storage.sftp_address import SftpAddress, SshArguments, parse_sftp_address, parse_ssh_arguments


@pytest.mark.parametrize(("text", "expected"), [
    ("host:path", SftpAddress("host", None, None, "path")),
    ("user@host:/srv/backup", SftpAddress("host", "user", None, "/srv/backup")),
    ("user@host:/srv//backup/", SftpAddress("host", "user", None, "/srv/backup")),
    ("user@host:", SftpAddress("host", "user", None, ".")),
    ("user@domain@host:a b", SftpAddress("host", "user@domain", None, "a b")),
    ("host:a:b", SftpAddress("host", None, None, "a:b")),
    ("host:a%20b", SftpAddress("host", None, None, "a%20b")),
    ("user@[2001:db8::1]:/srv", SftpAddress("2001:db8::1", "user", None, "/srv")),
    ("//user@host:2222//srv/backup", SftpAddress("host", "user", 2222, "/srv/backup")),
    ("//host/relative/path", SftpAddress("host", None, None, "relative/path")),
    ("//host:/relative", SftpAddress("host", None, None, "relative")),
    ("//user@[::1]:22//srv", SftpAddress("::1", "user", 22, "/srv")),
    ("//[::1]//srv", SftpAddress("::1", None, None, "/srv")),
    ("//us%40er@host//a%20b", SftpAddress("host", "us@er", None, "/a b")),
])
def test_locations_as_restic_writes_them(text: str, expected: SftpAddress) -> None:
    assert parse_sftp_address(text) == expected
    assert parse_sftp_address(expected.location.removeprefix("sftp:")) == expected or "%" in text


@pytest.mark.parametrize("text", [
    "host", "user@host", ":path", "user@:path", "//", "//host", "//host/", "//user@/path", "//host:0//x",
    "//host:65536//x", "//host:99999999999//x", "//host:port//x", "//user:secret@host//x", "user:secret@host:x",
    "host:~/x", "//host/~/x", "-oProxyCommand=x:y", "//-oProxyCommand=x//y", "//[::1//x", "//a@b@host//x",
])
def test_what_is_no_location_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(UnknownLocationError) as caught:
        open_backend(f"sftp:{text}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("text", "expected"), [
    ("", SshArguments()),
    ("-i /key -p2222 -l user", SshArguments(('IdentityFile "/key"', 'Port "2222"', 'User "user"'))),
    ("-i '/a key' -J jump -4", SshArguments(('IdentityFile "/a key"', 'ProxyJump "jump"', "AddressFamily inet"))),
    ("-F /config -o User=me -o 'IdentityFile /x'", SshArguments(("User=me", "IdentityFile /x"), "/config")),
    ("-oStrictHostKeyChecking=yes", SshArguments(("StrictHostKeyChecking=yes",))),
])
def test_arguments_become_lines_of_a_configuration(text: str, expected: SshArguments) -> None:
    assert parse_ssh_arguments(text) == expected


@pytest.mark.parametrize(("text", "told"), [
    ("-o StrictHostKeyChecking=no", "always checked"), ("-o 'stricthostkeychecking no'", "always checked"),
    ("-oStrictHostKeyChecking=accept-new", "always checked"), ("-v", "-v"), ("somehost", "somehost"), ("-i", "lacks"),
    ("-i '/a", "quote"), ("-i '/a\"b'", "quote"), ("-o 'User=a\nProxyCommand=b'", "line break"),
    ("-o 'Match all'", "Match"), ("-oHost=x", "Host"), ("-o Include=/x", "Include"),
])
def test_arguments_without_a_meaning_are_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_ssh_arguments(text)
