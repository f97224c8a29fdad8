"""``kuramori mount``."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.mount_options import make_tree_options, tree_options
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.output import say, say_json, shown
from kuramori.cli.translation import translate as _
from kuramori.cli.values import encode_argument


@declare("mount", _("show the snapshots as a folder"))
@click.argument("mount_point", metavar="DIR")
@tree_options
@click.option("--allow-other", is_flag=True, help=_("let other users look into it, as the files' modes allow"))
@click.option("--no-default-permissions", is_flag=True,
              help=_("with --allow-other: let them read everything, whatever the modes say"))
@click.option("--owner-root", is_flag=True, help=_("show everything as owned by root"))
@snapshot_filter_options
@pass_application
def command(application: Application, mount_point: str, allow_other: bool, no_default_permissions: bool,
            owner_root: bool, hosts: tuple[str, ...], tags: tuple[str, ...], paths: tuple[str, ...],
            **tree: Any) -> None:
    """Show the snapshots as a folder."""
    _prefer_version_3()
    from kuramori.mounting.fuse_mounting import MountOptions, mount, require_fuse, require_mount_point
    from kuramori.mounting.virtual_tree import VirtualTree

    folder = encode_argument(mount_point)
    options = make_tree_options(make_filter(hosts, tags, paths), owner_root=owner_root, **tree)
    require_fuse()
    require_mount_point(folder)

    def announce() -> None:
        if application.json:
            say_json({"message_type": "mounted", "mount_point": shown(folder)})
        elif not application.quiet:
            say(_("mounted at {path}; Ctrl-C or fusermount3 -u {path} ends it").format(path=shown(folder)))
            sys.stdout.flush()

    with application.open() as repository, application.lock(repository), closing(application.progress()) as progress, \
            closing(VirtualTree(repository, options, progress)) as shown_tree:
        mounting = MountOptions(allow_other, not no_default_permissions,
                                threads=repository.backend.worker_location is None)
        mount(shown_tree, folder, mounting, announce)


def _prefer_version_3() -> None:
    """Ask for FUSE 3 where both versions are installed: listing folders is quicker with it."""
    from ctypes.util import find_library

    if "FUSE_LIBRARY_NAME" not in os.environ and "FUSE_LIBRARY_PATH" not in os.environ and find_library("fuse3"):
        os.environ["FUSE_LIBRARY_NAME"] = "fuse3"
