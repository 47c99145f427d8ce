"""
What every command shares: the settings, the store, who acts, and where words and data go.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from backlog_store.backends.registry import AUTO, SERVERS, is_made
from backlog_store.backlog import Backlog, open_backlog
from backlog_store.cli.text import paint
from backlog_store.commands import Body
from backlog_store.errors import AmbiguousId, BackendUnavailable, ConfigError, NotFound
from backlog_store.instants import Instant
from backlog_store.model import TRAILS, Actor, Item
from backlog_store.query import EventQuery
from backlog_store.redacting import redacted
from backlog_store.settings import Found, Settings, load_settings, store_path

__all__ = ["App", "pass_app", "stdin_is_terminal"]

_LATEST = "@latest"
_LATEST_OF = 20  # events looked at: those of policies and people are of no item
_ID_START = "bl_"


class App:
    """
    One run of the command line. The store is opened when first asked for.
    """

    def __init__(self) -> None:
        self.flags: dict[str, str] = {}
        self.debug = False
        self.no_input = False
        self.no_pager = False
        self.color = "auto"
        self.json = False
        self.quiet = False  # the command itself tells what it made
        self._settings: Settings | None = None
        self._backlog: Backlog | None = None
        self._is_empty_view = False  # what is open stands for a store that nobody made yet
        self.made = ""  # the store that this run made, to be told

    # Settings

    @property
    def settings(self) -> Settings:
        """
        Return the settings in force. Raises `ConfigError`.
        """
        if self._settings is None:
            self._settings = self._load(None)
        return self._settings

    def readable_settings(self) -> tuple[Settings, list[ConfigError]]:
        """
        Return the settings as far as they can be read, and what is wrong with the others: for what mends them.
        """
        faults: list[ConfigError] = []
        return self._load(faults), faults

    def _load(self, faults: list[ConfigError] | None) -> Settings:
        if redacted(self.flags.get("url", "")) != self.flags.get("url", ""):
            from backlog_store.cli.settingsfile import refuse_password

            refuse_password(self.flags["url"], "--store")
        return load_settings(self.flags, os.environ, Path.cwd(), faults=faults)

    def forget_settings(self) -> None:
        """
        Gather the settings anew when next asked for: a flag has changed.
        """
        self._settings = None

    @property
    def store(self) -> Found:
        """
        Return the URL of the store, and where it came from.
        """
        return self.settings.store()

    @property
    def actor(self) -> Actor:
        """
        Return who acts: a person, unless told otherwise.
        """
        kind = self.settings.get("actor_kind")
        return Actor(self.settings.actor().value, "machine" if kind == "machine" else "person")

    # The store

    def reading(self) -> Backlog:
        """
        Return the store for a command that only reads.

        Nothing is made: where no backlog was ever made and nobody named one, an empty one is shown. Raises
        `BackendUnavailable` for a named store that is not there, and what opening a store raises.
        """
        return self._open(make=False)

    def writing(self, body: Body | None = None) -> Backlog:
        """
        Return the store for a command that writes; it is made where it is not there yet, unless *body* is refused.
        """
        if body is not None and not is_made(self.store.value):
            with open_backlog("memory://", actor=self.actor, lazily=True) as trial:
                trial.preview(body)
        return self._open(make=True)

    def _open(self, *, make: bool) -> Backlog:
        if self._backlog is not None and not (make and self._is_empty_view):
            return self._backlog
        self.close()
        url, origin = self.store.value, self.store.origin
        path = store_path(url)
        self._is_empty_view = False
        if path is not None and not is_made(url):
            if make:
                self.made = redacted(url)
            elif origin == "default":
                url, self._is_empty_view = "memory://", True
            else:
                raise BackendUnavailable(
                    url.partition(":")[0], "opening", f"there is no backlog at {path} ({origin})",
                    hint="Check the path, or make one there: `backlog init --store URL`.",
                )  # fmt: skip
        if url.lower().startswith(AUTO):
            from backlog_store.cli.outage import open_auto  # only who has an outage to fear pays for it

            self._backlog = open_auto(self, url)
        elif url.lower().startswith(SERVERS):
            self._backlog = open_backlog(url, actor=self.actor, token=self.settings.get("token"))
        else:
            self._backlog = open_backlog(url, actor=self.actor, lazily=True)
        if self.made and not self.quiet and not self.json:
            self.say(f"Made a new backlog: {self.made}")
        return self._backlog

    @property
    def backlog(self) -> Backlog:
        """
        Return the store that is open, else open it for reading.
        """
        return self._backlog or self.reading()

    def close(self) -> None:
        """
        Close the store, if it was opened.
        """
        if self._backlog is not None:
            if not self.quiet and (as_of := getattr(self._backlog.executor, "copy_as_of", "")):
                from backlog_store.cli.outage import copy_told  # of a server whose database is away

                self.say(copy_told(as_of))
            self._backlog.close()
            self._backlog = None

    def now(self) -> Instant:
        """
        Return the present instant.
        """
        from backlog_store.clock import system_clock

        return system_clock()

    def item(self, id: str) -> Item:
        """
        Return the item of an id, an unambiguous beginning, or ``@latest``: the one that this actor changed last.
        """
        if id != _LATEST:
            return self._named(id)
        events = self.backlog.events(EventQuery(actors=(self.actor.name,), newest_first=True, limit=_LATEST_OF))
        latest = next((event.item_id for event in events if event.item_id not in TRAILS), "")
        if not latest:
            raise NotFound("item", id, hint=f"{self.actor.name} has changed no item in this backlog yet.")
        return self.backlog.get(latest)

    def _named(self, id: str) -> Item:
        if not id.strip():
            raise click.UsageError("Which item? The id is empty.")
        try:
            if id == _ID_START:  # every id begins like this
                some = [item.id for item in self.backlog.search(order="id", limit=6)]
                raise AmbiguousId("item", id, some) if some else NotFound("item", id)
            return self.backlog.get(id)
        except AmbiguousId as error:
            ids = error.candidates
            found = self.backlog.read(lambda reader: reader.items(ids))
            titles = [found[one].title if one in found else "" for one in ids]
            raise AmbiguousId(error.kind, id, ids, titles) from error

    # Words and data

    @property
    def on_terminal(self) -> bool:
        """
        Tell whether data goes to a terminal.
        """
        return sys.stdout.isatty()

    @property
    def colored(self) -> bool:
        """
        Tell whether data is coloured.
        """
        return self.colors(sys.stdout)

    def colors(self, stream: Any) -> bool:
        """
        Tell whether what goes to *stream* is coloured.
        """
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"

    @property
    def room(self) -> int:
        """
        Return the width of the terminal; 0 where data does not go to one, and nothing is to be cut.
        """
        return _terminal_size().columns if self.on_terminal else 0

    def out(self, text: str = "") -> None:
        """
        Write a line of data.
        """
        click.echo(text, color=self.colored)

    def say(self, text: str) -> None:
        """
        Write a line of talk, which is no data.
        """
        click.echo(redacted(text), err=True, color=self.colors(sys.stderr))

    def hint(self, text: str) -> None:
        """
        Write a line of advice, for people alone.
        """
        if sys.stderr.isatty():
            self.say(paint(text, "dim", on=self.colors(sys.stderr)))

    def show(self, lines: list[str]) -> None:
        """
        Write lines of data, through a pager where they would run off a terminal.
        """
        if not self.on_terminal or self.no_pager or self.no_input or len(lines) < _terminal_size().lines:
            for line in lines:
                self.out(line)
            return
        pager = self.settings.get("pager")
        if pager:
            os.environ["PAGER"] = pager
        os.environ.setdefault("LESS", "-FRX")
        click.echo_via_pager("\n".join(lines) + "\n", color=self.colored)

    def confirm(self, question: str, *, yes: bool) -> None:
        """
        Ask, unless *yes* was said. Raises `click.UsageError` where nobody can be asked, `click.Abort` for a no.
        """
        if yes:
            return
        if self.no_input or not stdin_is_terminal():
            raise click.UsageError(f"{question} Nobody can be asked here: say --yes, or --dry-run to look first.")
        click.confirm(question, abort=True, err=True)


def _terminal_size() -> os.terminal_size:
    import shutil  # with its archives it costs a fiftieth of a command, and only people at a terminal need it

    return shutil.get_terminal_size()


def stdin_is_terminal() -> bool:
    """
    Tell whether somebody can be asked.
    """
    return sys.stdin.isatty()


def pass_app(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Give a command its `App` as the first argument.
    """
    return click.make_pass_decorator(App, ensure=True)(function)
