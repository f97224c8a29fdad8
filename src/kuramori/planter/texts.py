"""The messages of the guide's classes, in Japanese unless another language is asked for."""

from __future__ import annotations

import gettext
from collections.abc import Callable
from pathlib import Path

_CATALOGUES = Path(__file__).resolve().parents[1] / "locale"


def translator(language: str) -> Callable[[str], str]:
    """Return what turns the English of the sources into a language; English itself where there is no
    catalogue of it."""
    return gettext.translation("kuramori", str(_CATALOGUES), languages=[language], fallback=True).gettext
