"""
Batches over HTTP: a verdict a line, whatever is in the others, however many there are, and whatever happens meanwhile.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import httpx
import msgspec
import pytest

from backlog_store.backlog import Backlog
from backlog_store.errors import BackendUnavailable, BacklogError, OutcomeUnknown
from backlog_store.model import LIMITS
from backlog_store.web.site import Limits
from tests.web.conftest import Client, of_site

NDJSON = {"Content-Type": "application/x-ndjson"}
MANY = LIMITS.drafts_per_command + 2


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    """
    Return the verdicts of an answer.
    """
    assert response.status_code == 200
    return [msgspec.json.decode(line) for line in response.content.splitlines()]


def problems(count: int) -> bytes:
    """
    Return lines of as many problems.
    """
    return b"".join(b'{"title":"a","dedupe_key":"k%d"}\n' % number for number in range(count))


def test_a_batch_has_a_verdict_a_line(client: Client) -> None:
    """
    Lines that cannot be decided are refused in their place, the others are done.
    """
    lines = b'{"title":"a","dedupe_key":"k"}\n{"title":1}\n{"title":"b","dedupe_key":"l","priority":"P9"}\nnonsense\n'
    headers = {"Content-Type": "application/x-ndjson"}
    response = client.post("/api/v1/batch/upsert", content=lines, headers=headers)
    assert [told["verdict"] for told in lines_of(response)] == ["created", "refused", "refused", "refused"]


def test_what_is_wrong_with_a_whole_batch_is_told_before_any_verdict(client: Client) -> None:
    """
    By the status: behind a 200 it could only be cut off.
    """
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "k" * 300}
    response = client.post("/api/v1/batch/upsert", content=b'{"title":"a","dedupe_key":"k"}\n', headers=headers)
    assert response.status_code == 422
    assert client.get("/api/v1/items").json()["items"] == []


def test_no_line_takes_the_others_along(client: Client) -> None:
    """
    Nested beyond all depth, not UTF-8, of another kind: the line says so, with every fault, and the others are done.
    """
    deep = b'{"title":"a","meta":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    wrong = b'{"titel":"a","tags":7}'
    body = b"\n".join([b'{"title":"a"}', deep, b"\xff\xfe", b"[]", wrong, b"", b'{"title":"b"}'])
    told = lines_of(client.post("/api/v1/batch/upsert", content=body, headers=NDJSON))
    assert [(one["verdict"], one.get("code", "")) for one in told] == [
        ("created", ""), ("refused", "malformed"), ("refused", "malformed"), ("refused", "invalid_input"),
        ("refused", "invalid_input"), ("created", ""),
    ]  # fmt: skip
    assert all(name in told[4]["why"] for name in ("/titel", "/title", "/tags"))


def test_a_batch_may_be_larger_than_other_bodies_and_no_line_may(backlog: Backlog) -> None:
    """
    Lines are read as they are done: their number is bounded by the size of a report, each by that of a body.
    """
    with of_site(backlog, limits=Limits(body=1_000, report=200_000, in_memory=100)) as client:
        client.headers["x-test-asker"] = "root"
        long = b'{"title":"' + b"x" * 3_000 + b'"}\n'
        told = lines_of(
            client.post("/api/v1/batch/upsert", content=problems(MANY) + long + problems(1), headers=NDJSON)
        )
        assert [one["verdict"] for one in told] == [*["created"] * MANY, "refused", "unchanged"]
        assert "longer than 1,000 bytes" in told[MANY]["why"]
        refused = client.post("/api/v1/batch/upsert", content=problems(9_000), headers=NDJSON)
        assert (refused.status_code, "200,000 bytes" in refused.json()["detail"]) == (413, True)


def test_what_is_refused_is_not_held_while_the_others_are_read(client: Client) -> None:
    """
    Many lines that are no drafts need no more memory than one: what was read of them is let go at once.
    """
    line = b"[" + b",".join([b"[]"] * 50_000) + b"]\n"

    def most(count: int) -> int:
        tracemalloc.start()
        told = lines_of(client.post("/api/v1/batch/upsert", content=line * count, headers=NDJSON))
        assert {one["code"] for one in told} == {"invalid_input"}
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    one = most(1)
    assert most(11) - one < 10 * 5 * len(line)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (BackendUnavailable("postgres", "write", "away"), "refused"),
        (OutcomeUnknown("postgres", "write", "cut"), "unknown"),
    ],
)
def test_what_fails_half_way_is_told_of_its_lines(
    client: Client, backlog: Backlog, monkeypatch: pytest.MonkeyPatch, error: BacklogError, verdict: str
) -> None:
    """
    What was done stands; of the rest each line has its verdict, and asking again with the same key ends it.
    """
    execute = type(backlog.executor).execute
    done: list[int] = []

    def failing(*args: Any, **more: Any) -> Any:
        done.append(1)
        if len(done) == 2:
            raise error
        return execute(*args, **more)

    monkeypatch.setattr(type(backlog.executor), "execute", failing)
    headers = {**NDJSON, "Idempotency-Key": "job-7"}
    told = lines_of(client.post("/api/v1/batch/upsert", content=problems(MANY), headers=headers))
    assert [one["verdict"] for one in told] == [*["created"] * (MANY - 2), *[verdict] * 2]
    assert (told[-1]["code"], told[-1]["why"]) == (error.code, str(error))
    again = lines_of(client.post("/api/v1/batch/upsert", content=problems(MANY), headers=headers))
    assert {(one["verdict"], one.get("replayed", False)) for one in again} == {("created", True), ("created", False)}
    assert client.get("/api/v1/counts").json()["total"] == MANY
