"""
What columns hold in place of a field: stages in ``status``, ``9999-99-99`` in ``due`` for none, an instant for its day.

So an open item that waits for a live one stands in another branch of each index than one that is ready, and what is
ready is found without walking past what waits; no column, no index and no write is needed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from backlog_store.model import STATUSES, stage_of
from backlog_store.query import NO_DUE, OPERATORS, All, Any_, Compare, In, Not, Where

__all__ = ["in_columns", "staged", "tally_keys"]

_STAGES: dict[str, tuple[str, ...]] = {
    status: tuple(dict.fromkeys((status, stage_of(status, 1)))) for status in STATUSES
}
_STATUS = {stage: status for status, stages in _STAGES.items() for stage in stages if stage not in STATUSES}
#: The instants of which a field is the day.
_INSTANTS = {"created_on": "created_at", "closed_on": "closed_at"}
_DAY = len("2026-01-01")


def in_columns(where: Where) -> Where:
    """
    Return the same condition in terms of what columns of items hold: stages, and instants in place of days.
    """
    return _rewritten(staged(where), _in_instants)


def staged(where: Where) -> Where:
    """
    Return the same condition with stages in place of statuses.
    """
    return _rewritten(where, _in_stages)


def _rewritten(where: Where, leaf: Callable[[Where], Where]) -> Where:
    match where:
        case All(parts):
            return All(tuple(_rewritten(part, leaf) for part in parts))
        case Any_(parts):
            return Any_(tuple(_rewritten(part, leaf) for part in parts))
        case Not(part):
            return Not(_rewritten(part, leaf))
        case _:
            return leaf(where)


def _in_stages(where: Where) -> Where:
    match where:
        case In("status", values):
            return In("stage", tuple(stage for value in values for stage in _STAGES.get(value, ())))
        case Compare("status", op, value):
            return _in_stages(In("status", tuple(status for status in STATUSES if OPERATORS[op](status, value))))
        case _:
            return where


def _in_instants(where: Where) -> Where:
    match where:
        case In(name, values) if name in _INSTANTS:
            days = sorted({value for value in values if len(value) == _DAY})
            none = (In(_INSTANTS[name], ("",)),) if "" in values else ()
            return Any_((*none, *(All((_day(name, ">=", day), _day(name, "<=", day))) for day in days)))
        case Compare(name, op, value) if name in _INSTANTS:
            return _day(name, op, value)
        case _:
            return where


def _day(name: str, op: str, day: str) -> Where:
    # Instants of a day begin with it: all of them stand behind the day itself, and before the day and a "~". No day is
    # equal to a longer text, which stands behind the day that it begins with, or to a shorter one.
    is_behind = len(day) > _DAY or (len(day) == _DAY and op in {"<=", ">"})
    return Compare(_INSTANTS[name], "<" if op.startswith("<") else ">=", day[:_DAY] + "~" * is_behind)


#: What stands in a column in place of the field.
_SHOWN: dict[str, Callable[[str], str]] = {
    "due_date": lambda day: "" if day == NO_DUE else day, "status": lambda stage: _STATUS.get(stage, stage)
}  # fmt: skip


def tally_keys(by: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[tuple[str, ...], int]:
    """
    Return the rows of `compile_tally`, added up, as the port's mapping: no zeros, "no due date" as the empty text.
    """
    shown = [_SHOWN.get(name) for name in by]
    counts: dict[tuple[str, ...], int] = {}
    for *facets, count in rows:
        key = tuple([show(value) if show else value for show, value in zip(shown, facets, strict=True)])
        counts[key] = counts.get(key, 0) + count
    return {key: count for key, count in counts.items() if count}
