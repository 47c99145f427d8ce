"""
Changing items: which ones, what would change, asking, doing it in one batch, telling what became of each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import click
from msgspec import Struct

from backlog_store.cli.app import App
from backlog_store.cli.asking import asked, rows
from backlog_store.cli.items import fields_of, handy_ids, plain_json, text_of, view
from backlog_store.cli.previewed import check_token, keep
from backlog_store.cli.text import neutral, padded, paint, plural, table, width
from backlog_store.commands import Answer, Body, Bulk, Outcome, Single
from backlog_store.ids import batch_id
from backlog_store.instants import Instant
from backlog_store.model import LIMITS, Item
from backlog_store.planning import Planner, Step
from backlog_store.preview import digest_of
from backlog_store.query import All, In, Where, live
from backlog_store.trail import difference

__all__ = ["Targets", "change", "changes_in_words", "changes_of", "one_change", "print_answer", "say_undo"]

_SHOWN = 20
#: Fields whose changes follow from others; a preview and a history do without them.
_FOLLOWING = frozenset({"updated_at", "held", "held_until", "claims", "claims_under", "closed_at",
                        "closed_by", "evidence_totals", "key_inputs", "verdict_lifted", "episode", "links",
                        "escalated"})  # fmt: skip
_STYLES = {"created": "green", "closed": "green", "reopened": "yellow", "refused": "red", "unchanged": "dim"}


class Targets(Struct, frozen=True, kw_only=True):
    """
    Which items a command is for, and how it is to be run: what `options.target_options` gathers.
    """

    ids: tuple[str, ...] = ()
    query: str = ""
    fix: str = ""
    dry_run: bool = False
    yes: bool = False
    token: str = ""
    claim: int | None = None
    as_json: bool = False
    fields: str = ""

    @property
    def several(self) -> bool:
        """
        Tell whether the items were described rather than named.
        """
        return bool(self.query or self.fix)


def change(app: App, targets: Targets, make: Callable[[Item], Single], verb: str) -> None:
    """
    Change each target by the body that *make* makes of it, all in one batch.

    Described items are shown first and need a yes; a body then carries the revision that was shown, so what changed
    meanwhile is refused. Exits with 1 where some were refused. *verb* completes "… 12 items?".
    """
    app.reading()  # what is to be changed is there already: a store is never made for it
    items = _picked(app, targets)
    if not items:
        _print_nothing(app, targets)
        return
    # Several at once go on past what a rule refuses; one alone raises its error, with its own exit code.
    bodies = tuple(make(item) for item in items)
    names = fields_of(targets.fields)
    asks = targets.several and not targets.yes
    planner = app.backlog.planner()
    outcomes: list[Outcome] = []
    if targets.dry_run or targets.token or asks:
        outcomes = [one for part in _parts(bodies) for one in planner.execute(part).outcomes]
    if targets.dry_run:
        _print_preview(app, items, Answer(batch="", outcomes=tuple(outcomes)), planner, targets)
        return
    if targets.token:
        check_token(app, planner, targets.token)
    if asks:
        for line in _preview_lines(app, items, outcomes):
            app.say(line)
        app.confirm(f"{verb} {plural(len(items), 'item')}?", yes=False)
    alone = len(items) == 1 and not targets.several and not targets.token
    if targets.claim is not None and not alone:
        raise click.UsageError("--claim TOKEN is for one item, named by its id, and not with --token.")
    holding = app.backlog.holding(targets.claim or 0)
    answer = holding.execute(bodies[0]) if alone else _execute(app, bodies, planner.steps)
    print_answer(app, answer, as_json=targets.as_json, names=names, before={item.id: item for item in items})
    if answer.counts().get("refused"):
        raise click.exceptions.Exit(1)


def one_change(app: App, body: Body, *, as_json: bool, fields: str, done: str = "") -> None:
    """
    Carry one command out and print its answer; *done* is the word for what cannot be undone.
    """
    answer = app.writing(body).execute(body)
    print_answer(app, answer, as_json=as_json, names=fields_of(fields), done=done)


def _picked(app: App, targets: Targets) -> list[Item]:
    if targets.ids and targets.several:
        raise click.UsageError("Give ids, or --query or --fix, not both.")
    if not targets.ids and not targets.several:
        raise click.UsageError("Which items? Give ids, or --query QUERY, or --fix NAME.")
    if targets.ids:
        picked: dict[str, Item] = {}
        for id in targets.ids:
            item = app.item(id)
            picked[item.id] = item
        return list(picked.values())
    parts: list[Where] = []
    order, descending = "priority", False
    if targets.fix:
        parts.append(All((In("fix", (targets.fix,)), live())))
    if targets.query:
        question = asked(app, [targets.query], now=app.now())
        parts.append(question.where)
        order, descending = question.order or order, question.descending
    where = All(tuple(parts))
    return list(rows(app, where, order=order, descending=descending, limit=0, after=None))


def _parts(bodies: Sequence[Single]) -> Iterator[Bulk]:
    for start in range(0, len(bodies), LIMITS.drafts_per_command):
        yield Bulk(bodies=tuple(bodies[start : start + LIMITS.drafts_per_command]), keep_going=True)


def _execute(app: App, bodies: Sequence[Single], shown: Sequence[Step]) -> Answer:
    """
    Change all of them as one batch; what was shown before is what is done, or the part is refused.
    """
    batch = batch_id(app.backlog.ids())
    outcomes: list[Outcome] = []
    for part, step in zip_longest(_parts(bodies), shown):
        expect = digest_of(step.decisions) if step is not None else ""
        outcomes += app.backlog.execute(part, batch=batch, expect=expect).outcomes
    return Answer(batch=batch, outcomes=tuple(outcomes))


def _print_nothing(app: App, targets: Targets) -> None:
    if targets.as_json:
        app.out(plain_json({"batch": "", "counts": {}, "outcomes": []}))
    else:
        app.say("No item matches; nothing was changed.")


def changes_of(before: Item | None, after: Item | None) -> list[str]:
    """
    Return what differs between two states of an item, in words: ``status open → done``.
    """
    if after is None:
        return []
    return changes_in_words(difference(before, after, after.updated_at))


def changes_in_words(changes: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """
    Return changed fields (name: old and new value) in words; those that only follow from others are left out.
    """
    shown = [_change(name, old, new) for name, (old, new) in sorted(changes.items()) if name not in _FOLLOWING]
    if not shown and "held" in changes:
        old, new = (set(value or ()) for value in changes["held"])
        shown = [*(f"{name} held" for name in sorted(new - old)), *(f"{name} released" for name in sorted(old - new))]
    return shown


def _change(name: str, old: Any, new: Any) -> str:
    if name == "tags":
        gone, come = sorted(set(old or ()) - set(new or ())), sorted(set(new or ()) - set(old or ()))
        return " ".join(["tags", *(f"+{tag}" for tag in come), *(f"-{tag}" for tag in gone)])
    return f"{name} {_short(old)} → {_short(new)}" if old not in (None, "") else f"{name} {_short(new)}"


def _short(value: Any) -> str:
    text = neutral(text_of(value)) or "none"
    text = text.removesuffix("T00:00:00.000000Z")
    return text if len(text) <= 40 else text[:39] + "…"


def _preview_lines(app: App, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[str]:
    short = handy_ids(items)
    cells = []
    for item, outcome in list(zip(items, outcomes, strict=False))[:_SHOWN]:
        told = "; ".join(changes_of(item, outcome.item)) or outcome.verdict
        if outcome.verdict == "refused":
            told = f"refused: {outcome.why}"
        cells.append([short[item.id], item.priority, told, item.title])
    lines = table(cells, room=app.room, color=app.colored)
    if len(items) > len(cells):
        lines.append(f"… and {len(items) - len(cells):,} more")
    return lines


def _print_preview(app: App, items: Sequence[Item], answer: Answer, planner: Planner, targets: Targets) -> None:
    token = keep(app, planner)
    if targets.as_json:
        outcomes = [{**_outcome(app, outcome, (), app.now()), "changes": changes_of(item, outcome.item)}
                    for item, outcome in zip(items, answer.outcomes, strict=False)]  # fmt: skip
        app.out(plain_json({"dry_run": True, "token": token, "counts": answer.counts(), "outcomes": outcomes}))
        return
    for line in _preview_lines(app, items, answer.outcomes):
        app.out(line)
    app.say(
        f"{plural(len(items), 'item')}: {_counts(answer)}. Nothing was written. Exactly these: --yes --token {token}"
    )


def _outcome(app: App, outcome: Outcome, names: Sequence[str], now: Instant) -> dict[str, Any]:
    told: dict[str, Any] = {"verdict": outcome.verdict, "id": outcome.id, "revision": outcome.revision}
    if outcome.why:
        told |= {"why": outcome.why}
    if outcome.code:
        told |= {"code": outcome.code}
    item = outcome.item
    if item is not None:
        told["item"] = view(item, names, now)
    elif names and outcome.id:
        found = app.backlog.find(outcome.id)
        told["item"] = view(found, names, now) if found else None
    return told


def _counts(answer: Answer) -> str:
    return ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(answer.counts().items()))


def print_answer(
    app: App,
    answer: Answer,
    *,
    as_json: bool,
    names: Sequence[str] = (),
    before: Mapping[str, Item] | None = None,
    done: str = "",
    token: str = "",
) -> None:
    """
    Print what became of each item, what was refused and why, and how to set it back. *token*: of a preview of it.
    """
    if as_json:
        now = app.now()
        outcomes = [_outcome(app, outcome, names, now) for outcome in answer.outcomes]
        head = {"dry_run": True, "token": token} if token else {"batch": answer.batch, "accepted": answer.accepted}
        app.out(plain_json({**head, "counts": answer.counts(), "outcomes": outcomes}))
        _say_accepted(app, answer)
        return
    items = [outcome.item for outcome in answer.outcomes if outcome.item is not None]
    short = handy_ids(items) if app.on_terminal else {}
    kept = [outcome for outcome in answer.outcomes if outcome.verdict != "refused"]
    wide = max((width(done or outcome.verdict) for outcome in kept), default=0)
    for outcome in kept[:_SHOWN]:
        word = done if outcome.verdict == "updated" and done else outcome.verdict
        told = paint(padded(word, wide), _STYLES.get(outcome.verdict, "bold"), on=app.colored)
        id = paint(short.get(outcome.id, outcome.id), "cyan", on=app.colored)
        app.out(f"{told}  {id}  {_told(outcome, (before or {}).get(outcome.id))}".rstrip())
    if len(kept) > _SHOWN:
        app.out(f"… and {len(kept) - _SHOWN:,} more")
    for outcome in answer.outcomes:
        if outcome.verdict == "refused":
            why = neutral(outcome.why)
            named = why if outcome.id in why else f"{outcome.id}: {why}"
            app.say(f"{paint('refused', 'red', on=app.colors(sys.stderr))}  {named}")
    if len(answer.outcomes) > 1:
        app.say(f"{plural(len(answer.outcomes), 'item')}: {_counts(answer)}")
    _say_accepted(app, answer)
    if token:
        app.say(f"Nothing was written. Exactly this: --token {token}")
    elif (
        not done
        and not answer.accepted
        and any(outcome.verdict not in ("refused", "unchanged") for outcome in answer.outcomes)
    ):
        say_undo(app, answer.batch)


def _say_accepted(app: App, answer: Answer) -> None:
    if answer.accepted:
        from backlog_store.cli.outage import tell_accepted

        tell_accepted(app)


def _told(outcome: Outcome, before: Item | None) -> str:
    item = outcome.item
    title = neutral(item.title) if item is not None else ""
    if before is None or item is None:
        return title
    changed = "; ".join(changes_of(before, item))
    return f"{title}  ({changed})" if changed else title


def say_undo(app: App, batch: str) -> None:
    """
    Say how to set a batch back.
    """
    app.say(paint(f"undo with: backlog undo {batch[:11]}", "dim", on=app.colors(sys.stderr)))
