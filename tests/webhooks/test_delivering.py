"""
Delivery: every event, in order, at least once, whatever the receiver does.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from backlog_store.access import Scope
from backlog_store.backends.memory import open_memory
from backlog_store.backends.registry import open_backend
from backlog_store.backlog import Backlog
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import Redeliver, RemoveWebhook, SetWebhook
from backlog_store.errors import InvalidInput, NotAllowed, NotFound, RevisionConflict
from backlog_store.executors.local import LocalExecutor
from backlog_store.hooks import ATTEMPTS_MAX, Aside, Progress, Webhook, progress_record
from backlog_store.query import EventQuery
from backlog_store.rules import hooking
from backlog_store.rules.hooking import asides, standings, webhook_named
from backlog_store.testing.clocks import CountingIds
from backlog_store.transfer import export_store, import_store
from backlog_store.webhooks import delivering as module
from backlog_store.webhooks.delivering import Deliverer
from backlog_store.webhooks.outlets import Outlets, Reply, send
from tests.stores import RETAINING, url_of
from tests.webhooks.conftest import HERE, Still, deliverer, subscribe
from tests.webhooks.receiver import SECRET, Got, Receiver

Answer = Callable[[Got], tuple[int, Mapping[str, str]]]


def answering(*statuses: int, **headers: str) -> Answer:
    """
    Return what answers with these statuses, and with 204 from then on.
    """
    left = list(statuses)
    return lambda _: (
        (left.pop(0), {name.replace("_", "-"): value for name, value in headers.items()}) if left else (204, {})
    )


def progress_of(backlog: Backlog, name: str = "chat") -> Progress:
    """
    Return how far a subscription has come.
    """
    id = progress_record(name)
    return from_builtins(backlog.read(lambda reader: reader.records("delivery", [id])[id].body), Progress)


def kept_of(backlog: Backlog, name: str = "chat") -> list[Aside]:
    """
    Return what is kept aside.
    """
    return backlog.read(lambda reader: list(asides(reader, name)))


def add(backlog: Backlog, *titles: str) -> None:
    """
    Report a problem for each title.
    """
    for title in titles:
        backlog.upsert(title=title, dedupe_key=title)


def test_an_event_is_a_signed_cloud_event(backlog: Backlog, receiver: Receiver, clock: Still) -> None:
    """
    What comes is CloudEvents 1.0 as JSON, signed as Standard Webhooks says, under an id that is the event's own.
    """
    subscribe(backlog, receiver.url)
    id = backlog.upsert(title="A", dedupe_key="a", service="web").id
    assert deliverer(backlog).once().outcomes == {"delivered": 1}
    [got] = receiver.got
    [event] = backlog.trail(id)
    assert got.is_signed(clock.now)
    assert not got.is_signed(clock.now, SECRET.replace("Q", "R", 1))
    assert got.headers["content-type"].startswith("application/cloudevents+json")
    told = got.event
    assert (told["specversion"], told["id"], told["type"], told["subject"], told["time"]) == (
        "1.0", got.headers["webhook-id"], "backlog.item.created", id, event.ts,
    )  # fmt: skip
    assert (told["data"]["item"]["service"], told["data"]["changes"]["title"]) == ("web", [None, "A"])


@pytest.mark.parametrize("name", RETAINING)
def test_every_event_comes_once_in_the_order_of_the_commits(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, receiver: Receiver
) -> None:
    """
    Several write while it is delivered: nothing is missed, nothing comes twice, and no write waits for a receiver.
    """
    backend = open_backend(url_of(name, request, tmp_path))
    with Backlog(LocalExecutor(backend), actor="scanner", ids=CountingIds()) as backlog:
        subscribe(backlog, receiver.url)

        def write(writer: int) -> None:
            for number in range(8):
                backlog.upsert(title=f"{writer}-{number}", dedupe_key=f"{writer}")

        writers = [threading.Thread(target=write, args=(one,)) for one in range(4)]
        for one in writers:
            one.start()
        work = deliverer(backlog)
        while any(one.is_alive() for one in writers):
            work.once()
        while work.once().outcomes:
            pass
        written = [event.id for event in backlog.events(EventQuery(limit=None)) if event.item_id != "access"]
        assert [got.headers["webhook-id"] for got in receiver.got] == written
        assert len(written) == 32
        assert len(set(written)) == 32


def test_a_receiver_that_is_away_holds_up_its_events_in_order(
    backlog: Backlog, receiver: Receiver, clock: Still
) -> None:
    """
    It is asked again after 5, 20, 80 seconds, never in between, and then everything comes in order.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A", "B")
    receiver.answer = answering(503, 502, 504)
    work = deliverer(backlog)
    for wait in (5.0, 20.0, 80.0):
        assert work.once().outcomes == {"unreachable": 1}
        assert work.once().outcomes == {}
        clock.move(wait - 1)
        assert work.once().outcomes == {}
        clock.move(1)
    add(backlog, "C")
    assert work.once().outcomes == {"delivered": 3}
    assert receiver.titles() == ["A", "A", "A", "A", "B", "C"]
    assert len({got.headers["webhook-id"] for got in receiver.got[:4]}) == 1
    assert kept_of(backlog) == []


def test_waits_are_spread(backlog: Backlog, receiver: Receiver, clock: Still) -> None:
    """
    Jitter takes up to half of a wait away, so that receivers that come back are not asked all at once.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    receiver.answer = answering(503)
    deliverer(backlog, jitter=0.0).once()
    assert progress_of(backlog).next_at == "2026-03-01T12:00:02.500000Z"


def test_a_receiver_says_when_to_come_back(backlog: Backlog, receiver: Receiver, clock: Still) -> None:
    """
    Retry-After is kept to, where it is longer than our own wait.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    receiver.answer = answering(429, Retry_After="120")
    work = deliverer(backlog)
    work.once()
    clock.move(119)
    assert work.once().outcomes == {}
    clock.move(1)
    assert work.once().outcomes == {"delivered": 1}


def test_an_event_that_is_refused_lets_the_others_pass(backlog: Backlog, receiver: Receiver, clock: Still) -> None:
    """
    One that a receiver answers and refuses is kept aside and tried again; the others do not wait for it.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A", "B")
    receiver.answer = answering(500)
    work = deliverer(backlog)
    assert work.once().outcomes == {"refused": 1, "delivered": 1}
    [kept] = kept_of(backlog)
    assert (kept.attempts, kept.error, kept.is_dead) == (1, "the receiver answered 500", False)
    assert progress_of(backlog).kept == 1
    clock.move(5)
    assert work.once().outcomes == {"delivered": 1}
    assert receiver.titles() == ["A", "B", "A"]
    assert (kept_of(backlog), progress_of(backlog).kept) == ([], 0)


def test_a_webhook_that_refuses_everything_is_switched_off(
    backlog: Backlog, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is kept aside is counted, and bounded: behind that nothing more is sent until somebody has looked.
    """
    monkeypatch.setattr(module, "ASIDE_MAX", 2)
    subscribe(backlog, receiver.url)
    add(backlog, "A", "B", "C")
    receiver.answer = answering(500, 500, 500)
    assert deliverer(backlog).once().outcomes == {"refused": 2}
    assert (len(kept_of(backlog)), progress_of(backlog).kept) == (2, 2)
    assert "2 events are kept aside" in backlog.read(lambda reader: webhook_named(reader, "chat"))[1].off


def test_what_was_not_tried_behind_an_unreachable_one_stays_due(
    backlog: Backlog, receiver: Receiver, clock: Still
) -> None:
    """
    Of three that are kept aside one meets a receiver that is away: the two behind it do not wait for its next try.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A", "B", "C")
    receiver.answer = answering(500, 500, 500)
    work = deliverer(backlog)
    assert work.once().outcomes == {"refused": 3}
    clock.move(5)
    receiver.answer = answering(503)
    assert work.once().outcomes == {"unreachable": 1}
    assert work.once().outcomes == {"delivered": 2}
    assert receiver.titles()[3:] == ["A", "B", "C"]
    clock.move(20)
    assert work.once().outcomes == {"delivered": 1}
    assert kept_of(backlog) == []


@pytest.fixture
def faulty(backlog: Backlog, receiver: Receiver) -> Deliverer:
    """
    Return what delivers for two subscriptions, and has a fault with the first of them.
    """
    subscribe(backlog, "https://broken.example.org/", "a-broken")
    subscribe(backlog, receiver.url)

    def sender(url: str, headers: Mapping[str, str], body: bytes, outlets: Outlets) -> Reply:
        if "broken" in url:
            raise ValueError("nobody foresaw this")
        return send(url, headers, body, outlets)

    return Deliverer(backlog, HERE, holder="one", jitter=lambda: 1.0, sender=sender)


def test_a_fault_of_one_subscription_stops_no_other(
    backlog: Backlog, receiver: Receiver, clock: Still, faulty: Deliverer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is logged with its name, once a minute; a subscription that was changed is tried at once.
    """
    add(backlog, "A")
    with caplog.at_level(logging.ERROR, "backlog_store.webhooks"):
        assert faulty.once().outcomes == {"delivered": 1}
        add(backlog, "B")
        assert faulty.once().outcomes == {"delivered": 1}
        [record] = caplog.records
        assert "webhook a-broken: a fault" in record.getMessage()
        clock.move(60)
        faulty.once()
        assert len(caplog.records) == 2
    assert receiver.titles() == ["A", "B"]
    revision, _ = backlog.read(lambda reader: webhook_named(reader, "a-broken"))
    backlog.execute(SetWebhook(name="a-broken", url=receiver.url, over=revision))
    assert faulty.once().outcomes == {"delivered": 2}


def test_the_loop_goes_on_after_a_fault_and_gives_the_lease_back(
    backlog: Backlog, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever one round meets, the next one delivers, and another process need not wait for the lease to end.
    """
    monkeypatch.setattr(module, "_EVERY_S", 0)
    subscribe(backlog, receiver.url)
    stop = threading.Event()
    work = deliverer(backlog)
    once, faults = work.once, [ValueError("nobody foresaw this")]

    def round_of(stopping: threading.Event | None) -> object:
        if faults:
            once(stopping)
            add(backlog, "A")
            raise faults.pop()
        sent = once(stopping)
        stop.set()
        return sent

    monkeypatch.setattr(work, "once", round_of)
    work.run(stop)
    assert receiver.titles() == ["A"]
    assert deliverer(backlog, "two").once().is_ours


@pytest.mark.parametrize("url", [
    "https://[/x", "https://a..example.org/x", f"https://{'a' * 64}.example.org/", "https://a.example.org:99999/",
    "https://:443/", "ftp://a.example.org/", "https://ann@a.example.org/",
])  # fmt: skip
def test_what_is_no_address_and_what_is_no_query_is_refused_at_once(backlog: Backlog, url: str) -> None:
    """
    Whoever subscribes, over whatever way, is told of both faults; nothing is kept that delivering would trip over.
    """
    with pytest.raises(InvalidInput) as caught:
        subscribe(backlog, url, query="priority:")
    assert [fault.pointer for fault in caught.value.faults] == ["/url", "/query"]
    with pytest.raises(NotFound):
        backlog.read(lambda reader: webhook_named(reader, "chat"))


def test_an_address_that_was_taken_earlier_waits_as_one_that_is_away_and_can_be_paused(
    backlog: Backlog, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One that would be refused today may stand in a store: it tells why it is not delivered, and the others are.
    """
    with monkeypatch.context() as earlier:
        earlier.setattr(hooking, "_is_address", lambda _: True)
        subscribe(backlog, "https://a..example.org/x", "a-bad")
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    outlets = replace(HERE, hosts=("127.0.0.1", "*.example.org"))
    assert deliverer(backlog, outlets=outlets).once().outcomes == {"unreachable": 1, "delivered": 1}
    assert "a..example.org" in progress_of(backlog, "a-bad").error
    revision, bad = backlog.read(lambda reader: webhook_named(reader, "a-bad"))
    backlog.execute(SetWebhook(name="a-bad", url=bad.url, over=revision, off="paused"))
    assert backlog.read(lambda reader: webhook_named(reader, "a-bad"))[1].off == "paused"


@pytest.mark.parametrize(
    "url", ["https://bücher.example/x", "https://[2606:4700::1111]:8443/x", "https://a.example.?b"]
)
def test_other_forms_of_an_address_are_taken(backlog: Backlog, url: str) -> None:
    """
    A name in another script, an address of IPv6, a dot at the end.
    """
    subscribe(backlog, url, query="service:web created:>7d")
    assert backlog.read(lambda reader: webhook_named(reader, "chat"))[1].url == url


@pytest.mark.parametrize("status", [500, 503])
def test_after_ten_tries_an_event_is_a_dead_letter_until_it_is_replayed(
    backlog: Backlog, receiver: Receiver, clock: Still, status: int
) -> None:
    """
    Then it is tried no more, the next one comes, and `replay` delivers it.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    receiver.answer = answering(*[status] * ATTEMPTS_MAX)
    work = deliverer(backlog)
    tried = 0
    while not (kept_of(backlog) and kept_of(backlog)[0].is_dead):
        tried += sum(work.once().outcomes.values())
        clock.move(6 * 3_600)
    assert tried == ATTEMPTS_MAX
    add(backlog, "B")
    assert work.once().outcomes == {"delivered": 1}
    clock.move(30 * 86_400)
    assert work.once().outcomes == {}
    backlog.execute(Redeliver(name="chat", aside=True))
    assert work.once().outcomes == {"delivered": 1}
    assert receiver.titles()[-2:] == ["B", "A"]
    assert kept_of(backlog) == []


def test_a_receiver_that_is_gone_is_left_alone_until_somebody_resumes(backlog: Backlog, receiver: Receiver) -> None:
    """
    410 stops the subscription, told in the history; nothing is lost when it goes on.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    receiver.answer = answering(410)
    work = deliverer(backlog)
    assert work.once().outcomes == {"gone": 1}
    add(backlog, "B")
    assert work.once().outcomes == {}
    revision, found = backlog.read(lambda reader: webhook_named(reader, "chat"))
    assert "410" in found.off
    backlog.execute(SetWebhook(name="chat", url=receiver.url, over=revision))
    assert work.once().outcomes == {"delivered": 2}
    assert receiver.titles() == ["A", "A", "B"]


def test_a_replay_since_a_position_delivers_all_behind_it(backlog: Backlog, receiver: Receiver) -> None:
    """
    The trail is the queue: going back in it is going back in what was sent.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A", "B")
    work = deliverer(backlog)
    work.once()
    first = backlog.events(EventQuery(types=("created",)))[0].position
    backlog.execute(Redeliver(name="chat", after=first))
    assert work.once().outcomes == {"delivered": 1}
    assert receiver.titles() == ["A", "B", "B"]


@pytest.mark.parametrize("name", RETAINING)
def test_a_replay_goes_back_to_where_there_is_something(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, receiver: Receiver
) -> None:
    """
    To the beginning; not to what is no position; and what is beyond the end is the end, so that nothing later is lost.
    """
    backend = open_backend(url_of(name, request, tmp_path))
    with Backlog(LocalExecutor(backend), actor="scanner", ids=CountingIds()) as backlog:
        add(backlog, "A")
        subscribe(backlog, receiver.url)
        with pytest.raises(InvalidInput, match="no position"):
            backlog.execute(Redeliver(name="chat", after="garbage"))
        backlog.execute(Redeliver(name="chat", after=""))
        work = deliverer(backlog)
        assert work.once().outcomes == {"delivered": 1}
        beyond = "".join("9" if letter.isdigit() else letter for letter in progress_of(backlog).cursor)
        backlog.execute(Redeliver(name="chat", after=beyond))
        add(backlog, "B")
        assert work.once().outcomes == {"delivered": 1}
    assert receiver.titles() == ["A", "B"]


def test_only_what_is_asked_for_comes(backlog: Backlog, receive: Callable[[], Receiver]) -> None:
    """
    By type, by query, by reach; what is decided about access is never sent, and a purged item goes to who gets all.
    """
    named = {name: receive() for name in ("types", "query", "scope", "all")}
    subscribe(backlog, named["types"].url, "types", types=("closed",))
    subscribe(backlog, named["query"].url, "query", query="service:web")
    subscribe(backlog, named["scope"].url, "scope", scope=Scope(role="reader", services=("db",)))
    subscribe(backlog, named["all"].url, "all")
    web = backlog.upsert(title="web", dedupe_key="w", service="web").id
    db = backlog.upsert(title="db", dedupe_key="d", service="db").id
    backlog.close_item(web)
    deliverer(backlog).once()
    got = {name: [(one.event["subject"], one.event["data"]["type"]) for one in receiver.got]
           for name, receiver in named.items()}  # fmt: skip
    assert got == {
        "types": [(web, "closed")], "query": [(web, "created"), (web, "closed")], "scope": [(db, "created")],
        "all": [(web, "created"), (db, "created"), (web, "closed")],
    }  # fmt: skip


def test_one_process_delivers_at_a_time(backlog: Backlog, receiver: Receiver, clock: Still) -> None:
    """
    Another one waits for the lease; when that is over it takes it, and what the first one still notes is not noted.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    one, two = deliverer(backlog, "one"), deliverer(backlog, "two")
    assert one.once().outcomes == {"delivered": 1}
    assert not two.once().is_ours
    add(backlog, "B")
    clock.move(61)

    def meanwhile(_: Got) -> tuple[int, Mapping[str, str]]:
        # While the first one, long frozen, sends: the other one takes over and is done.
        receiver.answer = answering()
        clock.move(61)
        receiver.more.release()
        try:
            assert two.once().outcomes == {"delivered": 1}
        finally:
            receiver.more.acquire()
        return 500, {}

    receiver.answer = meanwhile
    one.once()
    assert kept_of(backlog) == []
    assert progress_of(backlog).delivered == 2
    two.release()
    assert one.once().is_ours


def test_nothing_is_sent_where_no_host_is_named(backlog: Backlog, receiver: Receiver) -> None:
    """
    Off by default: whoever may write into the store does not decide where this host sends requests.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    assert deliverer(backlog, outlets=Outlets()).once().outcomes == {}
    assert receiver.got == []


def test_a_secret_is_told_to_nobody(backlog: Backlog) -> None:
    """
    Not in the history, and not to an admin who asks a server; a worker sees no subscription, and makes none.
    """
    subscribe(backlog, "https://hooks.example.org/")
    assert SECRET not in str(backlog.events(EventQuery(limit=None)))
    admin = backlog.acting_as("ann", scope=Scope(role="admin"))
    assert admin.read(lambda reader: webhook_named(reader, "chat"))[1].secret == ""
    worker = backlog.acting_as("ben", scope=Scope(role="worker"))
    with pytest.raises(NotFound):
        worker.read(lambda reader: webhook_named(reader, "chat"))
    part = backlog.acting_as("eve", scope=Scope(role="admin", services=("web",)))
    for asking in (worker, part):
        with pytest.raises(NotAllowed):
            subscribe(asking, "https://hooks.example.org/", "mine")


def test_an_import_begins_anew(backlog: Backlog, receiver: Receiver, clock: Still) -> None:
    """
    How far it had come stays behind, for positions are a store's own: in the new store what comes from now on is sent.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    deliverer(backlog).once()
    file = io.BytesIO()
    export_store(backlog.executor.backend, file)
    file.seek(0)
    other = Backlog(LocalExecutor(open_memory()), actor="scanner", clock=clock, ids=CountingIds(1_000))
    import_store(other.executor.backend, file)
    [(_, _, progress, waiting)] = other.read(lambda reader: list(standings(reader, 100)))
    assert (progress.delivered, waiting) == (0, 0)
    other.execute(Redeliver(name="chat", aside=True))
    work = deliverer(other)
    assert work.once().outcomes == {}
    add(other, "B")
    assert work.once().outcomes == {"delivered": 1}
    assert receiver.titles() == ["A", "B"]


def test_removed_it_leaves_nothing_and_its_name_is_free(backlog: Backlog, receiver: Receiver) -> None:
    """
    What was kept aside and how far it had come are forgotten with it.
    """
    subscribe(backlog, receiver.url)
    add(backlog, "A")
    receiver.answer = answering(500)
    deliverer(backlog).once()
    backlog.execute(RemoveWebhook(name="chat"))
    left = {one.id: one.body for one in backlog.read(lambda reader: reader.scan("delivery", "", "", 100))}
    assert left == {"chat/progress": {}, "lease": left["lease"]}
    with pytest.raises(NotFound):
        backlog.execute(Redeliver(name="chat", aside=True))
    subscribe(backlog, receiver.url)
    assert deliverer(backlog).once().outcomes == {}


def test_a_late_note_is_none_of_a_namesake(backlog: Backlog, receiver: Receiver) -> None:
    """
    Removed and made again while an event was on its way: the new one begins where it begins.
    """

    def make_anew(_: Got) -> tuple[int, Mapping[str, str]]:
        backlog.execute(RemoveWebhook(name="chat"))
        add(backlog, "B")
        subscribe(backlog, receiver.url)
        return 500, {}

    subscribe(backlog, receiver.url)
    add(backlog, "A")
    receiver.answer = make_anew
    work = deliverer(backlog)
    assert work.once().outcomes == {"refused": 1}
    receiver.answer = answering()
    assert (kept_of(backlog), progress_of(backlog).tried) == ([], 0)
    assert work.once().outcomes == {}


def test_a_change_that_was_not_seen_is_not_written_over(backlog: Backlog) -> None:
    """
    Two who edit one subscription: the second is told.
    """
    subscribe(backlog, "https://hooks.example.org/")
    with pytest.raises(RevisionConflict):
        backlog.execute(SetWebhook(name="chat", url="https://hooks.example.org/", over=7))


def test_a_large_event_is_cut_and_says_so(backlog: Backlog, receiver: Receiver) -> None:
    """
    No body is larger than 64 KiB: long texts stay at home.
    """
    subscribe(backlog, receiver.url)
    backlog.upsert(title="A", dedupe_key="a", description="x" * 90_000)
    assert deliverer(backlog).once().outcomes == {"delivered": 1}
    [got] = receiver.got
    assert len(got.body) < 64 * 1024
    assert (got.event["data"]["truncated"], got.event["data"]["changes"]["description"]) == (True, None)


def test_a_webhook_that_is_kept_names_its_type() -> None:
    """
    What is kept can be read again as it was.
    """
    kept = Webhook(name="a", url="https://a.example/", by="ann", at="2026-03-01T12:00:00.000000Z", types=("closed",))
    assert from_builtins(to_builtins(kept), Webhook) == kept
