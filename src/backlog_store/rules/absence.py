"""
Absence: which items a complete run and those before it did not see, what keeps one open, and closing with its proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.codec import from_builtins
from backlog_store.commands import Outcome
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import LIVE, Item
from backlog_store.policy.closing import Closing
from backlog_store.query import All, In, ItemQuery, order_key
from backlog_store.rules.lanes import Lane, RunRef, Seen, covers, lane_of, missed_by, within_reach
from backlog_store.rules.policies import kept_by_guard
from backlog_store.rules.view import Context
from backlog_store.rules.voices import last_seen, live_sources, present, sighting_ids, still_reports, withdrawn
from backlog_store.workflow import held_by

__all__ = ["Absent", "absent_among", "close_absent", "kept_open_by", "missed_words", "scope_pages"]

_GONE = "{} does not see it any more"

_PAGE = 1_000
_HOUR_S = 3_600


class Absent(Struct, frozen=True):
    """
    An item of the scope that complete runs missed. `due`: often and long enough to close it; else `why` not yet.
    """

    item: Item
    seen: Seen
    missed: tuple[RunRef, ...]
    why: str

    @property
    def due(self) -> bool:
        """
        Tell whether it is to be closed, or the source's claim withdrawn.
        """
        return not self.why


def scope_pages(reader: Reader, lane: Lane) -> Iterator[Sequence[Item]]:
    """
    Yield the live items of a lane's env and services, page by page.
    """
    scope = lane.scope
    where = All((In("env", (scope.env,)), In("status", tuple(sorted(LIVE))), In("service", scope.services)))
    query = ItemQuery(where=where, order="priority", limit=_PAGE)
    while True:
        page = reader.search(query)
        if page:
            yield page
        if len(page) < _PAGE:
            return
        query = replace(query, after=order_key(page[-1], "priority"))


def absent_among(context: Context, own_id: str, lane: Lane, items: Sequence[Item], closing: Closing,
                 ) -> tuple[int, list[Absent]]:  # fmt: skip
    """
    Return how many of *items* are the lane's business, and those of them that its complete runs missed.

    What has no key cannot be recognised when it is reported again, so its absence says nothing.
    """
    claimed = [item for item in items if item.key and covers(lane.scope, item) and sighting_ids(item, lane.source)]
    ids = [id for item in claimed for id in sighting_ids(item, lane.source)]
    sighted = context.reader.records("sighting", ids) if ids else {}
    seen = {item.id: last_seen(item, lane.source, sighted) for item in claimed}
    seen = _with_last_run(context, seen)
    lanes = _lanes(context, own_id, seen)
    size, absent = 0, []
    earliest = add_seconds(context.now, -closing.min_age_hours * _HOUR_S)
    for item in claimed:
        one = seen[item.id]
        if one is None or not within_reach(lane, own_id, one, lanes):
            continue
        size += 1
        missed = missed_by(lane.complete, one)
        if missed:
            absent.append(Absent(item, one, missed[: closing.misses], _why_not_yet(missed, one, earliest, closing)))
    return size, absent


def _with_last_run(context: Context, seen: Mapping[str, Seen | None]) -> dict[str, Seen | None]:
    """
    Say which run saw each item last, where it matters: where the runs that are remembered are of two lanes.

    Their instants do not say it: what was reported since outside of any run moved those. A run that ended before the
    other began was not the last; of two that went on at the same time, either may have been.
    """
    doubtful = {run for one in seen.values() if one is not None and _has_two_lanes(one) for run in one.runs}
    context.load_records("run", sorted(doubtful))
    runs = {id: record.body for id in sorted(doubtful) if (record := context.record("run", id)) is not None}

    def last(one: Seen) -> tuple[str, ...]:
        return tuple(run for run in one.runs if not any(_is_before(runs, run, other) for other in one.runs))

    return {id: replace(one, last=last(one)) if one is not None and _has_two_lanes(one) else one
            for id, one in seen.items()}  # fmt: skip


def _has_two_lanes(seen: Seen) -> bool:
    return len(set(map(lane_of, seen.runs))) > 1


def _is_before(runs: Mapping[str, Mapping[str, Any]], run: str, other: str) -> bool:
    if run not in runs or other not in runs:
        return other in runs  # what is not remembered at all was no run of ours, or one long ago
    ended_at, began = str(runs[run].get("ended_at", "")), str(runs[other]["started_at"])
    return ended_at != "" and ended_at < began


def _lanes(context: Context, own_id: str, seen: Mapping[str, Seen | None]) -> dict[str, Lane | None]:
    ids = {lane_of(run) for one in seen.values() if one is not None for run in one.last} - {own_id, ""}
    context.load_records("run", sorted(ids))
    found = {id: context.record("run", id) for id in sorted(ids)}
    return {id: None if record is None else from_builtins(record.body, Lane) for id, record in found.items()}


def _why_not_yet(missed: Sequence[RunRef], seen: Seen, earliest: Instant, closing: Closing) -> str:
    if len(missed) < closing.misses:
        return f"missed by {len(missed)} of the {closing.misses} complete runs that it takes"
    if seen.at > earliest:
        return f"last seen at {seen.at}, less than {closing.min_age_hours:g} hours ago"
    return ""


def kept_open_by(context: Context, item: Item, source: str) -> str:
    """
    Return why an item stays open although *source* does not see it any more; empty if nothing keeps it.
    """
    if why := still_reports(present(context, withdrawn(item, source))):
        return why
    if item.source not in item.claims:
        return "a person filed it"
    for name in ("status", "owner"):
        if holder := held_by(item, name, context.now):
            return f"{holder} has taken it over"
    return kept_by_guard(context, item, _GONE.format(source))


def missed_words(missed: Sequence[RunRef]) -> str:
    """
    Return in words that these runs missed an item.
    """
    return f"missed by {len(missed)} complete run{'' if len(missed) == 1 else 's'}"


def close_absent(context: Context, lane: Lane, absent: Absent) -> Outcome | None:
    """
    Close an item that is due, or withdraw the claim where something keeps it open. ``None``: withdrawn before.

    The event's meta is the proof: which runs looked and did not see it, and when it was last seen.
    """
    item = absent.item
    why = kept_open_by(context, item, lane.source)
    if why and lane.source not in live_sources(item):
        return None
    proof = {"proof": "absent", "source": lane.source, "runs": [ref.id for ref in absent.missed],
             "last_seen_at": absent.seen.at}  # fmt: skip
    message = _GONE.format(lane.source)
    after = replace(present(context, withdrawn(item, lane.source)), updated_at=max(context.now, item.updated_at))
    if why:
        result = context.put(item, after, "resolved", message=message, meta={**proof, "kept_open": why})
        return Outcome(verdict="updated", id=item.id, revision=result.revision, why=why, item=result)
    after = replace(after, status="done", closed_at=context.now, closed_reason="fixed", closed_by=context.actor.name,
                    wake_at="")  # fmt: skip
    result = context.put(item, after, "closed", message=message, meta=proof)
    return Outcome(verdict="closed", id=item.id, revision=result.revision, item=result,
                   why=missed_words(absent.missed))  # fmt: skip
