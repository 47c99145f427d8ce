"""
A connection that breaks while committing, on a plain PostgreSQL store: the store itself asks what became of it.
"""

from __future__ import annotations

import threading

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.testing.postgres import PostgresServer
from tests.outage.proxy import Proxy
from tests.outage.test_postgres_failover import naming

#: In seconds: short enough that a lost answer is noticed soon; a server under load still answers in that time.
WRITE_S = 2.0


class Lossy:
    """
    A judge that loses so many COMMITs in one way, and lets all else pass.
    """

    def __init__(self, verdict: str, times: int) -> None:
        self.lost = 0
        self._verdict = verdict
        self._times = times
        self._lock = threading.Lock()

    def __call__(self, piece: bytes) -> str:
        """Say what becomes of a piece."""
        with self._lock:
            if b"COMMIT" not in piece or self.lost >= self._times:
                return "pass"
            self.lost += 1
            return self._verdict


def through(proxy: Proxy, dsn: str) -> Backlog:
    """
    Open the store of *dsn* behind a proxy.
    """
    return open_backlog(naming(dsn, proxy.port), connect_s=5.0, write_s=WRITE_S)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("verdict", ["cut", "deaf", "mute", "stops"])
def test_a_lost_answer_to_commit_is_settled(postgres_server: PostgresServer, verdict: str, times: int) -> None:
    """Whether the server heard COMMIT or not, the caller gets the answer, and the effect is there once."""
    dsn = postgres_server.create_database()
    with Proxy(postgres_server.port) as proxy, through(proxy, dsn) as store:
        known = store.upsert(dedupe_key="k", title="before", service="api", env="prod", request_id="r0")
        judge = proxy.judge = Lossy(verdict, times if verdict == "cut" else 1)
        said = store.comment(known.id, "said once", request_id="r1")
        assert judge.lost
        made = store.upsert(dedupe_key="l", title="after", service="api", env="prod", request_id="r2")
        assert "created" == made.verdict
    with open_backlog(dsn) as direct:
        comments = [event for event in direct.trail(known.id) if event.message == "said once"]
        assert [said.revision] == [event.revision for event in comments]
