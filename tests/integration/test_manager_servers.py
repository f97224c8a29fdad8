"""Databases on real servers through the manager: saved, dropped, restored in place, taken back."""

from __future__ import annotations

import sys
from pathlib import Path

from kuramori.errors import DatabaseServerError, RestoreTargetError, UsageError
from kuramori.manager.model import ComponentState, RestoreRunOptions
from kuramori.settings.model import ComponentKind, DatabaseServer
from kuramori.sources.server_address import ServerAddress
from samples.mariadb_server import MariadbServer
from samples.planter import Planter, make_planter
from samples.postgres_server import PostgresServer


def _server(address: ServerAddress, database: str) -> DatabaseServer:
    return DatabaseServer(database, address.host, address.port, address.user, address.password_file,
                          address.defaults_file)


def _planter(folder: Path, kind: ComponentKind, address: ServerAddress, database: str = "shop") -> Planter:
    planter = make_planter(folder, repositories=("usb",))
    planter.change_component("database", kind=kind, sources=(), server=_server(address, database))
    return planter


def test_postgres_comes_back_in_place_and_the_restore_is_undone(tmp_path: Path,
                                                               postgres_server: PostgresServer) -> None:
    postgres_server.psql("CREATE DATABASE shop")
    postgres_server.psql("CREATE TABLE item (id int); INSERT INTO item SELECT generate_series(1, 100)", "shop")
    planter = _planter(tmp_path, ComponentKind.POSTGRES, postgres_server.address())
    outcome = planter.back_up().components["database"]
    assert outcome.state is ComponentState.COMPLETE, planter.told.texts
    assert [(table.name, table.rows) for table in outcome.databases[0].tables] == [("public.item", 100)]
    postgres_server.psql("DELETE FROM item WHERE id > 3", "shop")
    result = planter.manager.restore(RestoreRunOptions("latest", components=("database",)))
    assert result.success, planter.told.texts
    assert postgres_server.psql("SELECT count(*) FROM item", "shop").strip() == "100"
    kept = result.components["database"].kept
    assert postgres_server.psql("SELECT count(*) FROM item", kept).strip() == "3"
    assert planter.history.restores()[0].components[0].kept == kept
    undone = planter.manager.undo_restore()
    assert undone.success
    assert postgres_server.psql("SELECT count(*) FROM item", "shop").strip() == "3"
    again = planter.manager.restore(RestoreRunOptions("latest", components=("database",), database="other"))
    assert again.success
    assert postgres_server.psql("SELECT count(*) FROM item", "other").strip() == "100"
    assert postgres_server.psql("SELECT count(*) FROM item", "shop").strip() == "3"
    last = planter.manager.restore(RestoreRunOptions("latest", components=("database",)))
    assert planter.manager.drop_kept(last.restore_id) == 1
    names = postgres_server.psql("SELECT datname FROM pg_database").split()
    assert last.components["database"].kept not in names


def test_mariadb_comes_back_in_place_and_the_restore_is_undone(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    mariadb_server.sql("CREATE DATABASE shop; CREATE TABLE shop.item (id int primary key); "
                       "INSERT INTO shop.item VALUES (1), (2), (3)")
    planter = _planter(tmp_path, ComponentKind.MYSQL, mariadb_server.address())
    outcome = planter.back_up().components["database"]
    assert outcome.state is ComponentState.COMPLETE, planter.told.texts
    mariadb_server.sql("DELETE FROM shop.item WHERE id > 1")
    result = planter.manager.restore(RestoreRunOptions("latest", components=("database",)))
    assert result.success, planter.told.texts
    assert mariadb_server.sql("SELECT count(*) FROM shop.item").split()[-1] == "3"
    assert planter.manager.undo_restore().success
    assert mariadb_server.sql("SELECT count(*) FROM shop.item").split()[-1] == "1"


def test_a_server_that_is_away_fails_its_component_only(tmp_path: Path, postgres_server: PostgresServer) -> None:
    address = ServerAddress(host=str(tmp_path / "nowhere"))
    planter = _planter(tmp_path, ComponentKind.POSTGRES, address)
    result = planter.back_up()
    assert isinstance(result.components["database"].errors[0], DatabaseServerError)
    assert result.components["images"].state is ComponentState.COMPLETE


def test_several_databases_do_not_go_into_one(tmp_path: Path, postgres_server: PostgresServer) -> None:
    for name in ("shop", "garden"):
        postgres_server.psql(f"CREATE DATABASE {name}")
    planter = _planter(tmp_path, ComponentKind.POSTGRES, postgres_server.address(), "")
    assert len(planter.back_up().components["database"].databases) == 2
    result = planter.manager.restore(RestoreRunOptions("latest", components=("database",), database="other"))
    assert isinstance(result.components["database"].errors[0], UsageError)
    folder = planter.manager.restore(RestoreRunOptions("latest", components=("database",), target=tmp_path / "out"))
    assert folder.success
    assert {path.name for path in (tmp_path / "out" / "database").rglob("*.dump")} == {"shop.dump", "garden.dump"}


def test_the_output_of_a_command_goes_back_to_a_command(tmp_path: Path) -> None:
    planter = make_planter(tmp_path, repositories=("usb",))
    planter.change_component("crontab", kind=ComponentKind.COMMAND, sources=(),
                             command=(sys.executable, "-c", "print('0 2 * * * water')"))
    planter.back_up()
    refused = planter.manager.restore(RestoreRunOptions("latest", components=("crontab",)))
    assert isinstance(refused.components["crontab"].errors[0], RestoreTargetError)
    program = f"import sys; open({str(tmp_path / 'back')!r}, 'w').write(sys.stdin.read())"
    planter.change_component("crontab", restore_command=(sys.executable, "-c", program))
    assert planter.manager.restore(RestoreRunOptions("latest", components=("crontab",))).success
    assert (tmp_path / "back").read_text() == "0 2 * * * water\n"
    planter.change_component("crontab", restore_command=(sys.executable, "-c", "raise SystemExit('no')"))
    failed = planter.manager.restore(RestoreRunOptions("latest", components=("crontab",)))
    assert not failed.success
    assert "no" in planter.told.texts
