"""
Rows of the original module as values of the store: what is impossible is mapped, told, and kept as it stood.

A mapped field's own value goes to ``meta["legacy"]``; where that would grow beyond the limit of `meta`, to the event
that takes the row in. So nothing that was in a row is lost, and nothing in the store breaks the store's rules.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from itertools import islice
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from backlog_store.codec import encode
from backlog_store.errors import InvalidInput
from backlog_store.ids import derived
from backlog_store.instants import Instant, is_day
from backlog_store.legacy.times import NO_TITLE, as_text, given_times, instant_of
from backlog_store.model import LIMITS, PRIORITIES, STATUSES, Draft
from backlog_store.rules.checks import Checker, draft_faults
from backlog_store.rules.fields import sorted_tags

__all__ = ["EventRow", "ItemRow", "Mapped", "fields_of_row", "read_event", "read_item"]

#: Free text fields of an item, with their limit and what an absent one means.
_TEXTS: Mapping[str, tuple[int, str]] = {
    "env": (LIMITS.env, "prod"), "service": (LIMITS.name, ""), "category": (LIMITS.name, ""),
    "title": (LIMITS.title, NO_TITLE), "description": (LIMITS.description, ""), "owner": (LIMITS.name, "oncall"),
    "source": (LIMITS.name, "manual"), "dedupe_key": (LIMITS.dedupe_key, ""),
}  # fmt: skip
_OTHERS = ("id", "created_at", "updated_at", "priority", "status", "due_date", "evidence_refs", "tags", "meta")
_KNOWN = frozenset({*_TEXTS, *_OTHERS})
_SPELLINGS = {"cancelled": "canceled", "inprogress": "in_progress", "wip": "in_progress", "closed": "done",
              "resolved": "done"}  # fmt: skip
_META_KEPT = 8 * 1024
#: Of a longer value the trail keeps the beginning; all of it stands in the old file or table.
_ORIGINAL_KEPT = 1024 * 1024
_INT_MAX = 2**63 - 1


class Mapped(Struct, frozen=True):
    """
    One value that could not be kept as it was: the field, what stood there (shortened), and what is kept.
    """

    field: str
    stood: str
    kept: str


class ItemRow(Struct, frozen=True, kw_only=True):
    """
    One row of an item, ready to be stored. `given_id` is its id as it stood; `originals` what `mapped` fields held.
    """

    draft: Draft
    status: str
    created_at: Instant
    updated_at: Instant
    given_id: str
    extra: dict[str, Any] = field(default_factory=dict)
    mapped: tuple[Mapped, ...] = ()
    originals: dict[str, Any] = field(default_factory=dict)
    size: int = 0  # of the canonical JSON, in bytes


class EventRow(Struct, frozen=True, kw_only=True):
    """
    One row of an event, ready to be stored.
    """

    id: str
    item_id: str
    ts: Instant
    type: str
    message: str
    actor: str
    meta: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    mapped: tuple[Mapped, ...] = ()


def fields_of_row(row: ItemRow) -> dict[str, Any]:
    """
    Return what a row says about its item, by field, as `Item` keeps it.
    """
    draft = row.draft
    names = (*_TEXTS, "priority", "due_date", "evidence_refs", "tags", "meta")
    return {**{name: getattr(draft, name) for name in names}, "tags": sorted_tags(draft.tags), "status": row.status}


class _Mapping:
    """
    Collects what had to be mapped.
    """

    def __init__(self) -> None:
        self.mapped: list[Mapped] = []
        self.originals: dict[str, Any] = {}

    def note(self, name: str, stood: Any, kept: Any) -> None:
        self.mapped.append(Mapped(name, _shown(stood), _shown(kept)))
        kept_whole = _storable(stood)
        text = json.dumps(kept_whole, ensure_ascii=False)
        self.originals[name] = kept_whole if len(text) <= _ORIGINAL_KEPT else _cut(text)

    def text(self, name: str, value: Any, longest: int, default: str) -> str:
        if value is None or value == "":
            return "" if value == "" and name not in ("env", "title") else default
        text = value if isinstance(value, str) else as_text(value)
        if not isinstance(text, str):
            text = json.dumps(_storable(value), ensure_ascii=False)
        text = _clean(text)
        if name == "env":
            text = text.replace("/", "-")
        text = text if len(text) <= longest else text[: longest - 1] + "…"
        if not text.strip() and name in ("env", "title"):
            text = default
        if text != value and not isinstance(value, date):
            self.note(name, value, text)
        return text

    def one_of(self, name: str, value: Any, allowed: tuple[str, ...], default: str) -> str:
        if value is None:
            return default
        if value in allowed:
            return str(value)
        plain = str(value).strip()
        low = plain.lower().replace(" ", "_").replace("-", "_")
        low = _SPELLINGS.get(low, low)
        kept = next((one for one in (plain.upper(), low) if one in allowed), default)
        self.note(name, value, kept)
        return kept

    def day(self, name: str, value: Any) -> str:
        text = as_text(value)
        if text == "" or (isinstance(text, str) and is_day(text)):
            return str(text)
        try:
            kept = instant_of(name, text)[:10]
        except InvalidInput:
            kept = ""
        self.note(name, value, kept)
        return kept

    def instant(self, name: str, value: Any, default: Instant) -> Instant:
        try:
            found = instant_of(name, value)
        except InvalidInput:
            found = ""
        if not found and value not in (None, ""):
            self.note(name, value, default)
        return found or default

    def id(self, name: str, value: Any, prefix: str) -> str:
        check = Checker()
        check.id(name, value)
        if not check.faults:
            return str(value)
        kept = prefix + derived("legacy", json.dumps(_storable(value), sort_keys=True))
        self.note(name, value, kept)
        return kept

    def document(self, name: str, value: Any, longest: int) -> dict[str, Any]:
        if isinstance(value, str) and value.strip().startswith("{"):
            value = _decoded(value)
        if value is None or value == "":
            return {}
        kept = _storable(value)
        kept = kept if isinstance(kept, dict) else {"value": kept}
        if len(encode(kept)) > longest:
            kept = {}
        if kept != value:
            self.note(name, value, kept)
        return kept

    def evidence(self, name: str, value: Any) -> dict[str, Any]:
        kinds = self.document(name, value, LIMITS.evidence_bytes)
        kept = dict(islice(kinds.items(), LIMITS.evidence_kinds))
        if len(kept) < len(kinds):
            self.note(name, value, kept)
        return kept

    def tags(self, name: str, value: Any) -> tuple[str, ...]:
        if isinstance(value, str) and value.strip().startswith("["):
            value = _decoded(value)
        if value is None or value == "":
            return ()
        listed = value if isinstance(value, list | tuple) else [value]
        texts = [_clean(tag if isinstance(tag, str) else json.dumps(_storable(tag)))[: LIMITS.tag] for tag in listed]
        kept = sorted_tags(tag for tag in texts if tag.strip())[: LIMITS.tags]
        if set(kept) != {tag for tag in listed if isinstance(tag, str)} or listed is not value:
            self.note(name, value, list(kept))
        return kept


def read_item(raw: Mapping[str, Any], *, now: Instant, line: str = "") -> ItemRow:
    """
    Return a row's item; whatever is impossible is mapped. *now* stands for times that nobody knows.

    *line* is all of the row as it stood, where that cannot be seen from *raw*.
    """
    maps = _Mapping()
    if line:
        maps.originals["line"] = _cut(line)
    fields: dict[str, Any] = {
        name: maps.text(name, raw.get(name), longest, default) for name, (longest, default) in _TEXTS.items()
    }
    fields["priority"] = maps.one_of("priority", raw.get("priority"), PRIORITIES, "P2")
    fields["due_date"] = maps.day("due_date", raw.get("due_date"))
    fields["tags"] = maps.tags("tags", raw.get("tags"))
    fields["evidence_refs"] = maps.evidence("evidence_refs", raw.get("evidence_refs"))
    meta = maps.document("meta", raw.get("meta"), LIMITS.meta_bytes)
    status = maps.one_of("status", raw.get("status"), STATUSES, "open")
    any_time = instant_of("created_at", _first_time(raw)) or now
    if any_time is now and not raw.get("created_at"):
        maps.note("created_at", "", now)
    created_at = maps.instant("created_at", raw.get("created_at"), any_time)
    updated_at = maps.instant("updated_at", raw.get("updated_at"), created_at)
    if updated_at < created_at:
        maps.note("updated_at", raw.get("updated_at"), created_at)
        updated_at = created_at
    given_id = raw.get("id")
    if given_id in (None, ""):
        given_id = "bl_" + derived("legacy", encode(_storable(dict(raw))).decode())
        maps.note("id", "", given_id)
    id = maps.id("id", given_id, "bl_")
    for name in raw.keys() - _KNOWN:
        maps.note(str(name), raw[name], "")
    given = {name: raw.get(name) for name in ("created_at", "updated_at") if name not in maps.originals}
    draft = Draft(id=id, meta=_with_originals(meta, maps.originals), **fields)
    row = ItemRow(draft=draft, status=status, created_at=created_at, updated_at=updated_at, given_id=str(given_id),
                  extra=given_times(**given), mapped=tuple(maps.mapped), originals=maps.originals)  # fmt: skip
    faults = draft_faults(draft)
    if faults:
        raise InvalidInput(faults, what="row")
    return replace(row, size=len(encode(draft)))


def read_event(raw: Mapping[str, Any], *, now: Instant, line: str = "") -> EventRow:
    """
    Return a row's event; whatever is impossible is mapped. *now* stands for a time that nobody knows, *line* as above.
    """
    maps = _Mapping()
    if line:
        maps.originals["line"] = _cut(line)
    given_id = raw.get("id")
    if given_id in (None, ""):
        given_id = "ev_" + derived("legacy", encode(_storable(dict(raw))).decode())
    ts = maps.instant("ts", raw.get("ts"), now)
    row = EventRow(
        id=maps.id("id", given_id, "ev_"),
        item_id=maps.id("item_id", raw.get("item_id") or "", "bl_"),
        ts=ts,
        type=maps.text("type", raw.get("type"), LIMITS.name, "comment") or "comment",
        message=maps.text("message", raw.get("message"), LIMITS.message, ""),
        actor=maps.text("actor", raw.get("actor"), LIMITS.name, "system") or "system",
        meta=maps.document("meta", raw.get("meta"), LIMITS.meta_bytes),
        extra={} if "ts" in maps.originals else given_times(ts=raw.get("ts")),
    )
    for name in raw.keys() - {"id", "item_id", "ts", "type", "message", "actor", "meta"}:
        maps.note(str(name), raw[name], "")
    return replace(row, meta=_with_originals(row.meta, maps.originals), mapped=tuple(maps.mapped))


def _first_time(raw: Mapping[str, Any]) -> Any:
    for name in ("created_at", "updated_at"):
        try:
            if instant_of(name, raw.get(name)):
                return raw[name]
        except InvalidInput:
            continue
    return None


def _with_originals(meta: dict[str, Any], originals: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return *meta* with the originals that fit; the larger ones are named there, and kept by the event.
    """
    if not originals:
        return meta
    kept = {name: value if len(encode(value)) <= _META_KEPT else _shown(value) for name, value in originals.items()}
    before = meta.get("legacy")
    merged = {**meta, "legacy": {**(before if isinstance(before, dict) else {}), **kept}}
    return merged if len(encode(merged)) <= LIMITS.meta_bytes else {**meta, "legacy": {"mapped": sorted(originals)}}


def _clean(text: str) -> str:
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode() if _has_surrogate(text) else text


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _storable(value: Any, depth: int = LIMITS.meta_depth - 2) -> Any:
    """
    Return what JSON can hold of *value*, with the same meaning for a reader.
    """
    if isinstance(value, str):
        return value.encode("unicode_escape").decode() if "\0" in value or _has_surrogate(value) else value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT_MAX <= value <= _INT_MAX else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping | list | tuple):
        if depth <= 0:
            return json.dumps(value, default=str)
        if isinstance(value, Mapping):
            return {_storable(str(name)): _storable(member, depth - 1) for name, member in value.items()}
        return [_storable(member, depth - 1) for member in value]
    return as_text(value) if isinstance(value, date) else str(value)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _cut(text: str) -> str:
    text = str(_storable(text))
    return text if len(text) <= _ORIGINAL_KEPT else text[:_ORIGINAL_KEPT] + "…"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = str(_storable(text))
    return text if len(text) <= 60 else text[:59] + "…"
