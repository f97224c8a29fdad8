"""A MariaDB database with everything that a dump could lose."""

from __future__ import annotations

from samples.mariadb_server import MariadbServer

FILL = r"""
CREATE TABLE plants (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(200) NOT NULL, stage ENUM('seed', '花'),
  photo BLOB, bits BIT(8), weight DOUBLE, price DECIMAL(10, 3), planted DATETIME(6), stamp TIMESTAMP NULL, notes JSON,
  place POINT, doubled DOUBLE AS (weight * 2) STORED, KEY by_name (name)) ENGINE=InnoDB AUTO_INCREMENT=1000;
CREATE TABLE `水やり ``log`` VALUES (1);` (id INT PRIMARY KEY, plant INT, text TEXT,
  CONSTRAINT `plant fk` FOREIGN KEY (plant) REFERENCES plants (id) ON DELETE CASCADE) ENGINE=InnoDB;
CREATE TABLE parts (id INT, kind INT) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3;
CREATE TABLE empty_one (id INT) ENGINE=InnoDB;
CREATE SEQUENCE bills START WITH 4711;
SELECT nextval(bills);
CREATE VIEW thirsty AS SELECT p.name, w.text FROM plants p JOIN `水やり ``log`` VALUES (1);` w ON w.plant = p.id;
CREATE VIEW above AS SELECT * FROM thirsty;
INSERT INTO plants (name, stage, photo, bits, weight, price, planted, stamp, notes, place)
  SELECT CONCAT('plant ', seq, ');\nINSERT INTO `plants` VALUES (\'\\ " 蔵 🪴'), IF(seq % 3 = 0, '花', NULL),
    UNHEX(CONCAT(MD5(seq), '00270a5c')), b'10100101', seq / 7, seq / 1000, '2026-01-01 00:00:00.5' + INTERVAL seq HOUR,
    '2026-01-01 12:00:00', JSON_OBJECT('i', seq), POINT(seq, -seq) FROM seq_1_to_2000;
INSERT INTO `水やり ``log`` VALUES (1);` SELECT seq, 1000 + seq % 2000,
  'UNLOCK TABLES;\n-- Dump completed\n' FROM seq_1_to_3000;
INSERT INTO parts SELECT seq, seq % 5 FROM seq_1_to_99;
DELIMITER //
CREATE TRIGGER grows BEFORE INSERT ON plants FOR EACH ROW BEGIN SET NEW.weight = COALESCE(NEW.weight, 0) + 1; END//
CREATE PROCEDURE water(IN amount INT) BEGIN
  -- a procedure that looks like a dump;
  INSERT INTO parts VALUES (amount, 1);
INSERT INTO `parts` VALUES (2, 2);
END//
CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2//
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO DELETE FROM parts//
DELIMITER ;
"""

_ROWS = ("plants", "`水やり ``log`` VALUES (1);`", "parts", "empty_one", "thirsty", "above")


def fill_database(server: MariadbServer, database: str) -> None:
    """Make the database."""
    quoted = database.replace("`", "``")
    server.sql(f"CREATE DATABASE `{quoted}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    server.sql(FILL, database)


def database_content(server: MariadbServer, database: str, with_events: bool = True) -> dict[str, str]:
    """Return every row of every table, what sequences say, and the code."""
    found = {table: server.sql(f"SELECT * FROM {table} ORDER BY 1, 2" if table != "empty_one" else
                               f"SELECT * FROM {table}", database) for table in _ROWS}
    found["photos"] = server.sql("SELECT HEX(photo), HEX(bits), ST_AsText(place) FROM plants ORDER BY id", database)
    found["sequence"] = server.sql("SELECT next_not_cached_value FROM bills", database)
    name = database.replace("'", "''")
    where = f"= '{name}' ORDER BY 1"
    found["routines"] = server.sql("SELECT routine_name, routine_definition, definer FROM information_schema.routines "
                                   f"WHERE routine_schema {where}")
    found["triggers"] = server.sql("SELECT trigger_name, event_object_table, action_statement FROM "
                                   f"information_schema.triggers WHERE trigger_schema {where}")
    found["keys"] = server.sql("SELECT constraint_name, table_name, referenced_table_name, delete_rule, "
                               "unique_constraint_schema = constraint_schema "
                               f"FROM information_schema.referential_constraints WHERE constraint_schema {where}")
    found["defaults"] = server.sql("SELECT default_collation_name FROM information_schema.schemata "
                                   f"WHERE schema_name {where}")
    if with_events:
        found["events"] = server.sql("SELECT event_name, event_definition, status, starts FROM "
                                     f"information_schema.events WHERE event_schema {where}")
    return found
