"""
A backlog with a clock that stands still, and receivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from backlog_store.backends.memory import open_memory
from backlog_store.backlog import Backlog
from backlog_store.commands import SetWebhook
from backlog_store.executors.local import LocalExecutor
from backlog_store.instants import Instant, add_seconds
from backlog_store.testing.clocks import CountingIds
from backlog_store.webhooks.delivering import Deliverer
from backlog_store.webhooks.outlets import Outlets
from tests.webhooks.receiver import SECRET, Receiver

HERE = Outlets(hosts=("127.0.0.1",), networks=(ip_network("127.0.0.0/8"),), within_s=30.0)


class Still:
    """
    A clock that stands until it is moved.
    """

    def __init__(self) -> None:
        self.now: Instant = "2026-03-01T12:00:00.000000Z"

    def __call__(self) -> Instant:
        return self.now

    def move(self, seconds: float) -> None:
        """
        Move it on.
        """
        self.now = add_seconds(self.now, seconds)


@pytest.fixture
def clock() -> Still:
    """
    Return the clock.
    """
    return Still()


@pytest.fixture
def backlog(clock: Still) -> Backlog:
    """
    Return a backlog in memory.
    """
    return Backlog(LocalExecutor(open_memory()), actor="scanner", clock=clock, ids=CountingIds())


@pytest.fixture
def receive() -> Iterator[Callable[[], Receiver]]:
    """
    Return a function that starts a receiver.
    """
    running: list[Receiver] = []

    def start() -> Receiver:
        running.append(Receiver())
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def receiver(receive: Callable[[], Receiver]) -> Receiver:
    """
    Return a receiver.
    """
    return receive()


def subscribe(backlog: Backlog, url: str, name: str = "chat", **more: Any) -> None:
    """
    Make a subscription.
    """
    backlog.execute(SetWebhook(name=name, url=url, over=0, secret=SECRET, **more))


def deliverer(backlog: Backlog, holder: str = "one", jitter: float = 1.0, outlets: Outlets = HERE) -> Deliverer:
    """
    Return what delivers.
    """
    return Deliverer(backlog, outlets, holder=holder, jitter=lambda: jitter)
