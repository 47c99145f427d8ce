"""
The values of the store: items, drafts, events, records, and the limits on each.

All values are immutable msgspec structs with one canonical JSON form (`backlog_store.codec`). Instants and days are
text, see `backlog_store.instants`. Defaults are left out of the JSON form, so a new field costs nothing until used.

``gc=False``: a value holds JSON data and other values, never anything that leads back to it, so no collection has to
look for cycles in it. A report of many drafts keeps thousands of them, and looking cost a fifth of deciding it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from backlog_store.instants import Day, Instant

__all__ = [
    "ACCESS_TRAIL", "ACTOR_KINDS", "CLOSED", "CLOSING_REASONS", "CURRENT_POLICY", "LEGACY_NOTES", "LIMITS", "LIVE",
    "POLICY_TRAIL", "PRIORITIES", "STAGES", "STATUSES", "SYSTEM", "TRAILS", "Actor", "ActorKind", "Claim",
    "ClosingReason", "Draft", "Event", "Item", "ItemId", "Key", "KeyState", "Limits", "Outline", "Priority", "Record",
    "RecordKind", "Sighted", "Status", "UpsertVerdict", "Verdict", "closed_status", "key_record_id", "stage_of",
]  # fmt: skip

ItemId = str
#: The identity of a problem: (env, dedupe_key). An empty dedupe key is no identity at all.
Key = tuple[str, str]

Status = Literal["open", "in_progress", "blocked", "done", "canceled"]
Priority = Literal["P0", "P1", "P2", "P3"]
ActorKind = Literal["person", "machine"]
ACTOR_KINDS: tuple[ActorKind, ...] = ("person", "machine")
ClosingReason = Literal["fixed", "wont_fix", "false_positive", "accepted_risk", "duplicate", "obsolete"]
UpsertVerdict = Literal["created", "updated", "unchanged", "reopened", "suppressed", "refused"]
#: Judging kinds are put only together with an event: key, policy, access (who may sign in). Working kinds without:
#: session (of a person who signed in, in a browser), answer, view, link, alias,
#: guard, suppressed (what a window held back, by window, env and key), sighting (kept by the backend, see `Sighting`),
#: store (one record: the store's id and incarnation), run (lanes, runs and their parts, see `rules.lanes`), proposal
#: (what a run is still to do), delivery (what became of webhooks, see `hooks`),
#: seen (up to where somebody has seen what happened, by name).
#: Only in the store that is a spool (executors/failover): spool, parked, account.
RecordKind = Literal[
    "key", "answer", "view", "link", "alias", "guard", "sighting", "store", "run", "policy", "lease", "spool", "parked",
    "account", "proposal", "suppressed", "access", "session", "plan", "delivery", "seen",
]  # fmt: skip

STATUSES: tuple[Status, ...] = ("open", "in_progress", "blocked", "done", "canceled")
#: The statuses, with those open items apart that wait for a live item that blocks them; see `Item.stage`.
STAGES: tuple[str, ...] = ("open", "waiting", "in_progress", "blocked", "done", "canceled")
LIVE: frozenset[str] = frozenset({"open", "in_progress", "blocked"})
CLOSED: frozenset[str] = frozenset({"done", "canceled"})
PRIORITIES: tuple[Priority, ...] = ("P0", "P1", "P2", "P3")
CLOSING_REASONS: tuple[ClosingReason, ...] = (
    "fixed", "wont_fix", "false_positive", "accepted_risk", "duplicate", "obsolete",
)  # fmt: skip

#: The record of the policy in force, and the trail that the events of policies stand in, as if of an item of this id.
CURRENT_POLICY = "current"
POLICY_TRAIL = "policy"
#: Likewise of what is decided about tokens and people; see `rules.granting`.
ACCESS_TRAIL = "access"
#: The trails that belong to no item, each with the record that holds its head.
TRAILS: Mapping[str, tuple[RecordKind, str]] = {
    POLICY_TRAIL: ("policy", CURRENT_POLICY), ACCESS_TRAIL: ("access", "current"),
}  # fmt: skip

#: How the ids of those `store` records begin that tell what was mapped when data of the original module was taken in.
LEGACY_NOTES = "legacy-note/"


class Limits(Struct, frozen=True):
    """
    The bounds on every value. Texts in characters, `meta_bytes` in bytes of canonical JSON.
    """

    id: int = 128
    env: int = 100
    name: int = 200  # service, category, owner, source, actor, fix, view names
    dedupe_key: int = 512
    title: int = 1_000
    description: int = 100_000
    message: int = 20_000
    tags: int = 100
    tag: int = 100
    meta_bytes: int = 65_536
    meta_depth: int = 16
    evidence_kinds: int = 50
    evidence_kept: int = 50  # newest a kind; the totals count on
    evidence_bytes: int = 65_536
    key_inputs: int = 20
    aliases: int = 100  # other names that lead to one key at once, and keys that one was split from
    sources: int = 50  # claims an item
    request_id: int = 200
    seed: int = 64
    drafts_per_command: int = 2_000
    page: int = 10_000
    links_per_item: int = 1_000
    words: int = 2_000  # indexed for full-text search, per item
    word: int = 64
    answer_days: int = 14
    request_days: int = 400  # so long a request id is known, though no longer its answer
    run_days: int = 180  # so long a run is known after it ended, or began and never ended
    step_rows: int = 5_000  # that one step of maintenance may write or remove


LIMITS = Limits()


class Actor(Struct, frozen=True, gc=False):
    """
    Who acts. The kind comes from the credential; a library caller is a machine unless it says otherwise.
    """

    name: str
    kind: ActorKind = "machine"


SYSTEM = Actor("system")


class Claim(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """
    What one source last claimed about an item.

    *digest* is of its last report that changed the item; *reports* counts those reports (all others are sightings);
    *live* is false once the source resolved or withdrew its claim. *run* is the pass that the last of them came in.
    """

    priority: str
    digest: str
    reports: int
    first_at: Instant
    last_at: Instant
    live: bool = True
    run: str = ""


class Item(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One problem to work on; at most one per (`env`, `dedupe_key`), for ever.

    `revision` starts at 1 and grows by one with each event. `updated_at` is when a field last changed (comments do not
    count) and never goes backwards. `held` maps each field that a person holds to that person's name: a machine does
    not touch it, until the instant in `held_until`, where that names the field. `head` is the hash of the newest event
    (see `backlog_store.trail`).
    """

    id: ItemId
    revision: int
    env: str
    status: str
    priority: str
    created_at: Instant
    updated_at: Instant
    service: str = ""
    category: str = ""
    title: str = ""
    description: str = ""
    owner: str = ""
    due_date: Day = ""
    source: str = ""
    dedupe_key: str = ""
    evidence_refs: dict[str, Any] = field(default_factory=dict)
    evidence_totals: dict[str, int] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    fix: str = ""  # names the one fix that clears every item with the same value
    key_inputs: dict[str, str] = field(default_factory=dict)
    generation: int = 0  # grows when a key starts anew with another item
    episode: int = 1  # grows with each reopening
    held: dict[str, str] = field(default_factory=dict)
    held_until: dict[str, Instant] = field(default_factory=dict)  # of those held fields whose hold has an end
    claims: dict[str, Claim] = field(default_factory=dict)  # by source
    claims_under: dict[str, dict[str, Claim]] = field(default_factory=dict)  # by key that was merged in, then by source
    wake_at: Instant = ""  # snoozed until then
    escalated: dict[str, Instant] = field(default_factory=dict)  # steps of the policy that fired in this episode, when
    closed_at: Instant = ""
    closed_reason: str = ""
    closed_by: str = ""
    approver: str = ""  # of an accepted risk
    expires_at: Instant = ""  # of an accepted risk
    duplicate_of: ItemId = ""
    verdict_lifted: bool = False  # the next report reopens, whatever the closing reason
    links: int = 0  # links that it has, seen from either end
    blocked_by: int = 0  # of those that block it, how many begin at a live item
    claimed_by: str = ""  # who took it to work on it; for how long stands in its lease, see `rules.claiming`
    head: str = ""
    extra: dict[str, Any] = field(default_factory=dict)  # fields of a newer version, kept through a round trip

    @property
    def key(self) -> Key | None:
        """
        Return (`env`, `dedupe_key`), or `None` for an item that is unique by itself.
        """
        return (self.env, self.dedupe_key) if self.dedupe_key else None

    @property
    def stage(self) -> str:
        """
        Return the status, or ``waiting`` for an open item that a live one blocks.
        """
        return stage_of(self.status, self.blocked_by)

    @property
    def created_on(self) -> str:
        """
        Return the day of `created_at`, in UTC.
        """
        return self.created_at[:10]

    @property
    def closed_on(self) -> str:
        """
        Return the day of `closed_at`, in UTC; empty for an item that is not closed.
        """
        return self.closed_at[:10]


def stage_of(status: str, blocked_by: int) -> str:
    """
    Return the stage of an item of this status that so many live items block.
    """
    return "waiting" if blocked_by and status == "open" else status


def closed_status(reason: str) -> str:
    """
    Return the status that closing for this reason ends in.
    """
    return "done" if reason == "fixed" else "canceled"


class Outline(Struct, frozen=True, gc=False):
    """
    What has to be known of an item to tell whether a report of it says anything new.
    """

    id: ItemId
    revision: int
    status: str
    priority: str
    claims: dict[str, Claim] = field(default_factory=dict)
    held_until: dict[str, Instant] = field(default_factory=dict)


class Draft(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What a reporter or a person hands in: an item without id, revision and history.

    `volatile` names members of `meta` that may change from report to report without being a change. `observed_at` is
    when the problem was seen (default: the command's instant). `id` is for importers and is kept when the item is new.
    """

    title: str
    env: str = "prod"
    service: str = ""
    category: str = ""
    description: str = ""
    priority: str = "P2"
    owner: str = ""
    due_date: Day = ""
    source: str = "manual"
    dedupe_key: str = ""
    evidence_refs: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    fix: str = ""
    key_inputs: dict[str, str] = field(default_factory=dict)
    volatile: tuple[str, ...] = ()
    observed_at: Instant = ""
    id: ItemId = ""

    @property
    def key(self) -> Key | None:
        """
        Return (`env`, `dedupe_key`), or `None` where the dedupe key is empty.
        """
        return (self.env, self.dedupe_key) if self.dedupe_key else None


class Event(Struct, frozen=True, dict=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One recorded change of one item, or of a judging record about its key.

    `revision` is the item's revision that it made; `changes` maps each changed field to ``[old, new]``. `ts` is when
    it was decided. `added` marks an event that a caller added (a comment, say) rather than the store's own trail.
    `batch` names the command, `request` the caller's request id. `salt`, `prev` and `hash` chain the trail; `position`
    is given by the backend in commit order, opaque, compared bytewise, and no part of the canonical form.

    The order of the fields is part of the trail's form: the circumstances, then what may hold people's words, from
    `salt` on (see `backlog_store.trail`). An event that was just sealed holds its canonical JSON (`codec.keep_form`).
    """

    id: str
    item_id: ItemId
    revision: int
    ts: Instant
    type: str
    actor: str
    actor_kind: ActorKind = "machine"
    added: bool = False
    batch: str = ""
    request: str = ""
    policy: int = 0
    prev: str = ""
    salt: str = ""
    message: str = ""
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    hash: str = ""
    extra: dict[str, Any] = field(default_factory=dict)  # fields of a newer version, kept through a round trip
    position: str = ""


class Record(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """
    A small document for all that is no item. Ids are composed so that each order needed is id order.

    `body` is a JSON object; `revision` starts at 1; a record past `expires_at` (if any) may be dropped by maintenance.
    """

    kind: RecordKind
    id: str
    revision: int
    body: dict[str, Any] = field(default_factory=dict)
    expires_at: Instant = ""


class Verdict(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """
    What was decided about a key; it outlives the item.

    Once the item is purged `free_from` says when machines may lift it: never where it is empty, as a person holds it.
    """

    reason: str
    by: str
    at: Instant
    note: str = ""
    expires_at: Instant = ""
    free_from: Instant = ""


class KeyState(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """
    The body of a ``key`` record: the item that holds the key, and what stays when it is purged.

    `item_id` is the item's id; `alias_of` (a dedupe key of the same env) is set where the key is another name, and that
    key names it among its `aliases`. `merged` is the item that held the key until it was merged away. `apart` are keys
    that this one was split from, and is never to be merged with. After a purge `purged_at` is set, and `last_revision`,
    `head` and `episode` say where a returning item goes on.
    """

    item_id: ItemId = ""
    alias_of: str = ""
    verdict: Verdict | None = None
    purged_at: Instant = ""
    last_revision: int = 0
    head: str = ""
    episode: int = 0
    generation: int = 0
    aliases: tuple[str, ...] = ()
    merged: ItemId = ""
    apart: tuple[str, ...] = ()


class Sighted(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """
    The body of a ``sighting`` record (id ``<item id>/<source>``): unchanged reports of one source, counted.
    """

    n: int
    first_at: Instant
    last_at: Instant
    run: str = ""


def key_record_id(key: Key) -> str:
    """
    Return the id of the ``key`` record of *key*. The env cannot hold a slash, so the id is unambiguous.
    """
    return f"{key[0]}/{key[1]}"
