"""``kuramori settings``: is the settings file right, what does it mean, and how does one look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.groups import KuramoriGroup
from kuramori.cli.options import command as declare
from kuramori.cli.options import global_options
from kuramori.cli.output import complain, say, say_json, shown
from kuramori.cli.translation import current_language, translate_count
from kuramori.cli.translation import translate as _

if TYPE_CHECKING:
    from kuramori.errors import SettingsProblem


@click.group("settings", cls=KuramoriGroup, invoke_without_command=True, help=_("check or show the settings"),
             short_help=_("check or show the settings"))
@global_options
@click.pass_context
def command(context: click.Context) -> None:
    """Check or show the settings."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@declare("check", _("say whether the settings file is right, and what to look at"))
@pass_application
def check_command(application: Application) -> int:
    """Say whether the settings file is right."""
    from kuramori.cli.settings_access import find_application_settings, load_application_settings
    from kuramori.errors import SettingsError
    from kuramori.settings.inspection import inspect_settings

    path = find_application_settings(application)
    try:
        settings = load_application_settings(application)
    except SettingsError as error:
        if not application.json:
            raise
        say_json(_report(path, error.problems, ()))
        return error.exit_code
    warnings = inspect_settings(settings)
    if application.json:
        say_json(_report(path, (), warnings))
        return 0
    for warning in warnings:
        complain(_("note: {text}").format(text=warning.text(_)))
    if not application.quiet:
        jobs = translate_count("{count} job", "{count} jobs", len(settings.jobs)).format(count=len(settings.jobs))
        say(_("{path} is fine: {jobs}").format(path=shown(str(path)), jobs=jobs))
    return 0


def _report(path: Path, problems: Any, warnings: Any) -> dict[str, Any]:
    return {"message_type": "settings", "path": str(path), "valid": not problems,
            "problems": [_problem(each) for each in problems], "warnings": [_problem(each) for each in warnings]}


def _problem(problem: SettingsProblem) -> dict[str, Any]:
    """Return a problem for programs: in English, whatever the language."""
    fields = {"path": problem.place, "message": str(problem.message)}
    if problem.allowed is not None:
        fields["allowed"] = str(problem.allowed)
    if problem.nearest:
        fields["nearest"] = problem.nearest
    return fields


@declare("show", _("show the settings with every default, without secrets"))
@pass_application
def show_command(application: Application) -> None:
    """Show the settings as they count."""
    from kuramori.cli.settings_access import load_application_settings
    from kuramori.settings.effective import describe_settings
    from kuramori.settings.toml_text import to_toml

    settings = load_application_settings(application)
    document = describe_settings(settings)
    if application.json:
        say_json({"path": str(settings.path), **document})
        return
    say("# " + shown(str(settings.path)))
    say(to_toml(document).rstrip("\n"))


@declare("example", _("print a settings file that explains every setting"))
def example_command() -> None:
    """Print an example."""
    from kuramori.settings.example import render_example

    say(render_example(_, current_language()).rstrip("\n"))


@declare("units", _("print or install systemd units: a service for the daemon, or a timer"))
@click.option("--system/--user", "system", default=None,
              help=_("for the whole machine, as root; or for this user only. Default: the system for root"))
@click.option("--timer", "timers", is_flag=True, help=_("a timer that starts what is due, instead of a service"))
@click.option("--install", is_flag=True, help=_("put them in their place and start them"))
@pass_application
def units_command(application: Application, system: bool | None, timers: bool, install: bool) -> None:
    """Print or install systemd units."""
    from kuramori.cli.settings_access import load_application_settings
    from kuramori.cli.unit_installation import install_units, make_units, report_installation, units_folder

    settings = load_application_settings(application)
    for_system = os.geteuid() == 0 if system is None else system
    units = make_units(settings, system=for_system, timers=timers)
    if install:
        report_installation(application, install_units(units, system=for_system), system=for_system)
        return
    if application.json:
        say_json([{"name": unit.name, "text": unit.text} for unit in units])
        return
    for number, unit in enumerate(units):
        say(("\n" if number else "") + f"# {units_folder(system=for_system) / unit.name}")
        say(unit.text.rstrip("\n"))


command.add_command(check_command)
command.add_command(units_command)
command.add_command(show_command)
command.add_command(example_command)
