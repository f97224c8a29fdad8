"""Reading and altering MySQL dumps: however the bytes are cut, and whatever is in the values."""

from __future__ import annotations

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from kuramori.restoring.mysql_text import DumpAltering
from kuramori.sources.mysql_scanner import DumpScanner

_VALUES = st.text(st.sampled_from("a(),;'`\\\" \n-蔵") | st.characters(codec="utf-8"), max_size=40) | st.sampled_from([
    "\nUNLOCK TABLES;\n", ");\nINSERT INTO `t` VALUES (", "-- Dumping events for database 'x'", "USE `shop`;"])
_NAMES = st.text(st.sampled_from("ab`( 蔵"), min_size=1, max_size=8)
_TABLES = st.dictionaries(_NAMES, st.lists(_VALUES, max_size=12), max_size=4)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\'")


def _dump(tables: dict[str, list[str]]) -> bytes:
    """Write a dump as mariadb-dump --skip-extended-insert does."""
    parts = ["/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\n\n",
             "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n\n",
             "USE `shop`;\n"]
    for name, rows in tables.items():
        quoted = name.replace("`", "``")
        parts.append(f"--\n-- Dumping data for table `{quoted}`\n--\n\nLOCK TABLES `{quoted}` WRITE;\n")
        parts += [f"INSERT INTO `{quoted}` VALUES ('{_escape(row)}');\n" for row in rows]
        parts.append("UNLOCK TABLES;\n")
    parts.append("\n-- Dumping events for database 'shop'\nDELIMITER ;;\nCREATE EVENT e DO SELECT 1 ;;\nDELIMITER ;\n\n"
                 "--\n-- Dumping routines for database 'shop'\n--\nUSE `shop`;\n-- Dump completed\n")
    return "".join(parts).encode()


def _cut(data: bytes, borders: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(border % (len(data) + 1) for border in borders)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=150, deadline=None)
@given(_TABLES, st.lists(st.integers(0, 10**6), max_size=30))
def test_rows_are_counted_however_the_stream_is_cut(tables: dict[str, list[str]], borders: list[int]) -> None:
    """Every row once; the hash is that of the uncut stream, and says nothing of rows and events."""
    dump = _dump(tables)
    whole, cut = DumpScanner(), DumpScanner()
    whole.see(memoryview(dump))
    for piece in _cut(dump, borders):
        cut.see(memoryview(piece))
    assert {table.name: table.rows for table in cut.tables()} == {name: len(rows) for name, rows in tables.items()}
    assert cut.schema_hash() == whole.schema_hash()


@settings(max_examples=150, deadline=None)
@given(_TABLES, st.lists(st.integers(0, 10**6), max_size=30), st.booleans())
def test_altered_dump_has_the_same_rows(tables: dict[str, list[str]], borders: list[int], for_mariadb: bool) -> None:
    """The rows are joined, and are the same; what names the database is gone, and nothing else."""
    dump = _dump(tables)
    altering = DumpAltering(for_mariadb)
    altered = b"".join(map(altering, [*_cut(dump, borders), b""]))
    assert re.findall(rb"^USE |^CREATE DATABASE ", altered, re.MULTILINE) == []
    assert (b"sandbox" in altered) == for_mariadb
    assert altering.events.startswith(b"-- Dumping events") == (b"CREATE EVENT" not in altered)
    expected = dump.replace(b"USE `shop`;\n", b"")
    expected = re.sub(rb"CREATE DATABASE .*\n", b"", expected, count=1).replace(altering.events, b"")
    if not for_mariadb:
        expected = expected.partition(b"\n")[2]
    for name in tables:
        start = b"INSERT INTO `" + name.replace("`", "``").encode() + b"` VALUES ("
        altered = altered.replace(b"),\n(", b");\n" + start) if len(tables) == 1 else altered
    if len(tables) <= 1:
        assert altered == expected
    rows = sum(map(len, tables.values()))
    assert altered.count(b"),\n(") + len(re.findall(rb"^INSERT INTO", altered, re.MULTILINE)) == rows
