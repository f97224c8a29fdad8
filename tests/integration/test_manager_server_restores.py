"""Servers' databases and commands through the manager and ``kuramori.toml``: everything that belongs to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kuramori.errors import UsageError
from kuramori.manager.model import ComponentState, RestoreRunOptions, RestoreRunResult, RunState
from kuramori.settings.model import ComponentKind, DatabaseServer
from kuramori.sources.server_address import ServerAddress
from samples.mariadb_content import database_content as mariadb_content
from samples.mariadb_content import fill_database as fill_mariadb
from samples.mariadb_server import PASSWORD as MARIADB_PASSWORD
from samples.mariadb_server import SUPERUSER, MariadbServer
from samples.planter import Planter, make_planter
from samples.postgres_content import database_content as postgres_content
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


def _restore(planter: Planter, **options: object) -> RestoreRunResult:
    planter.clock.advance(60)
    return planter.manager.restore(RestoreRunOptions("latest", **options))  # type: ignore[arg-type]


def test_servers_are_restored_in_place_and_undone(tmp_path: Path, postgres_server: PostgresServer,
                                                   mariadb_server: MariadbServer) -> None:
    """What was there is kept and named; undo brings it back; dropping what is kept drops nothing else."""
    fill_postgres(postgres_server, "planter")
    fill_mariadb(mariadb_server, "planter")
    planter = _with_servers(tmp_path, postgres_server, mariadb_server)
    assert planter.back_up().state is RunState.COMPLETE
    saved = postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")
    postgres_server.psql("DELETE FROM parts", "planter")
    mariadb_server.sql("DELETE FROM parts; DROP TRIGGER grows", "planter")
    (tmp_path / "images" / "0.txt").write_text("changed")
    changed = postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")

    foreseen = _restore(planter, dry_run=True)
    assert foreseen.components["shop"].target == f"{postgres_server.folder}/planter"
    assert (postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")) == changed

    result = _restore(planter)
    assert result.success, planter.told.texts
    for name in ("shop", "blog"):
        assert result.components[name].verified
        assert result.components[name].kept.startswith("planter_before_")
    assert (postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")) == saved

    undone = planter.manager.undo_restore()
    assert undone.success, planter.told.texts
    assert "planter_undone_" in undone.components["shop"].kept
    assert (postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")) == changed
    assert (tmp_path / "images" / "0.txt").read_text() == "changed"
    assert planter.manager.list_restores() == []

    again = _restore(planter, components=("shop", "blog"))
    assert planter.manager.drop_kept(again.restore_id) == 2
    assert postgres_server.psql("SELECT datname FROM pg_database WHERE datname ~ 'before'") == ""
    assert (postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")) == saved


@pytest.mark.exhaustive
def test_one_server_into_another_database(tmp_path: Path, postgres_server: PostgresServer,
                                          mariadb_server: MariadbServer) -> None:
    """``--database`` touches nothing but that database; it must be clear which component is meant."""
    fill_postgres(postgres_server, "planter")
    fill_mariadb(mariadb_server, "planter")
    planter = _with_servers(tmp_path, postgres_server, mariadb_server)
    planter.back_up()
    (tmp_path / "images" / "0.txt").write_text("changed")
    for components in ((), ("images",), ("shop", "images")):
        with pytest.raises(UsageError, match="--database"):
            _restore(planter, database="trial", components=components)
    for name in ("shop", "blog"):
        result = _restore(planter, database="trial", components=(name,))
        assert result.success, planter.told.texts
        assert result.components[name].kept == ""
    assert postgres_content(postgres_server, "trial") == postgres_content(postgres_server, "planter")
    assert mariadb_content(mariadb_server, "trial") == mariadb_content(mariadb_server, "planter")
    assert (tmp_path / "images" / "0.txt").read_text() == "changed"
    assert planter.manager.undo_restore().success
    assert mariadb_server.sql("SHOW DATABASES LIKE 'trial'") == ""


def test_one_failing_server_leaves_the_rest(tmp_path: Path, postgres_server: PostgresServer,
                                            mariadb_server: MariadbServer) -> None:
    """A server that is away fails its component; the others are restored, and can be undone."""
    fill_postgres(postgres_server, "planter")
    fill_mariadb(mariadb_server, "planter")
    planter = _with_servers(tmp_path, postgres_server, mariadb_server)
    planter.back_up()
    postgres_server.psql("DELETE FROM parts", "planter")
    planter.change_component("blog", server=_server(mariadb_server.address(host="/no/such/socket")))
    result = _restore(planter)
    assert not result.success
    assert result.components["shop"].success
    assert "does not answer" in str(result.components["blog"].errors[0])
    assert postgres_server.psql("SELECT count(*) FROM parts", "planter") == "99\n"
    assert planter.manager.undo_restore().success
    assert postgres_server.psql("SELECT count(*) FROM parts", "planter") == "0\n"


def test_output_of_a_command_is_fed_back(tmp_path: Path) -> None:
    """Into the restore command; without one, or where that fails, the component fails and says so."""
    planter = make_planter(tmp_path)
    back = tmp_path / "back"
    planter.change_component("list", kind=ComponentKind.COMMAND, sources=(), command=("echo", "kept"),
                             restore_command=("sh", "-c", f"cat > {back}"))
    planter.back_up()
    result = _restore(planter, components=("list",))
    assert (result.success, result.restore_id) == (True, "")
    assert back.read_text() == "kept\n"
    assert planter.manager.list_restores() == []
    for command, said in (((), "restore_command"), (("sh", "-c", "cat >&2; exit 4"), "kept"),
                          (("/no/such/program",), "No such file")):
        planter.change_component("list", restore_command=command)
        failed = _restore(planter, components=("list",)).components["list"]
        assert not failed.success
        assert said in str(failed.errors[0])
    folder = tmp_path / "folder"
    assert _restore(planter, components=("list",), target=folder).success
    assert (folder / "list" / "list").read_text() == "kept\n"


@pytest.mark.exhaustive
def test_settings_and_commands_from_end_to_end(tmp_path: Path, postgres_server: PostgresServer,
                                               mariadb_server: MariadbServer) -> None:
    """``kuramori.toml``, ``backup``, ``restore``, ``restore --database``, ``restore --undo``: as a user types them.
    The password is in nothing that is printed or written."""
    fill_postgres(postgres_server, "planter")
    fill_mariadb(mariadb_server, "planter")
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text("x\n")
    settings = tmp_path / "kuramori.toml"
    settings.write_text(f"""
state_directory = "{tmp_path}/state"
[repositories.usb]
location = "{tmp_path}/repository"
password_file = "{tmp_path}/password"
[jobs.planter.components.shop]
kind = "postgres"
host = "{postgres_server.folder}"
port = {postgres_server.port}
user = "{SUPERUSER}"
[jobs.planter.components.blog]
kind = "mysql"
host = "{mariadb_server.socket}"
user = "{SUPERUSER}"
password_file = "{mariadb_server.password_file}"
""")

    def kuramori(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "kuramori", "--settings", settings, *arguments],
                              capture_output=True, check=False, timeout=120)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, said
        assert MARIADB_PASSWORD not in said
        return said

    kuramori("init")
    kuramori("backup")
    saved = postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")
    postgres_server.psql("DROP TABLE parts", "planter")
    mariadb_server.sql("DROP TABLE parts", "planter")
    kuramori("restore", "latest", "--component", "blog", "--database", "trial")
    assert mariadb_content(mariadb_server, "trial") == saved[1]
    assert "planter_before_" in kuramori("restore", "latest")
    assert (postgres_content(postgres_server, "planter"), mariadb_content(mariadb_server, "planter")) == saved
    kuramori("restore", "--undo")
    assert postgres_server.psql("SELECT count(*) FROM pg_class WHERE relname = 'parts'", "planter") == "0\n"
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        assert MARIADB_PASSWORD.encode() not in path.read_bytes()
