"""
Lanes and runs: what is remembered of the passes of a source over a scope, and what they prove.

A *lane* is one source with one scope; its record knows the newest complete runs. An item was *missed* by each of them
that began after the source last saw it. So a miss is derived and never counted: missing an item writes nothing.

Records of kind ``run``: ``<lane>`` (`Lane`), ``<lane>/<run>`` (`Run`), ``<lane>/<run>/<part>`` (`Part`) while the run
goes on. Records of kind ``proposal``: ``<lane>/<run>/close/<number>``, ``<lane>/<run>/reopen/<digest of the key>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.codec import digest, encode, from_builtins
from backlog_store.commands import RunScope
from backlog_store.instants import Instant
from backlog_store.model import Claim, Item, Record, Sighted

__all__ = [
    "COMPLETE_KEPT", "Lane", "Part", "Run", "RunRef", "Seen", "covers", "declared", "lane_id", "lane_of",
    "missed_by", "parked", "seen_of", "with_complete",
]  # fmt: skip

#: Complete runs that a lane remembers: as many as a policy may ask for (`policy.closing.MISSES_MAX`).
COMPLETE_KEPT = 20
_LANE_DIGITS = 13
_LAST = "\U0010ffff"


class RunRef(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A complete run, as its lane remembers it.
    """

    id: str
    started_at: Instant
    reported: int
    digest: str = ""


class Lane(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A source and a scope. `complete` are the newest complete runs, newest first; `last_at` is when the last one began.

    `parked` are runs that were parked; some may have been judged since.
    """

    source: str
    scope: RunScope
    last_at: Instant = ""
    complete: tuple[RunRef, ...] = ()
    parked: tuple[str, ...] = ()


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One run. `closes`, `withdraws` and `reopens` are what it would do to the `size` live items of its scope.

    `closed`, `withdrawn`, `reopened` and `kept` are what became of them; `then` is the state that follows on the last
    step of ``closing``. `why` is the reason of an end that proves nothing.
    """

    source: str
    scope: RunScope
    state: str
    started_at: Instant
    by: str
    ended_at: Instant = ""
    expected: int | None = None
    reported: int = 0
    outside: int = 0
    digest: str = ""
    why: str = ""
    then: str = ""
    size: int = 0
    closes: int = 0
    reopens: int = 0
    closed: int = 0
    withdrawn: int = 0
    reopened: int = 0
    kept: int = 0
    judged_by: str = ""
    judged_at: Instant = ""
    message: str = ""


class Part(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One report within a run: how many problems of the scope it held, how many outside of it, how many were refused.
    """

    inside: int
    outside: int = 0
    refused: int = 0


class Seen(Struct, frozen=True):
    """
    When a source last saw an item, and the runs that are remembered of that: of its claim, of its sightings, or none.

    `last` are those of them that may have seen it last.
    """

    at: Instant
    runs: tuple[str, ...]
    last: tuple[str, ...]


def declared(scope: RunScope) -> RunScope:
    """
    Return *scope* in the one form that equal scopes have.
    """
    return replace(scope, services=tuple(sorted(set(scope.services))), rules=tuple(sorted(set(scope.rules))))


def lane_id(source: str, scope: RunScope) -> str:
    """
    Return the id of the lane of a source and a scope.
    """
    scope = declared(scope)
    return digest(encode(("lane", source, scope.env, scope.services, scope.ref, scope.rules)))[:_LANE_DIGITS]


def lane_of(run: str) -> str:
    """
    Return the lane in a run's id; empty for a text that names none.
    """
    lane, slash, name = run.partition("/")
    return lane if slash and name and len(lane) == _LANE_DIGITS else ""


def covers(scope: RunScope, item: Item) -> bool:
    """
    Tell whether an item's env, service and rule lie inside a scope.
    """
    return (
        item.env == scope.env
        and item.service in scope.services
        and (not scope.rules or item.key_inputs.get("rule", "") in scope.rules)
    )


def seen_of(claim: Claim, sighted: Record | None) -> Seen:
    """
    Return when what a source claims was last seen; *sighted* counts its unchanged reports.
    """
    if sighted is None:
        own: tuple[str, ...] = (claim.run,) if claim.run else ()
        return Seen(claim.last_at, own, own)
    body = from_builtins(sighted.body, Sighted)
    runs = tuple(run for run in dict.fromkeys((body.run, claim.run)) if run)
    return Seen(max(claim.last_at, body.last_at), runs, runs)


def within_reach(lane: Lane, own_id: str, seen: Seen, lanes: Mapping[str, Lane | None]) -> bool:
    """
    Tell whether what was last seen like this is the lane's business.

    It is if a run of this lane saw it last, or one of a lane whose scope lies inside; what no run ever saw belongs to
    the lanes without a ref.
    """
    if not seen.last:
        return not lane.scope.ref
    return all(_is_inside(lane, own_id, lane_of(run), lanes) for run in seen.last)


def _is_inside(lane: Lane, own_id: str, other_id: str, lanes: Mapping[str, Lane | None]) -> bool:
    if other_id == own_id:
        return True
    other = lanes.get(other_id)
    if other is None:
        return not lane.scope.ref
    return other.source == lane.source and _lies_inside(other.scope, lane.scope)


def _lies_inside(inner: RunScope, outer: RunScope) -> bool:
    return (
        inner.env == outer.env
        and inner.ref == outer.ref
        and set(inner.services) <= set(outer.services)
        and (not outer.rules or (bool(inner.rules) and set(inner.rules) <= set(outer.rules)))
    )


def missed_by(complete: Sequence[RunRef], seen: Seen) -> tuple[RunRef, ...]:
    """
    Return the complete runs, newest first, that looked after the item was last seen and did not see it.
    """
    missed = []
    for ref in complete:
        if ref.id in seen.runs or ref.started_at <= seen.at:
            break
        missed.append(ref)
    return tuple(missed)


def with_complete(lane: Lane, ref: RunRef) -> Lane:
    """
    Return the lane with one more complete run, at its place.
    """
    others = [one for one in lane.complete if one.id != ref.id]
    ordered = sorted([*others, ref], key=lambda one: (one.started_at, one.id), reverse=True)
    return replace(lane, complete=tuple(ordered[:COMPLETE_KEPT]))


def parked(reader: Reader) -> list[tuple[str, Run]]:
    """
    Return the runs that are parked, by id. One look a run that proposes something: what it proposes is leapt over.
    """
    ids: list[str] = []
    after = ""
    while page_of := reader.scan("proposal", "", after, 1):
        ids.append("/".join(page_of[0].id.split("/")[:2]))
        after = f"{ids[-1]}/{_LAST}"
    runs = {id: from_builtins(record.body, Run) for id, record in reader.records("run", ids).items()}
    return [(id, runs[id]) for id in ids if id in runs and runs[id].state == "parked"]
