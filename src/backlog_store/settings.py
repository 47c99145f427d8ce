"""
Settings of the command line: flag, then ``BACKLOG_*``, then project file, then user file, then default.

The project file is ``backlog.toml``, or ``[tool.backlog]`` of ``pyproject.toml``, in the working folder or the nearest
one above it; the user file is ``config.toml`` in the platform's folder for settings. A name that no setting has is an
error: a misspelt setting must not mean its default. See docs/reference/settings.md.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from backlog_store.errors import ConfigError

__all__ = [
    "SETTINGS", "Found", "Setting", "Settings", "check_value", "load_settings", "nearest_setting", "path_url",
    "redacted", "store_path", "user_file",
]  # fmt: skip

_APP = "backlog"
_PREFIX = "BACKLOG_"
_PROJECT_FILE = "backlog.toml"
_STORE_FOLDER = ".backlog"
_STORE_FILE = "backlog.db"


class Setting(Struct, frozen=True, kw_only=True):
    """
    One setting: its key in files, what it means, its default, and what may stand there (empty: any text).

    `in_files` false: only a flag or the environment may set it.
    """

    key: str
    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    in_files: bool = True

    @property
    def variable(self) -> str:
        """
        Return the name of the environment variable.
        """
        return _PREFIX + self.key.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting(key="url", help="Where the backlog is: sqlite:///path, jsonl:///folder, postgresql://user@host/database. "
            "Default: `.backlog/backlog.db` of the project, else a file in the user's data folder."),
    Setting(key="backend", help="The original way to choose: auto, postgres, jsonl, memory or null. `url` wins.",
            choices=("auto", "postgres", "jsonl", "memory", "null")),
    Setting(key="postgres_dsn", help="The database for the backends postgres and auto; else POSTGRES_DSN.",
            in_files=False),
    Setting(key="actor", help="Who acts. Default: the name of the system's user."),
    Setting(key="actor_kind", default="person", choices=("person", "machine"),
            help="What acts: what a person sets, machines leave alone. Automation says machine."),
    Setting(key="env", default="prod", help="The env of what is added or reported without naming one."),
    Setting(key="service", help="The service that reports are about. Default: the name of the git remote."),
    Setting(key="due", default="", pattern=r"none|P[0-3]=\d+(,P[0-3]=\d+)*",
            help="Days until what a report opens is due, like `P0=2,P1=14`, or `none`. Default: "
            "`P0=2,P1=14,P2=60,P3=180`."),
    Setting(key="format", default="table", choices=("table", "json", "jsonl", "csv", "md"),
            help="How `list` and `search` print."),
    Setting(key="columns", help="What `list` and `search` show, like `id,priority,title`."),
    Setting(key="limit", default="50", pattern=r"\d{1,7}", help="How many rows `list` and `search` show; 0 is all."),
    Setting(key="pager", help="The program for long output on a terminal; `cat` for none. Default: PAGER, else less."),
)  # fmt: skip
_BY_KEY = {setting.key: setting for setting in SETTINGS}
_ORIGINAL_DSN = "postgresql://localhost/daarion"
_ORIGINAL_JSONL = "ops/backlog/items.jsonl.journal"


class Found(Struct, frozen=True):
    """
    A setting's value and where it came from, in words.
    """

    value: str
    origin: str


class Settings:
    """
    The settings in force, each with its origin.
    """

    def __init__(self, found: Mapping[str, Found], *, project_file: Path | None, user_file: Path, cwd: Path) -> None:
        self.found = found
        self.project_file = project_file
        self.user_file = user_file
        self.cwd = cwd

    def get(self, key: str) -> str:
        """
        Return the value of a setting; empty where nothing is set and there is no default.
        """
        return self.found[key].value

    def store(self) -> Found:
        """
        Return the URL of the store, and where it came from.
        """
        url = self.found["url"]
        if url.value:
            return url
        chosen = self.found["backend"]
        if chosen.value:
            return Found(_original_url(chosen.value, self.found["postgres_dsn"].value), chosen.origin)
        for folder in _upwards(self.cwd):
            path = folder / _STORE_FOLDER / _STORE_FILE
            if path.is_file():
                return Found(path_url("sqlite", path), f"found in {folder}")
        return Found(path_url("sqlite", user_store()), "default")

    def actor(self) -> Found:
        """
        Return who acts: the setting, else the system's user.
        """
        named = self.found["actor"]
        if named.value:
            return named
        import getpass

        try:
            return Found(getpass.getuser(), "the system's user")
        except (OSError, KeyError) as error:
            raise ConfigError(
                "actor", "", f"the system has no name for this user ({error})", hint="Set BACKLOG_ACTOR."
            ) from error


def user_file() -> Path:
    """
    Return the path of the user's own settings.
    """
    return _folder("config", "XDG_CONFIG_HOME", ".config") / "config.toml"


def user_store() -> Path:
    """
    Return the path of the store that is used outside of projects.
    """
    return _folder("data", "XDG_DATA_HOME", ".local/share") / _STORE_FILE


def _folder(kind: str, variable: str, usual: str) -> Path:
    # What platformdirs does on Linux is this one rule, and importing it costs a tenth of a whole `backlog list`.
    if sys.platform == "linux":
        named = os.environ.get(variable, "").strip()
        return (Path(named) if os.path.isabs(named) else Path.home() / usual) / _APP  # noqa: PTH117  (no Path of "")
    import platformdirs

    return (platformdirs.user_config_path if kind == "config" else platformdirs.user_data_path)(_APP)


def _original_url(backend: str, dsn: str) -> str:
    if backend == "postgres":
        return dsn or _ORIGINAL_DSN
    if backend == "auto" and dsn:
        return dsn
    if backend in ("auto", "jsonl"):
        return path_url("jsonl", Path(_ORIGINAL_JSONL))
    return f"{backend}://"


def load_settings(flags: Mapping[str, str], environ: Mapping[str, str], cwd: Path) -> Settings:
    """
    Gather all settings. *flags* are those given on the command line. Raises `ConfigError` for an unknown name or value.
    """
    from_env = _environment(environ)
    project_file, from_project = _project(cwd)
    path = user_file()
    from_user = _read_toml(path).items() if path.is_file() else ()
    layers: list[tuple[Mapping[str, str], str]] = [
        (flags, "flag"),
        (from_env, "environment"),
        (_checked(from_project, project_file), f"{project_file}"),
        (_checked(dict(from_user), path), f"{path}"),
    ]
    found: dict[str, Found] = {}
    for setting in SETTINGS:
        found[setting.key] = Found(setting.default, "default")
        for values, origin in layers:
            if values.get(setting.key):
                shown = setting.variable if origin == "environment" else origin
                found[setting.key] = Found(values[setting.key], shown)
                break
    if not found["postgres_dsn"].value and environ.get("POSTGRES_DSN"):
        found["postgres_dsn"] = Found(environ["POSTGRES_DSN"], "POSTGRES_DSN")
    return Settings(found, project_file=project_file, user_file=path, cwd=cwd)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for name, value in environ.items():
        if not name.startswith(_PREFIX):
            continue
        key = name.removeprefix(_PREFIX).lower()
        if key not in _BY_KEY:
            raise _unknown(name, redacted(value), key, [setting.variable for setting in SETTINGS], name)
        if value:
            check_value(key, value, where=name)
            values[key] = value
    return values


def _upwards(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents


def _project(cwd: Path) -> tuple[Path | None, dict[str, Any]]:
    for folder in _upwards(cwd):
        path = folder / _PROJECT_FILE
        if path.is_file():
            return path, _read_toml(path)
        path = folder / "pyproject.toml"
        if path.is_file():
            table = _read_toml(path).get("tool", {}).get(_APP)
            if isinstance(table, dict):
                return path, table
    return None, {}


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("file", str(path), f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("file", str(path), f"is not TOML: {error}") from error


def _checked(values: Mapping[str, Any], path: Path | None) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, value in values.items():
        setting = _BY_KEY.get(key)
        known = [setting.key for setting in SETTINGS if setting.in_files]
        if setting is None or not setting.in_files:
            raise _unknown(key, redacted(str(value)), key, known, f"{key} in {path}")
        if isinstance(value, list):
            value = ",".join(map(str, value))  # noqa: PLW2901  (one form from here on)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError(f"{key} in {path}", str(value), "give a text")
        check_value(key, str(value), where=f"{key} in {path}")
        texts[key] = str(value)
    if path is not None and "url" in texts:
        texts["url"] = _anchored(texts["url"], path.parent)
    return texts


def check_value(key: str, value: str, *, where: str) -> None:
    """
    Refuse a value that the setting cannot have. Raises `ConfigError`, with the nearest possible value.
    """
    setting = nearest_setting(key)
    if setting.choices and value not in setting.choices:
        near = _nearest(value, setting.choices)
        hint = f"Did you mean {near!r}?" if near else f"One of {', '.join(setting.choices)}."
        raise ConfigError(where, value, "there is no such choice", hint=hint)
    if setting.pattern and not re.fullmatch(setting.pattern, value):
        raise ConfigError(where, value, "is not of that form", hint=setting.help)


def nearest_setting(key: str) -> Setting:
    """
    Return the setting of this key. Raises `ConfigError` that names the nearest one.
    """
    setting = _BY_KEY.get(key)
    if setting is None:
        raise _unknown(key, "", key, [*_BY_KEY], key)
    return setting


def _unknown(name: str, value: str, key: str, known: list[str], where: str) -> ConfigError:
    near = _nearest(name, known)
    hint = f"Did you mean {near}?" if near else f"Known are {', '.join(known)}."
    return ConfigError(where, value, f"there is no setting {key!r}", hint=hint)


def _nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1)
    return found[0] if found else ""


def path_url(scheme: str, path: Path) -> str:
    """
    Return the URL of a store at *path*.
    """
    from urllib.parse import quote

    text = quote(path.as_posix(), safe="/:~ ")
    # After three slashes a name alone counts as relative; see `backends.registry`.
    return f"{scheme}://{text}" if path.is_absolute() and text.count("/") > 1 else f"{scheme}:{text}"


_FILE_URL = re.compile(r"(sqlite|jsonl):(//)?(/?)([^?]*)(.*)", re.DOTALL | re.IGNORECASE)


def store_path(url: str) -> Path | None:
    """
    Return the file or folder that a store's URL names, as `backends.registry` reads it; ``None`` for a database.
    """
    from urllib.parse import unquote

    found = _FILE_URL.fullmatch(url)
    if found is None:
        return None if ":" in url or "=" in url or not url else Path(url).expanduser()
    _, slashes, root, path, _ = found.groups()
    relative = not root or (bool(slashes) and "/" not in path)
    return Path(unquote(path if relative else f"/{path}")).expanduser()


def _anchored(url: str, folder: Path) -> str:
    """
    Return a URL from a file in *folder* with its relative path made absolute.
    """
    path = store_path(url)
    if path is None or path.is_absolute():
        return url
    found = _FILE_URL.fullmatch(url)
    if found is None:
        return str(folder / path)
    return path_url(found[1].lower(), folder / path) + found[5]


#: A password between ``user:`` and ``@`` of a URL (it may hold an @ itself), and one of a libpq keyword DSN or query.
_URL_PASSWORD = re.compile(r"(://[^\s:/@?#]*):\S*@")
_KEYWORD_PASSWORD = re.compile(r"(\bpassword\s*=\s*)('(?:\\.|[^'\\])*'|[^\s&'\"]+)", re.IGNORECASE)


def redacted(text: str) -> str:
    """
    Return *text* with the passwords of URLs and DSNs replaced.
    """
    return _KEYWORD_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))
