"""
A policy is in force as a versioned record: applied by a person, with an event, named by every event after it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from backlog_store.backlog import Backlog, open_backlog
from backlog_store.commands import ApplyPolicy
from backlog_store.errors import InvalidInput, NotAllowed, RevisionConflict, TransitionNotAllowed
from backlog_store.query import EventQuery
from backlog_store.rules.policies import policy_in_force
from backlog_store.transfer import export_store, import_store
from backlog_store.verify import verify
from tests.stores import RETAINING, url_of

FIRST = "workflow:\n  transitions: {open: [done], in_progress: [done]}\n"
SECOND = """\
workflow:
  guards:
    - name: people give up
      reason: [wont_fix]
      by: person
      message: true
"""


@pytest.fixture(params=RETAINING)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backlog]:
    """
    Return a new backlog of each backend, as a machine uses it.
    """
    with open_backlog(url_of(request.param, request, tmp_path_factory.mktemp("policy")), actor="scanner") as backlog:
        yield backlog


def test_a_policy_comes_into_force_with_an_event(machine: Backlog) -> None:
    """What holds is what was applied last; each event names the revision that it was decided under."""
    ann = machine.acting_as("ann", person=True)
    first = machine.upsert(title="one", dedupe_key="one")
    assert ann.execute(ApplyPolicy(text=FIRST, over=0, message="fewer moves")).outcomes[0].revision == 1
    second = machine.upsert(title="two", dedupe_key="two")
    with pytest.raises(TransitionNotAllowed):
        ann.move(second.id, "in_progress")
    ann.move(second.id, "done")

    assert [event.policy for event in machine.trail(first.id)] == [0]
    assert [event.policy for event in machine.trail(second.id)] == [1, 1]
    (event,) = machine.events(EventQuery(item_ids=("policy",), limit=None))
    assert (event.type, event.actor, event.message, event.revision) == ("policy_applied", "ann", "fewer moves", 1)
    assert machine.read(verify).faults == []


def test_every_revision_stays(machine: Backlog) -> None:
    """An older policy can be read for ever, text and all; the chain of its events holds."""
    ann = machine.acting_as("ann", person=True)
    ann.execute(ApplyPolicy(text=FIRST, over=0))
    ann.execute(ApplyPolicy(text=SECOND, over=1))
    records = machine.read(lambda reader: reader.scan("policy", "", "", 10))
    assert [record.id for record in records] == ["00000001", "00000002", "current"]
    assert [record.body["text"] for record in records[:2]] == [FIRST, SECOND]
    assert machine.read(policy_in_force).revision == 2
    assert machine.read(verify).faults == []


def test_a_library_puts_a_policy_in_force(machine: Backlog) -> None:
    """What the command line does, a program does with one call, and reads what is in force with another."""
    assert machine.policy().revision == 0
    toml = "[workflow]\nacceptance_days_max = 30\n"
    assert machine.acting_as("ann", person=True).apply_policy(toml, over=0, format="toml") == 1
    assert (machine.policy().revision, machine.policy().acceptance_days_max) == (1, 30)


def test_a_preview_that_is_out_of_date_is_refused(machine: Backlog) -> None:
    """Who looked at revision 0 does not replace revision 1 unseen."""
    ann = machine.acting_as("ann", person=True)
    ann.execute(ApplyPolicy(text=FIRST, over=0))
    with pytest.raises(RevisionConflict):
        ann.execute(ApplyPolicy(text=SECOND, over=0))
    assert machine.read(policy_in_force).revision == 1


def test_the_same_policy_again_changes_nothing(machine: Backlog) -> None:
    """Applying what is in force makes no revision."""
    ann = machine.acting_as("ann", person=True)
    ann.execute(ApplyPolicy(text=FIRST, over=0))
    assert ann.execute(ApplyPolicy(text=FIRST, over=1)).outcomes[0].verdict == "unchanged"
    assert machine.read(policy_in_force).revision == 1


def test_only_a_person_applies_a_policy(machine: Backlog) -> None:
    """A machine cannot give itself other rules."""
    with pytest.raises(NotAllowed):
        machine.execute(ApplyPolicy(text=FIRST, over=0))
    assert machine.read(policy_in_force).revision == 0


def test_a_faulty_policy_never_comes_into_force(machine: Backlog) -> None:
    """Whoever sends a policy past the command line gets every fault, and the old one stays."""
    with pytest.raises(InvalidInput):
        machine.acting_as("ann", person=True).execute(ApplyPolicy(text="workflow: {transitons: {}}", over=0))
    assert machine.read(policy_in_force).revision == 0


def test_a_guard_refuses_and_says_which_it_is(machine: Backlog) -> None:
    """A machine may not decide that nothing is done; a person who does says why; the refusal names guard and line."""
    ann = machine.acting_as("ann", person=True)
    item = machine.upsert(title="one", dedupe_key="one")
    ann.execute(ApplyPolicy(text=SECOND, over=0))
    with pytest.raises(NotAllowed, match=r"a person does this \(policy 1, guard 'people give up', line 3\)"):
        machine.close_item(item.id, "wont_fix", message="no")
    with pytest.raises(NotAllowed, match="words are required"):
        ann.close_item(item.id, "wont_fix")
    assert ann.close_item(item.id, "wont_fix", message="it is meant so").verdict == "closed"


def test_policies_travel_with_an_export(machine: Backlog) -> None:
    """A store brought in from an export has the same policies in force, with their events."""
    ann = machine.acting_as("ann", person=True)
    ann.execute(ApplyPolicy(text=FIRST, over=0))
    ann.execute(ApplyPolicy(text=SECOND, over=1))
    sink = io.BytesIO()
    export_store(machine.executor.backend, sink)
    sink.seek(0)
    with open_backlog("memory://") as other:
        import_store(other.executor.backend, sink)
        assert other.read(policy_in_force) == machine.read(policy_in_force)
        assert other.read(verify).faults == []
