"""
Problems that nobody knows: of a first report most are, and of a later one those that matter.

Where no section of the policy has a say, and the report sets no due dates, the draft alone decides what its item is. So
the way from one to the other is straight: what is the same for all drafts of a report is made once, and nothing is
asked that is known to have no answer. What comes out is what `upsert.report_one` comes to; that one takes over for any
other draft.
"""

from __future__ import annotations

from msgspec.structs import replace

from backlog_store.codec import to_builtins
from backlog_store.commands import Outcome, Report
from backlog_store.ids import event_id, item_id_of_key
from backlog_store.instants import Instant
from backlog_store.model import Claim, Draft, Event, Item
from backlog_store.rules.fields import draft_digest, merge_evidence, sorted_tags, total_evidence
from backlog_store.rules.view import Context
from backlog_store.trail import difference, sealed

__all__ = ["Opening", "new_item"]

_BASELINE_TAGS = ("baseline",)


class Opening:
    """
    Opens items for drafts of one report.
    """

    def __init__(self, context: Context, body: Report) -> None:
        policy = context.policy
        self._context = context
        self._run = body.run
        self._tags = _BASELINE_TAGS if body.baseline else ()
        sections = (
            policy.activation, policy.budgets, policy.due, policy.owners, policy.priority, policy.suppression,
        )  # fmt: skip
        self._is_free = body.opens and not body.due_days and all(section is None for section in sections)
        self._event = Event(
            id="", item_id="", revision=1, ts=context.now, type="created", actor=context.actor.name,
            actor_kind=context.actor.kind, batch=context.batch, request=context.command.request_id,
            policy=policy.revision,
        )  # fmt: skip

    def open(self, draft: Draft) -> Outcome | None:
        """
        Open the item of a sound draft, if there is nothing to be asked about it; ``None`` for any other.
        """
        context, key = self._context, draft.key
        if not self._is_free or key is None or draft.id or not context.is_unheard_of(key):
            return None
        new = new_item(context, draft, id=item_id_of_key(key), seen_at=draft.observed_at or context.now,
                       tags=self._tags, run=self._run)  # fmt: skip
        event = sealed(replace(
            self._event,
            id=event_id(new.id, 1),
            item_id=new.id,
            changes=difference(None, new, context.now),
            salt=context.salts.next(),
            meta={},
            extra={},
        ))  # fmt: skip
        item = replace(new, head=event.hash)
        context.add(item, event)
        return Outcome(verdict="created", id=item.id, revision=1, item=item)


def new_item(context: Context, draft: Draft, *, id: str, seen_at: Instant, revision: int = 1,
             generation: int = 0, tags: tuple[str, ...] = (), run: str = "") -> Item:  # fmt: skip
    """
    Return the item that a draft opens.
    """
    now, priority, source, evidence = context.now, draft.priority, draft.source, draft.evidence_refs
    claim = Claim(priority=priority, digest=draft_digest(draft), reports=1, first_at=seen_at, last_at=seen_at,
                  run=run)  # fmt: skip
    return Item(
        id=id,
        revision=revision,
        env=draft.env,
        status="open",
        priority=priority,
        created_at=now,
        updated_at=now,
        service=draft.service,
        category=draft.category,
        title=draft.title,
        description=draft.description,
        owner=draft.owner,
        due_date=draft.due_date,
        source=source,
        dedupe_key=draft.dedupe_key,
        evidence_refs=merge_evidence({}, evidence) if evidence else {},
        evidence_totals=total_evidence({}, {}, evidence) if evidence else {},
        tags=sorted_tags((*draft.tags, *tags)),
        meta=to_builtins(draft.meta) if draft.meta else {},
        fix=draft.fix,
        key_inputs=dict(draft.key_inputs),
        generation=generation,
        claims={source: claim},
    )
