"""
Many problems at once: NDJSON in, a verdict a line out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from msgspec.structs import replace

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

    2,000 lines are one transaction, and their verdicts are sent as it is done. What fails later than the first of
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
        drafts = _drafts(file, line_max)
        while part := list(islice(drafts, LIMITS.drafts_per_command)):
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


def _drafts(file: BinaryIO, line_max: int) -> Iterator[Draft | Outcome]:
    """
    Yield what is on each line in which there is something, or its refusal; no line is kept, nor what was read of it.
    """
    while line := file.readline(line_max + 1):
        if len(line) <= line_max or line.endswith(b"\n"):
            if line.strip():
                yield _draft(line)
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(line_max)
        yield _refused(HttpProblem(413, f"the line is longer than {line_max:,} bytes"))


def _draft(line: bytes) -> Draft | Outcome:
    try:
        return decoded(line, DraftIn, "line").draft()
    except BacklogError as error:
        return _refused(error)


def _reported(backlog: Backlog, part: list[Draft | Outcome], request: str) -> list[Outcome]:
    drafts = tuple(one for one in part if isinstance(one, Draft))
    answer = backlog.execute(c.Report(drafts=drafts), request_id=request)
    decided = iter(answer.outcomes)
    found = []
    for one in part:
        if isinstance(one, Draft):
            became = next(decided)
            found.append(Outcome(verdict=became.verdict, id=became.id, revision=became.revision, why=became.why,
                                 code=became.code, batch=answer.batch, replayed=answer.replayed,
                                 accepted=answer.accepted))  # fmt: skip
        else:
            found.append(one)
    return found


def _refused(error: BacklogError) -> Outcome:
    return Outcome(verdict="refused", why=str(error), code=getattr(error, "own_code", error.code))


def _undone(error: BacklogError, *, tried: bool = True) -> Outcome:
    refused = _refused(error)
    return replace(refused, verdict="unknown") if tried and isinstance(error, OutcomeUnknown) else refused
