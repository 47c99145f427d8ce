"""
What a query may say: fields, values, `is:` words; and what each comes to as a `query.Where`.

No parsing here: `parser` hands over terms, this module compiles them as of one instant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backlog_store.instants import Day, Instant, add_seconds, day_of
from backlog_store.model import CLOSED, CLOSING_REASONS, PRIORITIES, STATUSES, closed_status
from backlog_store.query import ORDERS, All, Any_, Compare, HasWords, In, Not, Where, live
from backlog_store.querylang.dates import EXAMPLES, is_duration, parse_when, shifted
from backlog_store.querylang.terms import Asker, Piece, Term, nearest

__all__ = ["FIELD_HELP", "IS_HELP", "compile_term", "field_name", "order_of", "parts_of"]

#: Every field of the language, with what it takes. Names of the item's own fields are understood, too.
FIELD_HELP: dict[str, str] = {
    "status": f"one of {', '.join(STATUSES)}",
    "priority": "P0 to P3; `<=P1` is P0 and P1",
    "due": "a day; `<7d` is before the day in 7 days, overdue ones too",
    "created": "a time; `<7d` is less than 7 days ago, `>2w` more than two weeks",
    "updated": "a time: when a field last changed",
    "closed": "a time: when it was closed",
    "wake": "a time ahead: until when it is snoozed",
    "expires": "a time ahead: until when its risk is accepted",
    "owner": "a name, `@me`, or `none`",
    "claimed": "who took it to work on it: a name, `@me`, or `none`",
    "service": "a name, or a beginning: `pay*`",
    "env": "a name",
    "category": "a name",
    "source": "a name: who reported it first",
    "tag": "a tag",
    "key": "a dedupe key",
    "fix": "the one fix that clears it",
    "reason": f"why it was closed: one of {', '.join(CLOSING_REASONS)}",
    "id": "an id or its beginning",
    "is": "a condition, see below",
    "sort": f"an order: one of {', '.join(ORDERS)}; `-` in front turns it round",
}
IS_HELP: dict[str, str] = {
    "live": "not closed",
    "closed": "done or canceled",
    "overdue": "live, and its due day is past",
    "snoozed": "live, and sleeps",
    "awake": "live, and does not sleep",
    "woken": "live, and its snooze ended by itself",
    "unowned": "without an owner",
    "ready": "open, awake, and blocked by no live item; `claimed:none` leaves out what somebody took",
    "waiting": "open, and blocked by a live item",
    "claimed": "live, and somebody has taken it to work on it",
    "accepted": "closed as an accepted risk that still holds",
    "expired": "closed as an accepted risk whose time is over",
}
#: Text fields of the language and the item's names for them.
_TEXTS = {"owner": "owner", "claimed": "claimed_by", "service": "service", "env": "env", "category": "category",
          "source": "source", "key": "dedupe_key", "fix": "fix"}  # fmt: skip
#: Instants, and whether a length of time counts back (ages) or ahead.
_INSTANTS = {"created": ("created_at", -1), "updated": ("updated_at", -1), "closed": ("closed_at", -1),
             "wake": ("wake_at", 1), "expires": ("expires_at", 1)}  # fmt: skip
_ALIASES = {"due_date": "due", "created_at": "created", "updated_at": "updated", "closed_at": "closed",
            "wake_at": "wake", "expires_at": "expires", "dedupe_key": "key", "closed_reason": "reason",
            "tags": "tag", "claimed_by": "claimed"}  # fmt: skip
#: A query that names one of these says itself whether it means closed items (`Parsed.scoped`); `-is:snoozed` does not.
_SCOPING = frozenset({"status", "closed", "reason", "expires", "id"})
_SCOPING_CONDITIONS = frozenset({"live", "closed", "accepted", "expired"})
_LAST = "\U0010ffff"


def field_name(asker: Asker, piece: Piece) -> str:
    """
    Return the language's name of a field. Raises `InvalidQuery` for an unknown one.
    """
    name = piece.text.lower()
    name = _ALIASES.get(name, name)
    if name not in FIELD_HELP:
        close = nearest(name, [*FIELD_HELP, *_ALIASES])
        hint = f'; to look for the text, put it in quotes: "{piece.text}:…"' if not close else ""
        asker.refuse(piece, f"no field {piece.text!r}{hint}", expected=tuple(FIELD_HELP),
                     suggestion=f"{close}:" if close else "")  # fmt: skip
    return name


def order_of(asker: Asker, term: Term) -> tuple[str, bool]:
    """
    Return the order that ``sort:…`` asks for, and whether it is turned round.
    """
    piece = _single(asker, term, "sort")
    if term.op:
        asker.refuse(piece, "sort takes the name of an order", expected=tuple(ORDERS))
    name = piece.text.lower()
    turned, name = name.startswith("-"), name.removeprefix("-").removesuffix("_at")
    name = "due" if name == "due_date" else name
    if name not in ORDERS:
        asker.refuse(piece, f"no order {piece.text!r}", expected=tuple(ORDERS), suggestion=nearest(name, [*ORDERS]))
    return name, turned


def compile_term(asker: Asker, term: Term) -> tuple[Where, bool]:
    """
    Return the condition that the term means, and whether it speaks of live or closed items. Raises `InvalidQuery`.
    """
    name = field_name(asker, term.field)
    if name == "sort":
        asker.refuse(term.field, "sort stands for the whole query: not in parentheses, after OR or after -")
    where = _COMPILERS.get(name, _text)(asker, term, name)
    words = {piece.text.lower() for piece in term.values}
    return where, name in _SCOPING or (name == "is" and not words.isdisjoint(_SCOPING_CONDITIONS))


def _single(asker: Asker, term: Term, name: str) -> Piece:
    if len(term.values) > 1:
        asker.refuse(term.values[1], f"{name} takes one value here")
    return term.values[0]


def _enum(asker: Asker, piece: Piece, name: str, known: Sequence[str]) -> str:
    folded = {word.lower(): word for word in known}
    value = folded.get(piece.text.lower())
    if value is None:
        close = nearest(piece.text, [*folded])
        asker.refuse(piece, f"no {name} {piece.text!r}", expected=known, suggestion=folded.get(close, ""))
    return value


def _no_comparison(asker: Asker, term: Term, name: str) -> None:
    if term.op not in ("", "="):
        asker.refuse(term.values[0], f"{name} cannot be compared with {term.op}; give a value, or several with commas")


def _status(asker: Asker, term: Term, name: str) -> Where:
    _no_comparison(asker, term, name)
    known = STATUSES if name == "status" else CLOSING_REASONS
    for piece in term.values:
        if name == "status" and piece.text.lower() in IS_HELP:
            asker.refuse(piece, f"no status {piece.text!r}", expected=known, suggestion=f"is:{piece.text.lower()}")
    values = _distinct(_enum(asker, piece, name, known) for piece in term.values)
    if name == "status":
        return In("status", values)
    # A reason goes with one status: where that is said, nothing else is looked at.
    return All((In("status", _distinct(map(closed_status, values))), In("closed_reason", values)))


def _priority(asker: Asker, term: Term, name: str) -> Where:
    if term.op in ("", "="):
        return In("priority", _distinct(_enum(asker, piece, name, PRIORITIES) for piece in term.values))
    bound = _enum(asker, _single(asker, term, name), name, PRIORITIES)
    compare: dict[str, Callable[[str], bool]] = {
        "<": lambda value: value < bound,
        "<=": lambda value: value <= bound,
        ">": lambda value: value > bound,
        ">=": lambda value: value >= bound,
    }
    return In("priority", tuple(value for value in PRIORITIES if compare[term.op](value)))


def _distinct(values: object) -> tuple[str, ...]:
    return tuple(sorted(set(values)))  # type: ignore[call-overload]


def _text(asker: Asker, term: Term, name: str) -> Where:
    _no_comparison(asker, term, name)
    field = _TEXTS[name]
    exact: list[str] = []
    parts: list[Where] = []
    for piece in term.values:
        if piece.quoted:
            exact.append(piece.text)
        elif piece.text.lower() == "none":
            exact.append("")
        elif piece.text == "@me" and name in ("owner", "claimed"):
            exact.append(asker.me)
        elif piece.text.endswith("*"):
            parts.append(_beginning(asker, piece, field))
        else:
            exact.append(piece.text)
    if exact:
        parts.insert(0, In(field, _distinct(exact)))
    return parts[0] if len(parts) == 1 else Any_(tuple(parts))


def _beginning(asker: Asker, piece: Piece, field: str) -> Where:
    start = piece.text[:-1]
    if not start or "*" in start:
        asker.refuse(piece, "a star stands at the end of a beginning, like pay*")
    return All((Compare(field, ">=", start), Compare(field, "<", start + _LAST)))


def _tag(asker: Asker, term: Term, name: str) -> Where:
    _no_comparison(asker, term, name)
    for piece in term.values:
        if not piece.quoted and piece.text.endswith("*"):
            asker.refuse(piece, "tags are matched whole")
    return In("tag", _distinct(piece.text for piece in term.values))


def _id(asker: Asker, term: Term, name: str) -> Where:
    _no_comparison(asker, term, name)
    parts: list[Where] = []
    for piece in term.values:
        start = piece.text.removesuffix("*")
        if not start:
            asker.refuse(piece, "give an id or its beginning")
        full = start if start.startswith("bl_") else f"bl_{start}"
        parts.append(In("id", (start,)))
        parts.append(All((Compare("id", ">=", full), Compare("id", "<", full + _LAST))))
    return Any_(tuple(parts))


def _when(asker: Asker, piece: Piece, direction: int) -> tuple[Instant, bool]:
    text = piece.text
    try:
        if is_duration(text):
            # A length of time is a distance from now: ahead for what comes, back for what was.
            return shifted(asker.now, direction * int(text[:-1]), text[-1].lower()), text[-1].lower() != "h"
        return parse_when(text, now=asker.now)
    except ValueError as error:
        asker.refuse(piece, str(error), expected=EXAMPLES, suggestion=nearest(text, ("today", "tomorrow", "yesterday")))


def _due(asker: Asker, term: Term, name: str) -> Where:
    if term.op in ("", "="):
        return _any([_due_one(asker, piece) for piece in term.values])
    day = day_of(_when(asker, _single(asker, term, name), 1)[0])
    return Compare("due_date", term.op, day)  # type: ignore[arg-type]


def _due_one(asker: Asker, piece: Piece) -> Where:
    if piece.text.lower() == "none":
        return In("due_date", ("",))
    ends = _range(asker, piece)
    if ends:
        first, last = (day_of(_when(asker, end, 1)[0]) for end in ends)
        return All((Compare("due_date", ">=", first), Compare("due_date", "<=", last)))
    return In("due_date", (day_of(_when(asker, piece, 1)[0]),))


def _instant(asker: Asker, term: Term, name: str) -> Where:
    field, direction = _INSTANTS[name]
    if term.op in ("", "="):
        return _any([_instant_one(asker, piece, field, direction) for piece in term.values])
    piece = _single(asker, term, name)
    at, whole_day = _when(asker, piece, direction)
    op = term.op
    if is_duration(piece.text):
        # An age: less than 7 days ago is later than the instant 7 days ago.
        op = op if direction > 0 else op.translate(str.maketrans("<>", "><"))
    elif whole_day:
        # A day is all its instants: after it begins with the next day.
        at = _first(at) if op in ("<", ">=") else _next(at)
        op = {"<=": "<", ">": ">="}.get(op, op)
    return Compare(field, op, at)  # type: ignore[arg-type]


def _instant_one(asker: Asker, piece: Piece, field: str, direction: int) -> Where:
    if piece.text.lower() == "none":
        return In(field, ("",))
    ends = _range(asker, piece) or (piece, piece)
    (first, from_day), (last, whole_day) = (_when(asker, end, direction) for end in ends)
    if not whole_day and ends[0] is ends[1]:
        return In(field, (first,))
    return All(
        (
            Compare(field, ">=", _first(first) if from_day else first),
            Compare(field, "<", _next(last) if whole_day else last),
        )
    )


def _range(asker: Asker, piece: Piece) -> tuple[Piece, Piece] | None:
    if ".." not in piece.text:
        return None
    first, last = piece.text.split("..", 1)
    if not first or not last:
        asker.refuse(piece, "a range has two ends, like today..fri")
    return Piece(first, piece.offset), Piece(last, piece.offset + len(first) + 2)


def _any(parts: list[Where]) -> Where:
    return parts[0] if len(parts) == 1 else Any_(tuple(parts))


def _first(at: Instant) -> Instant:
    return f"{day_of(at)}T00:00:00.000000Z"


def _next(at: Instant) -> Instant:
    return add_seconds(_first(at), 86_400)


def _is(asker: Asker, term: Term, name: str) -> Where:
    _no_comparison(asker, term, name)
    return _any([_condition(asker, piece) for piece in term.values])


def _condition(asker: Asker, piece: Piece) -> Where:
    word = _enum(asker, piece, "condition", [*IS_HELP])
    today: Day = day_of(asker.now)
    alive = live()
    closed = In("status", tuple(sorted(CLOSED)))
    accepted = (closed, In("closed_reason", ("accepted_risk",)))
    asleep = Compare("wake_at", ">", asker.now)
    conditions: dict[str, Where] = {
        "live": alive,
        "closed": closed,
        "overdue": All((alive, Compare("due_date", "<", today))),
        "snoozed": All((alive, asleep)),
        "awake": All((alive, Not(asleep))),
        "woken": All((alive, Compare("wake_at", "<=", asker.now))),
        "unowned": In("owner", ("",)),
        "ready": All((In("stage", ("open",)), Not(asleep))),
        "waiting": In("stage", ("waiting",)),
        "claimed": Not(In("claimed_by", ("",))),
        "accepted": All((*accepted, Compare("expires_at", ">", asker.now))),
        "expired": All((*accepted, Compare("expires_at", "<=", asker.now))),
    }
    return conditions[word]


def parts_of(asker: Asker, piece: Piece) -> Where:
    """
    Return the condition of a searched word or phrase; a star at its end makes the last word a beginning.
    """
    from backlog_store.words import words_of

    text, prefix = piece.text, False
    if text.endswith("*"):
        text, prefix = text[:-1], True
    if "*" in text and not piece.quoted:
        asker.refuse(piece, "a star stands at the end of a word, like pay*")
    if text.endswith(":") and text[:-1].isidentifier() and not piece.quoted:
        asker.refuse(piece, "a value follows the colon without a space; for an empty field write none",
                     expected=(f"{text}value", f"{text}none"))  # fmt: skip
    words = tuple(words_of(text))
    if not words:
        asker.refuse(piece, "no word to look for: searched are letters, digits and _")
    return HasWords(words, prefix)


_COMPILERS: dict[str, Callable[[Asker, Term, str], Where]] = {
    "status": _status,
    "reason": _status,
    "priority": _priority,
    "due": _due,
    "tag": _tag,
    "id": _id,
    "is": _is,
    **dict.fromkeys(_INSTANTS, _instant),
}
