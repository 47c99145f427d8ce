"""
What a request may take: how often, and how long its body may be on its way.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from backlog_store.backlog import Backlog
from backlog_store.web import serving
from backlog_store.web.heads import Timely
from backlog_store.web.problems import HttpProblem
from backlog_store.web.rates import Rates
from backlog_store.web.serving import Running
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


class Hasty(Timely):
    """
    Waits for no head.
    """

    head_wait_s = 0.1


def test_a_connection_without_a_head_is_given_up(serve: Callable[..., Served]) -> None:
    """
    Who opens a connection and does not say what it asks for is cut off.
    """
    parts = urlsplit(serve(Asker(name="ann", person=True), http=Hasty).url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        assert connection.recv(65_536) == b""


class Lingering(Timely):
    """
    Waits for the first request of a connection for as long as a loaded machine may need.
    """

    leaving_s = 60.0


def until(look: Callable[[], object]) -> None:
    """
    Look again and again until it is so; fail where it never is.
    """
    deadline = monotonic() + 60.0
    while not look():
        assert monotonic() < deadline, "it never came to be"


def test_who_has_just_come_is_answered_before_the_service_stops(serve: Callable[..., Served]) -> None:
    """
    A request may be on its way when its worker is replaced: the connection ends behind its answer, not before.
    """
    served = serve(Asker(name="ann", person=True), http=Lingering)
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        until(lambda: served.server.server_state.connections)
        [accepted] = served.server.server_state.connections
        served.server.should_exit = True
        until(lambda: accepted._is_leaving)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        got = b""
        while chunk := connection.recv(65_536):  # until the server closes it
            got += chunk
    assert got.startswith(b"HTTP/1.1 200 ")


class Timers:
    """
    A loop that only takes down what is to be done when.
    """

    def __init__(self) -> None:
        self.asked: list[Mock] = []

    def call_later(self, delay: float, work: Callable[..., None], *args: Any) -> Mock:
        """
        Take a timer down.
        """
        self.asked.append(Mock(delay=delay, work=work, args=args))
        return self.asked[-1]

    def create_task(self, work: Coroutine[None, None, None]) -> Mock:
        """
        Do nothing.
        """
        work.close()
        return Mock()

    def running(self) -> list[float]:
        """
        Return what is left to wait for.
        """
        return [one.delay for one in self.asked if not one.cancel.called]


def test_the_service_gives_up_slow_heads_whatever_is_installed() -> None:
    """
    It takes no other reader of requests that uvicorn finds.
    """
    assert serving._config(Running(), Mock()).http is Timely


def test_who_began_a_head_is_told_that_it_came_too_late() -> None:
    """
    When its time is over the connection ends with 408.
    """
    loop: Any = Timers()
    transport = Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})
    connection = Timely(uvicorn.Config(Mock()), ServerState(), {}, loop)
    connection.connection_made(transport)
    connection.data_received(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    [timer] = loop.asked
    timer.work()
    [written] = [call.args[0] for call in transport.write.call_args_list]
    assert written.startswith(b"HTTP/1.1 408 ")
    transport.close.assert_called_once_with()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"GET /?q=" + b"a" * Timely.head_max], b"414"),
        ([b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * Timely.head_max], b"431"),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: a\r\n" * 9_000, b"X: a\r\n" * 9_000 + b"\r\n"], b"431"),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 20_000 + b"\r\n"], b"431"),
    ],
)
def test_a_head_that_is_too_long_is_refused_also_where_it_comes_at_once(parts: list[bytes], status: bytes) -> None:
    """
    Whether the address or the headers are too long is told, and nothing of it is asked.
    """
    transport = Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})
    loop: Any = Timers()
    connection = Timely(uvicorn.Config(Mock(), h11_max_incomplete_event_size=Timely.head_max), ServerState(), {}, loop)
    connection.connection_made(transport)
    for part in parts:
        connection.data_received(part)
    [written] = [call.args[0] for call in transport.write.call_args_list]
    assert written.startswith(b"HTTP/1.1 " + status)
    transport.close.assert_called_once_with()
    assert connection.cycle is None
    assert loop.running() == []


def test_a_long_body_is_no_long_head() -> None:
    """
    What stands behind the head of a request counts for its body, also where both come at once.
    """
    transport = Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})
    loop: Any = Timers()
    connection = Timely(uvicorn.Config(Mock()), ServerState(), {}, loop)
    connection.connection_made(transport)
    connection.data_received(b"POST / HTTP/1.1\nHost: x\nContent-Length: 99999\n\n" + b"a" * 99_999)
    transport.close.assert_not_called()
    assert connection.cycle is not None


def test_who_takes_nothing_of_an_answer_is_cut_off() -> None:
    """
    What waits to be sent is held for a minute; who takes some of it within that is waited for anew.
    """
    loop: Any = Timers()
    transport = Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})
    connection = Timely(uvicorn.Config(Mock()), ServerState(), {}, loop)
    connection.connection_made(transport)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.pause_writing()
    connection.resume_writing()
    assert loop.running() == []
    transport.get_write_buffer_size.return_value = 5_000_000
    connection.pause_writing()
    for left in (4_000_000, 3_999_999):  # a large answer, slowly taken
        transport.get_write_buffer_size.return_value = left
        due = loop.asked[-1]
        assert (due.delay, due.cancel.called) == (Timely.unread_s, False)
        due.work(*due.args)
    transport.abort.assert_not_called()
    loop.asked[-1].work(*loop.asked[-1].args)
    transport.abort.assert_called_once_with()
    connection.connection_lost(None)
    assert loop.asked[-1].cancel.called


def test_what_comes_of_a_head_earns_it_no_time() -> None:
    """
    It is bounded as a whole. Once it is there nothing ends the request, and the next one is timed from its first byte.
    """
    loop: Any = Timers()
    connection = Timely(uvicorn.Config(Mock()), ServerState(), {}, loop)
    connection.connection_made(Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None}))
    for part in (b"GET /hea", b"lthz HTTP/1.1\r\n"):
        connection.data_received(part)
        assert (loop.running(), len(loop.asked)) == ([Timely.head_wait_s], 1)
    connection.data_received(b"Host: x\r\n\r\n")
    assert loop.running() == []
    for event in (h11.Response(status_code=204, headers=[]), h11.EndOfMessage()):
        connection.conn.send(event)
    connection.on_response_complete()
    assert loop.running() == [connection.timeout_keep_alive]
    connection.data_received(b"G")
    connection.data_received(b"ET ")
    assert loop.running() == [Timely.head_wait_s]
    connection.connection_lost(None)
    assert loop.running() == []


def test_who_may_not_ask_sends_no_body(serve: Callable[..., Served]) -> None:
    """
    A request that is refused for who asks is answered before its body is there.
    """
    from backlog_store.access import Scope

    parts = urlsplit(serve(Asker(name="eve", scope=Scope(role="reader"))).url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(b"POST /api/v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/items?fields=" + ",".join(f"a{number}" for number in range(9_000)), None),
        ("/api/v1/items?" + "&".join(f"a{number}=1" for number in range(5_000)), None),
        ("/api/v1/items?sort=" + "a" * 60_000, None),
        ("/api/v1/items.csv?limit=" + "a" * 60_000, None),
        ("/items?" + "&".join(f"a{number}=1" for number in range(5_000)), None),
        ("/api/v1/views/v", {"query": "a" * 1_000_000}),
        ("/api/v1/views/v", {f"a{number}": 1 for number in range(50_000)}),
    ],
)
def test_a_wrong_request_gets_no_large_answer(backlog: Backlog, path: str, body: object) -> None:
    """
    Of many faults the first are listed, and what stood there is shortened: nobody makes the service write for them.
    """
    with of_site(backlog) as client:
        client.headers["x-test-asker"] = "root"
        response = client.put(path, json=body) if body else client.get(path)
    assert response.status_code == 422
    assert len(response.content) < 100_000
