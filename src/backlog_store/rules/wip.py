"""
Limits of work in progress: how much one name may work on at a time in one env.

That is what it has claimed and what it owns in progress. A rule over a set: whoever adds to it puts the guard record
``wip/<env>/<name>``, so of two that would both be the last one allowed, one decides again. Only what is done on
purpose is held back, never a report. Without the policy's section nothing is read.
"""

from __future__ import annotations

from backlog_store.backends.port import Put
from backlog_store.errors import NotAllowed
from backlog_store.model import LIMITS, Item
from backlog_store.query import All, In, ItemQuery, live
from backlog_store.rules.ready import held_until
from backlog_store.rules.view import Context

__all__ = ["check_room", "check_room_after"]


def check_room(context: Context, name: str, item: Item) -> None:
    """
    Refuse *item* as one more that *name* works on, where the policy's limit is reached. Raises `NotAllowed`.
    """
    wip = context.policy.wip
    limit = None if wip is None or not name else wip.limit_of(name, item.env)
    if limit is None:
        return
    found = _worked_on(context, name, item.env) - {item.id}
    if len(found) >= limit:
        few = f"{len(found)} {'item' if len(found) == 1 else 'items'}"
        raise NotAllowed(f"giving {name} {item.id} to work on",
                         f"{name} works on {few} in {item.env} already, and the limit is {limit}",
                         hint="Finish, release or hand over one first.")  # fmt: skip
    context.put_record("guard", f"wip/{item.env}/{name}", {})


def check_room_after(context: Context, old: Item, new: Item) -> None:
    """
    Refuse what makes one more to work on for an owner in an env, where the limit is reached. Raises `NotAllowed`.
    """
    if new.status == "in_progress" and (new.status, new.owner, new.env) != (old.status, old.owner, old.env):
        check_room(context, new.owner, new)
    lease = context.record("lease", new.id) if new.env != old.env and new.claimed_by else None
    if lease is not None and lease.expires_at > context.now:
        check_room(context, new.claimed_by, new)


def _worked_on(context: Context, name: str, env: str) -> set[str]:
    within = In("env", (env,))
    owned = All((within, In("status", ("in_progress",)), In("owner", (name,))))
    claimed = All((within, live(), In("claimed_by", (name,))))
    reader = context.whole  # a limit counts what a name works on, whoever may see it
    items = {item.id for item in reader.search(ItemQuery(where=owned, limit=LIMITS.page))}
    items |= held_until(reader, reader.search(ItemQuery(where=claimed, limit=LIMITS.page)), context.now).keys()
    for change in context.changes:
        # What this very command did before.
        if isinstance(change, Put):
            put = change.item
            is_owned = put.status == "in_progress" and put.owner == name
            (items.add if put.env == env and (is_owned or put.claimed_by == name) else items.discard)(put.id)
    return items
