"""
Where the server is: libpq's keyword strings and URLs, with several hosts.
"""

from __future__ import annotations

import math
import os
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
    A parsed DSN: what to connect with, for each host; how to show it; and what never to show.
    """

    settings: tuple[dict[str, str], ...]
    shown: str
    secrets: tuple[str, ...]


def parse_dsn(dsn: str, *, connect_s: float) -> Place:
    """
    Return the place that *dsn* names. Raises `ConfigError`, without repeating a password.

    An own `connect_timeout` of the DSN stays; otherwise each host gets *connect_s*, rounded up, at least 2 s. Of
    several hosts the one that takes writes is meant (`target_session_attrs=read-write`), unless the DSN or the
    environment says otherwise.
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
    hosts = _hosts(settings)
    if len(hosts) > 1 and "PGTARGETSESSIONATTRS" not in os.environ:
        for host in hosts:
            host.setdefault("target_session_attrs", "read-write")
    return Place(hosts, _shown(settings), secrets)


_HOW = (
    "Write postgresql://user:password@host:port/database or host=… dbname=… user=… password=…; in a URL, write "
    "@ : / and % of a password as %40 %3A %2F and %25."
)


def _hosts(settings: dict[str, str]) -> tuple[dict[str, str], ...]:
    """
    Return the settings for each host alone, by libpq's rules: an item of each list a host, one port for all if one.
    """
    lists = {
        name: (settings.get(name) or os.environ.get(variable, "")).split(",")
        for name, variable in (("host", "PGHOST"), ("hostaddr", "PGHOSTADDR"), ("port", "PGPORT"))
    }
    count = max(len(lists["host"]), len(lists["hostaddr"]))
    for name, values in lists.items():
        if len(values) == 1 and (name == "port" or not values[0]):
            lists[name] = values * count
        elif len(values) != count:
            raise ConfigError(name, ",".join(values), f"{count} hosts are named, so there must be as many", hint=_HOW)
    if count == 1:
        return (settings,)
    named = {name: values for name, values in lists.items() if any(values)}
    return tuple({**settings, **{name: values[number] for name, values in named.items()}} for number in range(count))


def _shown(settings: dict[str, str]) -> str:
    hosts = settings.get("host") or settings.get("hostaddr") or "localhost"
    user = f"{settings['user']}@" if settings.get("user") else ""
    port = f":{settings['port']}" if settings.get("port") else ""
    return f"postgresql://{user}{hosts}{port}/{settings.get('dbname', '')}"
