"""
Dates near the ends of the calendar, in any zone and by any count: what the rules make of them is a date, and ordered.
"""

from __future__ import annotations

from datetime import date

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import is_day, is_instant
from backlog_store.rules.escalating import steps_of
from backlog_store.rules.policies import policy_in_force
from backlog_store.rules.sla import sla_of
from backlog_store.testing.clocks import CountingIds, StepClock

ZONES = ("Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin", "UTC")
DAYS = st.dates(max_value=date(1, 1, 9)) | st.dates(min_value=date(9999, 12, 23)) | st.dates()


@settings(max_examples=25, deadline=None)
@given(DAYS, DAYS, st.sampled_from(ZONES), st.integers(0, 5_000), st.integers(0, 36_500), st.integers(0, 80_000))
@example(date.max, date.max, "Etc/GMT+12", 5_000, 36_500, 80_000)
@example(date.min, date.min, "Pacific/Kiritimati", 0, 0, 0)
def test_any_date_that_is_taken_can_be_counted_from(
    seen: date, due: date, zone: str, business_days: int, days: int, hours: int
) -> None:
    """A later sighting is due no earlier, clocks and steps have instants or none, and the counts agree."""
    policy = f"""
calendars: {{named: {{c: {{zone: {zone}}}}}}}
due:
  rules:
    - {{name: d, days: {days}}}
    - {{name: b, when: {{category: b}}, business_days: {business_days}, calendar: c}}
sla: {{targets: [{{name: t, close_hours: {hours + 1}, calendar: c}}]}}
escalation: {{rules: [{{name: e, calendar: c, steps: [{{name: late, overdue_hours: {hours}}}]}}]}}
"""
    clock = StepClock()
    with Backlog(LocalExecutor(open_memory()), actor="scanner", clock=clock, ids=CountingIds()) as backlog:
        person = backlog.acting_as("ann", person=True)
        person.apply_policy(policy, over=0)
        for number, day in enumerate(sorted((seen, due))):
            for category in ("a", "b"):
                key, at = f"{category}{number}", f"{day}T12:00:00.000000Z"
                backlog.upsert(title=key, dedupe_key=key, category=category, source="s", observed_at=at)
        named = backlog.upsert(title="named", dedupe_key="named", source="s", due_date=due.isoformat()).id
        found = {item.title: item for item in backlog.each()}
        assert all(is_day(item.due_date) for item in found.values())
        assert found["a0"].due_date <= found["a1"].due_date
        assert found["b0"].due_date <= found["b1"].due_date
        in_force = backlog.read(policy_in_force)
        for item in found.values():
            trail = backlog.trail(item.id)
            ends = [target.ends_at for target in sla_of(item, trail, in_force, clock())]
            ends += [step.ends_at for step in steps_of(item, trail, in_force, clock())]
            assert all(not end or is_instant(end) for end in ends)
        overdue = {item.id for item in found.values() if item.due_date < clock()[:10]}
        assert {item.id for item, _ in backlog.work.due_steps()} == (overdue if hours == 0 else set())
        assert (named in overdue) == (due.isoformat() < clock()[:10])
        assert backlog.weekly().overdue.count == backlog.dashboard().overdue_count == len(overdue)
