"""What the page of the original interface promises of each method, on every store."""

from __future__ import annotations

from datetime import date

import pytest

from backlog_store import BacklogEvent, BacklogItem
from backlog_store.compat.base import BacklogBackedStore
from backlog_store.errors import (
    AlreadyExists,
    Conflict,
    InvalidInput,
    NotFound,
    RequestReused,
    RevisionConflict,
    TransitionNotAllowed,
)
from backlog_store.instants import plus_days
from backlog_store.trail import faults_of_trail
from tests.compat.conftest import Open
from tests.compat.samples import an_event, an_item

# --- create, get -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [
    "2024-05-01T10:00:00+00:00", "2024-05-01T10:00:00.250000+00:00", "2024-05-01T10:00:00Z",
    "2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00",
])  # fmt: skip
def test_create_keeps_id_status_and_times(store: BacklogBackedStore, given: str) -> None:
    """What importers hand in comes back as it was, in whatever form of ISO 8601."""
    item = an_item(id="bl_0123456789ab", status="done", created_at=given, updated_at=given)
    stored = store.create(item)
    for found in (stored, item, store.get("bl_0123456789ab")):
        assert found is not None
        assert ("bl_0123456789ab", "done", given, given) == (found.id, found.status, found.created_at, found.updated_at)


def test_a_time_in_another_form_counts_as_its_instant(store: BacklogBackedStore) -> None:
    """After a change the item's time is later as an instant, in UTC."""
    item = store.create(an_item(created_at="2024-05-01T12:00:00+02:00", updated_at="2024-05-01T12:00:00+02:00"))
    item.owner = "anna"
    stored = store.update(item)
    assert "2024-05-01T12:00:00+02:00" == stored.created_at
    assert stored.updated_at.endswith("+00:00")
    assert stored.updated_at > "2024-05-01T10:00:00+00:00"


def test_every_field_comes_back(open_store: Open) -> None:
    """All seventeen, also through a second handle."""
    item = an_item(
        env="staging", service="checkout", category="slo_hardening", title="Größer", description="Lang\nund\tbreit",
        priority="P1", owner="anna", due_date="2031-01-02", source="risk", dedupe_key="slo:checkout",
        evidence_refs={"incidents": ["inc-1", "inc-2"], "note": "n"}, tags=["b", "a"],
        meta={"deep": {"n": [1, 2.5, None]}},
    )  # fmt: skip
    before = item.to_dict()
    first = open_store()
    first.create(item)
    found = open_store().get(item.id)
    assert found is not None
    assert before | {"tags": ["a", "b"]} == found.to_dict()


def test_an_item_without_a_title_is_kept(store: BacklogBackedStore) -> None:
    """The original interface gives titles an empty default; that comes back."""
    item = store.create(BacklogItem.from_dict({"service": "checkout"}))
    assert [""] == [found.title for found in store.list_items({"service": "checkout"})]
    item.owner = "anna"
    assert "" == store.update(item).title


def test_a_taken_id_or_key_is_refused(store: BacklogBackedStore) -> None:
    """Neither is overwritten."""
    item = store.create(an_item(dedupe_key="k"))
    with pytest.raises(AlreadyExists):
        store.create(an_item(dedupe_key="k", title="Other"))
    with pytest.raises(AlreadyExists):
        store.create(an_item(id=item.id, title="Other"))
    assert [item] == store.list_items()


def test_what_is_not_there_is_none(store: BacklogBackedStore) -> None:
    """Unknown ids and keys, the beginning of an id, and the empty ones."""
    item = store.create(an_item())
    assert [None] * 5 == [
        store.get("bl_none"), store.get(""), store.get(item.id[:8]), store.get_by_dedupe_key("none"),
        store.get_by_dedupe_key(""),
    ]  # fmt: skip


def test_answers_are_the_callers_own(store: BacklogBackedStore) -> None:
    """Whatever a caller does to what it was given changes nothing in the store."""
    item = an_item(dedupe_key="k", tags=["a"], meta={"m": [1]}, evidence_refs={"e": ["1"]})
    for mine in (item, store.create(item), store.get(item.id), store.get_by_dedupe_key("k"), *store.list_items()):
        assert mine is not None
        mine.title = "Changed"
        mine.tags.append("x")
        mine.meta["m"].append(2)
        mine.evidence_refs["e"].append("2")
    found = store.get(item.id)
    assert found is not None
    assert ("Checkout burns its error budget", ["a"], {"m": [1]}, {"e": ["1"]}) == (
        found.title, found.tags, found.meta, found.evidence_refs,
    )  # fmt: skip


def test_of_several_envs_prod_comes_first_then_by_name(store: BacklogBackedStore) -> None:
    """A key is looked up in prod, then in the other envs in order of their names."""
    for env in ("staging", "dev"):
        store.create(an_item(env=env, dedupe_key="k"))
    found = store.get_by_dedupe_key("k")
    assert found is not None
    assert "dev" == found.env
    store.create(an_item(dedupe_key="k"))
    found = store.get_by_dedupe_key("k")
    assert found is not None
    assert "prod" == found.env


def test_a_key_that_was_changed_still_leads_to_its_item(store: BacklogBackedStore) -> None:
    """An item's older key stays a name of it."""
    item = store.create(an_item(dedupe_key="old"))
    item.dedupe_key = "new"
    store.update(item)
    assert [item, item] == [store.get_by_dedupe_key("new"), store.get_by_dedupe_key("old")]


# --- update ----------------------------------------------------------------------------------------------------------


def test_the_object_that_was_passed_can_be_used_on(store: BacklogBackedStore) -> None:
    """Create, change, update, change, update: with one object."""
    item = an_item()
    store.create(item)
    item.status = "in_progress"
    store.update(item)
    item.status = "blocked"
    item.tags = ["z", "a"]
    store.update(item)
    assert item == store.get(item.id)
    assert ("blocked", ["a", "z"]) == (item.status, item.tags)


@pytest.mark.parametrize(("name", "value"), [
    ("env", "staging"), ("service", "s"), ("category", "security"), ("title", "T"), ("description", "D"),
    ("priority", "P0"), ("status", "blocked"), ("owner", "anna"), ("due_date", "2031-01-02"), ("source", "risk"),
    ("dedupe_key", "k2"), ("evidence_refs", {"e": ["1"]}), ("tags", ["t"]), ("meta", {"m": 1}),
])  # fmt: skip
def test_update_writes_each_field(store: BacklogBackedStore, name: str, value: object) -> None:
    """No field is passed over, and the item gets a new time of change."""
    item = store.create(an_item(dedupe_key="k", created_at="2024-05-01T10:00:00+00:00"))
    before = item.updated_at
    setattr(item, name, value)
    stored = store.update(item)
    found = store.get(item.id)
    assert value == getattr(stored, name) == getattr(found, name)
    assert before < stored.updated_at


def test_update_of_an_unknown_id_is_refused(store: BacklogBackedStore) -> None:
    """Also for an object that remembers having been stored, and was purged."""
    with pytest.raises(NotFound):
        store.update(an_item())
    gone = store.create(
        an_item(status="done", updated_at="2020-01-01T00:00:00+00:00", created_at="2020-01-01T00:00:00Z")
    )
    store.cleanup(1)
    gone.title = "T"
    with pytest.raises(NotFound):
        store.update(gone)


def test_a_forbidden_move_is_refused_and_changes_nothing(store: BacklogBackedStore) -> None:
    """The error names the allowed moves; the other fields of the same call are not written either."""
    item = store.create(an_item())
    item.status, item.owner = "done", "anna"
    with pytest.raises(TransitionNotAllowed, match="blocked, canceled, in_progress"):
        store.update(item)
    found = store.get(item.id)
    assert found is not None
    assert ("open", "oncall") == (found.status, found.owner)


def test_only_changed_fields_are_written(store: BacklogBackedStore) -> None:
    """Two callers who change different fields of one item both succeed."""
    item = store.create(an_item())
    anna, berta = store.get(item.id), store.get(item.id)
    assert anna is not None
    assert berta is not None
    anna.owner, berta.priority = "anna", "P0"
    store.update(anna)
    store.update(berta)
    found = store.get(item.id)
    assert found is not None
    assert ("anna", "P0") == (found.owner, found.priority)


def test_a_field_changed_by_somebody_else_is_a_conflict(store: BacklogBackedStore) -> None:
    """The second one is told which field, by which values, and nothing of its call is written."""
    item = store.create(an_item())
    other = store.get(item.id)
    assert other is not None
    other.owner = "anna"
    store.update(other)
    item.owner, item.title = "berta", "T"
    with pytest.raises(RevisionConflict, match="owner was oncall, is anna"):
        store.update(item)
    found = store.get(item.id)
    assert found is not None
    assert ("anna", "Checkout burns its error budget") == (found.owner, found.title)


def test_one_of_two_who_take_the_same_item_is_told(store: BacklogBackedStore) -> None:
    """Also where both wrote the same value: only one of them did it."""
    item = store.create(an_item())
    other = store.get(item.id)
    assert other is not None
    item.status = other.status = "in_progress"
    store.update(item)
    with pytest.raises(Conflict):
        store.update(other)


def test_without_memory_all_fields_are_written_if_nothing_changed(store: BacklogBackedStore) -> None:
    """A dict that went over the wire is written whole while its time of change is the stored one."""
    item = store.create(an_item())
    plain = store.get(item.id)
    assert plain is not None
    back = BacklogItem.from_dict(plain.to_dict() | {"owner": "anna", "priority": "P0"})
    stored = store.update(back)
    assert ("anna", "P0") == (stored.owner, stored.priority)


def test_without_memory_an_older_copy_is_a_conflict(store: BacklogBackedStore) -> None:
    """A dict from before somebody's change is not written over it."""
    item = store.create(an_item())
    old = BacklogItem.from_dict(item.to_dict() | {"owner": "anna"})
    item.title = "T"
    store.update(item)
    with pytest.raises(RevisionConflict):
        store.update(old)
    found = store.get(item.id)
    assert found is not None
    assert ("T", "oncall") == (found.title, found.owner)


def test_what_was_read_elsewhere_is_not_taken_for_read_here(store: BacklogBackedStore) -> None:
    """An item of another store is written whole, or refused; never is a difference passed over."""
    from backlog_store import MemoryBacklogStore

    elsewhere = MemoryBacklogStore()
    item = elsewhere.create(an_item())
    store.create(BacklogItem.from_dict(item.to_dict() | {"title": "Here"}))
    item.title = "There"
    elsewhere.update(item)
    with pytest.raises(RevisionConflict):
        store.update(item)


def test_the_time_of_creation_cannot_be_changed(store: BacklogBackedStore) -> None:
    """It is refused, not passed over."""
    item = store.create(an_item())
    item.created_at = "2020-01-01T00:00:00+00:00"
    with pytest.raises(InvalidInput, match="created_at"):
        store.update(item)


def test_an_update_counts_as_a_persons(store: BacklogBackedStore) -> None:
    """Status, owner, priority and due date are held by whoever set them; the trail says by whom, and is whole."""
    item = store.create(an_item())
    item.status, item.owner, item.priority, item.due_date, item.title = "blocked", "anna", "P3", "2031-01-02", "T"
    store.update(item)
    kept = store.backlog.get(item.id)
    assert {"status", "owner", "priority", "due_date"} == kept.held.keys()
    trail = store.backlog.trail(item.id)
    assert ["machine", "person"] == [event.actor_kind for event in trail]
    assert [] == faults_of_trail(kept, trail)


# --- upsert ----------------------------------------------------------------------------------------------------------


def test_upsert_creates_with_the_callers_id_and_status(store: BacklogBackedStore) -> None:
    """The answer says so, and brings the item."""
    item = an_item(id="bl_mine", dedupe_key="k", status="blocked", created_at="2024-05-01T10:00:00+00:00")
    answer = store.upsert(item)
    assert {"action": "created", "item": item} == answer
    found = store.get("bl_mine")
    assert found == item
    assert ("blocked", "2024-05-01T10:00:00+00:00") == (item.status, item.created_at)


def test_upsert_refreshes_what_a_report_may_change(store: BacklogBackedStore) -> None:
    """Title, description, evidence, meta, priority, due date and tags; not status, owner, service, category, source."""
    first = store.upsert(an_item(dedupe_key="k", tags=["a"], meta={"x": 1, "y": 1}, evidence_refs={"e": ["1"]},
                                 service="s", category="security", source="risk"))["item"]  # fmt: skip
    again = an_item(
        dedupe_key="k", title="T", description="D", priority="P0", due_date="2031-01-02", tags=["b"], meta={"y": 2},
        evidence_refs={"e": ["2"]}, status="blocked", owner="else", service="s2", category="c2", source="digest",
    )  # fmt: skip
    answer = store.upsert(again)
    expected = first.to_dict() | {
        "title": "T", "description": "D", "priority": "P0", "due_date": "2031-01-02", "tags": ["a", "b"],
        "meta": {"x": 1, "y": 2}, "evidence_refs": {"e": ["1", "2"]}, "updated_at": again.updated_at,
    }  # fmt: skip
    assert "updated" == answer["action"]
    assert expected == answer["item"].to_dict() == again.to_dict()
    assert answer["item"] == store.get(first.id)


def test_a_report_that_leaves_things_out_takes_nothing_away(store: BacklogBackedStore) -> None:
    """What is empty in a report says nothing: title, description, due date, evidence, tags and meta stay."""
    first = store.upsert(an_item(dedupe_key="k", title="T", description="D", due_date="2031-01-02", tags=["a"],
                                 meta={"x": 1}, evidence_refs={"e": ["1"]}))["item"]  # fmt: skip
    answer = store.upsert(an_item(dedupe_key="k", title=""))
    assert {"action": "updated", "item": first} == answer
    assert "T" == store.upsert(an_item(dedupe_key="k", title="", priority="P0"))["item"].title


def test_upsert_keeps_what_update_has_set(store: BacklogBackedStore) -> None:
    """Status, owner, priority and due date stay with whoever set them; title and tags follow the reports."""
    item = store.upsert(an_item(dedupe_key="k"))["item"]
    item.status, item.owner, item.priority, item.due_date, item.title = "blocked", "anna", "P3", "2031-01-02", "Mine"
    store.update(item)
    stored = store.upsert(an_item(dedupe_key="k", priority="P0", due_date="2030-01-01", title="Theirs"))["item"]
    assert ("blocked", "anna", "P3", "2031-01-02", "Theirs") == (
        stored.status, stored.owner, stored.priority, stored.due_date, stored.title,
    )  # fmt: skip


def test_upsert_of_the_same_report_changes_nothing(store: BacklogBackedStore) -> None:
    """The second time it is an update that leaves the item, its time of change and its trail as they were."""
    first = store.upsert(an_item(dedupe_key="k", tags=["a"]))["item"]
    answer = store.upsert(an_item(dedupe_key="k", tags=["a"]))
    assert {"action": "updated", "item": first} == answer
    assert 1 == len(store.backlog.trail(first.id))


def test_upsert_opens_a_done_item_again(store: BacklogBackedStore) -> None:
    """A problem that returns is open, under its old id, and says so in its trail."""
    item = store.upsert(an_item(dedupe_key="k"))["item"]
    for status in ("in_progress", "done"):
        item.status = status
        store.update(item)
    answer = store.upsert(an_item(dedupe_key="k"))
    assert ("updated", "open", item.id) == (answer["action"], answer["item"].status, answer["item"].id)
    assert "reopened" == store.backlog.trail(item.id)[-1].type


def test_upsert_leaves_a_canceled_item_as_it_is(store: BacklogBackedStore) -> None:
    """What people decided against is answered, closed and unchanged."""
    item = store.upsert(an_item(dedupe_key="k"))["item"]
    item.status = "canceled"
    store.update(item)
    answer = store.upsert(an_item(dedupe_key="k", title="T", priority="P0"))
    assert {"action": "updated", "item": item} == answer
    assert item == store.get(item.id)


def test_upsert_of_what_was_canceled_and_purged_stays_suppressed(store: BacklogBackedStore) -> None:
    """The decision outlives the item: it is answered as closed, and nothing is created."""
    item = an_item(
        dedupe_key="k", status="canceled", created_at="2020-01-01T00:00:00Z", updated_at="2020-01-01T00:00:00Z"
    )
    store.create(item)
    assert 1 == store.cleanup(1)
    answer = store.upsert(an_item(dedupe_key="k"))
    assert ("updated", "canceled", item.id) == (answer["action"], answer["item"].status, answer["item"].id)
    assert [] == store.list_items()


def test_upsert_of_what_was_fixed_and_purged_comes_back(store: BacklogBackedStore) -> None:
    """It is open again, under its old id, and stored."""
    item = an_item(dedupe_key="k", status="done", created_at="2020-01-01T00:00:00Z", updated_at="2020-01-01T00:00:00Z")
    store.create(item)
    assert 1 == store.cleanup(1)
    answer = store.upsert(an_item(id="bl_new", dedupe_key="k"))
    assert ("updated", "open", item.id) == (answer["action"], answer["item"].status, answer["item"].id)
    assert answer["item"] == store.get(item.id) == store.get("bl_new")


def test_upsert_refuses_what_is_invalid(store: BacklogBackedStore) -> None:
    """All faults are named at once, and nothing is stored."""
    with pytest.raises(InvalidInput) as caught:
        store.upsert(an_item(dedupe_key="k", priority="P9", due_date="2026-02-30"))
    assert {"/priority", "/due_date"} == {fault.pointer for fault in caught.value.faults}
    assert [] == store.list_items()


def test_upsert_with_a_taken_id_is_refused(store: BacklogBackedStore) -> None:
    """Another problem under an id that is taken overwrites nothing."""
    item = store.create(an_item(dedupe_key="k"))
    with pytest.raises(AlreadyExists):
        store.upsert(an_item(id=item.id, dedupe_key="other"))
    assert [item] == store.list_items()


# --- lists -----------------------------------------------------------------------------------------------------------


def test_lists_are_in_order_of_priority_due_date_and_id(store: BacklogBackedStore) -> None:
    """Items without a due date come last within their priority."""
    for id, priority, due in (
        ("bl_e", "P1", ""), ("bl_d", "P1", "2031-01-02"), ("bl_c", "P1", "2031-01-01"), ("bl_b", "P1", "2031-01-01"),
        ("bl_f", "P2", "2030-01-01"), ("bl_a", "P0", ""),
    ):  # fmt: skip
        store.create(an_item(id=id, priority=priority, due_date=due))
    assert ["bl_a", "bl_b", "bl_c", "bl_d", "bl_e", "bl_f"] == [item.id for item in store.list_items()]


def test_pages_neither_skip_nor_repeat(store: BacklogBackedStore) -> None:
    """Pages of any size, one after the other, are the whole list."""
    for number in range(10):
        store.create(an_item(id=f"bl_{number}", priority=f"P{number % 2}"))
    whole = store.list_items()
    assert 10 == len(whole)
    assert whole == [item for offset in range(0, 12, 3) for item in store.list_items(limit=3, offset=offset)]


def test_a_limit_has_no_upper_bound_and_zero_is_none(store: BacklogBackedStore) -> None:
    """`limit=0` answers nothing, a huge one everything, the default is 50."""
    for number in range(60):
        store.create(an_item(id=f"bl_{number:02d}"))
    assert [0, 50, 60, 60] == [
        len(store.list_items(limit=0)), len(store.list_items()), len(store.list_items(limit=10**9)),
        len(store.list_items(limit=None)),
    ]  # fmt: skip


@pytest.mark.parametrize(("filters", "expected"), [
    ({}, {"a", "b", "c"}),
    (None, {"a", "b", "c"}),
    ({"env": "prod"}, {"a", "b"}),
    ({"env": ""}, {"a", "b", "c"}),
    ({"env": None, "owner": ""}, {"a", "b", "c"}),
    ({"service": "s1"}, {"a", "c"}),
    ({"status": "open"}, {"a", "c"}),
    ({"status": ["open", "blocked"]}, {"a", "b", "c"}),
    ({"status": ("blocked",)}, {"b"}),
    ({"status": {"done"}}, set()),
    ({"status": []}, set()),
    ({"owner": "anna"}, {"b"}),
    ({"category": "security"}, {"c"}),
    ({"due_before": "2031-01-02"}, {"a"}),
    ({"due_before": "2031-01-03"}, {"a", "b"}),
    ({"due_before": ""}, {"a", "b", "c"}),
    ({"due_before": " 2031-01-02 "}, {"a"}),
    ({"due_before": "20310102"}, {"a"}),
    ({"due_before": date(2031, 1, 2)}, {"a"}),
    ({"due_before": "2031-01-02T12:00:00"}, {"a", "b"}),
    ({"due_before": "2031-01-02T05:00:00+09:00"}, {"a"}),
    ({"env": "prod", "service": "s1", "status": "open"}, {"a"}),
])  # fmt: skip
def test_filters(store: BacklogBackedStore, filters: dict[str, object], expected: set[str]) -> None:
    """Each filter, and several at once; an empty text is any, an empty list none."""
    store.create(an_item(id="a", service="s1", due_date="2031-01-01"))
    store.create(an_item(id="b", service="s2", status="blocked", owner="anna", due_date="2031-01-02"))
    store.create(an_item(id="c", service="s1", env="staging", category="security"))
    assert expected == {item.id for item in store.list_items(filters)}


@pytest.mark.parametrize("filters", [{"stauts": "open"}, {"env": 5}, {"status": [1]}, {"due_before": "soon"}])
def test_a_filter_that_cannot_be_is_refused(store: BacklogBackedStore, filters: dict[str, object]) -> None:
    """The error names the filter, and the nearest known one."""
    with pytest.raises(InvalidInput, match=f"/{next(iter(filters))}"):
        store.list_items(filters)


@pytest.mark.parametrize(("limit", "offset"), [(-1, 0), (10, -1), (True, 0), ("10", 0), (10, 1.5)])
def test_pages_that_cannot_be_are_refused(store: BacklogBackedStore, limit: int, offset: int) -> None:
    """Numbers of rows are whole and not negative."""
    with pytest.raises(InvalidInput):
        store.list_items(limit=limit, offset=offset)


# --- events ----------------------------------------------------------------------------------------------------------


def test_events_come_back_as_they_were_given(store: BacklogBackedStore) -> None:
    """All seven fields, and only those that callers added."""
    item = store.create(an_item())
    event = BacklogEvent("ev_1", item.id, "2024-05-01T10:00:00Z", "auto_update", "words", "risk engine", {"n": [1]})
    assert event == store.add_event(event)
    item.owner = "anna"
    store.update(item)
    assert [event] == store.get_events(item.id)


def test_the_newest_events_oldest_first(store: BacklogBackedStore) -> None:
    """`limit` takes the newest; the order is that of their times, then the one they came in."""
    item = store.create(an_item())
    for number, ts in ((2, "2024-05-02T00:00:00+00:00"), (1, "2024-05-01T00:00:00+00:00"),
                       (3, "2024-05-02T02:00:00+02:00")):  # fmt: skip
        store.add_event(an_event(item, message=str(number), ts=ts))
    assert ["1", "2", "3"] == [event.message for event in store.get_events(item.id)]
    assert ["2", "3"] == [event.message for event in store.get_events(item.id, limit=2)]
    assert [] == store.get_events(item.id, limit=0)
    assert 3 == len(store.get_events(item.id, limit=10**9))


def test_the_same_event_twice_is_one(store: BacklogBackedStore) -> None:
    """A caller that asks again after a failure adds nothing twice; another event of that id is refused."""
    item = store.create(an_item())
    event = an_event(item)
    assert store.add_event(event) == store.add_event(event)
    assert 1 == len(store.get_events(item.id))
    event.message = "Something else"
    with pytest.raises(RequestReused):
        store.add_event(event)


def test_an_event_needs_its_item(store: BacklogBackedStore) -> None:
    """There are no orphans; and nothing is asked of what is not there."""
    with pytest.raises(NotFound):
        store.add_event(an_event(an_item()))
    assert [] == store.get_events("bl_none")


def test_an_event_does_not_touch_its_item(store: BacklogBackedStore) -> None:
    """A comment is no change of the item, and no conflict for whoever is changing it."""
    item = store.create(an_item())
    store.add_event(an_event(item))
    assert item == store.get(item.id)
    plain = BacklogItem.from_dict(item.to_dict() | {"owner": "anna"})
    store.update(plain)


# --- cleanup, dashboard ----------------------------------------------------------------------------------------------


def test_cleanup_purges_closed_items_that_are_old_with_their_events(store: BacklogBackedStore) -> None:
    """Live ones stay whatever their age, young ones whatever their status."""
    old = {"created_at": "2020-01-01T00:00:00+00:00", "updated_at": "2020-01-01T00:00:00+00:00"}
    for id, fields in (("a", {"status": "done"} | old), ("b", {"status": "canceled"} | old), ("c", old),
                       ("d", {"status": "done", "created_at": old["created_at"]})):  # fmt: skip
        store.add_event(an_event(store.create(an_item(id=id, **fields))))
    item = store.get("d")
    assert item is not None
    item.title = "T"
    store.update(item)
    assert 2 == store.cleanup()
    assert [None, None, "c", "d"] == [found.id if found else None for found in map(store.get, "abcd")]
    assert [0, 0, 1, 1] == [len(store.get_events(id)) for id in "abcd"]
    assert 0 == store.cleanup()


@pytest.mark.parametrize("days", [-1, 1.5, "180", True])
def test_cleanup_refuses_an_impossible_age(store: BacklogBackedStore, days: int) -> None:
    """And purges nothing."""
    store.create(an_item(status="done", created_at="2020-01-01T00:00:00Z", updated_at="2020-01-01T00:00:00Z"))
    with pytest.raises(InvalidInput, match="retention_days"):
        store.cleanup(days)
    assert 1 == len(store.list_items())


def test_the_dashboard_counts_an_env(store: BacklogBackedStore) -> None:
    """Counts of all its items; the overdue ones by priority, then date; the services with the most items."""
    today = store.backlog.clock()[:10]
    yesterday, day_before = plus_days(today, -1), plus_days(today, -2)
    store.create(an_item(id="a", service="s1", category="security", priority="P2", due_date=day_before))
    store.create(an_item(id="b", service="s1", category="security", priority="P2", due_date=yesterday, owner="anna"))
    store.create(an_item(id="c", service="s2", category="cleanup_followups", priority="P0", due_date=yesterday))
    store.create(an_item(id="d", service="s2", priority="P1", due_date=today))
    store.create(an_item(id="e", service="s3", status="done", due_date=day_before))
    store.create(an_item(id="f", service="s1", env="staging", due_date=day_before))
    title = "Checkout burns its error budget"
    assert {
        "env": "prod",
        "total": 5,
        "status_counts": {"done": 1, "open": 4},
        "priority_counts": {"P0": 1, "P1": 1, "P2": 3},
        "category_counts": {"": 2, "cleanup_followups": 1, "security": 2},
        "overdue": [
            {"id": "c", "service": "s2", "title": title, "priority": "P0", "due_date": yesterday, "owner": "oncall"},
            {"id": "a", "service": "s1", "title": title, "priority": "P2", "due_date": day_before, "owner": "oncall"},
            {"id": "b", "service": "s1", "title": title, "priority": "P2", "due_date": yesterday, "owner": "anna"},
        ],
        "overdue_count": 3,
        "top_services": [{"service": "s1", "count": 2}, {"service": "s2", "count": 2}, {"service": "s3", "count": 1}],
    } == store.dashboard()
    assert 6 == store.dashboard("")["total"]


def test_the_dashboard_of_an_empty_env(store: BacklogBackedStore) -> None:
    """It has every member, and zeros."""
    assert {
        "env": "qa", "total": 0, "status_counts": {}, "priority_counts": {}, "category_counts": {}, "overdue": [],
        "overdue_count": 0, "top_services": [],
    } == store.dashboard(env="qa")  # fmt: skip
