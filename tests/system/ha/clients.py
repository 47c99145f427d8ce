"""
Clients that write while their database fails over, and the account of what became of each of their writes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from backlog_store import Backlog, open_backlog
from backlog_store import commands as c
from backlog_store.errors import BackendUnavailable, OutcomeUnknown
from backlog_store.model import Draft
from backlog_store.query import EventQuery
from backlog_store.verify import verify

__all__ = ["Account", "Client", "balance"]

#: How long a client whose write was refused waits before its next one, in seconds.
PAUSE_S = 0.05
#: The item that all clients comment on.
SHARED = "ha:shared"


class Client(threading.Thread):
    """
    One client: reports problems of its own and comments on an item of everybody, in turn and numbered.

    It opens the store once and never again. A write that surely was not executed is given up, and must not be found;
    one whose outcome is unknown is asked for again, by the same request id, until it is known.
    """

    def __init__(self, dsn: str, number: int) -> None:
        super().__init__(name=f"client{number}", daemon=True)
        self._backlog = open_backlog(dsn, actor=self.name, connections_max=2)
        self._shared = self._backlog.upsert(title="Shared", dedupe_key=SHARED).id
        self._is_over = threading.Event()
        self.acknowledged: list[int] = []
        self.refused: list[int] = []
        self.unknown = 0
        self.longest_gap_s = 0.0
        self.failure: BaseException | None = None

    def run(self) -> None:
        """
        Write until told to stop; the last write is carried to its end.
        """
        number = 0
        last = time.monotonic()
        try:
            while not self._is_over.is_set():
                number += 1
                if self._write(number):
                    now = time.monotonic()
                    self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
                else:
                    self._is_over.wait(PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            self.failure = error
        finally:
            self._backlog.close()

    def stop(self) -> None:
        """
        Let it finish what it is at.
        """
        self._is_over.set()

    def _write(self, number: int) -> bool:
        """
        Write once, and return whether it was acknowledged.
        """
        name = f"{self.name}:{number}"
        body: c.Body = c.Comment(id=self._shared, message=name)
        if number % 2:
            body = c.Report(drafts=(Draft(title=name, dedupe_key=f"ha:{name}"),))
        is_unknown = False
        while True:
            try:
                self._backlog.execute(body, request_id=name)
            except OutcomeUnknown:
                self.unknown += not is_unknown
                is_unknown = True
            except BackendUnavailable:
                if not is_unknown:
                    self.refused.append(number)
                    return False
            else:
                self.acknowledged.append(number)
                return True
            threading.Event().wait(PAUSE_S)


@dataclass
class Account:
    """
    What became of the clients' writes: how many of each kind, and those that should not be, by name.
    """

    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    #: Acknowledged, and not there.
    lost: list[str] = field(default_factory=list)
    #: There more than once.
    twice: list[str] = field(default_factory=list)
    #: There, though the client was told that it surely was not executed, or never wrote it.
    phantom: list[str] = field(default_factory=list)
    #: There before one that the same client wrote earlier.
    disordered: list[str] = field(default_factory=list)
    faults: Sequence[str] = ()

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {self.refused} refused, {self.unknown} unknown and settled: "
            f"lost {len(self.lost)}, twice {len(self.twice)}, phantom {len(self.phantom)}, "
            f"out of order {len(self.disordered)}"
        )


def balance(clients: Sequence[Client], dsn: str) -> Account:
    """
    Compare what the clients, which are done, were told with what is stored.
    """
    account = Account()
    with open_backlog(dsn, batch_s=300) as backlog:
        found = _found(backlog)
        account.faults = backlog.read(verify).faults
    for client in clients:
        account.acknowledged += len(client.acknowledged)
        account.refused += len(client.refused)
        account.unknown += client.unknown
        written = found.get(client.name, [])
        counts = Counter(written)
        acknowledged = set(client.acknowledged)
        account.lost += _names(client, acknowledged - counts.keys())
        account.phantom += _names(client, counts.keys() - acknowledged)
        account.twice += _names(client, (number for number, count in counts.items() if count > 1))
        account.disordered += _names(client, (b for a, b in pairwise(written) if b < a))
    return account


def _found(backlog: Backlog) -> Mapping[str, list[int]]:
    """
    Return the numbers of each client's writes that are stored, in the order of the whole store's events.
    """
    titles = {item.id: item.title for item in backlog.each()}
    events = backlog.read(lambda reader: reader.events(EventQuery(limit=None)))
    found: dict[str, list[int]] = {}
    for event in events:
        name = event.message if event.added else titles[event.item_id]
        if ":" in name:  # the shared item itself is nobody's write
            client, number = name.split(":")
            found.setdefault(client, []).append(int(number))
    return found


def _names(client: Client, numbers: Iterable[int]) -> list[str]:
    return [f"{client.name}:{number}" for number in sorted(numbers)]
