"""
Running the service: one process with uvicorn, bound to this machine alone unless told otherwise.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import uvicorn
from litestar import Request

from backlog_store.backlog import Backlog
from backlog_store.errors import ConfigError
from backlog_store.web.api import api_routes
from backlog_store.web.app import create_app
from backlog_store.web.pages import page_routes
from backlog_store.web.problems import HttpProblem
from backlog_store.web.site import Asker, SignIn, Site

__all__ = ["alone", "is_loopback", "serve"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


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
        origin = request.headers.get("origin", "")
        if request.method not in _SAFE and origin and origin.partition("://")[2] not in hosts:
            raise HttpProblem(403, "a page of another origin may not write here", code="foreign_origin")
        return Asker(name=name, person=True)

    return sign_in


def serve(backlog: Backlog, *, host: str = "127.0.0.1", port: int = 8420, log: Sequence[str] = ()) -> None:
    """
    Serve *backlog* until it is told to stop (SIGINT, SIGTERM); requests under way are answered first.

    Raises `ConfigError` for an address that others reach while nobody has to sign in.
    """
    if not is_loopback(host):
        raise ConfigError("host", host, "others reach this address, and nobody would have to sign in",
                          hint="Bind 127.0.0.1, and put a proxy that signs people in before it.")  # fmt: skip
    site = Site(backlog=backlog, sign_in=alone(backlog.actor.name, port))
    app: Any = create_app(site, [*api_routes(), *page_routes()])
    uvicorn.run(app, host=host, port=port, log_level="info" if log else "warning", access_log=bool(log),
                server_header=False, date_header=True, timeout_graceful_shutdown=10)  # fmt: skip
