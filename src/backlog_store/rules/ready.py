"""
What is ready to be worked on, in a fixed order, and which of it to take next and why.

Ready is what is open, awake, blocked by no live item and claimed by nobody; and what the asker has claimed. Both come
from an index: what waits stands in another branch of it (`Item.stage`), and skipped one by one is only what others hold
a lease of at this moment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.instants import Instant, day_of
from backlog_store.model import LIMITS, LIVE, Item, ItemId
from backlog_store.query import ANY, All, Compare, In, ItemQuery, Not, OrderKey, Where, live, order_key

__all__ = ["NEXT_LOOKED_AT", "Choice", "held_until", "next_item", "ready"]

#: So many ready items are looked at to choose the next one among those of the same priority and due date.
NEXT_LOOKED_AT = 100


class Choice(Struct, frozen=True, kw_only=True):
    """
    The item to take next, what decided, and the whole reason in words.

    `decided_by`: ``claimed`` (it is the asker's already), ``only``, ``priority``, ``overdue``, ``due``, ``unblocks`` or
    ``id``. `unblocks` is how many live items wait for it.
    """

    item: Item
    decided_by: str
    why: tuple[str, ...]
    unblocks: int = 0


def held_until(reader: Reader, items: Collection[Item], now: Instant) -> dict[ItemId, Instant]:
    """
    Return of those that somebody holds a lease of at *now* until when.
    """
    claimed = [item.id for item in items if item.claimed_by]
    leases = reader.records("lease", claimed) if claimed else {}
    return {id: lease.expires_at for id, lease in leases.items() if lease.expires_at > now}


def ready(
    reader: Reader, *, now: Instant, me: str = "", env: str = "", where: Where = ANY, limit: int = 50
) -> Sequence[Item]:
    """
    Return what is ready for *me* (empty: nobody), by priority, due date and id.
    """
    scope = (*(where.parts if isinstance(where, All) else (where,)), *((In("env", (env,)),) if env else ()))
    mine = _mine(reader, now, me, scope)
    free: list[Item] = []
    condition = All((In("stage", ("open",)), Not(Compare("wake_at", ">", now)), *scope))
    after: OrderKey | None = None
    while len(free) < limit:
        page = reader.search(ItemQuery(where=condition, limit=limit, after=after))
        held = held_until(reader, page, now)
        free += [item for item in page if item.id not in held]
        if len(page) < limit:
            break
        after = order_key(page[-1], "priority")
    return sorted([*mine, *free], key=lambda item: order_key(item, "priority"))[:limit]


def _mine(reader: Reader, now: Instant, me: str, scope: Sequence[Where]) -> list[Item]:
    if not me:
        return []
    claimed = reader.search(ItemQuery(where=All((In("claimed_by", (me,)), live(), *scope)), limit=LIMITS.page))
    held = held_until(reader, claimed, now)
    return [item for item in claimed if item.id in held]


def next_item(reader: Reader, *, now: Instant, me: str = "", env: str = "", where: Where = ANY) -> Choice | None:
    """
    Return which item to take next; ``None`` where nothing is ready.

    What is claimed already goes first. Then priority decides, then the due date (overdue is earliest), then for how
    many live items it makes way, then the id.
    """
    found = ready(reader, now=now, me=me, env=env, where=where, limit=NEXT_LOOKED_AT)
    if not found:
        return None
    mine = [item for item in found if me and item.claimed_by == me]
    if mine:
        return Choice(item=mine[0], decided_by="claimed", why=(f"{me} has claimed it already",))
    first = found[0]
    alike = [item for item in found if (item.priority, item.due_date) == (first.priority, first.due_date)]
    waiting = {item.id: _waiting_for(reader, item) for item in alike}
    best = max(waiting.values())
    chosen = next(item for item in alike if waiting[item.id] == best)
    is_overdue = chosen.due_date != "" and chosen.due_date < day_of(now)
    why = [f"priority {chosen.priority}"]
    if chosen.due_date:
        why.append(f"overdue since {chosen.due_date}" if is_overdue else f"due {chosen.due_date}")
    if best:
        why.append(f"{best} {'item waits' if best == 1 else 'items wait'} for it")
    others = sum(1 for item in alike if waiting[item.id] == best)
    if others > 1:
        why.append(f"the first by id of {others} alike")
    decided_by = _decided_by(found, alike, others, is_overdue=is_overdue)
    return Choice(item=chosen, decided_by=decided_by, why=tuple(why), unblocks=best)


def _decided_by(found: Sequence[Item], alike: Sequence[Item], others: int, *, is_overdue: bool) -> str:
    if len(found) == 1:
        return "only"
    if others > 1:
        return "id"
    if len(alike) > 1:
        return "unblocks"
    if found[1].priority != found[0].priority:
        return "priority"
    return "overdue" if is_overdue else "due"


def _waiting_for(reader: Reader, item: Item) -> int:
    if not item.links:
        return 0
    links = reader.scan("link", f"{item.id}/blocks/", "", LIMITS.links_per_item)
    others = reader.items([link.id.rsplit("/", 1)[1] for link in links]) if links else {}
    return sum(1 for other in others.values() if other.status in LIVE)
