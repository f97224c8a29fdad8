"""Components that are databases of servers, through the manager and ``kuramori.toml``."""

from __future__ import annotations

from pathlib import Path

from kuramori.manager.model import ComponentState
from kuramori.settings.model import ComponentKind, DatabaseServer
from kuramori.sources.server_address import ServerAddress
from samples.mariadb_content import fill_database as fill_mariadb
from samples.mariadb_server import MariadbServer
from samples.planter import Planter, make_planter
from samples.postgres_content import fill_database as fill_postgres
from samples.postgres_server import PostgresServer


def _server(address: ServerAddress) -> DatabaseServer:
    return DatabaseServer(database=address.database, host=address.host, port=address.port, user=address.user,
                          password_file=address.password_file, defaults_file=address.defaults_file)


def _with_servers(folder: Path, postgres: PostgresServer, mariadb: MariadbServer) -> Planter:
    planter = make_planter(folder)
    for name, kind, address in (("shop", ComponentKind.POSTGRES, postgres.address()),
                                ("blog", ComponentKind.MYSQL, mariadb.address())):
        planter.change_component(name, kind=kind, sources=(), server=_server(address))
    return planter


def test_servers_are_saved_with_what_proves_them(tmp_path: Path, postgres_server: PostgresServer,
                                                 mariadb_server: MariadbServer) -> None:
    """Each server is one component with a record for each database; one that is away fails alone."""
    fill_postgres(postgres_server, "planter")
    fill_mariadb(mariadb_server, "planter")
    planter = _with_servers(tmp_path, postgres_server, mariadb_server)
    outcomes = planter.back_up().components
    assert {outcome.state for outcome in outcomes.values()} == {ComponentState.COMPLETE}
    stored = planter.manager.list_runs(repository="nas")[-1].components
    for name in ("shop", "blog"):
        (record,) = stored[name].databases
        assert record == outcomes[name].databases[0]
        assert {table.name.rpartition(".")[2]: table.rows for table in record.tables}["plants"] == 2000
    planter.change_component("blog", server=_server(mariadb_server.address(host="/no/such/socket")))
    failed = planter.back_up().components
    assert failed["blog"].state is ComponentState.FAILED
    assert "does not answer" in str(failed["blog"].errors[0])
    assert failed["shop"].state is ComponentState.COMPLETE
