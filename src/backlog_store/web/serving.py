"""
Running the service: one process with uvicorn, bound to this machine alone unless told otherwise.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from typing import Any

import uvicorn
from litestar import Request

from backlog_store.backlog import Backlog
from backlog_store.errors import ConfigError
from backlog_store.redacting import redacted
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.pages import page_routes
from backlog_store.web.problems import HttpProblem
from backlog_store.web.signing_in import Accounts, Proxy, check_origin, has_admin
from backlog_store.web.site import Asker, SignIn, Site

__all__ = ["Proxy", "alone", "is_loopback", "serve", "sign_in_for"]


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


class _Redacting(logging.Filter):
    """
    Takes tokens out of the lines of the log: somebody may have put one into an address.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """
        Let the line through, redacted.
        """
        if isinstance(record.args, tuple):
            record.args = tuple(redacted(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


def sign_in_for(
    backlog: Backlog, *, host: str, port: int, everybody: bool, names: Sequence[str] = (), proxy: Proxy | None = None
) -> SignIn:
    """
    Return how who asks is known: on this machine, unless *everybody* signs in, it is the actor of *backlog*.

    Raises `ConfigError` for an address that others reach while nobody has to sign in, or nobody could.
    """
    if not everybody:
        if not is_loopback(host):
            raise ConfigError("host", host, "others reach this address, and nobody would have to sign in",
                              hint="Add --sign-in; or bind 127.0.0.1.")  # fmt: skip
        if names or proxy:
            raise ConfigError("sign-in", "off", "names and proxies are for a service where everybody signs in",
                              hint="Add --sign-in.")  # fmt: skip
        return alone(backlog.actor.name, port)
    if not has_admin(backlog):
        raise ConfigError("sign-in", "on", "nobody could sign in who may administer this backlog",
                          hint="`backlog person add NAME --role admin` adds somebody.")  # fmt: skip
    if proxy and proxy.header and not proxy.addresses:
        raise ConfigError("proxy-header", proxy.header, "whoever reaches this service could send that header",
                          hint="Say which proxy is believed: --trusted-proxy ADDRESS.")  # fmt: skip
    hosts = [f"{name}{end}" for name in names for end in ("", f":{port}")]
    if is_loopback(host):
        hosts += [f"{name}{end}" for name in ("localhost", "127.0.0.1", "[::1]") for end in ("", f":{port}")]
    return Accounts(backlog, hosts=hosts, proxy=proxy)


def serve(
    backlog: Backlog,
    *,
    host: str = "127.0.0.1",
    port: int = 8420,
    log: Sequence[str] = (),
    everybody: bool = False,
    names: Sequence[str] = (),
    proxy: Proxy | None = None,
) -> None:
    """
    Serve *backlog* until it is told to stop (SIGINT, SIGTERM); requests under way are answered first.

    *everybody* has to sign in. Raises as `sign_in_for`.
    """
    sign_in = sign_in_for(backlog, host=host, port=port, everybody=everybody, names=names, proxy=proxy)
    has_sign_out = everybody and not (proxy and proxy.header)
    site = Site(backlog=backlog, sign_in=sign_in, has_sign_out=has_sign_out)
    app: Any = create_app(site, [*api_routes(), *page_routes()])
    config = uvicorn.Config(app, host=host, port=port, log_level="info" if log else "warning", access_log=bool(log),
                            server_header=False, date_header=True, timeout_graceful_shutdown=10,
                            proxy_headers=False)  # fmt: skip  # who is a proxy is said by name, see `Proxy`
    logging.getLogger("uvicorn.access").addFilter(_Redacting())
    uvicorn.Server(config).run()
