"""
Three PostgreSQL under Patroni, broken while clients write: nothing acknowledged is lost, and the clients recover.

``TEST_HA_ROUNDS=60 make test-system ARGS="-k ha"`` is the long run. Each round and the account are printed.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from backlog_store import open_backlog
from tests.sizes import HA_ROUNDS
from tests.system.ha.clients import Client, balance
from tests.system.ha.cluster import Cluster, Node

CLIENTS = 6
#: So many more writes of each client after a fault show that it has recovered.
WRITES = 10
RECOVERED_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """
    A cluster that replicates synchronously, as the guide has it.
    """
    with Cluster(tmp_path_factory.mktemp("ha")) as cluster:
        yield cluster


@pytest.fixture
def clients(cluster: Cluster) -> Iterator[Sequence[Client]]:
    """
    Clients that write, each on a thread and a handle of its own, all nodes in its URL.
    """
    clients = [Client(cluster.dsn(), number) for number in range(1, CLIENTS + 1)]
    for client in clients:
        client.start()
    yield clients
    for client in clients:
        client.stop()
    for client in clients:
        client.join()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """
    Print at once, for whoever watches a long run.
    """

    def tell(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text}\n")
            sys.stdout.flush()

    return tell


def crash(cluster: Cluster, primary: Node) -> None:
    """
    PostgreSQL is killed; Patroni lives.
    """
    primary.crash()
    cluster.primary(other_than=primary)


def switch(cluster: Cluster, primary: Node) -> None:
    """
    Somebody asks for another primary.
    """
    cluster.switch_over(primary)


def freeze(cluster: Cluster, primary: Node) -> None:
    """
    The whole machine stands still, is replaced, and wakes up believing that it is the primary.
    """
    primary.freeze()
    cluster.primary(other_than=primary)
    primary.thaw()


def cut(cluster: Cluster, primary: Node) -> None:
    """
    The machine reaches neither etcd nor the others; clients still reach it, and it would like to serve them.
    """
    primary.cut()
    cluster.primary(other_than=primary)
    primary.mend()


def die(cluster: Cluster, primary: Node) -> None:
    """
    Everything on the machine dies at once, and it is started again after another has taken over.
    """
    primary.kill()
    cluster.primary(other_than=primary)
    cluster.start()


SHORT: Sequence[Callable[[Cluster, Node], None]] = (crash, switch, freeze, cut)
LONG = (*SHORT, die)


def test_no_acknowledged_write_is_lost_when_primaries_fail(
    cluster: Cluster, clients: Sequence[Client], tell: Callable[[str], None]
) -> None:
    """
    Primaries are killed, switched, frozen and cut off under load: each acknowledged write is there exactly once.

    Each client's writes are in its order, nothing is there that was reported as not executed, every trail rebuilds its
    item, and every client goes on by itself after each fault.
    """
    _wait_for_writes(clients)
    for number, fault in zip(
        range(HA_ROUNDS), itertools.cycle(SHORT if len(SHORT) >= HA_ROUNDS else LONG), strict=False
    ):
        primary = cluster.primary()
        began = time.monotonic()
        fault(cluster, primary)
        _wait_for_writes(clients)
        seconds = time.monotonic() - began
        cluster.wait_until_well()
        tell(f"{number + 1}. {fault.__name__}: all clients wrote again after {seconds:.1f} s")
    for client in clients:
        client.stop()
    for client in clients:
        client.join()
    account = balance(clients, cluster.dsn())
    tell(str(account))
    assert [client.failure for client in clients] == [None] * CLIENTS
    assert (account.lost, account.twice, account.phantom, account.disordered) == ([], [], [], [])
    assert account.faults == []


def test_check_sees_the_standbys_and_says_that_nothing_would_be_lost(cluster: Cluster) -> None:
    """
    On a synchronous cluster `check` warns of nothing and names what follows.
    """
    with open_backlog(cluster.dsn()) as backlog:
        health = backlog.executor.check()
    assert (health.problems, health.warnings) == ((), ())
    assert health.facts["on_primary_loss"].startswith("nothing that was acknowledged")
    assert health.facts["standbys"].count("streaming") == 2


def _wait_for_writes(clients: Sequence[Client]) -> None:
    """
    Wait until each client has written some more, through the handle that it has.
    """
    before: Mapping[Client, int] = {client: len(client.acknowledged) for client in clients}
    deadline = time.monotonic() + RECOVERED_WITHIN_S
    for client in clients:
        while len(client.acknowledged) < before[client] + WRITES and client.is_alive():
            assert time.monotonic() < deadline, f"{client.name} did not recover within {RECOVERED_WITHIN_S} s"
            client.join(0.05)
