"""
Merging and splitting identities: rules that stick, lose nothing, and can be taken back.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from backlog_store import Backlog
from backlog_store import commands as c
from backlog_store.access import Scope
from backlog_store.backends.port import Writer
from backlog_store.codec import from_builtins
from backlog_store.errors import InvalidInput, NotAllowed, NotFound
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import KeyState, key_record_id
from backlog_store.policy import DEFAULT_POLICY
from backlog_store.query import EventQuery
from backlog_store.rules.view import Context
from backlog_store.testing.clocks import StepClock


def _up(backlog: Backlog, key: str, **more: Any) -> str:
    return backlog.upsert(title=key, dedupe_key=key, source=more.pop("source", "slo"), **more).id


def _merge(backlog: Backlog, *ids: str, into: str) -> c.Answer:
    return backlog.execute(c.Merge(ids=ids, into=into, message="one cause"))


def _split(backlog: Backlog, key: str, *, lift: bool = False) -> c.Answer:
    return backlog.execute(c.Split(env="prod", dedupe_key=key, lift=lift, message="two causes"))


def _state(backlog: Backlog, key: str) -> KeyState:
    id = key_record_id(("prod", key))
    return from_builtins(backlog.read(lambda reader: reader.records("key", [id]))[id].body, KeyState)


def test_sentry_84590_a_merge_sticks(machine: Backlog, person: Backlog) -> None:
    """However often a merged problem is reported, under whichever key, it reaches the one item."""
    a, b = _up(machine, "a"), _up(machine, "b")
    answer = _merge(person, a, into=b)
    assert [outcome.verdict for outcome in answer.outcomes] == ["closed", "updated"]
    for key in ("a", "b", "a"):
        assert machine.upsert(title="again", dedupe_key=key, source="slo").id == b
    assert (machine.get(a).status, machine.get(a).closed_reason, machine.get(a).duplicate_of) == (
        "canceled", "duplicate", b,
    )  # fmt: skip
    machine.close_item(b)
    assert machine.upsert(title="again", dedupe_key="a", source="slo").verdict == "reopened"
    assert machine.get(b).episode == 2


def test_two_keys_of_one_item_do_not_take_turns_in_renaming_it(machine: Backlog, person: Backlog) -> None:
    """The item is called what the reports of its own key say; the same two reports again write no event."""
    a, b = _up(machine, "a", tags=["db"]), _up(machine, "b", priority="P3")
    _merge(person, a, into=b)
    count = len(machine.events(EventQuery(limit=None)))
    for key in ("a", "b", "a", "b"):
        more: dict[str, Any] = {"tags": ["db"]} if key == "a" else {"priority": "P3"}
        assert machine.upsert(title=key, dedupe_key=key, source="slo", **more).verdict == "unchanged"
    assert len(machine.events(EventQuery(limit=None))) == count
    assert (machine.get(b).title, machine.get(b).priority) == ("b", "P2")
    news = machine.upsert(title="other words", dedupe_key="a", source="pagerduty", priority="P1", tags=["api"])
    assert (news.id, news.verdict) == (b, "updated")
    one = machine.get(b)
    assert (one.title, one.priority, one.tags) == ("b", "P1", ("api", "db"))
    assert (sorted(one.claims), sorted(one.claims_under["a"])) == (["slo"], ["pagerduty", "slo"])


def test_sentry_58815_a_split_sticks(machine: Backlog, person: Backlog) -> None:
    """A key that was split off is its own item's again, and no later merge joins the two, under any of their names."""
    a, b, x = _up(machine, "a"), _up(machine, "b"), _up(machine, "x")
    _merge(person, a, into=b)
    _split(person, "a")
    again = machine.upsert(title="again", dedupe_key="a", source="slo")
    assert (again.id, again.verdict) == (a, "reopened")
    with pytest.raises(NotAllowed, match="'a' was split from 'b'"):
        _merge(person, a, into=b)
    with pytest.raises(NotAllowed, match="'a' was split from 'b'"):
        _merge(person, b, into=a)
    _merge(person, b, into=x)
    with pytest.raises(NotAllowed, match="'a' was split from 'b'"):
        _merge(person, x, into=a)
    _split(person, "a", lift=True)
    _merge(person, a, into=x)
    assert machine.upsert(title="again", dedupe_key="a", source="slo").id == x


def test_keep_6793_nothing_of_a_merged_item_is_lost(machine: Backlog, person: Backlog) -> None:
    """The one item has the evidence, tags, claims, priority and links of both; the other keeps its own trail."""
    a = _up(machine, "a", source="pagerduty", tags=["db"], priority="P0", evidence_refs={"runs": ["1"]})
    b = _up(machine, "b", tags=["api"], priority="P2", evidence_refs={"runs": ["2"], "logs": ["x"]})
    x = _up(machine, "x")
    person.link(a, "blocks", x)
    trail = [event.id for event in machine.events(EventQuery(item_ids=(a,)))]
    _merge(person, a, into=b)
    one = machine.get(b)
    assert one.tags == ("api", "db")
    assert sorted(one.evidence_refs["runs"]) == ["1", "2"]
    assert one.evidence_refs["logs"] == ["x"]
    assert (list(one.claims), list(one.claims_under["a"]), one.priority) == (["slo"], ["pagerduty"], "P0")
    assert machine.get(x).blocked_by == 1
    assert [event.id for event in machine.events(EventQuery(item_ids=(a,)))][: len(trail)] == trail


def test_defectdojo_12397_a_false_merge_can_be_taken_back_whole(machine: Backlog, person: Backlog) -> None:
    """Undoing a merge leaves both items as they were: keys, status, tags, evidence and links."""
    a, b = _up(machine, "a", tags=["db"], evidence_refs={"runs": ["1"]}), _up(machine, "b")
    x = _up(machine, "x")
    person.link(a, "relates", x)
    before = [machine.get(id) for id in (a, b)]
    batch = _merge(person, a, into=b).batch
    assert {outcome.verdict for outcome in person.undo(batch).outcomes} == {"updated"}
    for was, now in zip(before, [machine.get(id) for id in (a, b)], strict=True):
        for name in ("status", "dedupe_key", "tags", "evidence_refs", "priority", "duplicate_of", "links"):
            assert getattr(now, name) == getattr(was, name)
    assert machine.upsert(title="a", dedupe_key="a", source="slo").id == a
    assert _state(machine, "b").aliases == ()


def test_gitlab_558131_a_dismissal_survives_merging_and_splitting(machine: Backlog, person: Backlog) -> None:
    """What was judged stays judged: neither a merge nor a split lets a dismissed problem come back as new."""
    a, b = _up(machine, "a"), _up(machine, "b")
    person.close_item(a, "wont_fix", message="never")
    person.close_item(b, "false_positive", message="no")
    _merge(person, a, into=b)
    assert machine.get(a).closed_reason == "wont_fix"
    assert machine.upsert(title="a", dedupe_key="a", source="slo").verdict == "suppressed"
    _split(person, "a")
    again = machine.upsert(title="a", dedupe_key="a", source="slo")
    assert (again.verdict, again.id, again.why) == ("suppressed", a, "closed as wont_fix")


def test_codeql_15218_a_renamed_key_keeps_its_decision(machine: Backlog, person: Backlog) -> None:
    """A key that is given another form is the same identity: what was decided about it holds for both."""
    a = _up(machine, "v1:a")
    person.close_item(a, "wont_fix", message="never")
    person.edit(a, dedupe_key="v2:a")
    assert _state(machine, "v2:a").verdict is not None
    assert _state(machine, "v2:a").aliases == ("v1:a",)
    for key in ("v1:a", "v2:a"):
        assert machine.upsert(title="a", dedupe_key=key, source="slo").verdict == "suppressed"


def test_gitlab_371399_a_split_alias_opens_an_item_of_its_own(machine: Backlog, person: Backlog) -> None:
    """A name that no item ever held by itself gets a new item once it is cut off; the other one is left as it is."""
    a = _up(machine, "old")
    person.edit(a, dedupe_key="new")
    outcome = _split(person, "old").outcomes[0]
    assert (outcome.id, outcome.why) == (a, "the next report of old opens an item of its own")
    fresh = machine.upsert(title="old", dedupe_key="old", source="slo")
    assert fresh.verdict == "created"
    assert fresh.id != a
    with pytest.raises(NotAllowed):
        _merge(person, fresh.id, into=a)


@pytest.mark.parametrize("left", [{"env": "staging"}, {"dedupe_key": ""}])
def test_a_name_is_split_off_a_key_whose_item_has_left_it(
    machine: Backlog, person: Backlog, left: dict[str, Any]
) -> None:
    """The history of that item is none of the key's any more: it stays whole, and the name opens an item of its own."""
    a = _up(machine, "a")
    person.edit(a, dedupe_key="b")
    person.edit(a, **left)
    count = len(machine.trail(a))
    _split(person, "a")
    assert len(machine.trail(a)) == count
    assert len({a, _up(machine, "a"), _up(machine, "b")}) == 3


def test_what_was_merged_away_and_moved_to_another_env_gets_no_key_there(machine: Backlog, person: Backlog) -> None:
    """A key is one of an env: split off, it is given back to nothing in another one, whose own problem it may be."""
    a, b, other = _up(machine, "a"), _up(machine, "b"), _up(machine, "a", env="staging")
    _merge(person, a, into=b)
    person.edit(a, env="staging")
    _split(person, "a")
    assert machine.get(a).dedupe_key == ""
    assert _up(machine, "a", env="staging") == other
    assert _up(machine, "a") not in (a, b, other)


def test_what_was_merged_away_takes_in_nothing_of_what_it_went_into(machine: Backlog, person: Backlog) -> None:
    """Two items without keys are not merged into each other: none of them would be left."""
    one, two = machine.upsert(title="one").id, machine.upsert(title="two").id
    _merge(person, one, into=two)
    with pytest.raises(NotAllowed, match=f"{one} is itself closed as a duplicate of {two}"):
        _merge(person, two, into=one)
    assert machine.get(two).status == "open"


def test_a_machine_splits_nothing_that_a_person_merged(machine: Backlog, person: Backlog) -> None:
    """A merge of a person sticks against machines, as it does against reports."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    with pytest.raises(NotAllowed, match="ann holds it"):
        _split(machine, "a")
    assert _up(machine, "a") == b
    _split(person, "a")
    assert _up(machine, "a") == a


def test_a_split_can_be_undone(machine: Backlog, person: Backlog) -> None:
    """Undoing a split joins the two again as they were, whether an item got its key back or not."""
    a, b = _up(machine, "a"), _up(machine, "b")
    person.edit(b, dedupe_key="b2")
    _merge(person, a, into=b)
    for key in ("a", "b"):
        state = _state(machine, key)
        batch = _split(person, key).batch
        assert "refused" not in {outcome.verdict for outcome in person.undo(batch).outcomes}
        assert _state(machine, key) == state
        assert machine.upsert(title="again", dedupe_key=key, source="slo").id == b
    assert set(_state(machine, "b2").aliases) == {"a", "b"}


def test_names_go_with_what_they_lead_to(machine: Backlog, person: Backlog) -> None:
    """A key that is split off takes the names that lead to it along; the others stay."""
    a, b, x = _up(machine, "a"), _up(machine, "b"), _up(machine, "x")
    _merge(person, a, into=b)
    _merge(person, b, into=x)
    assert machine.upsert(title="again", dedupe_key="a", source="slo").id == x
    _split(person, "b")
    assert machine.upsert(title="again", dedupe_key="a", source="slo").id == b
    assert machine.upsert(title="again", dedupe_key="x", source="slo").id == x


def test_a_merged_key_outlives_its_items(machine: Backlog, person: Backlog) -> None:
    """After both items are purged, a report of the merged key returns under the id of the one merged into."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    person.close_item(b, "fixed")
    assert machine.cleanup(0) == 2
    assert machine.upsert(title="again", dedupe_key="a", source="slo").id == b
    person.close_item(b, "fixed")
    machine.cleanup(0)
    _split(person, "a")
    fresh = machine.upsert(title="again", dedupe_key="a", source="slo")
    assert fresh.verdict == "created"
    assert fresh.id not in (a, b)


def test_impossible_merges_and_splits_say_why(machine: Backlog, person: Backlog) -> None:
    """What cannot be merged or split is refused with its reason, and nothing is written."""
    a, b = _up(machine, "a"), _up(machine, "b")
    other = machine.upsert(title="s", env="staging", dedupe_key="a").id
    bare = machine.upsert(title="no key").id
    count = len(machine.events(EventQuery(limit=None)))
    with pytest.raises(InvalidInput, match="into itself"):
        _merge(person, a, into=a)
    with pytest.raises(InvalidInput):
        _merge(person, into=a)
    with pytest.raises(NotAllowed, match="a key is one of an env"):
        _merge(person, a, into=other)
    with pytest.raises(NotAllowed, match="has no key"):
        _merge(person, a, into=bare)
    with pytest.raises(NotAllowed, match="a key is one of an env"):
        _merge(person, b, other, into=a)
    with pytest.raises(NotAllowed, match="a name of its own"):
        _split(person, "a")
    with pytest.raises(NotFound):
        _split(person, "nothing")
    person.move(b, "in_progress")
    with pytest.raises(NotAllowed, match="ann holds it"):
        _merge(machine, b, into=a)
    assert len(machine.events(EventQuery(limit=None))) == count + 1


def test_merging_twice_changes_nothing(machine: Backlog, person: Backlog) -> None:
    """The same merge again is no change."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    assert [outcome.verdict for outcome in _merge(person, a, into=b).outcomes] == ["unchanged", "unchanged"]


def test_what_a_credential_does_not_reach_is_not_split_or_merged(machine: Backlog, person: Backlog) -> None:
    """Bound to one service, one neither merges into another's item nor cuts off a key of it."""
    a, b = _up(machine, "a", service="mine"), _up(machine, "b", service="theirs")
    bound = machine.acting_as("bo", person=True, scope=Scope(role="worker", services=("mine",)))
    with pytest.raises(NotFound):
        _merge(bound, a, into=b)
    _merge(person, a, into=b)
    with pytest.raises(NotFound):
        _split(bound, "a")


def _resolve(backlog: Backlog, *keys: str, source: str = "slo", **more: Any) -> list[str]:
    answer = backlog.execute(c.Resolve(env="prod", source=source, dedupe_keys=keys, proof="gone", **more))
    return [outcome.verdict for outcome in answer.outcomes]


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("b", "a")])
def test_of_two_merged_alerts_of_one_source_both_must_be_resolved(
    machine: Backlog, person: Backlog, first: str, second: str
) -> None:
    """Each key is claimed by itself: resolving one, whichever, leaves the item open, resolving the other closes it."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    assert _resolve(machine, first) == ["updated"]
    assert machine.get(b).status == "open"
    assert machine.trail(b)[-1].meta["kept_open"] == f"slo (as {second}) still reports it"
    assert _resolve(machine, first) == ["unchanged"]
    assert _resolve(machine, second) == ["closed"]
    for key in "ab":
        assert machine.upsert(title=key, dedupe_key=key, source="slo").id == b
    assert _resolve(machine, "a", "b") == ["updated", "closed"]


def test_a_problem_that_returns_is_held_open_by_the_key_alone_that_it_returned_under(
    machine: Backlog, person: Backlog
) -> None:
    """What was claimed under the other key before it was closed is over, and its title is not that of the other."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    person.close_item(b)
    assert machine.upsert(title="a again", dedupe_key="a", source="slo").verdict == "reopened"
    assert machine.get(b).title == "b"
    assert _resolve(machine, "b") == ["unchanged"]
    assert _resolve(machine, "a") == ["closed"]


def test_each_key_is_sighted_by_itself(machine: Backlog, person: Backlog, clock: StepClock) -> None:
    """A late resolve of one is no news about the other, and all reports are counted, and told by their source."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    clock.advance(100)
    gone_at = clock()
    clock.advance(100)
    assert machine.upsert(title="a", dedupe_key="a", source="slo").verdict == "unchanged"
    assert _resolve(machine, "a", observed_at=gone_at) == ["unchanged"]
    assert _resolve(machine, "b", observed_at=gone_at) == ["updated"]
    assert machine.upsert(title="b", dedupe_key="b", source="slo").verdict == "updated"
    assert machine.upsert(title="b", dedupe_key="b", source="slo").verdict == "unchanged"
    assert {source: seen.n for source, seen in machine.sightings(b).items()} == {"slo": 2}
    assert machine.occurrences(machine.get(b)) == 5


def test_a_split_gives_each_part_its_claims(machine: Backlog, person: Backlog) -> None:
    """Also of names that lead to the one that is cut off; the priority is that of what the rest still claims."""
    a, b, x = _up(machine, "a", priority="P0"), _up(machine, "b", priority="P1"), _up(machine, "x", priority="P3")
    _merge(person, a, into=b)
    _merge(person, b, into=x)
    assert machine.get(x).priority == "P0"
    assert _resolve(machine, "b") == ["updated"]
    assert machine.upsert(title="x", dedupe_key="x", source="pagerduty").verdict == "updated"
    _split(person, "b")
    rest, back = machine.get(x), machine.get(b)
    assert (sorted(rest.claims), rest.claims_under, rest.priority) == (["pagerduty", "slo"], {}, "P2")
    assert (back.claims["slo"].live, back.claims_under["a"]["slo"].live) == (False, True)
    assert _resolve(machine, "x") == ["updated"]
    assert _resolve(machine, "x", source="pagerduty") == ["closed"]


def test_what_a_key_claims_may_change_its_priority(machine: Backlog, person: Backlog) -> None:
    """An alert that gets worse, and better again, under a key that was merged in does so for the item."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    for priority in ("P0", "P2"):
        assert machine.upsert(title="a", dedupe_key="a", source="slo", priority=priority).verdict == "updated"
        assert machine.get(b).priority == priority


def test_an_item_merged_before_claims_were_kept_by_key_is_read_as_then(machine: Backlog, person: Backlog) -> None:
    """One claim a source stands for all its keys there; what is merged in from now on is kept apart."""
    a, b, x = _up(machine, "a"), _up(machine, "b"), _up(machine, "x")
    _merge(person, a, into=b)

    def forget(writer: Writer) -> None:  # what the release before wrote of the merge
        context = Context(writer, machine.command(c.Comment(id=b, message="x")), DEFAULT_POLICY)
        item = context.item(b)
        context.put(item, replace(item, claims_under={}), "auto_update")  # one claim of slo is left
        writer.apply(context.changes)

    assert isinstance(machine.executor, LocalExecutor)
    machine.executor.backend.write(forget)
    assert machine.upsert(title="a", dedupe_key="a", source="slo").verdict == "unchanged"
    _merge(person, x, into=b)
    assert _resolve(machine, "a", "b") == ["updated", "unchanged"]
    assert _resolve(machine, "x") == ["closed"]


def test_names_that_lead_elsewhere_keep_nothing_open(machine: Backlog, person: Backlog) -> None:
    """An item that moves to another env, or gets another's name, or whose merge is half undone, can be resolved."""
    a, b = _up(machine, "a"), _up(machine, "b")
    _merge(person, a, into=b)
    person.edit(b, env="staging")
    answer = machine.execute(c.Resolve(env="staging", source="slo", dedupe_keys=("b",), proof="gone"))
    assert answer.outcomes[0].verdict == "closed"

    d, e = _up(machine, "d"), _up(machine, "e")
    _merge(person, d, into=e)
    person.edit(e, dedupe_key="d")
    assert machine.get(e).claims_under == {}
    assert _resolve(machine, "e") == ["closed"]

    f, g = _up(machine, "f"), _up(machine, "g")
    batch = _merge(person, f, into=g).batch
    machine.upsert(title="other words", dedupe_key="g", source="slo")
    assert {one.id: one.verdict for one in person.undo(batch).outcomes} == {f: "updated", g: "refused"}
    assert _resolve(machine, "g") == ["closed"]
    assert machine.get(f).status == "open"


def test_a_machine_splits_no_name_off_what_a_person_judged_and_was_purged(machine: Backlog, person: Backlog) -> None:
    """The next report of that name would open an item of its own, whatever was decided."""
    a = _up(machine, "old")
    machine.edit(a, dedupe_key="new")
    person.close_item(a, "wont_fix")
    assert machine.cleanup(0) == 1
    with pytest.raises(NotAllowed, match="ann decided that it is wont_fix"):
        _split(machine, "old")
    assert machine.upsert(title="old", dedupe_key="old", source="slo").verdict == "suppressed"
    _split(person, "old")
    assert machine.upsert(title="old", dedupe_key="old", source="slo").verdict == "created"
