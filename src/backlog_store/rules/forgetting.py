"""
What is let go: closed items, the older history of those that stay, records past their time. In bounded steps.

A step ends at `LIMITS.step_rows` rows, however much is left: no other writer waits longer than that for its turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from backlog_store.backends.port import DropRecord, Trim
from backlog_store.commands import Cleanup, DropExpired, Outcome, ShortenHistory
from backlog_store.errors import NotAllowed
from backlog_store.instants import add_seconds
from backlog_store.model import CLOSED, LIMITS, Event, Item, ItemId, Key, KeyState, RecordKind, Verdict
from backlog_store.query import All, Compare, EventQuery, In, ItemQuery, Where
from backlog_store.rules.checks import Checker
from backlog_store.rules.links import part_all
from backlog_store.rules.view import Context
from backlog_store.trail import difference, is_baseline

__all__ = ["cleanup", "drop_expired", "key_event", "shorten_history"]

_DAY_S = 86_400
#: Kinds of records whose ids begin with that of a run.
_OF_RUNS: tuple[RecordKind, ...] = ("run", "proposal")


def key_event(context: Context, state: KeyState, type: str, message: str) -> Event:
    """
    Return the next event of a key that no item holds.
    """
    return context.event(state.item_id, state.last_revision + 1, type, message, prev=state.head)


def cleanup(context: Context, body: Cleanup) -> tuple[Outcome, ...]:
    """
    Purge closed items that nobody touched for so long, first closed first; of a keyed one the key's record stays.

    No outcome: none is left.
    """
    check = Checker()
    if isinstance(body.retention_days, bool) or not 0 <= body.retention_days <= 36_500:
        check.fault("retention_days", body.retention_days, "0 to 36500 days")
    if not 1 <= body.limit <= LIMITS.drafts_per_command:
        check.fault("limit", body.limit, f"1 to {LIMITS.drafts_per_command}")
    check.done("cleanup")
    kept = context.policy.retention
    if kept is not None and body.retention_days < kept.closed_days:
        _refuse(context, "purging items", f"closed items stay {kept.closed_days} days", "closed_days")
    before = add_seconds(context.now, -body.retention_days * _DAY_S)
    # By the instant of closing, which is indexed: by that of the last change each step would pass all that is live.
    parts: list[Where] = [In("status", tuple(sorted(CLOSED))), Compare("closed_at", "<", before),
                          Compare("updated_at", "<", before)]  # fmt: skip
    if body.env:
        parts.append(In("env", (body.env,)))
    found = context.reader.search(ItemQuery(where=All(tuple(parts)), order="closed", limit=body.limit))
    found = found[: _fitting([item.revision + 1 for item in found])]
    context.load_records("key", [f"{item.env}/{item.dedupe_key}" for item in found if item.dedupe_key])
    linked = [item for item in found if item.links]
    if linked:
        context.load_ids([item.id for item in found])
        for item in linked:
            part_all(context, item)
        found = [context.item(item.id) for item in found]
    return tuple(_purge(context, item) for item in found)


def _refuse(context: Context, action: str, why: str, key: str) -> None:
    raise NotAllowed(action, f"{why} (policy {context.policy.revision}, retention/{key})",
                     hint="`backlog cleanup` keeps to the policy by itself.")  # fmt: skip


def _fitting(rows: Sequence[int]) -> int:
    """
    Return how many of these, in their order, go into one step: at least one.
    """
    total = 0
    for number, count in enumerate(rows):
        total += count
        if number and total > LIMITS.step_rows:
            return number
    return len(rows)


def _purge(context: Context, item: Item) -> Outcome:
    body = {"purged_at": context.now, "env": item.env, "dedupe_key": item.dedupe_key}
    state = (context.key_state(item.key) if item.key is not None else None) or KeyState()
    state = replace(state, item_id=item.id, last_revision=item.revision, head=item.head)
    event = key_event(context, state, "purged", "")
    context.purge(item)
    context.put_record("alias", item.id, body)
    if item.key is not None:
        verdict = None if item.verdict_lifted else Verdict(
            reason=item.closed_reason or "fixed", by=item.closed_by, at=item.closed_at or item.updated_at,
            note=state.verdict.note if state.verdict else "", expires_at=item.expires_at,
            free_from=item.held_until.get("status", "") if "status" in item.held else context.now,
        )  # fmt: skip
        kept = replace(state, purged_at=context.now, verdict=verdict, last_revision=event.revision, head=event.hash,
                       episode=item.episode, generation=item.generation)  # fmt: skip
        context.put_key_state(item.key, kept, event=event)
    return Outcome(verdict="purged", id=item.id, revision=item.revision)


def shorten_history(context: Context, body: ShortenHistory) -> tuple[Outcome, ...]:
    """
    Forget the events of these items, or purged ones, from before an instant; what stays explains them as before.

    One outcome an id, for as many as go into one step: the others are to be asked for again.
    """
    check = Checker()
    check.instant("before", body.before, required=True)
    check.done("shorten_history")
    kept = context.policy.retention
    days = kept.history_days if kept is not None else None
    if days is not None and body.before > add_seconds(context.now, -days * _DAY_S):
        _refuse(context, "forgetting history", f"history stays {days} days", "history_days")
    context.load_ids(body.ids)
    found = [context.find(id) for id in body.ids]
    ids = body.ids[: _fitting([item.revision if item else 1 for item in found])]
    trails: dict[ItemId, list[Event]] = {id: [] for id in ids}
    for event in context.reader.events(EventQuery(item_ids=ids, limit=None)):
        trails[event.item_id].append(event)
    outcomes, trims = [], []
    for id in ids:
        outcome, trim = _shorten(context, id, trails[id], body.before)
        outcomes.append(outcome)
        trims += trim
    # Behind all that is written: so a backend may do them together.
    context.changes += trims
    return tuple(outcomes)


def _shorten(context: Context, id: ItemId, trail: list[Event], before: str) -> tuple[Outcome, list[Trim]]:
    trail.sort(key=lambda event: event.revision)
    # Only a beginning can go: an old event behind a newer one was added later and told of an older instant.
    gone = next((number for number, event in enumerate(trail) if event.ts >= before), len(trail))
    kept = trail[gone:]
    item = context.find(id)
    if not gone:
        return Outcome(verdict="unchanged", id=id, revision=item.revision if item else 0), []
    if item is not None:
        revision = item.revision if any(map(is_baseline, kept)) else _put_baseline(context, item)
    elif (known := _purged_key(context, id)) is None:
        return Outcome(verdict="unchanged", id=id, why="it is the history of no item"), []
    else:
        revision = kept[-1].revision if any(map(is_baseline, kept)) else _put_key_baseline(context, *known)
    first_kept = kept[0].revision if kept else revision
    return Outcome(verdict="shortened", id=id, revision=revision, events=gone), [Trim(id, first_kept)]


def _put_baseline(context: Context, item: Item) -> int:
    return context.put(item, item, "baseline", changes=difference(None, item, "")).revision


def _purged_key(context: Context, id: ItemId) -> tuple[Key, KeyState] | None:
    """
    Return the key that a purged item held, and what is remembered about it; the events rest on that record.
    """
    alias = context.record("alias", id)
    key = (str(alias.body.get("env", "")), str(alias.body.get("dedupe_key", ""))) if alias else ("", "")
    state = context.key_state(key) if key[1] else None
    return (key, state) if state is not None and state.item_id == id and state.purged_at else None


def _put_key_baseline(context: Context, key: Key, state: KeyState) -> int:
    event = key_event(context, state, "baseline", "")
    context.put_key_state(key, replace(state, last_revision=event.revision, head=event.hash), event=event)
    return event.revision


def drop_expired(context: Context, body: DropExpired) -> tuple[Outcome, ...]:
    """
    Let go of those of these records that are past their time. One outcome an id.

    Of an answer first what it said, and later that there was one: a request id is refused for long before it would be
    taken for a new one.
    """
    outcomes = []
    kept_days = context.policy.retention.request_days if context.policy.retention is not None else LIMITS.request_days
    context.load_records(body.kind, body.ids)
    for id in body.ids:
        record = context.record(body.kind, id)
        if record is None or not record.expires_at or record.expires_at > context.now:
            outcomes.append(Outcome(verdict="unchanged", id=id))
            continue
        known_until = add_seconds(record.expires_at, kept_days * _DAY_S)
        if body.kind == "answer" and "answer" in record.body and known_until > context.now:
            rest = {name: value for name, value in record.body.items() if name != "answer"}
            context.put_record("answer", id, rest, expires_at=known_until)
        elif body.kind == "run" and not _drop_parts_of_run(context, id):
            outcomes.append(Outcome(verdict="held", id=id, why="some of its parts are left for another step"))
            continue
        else:
            context.changes.append(DropRecord(body.kind, id, record.revision))
        outcomes.append(Outcome(verdict="purged", id=id, revision=record.revision))
    return tuple(outcomes)


def _drop_parts_of_run(context: Context, id: str) -> bool:
    """
    Let go of what was reported in a run and proposed by it; tell whether that was all of it.
    """
    for kind in _OF_RUNS:
        room = max(0, LIMITS.step_rows - len(context.changes))
        page = context.reader.scan(kind, f"{id}/", "", room + 1)
        context.changes += [DropRecord(kind, record.id, record.revision) for record in page[:room]]
        if len(page) > room:
            return False
    return True
