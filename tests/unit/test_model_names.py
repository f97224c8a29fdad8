"""Names of nodes: the rules of format section 2.3, one by one."""

from __future__ import annotations

import pytest

from kuramori.model.names import display_text, name_problem, quote_name, unquote_name

QUOTED = [
    (b"plain", "plain"),
    (b"with space", "with space"),
    (b"q\"x", 'q\\"x'),
    (b"back\\slash", "back\\\\slash"),
    (b"apo'strophe", "apo'strophe"),
    (b"\a\b\f\n\r\t\v", "\\a\\b\\f\\n\\r\\t\\v"),
    (b"\x00\x01\x1f\x7f", "\\x00\\x01\\x1f\\x7f"),
    (b"invalid\xff", "invalid\\xff"),
    (b"surrogate\xed\xa0\x80", "surrogate\\xed\\xa0\\x80"),
    (b"overlong\xc0\xaf", "overlong\\xc0\\xaf"),
    ("蔵守".encode(), "蔵守"),
    ("\u00a0".encode(), "\\u00a0"),
    ("\u00ad".encode(), "\\u00ad"),
    ("\u2028".encode(), "\\u2028"),
    ("\u200b".encode(), "\\u200b"),
    ("\ue000".encode(), "\\ue000"),
    ("\ufeff".encode(), "\\ufeff"),
    ("\U000e0041".encode(), "\\U000e0041"),
    ("\U0001f331".encode(), "\U0001f331"),
    ("\ufffd".encode(), "\ufffd"),
    (b"<&>", "<&>"),
]


@pytest.mark.parametrize(("name", "quoted"), QUOTED)
def test_a_name_is_quoted_as_go_does(name: bytes, quoted: str) -> None:
    assert quote_name(name) == quoted
    assert unquote_name(quoted) == name


@pytest.mark.parametrize(("quoted", "name"), [
    ("\\101", b"A"), ("\\377", b"\xff"), ("\\000", b"\0"), ("\\x41", b"A"), ("\\xE9", b"\xe9"),
    ("\\u0041", b"A"), ("\\U00000041", b"A"), ("\\u65e5", "日".encode()), ("日\\n", "日\n".encode()),
])
def test_other_spellings_of_go_are_read(quoted: str, name: bytes) -> None:
    assert unquote_name(quoted) == name


@pytest.mark.parametrize("quoted", [
    'bare"quote', "\\'", "\\", "\\q", "\\x4", "\\x4g", "\\u12", "\\U0000004", "\\400", "\\18", "\\ud800", "\\udfff",
    "\\U00110000", "\\Uffffffff", "bare\nbreak", 'late\\n"', "\\n bare\nbreak",
])
def test_what_go_refuses_is_refused(quoted: str) -> None:
    with pytest.raises(ValueError, match=r"bad escape|bare quote|octal|no character"):
        unquote_name(quoted)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"/", b"a/b", b"../x", b"a\0b", b"/etc/passwd"])
def test_names_that_would_leave_their_folder_have_a_problem(name: bytes) -> None:
    assert name_problem(name)


@pytest.mark.parametrize("name", [b"...", b"-rf", b" ", b"\n", b"\xff", b"a\\b", b".x", b"~"])
def test_odd_names_are_names(name: bytes) -> None:
    assert name_problem(name) is None


def test_displayed_text_keeps_every_byte() -> None:
    assert display_text(b"a\xff\xe8").encode("utf-8", "surrogateescape") == b"a\xff\xe8"
