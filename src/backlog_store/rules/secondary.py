"""
Reports under a key that was merged away: they are of the same problem, told in other words.

The reports of the key that the item holds say what it is called; two keys of one source would else take turns in
changing it, with an event each time. What comes in under the others adds what it saw: its tags, its source's claim.
"""

from __future__ import annotations

from msgspec.structs import replace

from backlog_store.commands import Outcome, Report
from backlog_store.instants import Instant
from backlog_store.model import LIMITS, Claim, Draft, Item, Key
from backlog_store.rules.fields import draft_digest, merge_evidence, merge_tags, total_evidence
from backlog_store.rules.view import Context

__all__ = ["report_secondary"]


def _is_merged_away(context: Context, key: Key) -> bool:
    """
    Tell whether *key*, another name of a key, or a name on the way there was once held by an item of its own.
    """
    seen: set[Key] = set()
    while (state := context.key_state(key)) is not None and state.alias_of and key not in seen:
        if state.merged:
            return True
        seen.add(key)
        key = (key[0], state.alias_of)
    return False


def report_secondary(context: Context, item: Item, draft: Draft, body: Report, seen_at: Instant) -> Outcome | None:
    """
    Take in a report of a live item under a key that was merged into its own; ``None`` for any other report.
    """
    if item.dedupe_key == draft.dedupe_key or not _is_merged_away(context, (draft.env, draft.dedupe_key)):
        return None
    known = item.claims.get(draft.source)
    claims = item.claims
    if (known is None and len(claims) < LIMITS.sources) or (known is not None and not known.live):
        claim = Claim(priority=draft.priority, digest=draft_digest(draft), reports=1 + (known.reports if known else 0),
                      first_at=known.first_at if known else seen_at, last_at=seen_at, run=body.run)  # fmt: skip
        claims = {**claims, draft.source: claim}
    tags = item.tags if "tags" in item.held else merge_tags(item.tags, draft.tags)
    if claims is item.claims and tags == item.tags:
        context.sight(item, draft.source, seen_at, body.run)
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, priority=item.priority, item=item)
    after = replace(item, claims=claims, tags=tags, updated_at=max(context.now, item.updated_at))
    if claims is not item.claims and "priority" not in item.held and body.refresh is None:
        after = replace(after, priority=min(item.priority, draft.priority))
    if "evidence_refs" not in item.held and draft.evidence_refs:
        totals = total_evidence(item.evidence_totals, item.evidence_refs, draft.evidence_refs)
        after = replace(
            after, evidence_refs=merge_evidence(item.evidence_refs, draft.evidence_refs), evidence_totals=totals
        )
    result = context.put(item, after, "auto_update", meta={"under": draft.dedupe_key})
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)
