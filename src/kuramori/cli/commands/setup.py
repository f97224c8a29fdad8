"""``kuramori setup``: from a few answers to a settings file that works, with a first backup."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json, shown
from kuramori.cli.translation import translate as _
from kuramori.errors import UsageError

if TYPE_CHECKING:
    from kuramori.cli.setup_dialogue import SetupAnswers
    from kuramori.secret import Secret


@declare("setup", _("make a settings file by answering questions, and the first backup"))
@click.option("--source", "sources", multiple=True, metavar="PATH", help=_("what to protect; may be repeated"))
@click.option("--store", metavar="DIR", help=_("where backups are kept"))
@click.option("--schedule", metavar="WHEN", help=_("when it runs: 02:00, a cron expression or \"every 6h\""))
@click.option("--keep-days", metavar="N", help=_("how many days backups are kept; 0 keeps all"))
@click.option("--job", default="main", metavar="NAME", help=_("what the job is called"))
@click.option("--unit", type=click.Choice(["none", "user", "system"]), metavar="KIND",
              help=_("install a systemd service: none, user or system"))
@click.option("--no-backup", is_flag=True, help=_("leave the first backup for later"))
@click.option("--yes", is_flag=True, help=_("ask nothing: take the defaults for all that is not given"))
@click.option("--force", is_flag=True, help=_("replace a settings file; the old one is kept beside it"))
@pass_application
def command(application: Application, sources: tuple[str, ...], store: str | None, schedule: str | None,
            keep_days: str | None, job: str, unit: str | None, no_backup: bool, yes: bool, force: bool) -> int:
    """Make a settings file and the first backup."""
    from kuramori.cli.manager_commands.backup import back_up_jobs
    from kuramori.cli.manager_commands.init import initialise_all
    from kuramori.cli.questions import ask_yes
    from kuramori.cli.setup_dialogue import SetupRequest, ask_for_settings

    if application.json and not yes:
        raise UsageError(detail=_("--json asks no questions: add --yes"))
    path = _settings_path(application)
    password_file, application.password_file = application.password_file, None
    _agree_to_replace(path, yes=yes, force=force)
    answers = ask_for_settings(SetupRequest(sources, store, schedule, keep_days, password_file, job, yes))
    text = _render(answers, path)
    if not yes:
        say()
        say(_("This will be written to {path}:").format(path=shown(str(path))))
        say()
        say("".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n"))
        say()
        if not ask_yes(_("Write it, and make the repository?") if no_backup else
                       _("Write it, and make the repository and the first backup?")):
            say(_("nothing was changed"))
            return 1
    _write(path, text, answers.password, answers)
    application.settings_path, application.repository, application.repository_file = str(path), None, None
    _report(application, path, answers)
    initialise_all(application, renew=False)
    code = 0 if no_backup else back_up_jobs(application, (job,), components=(), run_name="", accept_loss=False)
    _offer_unit(application, unit, yes=yes)
    if not application.json and not application.quiet:
        say(_("Now copy the password in {path} to another place, on paper or into a password manager.").format(
            path=shown(str(_password_file(answers, path)))))
    return code


# --- the file --------------------------------------------------------------------------------


def _settings_path(application: Application) -> Path:
    """Return where the new file goes: where it was said, else to the system's folder for root, and to the user's."""
    from kuramori.cli.settings_access import named_settings, system_settings_file, user_settings_file

    named = named_settings(application)
    chosen = named or (system_settings_file() if os.geteuid() == 0 else user_settings_file())
    return Path(os.path.abspath(chosen))


def _agree_to_replace(path: Path, *, yes: bool, force: bool) -> None:
    """Return if the file may be written.

    Raises:
        UsageError: there is one, and nobody wants it replaced.
    """
    from kuramori.cli.questions import ask_yes

    if not os.path.lexists(path) or force:
        return
    if path.is_dir():
        raise UsageError(detail=_("{path} is a folder; name the file").format(path=shown(str(path))))
    refusal = _("there is a settings file {path} already; --force replaces it").format(path=shown(str(path)))
    if yes:
        raise UsageError(detail=refusal)
    if not ask_yes(_("There is a settings file {path} already. Replace it? (The old one is kept as {old}.)").format(
            path=shown(str(path)), old=shown(_kept(path).name)), default=False):
        raise UsageError(detail=_("nothing was changed"))


def _kept(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def _render(answers: SetupAnswers, path: Path) -> str:
    """Return the text of the new file, which was read again to be sure of it."""
    from kuramori.cli.settings_access import settings_defaults
    from kuramori.settings.draft import render_draft
    from kuramori.settings.loading import parse_settings

    text = render_draft(answers.draft, _password_file(answers, path), _)
    parse_settings(text, path, settings_defaults())
    return text


def _password_file(answers: SetupAnswers, path: Path) -> Path:
    return answers.draft.password_file or path.parent / f"password-{answers.draft.repository}"


def _write(path: Path, text: str, password: Secret | None, answers: SetupAnswers) -> None:
    """Write the password that was typed, then the file: each is there whole or not at all."""
    from kuramori.settings.file_writing import write_atomically
    from kuramori.storage.durable_file import make_folders

    try:
        make_folders(str(path.parent), 0o700)
        if password is not None:
            write_atomically(_password_file(answers, path), password.reveal() + "\n")
        if os.path.lexists(path):
            os.replace(path, _kept(path))
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(detail=_("{path} could not be written: {error}").format(
            path=shown(str(path)), error=_(str(error.strerror)))) from None


def _report(application: Application, path: Path, answers: SetupAnswers) -> None:
    if application.json:
        say_json({"message_type": "setup", "settings": str(path), "password_file": str(_password_file(answers, path)),
                  "repository": str(answers.store.folder), "job": answers.draft.job})
    elif not application.quiet:
        say(_("wrote {path}").format(path=shown(str(path))))


# --- systemd ---------------------------------------------------------------------------------


def _offer_unit(application: Application, unit: str | None, *, yes: bool) -> None:
    """Install the service where that is wanted; else say how it runs by itself."""
    from kuramori.cli.questions import ask_yes

    system = os.geteuid() == 0
    if unit is None and not yes and shutil.which("systemctl"):
        question = _("Install a systemd service that runs it by schedule, for the whole machine?") if system else \
            _("Install a systemd service that runs it by schedule, for you as a user?")
        unit = ("system" if system else "user") if ask_yes(question) else "none"
    if unit in ("system", "user"):
        from kuramori.cli.settings_access import load_application_settings
        from kuramori.cli.unit_installation import install_units, make_units, report_installation

        units = make_units(load_application_settings(application), system=unit == "system", timers=False)
        report_installation(application, install_units(units, system=unit == "system"), system=unit == "system")
    elif not application.json and not application.quiet:
        say(_("kuramori settings units --install has systemd run it by schedule; kuramori daemon does so without "
              "systemd"))
