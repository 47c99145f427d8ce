"""
A process that reports through ``auto``, as much as it is told to.

``python -m tests.outage.chaos_writer URL SPOOL NAME`` reads lines ``FIRST COUNT`` and says of each number, once that is
answered, ``NUMBER recorded|accepted SECONDS``; then ``done``. A count of 0 stands for as many as it takes until one is
recorded. An answer that is neither ends it.
"""

from __future__ import annotations

import itertools
import sys
import time

from backlog_store import open_backlog
from backlog_store.commands import Report
from backlog_store.executors.failover import places
from backlog_store.model import Draft

__all__ = ["OWN", "main"]

#: The key of the one item that each writer changes with each number; the others are new with each number.
OWN = "writer:"
#: How long a writer waits for the others at the spool; `test_chaos` bounds what an answer may take.
PATIENCE_S = 15.0


def main(url: str, spool: str, name: str) -> None:
    """
    Report until there is nothing more to read.
    """
    # Eight writers and a drain share the spool. On a busy machine one may wait for it for longer than the second after
    # which memory is the last resort, and what is in memory dies with a writer that is killed.
    places.LOCK_S = PATIENCE_S
    with open_backlog(f"auto+{url}", spool=spool, actor=name) as backlog:
        for line in sys.stdin:
            first, count = map(int, line.split())
            for number in itertools.count(first) if count == 0 else range(first, first + count):
                keys = (f"number:{name}:{number}", f"{OWN}{name}")
                drafts = tuple(Draft(title=f"Number {number}", dedupe_key=key, source=name) for key in keys)
                began = time.monotonic()
                answer = backlog.execute(Report(drafts=drafts), request_id=f"{name}/{number}")
                seconds = time.monotonic() - began
                assert not any(outcome.code for outcome in answer.outcomes), answer
                assert not answer.volatile, answer
                print(number, "accepted" if answer.accepted else "recorded", f"{seconds:.3f}", flush=True)  # noqa: T201
                if count == 0 and not answer.accepted:
                    break
            print("done", flush=True)  # noqa: T201  (a line for who drives this process)


if __name__ == "__main__":
    main(*sys.argv[1:])
