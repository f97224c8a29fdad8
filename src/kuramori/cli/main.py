"""The command ``kuramori``: finds the command, runs it, and turns every error into one sentence
and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from kuramori.cli.application import Application
from kuramori.cli.environment import debugging
from kuramori.cli.groups import KuramoriGroup, UnknownNameError
from kuramori.cli.interruption import ended_by_signals
from kuramori.cli.options import global_options
from kuramori.cli.output import complain
from kuramori.cli.translation import choose_language
from kuramori.cli.translation import translate as _
from kuramori.errors import N_, Interrupted, KuramoriError
from kuramori.spelling import nearest

_COMMANDS = {
    "backup": ("backup", N_("save files and folders")),
    "cat": ("cat", N_("print an object of the repository")),
    "check": ("check", N_("look for errors in the repository")),
    "cleanup": ("cleanup", N_("remove old runs, by the rules of the settings file")),
    "copy": ("copy", N_("copy snapshots from another repository")),
    "daemon": ("daemon", N_("run backups, cleanups and checks by their schedules")),
    "diff": ("diff", N_("compare two snapshots")),
    "dump": ("dump", N_("write a file or folder of a snapshot to standard output")),
    "find": ("find", N_("find files in snapshots")),
    "fleet": ("fleet", N_("say how all devices stand whose repositories are in one place")),
    "forget": ("forget", N_("remove snapshots, by rules or by name")),
    "history": ("history", N_("list what was done, or show one operation with its log")),
    "init": ("init", N_("make a new repository")),
    "key": ("key", N_("manage passwords")),
    "list": ("list", N_("list objects of the repository")),
    "ls": ("ls", N_("list what is in a snapshot")),
    "mount": ("mount", N_("show the snapshots as a folder")),
    "migrate": ("migrate", N_("bring the repository to a newer form")),
    "notify": ("notify", N_("try the notices")),
    "prune": ("prune", N_("remove data that no snapshot uses")),
    "recover": ("recover", N_("make a snapshot of folders that no snapshot has any more")),
    "repair": ("repair", N_("repair a damaged repository")),
    "restore": ("restore", N_("bring back what a snapshot holds")),
    "rewrite": ("rewrite", N_("make snapshots anew without some files, or with another host or time")),
    "serve-webdav": ("serve_webdav", N_("show the snapshots to file managers and browsers")),
    "schedule": ("schedule", N_("show what runs next, and when")),
    "settings": ("settings", N_("check or show the settings")),
    "setup": ("setup", N_("make a settings file by answering questions")),
    "snapshots": ("snapshots", N_("list the snapshots")),
    "status": ("status", N_("say whether all is well")),
    "stats": ("stats", N_("show how much is stored")),
    "tag": ("tag", N_("change the tags of snapshots")),
    "unlock": ("unlock", N_("remove locks that nobody holds any more")),
    "version": ("version", N_("show the version")),
}


class LazyGroup(KuramoriGroup):
    """A group whose commands are imported when they are used. Its help needs none of them."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command. Where a signal ended it, click would print a blank line and say less."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise Interrupted from None

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        entry = _COMMANDS.get(name)
        if entry is None:
            return None
        module = importlib.import_module(f"kuramori.cli.commands.{entry[0]}")
        found = module.command
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, _(text)) for name, (_module, text) in sorted(_COMMANDS.items())])


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        context.invoke(importlib.import_module("kuramori.cli.commands.version").command)
        context.exit()


def make_group() -> click.Group:
    """Return the command line, in the language that was chosen."""

    @click.group("kuramori", cls=LazyGroup, invoke_without_command=True, help=_(
        "Keeps the data of small machines safe: backups in the public restic format, encrypted, compressed and "
        "deduplicated."), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
    @global_options
    @click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
                  help=_("show the version"))
    @click.pass_context
    def group(context: click.Context) -> None:
        context.ensure_object(Application).command = context.invoked_subcommand or ""
        if context.invoked_subcommand is None:
            click.echo(context.get_help())

    return group


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _make_streams_robust()
    choose_language(given, os.environ)
    application = Application()
    code = run(given, application)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        code = code or 1
    except OSError as error:
        _silence_stdout()
        code = code or _unexpected(error, application)
    sys.exit(code)


def run(arguments: Sequence[str], application: Application) -> int:
    """Run the command line; return the exit code."""
    try:
        with ended_by_signals():
            result = make_group().main(args=_without_levels(arguments), prog_name="kuramori", standalone_mode=False,
                                       obj=application)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        return _usage_error(error, application)
    except click.ClickException as error:
        return _failed(error.format_message(), "", 1, application)
    except (KeyboardInterrupt, click.Abort, Interrupted):
        # Only these upload and go on later: for all others the advice would be about nothing.
        advice = Interrupted().advice_text(_) if application.command in ("backup", "copy") else ""
        return _failed(Interrupted().text(_), advice, Interrupted.exit_code, application)
    except KuramoriError as error:
        return _failed(error.text(_), error.advice_text(_), error.exit_code, application)
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except Exception as error:  # the last resort: a bug of ours must not show a traceback
        return _unexpected(error, application)


def _without_levels(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with restic's ``--verbose=2`` written as ``-v -v``."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    plain = []
    for argument in arguments[:end]:
        name, _equals, level = argument.partition("=")
        if name == "--verbose" and level in ("0", "1", "2"):
            plain += ["-v"] * int(level)
        else:
            plain.append(argument)
    return [*plain, *arguments[end:]]


def _usage_error(error: click.UsageError, application: Application) -> int:
    text, near = error.format_message(), ""
    if isinstance(error, UnknownNameError):
        near = error.nearest
    elif isinstance(error, click.NoSuchOption):
        text = _("there is no option {name}").format(name=error.option_name)
        near = nearest(error.option_name, error.possibilities or (), 0)
    if near:
        return _failed(text, _("did you mean {near}?").format(near=near), 1, application)
    command = error.ctx.command_path if error.ctx is not None else f"kuramori {application.command}".rstrip()
    return _failed(text, _("{command} --help shows what there is").format(command=command), 1, application)


def _failed(text: str, advice: str, code: int, application: Application) -> int:
    text = text.rstrip(".。")
    message = f"{text}; {advice}" if advice else text
    if application.json:
        from kuramori.cli.output import to_json

        complain(to_json({"message_type": "exit_error", "code": code, "message": message}))
    else:
        complain(_("kuramori: {message}").format(message=message))
    return code


def _unexpected(error: Exception, application: Application) -> int:
    if debugging():
        import traceback

        traceback.print_exc()
    if isinstance(error, MemoryError):
        return _failed(_("there is not enough memory"), "", 1, application)
    if isinstance(error, OSError):
        return _failed(_("the system refused: {error}").format(error=error.strerror or type(error).__name__), "", 1,
                       application)
    return _failed(_("something unexpected happened ({kind})").format(kind=type(error).__name__),
                   _("KURAMORI_DEBUG=1 shows the details, for a report"), 1, application)


def _make_streams_robust() -> None:
    """Make streams escape what they cannot show, and put something where one is closed: a file
    opened later would get its number, and what is printed would go into that file."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            while os.open(os.devnull, os.O_RDWR) < number:
                pass
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _silence_stdout() -> None:
    """Whoever read our output is gone: do not complain again while the interpreter ends."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass
