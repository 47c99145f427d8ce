"""
Where a request may go, what it looks like, and that it ends.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from backlog_store.errors import ConfigError
from backlog_store.hooks import is_secret
from backlog_store.instants import add_seconds
from backlog_store.webhooks import outlets as module
from backlog_store.webhooks.messages import backoff_s, headers_of, secret_from
from backlog_store.webhooks.outlets import Outlets, Refused, outlets_from, send
from tests.webhooks.conftest import HERE
from tests.webhooks.receiver import Receiver

ANYWHERE = Outlets(hosts=("*",))


def test_a_signature_is_that_of_the_standard() -> None:
    """
    The example of the specification of Standard Webhooks comes out as it stands there.
    """
    at = add_seconds("1970-01-01T00:00:00.000000Z", 1_614_265_330)
    headers = headers_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", at,
                         b'{"test": 2432232314}')  # fmt: skip
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }  # fmt: skip


def test_a_secret_has_the_form_of_the_standard() -> None:
    """
    256 bits in base64; anything else is no secret.
    """
    assert is_secret(secret_from("ab" * 32))
    for text in ("", "whsec_", "whsec_!!", "whsec_c2hvcnQ=", "c2hvcnRzaG9ydHNob3J0c2hvcnRzaG9ydA=="):
        assert not is_secret(text)


def test_waits_grow_and_end() -> None:
    """
    Four times as long each time, six hours at most, between half of it and all of it.
    """
    assert [backoff_s(number, 1.0) for number in (1, 2, 3, 4)] == [5, 20, 80, 320]
    assert (backoff_s(10, 1.0), backoff_s(10, 0.0)) == (21_600, 10_800)


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001:db8::1",
])  # fmt: skip
def test_what_is_not_public_is_refused(address: str) -> None:
    """
    Also where an address of IPv6 stands for one of IPv4, and those of machines of clouds.
    """
    assert not ANYWHERE.allows(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_what_is_public_is_allowed(address: str) -> None:
    """
    The rest of the world can be reached.
    """
    assert ANYWHERE.allows(ip_address(address))


def test_a_network_that_was_named_is_allowed_and_no_other() -> None:
    """
    Whoever runs the service may name private networks.
    """
    some = Outlets(hosts=("*",), networks=(ip_network("10.20.0.0/16"),))
    assert some.allows(ip_address("10.20.3.4"))
    assert some.allows(ip_address("::ffff:10.20.3.4"))
    assert not some.allows(ip_address("10.21.0.1"))


@pytest.mark.parametrize("url", [
    "https://other.example/", "https://example.org.evil.example/", "https://user:pass@hooks.example.org/",
    "ftp://hooks.example.org/", "file:///etc/passwd", "https:///x", "https://hooks.example.org:0x50/",
    "hooks.example.org",
])  # fmt: skip
def test_hosts_and_forms_that_were_not_named_are_refused(url: str) -> None:
    """
    Before any name is resolved.
    """
    with pytest.raises(Refused):
        Outlets(hosts=("hooks.example.org", "*.example.com")).check(url)


def test_a_host_is_named_by_itself_or_by_what_it_lies_below() -> None:
    """
    Upper case and a dot at the end change nothing.
    """
    some = Outlets(hosts=("hooks.example.org", "*.example.com"))
    for url in ("https://hooks.example.org/x", "https://HOOKS.example.org./", "https://a.b.example.com:8443/"):
        some.check(url)


@pytest.mark.parametrize("url", [
    "https://[/x", "https://a\u2100b/", "https://a..example.org/x", f"https://{'a' * 64}.example.org/",
])  # fmt: skip
def test_what_cannot_be_looked_up_is_refused(url: str) -> None:
    """
    What is no address, or has a host that no look-up takes, is refused as any other place where nothing may go.
    """
    with pytest.raises(Refused):
        send(url, {}, b"", ANYWHERE)


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[list[str]]], list[tuple[str, int]]]:
    """
    Return a function that makes each look-up answer the next list of addresses, and gives where was connected to.
    """
    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError("the test lets nobody out")

    def answering(answers: list[list[str]]) -> list[tuple[str, int]]:
        monkeypatch.setattr(module, "_look_up", lambda _host, port: [
            (0, 0, 0, "", (address, port)) for address in answers.pop(0)])  # fmt: skip
        monkeypatch.setattr(socket, "create_connection", connect)
        return connected

    return answering


def test_the_address_that_was_looked_at_is_the_one_that_is_asked(resolving: Any) -> None:
    """
    A name that points home at its second look-up gains nothing: there is no second one.
    """
    connected = resolving([["8.8.8.8"], ["127.0.0.1"]])
    with pytest.raises(ConnectionRefusedError):
        send("https://rebinding.example/", {}, b"", ANYWHERE)
    assert connected == [("8.8.8.8", 443)]


@pytest.mark.parametrize("found", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:169.254.169.254"]])
def test_a_name_with_an_address_that_is_not_public_is_refused(resolving: Any, found: list[str]) -> None:
    """
    One bad address among good ones is enough.
    """
    connected = resolving([found])
    with pytest.raises(Refused):
        send("https://inside.example/", {}, b"", ANYWHERE)
    assert connected == []


def test_plain_http_goes_to_named_networks_alone(resolving: Any) -> None:
    """
    What is readable on the way does not leave.
    """
    resolving([["8.8.8.8"]])
    with pytest.raises(Refused, match="https"):
        send("http://outside.example/", {}, b"", ANYWHERE)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
def test_other_ways_to_write_this_machine_are_refused(host: str) -> None:
    """
    What the system's resolver makes of a name is looked at, however it was written.
    """
    with pytest.raises((Refused, OSError)) as caught:
        send(f"https://{host}:1/", {}, b"", ANYWHERE)
    assert not isinstance(caught.value, ConnectionRefusedError)


def test_a_redirect_is_an_answer_and_not_followed(receive: Callable[[], Receiver]) -> None:
    """
    Nobody is sent elsewhere by who was allowed.
    """
    one, other = receive(), receive()
    one.answer = lambda _: (307, {"Location": other.url})
    assert send(one.url, {}, b"{}", HERE).status == 307
    assert (len(one.got), other.got) == (1, [])


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket, threading.Event], None]], str]]:
    """
    Return a function that serves one connection by hand and gives its address.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []

    def start(work: Callable[[socket.socket, threading.Event], None]) -> str:
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            # That it is cut off, is as it should be.
            with suppress(OSError), listening, listening.accept()[0] as connection:
                work(connection, over)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    yield start
    over.set()
    for thread in threads:
        thread.join(30)


SOON = Outlets(hosts=HERE.hosts, networks=HERE.networks, within_s=0.3)


def _silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait(60)


def _dripping(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.05):
        connection.sendall(b"X-A: b\r\n")


def _endless(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"x" * 65_536)


def _garbage(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(10)
    connection.sendall(b"\x00\xff not http at all\r\n\r\n")


@pytest.mark.parametrize("work", [_silent, _dripping])
def test_a_receiver_that_never_ends_its_answer_is_given_up(raw: Any, work: Any) -> None:
    """
    Silent or a line at a time: all of it together has an end.
    """
    with pytest.raises((TimeoutError, ConnectionError)):
        send(raw(work), {}, b"{}", SOON)


def test_an_endless_answer_is_read_no_further_than_it_matters(raw: Any) -> None:
    """
    The status says it all; 64 KiB of the rest are enough.
    """
    assert send(raw(_endless), {}, b"{}", HERE).status == 200


def test_what_is_no_answer_is_a_failure_and_no_crash(raw: Any) -> None:
    """
    Bytes that are no HTTP are told as such.
    """
    with pytest.raises(ConnectionError):
        send(raw(_garbage), {}, b"{}", HERE)


@pytest.mark.parametrize(
    "text", [".example.org", "https://hooks.example.org", "hooks.example.org:443", "a..b", "*.", "a b"]
)
def test_what_would_never_be_a_host_is_refused(text: str) -> None:
    """
    A setting that lets nothing through, because it is written in another way, is told at the start.
    """
    with pytest.raises(ConfigError, match="no name of a host"):
        outlets_from(f"hooks.example.org, {text}", "")


def test_settings_say_where_it_may_go() -> None:
    """
    Names and networks with commas between; a network that is none is told.
    """
    found = outlets_from(" hooks.example.org, *.example.com ", "10.0.0.0/8,fd00::/8")
    assert (found.hosts, found.networks) == (
        ("hooks.example.org", "*.example.com"), (ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
    )  # fmt: skip
    with pytest.raises(ConfigError):
        outlets_from("a", "10.0.0.1/8")
