"""Which packs ``check --read-data-subset`` reads: restic's three ways to say it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from kuramori.errors import N_, Phrase, UsageError
from kuramori.ids import Id

_PART = re.compile(r"(\d{1,9})/(\d{1,9})")
_PERCENTAGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)%")
_SIZE = re.compile(r"(\d{1,15})([kmgt]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_LARGEST_TOTAL = 256


@dataclass(frozen=True, slots=True)
class PackSubset:
    """A choice of packs; one of the three is set."""

    part: tuple[int, int] | None = None
    """``n/t``: the packs whose first byte modulo ``t`` is ``n - 1``."""
    percentage: float = 0.0
    """So many per cent of the packs, at random."""
    size: int = 0
    """Packs of about so many bytes together, at random."""

    def choose(self, packs: Mapping[Id, int]) -> list[Id]:
        """Return the chosen ones of ``packs`` (pack -> size in bytes), at least one if chosen at
        random."""
        if self.part is not None:
            number, total = self.part
            return [pack for pack in packs if pack[0] % total == number - 1]
        percentage = self.percentage
        if self.size:
            percentage = min(100.0, 100.0 * self.size / max(1, sum(packs.values())))
        count = int(len(packs) * percentage / 100.0)
        if packs:
            count = max(1, count)
        return secrets.SystemRandom().sample(list(packs), count)


def parse_subset(text: str) -> PackSubset:
    """Return the choice that ``n/t``, ``x%`` or a size such as ``50M`` names.

    Raises:
        UsageError: it is none of them, or a number makes no sense.
    """
    match = _PART.fullmatch(text)
    if match:
        number, total = int(match[1]), int(match[2])
        if not 1 <= number <= total <= _LARGEST_TOTAL:
            raise UsageError(
                detail=Phrase(N_("in the subset {text}, n/t must have 1 <= n <= t <= {largest}"),
                              text=text, largest=_LARGEST_TOTAL))
        return PackSubset(part=(number, total))
    match = _PERCENTAGE.fullmatch(text)
    if match:
        if not 0.0 < float(match[1]) <= 100.0:
            raise UsageError(detail=Phrase(N_("the subset {text} must be more than 0% and at most 100%"), text=text))
        return PackSubset(percentage=float(match[1]))
    match = _SIZE.fullmatch(text)
    if match and int(match[1]) > 0:
        return PackSubset(size=int(match[1]) * _UNITS[match[2].lower()])
    raise UsageError(
        detail=Phrase(N_("the subset {text} is neither n/t, such as 1/5, nor x%, nor a size such as 50M"),
                      text=text))
