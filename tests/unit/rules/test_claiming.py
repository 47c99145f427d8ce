"""
Claims: one taker at a time, for as long as the lease lasts by the store's clock; and what to take next.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backlog_store import Backlog
from backlog_store import commands as c
from backlog_store.backends.memory import open_memory
from backlog_store.errors import Conflict, NotAllowed
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft
from backlog_store.policy import Policy
from backlog_store.policy.wip import Wip, WipLimit
from backlog_store.rules.decide import Decision
from backlog_store.rules.replaying import decide_all
from backlog_store.testing.clocks import CountingIds, StepClock

HOUR_S = 3_600


@pytest.fixture
def ann(machine: Backlog) -> Backlog:
    """Who takes work."""
    return machine.acting_as("ann")


@pytest.fixture
def bob(machine: Backlog) -> Backlog:
    """Who would take the same."""
    return machine.acting_as("bob")


def test_what_is_claimed_is_nobody_elses(ann: Backlog, bob: Backlog) -> None:
    """The second claim is refused, also one by the same name: two workers may share it."""
    id = ann.upsert(title="x").id
    first = ann.work.claim(id)
    assert (first.verdict, first.token) == ("claimed", 2)
    for other in (ann, bob):
        with pytest.raises(Conflict, match="claimed it until"):
            other.work.claim(id)
    assert [item.id for item in ann.work.ready()] == [id]
    assert bob.work.ready() == []


def test_renewing_is_no_event_and_keeps_the_token(ann: Backlog, bob: Backlog, clock: StepClock) -> None:
    """A lease is put off by its token as often as needed; nothing is written into the history."""
    id = ann.upsert(title="x").id
    token = ann.work.claim(id, lease_s=HOUR_S).token
    before = ann.trail(id)
    for _ in range(3):
        clock.advance(HOUR_S - 60)
        assert ann.work.renew(id, token, lease_s=HOUR_S).token == token
    assert ann.trail(id) == before
    with pytest.raises(Conflict):
        bob.work.claim(id)


def test_a_lease_that_is_over_may_be_taken_over_and_the_old_token_counts_no_more(
    ann: Backlog, bob: Backlog, clock: StepClock
) -> None:
    """The takeover is an event that says from whom; whoever comes back late is refused, whatever they write."""
    id = ann.upsert(title="x").id
    old = ann.work.claim(id, lease_s=HOUR_S).token
    clock.advance(HOUR_S + 1)
    assert [item.id for item in bob.work.ready()] == [id]
    new = bob.work.claim(id).token
    assert new > old
    assert ann.trail(id)[-1].meta["taken_over_from"] == "ann"
    late = ann.holding(old)
    writes: tuple[Callable[[], object], ...] = (
        lambda: late.move(id, "in_progress"), lambda: late.close_item(id), lambda: late.comment(id, "done"),
        lambda: late.edit(id, title="y"), lambda: ann.work.renew(id, old), lambda: ann.work.release(id, old),
    )  # fmt: skip
    for write in writes:
        with pytest.raises(Conflict, match="does not hold"):
            write()
    assert bob.holding(new).move(id, "in_progress").verdict == "updated"


def test_a_claim_ends_with_the_item_or_its_release(ann: Backlog, bob: Backlog) -> None:
    """A released item is free at once, and so is one that was closed and reopened; the token before counts no more."""
    id = ann.upsert(title="x").id
    token = ann.work.claim(id).token
    with pytest.raises(NotAllowed):
        bob.work.release(id)
    ann.work.release(id, token)
    token = bob.work.claim(id).token
    bob.holding(token).close_item(id)
    bob.reopen(id, "no")
    assert ann.get(id).claimed_by == ""
    with pytest.raises(Conflict):
        bob.holding(token).comment(id, "on it")
    assert ann.work.claim(id).verdict == "claimed"


def test_a_claim_asked_twice_is_one(ann: Backlog) -> None:
    """Who lost the answer asks again under the same request id and gets the same token."""
    id = ann.upsert(title="x").id
    first = ann.work.claim(id, request_id="r")
    assert ann.work.claim(id, request_id="r").token == first.token
    assert len(ann.trail(id)) == 2


def test_only_what_is_ready_can_be_claimed(ann: Backlog, clock: StepClock) -> None:
    """What is closed, asleep, blocked or waits for another item is refused with the reason."""
    closed, asleep, stuck, waits, first = (ann.upsert(title=title).id for title in "abcde")
    ann.close_item(closed)
    ann.snooze(asleep, "2026-06-01T00:00:00.000000Z")
    ann.move(stuck, "blocked")
    ann.link(first, "blocks", waits)
    for id, why in ((closed, "it is done"), (asleep, "it sleeps"), (stuck, "it is blocked"), (waits, "item blocks it")):
        with pytest.raises(NotAllowed, match=why):
            ann.work.claim(id)
    assert [item.id for item in ann.work.ready()] == [first]


def test_the_next_item_says_what_decided(ann: Backlog) -> None:
    """Priority first, then the due date, then for how many it makes way, then the id; each says so."""

    def decided() -> tuple[str, str]:
        choice = ann.work.next()
        assert choice is not None
        return choice.item.title, choice.decided_by

    assert ann.work.next() is None
    ids = {title: ann.upsert(title=title, priority="P2", dedupe_key=title).id for title in ("a", "b", "c")}
    first = min(ids, key=lambda title: ids[title])
    assert decided() == (first, "id")
    last = max(ids, key=lambda title: ids[title])
    waits = ann.upsert(title="waits", priority="P0").id
    ann.link(ids[last], "blocks", waits)
    assert decided() == (last, "unblocks")
    ann.upsert(title="due", priority="P2", due_date="2030-01-01")
    assert decided() == ("due", "due")
    ann.upsert(title="late", priority="P2", due_date="2020-01-01")
    assert decided() == ("late", "overdue")
    ann.upsert(title="urgent", priority="P1")
    assert decided() == ("urgent", "priority")
    ann.work.claim(ids[first])
    assert decided() == (first, "claimed")


def test_claiming_the_next_one_leaves_out_what_is_taken(ann: Backlog, bob: Backlog) -> None:
    """One call finds and takes; what others took is passed over, and an empty list is an answer."""
    urgent, other = ann.upsert(title="u", priority="P0").id, ann.upsert(title="o").id
    assert [ann.work.claim().id, bob.work.claim().id] == [urgent, other]
    assert (bob.work.claim().verdict, bob.work.claim().why) == ("unchanged", "nothing is ready")


def test_limits_of_work_in_progress_hold_for_claims_moves_and_owners(clock: StepClock) -> None:
    """What a name claims or owns in progress counts, in each env, whichever way it comes to it; reports never stop."""
    policy = Policy(wip=Wip(limits=(WipLimit(limit=2), WipLimit(limit=1, owner="ann", env="prod"))))
    backlog = Backlog(LocalExecutor(open_memory(), policy=policy), actor="ann", clock=clock, ids=CountingIds())
    first, second, third = (backlog.upsert(title=title, owner="ann").id for title in "abc")
    elsewhere = backlog.upsert(title="d", env="staging").id
    token = backlog.work.claim(first).token
    with pytest.raises(NotAllowed, match="the limit is 1"):
        backlog.work.claim(second)
    with pytest.raises(NotAllowed, match="the limit is 1"):
        backlog.move(second, "in_progress")
    assert backlog.work.claim(elsewhere).verdict == "claimed"
    backlog.edit(third, owner="bob")
    backlog.move(third, "in_progress")
    with pytest.raises(NotAllowed, match="the limit is 1"):
        backlog.edit(third, owner="ann")
    backlog.work.release(first, token)
    answer = backlog.execute(c.Bulk(bodies=(
        c.Move(id=first, to="in_progress"), c.Move(id=second, to="in_progress"),
    ), keep_going=True))  # fmt: skip
    assert [outcome.verdict for outcome in answer.outcomes] == ["updated", "refused"]


def test_no_limit_is_passed_by_another_env_or_by_adding(clock: StepClock) -> None:
    """
    What is worked on counts in the env that it goes to, claimed or owned, and so does what is added in progress.
    """
    policy = Policy(wip=Wip(limits=(WipLimit(limit=1),)))
    ann = Backlog(LocalExecutor(open_memory(), policy=policy), actor="ann", clock=clock, ids=CountingIds())
    owned, claimed, here = (ann.upsert(title=title, env=env, owner="ann", dedupe_key=title).id
                            for title, env in (("owned", "qa"), ("claimed", "dev"), ("here", "prod")))  # fmt: skip
    for id in (owned, here):
        ann.move(id, "in_progress")
    ann.work.claim(claimed)
    for id in (owned, claimed):
        with pytest.raises(NotAllowed, match="works on 1 item in prod already"):
            ann.edit(id, env="prod")
    with pytest.raises(NotAllowed, match="works on 1 item in prod already"):
        ann.execute(c.Create(draft=Draft(title="more", owner="ann"), status="in_progress"))
    clock.advance(2 * HOUR_S)
    assert ann.edit(claimed, env="prod").verdict == "updated"


def test_undoing_keeps_to_a_limit(clock: StepClock) -> None:
    """What was finished, given away or moved to another env does not come back over the limit by undoing that."""
    policy = Policy(wip=Wip(limits=(WipLimit(limit=1),)))
    ann = Backlog(LocalExecutor(open_memory(), policy=policy), actor="ann", clock=clock, ids=CountingIds())
    first, second = (ann.upsert(title=title, owner="ann").id for title in ("first", "second"))
    for change in (c.Close(id=first, reason="fixed"), c.Edit(id=first, fields={"owner": "bob"}),
                   c.Edit(id=first, fields={"env": "qa"}), c.Move(id=first, to="blocked")):  # fmt: skip
        ann.move(first, "in_progress")
        batch = ann.execute(change).batch
        ann.move(second, "in_progress")
        refused = ann.undo(batch).outcomes[0]
        assert (refused.verdict, refused.code) == ("refused", "not_allowed"), change
        assert "ann works on 1 item in prod already, and the limit is 1" in refused.why
        ann.move(second, "blocked")
        ann.move(second, "open")
        assert ann.undo(batch).outcomes[0].verdict == "updated"
        ann.move(first, "blocked")
        ann.move(first, "open")


def test_commands_decided_together_keep_to_a_limit(clock: StepClock) -> None:
    """Of several moves in one transaction each one sees those before it."""
    backlog = Backlog(LocalExecutor(open_memory()), actor="ann", clock=clock, ids=CountingIds())
    policy = Policy(wip=Wip(limits=(WipLimit(limit=1),)))
    first, second = (backlog.upsert(title=title, owner="ann").id for title in "ab")
    moves = [backlog.command(c.Move(id=id, to="in_progress")) for id in (first, second)]
    done, refused = backlog.read(lambda reader: decide_all(reader, moves, policy))
    assert isinstance(done, Decision)
    assert isinstance(refused, NotAllowed)
