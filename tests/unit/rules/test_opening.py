"""
The straight way from a draft that nobody knows to its item: what comes out is what the long way comes to.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backlog_store.backends.memory import open_memory
from backlog_store.backends.port import Put
from backlog_store.codec import encode_event, encode_item
from backlog_store.commands import Command, Outcome, Report
from backlog_store.model import Actor, Draft
from backlog_store.rules import decide
from backlog_store.rules.opening import Opening
from backlog_store.testing.clocks import START
from backlog_store.testing.strategies import drafts, instants

KEYS = st.sampled_from(("", "a", "b", "c", "d"))
#: With what most leave out, too.
FULL = st.builds(
    replace, drafts(keys=KEYS), evidence_refs=st.sampled_from(({}, {"log": ["x", "y"], "n": 1})),
    observed_at=st.just("") | instants(), key_inputs=st.sampled_from(({}, {"path": "a.py"})),
    volatile=st.sampled_from(((), ("a",))), id=st.sampled_from(("", "", "given")),
)  # fmt: skip
REPORTS = st.builds(
    Report,
    drafts=st.lists(drafts(keys=KEYS) | FULL, min_size=1, max_size=5).map(tuple),
    opens=st.sampled_from((True, True, True, False)),
    baseline=st.booleans(),
    due_days=st.sampled_from(({}, {}, {"P0": 1, "P1": 7, "P2": 30})),
)


def written(body: Report, *, known: Draft | None = None) -> tuple[list[object], tuple[Outcome, ...]]:
    """
    Return what a report comes to on a store that has heard of *known* alone, items and events as their bytes.
    """
    backend = open_memory()
    if known is not None:
        first = Command(body=Report(drafts=(known,)), actor=Actor("ci"), at=START, seed="seed 0")
        backend.write(lambda writer: writer.apply(decide(writer, first).changes))
    command = Command(body=body, actor=Actor("scanner"), at=START, seed="seed 1", request_id="r", batch="cm_b")
    decision = backend.read(lambda reader: decide(reader, command))
    changes: list[object] = [
        (encode_item(change.item), encode_event(change.event)) if isinstance(change, Put) else change
        for change in decision.changes
    ]
    return changes, decision.answer.outcomes


@given(body=REPORTS, known=st.none() | drafts(keys=st.just("a")))
def test_the_straight_way_comes_to_what_the_long_way_does(body: Report, known: Draft | None) -> None:
    """Of any report, on an empty store or one that knows a key: the same changes, byte for byte, and outcomes."""
    straight = written(body, known=known)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Opening, "open", lambda *_: None)
        long = written(body, known=known)

    assert straight == long


@pytest.mark.parametrize("fields", [{}, {"id": "given"}, {"dedupe_key": ""}])
def test_who_goes_straight(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    """A draft of a key that nobody knows does; one without a key, or with an id of its own, does not."""
    opened: list[bool] = []
    through = Opening.open

    def noted(opening: Opening, draft: Draft) -> Outcome | None:
        outcome = through(opening, draft)
        opened.append(outcome is not None)
        return outcome

    monkeypatch.setattr(Opening, "open", noted)
    written(Report(drafts=(Draft(**{"title": "Disk fills", "dedupe_key": "k", **fields}),)))

    assert opened == [not fields]
