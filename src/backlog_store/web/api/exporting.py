"""
Taking data along: everything that one sees as an export, and what a query finds as CSV.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from threading import Lock
from typing import BinaryIO, cast

from backlog_store.backends.port import Reader
from backlog_store.errors import Fault
from backlog_store.rules.scoping import visible
from backlog_store.transfer import write_export
from backlog_store.web.api.items import LIST
from backlog_store.web.inputs import refuse
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Reply, Routes
from backlog_store.web.tables import csv_of

__all__ = ["routes"]

routes = Routes("/api/v1")

_WHERE = tuple(param for param in LIST if param.name != "limit")
_BLOCK = 256 * 1024
_running = Lock()


@routes.add("GET", "/export", action="read", gives="application/x-ndjson", answers={200: None})
def export(ask: Ask) -> Reply:
    """
    Export everything that may be seen as `backlog export` writes it: one consistent view, one line of JSON each.

    Sent once all of it is read; one export at a time in a process (503), none while the database is away. Digests of
    tokens and passwords stay behind.
    """
    if not _running.acquire(blocking=False):
        raise HttpProblem(503, "another export is being read", headers={"Retry-After": "30"})
    try:
        file = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=ask.site.limits.in_memory))  # noqa: SIM115
        try:
            # Past the executor: while the database is away it would read the copy, which has part of it.
            backend, scope = ask.site.backlog.executor.backend, ask.asker.scope
            backend.read(lambda reader: _written(visible(reader, scope), file))
        except BaseException:
            file.close()
            raise
    finally:
        _running.release()
    headers = {"Content-Disposition": 'attachment; filename="backlog.ndjson"'}
    return Reply(stream=_blocks(file), media="application/x-ndjson", headers=headers)


def _written(reader: Reader, file: BinaryIO) -> None:
    file.seek(0)  # a view may be read again
    file.truncate()
    write_export(reader, file)
    file.seek(0)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK):
            yield block


@routes.add("GET", "/items.csv", action="read", collects=True, params=_WHERE, gives="text/csv", answers={200: None})
def list_items_as_csv(ask: Ask) -> Reply:
    """
    Give all that a query finds as CSV, from the cursor on if there is one; no cell is taken for a formula.
    """
    if "limit" in ask.parameters:
        refuse([Fault("/limit", ask.text("limit"), "CSV is all that is found")])
    return csv_of(ask, ask.parameters)
