"""
Where requests may go, and sending one: the defence against being made to ask what only this host reaches (SSRF).

A name is resolved once, every address that it has must be allowed, and the one that was looked at is the one that is
connected to: a name that says something else a moment later changes nothing. No redirect is followed, no proxy is
asked, and all of it together has an end in time and size.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from fnmatch import fnmatchcase
from time import monotonic
from urllib.parse import urlsplit

from msgspec import Struct

from backlog_store.errors import ConfigError

__all__ = ["Outlets", "Refused", "Reply", "Sender", "outlets_from", "send"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_ANSWER_MAX = 64 * 1024
#: Addresses of IPv6 that stand for one of IPv4, which a gateway would lead to.
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_resolving = ThreadPoolExecutor(4, thread_name_prefix="resolve")


class Refused(Exception):
    """
    A request that is not sent, because it may not go there; the text says why.
    """


class Outlets(Struct, frozen=True, kw_only=True):
    """
    Where requests may go: *hosts* are names, ``*.example.org`` those below; *networks* further ones than the public.

    Without hosts nothing is sent at all. *within_s* is for all of one request. Plain http goes to *networks* alone.
    """

    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    within_s: float = 3.0

    def check(self, url: str) -> None:
        """
        Refuse an address for what it says, before any name is resolved. Raises `Refused`.
        """
        parts = _parts(url)
        host = (parts.hostname or "").rstrip(".").lower()
        if not any(fnmatchcase(host, pattern.lower()) for pattern in self.hosts):
            raise Refused(f"{host} is not among the hosts that webhooks may go to (the setting webhook_hosts)")

    def allows(self, address: Address) -> bool:
        """
        Tell whether requests may go to an address: a public one, or one of a network that was named.
        """
        meant = _meant(address)
        return any(one in network for network in self.networks for one in {address, meant}) or (
            meant.is_global and not meant.is_multicast and not any(address in network for network in _NAT64)
        )

    def is_named(self, address: Address) -> bool:
        """
        Tell whether an address lies in a network that was named.
        """
        return any(_meant(address) in network for network in self.networks)


class Reply(Struct, frozen=True, kw_only=True):
    """
    What a receiver said: its status, and after how many seconds it wants to be asked again (0: it did not say).
    """

    status: int
    retry_s: float = 0.0


def outlets_from(hosts: str, networks: str) -> Outlets:
    """
    Return what two settings say, names and networks with commas between. Raises `ConfigError`.
    """
    found: list[Network] = []
    for text in filter(None, (part.strip() for part in networks.split(","))):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ConfigError("webhook_networks", text, f"is no network: {error}",
                              hint="Such as 10.20.0.0/16.") from error  # fmt: skip
    return Outlets(hosts=tuple(filter(None, (part.strip() for part in hosts.split(",")))), networks=tuple(found))


def send(url: str, headers: Mapping[str, str], body: bytes, outlets: Outlets) -> Reply:
    """
    Post *body* and return what the receiver said, whatever that is.

    Raises `Refused` for where it may not go, `OSError` for a receiver that could not be asked, or not in time.
    """
    outlets.check(url)
    ends = monotonic() + outlets.within_s
    parts = _parts(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = _resolved(parts.hostname or "", port, parts.scheme, outlets)
    held = [socket.create_connection((str(address), port), timeout=_left(ends))]
    # The limit of a socket is one of each step: a receiver that says a byte a second would never meet it.
    watchdog = threading.Timer(_left(ends), _cut, [held])
    watchdog.daemon = True
    watchdog.start()
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            secured = context.wrap_socket(held[0], server_hostname=parts.hostname, do_handshake_on_connect=False)
            held[0] = secured
            secured.do_handshake()
        reply = _asked(held[0], parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                       headers, body)  # fmt: skip
        _left(ends)  # cut off in the middle of its headers, an answer looks like a whole one
        return reply
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(f"no answer in HTTP: {type(error).__name__}") from error
    except OSError as error:
        if monotonic() >= ends:
            raise TimeoutError(f"no answer within {outlets.within_s:g} s") from error
        raise
    finally:
        watchdog.cancel()
        held[0].close()


def _asked(connection: socket.socket, host: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
    client = http.client.HTTPConnection(host)
    client.sock = connection
    client.request(
        "POST", target, body, {**headers, "Host": host, "Connection": "close", "User-Agent": "backlog-store"}
    )
    response = client.getresponse()
    response.read(_ANSWER_MAX)  # politeness: a receiver that is cut off while it answers may take it for a failure
    said = response.headers.get("Retry-After", "")
    return Reply(status=response.status, retry_s=float(said) if said.isascii() and said.isdigit() else 0.0)


def _cut(held: list[socket.socket]) -> None:
    with suppress(OSError):
        held[0].shutdown(socket.SHUT_RDWR)


def _parts(url: str) -> _Split:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"{url[:100]} is no address, or has no port that there is") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Refused(f"{url[:100]} is no plain http or https address")
    return _Split(parts.scheme, parts.hostname, port, parts.netloc, parts.path, parts.query)


class _Split(Struct, frozen=True):
    scheme: str
    hostname: str
    port: int | None
    netloc: str
    path: str
    query: str


def _resolved(host: str, port: int, scheme: str, outlets: Outlets) -> Address:
    asked: Future[list[tuple[object, ...]]] = _resolving.submit(_look_up, host, port)
    try:
        found = asked.result(outlets.within_s)
    except FutureTimeout as error:
        raise TimeoutError(f"{host} was not resolved within {outlets.within_s:g} s") from error
    except ValueError as error:  # a label that is empty or longer than 63 letters, say: nobody was asked
        raise Refused(f"{host[:100]} is no name of a host") from error
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]  # type: ignore[index]
    for address in addresses:
        if not outlets.allows(address):
            raise Refused(f"{host} is {address}, which is no public address, and in no network of webhook_networks")
        if scheme == "http" and not outlets.is_named(address):
            raise Refused("plain http goes to networks of webhook_networks alone; give an https address")
    if not addresses:
        raise ConnectionError(f"{host} has no address")
    return addresses[0]


def _look_up(host: str, port: int) -> list[tuple[object, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _meant(address: Address) -> Address:
    """
    Return the address of IPv4 that one of IPv6 leads to, where it does.
    """
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
    return address


def _left(ends: float) -> float:
    left = ends - monotonic()
    if left <= 0:
        raise TimeoutError("the time for it was over")
    return left


#: How `send` looks, for who puts another one in its place.
Sender = Callable[[str, Mapping[str, str], bytes, Outlets], Reply]
