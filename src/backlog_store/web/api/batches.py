"""
Many problems at once: NDJSON in, a verdict a line out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from backlog_store import commands as c
from backlog_store.backlog import Backlog
from backlog_store.codec import encode
from backlog_store.errors import BacklogError, OutcomeUnknown
from backlog_store.model import LIMITS, Draft
from backlog_store.web.api.bodies import DraftIn, Outcome
from backlog_store.web.inputs import decoded, request_id
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")


@routes.add("POST", "/batch/upsert", action="report", takes=("application/x-ndjson",), gives="application/x-ndjson",
            headers=("Idempotency-Key",), spooled=True, answers={200: Outcome})  # fmt: skip
def upsert_batch(ask: Ask) -> Reply:
    """
    Report many problems, one JSON object a line; each line is answered by a line with its verdict, in order.

    Done by the thousand, each in one transaction, while the verdicts are sent. What fails later than the first of
    them is the verdict of its lines: `unknown`, or `refused` with the code of the error.
    """
    media = ask.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in ("application/x-ndjson", "application/jsonl", "application/ndjson"):
        raise HttpProblem(415, f"{media[:60] or 'no media type'}: give application/x-ndjson",
                          headers={"Accept": "application/x-ndjson"})  # fmt: skip
    verdicts = _verdicts(ask.backlog, ask.stream, ask.site.limits.body, request_id(ask.request))
    return Reply(stream=verdicts, media="application/x-ndjson")


def _verdicts(backlog: Backlog, file: BinaryIO, line_max: int, request: str) -> Iterator[bytes]:
    number, failed = 0, None
    with file:
        lines = _lines(file, line_max)
        while part := list(islice(lines, LIMITS.drafts_per_command)):
            number += 1
            if failed is None:
                try:
                    found = _reported(backlog, part, f"{request}/{number}" if request else "")
                except BacklogError as error:
                    if number == 1:
                        raise  # nothing was told yet: it is the status of the answer
                    failed = error
                    found = [_undone(error)] * len(part)
            else:
                found = [_undone(failed, tried=False)] * len(part)
            yield b"".join(encode(one) + b"\n" for one in found)


def _lines(file: BinaryIO, line_max: int) -> Iterator[bytes | BacklogError]:
    """
    Yield the lines in which there is something, without holding one that is too long.
    """
    while line := file.readline(line_max + 1):
        if len(line) <= line_max or line.endswith(b"\n"):
            if line.strip():
                yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(line_max)
        yield HttpProblem(413, f"the line is longer than {line_max:,} bytes")


def _reported(backlog: Backlog, part: list[bytes | BacklogError], request: str) -> list[Outcome]:
    read = [_draft(line) if isinstance(line, bytes) else line for line in part]
    drafts = tuple(one for one in read if isinstance(one, Draft))
    answer = backlog.execute(c.Report(drafts=drafts), request_id=request)
    decided = iter(answer.outcomes)
    found = []
    for one in read:
        if isinstance(one, Draft):
            became = next(decided)
            found.append(Outcome(verdict=became.verdict, id=became.id, revision=became.revision, why=became.why,
                                 code=became.code, batch=answer.batch, replayed=answer.replayed,
                                 accepted=answer.accepted))  # fmt: skip
        else:
            found.append(Outcome(verdict="refused", why=str(one), code=getattr(one, "own_code", one.code)))
    return found


def _draft(line: bytes) -> Draft | BacklogError:
    try:
        return decoded(line, DraftIn, "line").draft()
    except BacklogError as error:
        return error


def _undone(error: BacklogError, *, tried: bool = True) -> Outcome:
    is_unknown = tried and isinstance(error, OutcomeUnknown)
    return Outcome(verdict="unknown" if is_unknown else "refused", why=str(error), code=error.code)
