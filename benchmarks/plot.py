"""The times as a picture: one bar for each program, as long as its time in parts of restic's."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from programs import Program
from report import middle_seconds

_COLOURS = ("#2e7d32", "#9e9e9e", "#c8a45c")
_LEFT, _UNIT, _BAR, _GAP, _TOP = 210, 260, 11, 9, 56
_MOST = 2.4
"""Longer bars end here, and say how long they would be."""


def draw(peers: Sequence[Program], kinds: Sequence[str], steps: Sequence[str]) -> str:
    """Return an SVG of what was measured; restic is the second of the programs."""
    parts: list[str] = []
    y = _TOP
    for kind in kinds:
        parts.append(_text(12, y + 12, kind, "font-weight='bold'"))
        y += 20
        for step in steps:
            parts.append(_text(_LEFT - 8, y + len(peers) * _BAR / 2 + 4, step, "text-anchor='end'"))
            restic = middle_seconds(peers[1].measured[kind, step])
            for program, colour in zip(peers, _COLOURS, strict=False):
                runs = program.measured.get((kind, step))
                if runs is None:
                    continue
                seconds = middle_seconds(runs)
                parts.append(_bar(y, seconds / restic, seconds, colour))
                y += _BAR
            y += _GAP
    width = _LEFT + _UNIT * _MOST + 90
    legend = "".join(
        f"<rect x='{_LEFT + 150 * number}' y='28' width='11' height='11' fill='{colour}'/>"
        + _text(_LEFT + 150 * number + 17, 38, f"{program.name} {program.version}")
        for number, (program, colour) in enumerate(zip(peers, _COLOURS, strict=False)))
    line = (f"<line x1='{_LEFT + _UNIT}' x2='{_LEFT + _UNIT}' y1='{_TOP - 8}' y2='{y}' stroke='#616161' "
            "stroke-dasharray='3 3'/>")
    return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {y + 12}' font-family='sans-serif' "
            f"font-size='11'><rect width='100%' height='100%' fill='white'/>"
            f"{_text(12, 18, 'Seconds, in parts of what restic needs: shorter is better')}"
            f"{legend}{line}{''.join(parts)}</svg>\n")


def _bar(y: int, ratio: float, seconds: float, colour: str) -> str:
    length = min(ratio, _MOST) * _UNIT
    label = f"{seconds:.2f} s" + (f" ({ratio:.1f})" if ratio > _MOST else "")
    return (f"<rect x='{_LEFT}' y='{y}' width='{length:.1f}' height='{_BAR - 1}' fill='{colour}'/>"
            + _text(_LEFT + length + 5, y + _BAR - 2, label, "font-size='9'"))


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' {more}>{escape(text)}</text>"
