"""
How many items met their targets: counted from the trails of the live ones and of those closed lately.

Clocks are computed, not stored, so this reads the trail of each of these items, page by page: it is asked for, and no
part of what a dashboard counts at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import Instant
from backlog_store.model import CLOSED, LIVE, Event
from backlog_store.policy import Policy
from backlog_store.query import All, Any_, Compare, EventQuery, In, ItemQuery, Where
from backlog_store.rules.sla import sla_of

__all__ = ["Attained", "attained_among", "in_order"]

_PAGE = 500


class Attained(Struct, frozen=True, kw_only=True):
    """
    One clock of one target, counted: *met* and *breached*; *running* is what is not over yet, paused ones among them.

    *unknown* are those whose beginning was let go. *share* is met of met and breached, ``None`` where there is neither.
    """

    rule: str
    clock: str
    met: int = 0
    breached: int = 0
    running: int = 0
    unknown: int = 0
    share: float | None = None


def attained_among(reader: Reader, policy: Policy, now: Instant, *, since: Instant, env: str = "", after: str = "",
                   ) -> tuple[Counter[tuple[str, str, str]], str]:  # fmt: skip
    """
    Count clocks by (rule, clock, state) on one page of items by id: the live ones, and those closed from *since* on.

    Return the id to go on after, too; empty after the last page.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    if policy.sla is None:
        return counts, ""
    lately = All((In("status", tuple(sorted(CLOSED))), Compare("closed_at", ">=", since)))
    where: list[Where] = [Any_((In("status", tuple(sorted(LIVE))), lately))]
    where += [In("env", (env,))] if env else []
    page = reader.search(ItemQuery(where=All(tuple(where)), order="id", limit=_PAGE, after=(after,) if after else None))
    trails: dict[str, list[Event]] = {}
    for item in page:
        found = policy.sla.decide(item)
        if found is not None and not found[1].none:
            trails[item.id] = []
    for event in reader.events(EventQuery(item_ids=tuple(trails), limit=None)) if trails else ():
        trails[event.item_id].append(event)
    for item in page:
        for clock in sla_of(item, trails[item.id], policy, now) if item.id in trails else ():
            counts[clock.rule, clock.clock, "running" if clock.state == "paused" else clock.state] += 1
    return counts, page[-1].id if len(page) == _PAGE else ""


def in_order(counts: Mapping[tuple[str, str, str], int], policy: Policy) -> list[Attained]:
    """
    Return the counts a line each, in the order of the targets of a policy.
    """
    rules = [policy.said_at(f"/sla/targets/{number}", target.name)["rule"]
             for number, target in enumerate(policy.sla.targets if policy.sla is not None else ())]  # fmt: skip
    lines = []
    for rule in dict.fromkeys(rules):
        for clock in ("first_move", "close"):
            met, breached, running, unknown = (
                counts.get((rule, clock, state), 0) for state in ("met", "breached", "running", "unknown")
            )
            if met or breached or running or unknown:
                share = round(met / (met + breached), 4) if met or breached else None
                lines.append(Attained(rule=rule, clock=clock, met=met, breached=breached, running=running,
                                      unknown=unknown, share=share))  # fmt: skip
    return lines
