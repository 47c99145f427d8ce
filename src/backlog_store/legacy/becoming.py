"""
What one row of the original module becomes, on what a store has of it.

A row that is new becomes an item with its whole trail: the store's own event first, then those that callers added.
A row that is known is compared with what that row said when it was last taken in: what changed since is what an old
process did, and only that is done here. Where somebody did something else to the same field meanwhile, the store's
value stays and the row's is told and kept in the trail. So taking the same rows in again changes nothing.

Of several rows with one key the earliest is the item. The others become other names of it: their ids lead to it, their
evidence, tags and events go to it, and the row itself is kept in its trail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from backlog_store.codec import to_builtins
from backlog_store.commands import Create
from backlog_store.ids import derived
from backlog_store.instants import Instant
from backlog_store.legacy.rows import EventRow, ItemRow, fields_of_row
from backlog_store.model import CLOSED, LIMITS, LIVE, Actor, Event, Item
from backlog_store.preview import Decided
from backlog_store.query import EventQuery
from backlog_store.rules import lifecycle
from backlog_store.rules.checks import text_faults
from backlog_store.rules.fields import merge_evidence, merge_meta, merge_tags, total_evidence
from backlog_store.rules.lifecycle import remember_closing
from backlog_store.rules.returning import clear_verdict, reopened
from backlog_store.rules.view import Context
from backlog_store.trail import rebuild
from backlog_store.workflow import REOPENED_BY_REPORTS, reason_of_move

__all__ = ["TAKER", "Step", "Taken"]

#: Who takes rows in, as events name it.
TAKER = Actor("legacy import")
_PLAIN = ("title", "description", "service", "category", "priority", "owner", "due_date", "source")


class Taken(Struct, kw_only=True):
    """
    What was taken in, and what is to tell about it, each with the id of its row.
    """

    created: int = 0
    changed: int = 0
    merged: int = 0
    events: int = 0
    notes: list[tuple[str, str]] = []

    def add(self, other: Taken) -> None:
        """
        Count what *other* took in, too.
        """
        self.created += other.created
        self.changed += other.changed
        self.merged += other.merged
        self.events += other.events
        self.notes += other.notes


class Step:
    """
    One transaction of taking rows in: what it changes, what it takes in, and what it decides for each id.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.taken = Taken(notes=[])
        self.decided: list[Decided] = []  # for each id, in order
        self._fresh: set[str] = set()
        self._aside = ""  # why the row at hand says nothing

    def load(self, ids: Sequence[str], rows: Mapping[str, ItemRow]) -> None:
        """
        Read what is needed in a few goes.
        """
        self.context.load_ids(ids)
        missing = [id for id in ids if self.context.find(id) is None]
        self.context.load_records("alias", missing)
        self.context.load_keys([rows[id].draft.key for id in missing if id in rows and rows[id].draft.key])  # type: ignore[misc]

    def take(self, id: str, row: ItemRow | None, events: Sequence[EventRow]) -> None:
        """
        Take in what one id's row and events say.
        """
        before, purged_at = self._present(id)
        if row is not None and before is None and row.updated_at <= purged_at:
            # It was purged here since; the old file does not know.
            self.decided.append(Decided("unchanged", id, code="purged"))
            return
        if row is None and before is None:
            if not purged_at:
                self.taken.notes += [(event.id, f"belongs to no item: {id!r} is in no row") for event in events]
            self.decided.append(Decided("unchanged", id, code="purged" if purged_at else "not_found"))
            return
        item, self._aside, merged = before, "", self.taken.merged
        if row is not None:
            item = self._create_or_merge(id, row, purged_at) if before is None else self._change(before, id, row)
            self._keep_name(row, item)
        assert item is not None
        after = self._add_events(item, id, events)
        if before is not None and before.revision == after.revision:
            self.decided.append(Decided("unchanged", after.id, code=self._aside))
        else:
            made = "updated" if before is not None else "merged" if self.taken.merged > merged else "created"
            self.decided.append(Decided(made, after.id, after.revision))

    def _keep_name(self, row: ItemRow, item: Item) -> None:
        """
        Let an id that cannot be one of the store's find its item, if it can be asked for at all.
        """
        if row.given_id == row.draft.id or text_faults("", row.given_id, longest=LIMITS.name):
            return
        if self.context.record("alias", row.given_id) is None:
            self.context.put_record("alias", row.given_id, {"item_id": item.id})

    def _present(self, id: str) -> tuple[Item | None, Instant]:
        item = self.context.find(id)
        if item is not None:
            return item, ""
        alias = self.context.record("alias", id)
        if alias is None:
            return None, ""
        other = alias.body.get("item_id")
        if isinstance(other, str) and other != id:
            return self._present(other)
        return None, alias.body.get("purged_at", "")

    # --- a row that is new -------------------------------------------------------------------------------------------

    def _create_or_merge(self, id: str, row: ItemRow, purged_at: Instant) -> Item:
        key = row.draft.key
        holder = self.context.by_key(key) if key is not None else None
        if holder is not None:
            return self._merge(holder, id, row)
        # An id stays with the item that had it. One that comes back after a purge has a key to go on from, or is new.
        draft = replace(row.draft, id="bl_" + derived("returned", id, purged_at)) if purged_at else row.draft
        body = Create(draft=draft, status=row.status, created_at=row.created_at, updated_at=row.updated_at,
                      extra=row.extra)  # fmt: skip
        created = lifecycle.create(self.context, body).item
        assert created is not None
        self._fresh.add(created.id)
        self.taken.created += 1
        if created.id != id:
            self.context.put_record("alias", id, {"item_id": created.id})
        if (
            created.id != id
            or draft.evidence_refs != created.evidence_refs
            or any(_is_long(value) for value in row.originals.values())
        ):
            # More than the item says: all of it stays with the trail.
            created = self.context.put(created, created, "taken_in", meta={"legacy": _row_meta(id, row)})
        return created

    def _merge(self, holder: Item, id: str, row: ItemRow) -> Item:
        draft = row.draft
        merged = replace(
            holder,
            evidence_refs=merge_evidence(holder.evidence_refs, draft.evidence_refs),
            evidence_totals=total_evidence(holder.evidence_totals, holder.evidence_refs, draft.evidence_refs),
            tags=merge_tags(holder.tags, draft.tags),
            meta=merge_meta(draft.meta, holder.meta),
        )
        why = f"{row.given_id} has the same key; the earlier {holder.id} stays, and has its evidence, tags and events"
        if row.status in LIVE and holder.closed_reason == REOPENED_BY_REPORTS and row.updated_at > holder.closed_at:
            merged = reopened(self.context, merged)
            why += "; it is open again, because this one is"
        if merged != holder:
            # What just came out of the same file was changed when the file says, not now.
            now = row.updated_at if holder.id in self._fresh else self.context.now
            merged = replace(merged, updated_at=max(now, holder.updated_at))
        self.context.put_record("alias", id, {"item_id": holder.id})
        self.taken.merged += 1
        self.taken.notes.append((id, why))
        return self.context.put(holder, merged, "merged", message=why, meta={"legacy": _row_meta(id, row)})

    # --- a row that is known -----------------------------------------------------------------------------------------

    def _change(self, item: Item, id: str, row: ItemRow) -> Item:
        base = self._base(item, id)
        now = fields_of_row(row)
        if base is None:
            # Came here by another way. Only a row that is younger than the item has something to say.
            self._aside = "known_otherwise"
            base = now if row.updated_at <= item.updated_at else {name: getattr(item, name) for name in now}
        changed = {name for name in now if now[name] != base[name]}
        if not changed:
            return item
        after = item
        kept: dict[str, Any] = {}
        for name in changed.intersection(_PLAIN):
            if getattr(item, name) == base[name]:
                after = replace(after, **{name: now[name]})
            elif getattr(item, name) != now[name]:
                kept[name] = now[name]
        after = self._merged_documents(item, after, changed, base, now)
        if "status" in changed and item.status != now["status"]:
            if item.status == base["status"]:
                after = self._with_status(after, now["status"])
            else:
                kept["status"] = now["status"]
        kept |= {name: now[name] for name in changed & {"env", "dedupe_key"}}
        for name, value in sorted(kept.items()):
            here = getattr(item, name)
            text = f"{name}: an old process set {value!r}; here it is {here!r} meanwhile, which stays"
            self.taken.notes.append((id, text))
        if after != item:
            after = replace(after, updated_at=max(self.context.now, item.updated_at))
            self.taken.changed += 1
        meta = {"legacy": {**_row_meta(id, row), **({"not_taken": to_builtins(kept)} if kept else {})}}
        result = self.context.put(item, after, "taken_in", meta=meta)
        if result.status in CLOSED and item.status not in CLOSED:
            remember_closing(self.context, result, "")
        elif item.status in CLOSED and result.status not in CLOSED:
            clear_verdict(self.context, result)
        return result

    def _merged_documents(
        self, item: Item, after: Item, changed: set[str], base: Mapping[str, Any], now: Mapping[str, Any]
    ) -> Item:
        if "evidence_refs" in changed:
            after = replace(after, evidence_refs=merge_evidence(item.evidence_refs, now["evidence_refs"]),
                            evidence_totals=total_evidence(item.evidence_totals, item.evidence_refs,
                                                           now["evidence_refs"]))  # fmt: skip
        if "tags" in changed:
            gone = set(base["tags"]) - set(now["tags"])
            after = replace(after, tags=tuple(tag for tag in merge_tags(item.tags, now["tags"]) if tag not in gone))
        if "meta" in changed:
            news = {name: value for name, value in now["meta"].items() if base["meta"].get(name) != value}
            after = replace(after, meta=merge_meta(item.meta, news))
        return after

    def _with_status(self, item: Item, status: str) -> Item:
        if status in CLOSED:
            return replace(item, status=status, wake_at="", closed_at=self.context.now, closed_by=TAKER.name,
                           closed_reason=reason_of_move(status))  # fmt: skip
        return replace(reopened(self.context, item) if item.status in CLOSED else item, status=status, wake_at="")

    def _base(self, item: Item, id: str) -> Mapping[str, Any] | None:
        """
        Return what the row of *id* said when it was last taken in.
        """
        events = self.context.reader.events(EventQuery(item_ids=(item.id,), limit=None))
        for event in reversed(events):
            legacy = event.meta.get("legacy")
            if event.actor == TAKER.name and isinstance(legacy, dict) and legacy.get("id") == id and "row" in legacy:
                row: dict[str, Any] = legacy["row"]
                return {**row, "tags": tuple(row["tags"])}
        first = events[0] if events else None
        if first is not None and first.actor == TAKER.name and first.type == "created" and item.id == id:
            created = rebuild([first])
            return {name: getattr(created, name) for name in _FIELDS}
        return None

    # --- events ------------------------------------------------------------------------------------------------------

    def _add_events(self, item: Item, id: str, rows: Sequence[EventRow]) -> Item:
        if not rows:
            return item
        known: dict[str, Event] = {}
        if item.id not in self._fresh:
            query = EventQuery(item_ids=(item.id,), added=True, limit=None)
            known = {event.id: event for event in self.context.reader.events(query)}
        taken: dict[str, EventRow] = {}
        for row in rows:
            own_id = row.id
            other = known.get(own_id) or taken.get(own_id)
            if other is not None and (other.message, other.type, other.actor) != (row.message, row.type, row.actor):
                own_id = "ev_" + derived("legacy", row.id, row.type, row.actor, row.message)
                other = known.get(own_id) or taken.get(own_id)
                if other is None:
                    self.taken.notes.append((row.id, f"this id stands for two events; the other one is {own_id}"))
            if other is not None:
                continue
            taken[own_id] = row
            meta = row.meta if id == item.id else {**row.meta, "legacy": {"item_id": row.item_id}}
            self.context.actor = Actor(row.actor)
            item = self.context.put(item, item, row.type, message=row.message, meta=meta, added=True, ts=row.ts,
                                    own_event_id=own_id, extra=row.extra)  # fmt: skip
            self.taken.events += 1
        self.context.actor = TAKER
        return item


_FIELDS = (*_PLAIN, "env", "dedupe_key", "status", "tags", "meta", "evidence_refs")


def _row_meta(id: str, row: ItemRow) -> dict[str, Any]:
    return {"id": id, "row": to_builtins(fields_of_row(row)), "originals": row.originals}


def _is_long(value: Any) -> bool:
    return len(msgspec.json.encode(value)) > 8 * 1024
