"""
Settings of the command line: flag, then ``BACKLOG_*``, then project, then user file, then default.

The project's are ``backlog.toml``, or ``[tool.backlog]`` of ``pyproject.toml``, in the working folder or the nearest
one above it, and the store in the nearest folder ``.backlog``; of these two the nearer one wins, and the file where
both lie in one folder. The user file is ``config.toml`` in the platform's folder for settings. A name that no setting
has is an error: a misspelt setting must not mean its default. See docs/reference/settings.md.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from backlog_store.backends.registry import anchored, path_url
from backlog_store.backends.registry import place_of as store_path
from backlog_store.errors import ConfigError
from backlog_store.model import LIMITS
from backlog_store.redacting import redacted

__all__ = [
    "PROJECT_FILE", "SETTINGS", "Found", "Setting", "Settings", "anchored", "check_value", "load_settings",
    "nearest_setting", "path_url", "store_path", "user_file",
]  # fmt: skip

_APP = "backlog"
_PREFIX = "BACKLOG_"
PROJECT_FILE = "backlog.toml"
_STORE_FOLDER = ".backlog"
_STORE_FILE = "backlog.db"


class Setting(Struct, frozen=True, kw_only=True):
    """
    One setting: its key in files, what it means, its default, and what may stand there (empty: any text).

    `in_files` false: only a flag or the environment may set it. What is `secret` is never shown.
    """

    key: str
    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    longest: int = 0
    in_files: bool = True
    secret: bool = False

    @property
    def variable(self) -> str:
        """
        Return the name of the environment variable.
        """
        return _PREFIX + self.key.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting(key="url", help="Where the backlog is: sqlite:///path, jsonl:///folder, postgresql://user@host/database, "
            "or https://host of a server. Default: that of the project, else a file in the user's data folder."),
    Setting(key="backend", help="The original way to choose: auto, postgres, jsonl, memory or null. A `url` beside it "
            "wins.", choices=("auto", "postgres", "jsonl", "memory", "null")),
    Setting(key="postgres_dsn", help="The database for the backends postgres and auto; else POSTGRES_DSN.",
            in_files=False),
    Setting(key="token", in_files=False, secret=True, help="What says who asks, where `url` is a server: http://… or https://…."),
    Setting(key="spool", pattern=r"([/~\\]|[A-Za-z]:).*", help="Where accepted reports wait while the database of an "
            "auto+… store is away: an absolute path of a folder. Default: one in the user's folder for state."),
    Setting(key="actor", longest=LIMITS.name, help="Who acts. Default: the name of the system's user."),
    Setting(key="actor_kind", default="person", choices=("person", "machine"),
            help="What acts: what a person sets, machines leave alone. Automation says machine."),
    Setting(key="env", default="prod", help="The env of what is added or reported without naming one.",
            longest=LIMITS.env),
    Setting(key="service", longest=LIMITS.name, help="The service that reports are about. Default: git's remote."),
    Setting(key="due", default="", pattern=r"none|P[0-3]=\d{1,4}(,P[0-3]=\d{1,4})*",
            help="Days until what a report opens is due, like `P0=2,P1=14`, or `none`. Default: "
            "`P0=2,P1=14,P2=60,P3=180`."),
    Setting(key="policy", help="The project's policy file: `backlog doctor` holds it against the one in force. It is "
            "never in force by itself: `backlog policy apply` does that."),
    Setting(key="webhook_hosts", help="Hosts that webhooks may go to, like `hooks.example.org,*.example.com`."),
    Setting(key="webhook_networks", help="Private networks that webhooks may go to as well, like `10.20.0.0/16`."),
    Setting(key="oidc", help="The file that says how people sign in by OIDC, where this backlog is served: see "
            "docs/guides/oidc.md."),
    Setting(key="oidc_client_secret", in_files=False, secret=True, help="The secret of this service at the OIDC "
            "provider; else the file says where it is, as `client_secret_file`."),
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


class _Layer(Struct, frozen=True):
    """
    Settings from one place; without an origin they are variables of the environment.
    """

    values: Mapping[str, str]
    origin: str = ""


class Settings:
    """
    The settings in force, each with its origin.
    """

    def __init__(self, layers: Sequence[_Layer], *, dsn: Found, project_file: Path | None, user_file: Path) -> None:
        self._layers = layers
        self.found = {setting.key: self._find(setting) for setting in SETTINGS}
        if not self.found["postgres_dsn"].value:
            self.found["postgres_dsn"] = dsn
        self.project_file = project_file
        self.user_file = user_file

    def _find(self, setting: Setting) -> Found:
        for layer in self._layers:
            if value := layer.values.get(setting.key):
                return Found(value, layer.origin or setting.variable)
        return Found(setting.default, "default")

    def get(self, key: str) -> str:
        """
        Return the value of a setting; empty where nothing is set and there is no default.
        """
        return self.found[key].value

    def shown(self, key: str, value: str) -> str:
        """
        Return a value as it may be shown.
        """
        return "***" if value and _BY_KEY[key].secret else redacted(value)

    def store(self) -> Found:
        """
        Return the URL of the store, and where it came from: of the first layer that names one, by `url` or `backend`.
        """
        for layer in self._layers:
            for key in ("url", "backend"):
                if value := layer.values.get(key):
                    url = value if key == "url" else _original_url(value, self.found["postgres_dsn"].value)
                    return Found(url, layer.origin or _BY_KEY[key].variable)
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
        if os.path.isabs(named):  # noqa: PTH117  (no Path of "")
            return Path(named) / _APP
        try:
            return Path.home() / usual / _APP
        except RuntimeError as error:
            raise ConfigError("HOME", "", "this user has no home folder", hint=f"Set it, or {variable}.") from error
    import platformdirs

    return (platformdirs.user_config_path if kind == "config" else platformdirs.user_data_path)(_APP)


def _original_url(backend: str, dsn: str) -> str:
    if backend == "postgres":
        return dsn or _ORIGINAL_DSN
    if backend == "auto" and dsn:
        return f"auto+{dsn}"
    if backend in ("auto", "jsonl"):
        return path_url("jsonl", Path(_ORIGINAL_JSONL))
    return f"{backend}://"


def load_settings(
    flags: Mapping[str, str], environ: Mapping[str, str], cwd: Path, *, faults: list[ConfigError] | None = None
) -> Settings:
    """
    Gather all settings. *flags* are those given on the command line. Raises `ConfigError` for an unknown name or value.

    With a list of *faults* they are added to it instead, and the rest is gathered: what mends settings needs that.
    """
    found: list[ConfigError] = []
    from_env = _environment(environ, found)
    project_file, table = _project(cwd, found)
    path = user_file()
    own = _read_toml(path, found)
    project = [_Layer(_checked(table, project_file, found), f"{project_file}")]
    folder = next((folder for folder in _upwards(cwd) if _is_file(folder / _STORE_FOLDER / _STORE_FILE)), None)
    if folder is not None:
        store = _Layer({"url": path_url("sqlite", folder / _STORE_FOLDER / _STORE_FILE)}, f"found in {folder}")
        is_nearer = project_file is None or len(folder.parts) > len(project_file.parent.parts)
        project.insert(0 if is_nearer else 1, store)
    layers = [_Layer(flags, "flag"), _Layer(from_env), *project, _Layer(_checked(own, path, found), f"{path}")]
    if faults is not None:
        faults += found
    elif found:
        raise found[0]
    dsn = Found(environ.get("POSTGRES_DSN", ""), "POSTGRES_DSN" if environ.get("POSTGRES_DSN") else "default")
    return Settings(layers, dsn=dsn, project_file=project_file, user_file=path)


def _environment(environ: Mapping[str, str], faults: list[ConfigError]) -> dict[str, str]:
    values = {}
    for name, value in environ.items():
        if not name.startswith(_PREFIX):
            continue
        key = name.removeprefix(_PREFIX).lower()
        try:
            if key not in _BY_KEY:
                raise _unknown(name, redacted(value), [one.variable for one in SETTINGS], name, prefix=_PREFIX)
            if value:
                check_value(key, value, where=name)
                values[key] = value
        except ConfigError as error:
            faults.append(error)
    return values


def _upwards(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # a folder above that this user may not look into is no project of theirs


def _project(cwd: Path, faults: list[ConfigError]) -> tuple[Path | None, dict[str, Any]]:
    for folder in _upwards(cwd):
        path = folder / PROJECT_FILE
        if _is_file(path):
            return path, _read_toml(path, faults)
        path = folder / "pyproject.toml"
        if _is_file(path):
            tool = _read_toml(path, faults).get("tool")
            table = tool.get(_APP) if isinstance(tool, dict) else None
            if isinstance(table, dict):
                return path, table
    return None, {}


def _read_toml(path: Path, faults: list[ConfigError]) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}  # nobody made it
    except OSError as error:
        faults.append(ConfigError("file", str(path), f"this user cannot read it: {error.strerror}"))
        return {}
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        faults.append(ConfigError("file", str(path), f"is not TOML: {error}", hint="Mend it by hand."))
    return {}


def _checked(values: Mapping[str, Any], path: Path | None, faults: list[ConfigError]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, value in values.items():
        try:
            texts[key] = _text(key, value, path)
        except ConfigError as error:
            faults.append(error)
    if path is not None and "url" in texts:
        texts["url"] = anchored(texts["url"], path.parent)
    if path is not None:
        texts |= {key: str(path.parent / texts[key]) for key in ("policy", "oidc") if key in texts}
    return texts


def _text(key: str, value: Any, path: Path | None) -> str:
    where = f"{key} in {path}"
    setting = _BY_KEY.get(key)
    if setting is None or not setting.in_files:
        known = [setting.key for setting in SETTINGS if setting.in_files]
        raise _unknown(
            key, redacted(str(value)), known, where, more="" if isinstance(value, dict) else _removal(key, path)
        )
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(where, str(value), "give a text")
    check_value(key, str(value), where=where)
    return str(value)


def _removal(key: str, path: Path | None) -> str:
    command = {PROJECT_FILE: "unset --project", "config.toml": "unset"}.get(path.name if path else "")
    return f" `backlog config {command} {key}` removes it." if command and re.fullmatch(r"[\w-]+", key) else ""


def check_value(key: str, value: str, *, where: str) -> None:
    """
    Refuse a value that the setting cannot have. Raises `ConfigError`, with the nearest possible value.
    """
    setting = nearest_setting(key)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(where, value, "is not UTF-8", hint="Give a text of characters.") from error
    if "\0" in value:
        raise ConfigError(where, value, "holds a NUL character", hint="Remove it.")
    if setting.choices and value not in setting.choices:
        near = _nearest(value, setting.choices)
        hint = f"Did you mean {near!r}?" if near else f"One of {', '.join(setting.choices)}."
        raise ConfigError(where, value, "there is no such choice", hint=hint)
    if setting.longest and len(value) > setting.longest:
        raise ConfigError(where, f"{value[:60]}…", f"{len(value)} characters; at most {setting.longest} are kept")
    if setting.pattern and not re.fullmatch(setting.pattern, value):
        raise ConfigError(where, value, "is not of that form", hint=setting.help)


def nearest_setting(key: str) -> Setting:
    """
    Return the setting of this key. Raises `ConfigError` that names the nearest one.
    """
    setting = _BY_KEY.get(key)
    if setting is None:
        raise _unknown(key, "", [*_BY_KEY], key)
    return setting


def _unknown(
    name: str, value: str, known: Sequence[str], where: str, *, prefix: str = "", more: str = ""
) -> ConfigError:
    # What all names begin with would make any two of them look alike.
    near = _nearest(name.removeprefix(prefix), [one.removeprefix(prefix) for one in known])
    hint = f"Did you mean {prefix}{near}?" if near else f"Known are {', '.join(known)}."
    return ConfigError(where, value, f"there is no setting {name!r}", hint=hint + more)


def _nearest(word: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1)
    return found[0] if found else ""
