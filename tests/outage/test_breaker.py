"""
The breaker: a pure state machine.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backlog_store.executors.failover.breaker import PAUSE_MAX_S, Breaker

INPUTS = {
    "failed": Breaker.failed, "answered": Breaker.answered, "accepted": Breaker.accepted, "drained": Breaker.drained,
}  # fmt: skip


def test_it_begins_not_knowing_and_probes_at_once() -> None:
    """At the start nothing goes to the primary, and the first probe is due."""
    breaker = Breaker()
    assert not breaker.is_direct
    assert breaker.due_in(0.0) == 0.0


def test_what_was_accepted_goes_first() -> None:
    """After an outage commands go directly only once the spool was drained."""
    answered = Breaker().failed(0.0).answered(1.0)
    assert (answered.state, answered.is_direct) == ("replaying", False)
    assert answered.drained(2.0).is_direct


def test_what_another_process_accepted_goes_first_too() -> None:
    """A command that waits takes an executor that is up back to replaying."""
    up = Breaker().answered(0.0).drained(0.0)
    assert up.accepted(5.0) == Breaker(state="replaying", since=5.0)


def test_pauses_between_probes_grow_to_a_limit() -> None:
    """A primary that stays away is asked ever less often, but never less than once in the longest pause."""
    breaker, pauses = Breaker(), []
    for _ in range(20):
        breaker = breaker.failed(0.0)
        pauses.append(breaker.due_in(0.0))
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[3] < pauses[-1] == PAUSE_MAX_S


def test_a_probe_that_succeeds_before_a_drain_that_fails_does_not_shorten_the_pauses() -> None:
    """A primary that answers and takes nothing is not hammered: only a drain that ended forgets the failures."""
    breaker = Breaker()
    for _ in range(10):
        breaker = breaker.failed(0.0).answered(0.0)
    assert breaker.failed(0.0).due_in(0.0) == PAUSE_MAX_S
    assert breaker.drained(0.0).failed(0.0).due_in(0.0) < PAUSE_MAX_S


@given(st.lists(st.tuples(st.sampled_from(sorted(INPUTS)), st.floats(0, 3)), max_size=60))
def test_no_way_leads_around_the_replay(happened: list[tuple[str, float]]) -> None:
    """Whatever happens, nobody gets from degraded to up but through replaying; `since` is when the state began."""
    breaker, now, entered = Breaker(), 0.0, 0.0
    for name, later in happened:
        now += later
        before, breaker = breaker, INPUTS[name](breaker, now)
        if before.state == "degraded":
            assert breaker.state in {"degraded", "replaying"}
        if breaker.state != before.state:
            entered = now
        assert breaker.since == entered
