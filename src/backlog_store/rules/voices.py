"""
What sources claim about an item, by the key that they report it under: its own, or one that was merged into that.

A source that resolves one of two alerts that were merged has not resolved the other. So `Item.claims` holds what is
claimed under the item's own key and under names that were never an item's, and `Item.claims_under` what is claimed
under each key that an item was merged away with. An item that took in another one before this was kept apart has no
entry for that key, and what is reported or resolved under it counts as under its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec.structs import replace

from backlog_store.codec import digest as digest_of
from backlog_store.instants import Instant
from backlog_store.model import LIMITS, Claim, Draft, Item, Key, Record, Sighted
from backlog_store.rules.lanes import Seen, seen_of
from backlog_store.rules.view import Context

__all__ = [
    "both_sighted", "claims_by_source", "claims_of", "every_claim", "last_seen", "live_sources", "moved", "name_under",
    "present", "sighted_as", "sighting_id", "sighting_ids", "source_of_sighting", "still_reports", "with_claim",
    "with_report", "withdrawn", "without_names",
]  # fmt: skip

_DIGITS = 13


def every_claim(item: Item) -> Iterator[tuple[str, str, Claim]]:
    """
    Yield all that is claimed: the key that it is claimed under (empty: the item's own), the source, the claim.
    """
    for source, claim in item.claims.items():
        yield "", source, claim
    for under, claims in item.claims_under.items():
        for source, claim in claims.items():
            yield under, source, claim


def name_under(context: Context, item: Item, key: Key) -> str:
    """
    Return which of the names that an item's claims are kept by *key* leads to first; empty for the item's own.
    """
    seen: set[Key] = set()
    while item.claims_under and key != item.key and key not in seen:
        if key[1] in item.claims_under:
            return key[1]
        seen.add(key)
        state = context.key_state(key)
        key = key if state is None else (key[0], state.alias_of)
    return ""


def claims_of(item: Item, under: str) -> Mapping[str, Claim]:
    """
    Return by source what is claimed under one name.
    """
    return item.claims_under[under] if under else item.claims


def with_claim(item: Item, under: str, source: str, claim: Claim) -> Item:
    """
    Return *item* with what a source claims under one name.
    """
    claims = {**claims_of(item, under), source: claim}
    return replace(item, claims_under={**item.claims_under, under: claims}) if under else replace(item, claims=claims)


def with_report(
    context: Context, item: Item, under: str, draft: Draft, seen_at: Instant, digest: str, run: str
) -> Item:
    """
    Return *item* with what the source of a draft claims by it; unchanged where no more sources may claim anything.
    """
    known = claims_of(item, under).get(draft.source)
    sources = {source for _, source, _ in every_claim(item)} if known is None else set()
    if len(sources - {draft.source}) >= LIMITS.sources:
        return item
    claim = Claim(
        priority=draft.priority,
        digest=digest,
        reports=(known.reports if known else 0) + (0 if context.is_counted else 1),
        first_at=min(known.first_at, seen_at) if known else seen_at,
        last_at=max(known.last_at, seen_at) if known else seen_at,
        run=run or (known.run if known else ""),
    )
    return with_claim(item, under, draft.source, claim)


def withdrawn(item: Item, source: str = "") -> Item:
    """
    Return *item* with all claims of a source withdrawn, under whichever name; without a source with those of all.
    """
    for under, name, claim in every_claim(item):
        if claim.live and source in ("", name):
            item = with_claim(item, under, name, replace(claim, live=False))
    return item


def without_names(item: Item, names: Collection[str]) -> Item:
    """
    Return *item* without what is claimed under these names.
    """
    if item.claims_under.keys().isdisjoint(names):
        return item
    return replace(item, claims_under={name: own for name, own in item.claims_under.items() if name not in names})


def present(context: Context, item: Item) -> Item:
    """
    Return *item* without what is claimed under names that lead to it no more: its key was changed, a merge undone.
    """
    if not item.claims_under:
        return item
    keys = {(item.env, name): name for name in item.claims_under}
    context.load_keys(list(keys))
    lead = {name for key, name in keys.items() if (holder := context.by_key(key)) is not None and holder.id == item.id}
    return without_names(item, item.claims_under.keys() - lead)


def moved(old: Item, new: Item) -> Item:
    """
    Return *new*, which is *old* with another key, with what is claimed under that: its own name now.
    """
    if old.key == new.key or new.dedupe_key not in new.claims_under:
        return new
    claims = {**new.claims_under.get(new.dedupe_key, {}), **new.claims}
    return replace(without_names(new, [new.dedupe_key]), claims=claims)


def live_sources(item: Item) -> list[str]:
    """
    Return the sources that still report an item, under whichever name.
    """
    return sorted({source for _, source, claim in every_claim(item) if claim.live})


def still_reports(item: Item) -> str:
    """
    Return in words who still reports an item, and under which of several names; empty if nobody does.
    """
    live = sorted((source, under or item.dedupe_key) for under, source, claim in every_claim(item) if claim.live)
    names = [f"{source} (as {name})" if item.claims_under else source for source, name in live]
    return f"{', '.join(names)} still reports it" if names else ""


def claims_by_source(item: Item) -> dict[str, Claim]:
    """
    Return what each source claims under all names together: for people to read.
    """
    claims: dict[str, Claim] = {}
    for _, source, claim in every_claim(item):
        claims[source] = _both(claims[source], claim) if source in claims else claim
    return claims


def _both(one: Claim, other: Claim) -> Claim:
    newer = other if other.last_at > one.last_at else one
    live = [claim.priority for claim in (one, other) if claim.live]
    return replace(
        newer,
        reports=one.reports + other.reports,
        first_at=min(one.first_at, other.first_at),
        live=bool(live),
        priority=min(live or [one.priority]),
    )


# Sightings


def sighted_as(source: str, under: str) -> str:
    """
    Return by which name the unchanged reports of a source under one name are counted (`port.Sighting.source`).
    """
    return f"{source}\n{digest_of(under.encode())[:_DIGITS]}" if under else source


def source_of_sighting(counted_as: str) -> str:
    """
    Return the source whose unchanged reports are counted by this name.
    """
    source, newline, name = counted_as.rpartition("\n")
    return source if newline and len(name) == _DIGITS else counted_as


def sighting_id(item: Item, source: str, under: str = "") -> str:
    """
    Return the id of the record that counts the unchanged reports of a source under one name.
    """
    return f"{item.id}/{sighted_as(source, under)}"


def sighting_ids(item: Item, source: str = "") -> list[str]:
    """
    Return the ids of all records that count unchanged reports of an item: of one source, or of all.
    """
    return [sighting_id(item, name, under) for under, name, _ in every_claim(item) if source in ("", name)]


def both_sighted(one: Sighted, other: Sighted) -> Sighted:
    """
    Return what was counted of two: *other* is the newer one.
    """
    return Sighted(
        n=one.n + other.n, first_at=min(one.first_at, other.first_at), last_at=max(one.last_at, other.last_at),
        run=other.run or one.run,
    )  # fmt: skip


def last_seen(item: Item, source: str, sighted: Mapping[str, Record]) -> Seen | None:
    """
    Return when *source* last saw an item, under whichever name; ``None`` if it never reported it.
    """
    seen = [seen_of(claim, sighted.get(sighting_id(item, source, under)))
            for under, name, claim in every_claim(item) if name == source]  # fmt: skip
    if len(seen) < 2:
        return seen[0] if seen else None
    runs = tuple(dict.fromkeys(run for one in seen for run in one.runs))
    return Seen(max(one.at for one in seen), runs, runs)
