"""
What a bound credential sees and does: its part of the backlog, and nothing of the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backlog_store.access import ACTIONS, ROLES, Action, Scope
from backlog_store.backlog import Backlog
from backlog_store.commands import Cleanup, Report, Resolve
from backlog_store.errors import NotAllowed, NotFound
from backlog_store.model import Draft
from backlog_store.query import EventQuery

ASKS: dict[Action, Callable[[Backlog, str], object]] = {
    "read": lambda actor, own: actor.get(own),
    "report": lambda actor, _: actor.upsert(title="Mine", service="web", dedupe_key="web/1"),
    "work": lambda actor, own: actor.comment(own, "seen"),
    "administer": lambda actor, _: actor.execute(Cleanup()),
}
WEB = Scope(role="worker", envs=("prod",), services=("web",))


@pytest.fixture
def own(machine: Backlog) -> str:
    """
    Return the id of an item within the scope.
    """
    return machine.upsert(title="Mine", service="web", dedupe_key="web/1").id


@pytest.fixture
def foreign(machine: Backlog) -> str:
    """
    Return the id of an item of another service.
    """
    return machine.upsert(title="Theirs", service="api", dedupe_key="api/1").id


@pytest.fixture
def bound(person: Backlog) -> Backlog:
    """
    Return the backlog as a person of the service ``web`` sees it.
    """
    return person.acting_as("ben", person=True, scope=WEB)


def test_lists_and_counts_leave_out_what_is_foreign(bound: Backlog, own: str, foreign: str) -> None:
    """
    A page, a count, the log and the dashboard speak of one's own items alone.
    """
    assert [item.id for item in bound.search()] == [own]
    assert bound.tally(by=("service",)) == {("web",): 1}
    assert {event.item_id for event in bound.events(EventQuery(limit=None))} == {own}
    assert bound.dashboard().total == 1
    assert bound.get_by_key("api/1") is None


@pytest.mark.parametrize("act", ["get", "move", "edit", "close", "comment", "snooze", "link"])
def test_what_is_foreign_was_never_there(bound: Backlog, own: str, foreign: str, act: str) -> None:
    """
    Whatever is asked of a foreign item is answered as if it did not exist, and changes nothing.
    """
    asks: dict[str, Callable[[], object]] = {
        "get": lambda: bound.get(foreign),
        "move": lambda: bound.move(foreign, "in_progress"),
        "edit": lambda: bound.edit(foreign, title="Ours now"),
        "close": lambda: bound.close_item(foreign, "wont_fix"),
        "comment": lambda: bound.comment(foreign, "hello"),
        "snooze": lambda: bound.snooze(foreign, "2030-01-01T00:00:00.000000Z"),
        "link": lambda: bound.link(own, "relates", foreign),
    }
    with pytest.raises(NotFound):
        asks[act]()
    assert bound.acting_as("root", scope=Scope(role="admin")).get(foreign).revision == 1


def test_nobody_moves_an_item_out_of_their_sight(bound: Backlog, own: str) -> None:
    """
    An edit is held against the scope with its new values, too.
    """
    with pytest.raises(NotAllowed):
        bound.edit(own, service="api")
    assert bound.get(own).service == "web"


def test_drafts_outside_are_refused_one_by_one(machine: Backlog, own: str, foreign: str) -> None:
    """
    A report goes on without the drafts that its credential may not report; each of those says why.
    """
    scope = Scope(role="reporter", services=("web",), sources=("ruff",))
    scanner = machine.acting_as("ruff", scope=scope)
    drafts = (
        Draft(title="Known", service="web", dedupe_key="web/1", source="ruff"),
        Draft(title="New", service="web", dedupe_key="web/2", source="ruff"),
        Draft(title="Of others", service="api", dedupe_key="api/2", source="ruff"),
        Draft(title="Their key", service="web", dedupe_key="api/1", source="ruff"),
        Draft(title="Not its source", service="web", dedupe_key="web/3", source="trivy"),
    )
    first = scanner.execute(Report(drafts=drafts), request_id="r1")
    assert [outcome.verdict for outcome in first.outcomes] == ["updated", "created", "refused", "refused", "refused"]
    assert {outcome.code for outcome in first.outcomes[2:]} == {"not_allowed"}
    again = scanner.execute(Report(drafts=drafts), request_id="r1")
    assert again.replayed
    assert [outcome.verdict for outcome in again.outcomes] == [outcome.verdict for outcome in first.outcomes]
    assert machine.get(foreign).title == "Theirs"


def test_a_role_may_do_what_the_table_says(machine: Backlog, own: str) -> None:
    """
    Each role is refused exactly the actions that the table does not give it.
    """
    for role in ROLES:
        actor = machine.acting_as(role, person=True, scope=Scope(role=role))
        for action, ask in ASKS.items():
            if action in ACTIONS[role]:
                ask(actor, own)
            else:
                with pytest.raises(NotAllowed):
                    ask(actor, own)


def test_a_source_resolves_its_own_only(machine: Backlog, own: str) -> None:
    """
    A credential that speaks for one source cannot withdraw another one's claims.
    """
    scanner = machine.acting_as("ruff", scope=Scope(role="reporter", sources=("ruff",)))
    with pytest.raises(NotAllowed):
        scanner.execute(Resolve(env="prod", source="manual", dedupe_keys=("web/1",), proof="gone"))


def test_records_are_seen_through_their_items(bound: Backlog, machine: Backlog, own: str, foreign: str) -> None:
    """
    Links, sightings and what is remembered of keys show nothing of foreign items.
    """
    other = machine.upsert(title="Also theirs", service="api", dedupe_key="api/3").id
    machine.link(foreign, "blocks", other)
    machine.upsert(title="Theirs", service="api", dedupe_key="api/1")
    machine.acting_as("ann", person=True).close_item(foreign, "wont_fix")

    assert list(bound.links(foreign)) == []
    assert bound.read(lambda reader: reader.records("sighting", [f"{foreign}/manual"])) == {}
    assert list(bound.verdicts()) == []
    assert [id for id, _ in machine.verdicts()] == ["prod/api/1"]
