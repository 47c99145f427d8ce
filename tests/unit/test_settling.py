"""
Unknown outcomes: what asking again by request id settles, and what stays unknown.
"""

from __future__ import annotations

import pytest

from backlog_store.backends.memory import MemoryBackend
from backlog_store.commands import Command, Comment, Report
from backlog_store.errors import OutcomeUnknown
from backlog_store.executors.local import LocalExecutor
from backlog_store.model import Actor, Draft
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import events_of
from backlog_store.testing.faults import LosesAnswers, always, nth

OPENING = Command(body=Report(drafts=(Draft(title="t", dedupe_key="k"),)), actor=Actor("a"), at=START, seed="s0")


def comment(backend: MemoryBackend, *, request_id: str) -> Command:
    """
    Return a comment on the one item of a store: what happens twice if it is sent twice.
    """
    outcome = LocalExecutor(backend).execute(OPENING).outcomes[0]
    return Command(body=Comment(id=outcome.id, message="hello"), actor=Actor("a"), at=START, seed="s1",
                   request_id=request_id)  # fmt: skip


def comments(backend: MemoryBackend) -> int:
    """
    Count the comments.
    """
    return sum(event.message == "hello" for event in events_of(backend))


def test_asking_again_settles_it_and_changes_nothing() -> None:
    """The caller never learns that an answer was lost, and the command has happened once."""
    backend = MemoryBackend()
    command = comment(backend, request_id="r")
    answer = LocalExecutor(LosesAnswers(backend, nth(1))).execute(command)
    assert answer.replayed
    assert comments(backend) == 1


def test_without_a_request_id_it_is_told_as_unknown() -> None:
    """Nobody can ask about such a command, and carrying it out again could double it."""
    backend = MemoryBackend()
    command = comment(backend, request_id="")
    with pytest.raises(OutcomeUnknown):
        LocalExecutor(LosesAnswers(backend, nth(1))).execute(command)
    assert comments(backend) == 1


def test_what_nobody_answers_stays_unknown() -> None:
    """Asking ends after a while, and has not doubled anything."""
    backend = MemoryBackend()
    command = comment(backend, request_id="r")
    with pytest.raises(OutcomeUnknown):
        LocalExecutor(LosesAnswers(backend, always), settle_s=0.1).execute(command)
    assert comments(backend) == 1
