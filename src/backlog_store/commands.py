"""
Commands: what is asked of the store, as serialisable values; and answers, what it said.

A command carries its instant and a random seed, drawn once before any transaction; every id that it makes is derived
from them. So a command that is run again, elsewhere or later, decides the same on the same state.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from backlog_store.access import Scope
from backlog_store.instants import Instant
from backlog_store.model import Actor, Draft, Item, ItemId

__all__ = [
    "Answer", "Body", "Bulk", "Cleanup", "Close", "Command", "Comment", "Create", "DropView", "Edit", "LiftVerdict",
    "Link", "LinkKind", "Move", "Outcome", "OutcomeVerdict", "Reopen", "Report", "Resolve", "SaveView", "Single",
    "Snooze", "Undo",
]  # fmt: skip

LinkKind = Literal["blocks", "parent", "relates", "duplicates", "caused_by"]
OutcomeVerdict = Literal[
    "created", "updated", "unchanged", "reopened", "suppressed", "refused", "closed", "purged", "accepted"
]  # fmt: skip


class _Body(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="command"):
    pass


class Create(_Body, frozen=True, tag="create"):
    """
    Add one item that must not be there yet. Status and times are for importers; empty times mean now.

    `extra` holds members that importers keep beside the item's own (`Item.extra`). Raises `AlreadyExists` for a taken
    id or key.
    """

    draft: Draft
    status: str = "open"
    created_at: Instant = ""
    updated_at: Instant = ""
    extra: dict[str, Any] = field(default_factory=dict)


class Report(_Body, frozen=True, tag="report"):
    """
    Report up to `LIMITS.drafts_per_command` problems: the upsert. One outcome a draft, in the order of the drafts.

    `refresh` names the fields that the report may change on a known item (``None``: every machine field, evidence
    alone being no change; naming ``evidence_refs`` makes it one). `opens` false: nothing is created or reopened (a
    branch that is not the default one). `baseline`: take in quietly, without due dates. `due_days`: days by priority
    until an item that this report opens is due, if its draft names no day. `run` names the pass of the source.
    """

    drafts: tuple[Draft, ...]
    refresh: tuple[str, ...] | None = None
    opens: bool = True
    baseline: bool = False
    due_days: dict[str, int] = field(default_factory=dict)
    run: str = ""


class Resolve(_Body, frozen=True, tag="resolve"):
    """
    A source says that problems are gone (a resolved alert): closes as ``fixed`` what that source alone opened.

    Items that another source still claims, or that a person has taken over, stay open; the claim is withdrawn.
    """

    env: str
    source: str
    dedupe_keys: tuple[str, ...]
    proof: str
    observed_at: Instant = ""


class Edit(_Body, frozen=True, tag="edit"):
    """
    Set fields of one item; `fields` may hold any of `rules.fields.EDITABLE` (a status goes through the workflow).

    A person holds what the person sets (only those in `hold`, if given), until `release` names it. `revision` 0 means
    any; otherwise an older or newer stored one is a `RevisionConflict`. `expect` maps fields (and ``updated_at``) to
    the values that they must still have: what somebody else changed meanwhile is a `RevisionConflict` that names it.
    """

    id: ItemId
    fields: dict[str, Any] = field(default_factory=dict)
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    hold: tuple[str, ...] | None = None
    expect: dict[str, Any] = field(default_factory=dict)
    revision: int = 0
    message: str = ""


class Move(_Body, frozen=True, tag="move"):
    """
    Move one item to another status along the workflow. Raises `TransitionNotAllowed` naming the allowed moves.
    """

    id: ItemId
    to: str
    revision: int = 0
    message: str = ""


class Close(_Body, frozen=True, tag="close"):
    """
    Close one live item with a reason (`model.CLOSING_REASONS`) and a proof or a person's words.

    ``accepted_risk`` needs `approver` and `expires_at`; ``duplicate`` needs `duplicate_of`.
    """

    id: ItemId
    reason: str = "fixed"
    message: str = ""
    approver: str = ""
    expires_at: Instant = ""
    duplicate_of: ItemId = ""
    revision: int = 0


class Reopen(_Body, frozen=True, tag="reopen"):
    """
    Open a new episode of a closed item, with a reason.
    """

    id: ItemId
    message: str
    revision: int = 0


class Snooze(_Body, frozen=True, tag="snooze"):
    """
    Let a live item sleep until an instant; the empty instant wakes it now.
    """

    id: ItemId
    until: Instant
    message: str = ""
    revision: int = 0


class Comment(_Body, frozen=True, tag="comment"):
    """
    Add an event of the caller's to an item: a comment, or any `type`. `ts` and `event_id` are kept if given.

    `extra` holds members that importers keep beside the event's own (`Event.extra`).
    """

    id: ItemId
    message: str
    type: str = "comment"
    meta: dict[str, Any] = field(default_factory=dict)
    ts: Instant = ""
    event_id: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    revision: int = 0


class Link(_Body, frozen=True, tag="link"):
    """
    Join two items (`remove`: part them). ``blocks`` and ``parent`` stay free of cycles within an env.
    """

    id: ItemId
    kind: LinkKind
    other: ItemId
    remove: bool = False


class LiftVerdict(_Body, frozen=True, tag="lift_verdict"):
    """
    Lift what was decided about a key: the next report of it opens the item again.
    """

    env: str
    dedupe_key: str
    message: str = ""


class Cleanup(_Body, frozen=True, tag="cleanup"):
    """
    Purge closed items not touched for `retention_days`, at most `limit` of them; the verdicts stay.
    """

    retention_days: int = 180
    limit: int = 500
    env: str = ""


class Undo(_Body, frozen=True, tag="undo"):
    """
    Set back what a batch did, for each item that nobody changed since; the others are refused with the reason.
    """

    batch: str


class SaveView(_Body, frozen=True, tag="save_view"):
    """
    Keep a query under a name.
    """

    name: str
    query: str


class DropView(_Body, frozen=True, tag="drop_view"):
    """
    Forget a saved view.
    """

    name: str


Single = Create | Edit | Move | Close | Reopen | Snooze | Comment | Link | LiftVerdict


class Bulk(_Body, frozen=True, tag="bulk"):
    """
    Several bodies in one transaction. `keep_going`: what a rule refuses is an outcome ``refused``, the rest is done.
    """

    bodies: tuple[Single, ...]
    keep_going: bool = False


Body = Single | Report | Resolve | Cleanup | Undo | SaveView | DropView | Bulk


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One request: who asks what, when, and under which request id (unique per actor; empty: cannot be asked again).

    `seed` is 128 random bits in hexadecimal. `batch` joins several commands for `Undo`; by default each is its own.
    `scope` is what the credential reaches that asks (``None``: everything); like the actor, it never comes from a body.
    """

    body: Body
    actor: Actor
    at: Instant
    seed: str
    request_id: str = ""
    batch: str = ""
    scope: Scope | None = None


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What became of one draft or one body. `item` is its new state; it is not kept with the answer.

    `code` is the error code of a refusal, `why` its text or the reason of the verdict.
    """

    verdict: OutcomeVerdict
    id: ItemId = ""
    revision: int = 0
    why: str = ""
    code: str = ""
    item: Item | None = None


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What the store said: one outcome a draft or body, in order. `replayed`: the first answer to a repeated request.

    `accepted`: not recorded yet, but kept until the database is back (see `executors.failover`); its outcomes are
    ``accepted``, with the ids that the items will have, or ``refused``. `volatile`: kept in memory only, because the
    spool's disk refused it too.
    """

    batch: str
    outcomes: tuple[Outcome, ...] = ()
    replayed: bool = False
    accepted: bool = False
    volatile: bool = False

    def counts(self) -> dict[str, int]:
        """
        Return how many outcomes there are of each verdict.
        """
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.verdict] = counts.get(outcome.verdict, 0) + 1
        return counts
