"""
Running the service with uvicorn, in one process or several; bound to this machine alone unless told otherwise.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from litestar import Litestar, Request
from msgspec import Struct
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from backlog_store.backlog import Backlog
from backlog_store.errors import BacklogError, ConfigError
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.heads import Timely
from backlog_store.web.loading import load_all
from backlog_store.web.logs import Form, configure
from backlog_store.web.metrics import FOLDER
from backlog_store.web.oidc.config import OidcSetup
from backlog_store.web.pages import page_routes
from backlog_store.web.problems import HttpProblem
from backlog_store.web.rates import Rates
from backlog_store.web.signing_in import Accounts, Proxy, check_origin, has_admin
from backlog_store.web.site import Asker, SignIn, Site
from backlog_store.webhooks.outlets import Outlets
from backlog_store.webhooks.running import Delivery

if TYPE_CHECKING:
    from backlog_store.web.oidc.flow import OidcSignIn

__all__ = ["Proxy", "Running", "alone", "create", "is_loopback", "serve", "sign_in_for"]

_GRACE_S = 10  # for requests under way, once it stops
_STARTING_S = 60  # that a worker may take to start, or to answer its parent, before another one replaces it
_KEEP_ALIVE_S = 65  # longer than the minute after which most proxies close: they should be the first
_CONNECTIONS_MAX = 4_000  # and requests, of one process; beyond that 503


def is_loopback(host: str) -> bool:
    """
    Tell whether *host* is reached from this machine alone.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def alone(name: str, port: int) -> SignIn:
    """
    Return the sign-in of a service that only this machine reaches: whoever asks is *name*, a person.

    A page elsewhere must not ask through somebody's browser: `Host` must be this machine (a name that an attacker
    points here is not), and what writes must not come from another origin.
    """
    hosts = {f"{host}:{port}" for host in ("localhost", "127.0.0.1", "[::1]")} | {"localhost", "127.0.0.1", "[::1]"}

    def sign_in(request: Request[Any, Any, Any]) -> Asker:
        host = request.headers.get("host", "")
        if host not in hosts:
            raise HttpProblem(421, f"this service is not {host[:100]!r}", hint=f"Ask http://127.0.0.1:{port}/.")
        check_origin(request, hosts, required=False)
        return Asker(name=name, person=True)

    return sign_in


def sign_in_for(
    backlog: Backlog, *, host: str, port: int, everybody: bool, names: Sequence[str] = (), proxy: Proxy | None = None,
    oidc: OidcSetup | None = None,
) -> SignIn:  # fmt: skip
    """
    Return how who asks is known: on this machine, unless *everybody* signs in, it is the actor of *backlog*.

    Raises `ConfigError` for an address that others reach while nobody has to sign in, or nobody could.
    """
    if not everybody:
        if not is_loopback(host):
            raise ConfigError("host", host, "others reach this address, and nobody would have to sign in",
                              hint="Add --sign-in; or bind 127.0.0.1.")  # fmt: skip
        if names or proxy or oidc:
            raise ConfigError("sign-in", "off", "names, proxies and OIDC are for a service where everybody signs in",
                              hint="Add --sign-in.")  # fmt: skip
        return alone(backlog.actor.name, port)
    if not has_admin(backlog) and not (oidc and oidc.config.has_admin):
        raise ConfigError("sign-in", "on", "nobody could sign in who may administer this backlog",
                          hint="`backlog person add NAME --role admin` adds somebody.")  # fmt: skip
    if proxy and proxy.header and not proxy.addresses:
        raise ConfigError("proxy-header", proxy.header, "whoever reaches this service could send that header",
                          hint="Say which proxy is believed: --trusted-proxy ADDRESS.")  # fmt: skip
    hosts = [f"{name}{end}" for name in names for end in ("", f":{port}")]
    if is_loopback(host):
        hosts += [f"{name}{end}" for name in ("localhost", "127.0.0.1", "[::1]") for end in ("", f":{port}")]
    return Accounts(backlog, hosts=hosts, proxy=proxy, oidc=_oidc(oidc, hosts) if oidc else None)


def _oidc(setup: OidcSetup, hosts: Sequence[str]) -> OidcSignIn:
    if find_spec("joserfc") is None:
        raise ConfigError("oidc", "", "signing in by OIDC needs a package that is not installed (joserfc)",
                          hint="pip install 'backlog-store[oidc]'")  # fmt: skip
    if hosts and setup.config.host not in hosts:
        raise ConfigError("public_url", setup.config.public_url, "this service is not reached by that name",
                          hint=f"Add --name {setup.config.host}.")  # fmt: skip
    from backlog_store.web.oidc.flow import OidcSignIn
    from backlog_store.web.oidc.provider import Provider

    return OidcSignIn(Provider(setup.config, setup.secret))


class Running(Struct, frozen=True, kw_only=True):
    """
    How the service runs. *everybody* has to sign in; of *workers* each is a process, all on one port.

    After SIGTERM the service says at ``/readyz`` for *drain_s* seconds that it stops, and goes on answering meanwhile.
    """

    host: str = "127.0.0.1"
    port: int = 8420
    everybody: bool = False
    names: tuple[str, ...] = ()
    proxy: Proxy | None = None
    rate: float = 0  # requests a second of one credential; 0: as many as it likes
    requests: bool = False  # a line in the log for each
    log: Form = "text"
    workers: int = 1
    drain_s: float = 0.0
    oidc: OidcSetup | None = None
    outlets: Outlets = Outlets()  # where webhooks may go: without a host none is sent


def serve(backlog: Backlog, running: Running, *, reopen: Callable[[], Backlog] | None = None) -> None:
    """
    Serve *backlog* until it is told to stop (SIGINT, SIGTERM); requests under way are answered first.

    With several workers each has a store of its own, that *reopen* opens: a function that can be pickled. SIGHUP then
    replaces them one after the other, and no request fails. Raises as `sign_in_for`, and `ConfigError` for a port
    that is taken, or a store that one process has to itself.
    """
    configure(running.log, requests=running.requests)
    if running.workers == 1:
        load_all()
        bound = _bound(running)
        config = _config(running, create(backlog, running))
        signal.signal(signal.SIGTERM, _leave)
        uvicorn.Server(config).run(sockets=[bound])
        return
    if reopen is None or not backlog.executor.backend.capabilities.shared:
        raise ConfigError("workers", str(running.workers), "this store belongs to one process at a time",
                          hint="Serve it with one worker.")  # fmt: skip
    create(backlog, running)  # what is wrong is told now, and once
    backlog.close()
    bound = _bound(running)
    with TemporaryDirectory(prefix="backlog-metrics-") as folder:
        os.environ[FOLDER] = folder
        Multiprocess(_config(running, _Worker(running, reopen)), sockets=[bound]).run()


def create(backlog: Backlog, running: Running) -> Litestar:
    """
    Return the application of a service that runs like this. Raises as `sign_in_for`.
    """
    sign_in = sign_in_for(backlog, host=running.host, port=running.port, everybody=running.everybody,
                          names=running.names, proxy=running.proxy, oidc=running.oidc)  # fmt: skip
    has_sign_out = running.everybody and not (running.proxy and running.proxy.header)
    site = Site(backlog=backlog, sign_in=sign_in, has_sign_out=has_sign_out, rates=Rates(running.rate),
                outlets=running.outlets)  # fmt: skip
    return create_app(site, [*api_routes(), *page_routes()],
                      lifespan=[lambda _: _delivering(site, running.outlets),
                                lambda _: _stopping(site, running.drain_s)])  # fmt: skip


class _Worker:
    """
    Makes the application in a worker's process.
    """

    def __init__(self, running: Running, reopen: Callable[[], Backlog]) -> None:
        self._running = running
        self._reopen = reopen

    def __call__(self) -> Litestar:
        configure(self._running.log, requests=self._running.requests)
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        load_all()
        try:
            backlog = self._reopen()
            app = create(backlog, self._running)
        except BacklogError as error:
            logging.getLogger("backlog_store.web").error("a worker cannot start: %s", error)  # noqa: TRY400  (said whole)
            sys.exit(STARTUP_FAILURE)
        app.on_shutdown.append(backlog.close)
        return app


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # killed, it could not tell its workers to stop, and they would keep the port for ever
        os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def _delivering(site: Site, outlets: Outlets) -> AsyncIterator[None]:
    """
    While the service runs: deliver webhooks, if they may go anywhere.
    """
    if not outlets.hosts:
        yield
        return
    delivery = Delivery(site.backlog, outlets, lambda outcome: site.metrics.deliveries.labels(outcome).inc())
    try:
        yield
    finally:
        await anyio.to_thread.run_sync(delivery.stop)


@asynccontextmanager
async def _stopping(site: Site, drain_s: float) -> AsyncIterator[None]:
    """
    While the service runs: on SIGTERM first say so and end the streams, and stop *drain_s* seconds later.

    A second signal stops at once. What stopping is, uvicorn's own handler says.
    """
    loop = asyncio.get_running_loop()
    stop = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop):
        yield
        return
    own: Callable[[int, FrameType | None], Any] = stop

    def begin(sig: int) -> None:
        wait_s = 0.0 if site.is_draining or sig != signal.SIGTERM else drain_s
        if not site.is_draining:
            site.drain()
        loop.call_later(wait_s, own, sig, None)

    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda sig, _: loop.call_soon_threadsafe(begin, sig))
    yield


def _leave(sig: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # uvicorn raises the signal again when it is done; then all is closed in order, and that is success.
    sys.exit(0)


def _config(running: Running, app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app, factory=isinstance(app, _Worker), host=running.host, port=running.port, workers=running.workers,
        http=Timely,  # which also holds to the bound on the size of a head; httptools, where installed, has none
        log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_KEEP_ALIVE_S, limit_concurrency=_CONNECTIONS_MAX,
        h11_max_incomplete_event_size=Timely.head_max, timeout_worker_healthcheck=_STARTING_S,
        proxy_headers=False,  # who is a proxy is said by name, see `Proxy`
    )  # fmt: skip


def _bound(running: Running) -> socket.socket:
    host = running.host.strip("[]")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, running.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigError("port", f"{host}:{running.port}", f"it cannot be bound: {error.strerror}",
                          hint="Choose another one with --port, or stop what uses it.") from error  # fmt: skip
    bound.set_inheritable(True)
    return bound
