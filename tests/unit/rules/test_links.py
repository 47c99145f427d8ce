"""
Links and what follows from them: who waits for whom, at any time, without looking for it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from backlog_store import Backlog
from backlog_store import commands as c
from backlog_store.access import Scope
from backlog_store.backends.memory import open_memory
from backlog_store.backends.port import DropRecord, Writer
from backlog_store.errors import NotAllowed
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Draft
from backlog_store.rules import decide
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import verify

DAY_S = 86_400


@pytest.fixture
def ann(machine: Backlog) -> Backlog:
    """A person."""
    return machine.acting_as("ann", person=True)


def _three(backlog: Backlog) -> tuple[str, str, str]:
    a, b, c = (backlog.upsert(title=title, dedupe_key=title, source="slo").id for title in "abc")
    return a, b, c


def _waits(backlog: Backlog, id: str) -> int:
    return backlog.get(id).blocked_by


def _drop(name: str, writer: Writer) -> None:
    writer.apply([DropRecord("link", name, 1)])


def _is_whole(backlog: Backlog) -> None:
    assert backlog.read(verify).faults == []


def test_an_item_waits_while_one_that_blocks_it_lives(ann: Backlog) -> None:
    """Closing the last live blocker, by whatever command, makes an item ready; reopening one makes it wait again."""
    a, b, x = _three(ann)
    ann.link(a, "blocks", x)
    ann.link(b, "blocks", x)
    assert (_waits(ann, x), ann.get(x).stage) == (2, "waiting")

    ann.move(a, "canceled")
    assert (_waits(ann, x), ann.get(x).stage) == (1, "waiting")
    ann.close_item(b)
    assert (_waits(ann, x), ann.get(x).stage) == (0, "open")
    ann.upsert(title="b", dedupe_key="b", source="slo")  # reported again: a machine reopens it

    assert (_waits(ann, x), ann.get(x).stage) == (1, "waiting")
    assert [event.type for event in ann.trail(x)] == [
        "created",
        "linked",
        "linked",
        "unblocked",
        "unblocked",
        "blocked",
    ]
    _is_whole(ann)


def test_a_link_from_a_closed_item_blocks_nothing_until_it_is_reopened(ann: Backlog) -> None:
    """A closed item blocks nobody, and parting it from what it blocked changes nothing either."""
    a, b, _ = _three(ann)
    ann.close_item(a)
    ann.link(a, "blocks", b)
    assert _waits(ann, b) == 0
    ann.reopen(a, "not done")
    assert _waits(ann, b) == 1
    ann.link(a, "blocks", b, remove=True)
    assert (_waits(ann, b), ann.get(b).links, ann.get(a).links) == (0, 0, 0)
    _is_whole(ann)


def test_everything_in_one_transaction_sees_what_came_before(ann: Backlog) -> None:
    """A bulk that links, closes and parts comes to what the single commands would."""
    a, b, x = _three(ann)
    ann.execute(c.Bulk(bodies=(
        c.Link(id=a, kind="blocks", other=x), c.Link(id=b, kind="blocks", other=x), c.Close(id=a),
        c.Link(id=b, kind="blocks", other=x, remove=True), c.Reopen(id=a, message="no"),
        c.Link(id=a, kind="relates", other=b),
    )))  # fmt: skip
    assert (_waits(ann, x), ann.get(a).links, ann.get(b).links, ann.get(x).links) == (1, 2, 1, 1)
    _is_whole(ann)


def test_what_a_bulk_frees_itself_is_nobody_elses_change(ann: Backlog) -> None:
    """Closing a blocker frees its dependant; closing that one next, as it was seen before, is no conflict."""
    a, b, x = _three(ann)
    ann.link(a, "blocks", b)
    seen = [ann.get(id) for id in (a, b, x)]
    ann.edit(x, owner="bob")
    answer = ann.execute(
        c.Bulk(bodies=tuple(c.Close(id=item.id, revision=item.revision) for item in seen), keep_going=True)
    )
    assert ["closed", "closed", "refused"] == [outcome.verdict for outcome in answer.outcomes]
    assert "revision_conflict" == answer.outcomes[2].code
    _is_whole(ann)


def test_a_bulk_that_names_an_item_twice_names_its_present_revision(ann: Backlog) -> None:
    """The second body stands on the first one: the revision from before is an old one by then."""
    a = ann.upsert(title="a").id
    answer = ann.execute(c.Bulk(keep_going=True, bodies=(
        c.Edit(id=a, fields={"owner": "bob"}, revision=1), c.Edit(id=a, fields={"owner": "eve"}, revision=1),
        c.Edit(id=a, fields={"owner": "dan"}, revision=2),
    )))  # fmt: skip
    assert ["updated", "refused", "updated"] == [outcome.verdict for outcome in answer.outcomes]
    assert "dan" == ann.get(a).owner


@pytest.mark.parametrize("kind", ["blocks", "parent", "caused_by"])
def test_no_cycle_leads_through_several_envs(ann: Backlog, kind: Any) -> None:
    """What orders work is free of cycles also where they lead through another env."""
    a = ann.upsert(title="a", env="prod").id
    b = ann.upsert(title="b", env="staging").id
    ann.link(a, kind, b)
    with pytest.raises(NotAllowed, match="cycle"):
        ann.link(b, kind, a)


def test_a_purge_parts_links_and_tells_the_other_end(ann: Backlog, clock: StepClock) -> None:
    """No link leads to what is not there any more, and what comes back under its old id blocks nobody."""
    a, b, x = _three(ann)
    ann.link(a, "blocks", x)
    ann.link(x, "relates", a)
    ann.link(a, "duplicates", b)
    ann.close_item(a)
    ann.close_item(b)
    clock.advance(200 * DAY_S)
    assert ann.cleanup(180) == 2
    assert (ann.links(x), ann.get(x).links, _waits(ann, x)) == ([], 0, 0)
    assert ann.upsert(title="a", dedupe_key="a", source="slo").id == a
    assert (ann.get(a).links, _waits(ann, x)) == (0, 0)
    _is_whole(ann)


def test_a_batch_of_links_is_undone_and_done_again(ann: Backlog) -> None:
    """Undo parts what was linked and links what was parted, at both ends; undoing that goes back again."""
    a, x, other = _three(ann)
    linked = ann.execute(c.Link(id=a, kind="blocks", other=x)).batch
    back = ann.undo(linked)
    assert [(outcome.verdict, outcome.id) for outcome in back.outcomes] == [("updated", a)]
    assert (ann.links(a), ann.links(x), _waits(ann, x)) == ([], [], 0)
    ann.undo(back.batch)
    assert (list(ann.links(x)), _waits(ann, x)) == ([("~blocks", a)], 1)
    parted = ann.execute(c.Link(id=a, kind="blocks", other=x, remove=True)).batch
    ann.undo(parted)
    assert _waits(ann, x) == 1
    assert ann.get(other).links == 0
    _is_whole(ann)


def test_undoing_a_close_makes_what_it_blocked_wait_again(ann: Backlog) -> None:
    """What followed from a batch follows again from its undoing, though somebody worked on the other item meanwhile."""
    a, x, _ = _three(ann)
    ann.link(a, "blocks", x)
    closed = ann.execute(c.Close(id=a)).batch
    ann.edit(x, title="worked on")
    answer = ann.undo(closed)
    assert [(outcome.verdict, outcome.id) for outcome in answer.outcomes] == [("updated", a)]
    assert (_waits(ann, x), ann.get(x).title) == (1, "worked on")
    _is_whole(ann)


def test_an_edit_can_be_undone_though_a_blocker_was_closed_since(ann: Backlog) -> None:
    """What only followed for an item is no change of it by somebody."""
    a, x, _ = _three(ann)
    ann.link(a, "blocks", x)
    edited = ann.execute(c.Edit(id=x, fields={"title": "wrong"})).batch
    ann.close_item(a)
    assert ann.undo(edited).outcomes[0].verdict == "updated"
    assert (ann.get(x).title, _waits(ann, x)) == ("b", 0)
    _is_whole(ann)


def test_a_link_that_was_changed_since_stays(ann: Backlog) -> None:
    """Undoing a link that somebody has parted already is refused with the reason."""
    a, x, _ = _three(ann)
    linked = ann.execute(c.Link(id=a, kind="blocks", other=x)).batch
    ann.link(a, "blocks", x, remove=True)
    (outcome,) = ann.undo(linked).outcomes
    assert (outcome.verdict, ann.links(a)) == ("refused", [])


def test_a_comment_stays_said(ann: Backlog) -> None:
    """Undo takes no words back."""
    a, _, _ = _three(ann)
    said = ann.execute(c.Comment(id=a, message="hello")).batch
    (outcome,) = ann.undo(said).outcomes
    assert outcome.verdict == "refused"
    assert "what was said stays said" in outcome.why


def test_a_blocker_out_of_sight_is_counted_all_the_same(machine: Backlog) -> None:
    """Who may only see one service still makes what waits elsewhere ready by closing a blocker, and never sees it."""
    ann = machine.acting_as("ann", person=True)
    a = ann.upsert(title="a", service="web").id
    x = ann.upsert(title="x", service="pay").id
    ann.link(a, "blocks", x)
    scope = Scope(role="worker", services=("web",))
    command = c.Command(body=c.Close(id=a), actor=ann.actor, at=ann.clock(), seed=ann.ids(), scope=scope)
    answer = ann.executor.execute(command)
    assert [outcome.id for outcome in answer.outcomes] == [a]
    assert _waits(ann, x) == 0
    _is_whole(ann)


def test_an_item_without_links_reads_nothing_more(ann: Backlog) -> None:
    """Closing and reporting an item without links asks the store for no link."""
    a, _, _ = _three(ann)
    asked: list[str] = []

    class Asked:
        def __init__(self, reader: Any) -> None:
            self.reader = reader

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(self.reader, name)

    for body in (c.Close(id=a), c.Report(drafts=(Draft(title="a2", dedupe_key="a", source="slo"),))):
        ann.read(lambda reader, body=body: decide(Asked(reader), ann.command(body)))  # type: ignore[misc]
    assert "items" in asked
    assert "scan" not in asked


def test_verify_finds_counts_that_links_do_not_explain(clock: StepClock) -> None:
    """The events of an item explain its counts, and the links prove them."""
    backend = open_memory()
    backlog = Backlog(LocalExecutor(backend), actor="scanner", clock=clock, ids=CountingIds())
    a, x, _ = _three(backlog)
    backlog.link(a, "blocks", x)
    backlog.link(x, "relates", a)
    _is_whole(backlog)
    for name in (f"{a}/blocks/{x}", f"{x}/~blocks/{a}"):
        backend.write(partial(_drop, name))
    assert sorted(backlog.read(verify).faults) == sorted(
        [
            f"{a}: counts 2 links, and has 1",
            f"{x}: counts 2 links, and has 1",
            f"{x}: counts 1 live items that block it; its links say 0",
            "links: items count 4, and 2 are there",
        ]
    )
