"""
Conditions: what a rule is about. One small language for all sections.

::

    when: {env: prod, service: [checkout, "pay-*"], severity: critical}

Every field must match; a list matches if one of its values does; ``*`` stands for any letters and ``?`` for one.
``none`` is the empty value, as in queries. ``unless`` beside it takes the same form, and none of it may match. The
names of fields are those of queries, and a few for what reports bring along:

====================  =========================================================================================
``severity``          ``meta.severity``, whatever its case
``path``              each file that the report names: `key_inputs.path`, `meta.path`, evidence ``locations``
``meta.NAME``         a member of meta; ``meta.labels.team`` is one inside it
``input.NAME``        an input of the dedupe key
====================  =========================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from backlog_store.model import PRIORITIES, STATUSES, Draft, Item
from backlog_store.policy.findings import Finding, nearest

__all__ = ["FIELDS", "Condition", "Subject", "admits", "check_condition", "covers", "matches", "paths_of", "values_of"]

Subject = Draft | Item
Condition = Mapping[str, str | Sequence[str]]

_LINE = re.compile(r":\d+(:\d+)?$")
_NONE = "none"


def paths_of(subject: Subject) -> tuple[str, ...]:
    """
    Return the files that a draft or an item names, without line numbers.
    """
    found: list[Any] = [subject.key_inputs.get("path"), subject.meta.get("path")]
    locations = subject.evidence_refs.get("locations", ())
    found += locations if isinstance(locations, list | tuple) else [locations]
    texts = [_LINE.sub("", value).removeprefix("./") for value in found if isinstance(value, str) and value]
    return tuple(dict.fromkeys(texts))


def _member(value: Any, path: str) -> tuple[str, ...]:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, list | tuple):
        return tuple(_text(one) for one in value)
    return () if value is None else (_text(value),)


def _text(value: Any) -> str:
    return (
        value if isinstance(value, str) else ("true" if value else "false") if isinstance(value, bool) else f"{value}"
    )


#: What a condition may name, and how a subject answers: all values that it has there.
FIELDS: Mapping[str, Callable[[Subject], tuple[str, ...]]] = {
    "env": lambda subject: (subject.env,),
    "service": lambda subject: (subject.service,),
    "category": lambda subject: (subject.category,),
    "source": lambda subject: (subject.source,),
    "owner": lambda subject: (subject.owner,),
    "title": lambda subject: (subject.title,),
    "key": lambda subject: (subject.dedupe_key,),
    "fix": lambda subject: (subject.fix,),
    "tag": lambda subject: subject.tags,
    "priority": lambda subject: (subject.priority,),
    "status": lambda subject: (subject.status,) if isinstance(subject, Item) else ("open",),
    "severity": lambda subject: tuple(value.lower() for value in _member(subject.meta, "severity")),
    "path": paths_of,
}
_PREFIXES = ("meta.", "input.")
_CLOSED_SETS: Mapping[str, Sequence[str]] = {"priority": PRIORITIES, "status": STATUSES}


def values_of(subject: Subject, name: str) -> tuple[str, ...]:
    """
    Return all values that a draft or an item has under the name of a field of conditions; ``("",)`` for none.
    """
    field = FIELDS.get(name)
    if field is not None:
        found = field(subject)
    elif name.startswith("meta."):
        found = _member(subject.meta, name[5:])
    else:
        found = _member(subject.key_inputs, name[6:]) if "." not in name[6:] else ()
    return found or ("",)


def matches(subject: Subject, when: Condition, unless: Condition | None = None) -> bool:
    """
    Tell whether every field of *when* matches, and none of *unless* does. An empty condition matches everything.
    """
    if any(not _holds(subject, name, wanted) for name, wanted in when.items()):
        return False
    return not any(_holds(subject, name, wanted) for name, wanted in (unless or {}).items())


def admits(when: Condition, name: str, value: str) -> bool:
    """
    Tell whether a condition lets a value of a field through, whatever the other fields are.
    """
    wanted = when.get(name)
    return wanted is None or any(_fits(value, _cased(name, pattern)) for pattern in _listed(wanted))


def _holds(subject: Subject, name: str, wanted: str | Sequence[str]) -> bool:
    values = values_of(subject, name)
    return any(_fits(value, _cased(name, pattern)) for pattern in _listed(wanted) for value in values)


def _listed(wanted: str | Sequence[str]) -> Sequence[str]:
    return (wanted,) if isinstance(wanted, str) else wanted


def _cased(name: str, pattern: str) -> str:
    return pattern.lower() if name == "severity" else pattern


def _fits(value: str, pattern: str) -> bool:
    if pattern == _NONE:
        return value == ""
    if "*" not in pattern and "?" not in pattern:
        return value == pattern
    return value != "" and _compiled(pattern).fullmatch(value) is not None


@lru_cache(maxsize=4_096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if letter == "*" else "." if letter == "?" else re.escape(letter) for letter in pattern)
    return re.compile("".join(parts), re.DOTALL)


def covers(wide: Condition, wide_unless: Condition | None, narrow: Condition, narrow_unless: Condition | None) -> bool:
    """
    Tell whether all that *narrow* matches is surely matched by *wide*: then, of two rules, *narrow* never decides.
    """
    for name, wanted in (wide_unless or {}).items():
        mine = (narrow_unless or {}).get(name)
        if mine is None or not all(_one_covers(name, mine, pattern) for pattern in _listed(wanted)):
            return False
    for name, wanted in wide.items():
        mine = narrow.get(name)
        if mine is None or not all(_one_covers(name, wanted, pattern) for pattern in _listed(mine)):
            return False
    return True


def _one_covers(name: str, wide: str | Sequence[str], narrow: str) -> bool:
    narrow = _cased(name, narrow)
    for pattern in (_cased(name, one) for one in _listed(wide)):
        if pattern == narrow:
            return True
        if _NONE in (pattern, narrow):
            continue
        # A star of the narrow one may be any letters: only a star of the wide one takes it in.
        if "?" not in pattern and _fits(narrow, pattern):
            return True
        if not {"*", "?"} & set(narrow) and _fits(narrow, pattern):
            return True
    return False


def check_condition(condition: Condition, pointer: str) -> Iterator[Finding]:
    """
    Yield the faults of a condition: unknown fields, values that a field never has, a list that is empty.
    """
    for name, wanted in condition.items():
        here = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in FIELDS and not (name.startswith(_PREFIXES) and not name.endswith(".")):
            close = nearest(name, [*FIELDS, *_PREFIXES])
            known = ", ".join([*FIELDS, "meta.NAME", "input.NAME"])
            reason = f"there is no field {name!r}" + ("" if close else f"; known are {known}")
            yield Finding(pointer=here, reason=reason, suggestion=close, at_key=True)
            continue
        values = _listed(wanted)
        if not values:
            yield Finding(pointer=here, reason="an empty list matches nothing")
        for index, value in enumerate(values):
            yield from _check_value(name, value, here if isinstance(wanted, str) else f"{here}/{index}")


def _check_value(name: str, value: str, pointer: str) -> Iterator[Finding]:
    if value == "":
        yield Finding(pointer=pointer, reason="is empty; none is the word for no value")
    known = _CLOSED_SETS.get(name)
    if known is None or value == "":
        return
    if not any(_fits(one, value) for one in known):
        close = nearest(value, known)
        reason = f"{value!r} is no {name}, so this matches nothing" + ("" if close else f"; one of {', '.join(known)}")
        yield Finding(pointer=pointer, reason=reason, suggestion=close)
