"""
From words, queries and views to conditions; and the rows that match, page by page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
import msgspec
from msgspec import Struct

from backlog_store.cli.app import App
from backlog_store.errors import NotFound
from backlog_store.instants import Instant
from backlog_store.model import Item
from backlog_store.query import ANY, ORDERS, All, OrderKey, Where, live, order_key

__all__ = ["Asked", "asked", "cursor_of", "instant_of", "order_of", "rows", "words_argument"]

_PAGE = 1_000


class Asked(Struct, frozen=True, kw_only=True):
    """
    What was asked for: a condition and an order. `scoped`: the query itself speaks of live or closed items.
    """

    where: Where
    order: str
    descending: bool
    scoped: bool


def asked(app: App, words: Sequence[str], *, queries: Sequence[str] = (), view: str = "", now: Instant,
          closed_too: bool = False) -> Asked:  # fmt: skip
    """
    Combine the words of the command line, queries and a saved view: all must hold.

    Closed items are left out unless *closed_too*, or unless one of them speaks of the status itself.
    """
    texts = [" ".join(words), *queries]
    if view:
        views = app.backlog.views()
        if view not in views:
            from backlog_store.cli.command import refuse_unknown

            if views:
                refuse_unknown("view", view, sorted(views))
            raise NotFound("view", view, hint="None are saved: `backlog view save NAME QUERY`.")
        texts.append(views[view])
    parts: list[Where] = []
    order, descending, scoped = "", False, False
    for text in texts:
        if not text.strip():
            continue
        # The parser costs more than the whole of a plain list, so it is loaded for a query alone.
        from backlog_store.querylang import parse_query

        parsed = parse_query(text, now=now, me=app.actor.name)
        parts.append(parsed.where)
        scoped = scoped or parsed.scoped
        if parsed.order and not order:
            order, descending = parsed.order, parsed.descending
    if not scoped and not closed_too:
        parts.append(live())
    where = parts[0] if len(parts) == 1 else All(tuple(parts)) if parts else ANY
    return Asked(where=where, order=order, descending=descending, scoped=scoped)


def order_of(text: str) -> tuple[str, bool]:
    """
    Return the order that ``--sort -updated`` names, and whether it is turned round. Raises `click.UsageError`.
    """
    turned, name = text.startswith("-"), text.removeprefix("-").removesuffix("_at")
    name = "due" if name == "due_date" else name
    if name not in ORDERS:
        from backlog_store.cli.command import refuse_unknown

        refuse_unknown("order", name, list(ORDERS))
    return name, turned


def rows(app: App, where: Where, *, order: str, descending: bool, limit: int, after: OrderKey | None) -> Iterator[Item]:
    """
    Yield the matching items, *limit* at most (0: all), reading them by pages.
    """
    left = limit
    while True:
        size = min(_PAGE, left) if limit else _PAGE
        page = app.backlog.search(where, order=order, descending=descending, limit=size, after=after)
        yield from page
        left -= len(page)
        if len(page) < size or (limit and left <= 0):
            return
        after = order_key(page[-1], order)


def cursor_of(item: Item, order: str) -> str:
    """
    Return the cursor behind an item: what ``--after`` takes.
    """
    import base64

    return base64.urlsafe_b64encode(msgspec.json.encode(order_key(item, order))).decode().rstrip("=")


def after_key(app: App, text: str, order: str) -> OrderKey:
    """
    Return the place to go on behind, from a cursor or from the id of the last row seen. Raises `click.UsageError`.
    """
    import base64
    import binascii

    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        key = msgspec.json.decode(data, type=tuple[str, ...])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return order_key(app.item(text), order)
    if len(key) != len(ORDERS[order]):
        raise click.UsageError(f"--after {text}: a cursor of another order; give it with the same --sort.")
    return key


def words_argument(args: Sequence[str], own: Sequence[str]) -> list[str]:
    """
    Return arguments with ``-field:value`` written as ``NOT field:value``, which no parser takes for an option.

    *own* are the command's short options.
    """
    result = []
    for arg in args:
        name = arg[1:].partition(":")[0]
        negated = arg[:1] == "-" and arg[:2] not in ("--", "-", *own) and ":" in arg and name.isidentifier()
        result.append(f"NOT {arg[1:]}" if negated else arg)
    return result


def instant_of(app: App, text: str, name: str) -> Instant:
    """
    Return the instant that people write as a day, a time or a length of time. Raises `click.UsageError`.
    """
    from backlog_store.querylang.dates import EXAMPLES, parse_when

    try:
        return parse_when(text, now=app.now())[0]
    except ValueError as error:
        raise click.UsageError(f"{name} {text!r}: {error}. Give one like {', '.join(EXAMPLES)}.") from error
