"""
Reports under a key that was merged away: they are of the same problem, told in other words.

The reports of the key that the item holds say what it is called; two keys of one source would else take turns in
changing it, with an event each time. What comes in under the others adds what it saw: its tags and evidence, and what
its source claims under that key.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from backlog_store.commands import Outcome, Report
from backlog_store.instants import Instant
from backlog_store.model import Draft, Item, Key
from backlog_store.rules.assigning import assigned, reported_priority
from backlog_store.rules.fields import draft_digest, merge_evidence, merge_tags, total_evidence
from backlog_store.rules.view import Context
from backlog_store.rules.voices import claims_of, name_under, sighted_as, with_report

__all__ = ["other_name", "refreshed_under", "report_secondary"]


def other_name(context: Context, item: Item, draft: Draft) -> str | None:
    """
    Return by which name an item's claims are kept that is reported under a key that was merged away.

    ``None`` where it is reported under its own key, or one that was never that of another item.
    """
    if item.dedupe_key == draft.dedupe_key or not _is_merged_away(context, (draft.env, draft.dedupe_key)):
        return None
    return name_under(context, item, (draft.env, draft.dedupe_key))


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
    under = other_name(context, item, draft)
    if under is None:
        return None
    claimed = _claimed(context, item, under, draft, body, seen_at)
    if claimed is item and _tagged(item, draft) is item:
        context.sight(item, sighted_as(draft.source, under), seen_at, body.run)
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, priority=item.priority, item=item)
    after = refreshed_under(item, claimed, draft, body)
    because: dict[str, Any] = {}
    if claimed is not item and body.refresh is None:
        after, because = assigned(context.policy, after, context.now)
    after = replace(after, updated_at=max(context.now, item.updated_at))
    result = context.put(item, after, "auto_update", meta={**because, "under": draft.dedupe_key})
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def refreshed_under(item: Item, claimed: Item, draft: Draft, body: Report) -> Item:
    """
    Return *claimed*, which is *item* with what a report under another name claims, with what else it adds.
    """
    after = _tagged(claimed, draft)
    if claimed is not item and "priority" not in item.held and body.refresh is None:
        after = replace(after, priority=reported_priority(after))
    if "evidence_refs" not in item.held and draft.evidence_refs:
        totals = total_evidence(item.evidence_totals, item.evidence_refs, draft.evidence_refs)
        after = replace(
            after, evidence_refs=merge_evidence(item.evidence_refs, draft.evidence_refs), evidence_totals=totals
        )
    return after


def _claimed(context: Context, item: Item, under: str, draft: Draft, body: Report, seen_at: Instant) -> Item:
    """
    Return *item* with what the report claims under another name, if its source did not claim the same there before.
    """
    known = claims_of(item, under).get(draft.source)
    # Where the name has no claims of its own, other reports may say otherwise, and they would take turns.
    is_same = known is not None and known.live and (not under or known.priority == draft.priority)
    if is_same:
        return item
    return with_report(context, item, under, draft, seen_at, draft_digest(draft), body.run)


def _tagged(item: Item, draft: Draft) -> Item:
    tags = item.tags if "tags" in item.held else merge_tags(item.tags, draft.tags)
    return item if tags == item.tags else replace(item, tags=tags)
