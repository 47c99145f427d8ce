"""
Plans: they show what would be done, and applying does exactly that, or refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import pytest
from msgspec.structs import replace

from backlog_store.backends.memory import open_memory
from backlog_store.backends.port import Backend, Change, DropRecord, Purge, PutRecord, Reader, Sighting, Trim, Writer
from backlog_store.backlog import Backlog
from backlog_store.commands import Answer, ApplyPolicy, BeginRun, Bulk, Command, CompleteRun, Edit, Report, RunScope
from backlog_store.errors import BackendUnavailable, PlanChanged
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import LIMITS, PRIORITIES, Draft, Event
from backlog_store.planning import Planner, keep_in_store, kept_in_store
from backlog_store.preview import digest_of
from backlog_store.query import ANY, EventQuery, ItemQuery, order_key
from backlog_store.rules.overlay import Overlay
from backlog_store.testing.clocks import START, CountingIds, StepClock
from backlog_store.testing.samples import Sampler, a_record, an_item, first, then


def drafts(*numbers: int, title: str = "finding") -> tuple[Draft, ...]:
    """
    Return the drafts of these findings.
    """
    return tuple(Draft(title=f"{title} {number}", service="checkout", source="ruff", dedupe_key=f"k{number}")
                 for number in numbers)  # fmt: skip


def events(backlog: Backlog) -> int:
    """
    Return how many events there are.
    """
    return len(backlog.events(EventQuery(limit=None)))


def test_a_plan_writes_nothing_and_applying_it_does_what_it_showed(machine: Backlog) -> None:
    """
    The outcomes of the plan are those of the application.
    """
    machine.execute(Report(drafts=drafts(1, 2)))
    planner = machine.planner()
    shown = planner.execute(Report(drafts=drafts(1, 3)))
    assert (shown.counts(), events(machine)) == ({"unchanged": 1, "created": 1}, 2)
    applied = machine.apply(planner.plan())

    assert [answer.counts() for answer in applied.answers] == [shown.counts()]
    assert events(machine) == 3
    machine.undo(applied.batch)
    item = machine.get_by_key("k3")
    assert item is not None
    assert item.status == "canceled"


def test_a_plan_is_right_across_chunks(machine: Backlog) -> None:
    """
    What one chunk creates is known to the next one: 3,000 keys said twice are 3,000 new problems, not 6,000.
    """
    planner = machine.planner()
    many = drafts(*range(3_000))
    size = LIMITS.drafts_per_command
    counts = [planner.execute(Report(drafts=part)).counts() for part in (many[:size], many[size:], many[:size])]

    assert counts == [{"created": 2_000}, {"created": 1_000}, {"unchanged": 2_000}]


def test_a_plan_shows_each_changed_field(machine: Backlog) -> None:
    """
    With its old and new value.
    """
    machine.execute(Report(drafts=drafts(1)))
    (planned,) = machine.planner().foresee(Report(drafts=drafts(1, title="reworded")))

    assert planned.changes["title"] == ("finding 1", "reworded 1")


def test_a_plan_applied_late_is_refused_with_what_changed(machine: Backlog, person: Backlog) -> None:
    """
    Nothing is written, in no chunk: all of them are looked at first.
    """
    machine.execute(Report(drafts=drafts(1, 2)))
    planner = machine.planner()
    planner.execute(Report(drafts=drafts(9)))
    planner.execute(Report(drafts=drafts(1, title="reworded")))
    plan = planner.plan()
    id = machine.get_by_key("k1").id
    person.close_item(id, "wont_fix")
    before = events(machine)
    with pytest.raises(PlanChanged, match=f"{id}: was updated .revision 2., is now suppressed"):
        machine.apply(plan)

    assert events(machine) == before


def test_sightings_in_between_do_not_spoil_a_plan(machine: Backlog, person: Backlog) -> None:
    """
    One more report of a known problem, or a comment, changes no decision that leaves the item as it is.
    """
    machine.execute(Report(drafts=drafts(1, 2)))
    planner = machine.planner()
    planner.execute(Report(drafts=drafts(1, 3)))
    plan = planner.plan()
    machine.execute(Report(drafts=drafts(1)))
    person.comment(machine.get_by_key("k1").id, "a word")

    assert machine.apply(plan).answers[0].counts() == {"unchanged": 1, "created": 1}


def test_a_plan_applied_twice_happens_once(machine: Backlog) -> None:
    """
    The second time nothing changes, and the answer says so.
    """
    planner = machine.planner()
    planner.execute(Report(drafts=drafts(1)))
    planner.execute(Bulk(bodies=()))
    plan = planner.plan()
    assert not machine.apply(plan).again
    before = events(machine)
    assert machine.apply(plan).again
    assert events(machine) == before


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_plan_that_shows_the_same_later_is_another_one(machine: Backlog, clock: StepClock, is_kept: bool) -> None:
    """
    A known problem that is planned and reported on three days is seen three times, also when the token is the same.
    """
    machine.execute(Report(drafts=drafts(1)))
    tokens, batches = set(), set()
    for days in (0, 1, 20):
        clock.advance(days * 86_400)
        planner = machine.planner()
        planner.execute(Report(drafts=drafts(1)))
        plan = planner.plan()
        if is_kept:
            keep_in_store(machine, plan)
            plan = kept_in_store(machine, plan.token)
        applied = machine.apply(plan)
        assert not applied.again
        once_more = machine.apply(plan)
        assert (once_more.again, once_more.batch) == (True, applied.batch)
        tokens.add(plan.token)
        batches.add(applied.batch)

    assert (len(tokens), len(batches)) == (1, 3)
    item = machine.get_by_key("k1")
    assert item is not None
    assert machine.occurrences(item) == 4


def test_a_plan_that_was_applied_half_way_goes_on(machine: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a crash between two chunks, applying again does only what is missing.
    """
    planner = machine.planner()
    planner.execute(Report(drafts=drafts(1)))
    planner.execute(Report(drafts=drafts(2)))
    plan = planner.plan()
    answers: list[Answer] = []

    def execute_once(command: Command) -> Answer:
        if answers:
            raise BackendUnavailable("memory", "write", "it is gone")
        answers.append(execute(command))
        return answers[0]

    execute = machine.executor.execute
    with monkeypatch.context() as stopping:
        stopping.setattr(machine.executor, "execute", execute_once)
        with pytest.raises(BackendUnavailable):
            machine.apply(plan)
    applied = machine.apply(plan)

    assert [answer.replayed for answer in applied.answers] == [True, False]


def test_a_plan_is_bound_to_the_policy_in_force(machine: Backlog, person: Backlog) -> None:
    """
    Under another policy the same commands may mean something else.
    """
    planner = machine.planner()
    planner.execute(Report(drafts=drafts(1)))
    plan = planner.plan()
    person.execute(ApplyPolicy(text="closing: {misses: 3}", over=0))
    with pytest.raises(PlanChanged, match="the policy in force is revision 1, the plan was made under revision 0"):
        machine.apply(plan)


def test_sentry_80365_a_bulk_action_hits_what_was_shown(machine: Backlog, person: Backlog) -> None:
    """
    A command that names what it expects is refused in its own transaction if it would do anything else.
    """
    machine.execute(Report(drafts=drafts(1, 2)))
    ids = [item.id for item in machine.each()]
    planner = person.planner()
    planner.execute(Bulk(bodies=tuple(Edit(id=id, fields={"priority": "P0"}) for id in ids), keep_going=True))
    (step,) = planner.plan().steps
    machine.comment(ids[1], "somebody was here")
    with pytest.raises(PlanChanged):
        person.execute(step.body, expect=digest_of(step.decisions))
    assert {item.priority for item in machine.each()} == {"P2"}


def test_a_whole_run_can_be_planned(machine: Backlog, clock: StepClock) -> None:
    """
    What would be closed for its absence is shown before anything is written, with the same decisions.
    """
    for numbers in ((1, 2, 3), (1, 2)):
        clock.advance(86_400)
        run = machine.begin_run("ruff", services=["checkout"])
        list(run.report(drafts(*numbers)))
        run.complete()
    clock.advance(86_400)
    planner = machine.planner()
    scope = RunScope(services=("checkout",))
    begun = planner.execute(BeginRun(source="ruff", scope=scope, name="planned")).outcomes[0]
    planner.execute(Report(drafts=drafts(1, 2, 4), run=begun.id))
    ended = planner.execute(CompleteRun(run=begun.id, source="ruff"))
    assert [(outcome.verdict, outcome.item.title) for outcome in ended.outcomes[1:] if outcome.item] == [
        ("closed", "finding 3")
    ]
    assert [id for id, _ in machine.runs() if id == begun.id] == []

    applied = machine.apply(planner.plan())
    assert applied.answers[2].counts() == {"completed": 1, "closed": 1}


@pytest.mark.parametrize("seed", range(30))
def test_the_view_of_a_plan_is_that_of_the_store_after_it(seed: int) -> None:
    """
    Every read of an overlay says what the same read says once its changes are applied.
    """
    sampler = Sampler(seed)
    rng = sampler.rng
    some = sampler.items(30)
    base = [first(item) for item in some[:20]]
    changed = [then(item, title="changed", priority=rng.choice(PRIORITIES)) for item in some[:8]]
    later: list[Change] = [*changed, Purge(some[9].id, 1), *(first(item) for item in some[20:])]
    below, after = open_memory(), open_memory()
    below.write(lambda writer: writer.apply(base))
    after.write(lambda writer: writer.apply(base))
    after.write(lambda writer: writer.apply(later))
    over = Overlay()
    over.absorb(later)
    order: Any = rng.choice(("priority", "due", "created", "updated", "closed", "id"))
    where = sampler.where(some) if rng.random() < 0.7 else ANY
    query = ItemQuery(where=where, order=order, limit=rng.choice((1, 3, 7)), descending=rng.random() < 0.5)

    def ask(reader: Reader) -> Any:
        asked = query
        pages = []
        while page := list(reader.search(asked)):
            pages.append(page)
            asked = replace(asked, after=order_key(page[-1], order))
        keys = [item.key for item in some if item.key]
        return (pages, reader.search(replace(query, offset=2)), reader.search(replace(query, limit=None)),
                reader.items([item.id for item in some]), reader.items_by_key(keys),
                reader.tally(where, ("status", "env")))  # fmt: skip

    assert after.read(ask) == below.read(lambda reader: ask(over.on(reader)))


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_the_records_of_a_plan_are_those_of_the_store_after_it(limit: int) -> None:
    """
    Written, dropped and counted ones, by id and in order.
    """
    items = [first(an_item(f"bl_{number}")) for number in range(3)]
    base: list[Change] = [*items, *(PutRecord(a_record(f"r{number}")) for number in range(0, 12, 2)),
                          Sighting("bl_0", "a", START, START, 2, "r1")]  # fmt: skip
    later: list[Change] = [
        *(PutRecord(a_record(f"r{number}")) for number in range(1, 12, 2)),
        DropRecord("view", "r4", 1),
        PutRecord(a_record("r2", revision=2, x=1)),
        Sighting("bl_0", "a", START, START, 1, "r2"),
        Sighting("bl_1", "b", START, START, 1, "r2"),
    ]
    below, after = open_memory(), open_memory()
    below.write(lambda writer: writer.apply(base))
    after.write(lambda writer: writer.apply(base))
    after.write(lambda writer: writer.apply(later))
    over = Overlay()
    over.absorb(later)

    def ask(reader: Reader) -> Any:
        scans = [reader.scan(kind, prefix, start, limit) for kind in ("view", "sighting")
                 for prefix in ("", "r", "r1", "bl_0/") for start in ("", "r2", "r3")]  # fmt: skip
        named = ("r0", "r1", "r2", "r4", "no")
        return scans, reader.records("view", named), reader.records("sighting", ("bl_0/a", "bl_1/b", "bl_2/c"))

    assert after.read(ask) == below.read(lambda reader: ask(over.on(reader)))


def _apply(changes: Sequence[Change], writer: Writer) -> None:
    writer.apply(changes)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 2, None])
def test_what_a_plan_forgets_is_not_in_its_view(limit: int | None, newest_first: bool) -> None:
    """
    Events of purged items and of shortened histories, and the reports that a purged item had.
    """
    puts = [first(an_item(f"bl_{number}")) for number in range(3)]
    again = [then(put.item, title="again") for put in puts]
    seen = [Sighting(f"bl_{number}", "a", START, START, 2, "r1") for number in range(3)]
    base: list[list[Change]] = [[*puts, *seen], [*again]]
    later: list[list[Change]] = [
        [then(again[0].item, title="third"), Purge("bl_1", 2), Trim("bl_2", 2)], [Trim("bl_0", 3)],
    ]  # fmt: skip
    below, after, over = open_memory(), open_memory(), Overlay()

    def put(store: Backend, lists: Sequence[Sequence[Change]]) -> None:
        for changes in lists:
            store.write(partial(_apply, changes))

    put(below, base)
    put(after, [*base, *later])
    for changes in later:
        over.absorb(changes)

    def ask(reader: Reader) -> Any:
        asked = EventQuery(limit=limit, newest_first=newest_first)
        found = [reader.events(asked), *(reader.events(replace(asked, item_ids=(f"bl_{n}",))) for n in range(3))]
        sighted = (reader.records("sighting", ("bl_0/a", "bl_1/a")), reader.scan("sighting", "", "", limit or 10))
        return [[event.id for event in page] for page in found], sighted

    assert after.read(ask) == below.read(lambda reader: ask(over.on(reader)))


def test_a_view_that_forgets_asks_for_no_more_than_it_needs() -> None:
    """
    The newest event is one event of the store, however much lies below.
    """
    below, over = open_memory(), Overlay()
    for number in range(20):
        below.write(partial(_apply, [first(an_item(f"bl_{number}"))]))
    over.absorb([Purge("bl_0", 1)])
    asked: list[int | None] = []

    class Counted:
        def __init__(self, reader: Reader) -> None:
            self._reader = reader

        def events(self, query: EventQuery) -> Sequence[Event]:
            asked.append(query.limit)
            return self._reader.events(query)

    query = EventQuery(newest_first=True, limit=1)
    [newest] = below.read(lambda reader: over.on(cast(Reader, Counted(reader))).events(query))
    assert (newest.item_id, asked) == ("bl_19", [1])


def test_planners_of_several_actors_share_one_view() -> None:
    """
    What one source would create is known when the other one is decided.
    """
    backlog = Backlog(LocalExecutor(open_memory()), clock=StepClock(), ids=CountingIds())
    planner = Planner(backlog)
    planner.acting_as("ruff").execute(Report(drafts=drafts(1)))
    assert planner.acting_as("bandit").execute(Report(drafts=drafts(1))).counts() == {"unchanged": 1}
    assert [step.actor.name for step in planner.plan().steps] == ["ruff", "bandit"]


def test_only_in_reports_a_plan_speaks_for_a_machine() -> None:
    """
    Whatever a plan says of who else acts, it is who applies it: a plan may be written by hand.
    """
    backlog = Backlog(LocalExecutor(open_memory()), clock=StepClock(), ids=CountingIds())
    [(_, outcome)] = backlog.report(drafts(1))
    planner = Planner(backlog)
    planner.acting_as("ruff").execute(Report(drafts=drafts(2)))
    planner.acting_as("somebody").execute(Edit(id=outcome.id, fields={"owner": "bo"}))
    backlog.acting_as("ann", person=True).apply(planner.plan())
    assert [event.actor for event in backlog.trail(outcome.id) if event.type == "edited"] == ["ann"]
    assert {event.actor for event in backlog.events(EventQuery(types=("created",)))} == {"library", "ruff"}
