"""
`backlog config`.
"""

from __future__ import annotations

from pathlib import Path

import click

from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, group
from backlog_store.cli.items import json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.settingsfile import refuse_password, write_setting
from backlog_store.cli.text import table
from backlog_store.errors import ConfigError
from backlog_store.settings import SETTINGS, Found, nearest_setting, redacted

__all__ = ["config"]

_KEYS = [setting.key for setting in SETTINGS]


@group("config")
def config() -> None:
    """
    Look at settings and set them. What wins: flag, BACKLOG_*, project file, user file, default.
    """


def _in_force(app: App) -> dict[str, Found]:
    found = dict(app.settings.found)
    found["url"] = app.settings.store()
    found["actor"] = app.settings.actor()
    return found


@config.command("list")
@click.option("--origin", is_flag=True, help="Show which flag, variable or file each came from.")
@json_option
@pass_app
def list_settings(app: App, origin: bool, as_json: bool) -> None:
    """
    List all settings in force.
    """
    found = _in_force(app)
    if as_json:
        app.out(json_text(app, [{"key": key, "value": redacted(found[key].value), "origin": found[key].origin}
                                for key in _KEYS]))  # fmt: skip
        return
    rows = []
    for key in _KEYS:
        row = [key, redacted(found[key].value)]
        rows.append([*row, found[key].origin if found[key].value else ""] if origin else row)
    app.show(table(rows, head=("setting", "value", "origin") if origin else ("setting", "value"), color=app.colored))


@config.command("get")
@click.argument("key", type=Choice(_KEYS), metavar="KEY")
@pass_app
def get(app: App, key: str) -> None:
    """
    Print one setting.
    """
    app.out(redacted(_in_force(app)[key].value))


@config.command("set", examples=("backlog config set limit 20", "backlog config set --project url jsonl:ops/backlog",
                                 "backlog config set limit ''"))  # fmt: skip
@click.argument("key")
@click.argument("value")
@click.option("--project", is_flag=True, help="In the project's backlog.toml, instead of the user's own file.")
@pass_app
def set_(app: App, key: str, value: str, project: bool) -> None:
    """
    Set a setting in the user's file, or in the project's; an empty value removes it.
    """
    setting = nearest_setting(key)
    if not setting.in_files:
        raise ConfigError(key, "", "it is no setting for files", hint=f"Set {setting.variable} in the environment.")
    refuse_password(value, key)
    path = app.settings.user_file
    if project:
        there = app.settings.project_file
        path = there if there is not None and there.name == "backlog.toml" else Path.cwd() / "backlog.toml"
    write_setting(path, key, value)
    app.out(f"{key} = {value}" if value else f"{key} removed")
    app.say(f"in {path}")
    app.forget_settings()
    now = app.settings.found[key]
    if value and now.value != value and now.origin != str(path):
        app.say(f"Not in force: {now.origin} says {redacted(now.value)}, and wins.")


@config.command("path")
@pass_app
def path(app: App) -> None:
    """
    Print the files that are read: the project's (if there is one) and the user's.
    """
    if app.settings.project_file is not None:
        app.out(str(app.settings.project_file))
    app.out(str(app.settings.user_file))
