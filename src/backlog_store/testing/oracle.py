"""
What a query means, spelt out over plain lists: slow, obvious, and what every backend is compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from backlog_store.model import Event, Item
from backlog_store.query import EventQuery, Facet, ItemQuery, Where, matcher, order_key, value_of

__all__ = ["count_items", "select_events", "select_items"]


def select_items(items: Iterable[Item], query: ItemQuery) -> list[Item]:
    """
    Return the page of *items* that *query* asks for.
    """
    matches = matcher(query.where)
    found = [item for item in items if matches(item)]
    found.sort(key=lambda item: order_key(item, query.order), reverse=query.descending)
    if query.after is not None:
        after = query.after
        found = [
            item
            for item in found
            if (order_key(item, query.order) < after if query.descending else order_key(item, query.order) > after)
        ]
    end = None if query.limit is None else query.offset + query.limit
    return found[query.offset : end]


def count_items(items: Iterable[Item], where: Where, by: Sequence[Facet]) -> dict[tuple[str, ...], int]:
    """
    Count the *items* that match, by facet values.
    """
    matches = matcher(where)
    return dict(Counter(tuple(value_of(item, facet) for facet in by) for item in items if matches(item)))


def select_events(events: Iterable[Event], query: EventQuery) -> list[Event]:
    """
    Return those of *events* (in order of position) that *query* asks for.
    """
    found = [event for event in events if _is_asked_for(event, query)]
    if query.newest_first:
        found.reverse()
        if query.after:
            found = [event for event in found if event.position < query.after]
    elif query.after:
        found = [event for event in found if event.position > query.after]
    return found[: query.limit]


def _is_asked_for(event: Event, query: EventQuery) -> bool:
    return (
        (query.item_ids is None or event.item_id in query.item_ids)
        and (query.types is None or event.type in query.types)
        and (query.actors is None or event.actor in query.actors)
        and (query.batch is None or event.batch == query.batch)
        and (query.added is None or event.added == query.added)
        and (not query.since or event.ts >= query.since)
        and (not query.until or event.ts < query.until)
    )
