"""
One process that takes work: ``python claimer.py URL``. It says ``ready``, waits for a line, then claims all there is.

It prints what it claimed as ``id token`` lines. Every claimer goes by the same name, as workers of one pool do.
"""

from __future__ import annotations

import sys

from backlog_store import open_backlog

__all__: list[str] = []


def main(url: str) -> None:
    """
    Claim the next item until none is ready.
    """
    with open_backlog(url, actor="pool") as backlog:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        while (outcome := backlog.work.claim()).id:
            sys.stdout.write(f"{outcome.id} {outcome.token}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
