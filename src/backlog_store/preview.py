"""
Previews: what commands would do, in a form that can be compared, and the token that stands for it.

A preview lists what was decided for each command: verdict, item, and the revision that this makes. Two previews are the
same if they decide the same on the same revisions. Sightings are set aside: a problem that was reported once more in
the meantime, or commented on, changes no decision that leaves the item as it is.

::

    foreseen(body, outcomes) -> decisions
    digest_of(decisions)                     what `Command.expect` holds a command against
    token_of(policy, previews)               of all commands of a plan: what is shown, and later applied
    departures(planned, now)                 what has changed since

An import is shown the same way: what becomes of each thing in a file, behind a first decision that stands for the file.

::

    shown_of(content, decisions) -> shown    its token is `token_of_import(shown)`
    check_shown(token, shown, now)           refuses what was not shown
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from backlog_store.codec import digest, encode
from backlog_store.commands import Body, Bulk, Create, Outcome, Report
from backlog_store.errors import PlanChanged

__all__ = ["TOKEN_DIGITS", "Decided", "check_shown", "departures", "digest_of", "foreseen", "same", "shown_of",
           "token_of", "token_of_import"]  # fmt: skip

#: Verdicts that leave an item as it is: they rest on no revision.
_ASIDE = frozenset({"unchanged", "suppressed", "held"})
TOKEN_DIGITS = 16


class Decided(Struct, frozen=True, array_like=True, omit_defaults=True):
    """
    One decision. `id` is empty where it is drawn anew each time; `revision` is 0 where nothing rests on one.
    """

    verdict: str
    id: str = ""
    revision: int = 0
    code: str = ""


def foreseen(body: Body, outcomes: Sequence[Outcome]) -> tuple[Decided, ...]:
    """
    Return what *outcomes* of *body* decide.
    """
    drawn = _drawn(body)
    return tuple(
        Decided(
            outcome.verdict,
            "" if index in drawn and outcome.verdict == "created" else outcome.id,
            0 if outcome.verdict in _ASIDE else outcome.revision,
            outcome.code,
        )
        for index, outcome in enumerate(outcomes)
    )


def _drawn(body: Body) -> set[int]:
    """
    Return which outcomes are about an item whose id comes from the command's own seed.
    """
    if isinstance(body, Report):
        drafts = list(body.drafts)
    elif isinstance(body, Create | Bulk):
        bodies = body.bodies if isinstance(body, Bulk) else (body,)
        drafts = [one.draft if isinstance(one, Create) else None for one in bodies]  # type: ignore[misc]
    else:
        return set()
    return {index for index, draft in enumerate(drafts) if draft is not None and not (draft.dedupe_key or draft.id)}


def digest_of(decisions: Sequence[Decided]) -> str:
    """
    Return the digest of the decisions of one command.
    """
    return digest(encode(decisions))


def token_of(policy: int, previews: Iterable[tuple[Body, Sequence[Decided]]]) -> str:
    """
    Return the token of commands and what was decided for each, under this revision of the policy.
    """
    parts = [(digest(encode(body)), digest_of(decisions)) for body, decisions in previews]
    return digest(encode((policy, parts)))[:TOKEN_DIGITS]


def shown_of(content: str, decisions: Iterable[Decided]) -> tuple[Decided, ...]:
    """
    Return what is shown of an import: the digest of what the file holds, and what becomes of each thing in it.
    """
    return (Decided("file", content), *decisions)


def token_of_import(shown: Sequence[Decided]) -> str:
    """
    Return the token of an import.
    """
    return digest(encode(shown))[:TOKEN_DIGITS]


def check_shown(token: str, shown: Sequence[Decided], now: Sequence[Decided]) -> None:
    """
    Refuse an import, or a part of one, that would do anything else by now than was *shown* (empty: not known here).

    What is there by now just as it was to be made needs not be made. Raises `PlanChanged`.
    """
    if not shown:
        raise PlanChanged(token, [])
    if len(shown) != len(now) or (shown[0].verdict == "file" and shown[0] != now[0]):
        raise PlanChanged(token, ["the file is another one"])
    changed = [line for one, other in zip(shown, now, strict=True)
               if one.verdict == "refused" or other != Decided("unchanged", one.id)
               for line in departures((one,), (other,))]  # fmt: skip
    if changed:
        raise PlanChanged(token, changed)


def same(planned: Sequence[Decided], now: Sequence[Decided]) -> bool:
    """
    Tell whether the same was decided.
    """
    return tuple(planned) == tuple(now)


def departures(planned: Sequence[Decided], now: Sequence[Decided]) -> list[str]:
    """
    Return, in words, where the decisions of now are other ones than those planned.
    """
    told = []
    if len(planned) == len(now):
        pairs: list[tuple[Decided | None, Decided | None]] = list(zip(planned, now, strict=True))
    else:  # A set of items grew or shrank: compare item by item.
        before, after = ({one.id: one for one in some} for some in (planned, now))
        pairs = [(before.get(id), after.get(id)) for id in dict.fromkeys([*before, *after])]
    for one, other in pairs:
        if one != other:
            name = (one or other or Decided("")).id or "an item without a key"
            told.append(f"{name}: {_words(one, 'was')}, {_words(other, 'is now')}")
    return told


def _words(one: Decided | None, how: str) -> str:
    if one is None:
        return f"{how} not touched"
    made = f" (revision {one.revision})" if one.revision else f" ({one.code})" if one.code else ""
    return f"{how} {one.verdict}{made}"
