"""A PostgreSQL database with everything that a dump could lose."""

from __future__ import annotations

from samples.postgres_server import PostgresServer

OWNER = "planter owner"

FILL = f"""
CREATE SCHEMA "園芸";
CREATE TYPE stage AS ENUM ('seed', 'sprout', '花');
CREATE TABLE plants (id serial PRIMARY KEY, name text NOT NULL, stage stage DEFAULT 'seed',
  photo bytea, planted timestamptz, weight double precision, notes jsonb, tags text[],
  CHECK (name IN ('x') OR length(name) > 0));
CREATE TABLE "園芸"."水やり ""log"" 1" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  plant int NOT NULL REFERENCES plants ON DELETE CASCADE, litres numeric(10, 3), at timestamptz);
CREATE TABLE parts (id int, kind text) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
CREATE TABLE empty ();
CREATE INDEX "by name" ON plants (lower(name)) WHERE stage <> 'seed';
CREATE SEQUENCE bills START 4711;
SELECT nextval('bills');
CREATE VIEW thirsty AS SELECT p.name, sum(w.litres) AS litres FROM plants p
  LEFT JOIN "園芸"."水やり ""log"" 1" w ON w.plant = p.id GROUP BY p.name;
CREATE MATERIALIZED VIEW frozen AS SELECT count(*) AS plants FROM plants;
CREATE FUNCTION grow() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  NEW.weight := coalesce(NEW.weight, 0) + 1; -- 'quoted'; \\ and ;
  RETURN NEW;
END $body$;
CREATE TRIGGER grows BEFORE INSERT ON plants FOR EACH ROW EXECUTE FUNCTION grow();
INSERT INTO plants (name, stage, photo, planted, weight, notes, tags)
  SELECT 'plant ' || i || E'\\n\\t\\\\ '' 蔵', CASE WHEN i % 3 = 0 THEN '花'::stage END,
    decode(md5(i::text), 'hex') || '\\x00ff0a5c'::bytea, '2026-01-01 00:00Z'::timestamptz + i * interval '1 hour',
    CASE i WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE i / 7.0 END::double precision, jsonb_build_object('i', i),
    ARRAY['a,b', NULL, '"']
  FROM generate_series(1, 2000) i;
INSERT INTO "園芸"."水やり ""log"" 1" (plant, litres, at) SELECT 1 + i % 2000, i / 100.0, '2026-02-01 00:00Z'
  FROM generate_series(1, 5000) i;
INSERT INTO parts SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 99) i;
SELECT lo_from_bytea(4242, '\\x00010203');
REFRESH MATERIALIZED VIEW frozen;
ALTER TABLE plants OWNER TO "{OWNER}";
GRANT SELECT ON parts TO "{OWNER}";
"""

TABLES = ("plants", '"園芸"."水やり ""log"" 1"', "parts_a", "parts_b", "empty", "frozen", "thirsty")


def fill_database(server: PostgresServer, database: str) -> None:
    """Make the database, owned by a role of its own."""
    quoted = database.replace('"', '""')
    server.psql(f'CREATE ROLE "{OWNER}" LOGIN PASSWORD \'owner password\'') if OWNER not in server.psql(
        "SELECT rolname FROM pg_roles") else None
    server.psql(f'CREATE DATABASE "{quoted}" OWNER "{OWNER}"')
    server.psql(f'ALTER DATABASE "{quoted}" SET work_mem = \'5MB\'')
    server.psql(FILL, database)


def database_content(server: PostgresServer, database: str) -> dict[str, str]:
    """Return every row of every table as text, what sequences and large objects say, and the code."""
    found = {table: server.psql(f"SELECT t::text FROM {table} t ORDER BY 1", database) for table in TABLES}
    found["sequence"] = server.psql("SELECT last_value, is_called FROM bills", database)
    found["large object"] = server.psql("SELECT lo_get(4242)", database)
    found["function"] = server.psql("SELECT prosrc FROM pg_proc WHERE proname = 'grow'", database)
    found["trigger"] = server.psql("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal", database)
    found["owners"] = server.psql("SELECT relname, relowner::regrole FROM pg_class WHERE relname = 'plants'", database)
    found["rights"] = server.psql("SELECT relacl FROM pg_class WHERE relname = 'parts'", database)
    found["settings"] = server.psql("SHOW work_mem", database)
    return found
