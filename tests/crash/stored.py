"""
A store with everything that a history can hold: what damage, backups and seals are tried on.
"""

from __future__ import annotations

from backlog_store import open_backlog
from backlog_store.backends.keeping import audit
from backlog_store.backends.port import Backend
from backlog_store.backends.registry import open_backend
from backlog_store.testing.clocks import CountingIds, StepClock
from backlog_store.verify import Verified, silent, verify

__all__ = ["fill", "proof", "proof_of"]

SERVICES = ("checkout", "search", "Straße")


def fill(url: str, *, count: int = 24) -> None:
    """
    Make a store with *count* items: edited, moved, commented, linked, closed, purged, returned, seen again.
    """
    with open_backlog(url, clock=StepClock(), ids=CountingIds()) as backlog:
        for number in range(count):
            draft = {"title": f"{SERVICES[number % 3]} burns its budget {number}", "service": SERVICES[number % 3],
                     "tags": ("slo", f"t{number % 4}"), "owner": "ana" if number % 2 else "", "meta": {"n": number},
                     "dedupe_key": f"slo:{number}" if number % 5 else "", "source": "monitor"}  # fmt: skip
            backlog.upsert(draft)
            if number % 3 and number % 5:
                backlog.upsert(draft)  # a sighting
        ids = [item.id for item in backlog.search(order="created", limit=count)]
        person = backlog.acting_as("bo", person=True)
        person.edit(ids[1], title="Renamed by hand", message="clearer")
        person.move(ids[2], "in_progress")
        person.comment(ids[2], "looking at it")
        person.link(ids[3], "blocks", ids[4])
        for id, reason in ((ids[6], "wont_fix"), (ids[7], "fixed"), (ids[8], "fixed")):
            person.close_item(id, reason, message="decided")
        backlog.cleanup(0)
        backlog.upsert({"title": "It is back", "dedupe_key": "slo:7", "source": "monitor"})
        for id in ids[10:12]:
            person.close_item(id, "fixed")
        backlog.upsert({"title": "Again", "dedupe_key": "slo:11", "source": "monitor"})


def proof(backend: Backend) -> Verified:
    """
    Prove a store as `backlog verify` does.
    """
    return backend.read(lambda reader: verify(reader, audit=audit(backend, reader, silent)))


def proof_of(url: str) -> Verified:
    """
    Open a store and prove it.
    """
    backend = open_backend(url)
    try:
        return proof(backend)
    finally:
        backend.close()
