"""
Commands: what is asked of the store, as serialisable values; and answers, what it said.

A command carries its instant and a random seed, drawn once before any transaction; every id that it makes is derived
from them. So a command that is run again, elsewhere or later, decides the same on the same state.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from backlog_store.access import Scope
from backlog_store.commands.access import (
    AdmitPerson,
    BeginSession,
    EndSessions,
    IssueToken,
    RemovePerson,
    RevokeToken,
    RotateToken,
    SetPerson,
    TouchSession,
)
from backlog_store.commands.claims import ClaimItem, ReleaseItem, RenewClaim
from backlog_store.commands.identity import Merge, Split
from backlog_store.commands.items import (
    BodyOf,
    Cleanup,
    Close,
    Comment,
    Create,
    Deactivate,
    DropExpired,
    DropView,
    Edit,
    LiftVerdict,
    Link,
    LinkKind,
    MarkSeen,
    Move,
    Reopen,
    Report,
    Resolve,
    SaveView,
    ShortenHistory,
    Snooze,
    Undo,
)
from backlog_store.commands.plans import KeepPlan
from backlog_store.commands.policies import ApplyPolicy, Escalate
from backlog_store.commands.runs import AbortRun, BeginRun, CompleteRun, JudgeRun, RunScope
from backlog_store.commands.webhooks import NoteDeliveries, Redeliver, RemoveWebhook, SetWebhook
from backlog_store.instants import Instant
from backlog_store.model import Actor, Item, ItemId

__all__ = [
    "AbortRun", "Access", "AdmitPerson", "Answer", "ApplyPolicy", "BeginRun", "BeginSession", "Body", "BodyOf", "Bulk",
    "ClaimItem", "Cleanup", "Close", "Command", "Comment", "CompleteRun", "Create", "Deactivate", "DropExpired",
    "DropView", "Edit", "EndSessions", "Escalate", "IssueToken", "JudgeRun", "KeepPlan", "LiftVerdict", "Link",
    "LinkKind", "MarkSeen", "Merge", "Move", "NoteDeliveries", "Outcome", "OutcomeVerdict", "Redeliver", "ReleaseItem",
    "RemovePerson", "RemoveWebhook", "RenewClaim", "Reopen", "Report", "Reporting", "Resolve", "RevokeToken",
    "RotateToken", "RunScope", "SaveView", "SetPerson", "SetWebhook", "ShortenHistory", "Single", "Snooze", "Split",
    "TouchSession", "Undo", "Webhooks",
]  # fmt: skip

#: Of an item, or of a run: what it is in now. ``held``: taken in and kept, to be acted on later; `why` says when.
OutcomeVerdict = Literal[
    "created", "updated", "unchanged", "reopened", "suppressed", "refused", "closed", "purged", "accepted", "held",
    "begun", "closing", "completed", "parked", "empty", "short", "repeated", "aborted", "rejecting", "rejected",
    "superseded",
    "claimed", "shortened",
]  # fmt: skip


Single = Create | Edit | Move | Close | Reopen | Snooze | Comment | Link | LiftVerdict


class Bulk(BodyOf, frozen=True, tag="bulk"):
    """
    Several bodies in one transaction. `keep_going`: what a rule refuses is an outcome ``refused``, the rest is done.

    A `revision` is that before all of them, but for an item that an earlier body names: then that behind it.
    """

    bodies: tuple[Single, ...]
    keep_going: bool = False


#: What a source says: all that a reporter may ask.
Reporting = Report | Resolve | BeginRun | CompleteRun | AbortRun
#: Who may sign in.
Access = (
    IssueToken | RotateToken | RevokeToken | SetPerson | RemovePerson
    | AdmitPerson | BeginSession | TouchSession | EndSessions
)  # fmt: skip
#: Who is told of events, and what became of that.
Webhooks = SetWebhook | RemoveWebhook | Redeliver | NoteDeliveries
Body = (
    Single
    | Reporting
    | Cleanup
    | Deactivate
    | ShortenHistory
    | DropExpired
    | Undo
    | SaveView
    | DropView
    | MarkSeen
    | ApplyPolicy
    | Escalate
    | Bulk
    | JudgeRun
    | KeepPlan
    | ClaimItem
    | RenewClaim
    | ReleaseItem
    | Merge
    | Split
    | Access
    | Webhooks
)


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One request: who asks what, when, and under which request id (unique per actor; empty: cannot be asked again).

    `seed` is 128 random bits in hexadecimal. `batch` joins several commands for `Undo`; by default each is its own.
    `scope` is what the credential reaches that asks (``None``: everything); like the actor, it never comes from a body.
    `expect` is the digest of what was decided when it was shown (`preview.digest_of`): another decision is refused.
    `token` is that of a claim of the item (`ClaimItem`): a write under a claim that is over is refused.
    """

    body: Body
    actor: Actor
    at: Instant
    seed: str
    request_id: str = ""
    batch: str = ""
    expect: str = ""
    scope: Scope | None = None
    token: int = 0


class Outcome(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """
    What became of one draft or one body. `item` is its new state; it is not kept with the answer.

    `code` is the error code of a refusal, `why` its text or the reason of the verdict. A report of several drafts
    leaves the item of an unchanged one out, and tells its `priority`. Of a claim `token` is what later writes bring,
    and `until` when its lease ends. `events` is how many were forgotten.
    """

    verdict: OutcomeVerdict
    id: ItemId = ""
    revision: int = 0
    why: str = ""
    code: str = ""
    priority: str = ""
    events: int = 0
    item: Item | None = None
    token: int = 0
    until: Instant = ""


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What the store said: one outcome a draft or body, in order. `replayed`: the first answer to a repeated request.

    `accepted`: not recorded yet, but kept until the database is back (see `executors.failover`); its outcomes are
    ``accepted``, with the ids that the items will have, or ``refused``. `volatile`: kept in memory only, because the
    spool's disk refused it too. `next`: where the next step of a bounded command goes on; empty after the last one.
    """

    batch: str
    outcomes: tuple[Outcome, ...] = ()
    replayed: bool = False
    accepted: bool = False
    volatile: bool = False
    next: str = ""

    def counts(self) -> dict[str, int]:
        """
        Return how many outcomes there are of each verdict.
        """
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.verdict] = counts.get(outcome.verdict, 0) + 1
        return counts
