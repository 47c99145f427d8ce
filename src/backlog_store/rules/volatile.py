"""
The lint of keys: parts that change from report to report, so that one problem would become many items.

A match is a reason to look, no proof: a date may belong to a problem. So reports are told of it and go on, unless asked
to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from backlog_store.model import Event, Item

__all__ = ["Volatile", "varies", "volatile_parts"]

#: What is volatile, by name; the first one that matches at a place names it.
_KINDS: dict[str, str] = {
    "timestamp": r"\d{4}-\d\d-\d\d[T _]\d\d:?\d\d(?::?\d\d)?\S{0,8}|\b(?:19|20)\d\d-[01]\d-[0-3]\d\b",
    "UUID": r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",
    "hexadecimal address": r"\b0x[0-9a-f]{6,16}\b",
    "temporary path": r"(?:/private)?/(?:tmp|var/tmp|var/folders)/[^\s:]+|\\(?:Temp|tmp)\\[^\s:]+",
    "port": r"(?:\blocalhost|\b\d{1,3}(?:\.\d{1,3}){3}|\]):\d{2,5}\b",
    "line number": r"\.[A-Za-z]{1,5}:\d+(?::\d+)?\b|\blines?[ =:]\d+\b|#L\d+\b",
    "run id": r"\b(?:run|build|job|pid|attempt)[-_ =#/:]{1,2}\d+\b",
    "long number": r"(?<![0-9A-Za-z.])\d{7,}(?![0-9A-Za-z])",
}
_ANY = re.compile(
    "|".join(f"(?P<k{number}>{pattern})" for number, pattern in enumerate(_KINDS.values())), re.IGNORECASE
)
_NAMES = tuple(_KINDS)
#: Inputs that are content by themselves: a number in a line of code is part of the problem. (`v`: the rule's version.)
_CONTENT = frozenset({"snippet", "message", "text", "fingerprint", "labels", "v", "nth"})
_VARYING = ("rule", "path", "file", "package", "vulnerability", "alert", "classname", "service", "tool")


class Volatile(Struct, frozen=True):
    """
    One part of a key that seems to change: what it is, its text, and the input that it stands in (empty: the key).
    """

    kind: str
    text: str
    input: str = ""

    def __str__(self) -> str:
        place = f"the input {self.input}" if self.input else "the key"
        return f"{place} holds a {self.kind}: {self.text!r}"


def volatile_parts(key: str, inputs: Mapping[str, str]) -> list[Volatile]:
    """
    Return the parts of a key, and of what made it, that seem to change from report to report.
    """
    # Escaped as it stands in a key (`intake.keys`).
    found = list(_in(key.replace("%3A", ":"), ""))
    for name, value in inputs.items():
        if name not in _CONTENT:
            found += _in(value, name)
    return found


def _in(text: str, name: str) -> Iterator[Volatile]:
    for match in _ANY.finditer(text):
        kind = _NAMES[int((match.lastgroup or "k0")[1:])]
        yield Volatile(kind, match.group(), name)


def varies(item: Item, trail: Sequence[Event]) -> dict[str, tuple[str, ...]]:
    """
    Return what differed between the reports of one key, by name, though it says which problem it is: a false merge.

    *trail* are events of the item; what persons edited, and two names merged on purpose, are no such difference.
    """
    if any(event.type == "merged" and not event.added for event in trail):
        return {}
    seen: dict[str, dict[str, None]] = {}
    for event in sorted(trail, key=lambda event: event.revision):
        if event.added or event.actor_kind != "machine" or "key_inputs" not in event.changes:
            continue
        for inputs in event.changes["key_inputs"]:
            for name in _VARYING:
                if isinstance(inputs, dict) and inputs.get(name):
                    seen.setdefault(name, {})[str(inputs[name])] = None
    for name in _VARYING:
        if seen and item.key_inputs.get(name):
            seen.setdefault(name, {})[item.key_inputs[name]] = None
    return {name: tuple(values) for name, values in seen.items() if len(values) > 1}
