"""
The records of the original interface: mutable dataclasses, and how they stand to the values of the store.

A `BacklogItem` remembers what it was last stored or read as (`Seen`), outside its fields: ``==``, ``repr``, `asdict`
and ``vars`` do not show it; pickle, `copy` and `dataclasses.replace` carry it along. So a store can write just what its
caller changed, and notice what somebody else changed meanwhile.

Times are ISO 8601 as ``datetime.isoformat`` writes them for UTC: ``2026-03-01T09:30:00+00:00``. A time that was given
in another form when an item or event was added comes back exactly as it was given, for as long as it stands for the
stored instant; what the store orders and compares is always the instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, asdict, dataclass, field
from typing import Any, NamedTuple

from backlog_store.clock import system_clock, system_ids
from backlog_store.codec import to_builtins
from backlog_store.ids import derived, unkeyed_item_id
from backlog_store.instants import Instant
from backlog_store.legacy.times import NO_TITLE, as_given, as_text, iso
from backlog_store.model import Draft, Event, Item
from backlog_store.rules.fields import sorted_tags

__all__ = [
    "WRITABLE", "BacklogEvent", "BacklogItem", "Seen", "bring_up_to_date", "draft_of", "event_from", "fields_of",
    "item_from", "seen_of",
]  # fmt: skip

#: What `update` can write; the id and the times belong to the store.
WRITABLE: tuple[str, ...] = (
    "env", "service", "category", "title", "description", "priority", "status", "owner", "due_date", "source",
    "dedupe_key", "evidence_refs", "tags", "meta",
)  # fmt: skip
#: What an empty text means where the store needs one.
_DEFAULTS = {"env": "prod", "priority": "P2", "status": "open", "title": NO_TITLE}


class Seen(NamedTuple):
    """
    What an item was last stored or read as: in which store, under which id, with which `fields_of`.
    """

    place: str
    id: str
    created_at: Instant
    fields: Mapping[str, Any]


class _Remembering:
    # A slot, not an attribute in `__dict__`: callers write `json.dumps(vars(item))`.
    __slots__ = ("_seen",)
    _seen: Seen | None


@dataclass
class BacklogItem(_Remembering):
    """
    One item, as the original interface hands it in and out. Every field may be assigned.
    """

    id: str
    created_at: str
    updated_at: str
    env: str
    service: str
    category: str
    title: str
    description: str
    priority: str
    status: str
    owner: str
    due_date: str
    source: str
    dedupe_key: str
    evidence_refs: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    # Not a field: `dataclasses.replace` hands the value of an InitVar on to the copy, and nothing else looks at it.
    _seen: InitVar[Seen | None] = field(default=None, kw_only=True)

    def __post_init__(self, _seen: Seen | None) -> None:
        self._seen = _seen

    def to_dict(self) -> dict[str, Any]:
        """
        Return the fields as plain data of the caller's own.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> BacklogItem:
        """
        Return the item of plain data; what is missing is filled in, members that are no fields are left out.

        Missing is also what is ``None``: a new id, the present instant, env ``prod``, priority ``P2``, status ``open``,
        owner ``oncall``, source ``manual``, else empty.
        """
        now = iso(system_clock())
        defaults = {"created_at": now, "updated_at": now, "env": "prod", "priority": "P2", "status": "open",
                    "owner": "oncall", "source": "manual"}  # fmt: skip
        known = {name: value for name, value in d.items() if value is not None}
        texts = {name: known.get(name, defaults.get(name, "")) for name in _ITEM_TEXTS}
        return cls(id=known.get("id") or unkeyed_item_id(system_ids(), 0), **texts,
                   evidence_refs=_copy(known.get("evidence_refs", {})), tags=_copy(known.get("tags", [])),
                   meta=_copy(known.get("meta", {})))  # fmt: skip


# The default of an InitVar becomes a class attribute, which would hide the slot that holds the value.
del BacklogItem._seen

_ITEM_TEXTS = (
    "created_at", "updated_at", "env", "service", "category", "title", "description", "priority", "status", "owner",
    "due_date", "source", "dedupe_key",
)  # fmt: skip


@dataclass
class BacklogEvent:
    """
    One event of an item, as the original interface hands it in and out.
    """

    id: str
    item_id: str
    ts: str
    type: str
    message: str
    actor: str
    meta: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """
        Return the fields as plain data of the caller's own.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> BacklogEvent:
        """
        Return the event of plain data; missing (or ``None``): a new id, now, type ``comment``, actor ``system``.
        """
        known = {name: value for name, value in d.items() if value is not None}
        return cls(
            id=known.get("id") or "ev_" + derived("added", system_ids()),
            item_id=known.get("item_id", ""),
            ts=known.get("ts") or iso(system_clock()),
            type=known.get("type", "comment"),
            message=known.get("message", ""),
            actor=known.get("actor", "system"),
            meta=_copy(known.get("meta", {})),
        )


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copy(member) for name, member in value.items()}
    return [_copy(member) for member in value] if isinstance(value, list | tuple) else value


# --- from the caller's records to values of the store ----------------------------------------------------------------


def fields_of(item: BacklogItem) -> dict[str, Any]:
    """
    Return the writable fields as the store keeps them. Nothing is checked here.
    """
    fields = {name: as_text(getattr(item, name)) for name in WRITABLE}
    for name, default in _DEFAULTS.items():
        fields[name] = default if fields[name] == "" else fields[name]
    for name in ("evidence_refs", "meta"):
        fields[name] = {} if fields[name] == "" else _copy(fields[name])
    tags = () if fields["tags"] == "" else fields["tags"]
    if isinstance(tags, list | tuple | set | frozenset):
        tags = sorted_tags(tags) if all(isinstance(tag, str) for tag in tags) else tuple(tags)
    fields["tags"] = tags
    return fields


def draft_of(fields: Mapping[str, Any], id: str = "") -> Draft:
    """
    Return the draft of `fields_of`.
    """
    return Draft(id=id, **{name: value for name, value in fields.items() if name != "status"})


# --- from values of the store to the caller's records ----------------------------------------------------------------


def item_from(item: Item, place: str) -> BacklogItem:
    """
    Return the caller's own copy of a stored item; it remembers being read at *place*.
    """
    texts = {name: getattr(item, name) for name in _ITEM_TEXTS[2:]}
    result = BacklogItem(
        id=item.id,
        created_at=as_given(item.extra, "created_at", item.created_at),
        updated_at=as_given(item.extra, "updated_at", item.updated_at),
        **texts,
        evidence_refs=to_builtins(item.evidence_refs),
        tags=list(item.tags),
        meta=to_builtins(item.meta),
    )
    if result.title == NO_TITLE:
        result.title = ""
    _remember(result, Seen(place, item.id, item.created_at, fields_of(result)))
    return result


def event_from(event: Event) -> BacklogEvent:
    """
    Return the caller's own copy of a stored event.
    """
    return BacklogEvent(event.id, event.item_id, as_given(event.extra, "ts", event.ts), event.type, event.message,
                        event.actor, to_builtins(event.meta))  # fmt: skip


def bring_up_to_date(mine: BacklogItem, stored: BacklogItem) -> None:
    """
    Make the caller's object say what is stored, and remember it.
    """
    for name in ("id", "created_at", "updated_at", *WRITABLE):
        setattr(mine, name, _copy(getattr(stored, name)))
    _remember(mine, seen_of(stored))


def seen_of(item: BacklogItem) -> Seen | None:
    """
    Return what an item was last stored or read as; ``None`` if it never was, or comes out of an older pickle.
    """
    return getattr(item, "_seen", None)


def _remember(item: BacklogItem, seen: Seen | None) -> None:
    item._seen = seen
