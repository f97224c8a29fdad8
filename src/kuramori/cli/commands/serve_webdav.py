"""``kuramori serve-webdav``."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.mount_options import make_tree_options, tree_options
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _
from kuramori.errors import UsageError


@declare("serve-webdav", _("show the snapshots to file managers and browsers"))
@click.option("--listen", default="127.0.0.1:8080", metavar="HOST:PORT",
              help=_("where to listen; default: 127.0.0.1:8080; port 0 is any that is free"))
@click.option("--allow-remote", is_flag=True, help=_("let other machines ask as well; needs a user and a password"))
@click.option("--web-user", default="", metavar="NAME", help=_("who may read"))
@click.option("--web-password-file", metavar="FILE", help=_("a file that holds the password of this user"))
@click.option("--tls-certificate", metavar="FILE", help=_("serve HTTPS with this certificate"))
@click.option("--tls-key", metavar="FILE", help=_("the certificate's key, if it is in another file"))
@tree_options
@snapshot_filter_options
@pass_application
def command(application: Application, listen: str, allow_remote: bool, web_user: str, web_password_file: str | None,
            tls_certificate: str | None, tls_key: str | None, hosts: tuple[str, ...], tags: tuple[str, ...],
            paths: tuple[str, ...], **tree: Any) -> None:
    """Show the snapshots to file managers and browsers."""
    from kuramori.cli.passwords import read_password_file, require
    from kuramori.mounting.virtual_tree import VirtualTree
    from kuramori.mounting.webdav_serving import ServeOptions, WebdavServer

    host, port = _address(listen)
    password = None if web_password_file is None else require(read_password_file(web_password_file))
    serving = ServeOptions(host=host, port=port, allow_remote=allow_remote, user=web_user, password=password,
                           certificate=None if tls_certificate is None else Path(tls_certificate),
                           certificate_key=None if tls_key is None else Path(tls_key))
    options = make_tree_options(make_filter(hosts, tags, paths), **tree)
    with application.open() as repository, application.lock(repository), closing(application.progress()) as progress, \
            closing(VirtualTree(repository, options, progress)) as shown_tree, \
            closing(WebdavServer(shown_tree, serving)) as server:
        try:
            _announce(application, server.url)
            while server.wait(1.0):
                pass
        except KeyboardInterrupt:
            return  # that is how it ends


def _announce(application: Application, url: str) -> None:
    if application.json:
        say_json({"message_type": "serving", "url": url})
    elif not application.quiet:
        say(_("serving at {url}; Ctrl-C ends it").format(url=url))
        sys.stdout.flush()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(detail=_("an address looks like 127.0.0.1:8080, not {text}").format(text=text))
    return host.strip("[]"), int(port)
