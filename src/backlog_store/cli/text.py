"""
Text for terminals: what cannot harm one, how wide it is, and its colours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["columns_of", "cut", "neutral", "padded", "paint", "plural", "table", "width"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def neutral(text: str, *, lines: bool = False) -> str:
    """
    Return *text* with everything that steers a terminal (escapes, other controls, bidirectional marks) made visible.

    With *lines* line ends and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter, lines=lines) else _escaped(letter) for letter in text)


def _is_harmless(letter: str, *, lines: bool) -> bool:
    if letter in "\n\t":
        return lines
    # Joiners belong to words and emoji; all else that is not printable may steer or hide.
    return letter.isprintable() or letter in "\u200c\u200d"


def _escaped(letter: str) -> str:
    if letter in "\n\r\t":
        return " "
    return letter.encode("unicode_escape").decode("ascii") if ord(letter) < 0xE0000 else ""


def width(text: str) -> int:
    """
    Return how many columns *text* takes on a terminal.
    """
    if text.isascii():
        return len(text)
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or letter in "\u200b\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """
    Return *text*, or its beginning and an ellipsis, in at most that many columns.
    """
    if width(text) <= columns:
        return text
    taken, used = [], 0
    for letter in text:
        used += _columns(letter)
        if used > columns - 1:
            break
        taken.append(letter)
    return "".join(taken).rstrip() + "…"


def padded(text: str, columns: int) -> str:
    """
    Return *text* filled with spaces to that many columns.
    """
    return text + " " * max(0, columns - width(text))


def paint(text: str, *styles: str, on: bool) -> str:
    """
    Return *text* in these styles, if colour is *on*.
    """
    if not on or not text:
        return text
    codes = ";".join(_CODES[style] for style in styles)
    return f"\x1b[{codes}m{text}\x1b[0m"


def plural(count: int, noun: str, many: str = "") -> str:
    """
    Return "1 item", "2 items", "1,000 items".
    """
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def columns_of(rows: Iterable[Sequence[str]]) -> list[int]:
    """
    Return the width of each column.
    """
    widths: list[int] = []
    for row in rows:
        for index, cell in enumerate(row):
            if index == len(widths):
                widths.append(0)
            widths[index] = max(widths[index], width(cell))
    return widths


def table(
    rows: Sequence[Sequence[str]],
    *,
    head: Sequence[str] = (),
    room: int = 0,
    styles: Sequence[Sequence[str]] = (),
    color: bool = False,
    indent: str = "",
) -> list[str]:
    """
    Return aligned lines of *rows* (texts made neutral here) under *head*.

    *styles* names the style of each cell; the last column is cut to fit *room* columns (0: never).
    """
    shown = [[neutral(cell) for cell in row] for row in rows]
    widths = columns_of([head, *shown] if head else shown)
    lines = []
    if head:
        lines.append(_line([name.upper() for name in head], widths, room, ["dim"] * len(head), indent, color=color))
    for number, row in enumerate(shown):
        lines.append(_line(row, widths, room, styles[number] if styles else (), indent, color=color))
    return lines


def _line(
    row: Sequence[str], widths: Sequence[int], room: int, styles: Sequence[str], indent: str, *, color: bool
) -> str:
    cells = []
    last = len(row) - 1
    left = room - width(indent)
    for index, cell in enumerate(row):
        fitting = cut(cell, max(10, left)) if room and index == last else cell
        text = fitting if index == last else padded(fitting, widths[index])
        left -= widths[index] + 2
        style = styles[index] if index < len(styles) else ""
        cells.append(paint(text, style, on=color and bool(style)))
    return (indent + "  ".join(cells)).rstrip()
