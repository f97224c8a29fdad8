"""Options of the commands that show the repository as a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from kuramori.cli.translation import translate as _
from kuramori.cli.values import parse_size

if TYPE_CHECKING:
    from kuramori.mounting.virtual_tree import TreeOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def tree_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says how the snapshots are laid out; the command gets them as keyword arguments for
    :func:`make_tree_options`."""
    for decorator in reversed([
        click.option("--path-template", "path_templates", multiple=True, metavar="TEMPLATE",
                     help=_("folders of snapshots, as hosts/%h/%T; several times for several")),
        click.option("--time-template", metavar="TEMPLATE",
                     help=_("how times look in names: 2006-01-02T15:04:05Z07:00 in another form")),
        click.option("--cache-size", metavar="SIZE", help=_("memory for what was read; default: 192M")),
    ]):
        function = decorator(function)
    return function


def make_tree_options(snapshot_filter: Any, *, path_templates: tuple[str, ...], time_template: str | None,
                      cache_size: str | None, owner_root: bool = False) -> TreeOptions:
    """Return the options that the command line means."""
    from kuramori.mounting.layout import DEFAULT_PATHS, Layout
    from kuramori.mounting.time_template import RFC3339
    from kuramori.mounting.virtual_tree import TreeOptions

    layout = Layout(path_templates or DEFAULT_PATHS, RFC3339 if time_template is None else time_template)
    sizes = {} if cache_size is None else {"cache_bytes": parse_size(cache_size)}
    return TreeOptions(layout=layout, snapshot_filter=snapshot_filter, owner=(os.getuid(), os.getgid()),
                       owner_root=owner_root, **sizes)
