"""
A store of `auto` on the command line: where its spool is, what is drained first, and what is said of an outage.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import click

from backlog_store.backends.registry import AUTO, is_made
from backlog_store.backlog import Backlog, open_backlog
from backlog_store.cli.app import App
from backlog_store.cli.text import plural
from backlog_store.clock import system_ids
from backlog_store.errors import ConfigError
from backlog_store.executors.failover.executor import FailoverExecutor
from backlog_store.executors.failover.opening import folder_of, names_spool
from backlog_store.executors.failover.places import spool_opener, spool_url
from backlog_store.executors.failover.spool import Spool
from backlog_store.executors.failover.standing import Standing
from backlog_store.instants import Instant

__all__ = ["auto_url", "moment", "open_auto", "open_spool", "spool_options", "tell_accepted"]

#: How long, in seconds, a command lets what waits go first, once the database answers.
_DRAIN_S = 2.0


def open_auto(app: App, url: str, *, reading: bool) -> Backlog:
    """
    Open a store of `auto`; what waits in its spool goes first, if the database answers and it does not take long.

    One that is *reading* is told that it sees a copy. Raises `ConfigError` for a folder that can hold no spool.
    """
    logging.getLogger("backlog_store").addHandler(logging.NullHandler())  # what it warns of is told here in words
    options = spool_options(app, url)
    if "spool" in options:
        _check_folder(Path(options["spool"]).expanduser())
    backlog = open_backlog(url, actor=app.actor, **options)
    executor = backlog.executor
    assert isinstance(executor, FailoverExecutor)
    executor.spools.memory_max = 0  # it would be lost with this process
    standing = executor.standing()
    if standing.state != "degraded" and standing.waiting:
        executor.settle(_DRAIN_S)
        _tell_drained(app, standing, executor.standing())
    elif standing.state == "degraded" and reading and standing.copy_as_of and not app.quiet:
        app.say(f"Copy as of {moment(standing.copy_as_of)}; the database is away.")
    return backlog


def _tell_drained(app: App, before: Standing, after: Standing) -> None:
    count = plural(after.waiting or before.waiting, "accepted command")
    if after.waiting:
        app.say(f"The database is back; {count} still to be recorded: that goes on.")
    elif not app.quiet:
        app.say(f"The database is back; {count} recorded now.")
    parked = after.account.parked - before.account.parked
    if parked > 0:
        app.say(f"{parked:,} could not be applied: `backlog spool list --parked` says why.")


def tell_accepted(app: App) -> None:
    """
    Say that what was said last is not recorded yet.
    """
    executor = app.backlog.executor
    if not isinstance(executor, FailoverExecutor):
        return
    standing = executor.standing()
    why = "the database is away" if standing.state == "degraded" else "what came before goes first"
    count = f"{plural(standing.waiting, 'command')} {'waits' if standing.waiting == 1 else 'wait'}"
    app.say(f"Accepted, not yet recorded: {why}; {count} in {standing.spool}. `backlog spool status` tells more.")


# The spool alone: what never waits for the database


def auto_url(app: App) -> str:
    """
    Return the URL of the store, which must be one of `auto`. Raises `click.UsageError`.
    """
    url = app.store.value
    if not url.lower().startswith(AUTO):
        raise click.UsageError(
            "Only a store of auto has a spool: its URL is like auto+postgresql://user@host/database "
            f"(this one comes from {app.store.origin})."
        )
    return url


def spool_options(app: App, url: str) -> dict[str, Any]:
    """
    Return the options for `open_backlog` that name the spool's folder, where a setting does; the URL's own wins.
    """
    named = app.settings.get("spool")
    return {"spool": named} if named and not names_spool(url) else {}


def open_spool(app: App) -> tuple[Path, Spool | None]:
    """
    Return the spool's folder, and the spool in it, if anything was ever accepted there. The caller closes it.
    """
    url = auto_url(app)
    folder = folder_of(url, **spool_options(app, url))
    if not is_made(spool_url(folder)):
        return folder, None
    return folder, Spool(spool_opener(folder)(), system_ids)


def moment(at: Instant) -> str:
    """
    Return an instant to the second.
    """
    return f"{at[:19]}Z" if at else ""


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "this user cannot write there"
    except FileNotFoundError:
        reason = f"there is no folder {folder.parent} to make it in"
    except FileExistsError:
        reason = "it is a file"
    except OSError as error:
        reason = f"it cannot be made: {error.strerror}"
    if reason:
        raise ConfigError("spool", str(folder), reason, hint="Name a folder of this user, on a disk that stays.")
