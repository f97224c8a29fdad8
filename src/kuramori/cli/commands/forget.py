"""``kuramori forget``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.application import Application, pass_application
from kuramori.cli.options import command as declare
from kuramori.cli.options import long_filter_options, make_filter, split_tags
from kuramori.cli.output import complain, say, say_json, shown, snapshot_json
from kuramori.cli.prune_options import make_policy, prune_options, report_prune
from kuramori.cli.size_report import report_size_plan, report_size_reached
from kuramori.cli.snapshot_table import print_snapshots
from kuramori.cli.translation import translate as _
from kuramori.cli.translation import translate_count
from kuramori.cli.values import parse_size
from kuramori.errors import IncompleteForgetError, IncompletePruneError, UsageError

if TYPE_CHECKING:
    from kuramori.maintenance.forget import ForgetGroup, ForgetOptions, ForgetResult
    from kuramori.model.retention import GroupKey, Reason, RetentionPolicy
    from kuramori.model.snapshot import StoredSnapshot

_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_DURATIONS = ("within", "within-hourly", "within-daily", "within-weekly", "within-monthly", "within-yearly")


def _rule_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the rules; the command gets them as keyword arguments for :func:`_make_rules`."""
    counts = (_("so many of the newest, or unlimited"), _("the newest of each of so many hours"),
              _("the newest of each of so many days"), _("the newest of each of so many weeks"),
              _("the newest of each of so many months"), _("the newest of each of so many years"))
    durations = (_("all within a duration such as 1y5m7d2h before the newest"), _("of those, the newest of each hour"),
                 _("of those, the newest of each day"), _("of those, the newest of each week"),
                 _("of those, the newest of each month"), _("of those, the newest of each year"))
    letters = ("-l", "-H", "-d", "-w", "-m", "-y")
    decorators = [click.option(letter, f"--keep-{name}", default="0", metavar="N", show_default=False, help=text)
                  for letter, name, text in zip(letters, _COUNTS, counts, strict=True)]
    decorators += [click.option(f"--keep-{name}", default="", metavar="DURATION", help=text)
                   for name, text in zip(_DURATIONS, durations, strict=True)]
    decorators.append(click.option("--keep-tag", multiple=True, metavar="TAG[,TAG]", help=_("all with these tags")))
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


@declare("forget", _("remove snapshots, by rules or by name"))
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_rule_options
@click.option("--unsafe-allow-remove-all", is_flag=True,
              help=_("remove all that --host, --tag and --path mean, without any rule"))
@long_filter_options
@click.option("--hostname", "old_hosts", multiple=True, hidden=True)
@click.option("-c", "--compact", is_flag=True, help=_("one line for each snapshot"))
@click.option("-g", "--group-by", default="host,paths", metavar="GROUP",
              help=_("apply the rules to each group by host, paths, tags; '' for all at once"))
@click.option("--accept-missing", is_flag=True,
              help=_("snapshots that vanished were forgotten on purpose by another machine or by restic"))
@click.option("-n", "--dry-run", is_flag=True, help=_("only say what would be done"))
@click.option("--prune", "prune_too", is_flag=True, help=_("prune afterwards, if snapshots were removed"))
@click.option("--max-size", metavar="SIZE", help=_("with --prune: the oldest go until the repository has no more than "
                                                   "this, such as 50G"))
@prune_options
@pass_application
def command(application: Application, **flags: Any) -> None:
    """Remove snapshots, by rules or by name."""
    from kuramori.maintenance.forget import forget

    options = _make_options(application, flags)
    reporter = _Reporter(application, flags["compact"], flags["group_by"])
    display = application.progress()
    with application.open(maintenance=True) as repository:
        location = repository.backend.location
        try:
            result = forget(repository, _with_reporter(options, reporter), display)
        finally:
            display.close()
    reporter.report(result)
    if result.prune is not None:
        report_prune(application, result.prune)
    report_size_reached(application, location, result)
    unfinished = len(result.errors) + (len(result.retained) if options.ids else 0)
    if unfinished:
        raise IncompleteForgetError(location=location, count=unfinished)
    if result.prune is not None and result.prune.errors:
        raise IncompletePruneError(location=location, count=len(result.prune.errors))


def _with_reporter(options: ForgetOptions, reporter: _Reporter) -> ForgetOptions:
    from dataclasses import replace

    return replace(options, before_prune=reporter.report)


def _make_options(application: Application, flags: dict[str, Any]) -> ForgetOptions:
    """Return what the flags mean.

    Raises:
        UsageError: one of them cannot be understood.
    """
    from kuramori.maintenance.forget import ForgetOptions
    from kuramori.model.retention import parse_grouping

    ids, tags, paths = flags.pop("ids"), flags.pop("tags"), flags.pop("paths")
    hosts = flags.pop("old_hosts") + flags.pop("hosts")
    if ids and "latest" not in ids and (hosts or tags or paths):
        complain(_("--host, --tag and --path mean nothing here, because snapshots are named"))
    policy = _make_rules(flags)
    try:
        grouping = parse_grouping(flags["group_by"])
    except ValueError as error:
        raise UsageError(detail=_("--group-by {text}: {reason}").format(
            text=flags["group_by"], reason=_(str(error)))) from None
    prune_flags = ("max_unused", "max_repack_size", "repack_cacheable_only", "repack_small", "repack_smaller_than",
                   "repack_uncompressed")
    return ForgetOptions(
        policy=policy, grouping=grouping, snapshot_filter=make_filter(hosts, tags, paths), ids=ids,
        allow_remove_all=flags["unsafe_allow_remove_all"], accept_missing=flags["accept_missing"],
        dry_run=flags["dry_run"], prune=flags["prune_too"],
        max_size=None if flags["max_size"] is None else parse_size(flags["max_size"]),
        before_size_limit=lambda plan: report_size_plan(application, plan),
        prune_policy=make_policy(application, **{name: flags[name] for name in prune_flags}),
        compression=application.compression_mode(), **application.lock_options())


def _make_rules(flags: dict[str, Any]) -> RetentionPolicy:
    from kuramori.model.calendar import parse_calendar_duration
    from kuramori.model.retention import RetentionPolicy

    rules: dict[str, Any] = {name: _parse_count(f"--keep-{name}", flags[f"keep_{name}"]) for name in _COUNTS}
    for name in _DURATIONS:
        field = name.replace("-", "_")
        try:
            rules[field] = parse_calendar_duration(flags[f"keep_{field}"])
        except ValueError as error:
            raise UsageError(detail=_("--keep-{name} {text}: {reason}").format(
                name=name, text=flags[f"keep_{field}"], reason=_(str(error)))) from None
    return RetentionPolicy(tags=split_tags(flags["keep_tag"]), **rules)


def _parse_count(option: str, text: str) -> int:
    from kuramori.model.retention import UNLIMITED

    if text == "unlimited":
        return UNLIMITED
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UsageError(detail=_("{option} takes a number or the word unlimited, not {text}").format(
            option=option, text=text))
    return int(text)


class _Reporter:
    """Says what was forgotten, once: before the prune, if there is one."""

    def __init__(self, application: Application, compact: bool, group_by: str) -> None:
        """Say it as the options want it."""
        self._application = application
        self._compact = compact
        self._tags_sorted = "tag" in group_by
        self._done = False

    def report(self, result: ForgetResult) -> None:
        """Say what was or would be removed."""
        if self._done:
            return
        self._done = True
        for error in result.not_found:
            complain(_("left out: {reason}").format(reason=error.text(_)))
        if self._application.json:
            if result.groups:
                say_json([self._group_json(group) for group in result.groups])
        elif not self._application.quiet:
            for group in result.groups:
                self._print_group(group)
            if not result.groups and result.dry_run and result.removed:
                print_snapshots(result.removed, self._compact)
            _say_count(result)

    def _print_group(self, group: ForgetGroup) -> None:
        kept, removed = group.selection.kept, group.selection.removed
        title = _group_title(group.key)
        if title:
            say(title)
        if kept:
            say(translate_count("keep {count} snapshot:", "keep {count} snapshots:", len(kept)).format(count=len(kept)))
            reasons = {each.stored.id: [_reason_text(reason) for reason in each.reasons] for each in kept}
            print_snapshots([each.stored for each in reversed(kept)], self._compact, reasons)
        if removed:
            say(translate_count("remove {count} snapshot:", "remove {count} snapshots:", len(removed)).format(
                count=len(removed)))
            print_snapshots(removed[::-1], self._compact)
        say()

    def _group_json(self, group: ForgetGroup) -> dict[str, Any]:
        key, selection = group.key, group.selection
        return {
            "tags": key.tags, "host": key.host, "paths": key.paths,
            "keep": self._snapshots_json([each.stored for each in selection.kept]),
            "remove": self._snapshots_json(selection.removed),
            "reasons": [{"snapshot": self._snapshot_json(each.stored), "matches": [str(why) for why in each.reasons]}
                        for each in selection.kept] or None,
        }

    def _snapshots_json(self, found: Sequence[StoredSnapshot]) -> list[dict[str, Any]] | None:
        return [self._snapshot_json(stored) for stored in found] or None

    def _snapshot_json(self, stored: StoredSnapshot) -> dict[str, Any]:
        """Return a snapshot as restic prints it here: what groups are made of is sorted."""
        fields = snapshot_json(stored)
        fields["paths"] = sorted(fields["paths"])
        if self._tags_sorted and fields.get("tags"):
            fields["tags"] = sorted(fields["tags"])
        return fields


def _group_title(key: GroupKey) -> str:
    parts = []
    if key.host:
        parts.append(_("host: {name}").format(name=shown(key.host)))
    if key.paths is not None:
        parts.append(_("paths: {names}").format(names=", ".join(map(shown, key.paths))))
    if key.tags is not None:
        parts.append(_("tags: {names}").format(names=", ".join(map(shown, key.tags))))
    return "; ".join(parts)


def _reason_text(reason: Reason) -> str:
    return _(reason.template).replace("{value}", reason.value)


def _say_count(result: ForgetResult) -> None:
    count = len(result.removed)
    if not count and not result.errors and not result.retained:
        say(_("there is nothing to remove"))
    elif result.dry_run:
        say(translate_count("{count} snapshot would be removed", "{count} snapshots would be removed", count).format(
            count=count))
    else:
        say(translate_count("removed {count} snapshot", "removed {count} snapshots", count).format(count=count))
