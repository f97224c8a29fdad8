"""``kuramori dump``."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.options import make_filter, snapshot_filter_options
from kuramori.cli.translation import translate as _
from kuramori.cli.values import encode_argument
from kuramori.errors import UsageError


@declare("dump", _("write a file or folder of a snapshot to standard output"))
@click.argument("snapshot", metavar="ID[:FOLDER]")
@click.argument("path", metavar="PATH")
@click.option("-a", "--archive", type=click.Choice(["tar", "zip"]), default="tar", metavar="FORMAT",
              help=_("write folders as tar or zip; default: tar"))
@click.option("-t", "--target", metavar="FILE", help=_("write to this file instead"))
@snapshot_filter_options
@pass_application
def command(application: Application, snapshot: str, path: str, archive: str, target: str | None,
            hosts: tuple[str, ...], tags: tuple[str, ...], paths: tuple[str, ...]) -> None:
    """Write a file or folder of a snapshot to standard output."""
    from kuramori.browsing.dump import ArchiveFormat, DumpOptions, dump

    options = DumpOptions(path=encode_argument(path), archive=ArchiveFormat(archive))
    with application.open() as repository, application.lock(repository):
        repository.load_index()
        with _output(target) as writer:
            dump(repository, snapshot, writer, options, make_filter(hosts, tags, paths))


@contextmanager
def _output(target: str | None) -> Iterator[BinaryIO]:
    """Open standard output or a file for a ``with`` block. A file appears under its name when it is
    complete; one that was there stays if the dump fails."""
    if target is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    name = encode_argument(target)
    try:
        if os.path.lexists(name) and not stat.S_ISREG(os.lstat(name).st_mode):
            with open(name, "wb") as file:  # a device, a pipe, a symlink: what the user named is meant
                yield file
            return
        partial = name + b".partial"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(detail=_("{path} cannot be written: {error}").format(
            path=target, error=error.strerror)) from None
    try:
        with open(descriptor, "wb") as file:
            yield file
        os.replace(partial, name)
    except BaseException:
        os.unlink(partial)
        raise
