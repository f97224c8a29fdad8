"""``kuramori recover``."""

from __future__ import annotations

from kuramori import __version__
from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.output import say, say_json
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count


@declare("recover", _("make a snapshot of folders that no snapshot has any more, as after a forget by mistake"))
@pass_application
def command(application: Application) -> None:
    """Make a snapshot of what no snapshot has."""
    from kuramori.maintenance.recover import RecoverOptions, recover

    options = RecoverOptions(program_version=f"kuramori {__version__}", retry_lock_seconds=application.retry_seconds(),
                             lock_waiting=application.lock_options()["lock_waiting"])
    display = application.progress()
    application.no_cache = True  # a copy on this machine proves nothing
    with application.open() as repository:
        try:
            result = recover(repository, options, display)
        finally:
            display.close()
    if application.json:
        say_json({"message_type": "summary", "snapshot_id": result.snapshot_id, "trees": result.trees,
                  "roots": result.roots, "damaged_trees": len(result.damaged), "index_changed": result.index.changed})
        return
    if application.quiet:
        return
    say(translate_count("found {count} folder that nothing leads to", "found {count} folders that nothing leads to",
                        len(result.roots)).format(count=len(result.roots)))
    if application.verbose:
        for root in result.roots:
            say(f"  {root}")
    if result.snapshot_id is not None:
        say(_("saved new snapshot {id}").format(id=result.snapshot_id[:8]))
    else:
        say(_("there is nothing to recover"))
