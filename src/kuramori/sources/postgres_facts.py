"""What proves a PostgreSQL database: how many rows each table has, and a hash of the schema."""

from __future__ import annotations

import hashlib

from kuramori.model.databases import DatabaseRecord, TableCount
from kuramori.sources.postgres_session import PostgresSession

LARGE_OBJECTS = "pg_catalog.pg_largeobject_metadata"
"""The name under which large objects are counted, where there are any."""

_OLDEST_SCHEMA_VERSION = 120000

_OURS = """n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp\\_%'"""

_TABLES = f"""FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND {_OURS} AND NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.objid = c.oid AND d.deptype = 'e')
  ORDER BY n.nspname, c.relname"""
"""Tables and partitions that hold rows of their own. What an extension brings is left out: it comes back
with the extension, in the extension's version."""

_LOCK = f"""SELECT pg_catalog.format('LOCK TABLE ONLY %I.%I IN ACCESS SHARE MODE; SELECT chr(30)',
  n.nspname, c.relname) {_TABLES}"""

_COUNT = f"""SELECT pg_catalog.format('SELECT pg_catalog.count(*), %L || chr(30) FROM ONLY %I.%I',
  n.nspname || '.' || c.relname, n.nspname, c.relname) {_TABLES}"""

# Only what a dump brings back letter by letter. Expressions (of views, checks, defaults) are left out:
# the server writes them differently after each time that it reads them.
_SCHEMA = f"""
SELECT part FROM (
SELECT pg_catalog.concat_ws(' ', 'column', n.nspname, c.relname, c.relkind, a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated,
    pg_catalog.row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum)) AS part
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND {_OURS}
UNION ALL SELECT pg_catalog.concat_ws(' ', 'constraint', n.nspname, c.relname, k.conname, k.contype, k.conkey,
    k.confrelid::pg_catalog.regclass, k.confkey)
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype IN ('p', 'u', 'f', 'c', 'x') AND {_OURS}
UNION ALL SELECT pg_catalog.concat_ws(' ', 'index', n.nspname, c.relname, i.indrelid::pg_catalog.regclass,
    i.indisunique, i.indisprimary, i.indnatts)
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}
UNION ALL SELECT pg_catalog.concat_ws(' ', 'sequence', n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'S' AND {_OURS}
UNION ALL SELECT pg_catalog.concat_ws(' ', 'function', n.nspname, p.proname, p.prokind,
    pg_catalog.pg_get_function_identity_arguments(p.oid), pg_catalog.md5(p.prosrc))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {_OURS}
UNION ALL SELECT pg_catalog.concat_ws(' ', 'trigger', t.tgrelid::pg_catalog.regclass, t.tgname,
    t.tgfoid::pg_catalog.regproc, t.tgtype, t.tgenabled)
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND {_OURS}
UNION ALL SELECT pg_catalog.concat_ws(' ', 'label', n.nspname, t.typname, e.enumlabel,
    pg_catalog.row_number() OVER (PARTITION BY t.oid ORDER BY e.enumsortorder))
  FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE {_OURS}
UNION ALL SELECT pg_catalog.concat_ws(' ', 'extension', x.extname) FROM pg_catalog.pg_extension x
) parts ORDER BY part COLLATE "C"
"""


def begin_snapshot(session: PostgresSession) -> str:
    """Open a transaction that sees one instant, hold every table against changes of its form, and return
    the name by which ``pg_dump --snapshot`` sees the same instant. Lasts as long as the session.

    Raises:
        DatabaseServerError: among others, a table may not be read.
    """
    snapshot = session.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT pg_catalog.pg_export_snapshot()")
    session.query_each(_LOCK)
    return snapshot[0][0]


def read_facts(session: PostgresSession, path: str, count_rows: bool = True) -> DatabaseRecord:
    """Return what proves the database of a session; of one instant if a transaction is open.

    Args:
        path: of its dump in the snapshot.
        count_rows: costs the server one reading of each table.

    Raises:
        DatabaseServerError
    """
    tables: list[TableCount] = []
    if count_rows:
        tables = [TableCount(name=name, rows=int(rows)) for rows, name in session.query_each(_COUNT)]
        large = int(session.query("SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata")[0][0])
        if large:
            tables.append(TableCount(name=LARGE_OBJECTS, rows=large))
    schema_hash = ""
    if session.version >= _OLDEST_SCHEMA_VERSION:
        parts = "\n".join(row[0] for row in session.query(_SCHEMA))
        schema_hash = hashlib.sha256(parts.encode()).hexdigest()
    version = session.query("SHOW server_version")[0][0]
    return DatabaseRecord(path=path, kind="postgres", schema_hash=schema_hash, server_version=f"PostgreSQL {version}",
                          tables=tuple(sorted(tables, key=lambda table: table.name)))
