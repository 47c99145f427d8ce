"""
From an ``auto+…`` URL to a failover executor.

``auto+postgresql://user@host/database`` (or ``auto+host=… dbname=…``, any URL of a store behind ``auto+``) is that
database, with a spool beside it. Options, given by name or in the URL's query: ``spool`` (a folder), ``copy`` (true or
false); all others go to the backend.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from backlog_store.backends.registry import AUTO, check_url, load, open_backend, place_of
from backlog_store.clock import Clock, IdSource
from backlog_store.errors import ConfigError
from backlog_store.executors.failover.copy import LocalCopy
from backlog_store.executors.failover.executor import FailoverExecutor
from backlog_store.ids import derived
from backlog_store.policy import Policy

__all__ = ["folder_of", "names_spool", "open_failover", "spool_folder", "state_folder"]

#: Deadlines of the primary under `auto`, in seconds: a report is accepted within a second of any outage.
DEADLINES: Mapping[str, float] = {
    "connect_s": 0.8, "write_s": 0.8, "read_s": 2.0, "batch_s": 10.0, "migration_s": 60.0,
}  # fmt: skip
_OWN = ("spool", "copy")


def open_failover(url: str, *, clock: Clock, ids: IdSource, policy: Policy, **options: Any) -> FailoverExecutor:
    """
    Open what an ``auto+…`` URL names. Raises `ConfigError`; a database that is away is no error.
    """
    primary, own = _parts(url, options)
    check_url(primary)
    rest = {name: value for name, value in options.items() if name not in _OWN}
    if _is_database(primary):
        rest = {**DEADLINES, **rest}
    folder = folder_of(url, **options)
    with suppress(ConfigError):  # the first probe tells it
        load(primary)
    copy = LocalCopy(folder, policy=policy) if _truth(own.get("copy", True)) else None
    return FailoverExecutor(
        lambda: open_backend(primary, **rest), folder, copy=copy, policy=policy, clock=clock, ids=ids
    )


def folder_of(url: str, **options: Any) -> Path:
    """
    Return the folder of the spool that `open_failover` uses for these arguments.
    """
    primary, own = _parts(url, options)
    return Path(own["spool"]).expanduser().absolute() if own.get("spool") else spool_folder(primary)


def names_spool(url: str) -> bool:
    """
    Tell whether an ``auto+…`` URL itself names the folder of its spool.
    """
    return bool(_parts(url, {})[1].get("spool"))


def spool_folder(primary: str) -> Path:
    """
    Return the folder of the spool for a primary's URL, in the user's folder for state.

    Its name depends on the address without the password: a changed password must not strand what waits.
    """
    return state_folder() / "spool" / derived("spool", _without_password(primary))


def _parts(url: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """
    Return the primary's URL, and the options of `auto` itself; those given by name go before those in the URL.
    """
    primary = url.strip()[len(AUTO) :]
    before, mark, query = primary.partition("?")
    own: dict[str, Any] = {}
    if mark and "://" in before:
        pairs = parse_qsl(query, keep_blank_values=True)
        own = {name: value for name, value in pairs if name in _OWN}
        if own:
            rest = [(name, value) for name, value in pairs if name not in _OWN]
            primary = f"{before}?{urlencode(rest)}" if rest else before
    own |= {name: options[name] for name in _OWN if options.get(name) is not None}
    return primary, own


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in {"true", "yes", "1", "on"}:
        return True
    if str(value).lower() in {"false", "no", "0", "off"}:
        return False
    raise ConfigError("copy", str(value), "neither true nor false")


def _is_database(primary: str) -> bool:
    return place_of(primary) is None and not primary.lower().startswith(("memory:", "null:"))


def _without_password(primary: str) -> str:
    text = re.sub(r"(://[^\s:/@?#]*):\S*@", r"\1@", primary)
    return re.sub(r"(^|[\s?&])password\s*=\s*('(?:\\.|[^'\\])*'|[^\s&]+)", r"\1", text, flags=re.IGNORECASE).strip()


def state_folder() -> Path:
    """
    Return the user's folder for state, which outlives a process and need not be backed up.
    """
    if sys.platform == "linux":
        named = os.environ.get("XDG_STATE_HOME", "").strip()
        base = Path(named) if named.startswith("/") else Path.home() / ".local/state"
        return base / "backlog"
    import platformdirs

    return platformdirs.user_state_path("backlog")
