"""Words of click that users see, for the catalogues. click asks gettext for them by these texts."""

from __future__ import annotations

from kuramori.errors import N_


def counted(singular: str, plural: str) -> tuple[str, str]:
    """Mark two forms of a text for the catalogues."""
    return singular, plural


WORDS = (
    N_("Usage:"),
    N_("Options"),
    N_("Arguments"),
    N_("Commands"),
    N_("Show this message and exit."),
    N_("Missing argument"),
    N_("Missing option"),
    N_("Missing parameter"),
    N_("required"),
    N_("default: {default}"),
    N_("{value!r} is not a valid {number_type}."),
    N_("Option {name!r} does not take a value."),
    N_("{value} is not in the range {range}."),
    N_("Invalid value: {message}"),
    N_("Invalid value for {param_hint}: {message}"),
)

COUNTED_WORDS = (
    counted("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    counted("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
    counted("Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."),
)
"""Those of which click asks for a form that fits a number: both belong to one entry of the catalogues."""
