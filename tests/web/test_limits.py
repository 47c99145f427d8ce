"""
What a request may take: how often, and how long its body may be on its way.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from backlog_store.backlog import Backlog
from backlog_store.web.problems import HttpProblem
from backlog_store.web.rates import Rates
from backlog_store.web.site import Asker, Limits
from tests.web.conftest import of_site
from tests.web.serving import Served


def allowed(rates: Rates, name: str, *times: float) -> list[bool]:
    """
    Return which of these requests of one name are let through.
    """
    found = []
    for time in times:
        try:
            rates.check(name, time)
        except HttpProblem:
            found.append(False)
        else:
            found.append(True)
    return found


def test_a_bucket_holds_a_burst_and_fills_as_time_goes_by() -> None:
    """
    After a rest as many go at once as the burst says, then as many as the rate says, and each name for itself.
    """
    rates = Rates(2, burst=3)
    assert allowed(rates, "a", 0, 0, 0, 0, 0) == [True, True, True, False, False]
    assert allowed(rates, "b", 0) == [True]
    assert allowed(rates, "a", 0.5, 0.5, 1.0, 1.0) == [True, False, True, False]
    assert allowed(rates, "a", 100, 100, 100, 100) == [True, True, True, False]


def test_who_waits_as_told_gets_through() -> None:
    """
    What Retry-After says is long enough, also where a request is allowed every few seconds only.
    """
    rates = Rates(0.3, burst=1)
    rates.check("a", 0)
    with pytest.raises(HttpProblem) as refused:
        rates.check("a", 0)
    rates.check("a", float(refused.value.headers["Retry-After"]))


def test_without_a_rate_there_is_no_bound() -> None:
    """
    A rate of 0 lets everything through.
    """
    assert all(allowed(Rates(0), "a", *([0.0] * 1_000)))


def test_a_credential_that_asks_too_often_is_told_when_to_come_back(backlog: Backlog) -> None:
    """
    Past the burst a bound credential gets 429 with Retry-After; another one, and who is alone here, go on.
    """
    with of_site(backlog, rates=Rates(0.001, burst=2)) as client:

        def ask(name: str) -> int:
            response = client.get("/api/v1/items", headers={"x-test-asker": name})
            assert (response.status_code == 429) == ("retry-after" in response.headers)
            return response.status_code

        assert [ask("ann") for _ in range(3)] == [200, 200, 429]
        assert [ask("eve"), ask("root"), ask("root"), ask("root")] == [200] * 4


def test_a_body_that_trickles_is_given_up(serve: Callable[..., Served]) -> None:
    """
    Who announces a body and does not send it is answered 408, and the connection is closed.
    """
    parts = urlsplit(serve(Asker(name="ann", person=True), limits=Limits(body_wait_s=0.1)).url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        head = "POST /api/v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        connection.sendall(head.encode())
        answer = b""
        while chunk := connection.recv(65_536):  # until the server closes it
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


def test_who_may_not_ask_sends_no_body(serve: Callable[..., Served]) -> None:
    """
    A request that is refused for who asks is answered before its body is there.
    """
    from backlog_store.access import Scope

    parts = urlsplit(serve(Asker(name="eve", scope=Scope(role="reader"))).url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(b"POST /api/v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 403 ")
