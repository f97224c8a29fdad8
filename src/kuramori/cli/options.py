"""Options that several commands take. Global ones may stand before or after the command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kuramori.cli.application import Application
from kuramori.cli.environment import variable
from kuramori.cli.groups import GlobalOption, KuramoriCommand
from kuramori.cli.translation import LANGUAGES
from kuramori.cli.translation import translate as _

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value is None or value is False or value == () or (parameter.name == "verbose" and not value):
        return value
    application = context.find_object(Application)
    if application is None:
        application = context.ensure_object(Application)
    assert parameter.name is not None
    if isinstance(value, tuple):  # may stand before the command and after it
        value = (*getattr(application, parameter.name), *value)
    setattr(application, parameter.name, value)
    return value


def _global(*names: str, **settings: Any) -> Decorator:
    return click.option(*names, cls=GlobalOption, expose_value=False, callback=_store, **settings)


def global_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the global options to a command or to the group."""
    for decorator in reversed(_global_decorators()):
        function = decorator(function)
    return function


def _global_decorators() -> list[Decorator]:
    return [
        _global("-r", "--repo", "repository", metavar="LOCATION",
                help=_("where the repository is: a folder, rest:https://host/, sftp:host:path, s3:host/bucket, gs:, "
                       "azure:, rclone:remote:path, webdav:https://host/; or its name in the settings file")),
        _global("--repository-file", metavar="FILE", help=_("a file that holds the location")),
        _global("--settings", "settings_path", metavar="FILE", help=_("the settings file; default: kuramori.toml")),
        _global("-p", "--password-file", metavar="FILE", help=_("a file that holds the password")),
        _global("--password-command", metavar="COMMAND", help=_("a command that prints the password")),
        _global("--insecure-no-password", is_flag=True, help=_("use an empty password")),
        _global("--key-hint", metavar="ID", help=_("the key to try first")),
        _global("--no-lock", is_flag=True, help=_("take no lock; for stores that cannot be written")),
        _global("--retry-lock", metavar="DURATION", help=_("wait for other programs' locks, as 10m")),
        _global("--no-cache", is_flag=True, help=_("keep no local copies of remote files")),
        _global("--cache-dir", "cache_directory", metavar="DIR", help=_("where local copies of remote files are kept")),
        _global("-o", "--option", "store_options", multiple=True, metavar="KEY=VALUE",
                help=_("a setting of the store, by restic's names, as s3.storage-class=STANDARD_IA")),
        _global("--connections", type=click.IntRange(1), metavar="N",
                help=_("how many files to send and fetch at once; default: 5, on this machine 2")),
        _global("--limit-upload", type=click.IntRange(0), metavar="RATE", help=_("send at most so many KiB/s")),
        _global("--limit-download", type=click.IntRange(0), metavar="RATE", help=_("fetch at most so many KiB/s")),
        _global("--cacert", "ca_certificates", metavar="FILE",
                help=_("certificates to judge servers by, in place of the system's")),
        _global("--tls-client-cert", "client_certificate", metavar="FILE",
                help=_("a certificate and its key, to show to servers")),
        _global("--insecure-tls", is_flag=True, help=_("do not judge the certificates of servers; dangerous")),
        _global("--stuck-request-timeout", metavar="DURATION",
                help=_("try again where nothing has moved for so long; default: 2m")),
        _global("--json", is_flag=True, help=_("print JSON, as restic does")),
        _global("-q", "--quiet", is_flag=True, help=_("print only errors and what was asked for")),
        _global("-v", "--verbose", count=True, help=_("say more; twice for every file")),
        _global("--compression", metavar="MODE", help=_("auto, off, fastest, better or max")),
        _global("--pack-size", type=int, metavar="MIB", help=_("size of the repository's pack files, 4 to 128")),
        _global("--language", type=click.Choice(LANGUAGES), metavar="LANG",
                help=_("language of the messages: en or ja")),
    ]


def snapshot_filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--host``, ``--tag`` and ``--path``; the command gets ``hosts``, ``tags``, ``paths``."""
    return _filter_options("-H", "--host")(function)


def long_filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same without the short ``-H``, which means something else in some commands."""
    return _filter_options("--host")(function)


def _filter_options(*host_names: str) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed([
            click.option(*host_names, "hosts", multiple=True, metavar="HOST", help=_("only snapshots of this host")),
            click.option("--tag", "tags", multiple=True, metavar="TAG[,TAG]",
                         help=_("only snapshots with all these tags")),
            click.option("--path", "paths", multiple=True, metavar="PATH", help=_("only snapshots of this path")),
        ]):
            function = decorator(function)
        return function

    return decorate


def source_repository_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says where the repository to copy or repair from is; the command gets them as keyword arguments
    for :meth:`Application.source`."""
    for decorator in reversed([
        click.option("--from-repo", metavar="LOCATION",
                     help=_("where the source repository is, or its name in the settings file")),
        click.option("--from-repository-file", metavar="FILE", help=_("a file that holds its location")),
        click.option("--from-password-file", metavar="FILE", help=_("a file that holds its password")),
        click.option("--from-password-command", metavar="COMMAND", help=_("a command that prints its password")),
        click.option("--from-key-hint", metavar="ID", help=_("its key to try first")),
        click.option("--from-insecure-no-password", is_flag=True, help=_("use an empty password for it")),
    ]):
        function = decorator(function)
    return function


def make_filter(hosts: tuple[str, ...], tags: tuple[str, ...], paths: tuple[str, ...]) -> Any:
    """Return the filter that the options of :func:`snapshot_filter_options` mean. Without ``--host``
    the variable ``KURAMORI_HOST`` counts; an empty ``--host`` means every host."""
    from kuramori.repository.snapshots import SnapshotFilter

    host = variable("HOST")
    if not hosts and host:
        hosts = (host,)
    elif hosts == ("",):
        hosts = ()
    return SnapshotFilter(hosts=hosts, tags=split_tags(tags), paths=paths)


def split_tags(texts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the tags of options that look like ``tag,tag``."""
    return tuple(tuple(part.strip() for part in text.split(",")) for text in texts)


def command(name: str, help_text: str, without: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command with the global options.

    Args:
        without: names of global options that the command has in a form of its own.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        declare = click.command(name, cls=KuramoriCommand, help=help_text, short_help=help_text.split("\n")[0])
        declared: click.Command = declare(global_options(function))
        declared.params = [parameter for parameter in declared.params
                           if not (isinstance(parameter, GlobalOption) and parameter.name in without)]
        return declared

    return decorate
