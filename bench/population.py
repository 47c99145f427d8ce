"""
Whole backlogs as they grew over two years, from a seed: items with their trails, to be loaded in bulk.

A few services have most of the problems, keys have the shapes of real ones, problems come in bursts (a deploy, a new
release of a scanner), three in ten are live, people own, block, snooze, judge and close. What is made is sound: each
item's events rebuild it and are chained, so `verify` holds a store that was filled from here.

Services, owners, days and envs are the same few at any size; items of each, also overdue and sleeping ones, grow with
it. Only a rare word is held by the same number of items.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Any

from msgspec.structs import replace

from backlog_store.backends.port import Backend, Change, Load, Writer
from backlog_store.ids import Salts, event_id, item_id_of_key
from backlog_store.instants import Instant, add_seconds, plus_days
from backlog_store.model import Claim, Event, Item
from backlog_store.trail import difference, sealed

__all__ = ["EVENTS", "FROM", "NOW", "RARE", "fill", "population"]

#: The backlog begins and ends with these instants.
FROM: Instant = "2024-01-01T00:00:00.000000Z"
NOW: Instant = "2026-01-01T00:00:00.000000Z"
_TODAY = NOW[:10]
_SECONDS = 731 * 86_400
#: Events that an item has on average, unless told otherwise.
EVENTS = 3
#: So many items hold each rare word (``needle0``, ``needle1``…), whatever the size.
RARE = 20
_LIVE = 0.3
#: Of live items so many have a due date, of which two in five are past, and so many are asleep.
_DUE = 0.25
_ASLEEP = 0.02
#: One transaction loads so many items.
_CHUNK = 2_000
#: A burst brings so many problems of one service within an hour, on average.
_BURST = 25

_SERVICES = tuple(
    f"{area}-{part}"
    for part in ("api", "worker", "web", "jobs", "cache", "gateway")
    for area in ("checkout", "search", "billing", "ledger", "catalog", "mail", "auth", "media", "reports", "pricing")
)
_SHARES = tuple(accumulate(1 / (rank + 1) for rank in range(len(_SERVICES))))
_TEAMS = tuple(f"team-{name}" for name in ("payments", "discovery", "platform", "identity", "content", "data"))
_PEOPLE = tuple(f"{name}@example.org" for name in ("ann", "bo", "cleo", "dan", "eve", "fay", "gus", "hal"))
_PACKAGES = ("openssl", "requests", "log4j-core", "lodash", "urllib3", "jackson-databind", "zlib", "pyyaml")
_RULES = ("B101", "B602", "S608", "E722", "py/sql-injection", "js/xss", "go/path-traversal", "G204")
_WORDS = [
    "the",
    "budget",
    "of",
    "this",
    "service",
    "burns",
    "faster",
    "than",
    "it",
    "may",
    "because",
    "requests",
    "to",
    "a",
    "dependency",
    "time",
    "out",
    "and",
    "callers",
    "retry",
    "without",
    "backoff",
    "while",
    "the",
    "queue",
    "grows",
    "until",
    "memory",
    "runs",
    "short",
    "so",
    "that",
    "health",
    "checks",
    "fail",
    "and",
    "pods",
    "restart",
]
_WHY = ("looked at it", "waits for a release", "cannot be reached from outside", "same as last quarter", "mitigated")


def population(count: int, *, seed: int = 1, events: int = EVENTS, first: int = 0) -> Iterator[Load]:
    """
    Yield *count* items with their events, *events* on average, oldest burst first; *first* numbers the first of them.
    """
    source = random.Random(seed)
    number = first
    for start, service, problems in sorted(_bursts(source, count)):
        for _ in range(problems):
            at = add_seconds(start, source.random() * 3_600)
            yield _grown(_Trail(source, number), count, service, at, events)
            number += 1


def _bursts(source: random.Random, count: int) -> Iterator[tuple[Instant, str, int]]:
    """
    Yield when each burst begins, in which service, and how many problems it brings: *count* in all.
    """
    while count:
        problems = min(count, 1 + int(source.expovariate(1 / _BURST)))
        service = source.choices(_SERVICES, cum_weights=_SHARES)[0]
        yield add_seconds(FROM, source.random() * _SECONDS * 0.98), service, problems
        count -= problems


def fill(backend: Backend, count: int, *, seed: int = 1, events: int = EVENTS) -> None:
    """
    Load a population into an empty store, in bounded steps.
    """
    made: Iterator[Change] = population(count, seed=seed, events=events)
    while chunk := list(islice(made, _CHUNK)):

        def run(writer: Writer, chunk: list[Change] = chunk) -> None:
            writer.apply(chunk)

        backend.write(run)


class _Trail:
    """
    One item under way: each step is its next state with the event that explains it.
    """

    def __init__(self, source: random.Random, number: int) -> None:
        self.source = source
        self.number = number
        self.item: Item | None = None
        self.events: list[Event] = []

    def step(self, new: Item, type: str, at: Instant, actor: str, **told: Any) -> Item:
        """
        Go on to the state *new*; `told` are more fields of the event.
        """
        revision = len(self.events) + 1
        if self.item is None or not told.get("added"):
            new = replace(new, updated_at=at)
        event = sealed(
            Event(
                id=event_id(new.id, revision), item_id=new.id, revision=revision, ts=at, type=type, actor=actor,
                actor_kind="person" if "@" in actor else "machine", changes=difference(self.item, new, at),
                salt=Salts(f"{new.id} {revision}").next(), prev=new.head, **told,
            )
        )  # fmt: skip
        self.events.append(event)
        self.item = replace(new, revision=revision, head=event.hash)
        return self.item


def _grown(trail: _Trail, count: int, service: str, at: Instant, events: int) -> Load:
    source, number = trail.source, trail.number
    item = trail.step(_reported(source, number, count, service, at), "created", at, "reporter")
    is_live = source.random() < _LIVE
    steps = 1 + int(source.random() * 2 * (events - 1)) if events > 1 else 1
    for _ in range(steps - (0 if is_live else 1)):
        at = min(add_seconds(at, source.expovariate(1 / 86_400)), NOW)
        item = _handled(trail, item, at)
    if not is_live:
        at = min(add_seconds(at, source.expovariate(1 / (14 * 86_400))), NOW)
        item = _closed(trail, item, at)
    elif source.random() < _ASLEEP:
        wake_at = add_seconds(NOW, source.uniform(-30, 90) * 86_400)
        item = trail.step(replace(item, wake_at=wake_at), "snoozed", at, source.choice(_PEOPLE))
    return Load(item, tuple(trail.events))


def _reported(source: random.Random, number: int, count: int, service: str, at: Instant) -> Item:
    env = source.choices(("prod", "staging", "dev"), cum_weights=(80, 95, 100))[0]
    priority = source.choices(("P0", "P1", "P2", "P3"), cum_weights=(2, 15, 65, 100))[0]
    reporter, category, problem, title, meta = _problem(source, number, service)
    text = " ".join(source.choices(_WORDS, k=source.randint(15, 45)))
    due = plus_days(_TODAY, source.randint(-120, 180)) if source.random() < _DUE else ""
    key = f"{reporter}:{service}:{problem}"
    claim = Claim(priority=priority, digest=f"{number:026d}", reports=1, first_at=at, last_at=at)
    return Item(
        id=item_id_of_key((env, key)), revision=1, env=env, status="open", priority=priority, created_at=at,
        updated_at=at, service=service, category=category, title=title,
        description=f"{text} needle{number % max(1, count // RARE)}", owner=source.choice(_TEAMS) if number % 3 else "",
        due_date=due, source=reporter, dedupe_key=key, evidence_refs={"runs": [f"run-{at[:10]}-{number % 50}"]},
        evidence_totals={"runs": 1}, tags=tuple(sorted((category, reporter))), meta=meta, fix=f"fix:{problem[:40]}",
        claims={reporter: claim},
    )  # fmt: skip


def _problem(source: random.Random, number: int, service: str) -> tuple[str, str, str, str, dict[str, Any]]:
    """
    Return source, category, the key's last part, title and meta.
    """
    match source.randrange(10):
        case 0:
            objective = source.choice(("availability", "latency-p99", "freshness"))
            title = f"{service} burns its error budget for {objective}"
            return "slo", "reliability", f"{objective}:{number}", title, {"burn_rate": source.randint(2, 30)}
        case 1 | 2:
            job = f"tests/{service}/test_{source.choice(_WORDS)}_{number}.py"
            return "ci", "flaky-test", job, f"{job} fails now and then", {"failures": source.randint(1, 9)}
        case 3 | 4 | 5:
            package, cve = source.choice(_PACKAGES), f"CVE-{source.randint(2019, 2025)}-{source.randint(1000, 49999)}"
            title = f"{cve} in {package}"
            return "osv", "vulnerability", f"{package}:{cve}:{number}", title, {"package": package, "cve": cve}
        case _:
            rule, path = source.choice(_RULES), f"src/{service.replace('-', '/')}/module_{source.randrange(2_000)}.py"
            where = {"rule": rule, "path": path, "line": source.randint(1, 900)}
            return "sarif", "code", f"{rule}:{path}:{number:x}", f"{rule} in {path}", where


def _handled(trail: _Trail, item: Item, at: Instant) -> Item:
    """
    Do one of the things that happen to a live item.
    """
    source = trail.source
    person = source.choice(_PEOPLE)
    match source.randrange(6):
        case 0 if item.status == "open":
            return trail.step(replace(item, status="in_progress"), "moved", at, person)
        case 1 if item.status == "in_progress":
            return trail.step(replace(item, status="blocked"), "moved", at, person, message=source.choice(_WHY))
        case 2:
            return trail.step(replace(item, owner=source.choice(_TEAMS)), "edited", at, person)
        case 3:
            return trail.step(item, "comment", at, person, message=" ".join(source.choices(_WORDS, k=12)), added=True)
        case _:
            seen = {**item.meta, "seen": trail.number + len(trail.events)}
            return trail.step(replace(item, meta=seen), "auto_update", at, "reporter")


def _closed(trail: _Trail, item: Item, at: Instant) -> Item:
    source = trail.source
    reason = source.choices(("fixed", "obsolete", "wont_fix", "false_positive"), cum_weights=(80, 90, 95, 100))[0]
    status = "done" if reason == "fixed" else "canceled"
    closed = replace(item, status=status, closed_at=at, closed_reason=reason, closed_by=source.choice(_PEOPLE))
    return trail.step(closed, "closed", at, closed.closed_by, message=source.choice(_WHY))
