"""
Any day from the year 1 to 9999 is taken: what counts from it, in any calendar, stops at the ends and breaks nothing.
"""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Cli

STEPS = "[{name: nudge, untouched_hours: 1}, {name: late, overdue_hours: 0}, {name: years late, overdue_hours: 80000}]"
POLICY = f"""
calendars:
  named:
    east: {{zone: Pacific/Kiritimati, days: [mon, tue, wed, thu, fri, sat, sun], hours: ["00:00-24:00"]}}
    west: {{zone: Etc/GMT+12}}
due:
  rules:
    - {{name: century, days: 36500, calendar: west}}
    - {{name: years of work, when: {{category: worked}}, business_days: 5000, calendar: east}}
    - {{name: plain, when: {{category: plain}}, days: 36500}}
sla:
  targets:
    - {{name: ten years, first_move_hours: 4, close_hours: 80000, calendar: west, pauses: [snoozed, blocked]}}
    - {{name: all hours, when: {{category: plain}}, close_hours: 80000}}
escalation:
  rules:
    - {{name: east, calendar: east, steps: {STEPS}}}
    - {{name: west, when: {{category: worked}}, calendar: west, steps: {STEPS}}}
    - {{name: any, when: {{category: plain}}, steps: {STEPS}}}
activation:
  rules:
    - {{name: twice, when: {{category: rare}}, sightings: 2, within_hours: 24, close_below: 1, close_hours: 72}}
"""
DAYS = ("9999-12-31", "9999-12-30", "0001-01-01")
CATEGORIES = ("any", "worked", "plain", "rare")


@pytest.fixture
def ruled(cli: Cli) -> Cli:
    """
    A store under a policy that counts days and hours in the zones that are farthest from UTC.
    """
    cli("init")
    (cli.folder / "policy.yaml").write_text(POLICY)
    cli("policy", "apply", "policy.yaml", "-y")
    return cli


def look(cli: Cli, ids: list[str]) -> None:
    """
    Look at everything that tells of dates: none of it may fail.
    """
    for id in ids:
        cli("show", id)
        cli("policy", "explain", id)
        assert id == cli.json("show", id)["id"]
    for command in ("list", "dashboard", "digest", "ready", "stats", "log", "verify", "doctor", "cleanup"):
        cli(command, *(("--dry-run",) if command == "cleanup" else ()))
    for form in ("html", "md", "text"):
        cli("digest", "--format", form)
    for query in ("due:9999-12-31", "due:>=9999-12-31", "due:0001-01-01..9999-12-31", "created:>9999-12-30"):
        cli("list", query)
    cli("next", expect=None)


@pytest.mark.parametrize("day", DAYS)
def test_a_due_date_at_an_end_of_the_calendar_can_be_worked_with(ruled: Cli, day: str) -> None:
    """It is listed, shown, counted and escalated: one in the year 1 is late, one in the year 9999 is not."""
    ids = [ruled.add(f"in {name}", "--category", name, "--due", day) for name in CATEGORIES]
    look(ruled, ids)
    overdue = ruled.ids("is:overdue")
    assert sorted(ids) == sorted(overdue) if day < "2000" else [] == overdue
    fired = [one["step"] for one in ruled.json("escalate")]
    assert fired.count("late") == len(overdue)
    look(ruled, ids)


@pytest.mark.parametrize("observed", ["9999-12-31T23:59:59.999999Z", "9999-12-30", "0001-01-01"])
def test_a_report_of_an_end_of_the_calendar_gets_a_due_date_in_it(ruled: Cli, observed: str) -> None:
    """Counted on from the last days, an item is due on the last day; nothing of the batch is lost."""
    drafts = [{"title": name, "dedupe_key": name, "source": "s", "category": name, "observed_at": observed}
              for name in CATEGORIES for _ in range(2)]  # fmt: skip
    ruled("report", "-", "--format", "ndjson", input="\n".join(map(json.dumps, drafts)))
    rows = ruled.json("list", "--fields", "id,due_date,category")
    assert sorted(CATEGORIES) == sorted(row["category"] for row in rows)
    assert all(row["due_date"] == "9999-12-31" if observed > "9" else row["due_date"] < "0200" for row in rows)
    look(ruled, [row["id"] for row in rows])


def test_what_lasts_until_the_last_day_lasts(ruled: Cli) -> None:
    """Sleep and a hold may end with the calendar; a risk is accepted no longer than the policy has it."""
    ids = [ruled.add(f"until then {n}", "--due", "2026-03-01") for n in range(2)]
    accept = ("accept", ids[1], "--by", "bob", "-m", "never mind", "-y", "--until")
    assert "at most 366 days ahead" in ruled(*accept, "9999-12-31", expect=2).stderr
    ruled("snooze", ids[0], "9999-12-31T23:59:59.999999Z", "-y")
    ruled("edit", ids[1], "--priority", "P0", "--hold-until", "9999-12-31T23:59:59.999999Z", "-y")
    look(ruled, ids)


@pytest.mark.parametrize("text", ["9999-12-31T23:00-05:00", "0001-01-01T00:00+14:00"])
def test_what_is_outside_the_calendar_in_utc_is_refused_with_its_reason(ruled: Cli, text: str) -> None:
    """An evening of the last day in New York is in the year 10000 in UTC: told as a date that does not exist."""
    draft = json.dumps({"title": "a", "dedupe_key": "a", "source": "s", "observed_at": text})
    refused = ruled("report", "-", "--format", "ndjson", input=draft, expect=1)
    assert "not a date and time" in refused.stdout + refused.stderr
    id = ruled.add("one")
    for args in (("snooze", id, text), ("edit", id, "--due", text), ("list", f"created:{text}")):
        assert "does not exist" in ruled(*args, expect=2).stderr
