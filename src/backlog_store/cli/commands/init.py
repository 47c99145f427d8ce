"""
`backlog init`.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import command
from backlog_store.cli.settingsfile import refuse_password, write_setting
from backlog_store.errors import ConfigError
from backlog_store.redacting import redacted
from backlog_store.settings import path_url

__all__ = ["init"]

_FOLDER = ".backlog"


@command("init", examples=("backlog init", "backlog init --store jsonl:ops/backlog",
                           "backlog init --store postgresql://backlog@db.example/backlog"))  # fmt: skip
@click.option("--machine-wide", is_flag=True, help="Make the backlog of this user, used outside of projects.")
@pass_app
def init(app: App, machine_wide: bool) -> None:
    """
    Make a backlog for the project in this folder: a SQLite file in .backlog, or what --store names.

    With --store its URL is kept in backlog.toml, for everybody who works here.
    """
    app.quiet = True
    given = app.flags.get("url", "")
    if given:
        _keep_url(app, given)
    elif machine_wide:
        from backlog_store.settings import user_store

        _make(app, user_store())
    else:
        _make(app, Path.cwd() / _FOLDER / "backlog.db")
        ignore = Path.cwd() / _FOLDER / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# The backlog of this checkout; it is no source.\n*\n", encoding="utf-8")
    app.hint("Next: backlog report FILE, backlog add TITLE, or backlog alone.")


def _make(app: App, path: Path) -> None:
    there = path.exists()
    app.flags["url"] = path_url("sqlite", path)
    app.forget_settings()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    app.writing().check()
    app.out(f"{'There is a backlog already' if there else 'The backlog is'} in {path}")
    made = app.flags.pop("url")
    app.forget_settings()
    wins = app.settings.store()
    if wins.value != made:
        app.say(f"Still in use here is {redacted(wins.value)} ({wins.origin}), which wins over it.")


def _keep_url(app: App, url: str) -> None:
    refuse_password(url, "--store")
    file = Path.cwd() / "backlog.toml"
    if file.exists() and not os.access(file, os.W_OK):
        raise ConfigError("file", str(file), "cannot be written")
    app.writing().check()
    write_setting(file, "url", url)
    app.out(f"The backlog is {redacted(url)}, as backlog.toml says")
