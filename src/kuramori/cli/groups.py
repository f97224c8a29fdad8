"""Commands and groups as click shows them: global options apart, unknown names answered with the nearest."""

from __future__ import annotations

import click

from kuramori.cli.translation import translate as _
from kuramori.spelling import nearest


class GlobalOption(click.Option):
    """An option that every command takes; help lists these after the command's own."""


class KuramoriCommand(click.Command):
    """A command whose help shows its own options first."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options, then the global ones."""
        write_options(self, context, formatter)


class KuramoriGroup(click.Group):
    """A group that shows its help when no command is named."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options, then the commands."""
        write_options(self, context, formatter)
        self.format_commands(context, formatter)

    def resolve_command(self, context: click.Context,
                        args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; an unknown one is answered with the nearest."""
        known = self.list_commands(context)
        if args[0] not in known and not args[0].startswith("-"):
            text = _("there is no command {name}").format(name=args[0])
            raise UnknownNameError(text, nearest(args[0], known), context)
        return super().resolve_command(context, args)


class UnknownNameError(click.UsageError):
    """A command that does not exist."""

    def __init__(self, message: str, nearest: str, context: click.Context) -> None:
        """Say it, and what may have been meant."""
        super().__init__(message, context)
        self.nearest = nearest


def write_options(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options of a command in two sections."""
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            (shared if isinstance(parameter, GlobalOption) else own).append(record)
    for heading, records in ((_("Options"), own), (_("Global options"), shared)):
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)
