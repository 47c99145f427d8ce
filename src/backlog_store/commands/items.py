"""
The bodies of commands about items: reports, changes of one item, what outlives items.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from msgspec import Struct, field

from backlog_store.instants import Instant
from backlog_store.model import Draft, ItemId, RecordKind

__all__ = [
    "BodyOf", "Cleanup", "Close", "Comment", "Create", "Deactivate", "DropExpired", "DropView", "Edit", "LiftVerdict",
    "Link", "LinkKind", "MarkSeen", "Move", "Reopen", "Report", "Resolve", "SaveView", "ShortenHistory", "Snooze",
    "Undo",
]  # fmt: skip

LinkKind = Literal["blocks", "parent", "relates", "duplicates", "caused_by"]


class BodyOf(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="command"):
    """
    What every body is: a value with a tag of its own, which refuses fields that it does not know.

    `DRAWN` are the fields that were drawn or looked up for it, and not asked for: a request that is repeated finds
    others there.
    """

    DRAWN: ClassVar[tuple[str, ...]] = ()


class Create(BodyOf, frozen=True, tag="create"):
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


class Report(BodyOf, frozen=True, tag="report"):
    """
    Report up to `LIMITS.drafts_per_command` problems: the upsert. One outcome a draft, in the order of the drafts.

    `refresh` names the fields that the report may change on a known item (``None``: every machine field, evidence
    alone being no change; naming ``evidence_refs`` makes it one). `opens` false: nothing is created or reopened (a
    branch that is not the default one). `baseline`: take in quietly, without due dates. `due_days`: days by priority
    until an item that this report opens is due, if its draft names no day. `undated`: it gets none, also where the
    policy gives one. `run` names the pass of the source.
    """

    drafts: tuple[Draft, ...]
    refresh: tuple[str, ...] | None = None
    opens: bool = True
    baseline: bool = False
    due_days: dict[str, int] = field(default_factory=dict)
    undated: bool = False
    run: str = ""


class Resolve(BodyOf, frozen=True, tag="resolve"):
    """
    A source says that problems are gone (a resolved alert): closes as ``fixed`` what that source alone opened.

    Items that another source still claims, or that a person has taken over, stay open; the claim is withdrawn.
    """

    env: str
    source: str
    dedupe_keys: tuple[str, ...]
    proof: str
    observed_at: Instant = ""


class Edit(BodyOf, frozen=True, tag="edit"):
    """
    Set fields of one item; `fields` may hold any of `rules.fields.EDITABLE` (a status goes through the workflow).

    A person holds what the person sets (only those in `hold`, if given), until `release` names it, or until the instant
    `hold_until`: what machines say is then taken over at the next report. `revision` 0 means any; otherwise an older or
    newer stored one is a `RevisionConflict`. `expect` maps fields (and ``updated_at``) to the values that they must
    still have: what somebody else changed meanwhile is a `RevisionConflict` that names it.
    """

    id: ItemId
    fields: dict[str, Any] = field(default_factory=dict)
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    hold: tuple[str, ...] | None = None
    hold_until: Instant = ""
    expect: dict[str, Any] = field(default_factory=dict)
    revision: int = 0
    message: str = ""


class Move(BodyOf, frozen=True, tag="move"):
    """
    Move one item to another status along the workflow. Raises `TransitionNotAllowed` naming the allowed moves.
    """

    id: ItemId
    to: str
    revision: int = 0
    message: str = ""


class Close(BodyOf, frozen=True, tag="close"):
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


class Reopen(BodyOf, frozen=True, tag="reopen"):
    """
    Open a new episode of a closed item, with a reason.
    """

    id: ItemId
    message: str
    revision: int = 0


class Snooze(BodyOf, frozen=True, tag="snooze"):
    """
    Let a live item sleep until an instant; the empty instant wakes it now.
    """

    id: ItemId
    until: Instant
    message: str = ""
    revision: int = 0


class Comment(BodyOf, frozen=True, tag="comment"):
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


class Link(BodyOf, frozen=True, tag="link"):
    """
    Join two items (`remove`: part them). ``blocks``, ``parent`` and ``caused_by`` stay free of cycles.
    """

    id: ItemId
    kind: LinkKind
    other: ItemId
    remove: bool = False


class LiftVerdict(BodyOf, frozen=True, tag="lift_verdict"):
    """
    Lift what was decided about a key: the next report of it opens the item again.
    """

    env: str
    dedupe_key: str
    message: str = ""


class Cleanup(BodyOf, frozen=True, tag="cleanup"):
    """
    Purge closed items not touched for `retention_days`, at most `limit` of them; the verdicts stay.
    """

    retention_days: int = 180
    limit: int = 500
    env: str = ""


class Deactivate(BodyOf, frozen=True, tag="deactivate"):
    """
    Close those of these items that are reported too seldom by now to stay open (`activation` of the policy in force).

    One outcome an id, in order: ``closed``, with the proof in the event, or ``unchanged`` with the reason.
    """

    ids: tuple[ItemId, ...]


class ShortenHistory(BodyOf, frozen=True, tag="shorten_history"):
    """
    Forget the events of these items, or purged ones, from before an instant.

    A baseline tells what they came to. One outcome an id, in order, for as many as go into one transaction.
    """

    ids: tuple[ItemId, ...]
    before: Instant


class DropExpired(BodyOf, frozen=True, tag="drop_expired"):
    """
    Let go of these records of one kind, as far as they are past their time. One outcome an id.

    A run goes with its parts and proposals; ``held`` says that some of these are left for the next step.
    """

    kind: RecordKind
    ids: tuple[str, ...]


class Undo(BodyOf, frozen=True, tag="undo"):
    """
    Set back what a batch did, for each item that nobody changed since; the others are refused with the reason.

    With a *limit* one step of so many events, newest first: the next one goes on *after* the answer's `next`. An item
    is set back whole in one step; one that was set back already is unchanged.
    """

    batch: str
    after: str = ""
    limit: int | None = None


class SaveView(BodyOf, frozen=True, tag="save_view"):
    """
    Keep a query under a name.
    """

    name: str
    query: str


class MarkSeen(BodyOf, frozen=True, tag="mark_seen"):
    """
    Note that who asks has seen what there was at *at*, up to the position of the log. A mark never goes back.
    """

    position: str
    at: Instant


class DropView(BodyOf, frozen=True, tag="drop_view"):
    """
    Forget a saved view.
    """

    name: str
