"""
`backlog config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from backlog_store.backends.registry import check_url
from backlog_store.cli.app import App, pass_app
from backlog_store.cli.command import Choice, group
from backlog_store.cli.items import fields_of, json_text
from backlog_store.cli.options import json_option
from backlog_store.cli.settingsfile import refuse_password, remove_setting, write_setting
from backlog_store.cli.text import table
from backlog_store.errors import ConfigError
from backlog_store.redacting import redacted
from backlog_store.settings import PROJECT_FILE, SETTINGS, Found, Settings, anchored, nearest_setting

__all__ = ["config"]

_KEYS = [setting.key for setting in SETTINGS]


@group("config")
def config() -> None:
    """
    Look at settings and set them. What wins: flag, BACKLOG_*, project, user file, default.
    """


def _in_force(settings: Settings, faults: list[ConfigError]) -> dict[str, Found]:
    found = dict(settings.found)
    found["url"] = settings.store()
    try:
        check_url(found["url"].value)
        found["actor"] = settings.actor()
    except ConfigError as error:
        faults.append(error)
    return found


@config.command("list")
@json_option
@pass_app
def list_settings(app: App, as_json: bool) -> None:
    """
    List the settings in force and where each came from; what is wrong with one is told behind them, with exit code 2.
    """
    settings, faults = app.readable_settings()
    found = _in_force(settings, faults)
    shown = {key: settings.shown(key, found[key].value) for key in _KEYS}
    _list(app, found, shown, as_json=as_json)
    for fault in faults[1:]:
        app.say(str(fault))
    if faults:
        raise faults[0]


def _list(app: App, found: Mapping[str, Found], shown: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        listed = [{"key": key, "value": shown[key], "origin": found[key].origin} for key in _KEYS]
        app.out(json_text(app, listed))
        return
    rows = [[key, shown[key], found[key].origin if found[key].value else ""] for key in _KEYS]
    app.show(table(rows, head=("setting", "value", "origin"), color=app.colored))


@config.command("get")
@click.argument("key", type=Choice(_KEYS), metavar="KEY")
@pass_app
def get(app: App, key: str) -> None:
    """
    Print one setting.
    """
    found = {"url": app.settings.store, "actor": app.settings.actor}.get(key)
    app.out(app.settings.shown(key, found().value if found else app.settings.get(key)))


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
    if not value:
        _remove(app, key, project=project)
        return
    refuse_password(value, key)
    if key == "columns":
        fields_of(value)
    path = _file(app, project=project)
    if key == "url" and not project:
        value = anchored(value, Path.cwd())  # the user's file lies elsewhere, and is for all folders
    write_setting(path, key, value)
    app.out(f"{key} = {value}")
    app.say(f"in {path}")
    now = _tell_faults(app)
    wins = now.store() if key in ("url", "backend") else now.found[key]
    if wins.origin != str(path):
        app.say(f"Not in force: {redacted(wins.value)} ({wins.origin}) wins.")


@config.command("unset", examples=("backlog config unset limit",))
@click.argument("key")
@click.option("--project", is_flag=True, help="From the project's backlog.toml, instead of the user's own file.")
@pass_app
def unset(app: App, key: str, project: bool) -> None:
    """
    Remove a setting from the user's file, or from the project's: a misspelt one, too.
    """
    _remove(app, key, project=project)


def _remove(app: App, key: str, *, project: bool) -> None:
    path = _file(app, project=project)
    if remove_setting(path, key):
        app.out(f"{key} removed")
        app.say(f"from {path}")
    else:
        nearest_setting(key)
        app.say(f"{key} is not set in {path}.")
    _tell_faults(app)


def _file(app: App, *, project: bool) -> Path:
    settings, _ = app.readable_settings()
    if not project:
        return settings.user_file
    there = settings.project_file
    if there is not None and there.name != PROJECT_FILE:
        hint = f"Change them there, under [tool.backlog]; a {PROJECT_FILE} would hide them."
        raise ConfigError("--project", "", f"the project's settings stand in {there}", hint=hint)
    return there or Path.cwd() / PROJECT_FILE


def _tell_faults(app: App) -> Settings:
    app.forget_settings()
    settings, faults = app.readable_settings()
    for fault in faults:
        app.say(f"Still wrong: {fault}")
    return settings


@config.command("path")
@pass_app
def path(app: App) -> None:
    """
    Print the files that are read: the project's (if there is one) and the user's.
    """
    settings, _ = app.readable_settings()
    if settings.project_file is not None:
        app.out(str(settings.project_file))
    app.out(str(settings.user_file))
