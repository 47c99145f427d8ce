"""
Many problems at once: NDJSON in, a verdict a line out.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from backlog_store import commands as c
from backlog_store.codec import encode
from backlog_store.errors import InvalidInput
from backlog_store.model import LIMITS, Draft
from backlog_store.web.api.bodies import DraftIn, Outcome
from backlog_store.web.inputs import request_id
from backlog_store.web.problems import HttpProblem
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")


@routes.add("POST", "/batch/upsert", action="report", takes=("application/x-ndjson",), gives="application/x-ndjson",
            headers=("Idempotency-Key",), answers={200: Outcome})  # fmt: skip
def upsert_batch(ask: Ask) -> Reply:
    """
    Report many problems, one JSON object a line; each line is answered by a line with its verdict, in order.
    """
    media = ask.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in ("application/x-ndjson", "application/jsonl", "application/ndjson"):
        raise HttpProblem(415, f"{media[:60] or 'no media type'}: give application/x-ndjson",
                          headers={"Accept": "application/x-ndjson"})  # fmt: skip
    return Reply(stream=_lines(ask, ask.body.split(b"\n"), request_id(ask.request)), media="application/x-ndjson")


def _lines(ask: Ask, lines: list[bytes], request: str) -> Iterator[bytes]:
    backlog = ask.backlog
    lines = [line for line in lines if line.strip()]
    for number, start in enumerate(range(0, len(lines), LIMITS.drafts_per_command), 1):
        found: list[Outcome | None] = []
        drafts: list[Draft] = []
        for line in lines[start : start + LIMITS.drafts_per_command]:
            try:
                drafts.append(msgspec.json.decode(line, type=DraftIn).draft())
                found.append(None)
            except (InvalidInput, msgspec.MsgspecError, UnicodeDecodeError) as error:
                found.append(Outcome(verdict="refused", code="invalid_input", why=str(error)))
        asked = f"{request}/{number}" if request else ""
        answer = backlog.execute(c.Report(drafts=tuple(drafts)), request_id=asked)
        decided = iter(answer.outcomes)
        for one in found:
            if one is None:
                became = next(decided)
                one = Outcome(verdict=became.verdict, id=became.id, revision=became.revision, why=became.why,  # noqa: PLW2901
                              code=became.code, batch=answer.batch, accepted=answer.accepted)  # fmt: skip
            yield encode(one) + b"\n"
