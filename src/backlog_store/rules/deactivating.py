"""
Items that are reported too seldom by now to stay open, by the lower thresholds of the policy's `activation`.

How often an item is reported is known where its reports were counted (`waiting.note_active`) for the whole window under
the policy in force; that it was not reported at all, from when its sources last saw it. Otherwise nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Reader, Require
from backlog_store.codec import from_builtins
from backlog_store.commands import Deactivate, Outcome
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import LIVE, Item, Record
from backlog_store.policy import Policy
from backlog_store.policy.opening import ActivationRule
from backlog_store.query import All, In, ItemQuery, Not, Where
from backlog_store.rules.lanes import seen_of
from backlog_store.rules.policies import kept_by_guard
from backlog_store.rules.view import Context
from backlog_store.rules.voices import every_claim, live_sources, sighting_id, sighting_ids, withdrawn
from backlog_store.rules.waiting import Active, active_id
from backlog_store.workflow import held_by

__all__ = ["Quiet", "deactivate", "quiet_items"]

_HOUR_S = 3_600
_PAGE = 500


class Quiet(Struct, frozen=True, kw_only=True):
    """
    An item below its lower threshold: reported *count* times in the last *hours*, fewer than *below*.

    *last_seen_at* is the newest report of any source; *kept_by* why it stays open all the same.
    """

    item: Item
    count: int
    below: int
    hours: float
    last_seen_at: Instant
    rule: str
    line: int = 0
    kept_by: str = ""

    @property
    def words(self) -> str:
        """
        Return why it is closed.
        """
        return f"reported {self.count} times within {self.hours:g} hours, fewer than {self.below} (rule {self.rule})"


def quiet_items(reader: Reader, policy: Policy, now: Instant, *, env: str = "", after: str = "",
                ) -> tuple[list[Quiet], str]:  # fmt: skip
    """
    Return the items below their threshold on one page of live ones by id, and the id to go on after; empty at the end.
    """
    if policy.activation is None or all(rule.close_below is None for rule in policy.activation.rules):
        return [], ""
    where: list[Where] = [In("status", tuple(sorted(LIVE))), Not(In("dedupe_key", ("",)))]
    where += [In("env", (env,))] if env else []
    page = reader.search(ItemQuery(where=All(tuple(where)), order="id", limit=_PAGE, after=(after,) if after else None))
    return _quiet_among(reader, policy, page, now), page[-1].id if len(page) == _PAGE else ""


def _quiet_among(reader: Reader, policy: Policy, items: Sequence[Item], now: Instant) -> list[Quiet]:
    ruled = [(item, found) for item in items
             if item.key and any(every_claim(item)) and (found := _rule(policy, item)) is not None]  # fmt: skip
    if not ruled:
        return []
    active = reader.records("proposal", [active_id(item.id) for item, _ in ruled])
    sighted = reader.records("sighting", [id for item, _ in ruled for id in sighting_ids(item)])
    looked_at = (_quiet(policy, item, number, rule, active.get(active_id(item.id)), sighted, now)
             for item, (number, rule) in ruled)  # fmt: skip
    return [one for one in looked_at if one is not None]


def _rule(policy: Policy, item: Item) -> tuple[int, ActivationRule] | None:
    found = policy.activation.rule(item) if policy.activation is not None else None
    return found if found is not None and found[1].close_below is not None else None


def _quiet(policy: Policy, item: Item, number: int, rule: ActivationRule, record: Record | None,
           sighted: Mapping[str, Record], now: Instant) -> Quiet | None:  # fmt: skip
    begins = add_seconds(now, -rule.quiet_hours * _HOUR_S)
    last_seen_at = max(seen_of(claim, sighted.get(sighting_id(item, source, under))).at
                       for under, source, claim in every_claim(item))  # fmt: skip
    count = 0
    if last_seen_at > begins:
        counted = from_builtins(record.body, Active) if record is not None else None
        if counted is None or counted.policy != policy.revision or counted.since > begins:
            return None
        count = sum(begins < at for at in counted.seen)
    below = rule.close_below or 0
    if count >= below:
        return None
    said = policy.said_at(f"/activation/rules/{number}", rule.name)
    others = [source for source in live_sources(item)
              if _rule(policy, replace(item, source=source)) != (number, rule)]  # fmt: skip
    kept_by = f"{', '.join(others)} reports it, and the rule is not about that" if others else ""
    for name in ("status", "owner"):
        if holder := held_by(item, name, now):
            kept_by = kept_by or f"{holder} has taken it over"
    if item.source not in item.claims:
        kept_by = kept_by or "a person filed it"
    return Quiet(item=item, count=count, below=below, hours=rule.quiet_hours, last_seen_at=last_seen_at,
                 rule=said["rule"], line=said.get("line", 0), kept_by=kept_by)  # fmt: skip


def deactivate(context: Context, body: Deactivate) -> tuple[Outcome, ...]:
    """
    Close those of these items that are below their threshold. The event's meta is the proof.
    """
    context.load_ids(body.ids)
    items = [context.item(id) for id in body.ids]
    live = [item for item in items if item.status in LIVE]
    quiet = {one.item.id: one for one in _quiet_among(context.reader, context.policy, live, context.now)}
    return tuple(_close(context, item, quiet.get(item.id)) for item in items)


def _close(context: Context, item: Item, quiet: Quiet | None) -> Outcome:
    why = f"it is {item.status}" if item.status not in LIVE else "it is not below a threshold of the policy in force"
    if quiet is not None:
        why = quiet.kept_by or kept_by_guard(context, item, quiet.words)
    if quiet is None or why:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, why=why, item=item)
    id = active_id(item.id)
    if context.record("proposal", id) is None:  # a report that comes meanwhile makes it
        context.changes.append(Require("proposal", id, 0))
    context.drop_record("proposal", id)
    proof = {"proof": "seldom", "rule": quiet.rule, "count": quiet.count, "below": quiet.below, "hours": quiet.hours,
             "last_seen_at": quiet.last_seen_at, **({"line": quiet.line} if quiet.line else {})}  # fmt: skip
    closed = replace(withdrawn(item), status="done", closed_at=context.now, closed_reason="fixed", wake_at="",
                     closed_by=context.actor.name, updated_at=max(context.now, item.updated_at))  # fmt: skip
    result = context.put(item, closed, "closed", message=quiet.words, meta=proof)
    return Outcome(verdict="closed", id=item.id, revision=result.revision, why=quiet.words, item=result)
