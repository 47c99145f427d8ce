"""
The report that says nothing new: of a large report most are like that.
"""

from __future__ import annotations

from backlog_store.commands import Outcome, Report
from backlog_store.model import CLOSED, Draft, Item, Outline
from backlog_store.rules.assigning import assigns, ended_holds
from backlog_store.rules.checks import says_all_in_its_digest
from backlog_store.rules.fields import draft_digest
from backlog_store.rules.view import Context

__all__ = ["repeated", "says_the_same"]


def repeated(context: Context, draft: Draft, body: Report, *, is_checked: bool = True) -> Outcome | None:
    """
    Count a draft that says of a live item what its source said last, without the item being decoded.

    Where it was not checked, it is sound if it is no other than the one that was sound then.
    """
    key = draft.key
    known = None if key is None or body.refresh is not None or assigns(context.policy) else context.outline(key)
    if known is None or known.status in CLOSED or ended_holds(known, context.now):
        return None
    if not is_checked and not says_all_in_its_digest(draft):
        return None
    try:
        digest = draft_digest(draft)
    except (TypeError, ValueError, OverflowError, RecursionError):
        if is_checked:
            raise
        return None  # checking it will tell why
    if not says_the_same(known, draft, body, digest):
        return None
    context.sight(known, draft.source, draft.observed_at or context.now, body.run)
    return Outcome(verdict="unchanged", id=known.id, revision=known.revision, priority=known.priority)


def says_the_same(known: Item | Outline, draft: Draft, body: Report, digest: str) -> bool:
    """
    Tell whether a draft, of this digest, says what its source said last.

    A report that names its fields sets them, also over an edit since the same report was last taken in.
    """
    claim = None if body.refresh is not None else known.claims.get(draft.source)
    return claim is not None and claim.live and claim.digest == digest
