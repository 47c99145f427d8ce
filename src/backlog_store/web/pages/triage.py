"""
Triage: one card at a time, those together that one fix clears; what is decided leads to the next card.

What waits is open, awake and not yet accepted; accepting an item tags it `TRIAGED`. The front of the queue is looked
at, `LOOKED_AT` items in the order of work, so that a card costs the same in a large backlog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from backlog_store import commands as c
from backlog_store.backends.port import Reader
from backlog_store.errors import BackendError, BacklogError, Fault, InvalidInput, PlanChanged
from backlog_store.model import CLOSED, Item
from backlog_store.preview import digest_of, foreseen
from backlog_store.query import All, Compare, EventQuery, HasWords, In, ItemQuery, Not, Where, live, order_key
from backlog_store.rules.explaining import Reason, reasons
from backlog_store.rules.policies import policy_in_force
from backlog_store.web.inputs import cursor_of, list_query
from backlog_store.web.pages.changes import FORM, back_to, form_of, moment, one_of, revision_of
from backlog_store.web.pages.items import told
from backlog_store.web.pages.render import page, standing
from backlog_store.web.routing import Ask, Param, Reply, Routes
from backlog_store.words import words_of

__all__ = ["LOOKED_AT", "TRIAGED", "Queue", "queue", "routes"]

routes = Routes()

TRIAGED = "triaged"
LOOKED_AT = 1_000
_PAGE = 500
_ALIKE_MAX = 500
_GROUPS = 8
_VERDICTS = 5
_OTHERS = 20
_TRAIL = 200
_PARAMS = (Param("q", "A query."), Param("fix", "Of this fix alone."), Param("after", "Behind this card."),
           Param("going", "The fix that is under way."))  # fmt: skip
#: What a card is closed as by one key.
CLOSINGS = (("false_positive", "f"), ("wont_fix", "w"), ("fixed", "l"), ("obsolete", "o"))


class Queue(Struct, frozen=True, kw_only=True):
    """
    What waits among the first `looked_at` items, in the order of work; those of the fix that is under way go first.

    `groups` are the fixes that clear several, most first; `more` is the cursor behind what was looked at, empty at the
    end.
    """

    cards: tuple[Item, ...]
    groups: tuple[tuple[str, int], ...]
    looked_at: int
    more: str


def queue(reader: Reader, where: Where, *, now: str, after: tuple[str, ...] | None = None, going: str = "") -> Queue:
    """
    Return what waits for a decision; *going* is the fix of the card that was decided last.
    """
    looked: list[Item] = []
    page_after, is_over = after, False
    while len(looked) < LOOKED_AT and not is_over:
        found = reader.search(ItemQuery(where=All((where, *_waiting(now))), limit=_PAGE, after=page_after))
        looked += found
        is_over = len(found) < _PAGE
        page_after = order_key(found[-1], "priority") if found else page_after
    waiting = [item for item in looked if TRIAGED not in item.tags]
    counts: dict[str, int] = {}
    for item in waiting:
        counts[item.fix] = counts.get(item.fix, 0) + 1
    groups = sorted((-n, fix) for fix, n in counts.items() if fix and n > 1)[:_GROUPS]
    return Queue(
        cards=tuple(sorted(waiting, key=lambda item: not going or item.fix != going)),
        groups=tuple((fix, -n) for n, fix in groups),
        looked_at=len(looked),
        more="" if is_over else cursor_of(looked[-1], "priority"),
    )


def _waiting(now: str) -> tuple[Where, ...]:
    return In("status", ("open",)), Not(Compare("wake_at", ">", now))


def _asked(ask: Ask) -> tuple[Where, tuple[str, ...] | None]:
    given = {name: values for name, values in ask.parameters.items() if name in ("q", "fix", "after")}
    given["sort"] = ["priority"]  # the queue has its order, whatever the query names
    asked = list_query(given, now=ask.site.backlog.clock(), me=ask.asker.name, page_max=200)
    return asked.where, asked.after


@routes.add("GET", "/triage", action="read", params=_PARAMS, gives="text/html")
def triage_page(ask: Ask) -> Reply:
    """
    Show the next card that waits for a decision.
    """
    live, (where, after) = standing(ask), _asked(ask)
    now = ask.site.backlog.clock()
    going = ask.text("going")
    return _shown(
        ask, ask.backlog.read(lambda reader: queue(reader, where, now=now, after=after, going=going)), live=live
    )


def _shown(ask: Ask, found: Queue, card: Item | None = None, **more: Any) -> Reply:
    card = card or (found.cards[0] if found.cards else None)
    context: dict[str, Any] = {"found": found, "card": card, "q": ask.text("q"), "fix": ask.text("fix"),
                               "closings": CLOSINGS, "skip": {}, "refused": None, "typed": {}}  # fmt: skip
    if card is not None:
        context |= ask.backlog.read(lambda reader: _about(reader, card, ask.site.backlog.clock()))
        context["same"] = sum(one.fix == card.fix for one in found.cards) if card.fix else 1
        # A card that came first only for its fix is passed over by leaving that fix.
        is_led = bool(ask.text("going")) and card.fix == ask.text("going")
        context["skip"] = {"going": None} if is_led else {"after": cursor_of(card, "priority")}
    return page(ask, "triage.html", **(context | more))


def _about(reader: Reader, card: Item, now: str) -> dict[str, Any]:
    """
    Return what helps to decide: why the card is as it is, and what was decided of others like it.
    """
    trail = list(reader.events(EventQuery(item_ids=(card.id,), newest_first=True, limit=_TRAIL)))[::-1]
    why: list[Reason] = list(reasons(card, trail, policy_in_force(reader), now))
    alike = _alike_to(card)
    verdicts: Sequence[Item] = ()
    others: Sequence[Item] = ()
    if alike is not None:
        of_closed = All((alike, In("status", tuple(sorted(CLOSED)))))
        verdicts = reader.search(ItemQuery(where=of_closed, order="closed", descending=True, limit=_VERDICTS))
        others = reader.search(ItemQuery(where=All((alike, live())), limit=_OTHERS))
    said = [told(event) for event in trail[::-1] if event.message][:3]
    return {"why": why, "verdicts": verdicts, "others": [one for one in others if one.id != card.id], "said": said}


def _alike_to(card: Item) -> Where | None:
    """
    Return the condition of items like this one: cleared by the same fix; without one, with the same words as title.
    """
    words = tuple(words_of(card.title))
    if card.fix:
        return In("fix", (card.fix,))
    return HasWords(words) if len(words) > 1 else None


@routes.add("POST", "/triage/{id:str}", action="work", takes=FORM, gives="text/html")
def decide_card(ask: Ask) -> Reply:
    """
    Decide a card, or after a preview all that one fix clears, and show the next one.
    """
    form, now = form_of(ask), ask.site.backlog.clock()
    item = ask.backlog.get(ask.path["id"])
    sure = one_of(form, "sure")
    where, after = _asked(ask)
    try:
        items = _chosen(ask, item, form, now)
        body = _body(ask, one_of(form, "do"), items, form, now)
        if len(items) > 1 and not sure:
            return _previewed(ask, item, items, body, form)
        answer = ask.backlog.execute(body, expect=sure)
    except PlanChanged as error:
        items = _chosen(ask, item, {**form, "ids": []}, now)
        return _previewed(ask, item, items, _body(ask, one_of(form, "do"), items, form, now), form, changed=error)
    except BacklogError as error:
        if isinstance(error, BackendError):
            raise
        found = ask.backlog.read(lambda reader: queue(reader, where, now=now, after=after))
        return _shown(ask, found, item, refused=error, typed=form, code=422)
    done = [outcome for outcome in answer.outcomes if outcome.verdict not in ("refused", "unchanged")]
    kept = [(name, value) for name in ("q", "fix", "after") if (value := ask.text(name))]
    kept += [("going", item.fix)] if item.fix else []
    return back_to({}, done[0].verdict if done else "unchanged", answer.batch, default=f"/triage?{urlencode(kept)}")


def _chosen(ask: Ask, item: Item, form: Mapping[str, list[str]], now: str) -> list[Item]:
    """
    Return the card alone; or with it those that the preview named, or that the same fix clears, the first `_ALIKE_MAX`.
    """
    if not one_of(form, "same") or not item.fix:
        return [item]
    named = form.get("ids", [])[:_ALIKE_MAX]
    if named:
        known = ask.backlog.read(lambda reader: reader.items(named))
        return [known[id] for id in named if id in known]
    alike = All((In("fix", (item.fix,)), *_waiting(now)))
    found = ask.backlog.search(alike, limit=_ALIKE_MAX)
    return [item, *(one for one in found if one.id != item.id and TRIAGED not in one.tags)]


def _body(ask: Ask, do: str, items: Sequence[Item], form: Mapping[str, list[str]], now: str) -> c.Body:
    words = one_of(form, "message")
    if do == "merge":
        into = ask.backlog.id_of(one_of(form, "into")) if one_of(form, "into") else ""
        if not into:
            raise InvalidInput([Fault("/into", "", "say which item it is merged into")], what="form")
        return c.Merge(ids=tuple(item.id for item in items if item.id != into), into=into, message=words)
    # Of a card alone the form tells which revision was shown; of several the preview's token does.
    seen = one_of(form, "revision")
    alone = revision_of(seen) if len(items) == 1 else 0
    bodies = tuple(_single(do, item, form, now, alone or item.revision, words) for item in items)
    return c.Bulk(bodies=bodies, keep_going=len(items) > 1)


def _single(do: str, item: Item, form: Mapping[str, list[str]], now: str, revision: int, words: str) -> c.Single:
    if do == "accept":
        owner = one_of(form, "owner")
        fields = {"owner": owner} if owner and not item.owner else {}
        return c.Edit(id=item.id, fields=fields, add_tags=(TRIAGED,), revision=revision, message=words)
    if do == "snooze":
        return c.Snooze(id=item.id, until=moment(form, "until", now), revision=revision, message=words)
    if do == "risk":
        return c.Close(id=item.id, reason="accepted_risk", approver=one_of(form, "approver"), revision=revision,
                       expires_at=moment(form, "expires_at", now), message=words)  # fmt: skip
    if do in dict(CLOSINGS):
        return c.Close(id=item.id, reason=do, revision=revision, message=words)
    known = ("accept", "snooze", "risk", "merge", *dict(CLOSINGS))
    raise InvalidInput([Fault("/do", do[:40], f"one of {', '.join(known)}")], what="form")


def _previewed(ask: Ask, item: Item, items: Sequence[Item], body: c.Body, form: Mapping[str, list[str]],
               changed: PlanChanged | None = None) -> Reply:  # fmt: skip
    outcomes = ask.backlog.preview(body).outcomes
    known = {one.id: one for one in items}
    rows = [(known[outcome.id], outcome) for outcome in outcomes if outcome.id in known]
    kept = [(name, values[-1]) for name, values in form.items() if name not in ("sure", "ids", "revision")]
    return page(ask, "same.html", code=409 if changed else 200, rows=rows, card=item, kept=kept, changed=changed,
                do=one_of(form, "do"), sure=digest_of(foreseen(body, outcomes)), most=_ALIKE_MAX,
                ready=sum(outcome.verdict not in ("refused", "unchanged") for _, outcome in rows))  # fmt: skip
