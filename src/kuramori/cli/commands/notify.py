"""``kuramori notify``: does the person hear us."""

from __future__ import annotations

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.groups import KuramoriGroup
from kuramori.cli.manager_access import error_json, refuse_repository
from kuramori.cli.options import command as declare
from kuramori.cli.options import global_options
from kuramori.cli.output import complain, say, say_json, shown
from kuramori.cli.translation import translate as _


@click.group("notify", cls=KuramoriGroup, invoke_without_command=True, help=_("try the notices"),
             short_help=_("try the notices"))
@global_options
@click.pass_context
def command(context: click.Context) -> None:
    """Try the notices."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@declare("test", _("send a test notice to everybody whom the settings name"))
@pass_application
def test_command(application: Application) -> int:
    """Send a test notice."""
    from kuramori.cli.environment import time_zone
    from kuramori.cli.settings_access import hostname, load_application_settings
    from kuramori.clock import SystemClock
    from kuramori.errors import NoNotifierError
    from kuramori.notify.notices import Notice, NoticeKind
    from kuramori.notify.teller import make_teller
    from kuramori.scheduling.local_zone import local_zone

    refuse_repository(application)
    settings = load_application_settings(application)
    clock = SystemClock()
    teller = make_teller(settings.notify, translate=_, zone=local_zone(clock, time_zone()))
    deliveries = [*teller.tell(Notice(NoticeKind.TEST, clock.now(), hostname())), *teller.succeeded()]
    if not deliveries:
        raise NoNotifierError
    if application.json:
        say_json([{"notifier": delivery.notifier, "delivered": delivery.error is None,
                   "error": delivery.error and error_json(delivery.error)} for delivery in deliveries])
    else:
        for delivery in deliveries:
            if delivery.error is None:
                say(_("{notifier}: delivered").format(notifier=shown(delivery.notifier)))
            else:
                complain(delivery.error.text(_))
    return 1 if any(delivery.error is not None for delivery in deliveries) else 0


command.add_command(test_command)
