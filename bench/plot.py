"""
Plots as SVG, written by hand: the same figures give the same bytes, and it reads well on a light and a dark page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil

from msgspec import Struct

__all__ = ["Line", "plot"]

_ROW, _LEFT, _WIDTH, _TOP = 22, 190, 760, 58
_RIGHT = 70
_COLORS = (("#0a6ebd", "#5cb3f5"), ("#c2410c", "#fb923c"), ("#15803d", "#4ade80"), ("#7e22ce", "#c084fc"))
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .quiet { fill: #59636e; font-size: 12px }
  .grid { stroke: #d1d9e0 }
  .goal { stroke: #cf222e; stroke-dasharray: 5 4 }
  .goal-text { fill: #cf222e; font-size: 12px }
"""
_DARK = """
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .goal { stroke: #ff7b72 }
    .goal-text { fill: #ff7b72 }
"""


class Line(Struct, frozen=True):
    """
    One row of a plot: its label, the group it stands in, and a value for each mark.
    """

    label: str
    group: str
    values: Sequence[float]


def plot(title: str, marks: Sequence[str], rows: Sequence[Line], *, goal: float = 0.0) -> str:
    """
    Return an SVG: one row a line, a dot for each of *marks*, and the *goal* as a dashed line (0: none).
    """
    most = max([goal * 1.2, *(value for row in rows for value in row.values)])
    step = _step(most)
    ticks = [number * step for number in range(ceil(most / step) + 1)]
    across = (_WIDTH - _LEFT - _RIGHT) / ticks[-1]
    parts: list[str] = []
    down = _TOP
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            down += _ROW + 6
            parts.append(_text(12, down, group, "title"))
        down += _ROW
        parts.append(_text(24, down, row.label))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{down - 4}" y2="{down - 4}"/>')
        for number, value in enumerate(row.values):
            place = f'cx="{_LEFT + value * across:.1f}" cy="{down - 4}"'
            parts.append(f'<circle class="c{number % len(_COLORS)}" {place} r="5"><title>{value:.2f}</title></circle>')
        parts.append(_text(_WIDTH - _RIGHT + 12, down, f"{row.values[-1]:.2f}", "quiet"))
    bottom = down + 10
    scale = [_scale(_LEFT + tick * across, bottom, f"{tick:g}") for tick in ticks]
    if goal:
        place = f"{_LEFT + goal * across:.1f}"
        scale.append(f'<line class="goal" x1="{place}" x2="{place}" y1="{_TOP}" y2="{bottom}"/>')
        scale.append(f'<text class="goal-text" x="{place}" y="{_TOP - 5}" text-anchor="middle">goal {goal:g}</text>')
    return _page(title, marks, [*scale, *parts], bottom + 26)


def _step(most: float) -> float:
    step = 0.25
    while most / step > 10:
        step *= 2
    return step


def _scale(across: float, bottom: int, label: str) -> str:
    line = f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{_TOP}" y2="{bottom}"/>'
    return f'{line}<text class="quiet" x="{across:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>'


def _page(title: str, marks: Sequence[str], parts: Sequence[str], height: int) -> str:
    light = "".join(f"  .c{number} {{ fill: {color} }}\n" for number, (color, _) in enumerate(_COLORS))
    dark = "".join(f"    .c{number} {{ fill: {color} }}\n" for number, (_, color) in enumerate(_COLORS))
    legend = []
    across = 24
    for number, mark in enumerate(marks):
        legend.append(f'<circle class="c{number % len(_COLORS)}" cx="{across}" cy="40" r="5"/>')
        legend.append(_text(across + 10, 44, mark, "quiet"))
        across += 40 + 8 * len(mark)
    body = "\n".join([_text(12, 22, title, "title"), *legend, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{_STYLE}{light}'
        f"  @media (prefers-color-scheme: dark) {{{_DARK}{dark}  }}\n</style>\n{body}\n</svg>\n"
    )


def _text(across: float, down: float, text: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{across}" y="{down}">{escape(text)}</text>'
