"""Words of click that users see, for the catalogues. click asks gettext for them by these texts."""

from __future__ import annotations

from kuramori.errors import N_

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
    N_("Got unexpected extra argument ({args})"),
    N_("{value!r} is not a valid {number_type}."),
    N_("{value!r} is not {choice}."),
    N_("Option {name!r} requires an argument."),
    N_("Option {name!r} does not take a value."),
    N_("Invalid value: {message}"),
    N_("Invalid value for {param_hint}: {message}"),
)
