"""
Webhooks of a service, as processes: delivered while it serves, and after it was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backlog_store import open_backlog
from backlog_store.query import EventQuery
from tests.web.processes import Server
from tests.webhooks.conftest import subscribe
from tests.webhooks.receiver import Receiver

ENV = {"BACKLOG_WEBHOOK_HOSTS": "127.0.0.1", "BACKLOG_WEBHOOK_NETWORKS": "127.0.0.0/8"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """
    Return a function that starts a service that may send to this machine; all are killed at the end.
    """
    running: list[Server] = []

    def begin(url: str, *options: str, **more: Any) -> Server:
        running.append(Server(url, tmp_path, *options, env=ENV, **more))
        return running[-1]

    yield begin
    for one in running:
        one.kill()


def test_killed_in_the_middle_every_event_still_comes(
    start: Callable[..., Server], receiver: Receiver, tmp_path: Path
) -> None:
    """
    Some may come twice, under the same id; none is missing, and first arrivals are in the order of the commits.
    """
    url = f"sqlite://{tmp_path}/b.db"
    with open_backlog(url) as backlog:
        subscribe(backlog, receiver.url)
    server = start(url, "--workers", "2")
    for number in range(30):
        assert server.report(f"k{number}")
    receiver.wait_for(lambda: len(receiver.got) >= 5)
    server.kill()
    with open_backlog(url) as backlog:
        for number in range(30, 40):
            backlog.upsert(title="later", dedupe_key=f"k{number}")
        written = [event.id for event in backlog.events(EventQuery(limit=None)) if event.item_id != "access"]
    again = start(url, port=server.port)
    receiver.wait_for(lambda: receiver.got[-1].headers["webhook-id"] == written[-1])
    assert list(dict.fromkeys(got.headers["webhook-id"] for got in receiver.got)) == written
    status, told = again.ask("GET", "/metrics")
    assert status == 200
    assert b'backlog_webhook_deliveries_total{outcome="delivered"}' in told
    assert again.stop() == 0
    with open_backlog(url) as backlog:
        lease = backlog.read(lambda reader: reader.records("delivery", ["lease"]))["lease"]
    assert lease.body["holder"] == ""
