"""Any bytes survive as a name, and no text makes the reader of names stumble."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from kuramori.model.json import go_json, go_string
from kuramori.model.names import quote_name, unquote_name
from kuramori.testing.restic_judge import Restic

ODD_BYTES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from([b"\\", b'"', b"\n", b"\xff", b"\xed\xa0\x80", b"x41", b"u0041", b"101", "\u2028".encode(),
                              "\u00ad".encode(), "\U000e0041".encode(), b"<", b"&", b"\x7f", b" "]),
             max_size=12).map(b"".join),
)


@given(ODD_BYTES)
@example(b"\\x41")
def test_a_name_comes_back(name: bytes) -> None:
    assert unquote_name(quote_name(name)) == name


@given(ODD_BYTES)
def test_a_quoted_name_has_nothing_that_json_or_a_terminal_could_stumble_over(name: bytes) -> None:
    quoted = quote_name(name)
    assert quoted.isprintable()
    assert msgspec.json.decode(go_json(quoted)) == quoted


@given(ODD_BYTES, ODD_BYTES)
def test_different_names_have_different_quoted_forms(one: bytes, other: bytes) -> None:
    assert (quote_name(one) == quote_name(other)) == (one == other)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        name = unquote_name(text)
    except ValueError:
        return
    assert unquote_name(quote_name(name)) == name


@given(st.binary(max_size=60))
def test_a_go_string_is_what_json_reads_with_invalid_bytes_replaced(data: bytes) -> None:
    document = go_string(data)
    assert not set(document) & set(b"<>&")
    expected = "".join("\ufffd" if "\udc80" <= character <= "\udcff" else character
                       for character in data.decode("utf-8", "surrogateescape"))
    assert json.loads(document) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_go_json_keeps_every_text(text: str) -> None:
    document = go_json(text)
    assert json.loads(document) == text
    assert not set(document.decode()) & set("<>&\u2028\u2029")


def test_restic_quotes_the_same_names_alike(tmp_path: Path, restic_new: str) -> None:
    """restic is the judge: what it writes for many names is what we would write."""
    names = [bytes((byte,)) + b"-byte" for byte in range(1, 256) if byte != 0x2F]
    names += [chr(code).encode() + b"-char" for code in
              (*range(0xA0, 0x180), 0x300, 0x600, 0x61C, 0x180E, *range(0x2000, 0x2070), 0x3000, 0xD7FF, 0xE000, 0xFEFF,
               *range(0xFFF0, 0x10000), 0x1F331, 0xE0001, 0xE0041, 0xF0000, 0x10FFFF)]
    source = tmp_path / "source"
    source.mkdir()
    for name in names:
        (source / os.fsdecode(name)).touch()
    restic = Restic(restic_new, tmp_path / "repository", "x", home=tmp_path)
    restic.init()
    restic.backup(".", directory=source)
    document = restic.run("cat", "blob", restic.snapshots()[0]["tree"]).stdout
    written = {node["name"] for node in json.loads(document)["nodes"]}
    assert written == {quote_name(name) for name in names}
