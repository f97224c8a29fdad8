"""``kuramori backup``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.environment import variable
from kuramori.cli.interruption import polled_interruption
from kuramori.cli.manager_access import goes_by_settings, refuse_engine_options, refuse_settings_options
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json, size_text
from kuramori.cli.pattern_files import read_lines, read_patterns, read_whole
from kuramori.cli.translation import translate as _
from kuramori.cli.values import encode_argument, parse_moment, parse_size
from kuramori.errors import IncompleteBackupError, UsageError

if TYPE_CHECKING:
    from kuramori.archiving.backup import BackupOptions, BackupResult
    from kuramori.archiving.stream import StreamSource

_GROUP_NAMES = {"hosts": "host", "path": "paths", "tag": "tags"}


@declare("backup", _("save files and folders, or run the jobs of the settings file\n\nWith a repository (-r) the "
                     "arguments are files and folders. Without one they name a job of the settings file; without any "
                     "all jobs run."))
@click.argument("paths", nargs=-1, metavar="[PATH]... | [JOB]")
@click.option("--component", "components", multiple=True, metavar="NAME",
              help=_("with settings: save only this component of the job"))
@click.option("--name", "run_name", default="", metavar="NAME", help=_("with settings: what the run is called"))
@click.option("--accept-loss", is_flag=True,
              help=_("with settings: save also what has lost most of its files since the last run"))
@click.option("-e", "--exclude", multiple=True, metavar="PATTERN", help=_("leave out what matches"))
@click.option("--iexclude", multiple=True, metavar="PATTERN", help=_("the same, whatever the case of letters"))
@click.option("--exclude-file", multiple=True, metavar="FILE", help=_("read such patterns from a file"))
@click.option("--iexclude-file", multiple=True, metavar="FILE", help=_("the same, whatever the case of letters"))
@click.option("--exclude-caches", is_flag=True, help=_("leave out folders marked by a CACHEDIR.TAG file"))
@click.option("--exclude-if-present", multiple=True, metavar="NAME[:HEADER]",
              help=_("leave out folders that contain this file"))
@click.option("--exclude-larger-than", metavar="SIZE", help=_("leave out larger files, as 10M"))
@click.option("-x", "--one-file-system", is_flag=True, help=_("stay on the file systems of the named paths"))
@click.option("--files-from", multiple=True, metavar="FILE",
              help=_("read paths (with wildcards) from a file; - is standard input"))
@click.option("--files-from-verbatim", multiple=True, metavar="FILE",
              help=_("read paths from a file, one a line, as they are"))
@click.option("--files-from-raw", multiple=True, metavar="FILE",
              help=_("read paths from a file, separated by NUL bytes"))
@click.option("--stdin", "from_stdin", is_flag=True, help=_("save standard input as one file"))
@click.option("--stdin-filename", default="stdin", metavar="NAME", help=_("what that file is called"))
@click.option("--stdin-from-command", is_flag=True,
              help=_("run the arguments as a command and save what it prints; no snapshot if it fails"))
@click.option("--tag", multiple=True, metavar="TAG[,TAG]", help=_("mark the snapshot"))
@click.option("-H", "--host", metavar="HOST", help=_("host name to note; default: this machine's"))
@click.option("--time", "moment", metavar="TIME", help=_("time to note, as 2026-11-23 02:00:00"))
@click.option("--databases", is_flag=True,
              help=_("save each SQLite database as one consistent image, also while it is written to"))
@click.option("-n", "--dry-run", is_flag=True, help=_("write nothing, only show what would be done"))
@click.option("--skip-if-unchanged", is_flag=True, help=_("make no snapshot if nothing changed"))
@click.option("-f", "--force", is_flag=True, help=_("read all files again"))
@click.option("--parent", metavar="ID",
              help=_("compare with this snapshot; default: the newest of the same host and paths"))
@click.option("-g", "--group-by", default="host,paths", metavar="GROUP",
              help=_("what the compared snapshot must share: host, paths, tags"))
@click.option("--ignore-inode", is_flag=True, help=_("do not look at inode numbers and change times"))
@click.option("--ignore-ctime", is_flag=True, help=_("do not look at change times"))
@click.option("--with-atime", is_flag=True, help=_("save times of last access too"))
@click.option("--read-concurrency", type=int, metavar="N", help=_("how many files are read at once"))
@click.option("--no-scan", is_flag=True, help=_("do not count beforehand, so the time left is not shown"))
@click.pass_context
@pass_application
def command(application: Application, context: click.Context, paths: tuple[str, ...], components: tuple[str, ...],
            run_name: str, accept_loss: bool, no_scan: bool, **flags: Any) -> int | None:
    """Save files and folders, or run jobs."""
    if goes_by_settings(application):
        from kuramori.cli.manager_commands.backup import back_up_jobs

        refuse_engine_options(context, "paths", "components", "run_name", "accept_loss")
        return back_up_jobs(application, paths, components=components, run_name=run_name, accept_loss=accept_loss)
    refuse_settings_options(context, "components", "run_name", "accept_loss")
    _back_up_paths(application, paths, no_scan, flags)
    return None


def _back_up_paths(application: Application, paths: tuple[str, ...], no_scan: bool, flags: dict[str, Any]) -> None:
    from kuramori.archiving.backup import back_up

    with application.open() as repository, polled_interruption() as cancelled:
        options = _options(application, paths, flags, cancelled)
        display = application.progress()
        try:
            with _Counted(display, options, no_scan):
                result = back_up(repository, options, display)
        finally:
            display.close()
    _report(application, result, options)
    if result.errors:
        raise IncompleteBackupError(count=len(result.errors))


def _options(application: Application, paths: tuple[str, ...], flags: dict[str, Any], cancelled: Any) -> BackupOptions:
    from kuramori import __version__
    from kuramori.archiving.backup import BackupOptions
    from kuramori.archiving.databases import DatabaseOptions
    from kuramori.archiving.parent import ParentOptions

    stream = _stream(paths, flags)
    concurrency = flags["read_concurrency"] or _number(variable("READ_CONCURRENCY"))
    return BackupOptions(
        paths=() if stream is not None else _paths(paths, flags),
        stream=stream,
        excludes=_excludes(flags),
        parent=ParentOptions(
            snapshot=flags["parent"] or "", force=flags["force"], ignore_inode=flags["ignore_inode"],
            ignore_ctime=flags["ignore_ctime"],
            group_by=tuple(_GROUP_NAMES.get(part, part) for part in flags["group_by"].split(",") if part),
        ),
        databases=DatabaseOptions() if flags["databases"] else None,
        tags=tuple(tag for group in flags["tag"] for tag in group.split(",") if tag),
        hostname=flags["host"] or variable("HOST") or "",
        time=parse_moment(flags["moment"]) if flags["moment"] else None,
        with_atime=flags["with_atime"], dry_run=flags["dry_run"], skip_if_unchanged=flags["skip_if_unchanged"],
        compression=application.compression_mode(), pack_size=application.pack_bytes(),
        workers=concurrency, program_version=f"kuramori {__version__}", cancelled=cancelled,
        **application.lock_options(),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _stream(paths: tuple[str, ...], flags: dict[str, Any]) -> StreamSource | None:
    from kuramori.archiving.stream import StreamSource

    name = encode_argument(flags["stdin_filename"])
    if flags["stdin_from_command"]:
        if not paths:
            raise UsageError(detail=_("--stdin-from-command needs a command after --"))
        return StreamSource(filename=name, command=paths)
    if flags["from_stdin"]:
        if paths:
            raise UsageError(detail=_("--stdin and paths exclude each other"))
        return StreamSource(filename=name, descriptor=sys.stdin.fileno())
    return None


def _paths(paths: tuple[str, ...], flags: dict[str, Any]) -> tuple[bytes, ...]:
    found = [encode_argument(path) for path in paths]
    for name in flags["files_from"]:
        for line in read_lines(name):
            if line.strip() and not line.startswith(b"#"):
                found += _expand(line.strip())
    for name in flags["files_from_verbatim"]:
        found += [line for line in read_lines(name) if line]
    for name in flags["files_from_raw"]:
        found += [part for part in read_whole(name).split(b"\0") if part]
    if not found:
        raise UsageError(detail=_("please name what is to be saved: files, folders, --files-from or --stdin"))
    return tuple(found)


def _expand(pattern: bytes) -> list[bytes]:
    import glob

    return sorted(glob.glob(pattern, include_hidden=True)) or [pattern]


def _excludes(flags: dict[str, Any]) -> Any:
    from kuramori.sources.excludes import ExcludeOptions

    larger = flags["exclude_larger_than"]
    return ExcludeOptions(
        patterns=read_patterns(flags["exclude"], flags["exclude_file"]),
        case_insensitive_patterns=read_patterns(flags["iexclude"], flags["iexclude_file"]),
        caches=flags["exclude_caches"], if_present=tuple(map(encode_argument, flags["exclude_if_present"])),
        larger_than=parse_size(larger) if larger else None, one_file_system=flags["one_file_system"],
    )


class _Counted:
    """Counts in a thread what there is to do, so that the share that is done can be shown."""

    def __init__(self, display: Any, options: BackupOptions, no_scan: bool) -> None:
        from kuramori.cli.progress_display import JsonDisplay, TerminalDisplay

        self._wanted = isinstance(display, (JsonDisplay, TerminalDisplay)) and not no_scan and not options.stream
        self._display = display
        self._options = options
        self._stop = False

    def __enter__(self) -> None:
        if self._wanted:
            import threading

            threading.Thread(target=self._count, daemon=True).start()

    def __exit__(self, *ignored: object) -> None:
        self._stop = True

    def _count(self) -> None:
        from kuramori.sources.counting import count_files

        for items, size in count_files(self._options.paths, self._options.excludes):
            if self._stop:
                return
            self._display.set_total(items, size)


def _report(application: Application, result: BackupResult, options: BackupOptions) -> None:
    summary, dry_run = result.summary, options.dry_run
    if application.json:
        fields: dict[str, Any] = {"message_type": "summary"} | ({"dry_run": True} if dry_run else {})
        for name in ("files_new", "files_changed", "files_unmodified", "dirs_new", "dirs_changed", "dirs_unmodified",
                     "data_blobs", "tree_blobs", "data_added", "data_added_packed", "total_files_processed",
                     "total_bytes_processed"):
            fields[name] = getattr(summary, name)
        fields |= {"total_duration": result.seconds, "backup_start": summary.backup_start,
                   "backup_end": summary.backup_end}
        if options.databases is not None:
            from msgspec import to_builtins

            fields["databases"] = to_builtins(result.databases)
        say_json(fields | ({"snapshot_id": result.snapshot_id} if result.snapshot_id else {}))
        return
    if application.quiet:
        return
    if result.parent is not None:
        say(_("compared with snapshot {id}").format(id=result.parent.short_id))
    say()
    say(_("Files:   {new:>9} new, {changed:>9} changed, {unmodified:>9} unmodified").format(
        new=summary.files_new, changed=summary.files_changed, unmodified=summary.files_unmodified))
    say(_("Folders: {new:>9} new, {changed:>9} changed, {unmodified:>9} unmodified").format(
        new=summary.dirs_new, changed=summary.dirs_changed, unmodified=summary.dirs_unmodified))
    added = _("Would add to the repository: {size} ({stored} stored)") if dry_run else \
        _("Added to the repository: {size} ({stored} stored)")
    say(added.format(size=size_text(summary.data_added), stored=size_text(summary.data_added_packed)))
    say()
    say(_("processed {files} files, {size} in {seconds:.1f} s").format(
        files=summary.total_files_processed, size=size_text(summary.total_bytes_processed), seconds=result.seconds))
    if result.snapshot_id:
        say(_("snapshot {id} saved").format(id=result.snapshot_id[:8]))
    elif not dry_run:
        say(_("nothing changed, so no snapshot was made"))
