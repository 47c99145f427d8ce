"""
What `check` says about losses, for every way to set a server up.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backlog_store.backends.postgres.losses import Durability, Standby, tell

SAFE = Durability(
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    synchronous_standby_names="",
    archives=False,
    standbys=(),
)
SYNC = Standby("node2", "streaming", "sync", 0)
QUORUM = Standby("node3", "streaming", "quorum", 0)
ASYNC = Standby("node4", "streaming", "async", 4_096)
HIDDEN = Standby("", "", "", -1)


def test_a_single_server_is_no_reason_to_warn_but_its_loss_is_told() -> None:
    """A server without standbys needs no warning; that its loss costs everything since the last backup is a fact."""
    told = tell(SAFE)
    assert (told.warnings, told.problems) == ((), ())
    assert told.on_power_loss == "nothing that was acknowledged is lost"
    assert "last backup" in told.on_primary_loss
    assert "archived" in tell(SAFE._replace(archives=True)).on_primary_loss


@pytest.mark.parametrize(
    ("found", "word"),
    [(SAFE._replace(fsync=False), "fsync"), (SAFE._replace(full_page_writes=False), "full_page_writes")],
)
def test_a_server_that_does_not_sync_is_warned_of(found: Durability, word: str) -> None:
    """A setting that a power cut can turn into damage is named, and the fact does not say that nothing is lost."""
    told = tell(found)
    assert any(word in warning for warning in told.warnings)
    assert "damaged" in told.on_power_loss


def test_standbys_that_nobody_waits_for_are_warned_of() -> None:
    """Asynchronous replication loses acknowledged writes at a failover, and how much that would be now is told."""
    told = tell(SAFE._replace(standbys=[ASYNC]))
    assert any("synchronous_mode" in warning for warning in told.warnings)
    assert "4096 bytes" in told.on_primary_loss
    assert told.problems == ()


@pytest.mark.parametrize(
    ("names", "standbys"),
    [
        ("node2", [SYNC, ASYNC]),
        ("*", [SYNC]),
        ("FIRST 1 (node2, node3)", [SYNC, ASYNC]),
        ("ANY 1 (node3, node5)", [QUORUM]),
        ("2 (node2, node3)", [SYNC, QUORUM]),
    ],
)
def test_standbys_that_commits_wait_for_are_enough(names: str, standbys: Sequence[Standby]) -> None:
    """With as many synchronous standbys as are asked for, nothing is lost and nothing is warned of."""
    told = tell(SAFE._replace(synchronous_standby_names=names, standbys=standbys))
    assert (told.warnings, told.problems) == ((), ())
    assert told.on_primary_loss.startswith("nothing that was acknowledged")


@pytest.mark.parametrize(("names", "standbys"), [("node2", []), ("any 2 (node2, node3)", [QUORUM]), ("node2", [ASYNC])])
def test_missing_standbys_stop_writes_and_are_a_problem(names: str, standbys: Sequence[Standby]) -> None:
    """Commits that wait for a standby that is not there hang: that stops work."""
    told = tell(SAFE._replace(synchronous_standby_names=names, standbys=standbys))
    assert any("hang" in problem for problem in told.problems)


def test_local_commits_wait_for_nobody() -> None:
    """With synchronous_commit=local the names of synchronous standbys mean nothing, and that is said."""
    told = tell(SAFE._replace(synchronous_commit="local", synchronous_standby_names="node2", standbys=[ASYNC]))
    assert any("local" in warning for warning in told.warnings)


def test_a_standby_that_confirms_before_it_syncs_is_warned_of() -> None:
    """With remote_write a power cut that takes both servers loses what was acknowledged."""
    told = tell(SAFE._replace(synchronous_commit="remote_write", synchronous_standby_names="node2", standbys=[SYNC]))
    assert any("remote_write" in warning for warning in told.warnings)
    assert "power" in told.on_primary_loss


def test_what_the_user_may_not_see_is_not_guessed() -> None:
    """Without the right to see standbys neither a loss nor a problem is claimed; what to grant is said."""
    told = tell(SAFE._replace(synchronous_standby_names="node2", standbys=[HIDDEN]))
    assert any("pg_monitor" in warning for warning in told.warnings)
    assert told.problems == ()
