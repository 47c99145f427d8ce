"""
Histories of concurrent clients, and the check that nothing in one is lost, doubled, invented or out of time.

Each operation appends its own mark to the item of a key: the marks of an item's events, by revision, are then the order
in which the store says it happened. That order must hold every acknowledged mark once, at the revision that was
answered, and must not put one operation before another that had ended before it began.

Clients are threads (`perform`), or processes that each perform and hand over what they recorded: instants are those of
the machine's monotonic clock, which its processes share.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from threading import Barrier, Thread
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from backlog_store.backends.port import Backend, Writer
from backlog_store.errors import BackendError, OutcomeUnknown
from backlog_store.model import Event, Key
from backlog_store.query import EventQuery
from backlog_store.testing.samples import an_item, first, then

__all__ = ["Append", "Operation", "append_to_key", "check_history", "key_of", "mark_of", "perform"]

#: Appends a mark to the item of a key and returns the revision that did it.
Append = Callable[[Backend, Key, str], int]


class Operation(Struct, frozen=True, kw_only=True):
    """
    What one client asked for and was told. Instants in nanoseconds of the monotonic clock.

    *unknown* may or may not have happened; *failed* surely has not.
    """

    key: Key
    mark: str
    invoked: int
    returned: int
    outcome: Literal["done", "failed", "unknown"]
    revision: int = 0


def key_of(number: int) -> Key:
    """
    Return the key that *number* stands for in a history.
    """
    return ("prod", f"hot:{number}")


def append_to_key(backend: Backend, key: Key, mark: str) -> int:
    """
    Append *mark* to the item of *key*, which is created if need be; return its revision.
    """

    def upsert(writer: Writer) -> int:
        held = writer.items_by_key([key]).get(key)
        if held is None:
            item = an_item(f"bl_{key[1]}", env=key[0], dedupe_key=key[1], meta={"log": [mark]})
            writer.apply([first(item, message=mark)])
            return 1
        change = then(held, meta={"log": [*held.meta["log"], mark]})
        writer.apply([type(change)(change.item, _marked(change.event, mark))])
        return change.item.revision

    return backend.write(upsert)


def mark_of(event: Event) -> str:
    """
    Return the mark that an event of `append_to_key` carries.
    """
    return event.message


def perform(
    open_client: Callable[[int], Backend], append: Append, *, clients: int, keys: int, each: int, name: str = ""
) -> list[Operation]:
    """
    Let *clients* threads append *each* marks to *keys* keys by turns, all starting at once; return what they recorded.

    *name* tells the marks of one process from those of another.
    """
    recorded: list[list[Operation]] = [[] for _ in range(clients)]
    raised: list[Exception] = []
    start = Barrier(clients)

    def run(client: int) -> None:
        backend = open_client(client)
        start.wait()
        try:
            for number in range(each):
                key = key_of((client * 7 + number) % keys)
                recorded[client].append(_record(backend, append, key, f"{name}{client}.{number}"))
        except Exception as error:  # noqa: BLE001  (raised again below, on the caller's thread)
            raised.append(error)

    threads = [Thread(target=run, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    return [operation for operations in recorded for operation in operations]


def check_history(
    backend: Backend, operations: Sequence[Operation], *, mark_of: Callable[[Event], str] = mark_of
) -> list[str]:
    """
    Return what is wrong with the history that *backend* now tells of these operations; nothing, if all is well.
    """
    keys = sorted({operation.key for operation in operations})
    held = backend.read(lambda reader: reader.items_by_key(keys))
    events = backend.read(lambda reader: reader.events(EventQuery(limit=None)))
    faults: list[str] = []
    for key in keys:
        mine = [operation for operation in operations if operation.key == key]
        if key not in held:
            if any(operation.outcome == "done" for operation in mine):
                faults.append(f"{key}: acknowledged changes, but no item")
            continue
        trail = [event for event in events if event.item_id == held[key].id]
        faults += [f"{key}: {fault}" for fault in _check_key(held[key].revision, trail, mine, mark_of)]
    known = {item.id for item in held.values()}
    faults += [f"event {event.id} belongs to no key" for event in events if event.item_id not in known]
    return faults


def _record(backend: Backend, append: Append, key: Key, mark: str) -> Operation:
    revision = 0
    outcome: Literal["done", "failed", "unknown"] = "done"
    invoked = time.monotonic_ns()
    try:
        revision = append(backend, key, mark)
    except OutcomeUnknown:
        outcome = "unknown"
    except BackendError:
        outcome = "failed"
    returned = time.monotonic_ns()
    return Operation(key=key, mark=mark, invoked=invoked, returned=returned, outcome=outcome, revision=revision)


def _check_key(
    revision: int, trail: Sequence[Event], operations: Sequence[Operation], mark_of: Callable[[Event], str]
) -> Iterable[str]:
    if [event.revision for event in trail] != list(range(1, revision + 1)):
        yield f"revision {revision}, but events of revisions {[event.revision for event in trail]}"
    marks = {event.revision: mark_of(event) for event in trail}
    asked = {operation.mark: operation for operation in operations}
    for mark, count in Counter(marks.values()).items():
        if count > 1:
            yield f"{mark} happened {count} times"
        if mark not in asked:
            yield f"{mark} happened, but nobody asked for it"
        elif asked[mark].outcome == "failed":
            yield f"{mark} happened, but its client was told that it had not"
    done = sorted((one for one in operations if one.outcome == "done"), key=lambda operation: operation.revision)
    for operation in done:
        if marks.get(operation.revision) != operation.mark:
            yield f"{operation.mark} was acknowledged as revision {operation.revision}, which is not its own"
    ended: int | None = None
    for operation in reversed(done):
        if ended is not None and ended < operation.invoked:
            yield f"{operation.mark} began after a later revision had ended"
        ended = operation.returned if ended is None else min(ended, operation.returned)


def _marked(event: Event, mark: str) -> Event:
    return replace(event, message=mark)
