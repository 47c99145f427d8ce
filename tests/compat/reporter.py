"""
A process that reports: `python reporter.py KIND PLACE KEYS TIMES`; it prints how many items it created.

It waits for a line on its standard input before it begins, so that several begin together.
"""

from __future__ import annotations

import sys

from backlog_store import BacklogEvent, BacklogItem, BacklogStore, JsonlBacklogStore, PostgresBacklogStore


def main(kind: str, place: str, keys: int, times: int) -> None:
    """Report each key so many times, with an event each time."""
    store: BacklogStore = PostgresBacklogStore(place) if kind == "postgres" else JsonlBacklogStore(place, f"{place}.e")
    store.list_items(limit=1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    created = 0
    for number in range(times):
        for key in range(keys):
            answer = store.upsert(BacklogItem.from_dict({"title": f"Report {number}", "dedupe_key": f"k{key}"}))
            created += answer["action"] == "created"
            store.add_event(BacklogEvent.from_dict({"item_id": answer["item"].id, "message": "seen"}))
    sys.stdout.write(f"{created}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
