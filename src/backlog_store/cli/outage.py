"""
A store of `auto` on the command line: where its spool is, what is drained first, and what is said of an outage.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from backlog_store.access import Scope
from backlog_store.backends.port import Reader
from backlog_store.backends.registry import AUTO, is_made
from backlog_store.backlog import Backlog, open_backlog
from backlog_store.cli.app import App
from backlog_store.cli.text import plural
from backlog_store.clock import system_ids
from backlog_store.commands import Answer, Body
from backlog_store.errors import BackendError, BacklogError, ConfigError
from backlog_store.executors.failover.executor import FailoverExecutor
from backlog_store.executors.failover.opening import folder_of, names_spool
from backlog_store.executors.failover.places import spool_opener, spool_url
from backlog_store.executors.failover.spool import Spool
from backlog_store.executors.failover.standing import Account
from backlog_store.instants import Instant

__all__ = ["auto_url", "copy_told", "moment", "open_auto", "open_spool", "spool_options", "tell_accepted"]

T = TypeVar("T")

#: How long, in seconds, a command lets what waits go first, once the database answers.
_DRAIN_S = 2.0


class _Telling(Backlog):
    """
    A backlog that says once that what is read comes from a copy.
    """

    app: App
    is_told = False

    def acting_as(self, name: str, *, person: bool = False, scope: Scope | None = None) -> Backlog:
        """
        Return the same for another actor.
        """
        return _telling(self.app, super().acting_as(name, person=person, scope=scope))

    def read(self, fn: Callable[[Reader], T], /) -> T:
        """
        Read, and tell.
        """
        try:
            result = super().read(fn)
        except BackendError:
            raise
        except BacklogError:
            self._tell()  # what is not found may be on the database
            raise
        self._tell()
        return result

    def preview(self, body: Body) -> Answer:
        """
        Preview, and tell.
        """
        answer = super().preview(body)
        self._tell()
        return answer

    def _tell(self) -> None:
        executor = self.executor
        assert isinstance(executor, FailoverExecutor)
        if not self.is_told and not self.app.quiet and executor.state == "degraded":
            self.is_told = True
            self.app.say(copy_told(executor.standing().copy_as_of))


def _telling(app: App, backlog: Backlog) -> _Telling:
    telling = _Telling(backlog.executor, actor=backlog.actor, clock=backlog.clock, ids=backlog.ids, scope=backlog.scope)
    telling.app = app
    return telling


def open_auto(app: App, url: str) -> Backlog:
    """
    Open a store of `auto`; what waits in its spool goes first, if the database answers and it does not take long.

    Raises `ConfigError` for a folder that can hold no spool.
    """
    logging.getLogger("backlog_store").addHandler(logging.NullHandler())  # what it warns of is told here in words
    options = spool_options(app, url)
    if "spool" in options:
        _check_folder(Path(options["spool"]).expanduser())
    backlog = open_backlog(url, actor=app.actor, **options)
    executor = backlog.executor
    assert isinstance(executor, FailoverExecutor)
    executor.spools.memory_max = 0  # it would be lost with this process
    if executor.spools.found.waiting and executor.state != "degraded":
        executor.settle(_DRAIN_S)
        _tell_drained(app, executor.spools.found, executor.spools.account())
    return _telling(app, backlog)


def _tell_drained(app: App, before: Account, after: Account) -> None:
    parked = max(0, after.parked - before.parked)
    if after.waiting:
        app.say(f"The database is back; {plural(after.waiting, 'accepted command')} still to be recorded.")
    elif not app.quiet and before.waiting > parked:
        app.say(f"The database is back; {plural(before.waiting - parked, 'accepted command')} recorded now.")
    if parked:
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


def copy_told(as_of: Instant) -> str:
    """
    Return in words that what is read is not of the database.
    """
    return f"Copy as of {moment(as_of)}; the database is away."


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
