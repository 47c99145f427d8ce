"""
Complete validation of what comes in: every fault of an input is found, each with a pointer, a value and a reason.

Some texts are refused because one backend or another could not hold them: NUL (PostgreSQL), lone surrogates (UTF-8),
NaN and infinities (JSON), integers beyond 64 bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backlog_store.codec import encode, from_builtins, to_builtins
from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import is_day, is_instant
from backlog_store.model import LIMITS, PRIORITIES, STATUSES, TRAILS, Draft

__all__ = [
    "Checker", "check_draft", "draft_faults", "draft_from", "has_plain_key", "json_faults", "says_all_in_its_digest",
    "shorten", "text_faults",
]  # fmt: skip

_ID = r"[A-Za-z0-9][A-Za-z0-9_.:@+=-]*\Z"
_INT_MAX = 2**63 - 1
_SHOWN = 60


def shorten(value: Any) -> str:
    """
    Return *value* as it is shown in a fault: printable, at most 60 characters.
    """
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def text_faults(pointer: str, value: Any, *, longest: int, required: bool = False) -> list[Fault]:
    """
    Return what is wrong with a text of at most *longest* characters.
    """
    if not isinstance(value, str):
        return [Fault(pointer, shorten(value), f"give a text, not {type(value).__name__}")]
    if required and not value.strip():
        return [Fault(pointer, shorten(value), "must not be empty")]
    if len(value) > longest:
        return [Fault(pointer, shorten(value), f"{len(value)} characters; at most {longest} are kept")]
    return _unstorable(pointer, value)


def _unstorable(pointer: str, value: str) -> list[Fault]:
    if "\0" in value:
        return [Fault(pointer, shorten(value), f"holds a NUL character at {value.index(chr(0))}; remove it")]
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            return [Fault(pointer, shorten(value), f"holds a lone surrogate at {error.start}, which is no character")]
    return []


def json_faults(pointer: str, value: Any, *, depth: int = LIMITS.meta_depth) -> list[Fault]:
    """
    Return what is wrong with a free JSON value: depth, keys, texts, numbers that cannot be stored.
    """
    if isinstance(value, str):
        return _unstorable(pointer, value)
    if value is None or isinstance(value, bool):
        return []
    if isinstance(value, int):
        if -_INT_MAX - 1 <= value <= _INT_MAX:
            return []
        return [Fault(pointer, shorten(value), "an integer beyond 64 bits; give it as a text")]
    if isinstance(value, float):
        return [] if math.isfinite(value) else [Fault(pointer, repr(value), "not a finite number")]
    if not isinstance(value, Mapping | list | tuple):
        return [Fault(pointer, shorten(value), f"{type(value).__name__} is no JSON value")]
    if depth == 0:
        return [Fault(pointer, "", f"nested deeper than {LIMITS.meta_depth} levels")]
    faults: list[Fault] = []
    if isinstance(value, Mapping):
        for name, member in value.items():
            if not isinstance(name, str):
                faults.append(Fault(pointer, shorten(name), "names of members are texts"))
                continue
            faults += _unstorable(f"{pointer}/{name}", name)
            faults += json_faults(f"{pointer}/{name}", member, depth=depth - 1)
    else:
        for index, member in enumerate(value):
            faults += json_faults(f"{pointer}/{index}", member, depth=depth - 1)
    return faults


def _is_plain_object(value: dict[Any, Any], longest: int) -> bool:
    """
    Tell at once that nothing is wrong with a small object of texts, as is usual.
    """
    try:
        every = "".join((*value, *value.values()))
    except TypeError:
        return False
    # A character of ASCII is at most 6 bytes of JSON, and so is what stands around a member.
    return every.isascii() and "\0" not in every and 6 * (len(every) + len(value)) + 2 <= longest


class Checker:
    """
    Collects the faults of one input; each method checks one kind of field.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.faults: list[Fault] = []

    def fault(self, name: str, value: Any, reason: str) -> None:
        """
        Note a fault of this field.
        """
        self.faults.append(Fault(f"{self.prefix}/{name}", shorten(value), reason))

    def text(self, name: str, value: Any, longest: int, *, required: bool = False) -> None:
        """
        Check a text of at most *longest* characters.
        """
        # The common case first: this runs for each field of each reported draft.
        plain = type(value) is str and "\0" not in value and value.isascii() and len(value) <= longest
        if not plain or (required and not value.strip()):
            self.faults += text_faults(f"{self.prefix}/{name}", value, longest=longest, required=required)

    def one_of(self, name: str, value: Any, allowed: Sequence[str]) -> None:
        """
        Check a value of a fixed set.
        """
        if value not in allowed:
            self.fault(name, value, f"one of {', '.join(allowed)}")

    def env(self, value: Any) -> None:
        """
        Check an env.
        """
        self.text("env", value, LIMITS.env, required=True)
        if isinstance(value, str) and "/" in value:
            self.fault("env", value, "an env cannot hold a slash")

    def id(self, name: str, value: Any) -> None:
        """
        Check an id.
        """
        if not isinstance(value, str) or len(value) > LIMITS.id or not re.match(_ID, value):
            self.fault(name, value, f"an id is 1 to {LIMITS.id} of the characters A-Z a-z 0-9 _ . : @ + = -")

    def day(self, name: str, value: Any) -> None:
        """
        Check a day; empty is none.
        """
        if value != "" and not (isinstance(value, str) and is_day(value)):
            self.fault(name, value, "not a day that exists; give YYYY-MM-DD, or nothing")

    def instant(self, name: str, value: Any, *, required: bool = False) -> None:
        """
        Check an instant; empty is none.
        """
        if value == "" and not required:
            return
        if not (isinstance(value, str) and is_instant(value)):
            self.fault(name, value, "not an instant in UTC like 2026-03-01T09:30:00.000000Z")

    def tags(self, name: str, value: Any) -> None:
        """
        Check a list of tags.
        """
        if not isinstance(value, list | tuple):
            self.fault(name, value, "give a list of texts")
            return
        if len(value) > LIMITS.tags:
            self.fault(name, f"{len(value)} tags", f"at most {LIMITS.tags} are kept")
        for index, tag in enumerate(value):
            self.text(f"{name}/{index}", tag, LIMITS.tag, required=True)

    def document(self, name: str, value: Any, *, longest: int) -> None:
        """
        Check a free JSON object of at most *longest* bytes.
        """
        if value == {} or (type(value) is dict and _is_plain_object(value, longest)):
            return
        if not isinstance(value, Mapping):
            self.fault(name, value, "give an object")
            return
        faults = json_faults(f"{self.prefix}/{name}", value)
        self.faults += faults
        if not faults and len(encode(value)) > longest:
            self.fault(name, f"{len(encode(value))} bytes", f"at most {longest} bytes of JSON are kept")

    def further(self, name: str, value: Any, of: type[msgspec.Struct]) -> None:
        """
        Check further members of a value that has its own fields.
        """
        self.document(name, value, longest=LIMITS.meta_bytes)
        for member in value if isinstance(value, Mapping) else ():
            if member in of.__struct_fields__:
                self.fault(f"{name}/{member}", value[member], f"is a field of its own of {of.__name__}")

    def evidence(self, value: Any) -> None:
        """
        Check evidence: kinds of references.
        """
        self.document("evidence_refs", value, longest=LIMITS.evidence_bytes)
        if isinstance(value, Mapping) and len(value) > LIMITS.evidence_kinds:
            self.fault("evidence_refs", f"{len(value)} kinds", f"at most {LIMITS.evidence_kinds} are kept")

    def texts(self, name: str, value: Any, *, most: int) -> None:
        """
        Check an object whose members are texts.
        """
        if not isinstance(value, Mapping):
            self.fault(name, value, "give an object of texts")
            return
        if len(value) > most:
            self.fault(name, f"{len(value)} members", f"at most {most} are kept")
        for key, member in value.items():
            self.text(f"{name}/{key}", member, LIMITS.message)
            self.text(f"{name}/{key}", key, LIMITS.name, required=True)

    def done(self, what: str) -> None:
        """
        Raise `InvalidInput` with all faults, if there are any.
        """
        if self.faults:
            raise InvalidInput(self.faults, what=what)


def draft_faults(draft: Draft, prefix: str = "") -> list[Fault]:
    """
    Return everything that is wrong with a draft.
    """
    is_plain = _is_plain(draft)
    if is_plain and draft.priority in PRIORITIES and _is_brief(draft):
        return []
    check = Checker(prefix)
    if not is_plain:
        check.text("title", draft.title, LIMITS.title, required=True)
        check.env(draft.env)
        check.text("description", draft.description, LIMITS.description)
        for name in ("service", "category", "owner", "source", "fix"):
            check.text(name, getattr(draft, name), LIMITS.name)
        check.text("dedupe_key", draft.dedupe_key, LIMITS.dedupe_key)
        check.tags("tags", draft.tags)
        check.document("meta", draft.meta, longest=LIMITS.meta_bytes)
    if draft.priority not in PRIORITIES:
        check.one_of("priority", draft.priority, PRIORITIES)
    # What most drafts leave out is not even looked at.
    if draft.due_date != "":
        check.day("due_date", draft.due_date)
    if draft.evidence_refs != {}:
        check.evidence(draft.evidence_refs)
    if draft.key_inputs:
        check.texts("key_inputs", draft.key_inputs, most=LIMITS.key_inputs)
    if draft.observed_at != "":
        check.instant("observed_at", draft.observed_at)
    if draft.volatile:
        check.tags("volatile", draft.volatile)
    if draft.id:
        check.id("id", draft.id)
        if draft.id in TRAILS:
            check.fault("id", draft.id, "is the name of a trail that belongs to no item")
    return check.faults


#: What is shorter than this is within every limit on descriptions and on JSON: a character of ASCII is at most 6 bytes
#: of it, and so is what stands around a member.
_SHORT = min(LIMITS.description, LIMITS.meta_bytes // 12)


def _is_plain(draft: Draft) -> bool:
    """
    Tell at once that nothing is wrong with texts, tags and meta of a draft, as is usual: ASCII, and not much of it.
    """
    title, env, tags, meta = draft.title, draft.env, draft.tags, draft.meta
    if type(tags) is not tuple or type(meta) is not dict:
        return False
    try:
        names = "".join((env, draft.service, draft.category, draft.owner, draft.source, draft.fix))  # noqa: FLY002  (takes no other type)
        words = "".join(tags)
        every = "".join((title, names, draft.dedupe_key, words, draft.description, *meta, *meta.values()))
    except TypeError:
        return False
    return (
        every.isascii()
        and "\0" not in every
        and len(every) + len(meta) < _SHORT
        # All names together within the limit of one, and all tags: that is usual, too.
        and len(names) <= LIMITS.name
        and len(words) <= LIMITS.tag
        and len(env) <= LIMITS.env
        and len(title) <= LIMITS.title
        and len(draft.dedupe_key) <= LIMITS.dedupe_key
        and "/" not in env
        and all(map(str.strip, (title, env, *tags)))
    )


def has_plain_key(draft: Draft) -> bool:
    """
    Tell whether the key of a draft may be asked for before the draft is checked.
    """
    env, dedupe_key = draft.env, draft.dedupe_key
    if type(env) is not str or type(dedupe_key) is not str:
        return False
    every = env + dedupe_key
    return every.isascii() and "\0" not in every


def says_all_in_its_digest(draft: Draft) -> bool:
    """
    Tell whether a draft that was not checked is sound if one of the same digest was: nothing else of it matters.
    """
    return type(draft.meta) is dict and type(draft.tags) is tuple and type(draft.source) is str and _is_brief(draft)


def _is_brief(draft: Draft) -> bool:
    """
    Tell whether a draft leaves out what most do.
    """
    return (
        draft.due_date == ""
        and draft.observed_at == ""
        and draft.id == ""
        and draft.evidence_refs == {}
        and draft.key_inputs == {}
        and draft.volatile == ()
    )


def check_draft(draft: Draft) -> None:
    """
    Refuse a faulty draft. Raises `InvalidInput` with every fault.
    """
    faults = draft_faults(draft)
    if faults:
        raise InvalidInput(faults, what="draft")


def check_status(status: str) -> None:
    """
    Refuse an unknown status. Raises `InvalidInput`.
    """
    if status not in STATUSES:
        raise InvalidInput([Fault("/status", shorten(status), f"one of {', '.join(STATUSES)}")], what="status")


def draft_from(value: Draft | Mapping[str, Any]) -> Draft:
    """
    Return *value* as a draft. Raises `InvalidInput` with every fault of type, name and content.
    """
    if isinstance(value, Draft):
        return value
    if not isinstance(value, Mapping):
        raise InvalidInput([Fault("", shorten(value), "give an object with at least a title")], what="draft")
    try:
        return from_builtins(value, Draft)
    except (msgspec.ValidationError, TypeError):
        raise InvalidInput(_type_faults(value), what="draft") from None


def _type_faults(value: Mapping[str, Any]) -> list[Fault]:
    """
    Check a draft member by member, because msgspec reports the first fault only.
    """
    faults: list[Fault] = []
    known = Draft.__struct_fields__
    for name, member in value.items():
        if name not in known:
            faults.append(Fault(f"/{shorten(name)}", shorten(member), f"unknown field; known: {', '.join(known)}"))
            continue
        probe = {"title": "x", name: member}
        try:
            draft = from_builtins(probe, Draft)
        except (msgspec.ValidationError, TypeError) as error:
            faults.append(Fault(f"/{name}", shorten(member), str(error).split(" - ")[0].lower()))
        else:
            faults += [fault for fault in draft_faults(draft) if fault.pointer.startswith(f"/{name}")]
    if "title" not in value:
        faults.append(Fault("/title", "", "missing; a draft needs a title"))
    return faults or [Fault("", shorten(to_builtins(dict(value))), "not a draft")]
