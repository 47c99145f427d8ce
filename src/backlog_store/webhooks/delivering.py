"""
The loop that delivers: from the trail, each subscription by itself, in commit order, at least once.

A receiver that cannot be reached (no connection, no answer in time, 429, 502 to 504) holds up its subscription, and
nothing is written a waiting event: how far it has come is one record. One that answers and refuses an event lets the
next ones pass; that event is kept aside and tried again. After `hooks.ATTEMPTS_MAX` tries an event is a dead letter.

One process delivers at a time: it holds a lease, and what it notes is noted only while it does. A fault of one
subscription is logged and leaves that one alone for a while; it stops neither the others nor the loop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

from msgspec.structs import replace

from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.backlog import Backlog
from backlog_store.commands import NoteDeliveries, SetWebhook
from backlog_store.errors import BackendError, BacklogError
from backlog_store.hooks import (
    ASIDE_MAX,
    ATTEMPTS_MAX,
    LEASE,
    Aside,
    Attempt,
    Progress,
    Webhook,
)
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import TRAILS, Event, Item
from backlog_store.query import EventQuery, matcher
from backlog_store.querylang import parse_query
from backlog_store.redacting import redacted
from backlog_store.rules.hooking import asides, progress_of, webhooks
from backlog_store.webhooks.messages import MEDIA_TYPE, backoff_s, cloud_event, headers_of
from backlog_store.webhooks.outlets import Outlets, Refused, Sender, send
from backlog_store.webhooks.turns import Look, Sent, Turn, event_of, outcome_of

__all__ = ["Deliverer"]

T = TypeVar("T")

_log = logging.getLogger("backlog_store.webhooks")

_LEASE_S = 30.0  # longer than any turn takes; each note prolongs it
_RENEW_S = 10.0
_EVERY_S = 1.0
_PAGE = 200  # events that are looked at together
_TURN = 20  # tries between two notes: so many may come twice after a crash
_TURN_S = 5.0
_ASIDE_A_TURN = 5
_RETRY_MAX_S = 6 * 3_600.0
_TOGETHER = 8
_FAULT_S = 60.0  # so long is a subscription left alone after a fault of our own, which may last: once a minute is told


class Deliverer:
    """
    Delivers what is due. *jitter* gives numbers from 0 to 1; *holder* names this process; *heard* is told each outcome.

    Nothing is sent where *outlets* name no host.
    """

    def __init__(
        self, backlog: Backlog, outlets: Outlets, *, holder: str, jitter: Callable[[], float], sender: Sender = send,
        heard: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._backlog = backlog.acting_as("webhooks")
        self._outlets = outlets
        self._holder = holder
        self._jitter = jitter
        self._sender = sender
        self._heard = heard
        self._until: Instant = ""
        self._source = ""
        self._faulty: dict[Webhook, Instant] = {}  # until when each is left alone; one that was changed is another

    def run(self, stop: threading.Event) -> None:
        """
        Deliver until *stop* is set, and give the lease back.
        """
        try:
            while not stop.is_set():
                sent = Sent({})
                try:
                    sent = self.once(stop)
                except BacklogError as error:
                    _log.warning("webhooks wait: %s", error)  # the store is away, say: nothing is lost, the trail stays
                except Exception:  # noqa: BLE001 - whatever it is, what is due must go on to be delivered
                    _log.exception("webhooks wait: a fault of the delivery itself")
                if not sent.outcomes:
                    stop.wait(_EVERY_S)
        finally:
            self.release()

    def once(self, stop: threading.Event | None = None) -> Sent:
        """
        Deliver all that is due now, and return what came of it. Raises `BackendError` while the store is away.
        """
        sent = Sent({})
        now = self._backlog.clock()
        found = [webhook for _, webhook in self._all() if not webhook.off and self._faulty.get(webhook, "") <= now]
        if not found or not self._outlets.hosts:
            return sent
        if not self._hold():
            return Sent({}, is_ours=False)
        with ThreadPoolExecutor(min(_TOGETHER, len(found)), thread_name_prefix="webhook") as pool:
            for outcomes in pool.map(lambda webhook: self._all_due(webhook, stop), found):
                for outcome in outcomes:
                    sent.add(outcome)
        return sent

    def release(self) -> None:
        """
        Give the lease back: another process may deliver at once.
        """
        if self._until:
            self._until = ""
            try:
                self._backlog.execute(NoteDeliveries(holder=self._holder, until=""))
            except BackendError as error:
                _log.warning("the lease of delivering ends by itself soon: %s", error)

    def _read(self, fn: Callable[[Reader], T]) -> T:
        # The store itself: a copy of it, read in an outage, has other positions.
        return self._backlog.executor.backend.read(fn)

    def _all(self) -> list[tuple[int, Webhook]]:
        return self._read(lambda reader: list(webhooks(reader)))

    def _hold(self) -> bool:
        now = self._backlog.clock()
        if self._until and add_seconds(now, _LEASE_S - _RENEW_S) < self._until:
            return True
        until = add_seconds(now, _LEASE_S)
        record = self._read(lambda reader: reader.records("delivery", [LEASE])).get(LEASE)
        held = record.body if record is not None else {}
        if held.get("holder") not in ("", None, self._holder) and held["until"] > now:
            return False
        taken = self._backlog.execute(NoteDeliveries(holder=self._holder, until=until)).outcomes[0]
        self._until = until if taken.verdict == "updated" else ""
        return bool(self._until)

    def _all_due(self, webhook: Webhook, stop: threading.Event | None) -> list[str]:
        """
        Take turns until nothing more is due, for about as long as one turn may last.
        """
        outcomes: list[str] = []
        began = perf_counter()
        while not (stop is not None and stop.is_set()):
            try:
                turn, is_more = self._turn(webhook)
            except BackendError:
                raise  # of the store, which is that of all
            except Exception:  # noqa: BLE001 - whatever it is, the other subscriptions must not stand still for it
                self._faulty[webhook] = add_seconds(self._backlog.clock(), _FAULT_S)
                _log.exception("webhook %s: a fault; left alone for %d s, the others go on", webhook.name, _FAULT_S)
                break
            outcomes += [attempt.outcome for attempt in turn.log]
            for attempt in turn.log:
                self._heard(attempt.outcome)
            if not is_more or perf_counter() - began > _TURN_S:
                break
        return outcomes

    def _turn(self, webhook: Webhook) -> tuple[Turn, bool]:
        now = self._backlog.clock()
        look = self._read(lambda reader: self._look(reader, webhook, now))
        turn = Turn(look.progress, look.later)
        if look.progress.next_at > now:
            return turn, False
        wants = self._wants(webhook, look, now)
        for index, (kept, event) in enumerate(look.again, 1):
            if not self._again(webhook, turn, look, kept, event):
                turn.later += [untried.next_at for untried, _ in look.again[index:]]
                break
        is_more = False
        if not turn.progress.next_at and not turn.off:
            is_more = self._forward(webhook, turn, look, wants)
        return turn, self._note(webhook, turn, look) and is_more

    def _look(self, reader: Reader, webhook: Webhook, now: Instant) -> Look:
        revision, progress = progress_of(reader, webhook.name)
        if progress.next_at > now:
            return Look(progress, revision)
        due, later = self._kept(reader, webhook, progress, now)
        again = [(one, event_of(reader, one)) for one in due]
        events = reader.events(EventQuery(after=progress.cursor, limit=_PAGE))
        ids = {event.item_id for event in events} | {one.item_id for one in due}
        return Look(progress, revision, again, later, events, dict(reader.items(ids)))

    def _kept(
        self, reader: Reader, webhook: Webhook, progress: Progress, now: Instant
    ) -> tuple[list[Aside], list[Instant]]:
        """
        Return what is due of what is kept aside, and when the rest is; looked at only where something is due.
        """
        if not progress.due_at or progress.due_at > now:
            return [], [progress.due_at] if progress.due_at else []
        live = [one for one in asides(reader, webhook.name) if not one.is_dead]
        due = [one for one in live if one.next_at <= now][:_ASIDE_A_TURN]
        positions = {one.position for one in due}
        return due, [one.next_at for one in live if one.position not in positions]

    def _wants(self, webhook: Webhook, look: Look, now: Instant) -> Callable[[Event], bool]:
        """
        Return what tells whether an event is for this subscription.
        """
        scope: Scope | None = None if webhook.scope is None or webhook.scope.is_whole else webhook.scope
        matches = matcher(parse_query(webhook.query, now=now, me=webhook.by).where) if webhook.query else None

        def is_for(event: Event) -> bool:
            if event.item_id in TRAILS or (webhook.types is not None and event.type not in webhook.types):
                return False
            item = look.items.get(event.item_id)
            if item is None:
                return scope is None and matches is None
            return (scope is None or scope.covers_item(item)) and (matches is None or matches(item))

        return is_for

    def _forward(self, webhook: Webhook, turn: Turn, look: Look, wants: Callable[[Event], bool]) -> bool:
        """
        Go on in the trail; tell whether there may be more.
        """
        tried, began = 0, perf_counter()
        for event in look.events:
            if tried >= _TURN or perf_counter() - began > _TURN_S:
                return True
            if wants(event):
                if turn.progress.kept >= ASIDE_MAX:
                    turn.off = f"{ASIDE_MAX:,} events are kept aside"
                    return False
                tried += 1
                if not self._first(webhook, turn, event, look.items.get(event.item_id)):
                    return False
            turn.progress = replace(turn.progress, cursor=event.position)
        return len(look.events) == _PAGE

    def _first(self, webhook: Webhook, turn: Turn, event: Event, item: Item | None) -> bool:
        """
        Try an event that comes next in the trail; tell whether to go on with the one behind it.
        """
        attempts = turn.progress.attempts + 1
        attempt, retry_s = self._try(webhook, turn, event, item, attempts)
        progress = turn.progress
        if attempt.outcome == "delivered":
            turn.progress = replace(progress, attempts=0, error="", delivered=progress.delivered + 1)
            return True
        if attempt.outcome == "gone":
            turn.off = "the receiver says that it is gone for good (410)"
            return False
        one = Aside(position=event.position, event=event.id, item_id=event.item_id, revision=event.revision,
                    type=event.type, at=attempt.at, attempts=attempts, error=attempt.error)  # fmt: skip
        if attempt.outcome == "unreachable":
            turn.progress = replace(progress, attempts=attempts, next_at=self._later(attempts, retry_s, attempt.at),
                                    error=attempt.error)  # fmt: skip
            return False
        if attempt.outcome == "refused":
            one = replace(one, next_at=self._later(attempts, retry_s, attempt.at))
        turn.progress = replace(progress, attempts=0, error="")
        turn.set_aside(one, is_new=True)  # which is counted in the progress
        return True

    def _again(self, webhook: Webhook, turn: Turn, look: Look, kept: Aside, event: Event | None) -> bool:
        """
        Try an event that was kept aside; tell whether to try the next one.
        """
        if event is None:
            turn.let_go(kept.position)  # purged with its item: there is nothing left to tell
            return True
        attempts = kept.attempts + 1
        attempt, retry_s = self._try(webhook, turn, event, look.items.get(event.item_id), attempts)
        if attempt.outcome == "delivered":
            turn.let_go(kept.position)
            turn.progress = replace(turn.progress, delivered=turn.progress.delivered + 1)
            return True
        if attempt.outcome == "gone":
            turn.off = "the receiver says that it is gone for good (410)"
            return False
        next_at = "" if attempt.outcome == "dead" else self._later(attempts, retry_s, attempt.at)
        turn.set_aside(replace(kept, attempts=attempts, next_at=next_at, error=attempt.error), is_new=False)
        return attempt.outcome != "unreachable"

    def _try(
        self, webhook: Webhook, turn: Turn, event: Event, item: Item | None, attempts: int
    ) -> tuple[Attempt, float]:
        """
        Send an event once, and log that; return what came of it, and how long the receiver wants to be left alone.
        """
        at, began = self._backlog.clock(), perf_counter()
        body = cloud_event(event, item, self._named())
        headers = {**headers_of(webhook.secret, event.id, at, body), "Content-Type": MEDIA_TYPE}
        status, retry_s, error = 0, 0.0, ""
        try:
            reply = self._sender(webhook.url, headers, body, self._outlets)
            status, retry_s = reply.status, min(reply.retry_s, _RETRY_MAX_S)
            error = "" if 200 <= status < 300 else f"the receiver answered {status}"
        except (Refused, OSError) as problem:
            error = redacted(str(problem))[:300] or type(problem).__name__
        outcome = outcome_of(status)
        if outcome in ("refused", "unreachable") and attempts >= ATTEMPTS_MAX:
            outcome = "dead"
        number = turn.progress.tried
        attempt = Attempt(number=number, at=at, event=event.id, type=event.type, item_id=event.item_id,
                          outcome=outcome, status=status, error=error,
                          took_ms=round((perf_counter() - began) * 1_000))  # fmt: skip
        turn.progress = replace(turn.progress, tried=number + 1, next_at="")
        turn.log.append(attempt)
        if outcome != "delivered":
            _log.warning("webhook %s: %s of %s: %s, try %d", webhook.name, event.type, event.item_id, error, attempts)
        return attempt, retry_s

    def _later(self, attempts: int, retry_s: float, now: Instant) -> Instant:
        return add_seconds(now, max(retry_s, backoff_s(attempts, self._jitter())))

    def _named(self) -> str:
        if not self._source:
            record = self._read(lambda reader: reader.records("store", ["identity"])).get("identity")
            self._source = f"urn:backlog-store:{record.body['id']}" if record is not None else "urn:backlog-store"
        return self._source

    def _note(self, webhook: Webhook, turn: Turn, look: Look) -> bool:
        """
        Note what came of a turn; tell whether that holds, and so whether to go on.
        """
        progress = replace(turn.progress, due_at=min(turn.later, default=""))
        if progress == look.progress and not turn.aside and not turn.gone and look.revision and not turn.off:
            return True
        until = add_seconds(self._backlog.clock(), _LEASE_S)
        body = NoteDeliveries(holder=self._holder, until=until, name=webhook.name, over=look.revision,
                              progress=progress, log=tuple(turn.log), aside=tuple(turn.aside.values()),
                              gone=tuple(turn.gone))  # fmt: skip
        noted = self._backlog.execute(body).outcomes[0]
        if noted.verdict == "unchanged":
            return False
        self._until = until
        if turn.off:
            revision, now = next((pair for pair in self._all() if pair[1].name == webhook.name), (0, webhook))
            self._backlog.execute(SetWebhook(name=now.name, url=now.url, over=revision, types=now.types,
                                             query=now.query, scope=now.scope, off=turn.off))  # fmt: skip
        return not turn.off
