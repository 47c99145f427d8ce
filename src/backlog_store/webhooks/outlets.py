"""
Where requests may go, and sending one: the defence against being made to ask what only this host reaches (SSRF).

A name is resolved once, every address that it has must be allowed, and the one that was looked at is the one that is
connected to: a name that says something else a moment later changes nothing. No redirect is followed, no proxy is
asked, and all of it together has an end in time and size.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from fnmatch import fnmatchcase
from time import monotonic
from urllib.parse import urlsplit

from msgspec import Struct

from backlog_store.errors import ConfigError

__all__ = [
    "Answer", "NotNamed", "Outlets", "Refused", "Reply", "Sender", "ask", "networks_from", "outlets_from", "send",
]  # fmt: skip

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_ANSWER_MAX = 64 * 1024
#: Addresses of IPv6 that stand for one of IPv4, which a gateway would lead to.
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_HOST = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*|[0-9a-fA-F]*:[0-9a-fA-F:.]*")
_resolving = ThreadPoolExecutor(4, thread_name_prefix="resolve")


class Refused(Exception):
    """
    A request that is not sent, because it may not go there; the text says why.
    """


class NotNamed(Refused):
    """
    A host that whoever runs the service did not name.
    """


class Outlets(Struct, frozen=True, kw_only=True):
    """
    Where requests may go: *hosts* are names, ``*.example.org`` those below; *networks* further ones than the public.

    Without hosts nothing is sent at all. *within_s* is for all of one request. Plain http goes to *networks* alone.
    A refusal names the settings that hosts and networks come from: *hosts_in*, *networks_in*.
    """

    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    within_s: float = 3.0
    hosts_in: str = "webhook_hosts"
    networks_in: str = "webhook_networks"

    def check(self, url: str) -> None:
        """
        Refuse an address for what it says, before any name is resolved. Raises `Refused`.
        """
        parts = _parts(url)
        host = (parts.hostname or "").rstrip(".").lower()
        if not any(fnmatchcase(host, pattern.lower()) for pattern in self.hosts):
            raise NotNamed(f"{host} is not among the hosts that requests may go to ({self.hosts_in})")

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


class Answer(Struct, frozen=True, kw_only=True):
    """
    What came back: the status, ``Retry-After`` as it was said, and the body, cut one byte behind what it may have.
    """

    status: int
    body: bytes
    retry_after: str = ""


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
    texts = [part.strip() for part in networks.split(",")]
    names = tuple(filter(None, (part.strip() for part in hosts.split(","))))
    for name in names:
        if not _HOST.fullmatch(name):
            raise ConfigError("webhook_hosts", name, "is no name of a host, and none would ever be it",
                              hint="Such as hooks.example.org, or *.example.org for all below.")  # fmt: skip
    return Outlets(hosts=names,
                   networks=networks_from(filter(None, texts), setting="webhook_networks"))  # fmt: skip


def networks_from(texts: Iterable[str], *, setting: str) -> tuple[Network, ...]:
    """
    Return the networks that a setting names. Raises `ConfigError`.
    """
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise ConfigError(setting, text, f"is no network: {error}", hint="Such as 10.20.0.0/16.") from error
    return tuple(found)


def send(url: str, headers: Mapping[str, str], body: bytes, outlets: Outlets) -> Reply:
    """
    Post *body* and return what the receiver said, whatever that is.

    Raises as `ask`.
    """
    said = ask("POST", url, headers, body, outlets, most=_ANSWER_MAX)
    retry_s = float(said.retry_after) if said.retry_after.isascii() and said.retry_after.isdigit() else 0.0
    return Reply(status=said.status, retry_s=retry_s)


def ask(method: str, url: str, headers: Mapping[str, str], body: bytes, outlets: Outlets, *, most: int) -> Answer:
    """
    Ask *url* and return what was said, whatever that is; of its body *most* bytes, and one where there were more.

    Raises `Refused` for where it may not go, `OSError` for who could not be asked, or not in time.
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
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        answer = _asked(held[0], method, parts.netloc, target, headers, body, most)
        _left(ends)  # cut off in the middle of its headers, an answer looks like a whole one
        return answer
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(f"no answer in HTTP: {type(error).__name__}") from error
    except OSError as error:
        if monotonic() >= ends:
            raise TimeoutError(f"no answer within {outlets.within_s:g} s") from error
        raise
    finally:
        watchdog.cancel()
        held[0].close()


def _asked(
    connection: socket.socket, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes, most: int
) -> Answer:
    client = http.client.HTTPConnection(host)
    client.sock = connection
    client.request(
        method, target, body or None, {**headers, "Host": host, "Connection": "close", "User-Agent": "backlog-store"}
    )
    response = client.getresponse()
    # It is read also where nobody looks at it: who is cut off while it answers may take that for a failure.
    said = response.read(most + 1)
    return Answer(status=response.status, body=said, retry_after=response.headers.get("Retry-After", ""))


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
            raise Refused(
                f"{host} is {address}, which is no public address, and in no network of {outlets.networks_in}"
            )
        if scheme == "http" and not outlets.is_named(address):
            raise Refused(f"plain http goes to networks of {outlets.networks_in} alone; give an https address")
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
