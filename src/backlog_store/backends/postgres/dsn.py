"""
Where the server is: libpq's keyword strings and URLs, with several hosts, kept as they are.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from backlog_store.errors import ConfigError

__all__ = ["Place", "parse_dsn"]

#: libpq waits at least so long for a host before it tries the next one, in seconds.
CONNECT_TIMEOUT_MIN_S = 2


class Place(NamedTuple):
    """
    A parsed DSN: what to connect with, how to show it, and what never to show.
    """

    settings: dict[str, str]
    shown: str
    secrets: tuple[str, ...]


def parse_dsn(dsn: str, *, connect_s: float) -> Place:
    """
    Return the place that *dsn* names. Raises `ConfigError`, without repeating a password.

    An own `connect_timeout` of the DSN stays; otherwise each host gets *connect_s*, rounded up, at least 2 s.
    """
    try:
        found = conninfo_to_dict(dsn)
    except psycopg.Error:
        found = None
    # An "@", ":" or "/" in a password makes libpq take a part of it for the host or the port. (A host that begins with
    # "@" is a socket without a file.)
    if (
        found is None
        or not re.fullmatch(r"[0-9,]*", str(found.get("port") or ""))
        or re.search(r"[^,]@", str(found.get("host") or ""))
    ):
        # Neither the text nor libpq's message about it is shown or chained: the password may be anywhere in them.
        raise ConfigError("url", "(not shown)", "libpq does not understand it", hint=_HOW)
    settings = {name: str(value) for name, value in found.items() if value is not None}
    secrets = tuple(settings[name] for name in ("password", "sslpassword") if settings.get(name))
    settings.setdefault("connect_timeout", str(max(CONNECT_TIMEOUT_MIN_S, math.ceil(connect_s))))
    settings.setdefault("application_name", "backlog-store")
    settings["client_encoding"] = "UTF8"
    return Place(settings, _shown(settings), secrets)


_HOW = (
    "Write postgresql://user:password@host:port/database or host=… dbname=… user=… password=…; in a URL, write "
    "@ : / and % of a password as %40 %3A %2F and %25."
)


def _shown(settings: dict[str, str]) -> str:
    hosts = settings.get("host") or settings.get("hostaddr") or "localhost"
    user = f"{settings['user']}@" if settings.get("user") else ""
    port = f":{settings['port']}" if settings.get("port") else ""
    return f"postgresql://{user}{hosts}{port}/{settings.get('dbname', '')}"
