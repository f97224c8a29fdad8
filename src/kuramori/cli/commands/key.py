"""``kuramori key``: several passwords for one repository."""

from __future__ import annotations

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.groups import KuramoriGroup
from kuramori.cli.options import command as declare
from kuramori.cli.options import global_options
from kuramori.cli.output import say, say_json, shown, table, time_text
from kuramori.cli.translation import translate as _
from kuramori.secret import Secret


@click.group("key", cls=KuramoriGroup, invoke_without_command=True, help=_("manage passwords"),
             short_help=_("manage passwords"))
@global_options
@click.pass_context
def command(context: click.Context) -> None:
    """Manage passwords."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@declare("list", _("list the keys"))
@pass_application
def list_command(application: Application) -> None:
    """List the keys."""
    from kuramori.repository.keys import list_keys

    with application.open() as repository, application.lock(repository):
        keys = list_keys(repository)
    if application.json:
        say_json([{"current": key.current, "id": key.id, "userName": key.username, "hostName": key.hostname,
                   "created": time_text(key.created)} for key in keys])
        return
    table((_(" ID"), _("User"), _("Host"), _("Created")),
          [(("*" if key.current else " ") + key.id[:8], shown(key.username), shown(key.hostname),
            time_text(key.created)) for key in keys])


def _new_password(new_password_file: str | None, no_password: bool) -> Secret:
    from kuramori.cli.passwords import ask, read_password_file, require

    if no_password:
        return Secret("")
    if new_password_file:
        return require(read_password_file(new_password_file))
    return require(ask(_("new password: "), twice=True))


_new_password_file = click.option("--new-password-file", metavar="FILE", help=_("a file that holds the new password"))
_new_no_password = click.option("--new-insecure-no-password", "no_password", is_flag=True,
                                help=_("make the new password empty"))
_user = click.option("--user", "username", metavar="NAME", help=_("user name to note in the key"))
_host = click.option("--host", "hostname", metavar="NAME", help=_("host name to note in the key"))


@declare("add", _("add a password"))
@_new_password_file
@_new_no_password
@_user
@_host
@pass_application
def add_command(application: Application, new_password_file: str | None, no_password: bool,
                username: str | None, hostname: str | None) -> None:
    """Add a password."""
    from kuramori.repository.keys import add_key
    from kuramori.repository.process_identity import current_identity

    identity = current_identity()
    with application.open() as repository, application.lock(repository, reading=False):
        name = add_key(repository, _new_password(new_password_file, no_password),
                       username=username or identity.username, hostname=hostname or identity.hostname)
    _saved(application, name)


@declare("passwd", _("change the password"))
@_new_password_file
@_new_no_password
@_user
@_host
@pass_application
def passwd_command(application: Application, new_password_file: str | None, no_password: bool,
                   username: str | None, hostname: str | None) -> None:
    """Change the password."""
    from kuramori.repository.keys import change_password
    from kuramori.repository.process_identity import current_identity

    identity = current_identity()
    with application.open() as repository, application.lock(repository, exclusive=True):
        name = change_password(repository, _new_password(new_password_file, no_password),
                               username=username or identity.username, hostname=hostname or identity.hostname)
    _saved(application, name)


@declare("remove", _("remove a password by the id of its key"))
@click.argument("name", metavar="ID")
@pass_application
def remove_command(application: Application, name: str) -> None:
    """Remove a password."""
    from kuramori.repository.keys import remove_key

    with application.open() as repository, application.lock(repository, exclusive=True):
        removed = remove_key(repository, name)
    if not application.quiet and not application.json:
        say(_("removed key {id}").format(id=removed))


def _saved(application: Application, name: str) -> None:
    if not application.quiet and not application.json:
        say(_("saved new key with ID {id}").format(id=name))


for _each in (list_command, add_command, passwd_command, remove_command):
    command.add_command(_each)
