"""``kuramori version``."""

from __future__ import annotations

import platform

from kuramori import __version__
from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _


@declare("version", _("show the version"))
@pass_application
def command(application: Application) -> None:
    """Show the version."""
    if application.json:
        say_json({"message_type": "version", "version": __version__, "python_version": platform.python_version(),
                  "os": platform.system().lower(), "arch": platform.machine()})
        return
    say(_("kuramori {version}, Python {python} on {system}/{machine}").format(
        version=__version__, python=platform.python_version(), system=platform.system(), machine=platform.machine()))
