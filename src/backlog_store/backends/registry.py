"""
From a URL to a backend. What a URL names is imported when it is opened, so nobody pays for the others.

=====================================  =================================================================================
``memory://``, ``null://``             nothing follows
``sqlite:///srv/backlog.db``           an absolute path; ``sqlite:///backlog.db`` and ``sqlite:ops/backlog.db`` are
``jsonl:///srv/backlog``               relative (a name alone is never meant to lie in the root folder)
``postgresql://user@host/database``    as libpq takes it, and so are ``postgres://…`` and ``host=… dbname=…``
``https://host``                       a `backlog serve`; `open_backlog` asks it
``ops/backlog.db``, ``ops/backlog``    bare paths: a name in ``.db``, ``.sqlite`` or ``.sqlite3`` is SQLite, a folder is
                                       jsonl
=====================================  =================================================================================

Options of the backend may follow a path as a query: ``sqlite:///backlog.db?busy_timeout_s=10``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from backlog_store.backends.port import Backend
from backlog_store.errors import BackendUnavailable, ConfigError
from backlog_store.importing import import_all

__all__ = [
    "AUTO", "SCHEMES", "SERVERS", "anchored", "check_url", "is_made", "load", "open_backend", "path_url", "place_of",
]  # fmt: skip


class _Scheme(NamedTuple):
    module: str
    function: str
    takes: str = ""  # what follows: nothing, a "path", or the whole "dsn"
    extra: str = ""  # of the package, that brings the driver
    drivers: tuple[str, ...] = ()


_POSTGRES = _Scheme("postgres", "open_postgres", "dsn", "postgres", ("psycopg", "psycopg_binary"))
#: Each scheme and what opens it.
SCHEMES: dict[str, _Scheme] = {
    "memory": _Scheme("memory", "open_memory"),
    "null": _Scheme("null", "open_null"),
    "jsonl": _Scheme("jsonl", "open_jsonl", "path"),
    "sqlite": _Scheme("sqlite", "open_sqlite", "path"),
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "http": _Scheme("remote", "", "dsn"),
    "https": _Scheme("remote", "", "dsn"),
}
#: How the URL of a server begins. `open_backlog` asks it; what needs the store itself is refused.
SERVERS = ("http://", "https://")
_RESERVED = "auto"
#: In front of a URL: the same store, living through outages (see executors/failover). `open_backlog` opens it.
AUTO = "auto+"
_SQLITE_NAMES = (".db", ".sqlite", ".sqlite3")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)  # one letter alone is a drive of Windows
_LIBPQ = r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service|sslmode)\s*="
_FORMS = "Write sqlite:///path, jsonl:///folder, postgresql://user@host/database, memory:// or null://."


class _Target(NamedTuple):
    how: _Scheme
    place: Path | str | None = None
    options: Mapping[str, Any] = {}  # those of the URL


def open_backend(url: str, **options: Any) -> Backend:
    """
    Open the backend that *url* names. *options* go to it, before those in the URL.

    Raises `ConfigError` for what names no backend, an unknown option or a missing extra, and what opening raises.
    """
    if url.strip().lower().startswith(AUTO):
        raise ConfigError("url", "auto+…", "this needs the store itself", hint="Leave auto+ away from the URL.")
    target = _target(url, Path())
    return _open(target.how, target.place, {**target.options, **options})


def place_of(url: str, *, base: Path = Path()) -> Path | None:
    """
    Return the file or folder that *url* names; ``None`` for what is none, like a database. Nothing is opened.

    A name alone is looked for in *base*. Raises `ConfigError` for what names no backend.
    """
    place = _target(url, base).place
    return place if isinstance(place, Path) else None


def is_made(url: str) -> bool:
    """
    Tell whether the store was made: not of an empty file, nor of a folder without a journal. True of a database.

    Raises `ConfigError` for what names no backend, and `BackendUnavailable` where the place cannot be looked at.
    """
    target = _target(url, Path())
    path = target.place
    if not isinstance(path, Path):
        return True
    try:
        found = path.stat()
        if target.how.module == "jsonl" and S_ISDIR(found.st_mode):
            from backlog_store.backends.jsonl.files import Paths

            Path(Paths(path).journal).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise BackendUnavailable(target.how.module, "opening", f"{error.strerror}: {path}",
                                 hint="The store and its folder must be readable and writable by this user.",
                                 ) from error  # fmt: skip
    return target.how.module == "jsonl" or not S_ISREG(found.st_mode) or found.st_size > 0


def scheme_of(url: str) -> str:
    """
    Return the kind of store that *url* names, as the module of its backend is called. Raises `ConfigError`.
    """
    return _target(url, Path()).how.module


def check_url(url: str, *, base: Path = Path()) -> None:
    """
    Refuse what names no backend, and options of files that there are not; nothing is opened. Raises `ConfigError`.
    """
    target = _target(url, base)
    if target.options:
        _check_options(target.how, target.options, _opener(target.how))


def load(url: str) -> None:
    """
    Import what *url* needs, so that a deadline of opening is not spent on that. Raises `ConfigError` as opening does.
    """
    how = _target(url, Path()).how
    _opener(how)
    import_all(f"backlog_store.backends.{how.module}")


def _target(url: str, base: Path) -> _Target:
    text = url.strip()
    if "\0" in text:
        raise ConfigError("url", text, "it holds a NUL character")
    if text.lower().startswith(AUTO):
        text = text[len(AUTO) :]
    found = _URL.fullmatch(text)
    if not (found and found[1].lower() in SCHEMES) and re.search(_LIBPQ, text):
        return _Target(_POSTGRES, text)
    if found is None:
        return _bare(text, base)
    scheme, rest = found[1].lower(), found[2]
    if scheme not in SCHEMES:
        raise _no_such(scheme)
    how = SCHEMES[scheme]
    if how.takes == "dsn":
        return _Target(how, text)
    place, _, query = rest.removeprefix("//").partition("?")
    given = {name: _value(value) for name, value in parse_qsl(query, keep_blank_values=True)}
    if how.takes == "":
        if place.strip("/"):
            raise ConfigError("url", text, f"nothing may follow {scheme}://", hint=f"Write {scheme}://.")
        return _Target(how, None, given)
    place = re.sub("^/+", "/", unquote(place))
    if not place.strip("/"):
        raise ConfigError("url", text, "the path is missing", hint=_FORMS)
    if rest.startswith("///") and "/" not in place[1:].rstrip("/"):
        place = place[1:]
    return _Target(how, _path(text, place), given)


def _bare(text: str, base: Path) -> _Target:
    if not text:
        raise ConfigError("url", text, "it is empty", hint=_FORMS)
    path = _path(text, text)
    if path.suffix in _SQLITE_NAMES:
        return _Target(SCHEMES["sqlite"], path)
    there = base / path
    if path.suffix and not there.is_dir():
        raise ConfigError(
            "url",
            text,
            "a file of this name is no store",
            hint=f"SQLite files end in .db; else name a folder. {_FORMS}",
        )
    if path.name == text and not there.exists() and _nearest(text.lower(), [*SCHEMES, _RESERVED], n=1):
        raise _no_such(text.lower())  # a backend's name alone is no URL, and no folder to be made
    return _Target(SCHEMES["jsonl"], path)


def _path(url: str, place: str) -> Path:
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        hint = "Write the path out; a name that begins with ~ is ./~name."
        raise ConfigError("url", url, "there is no such home folder", hint=hint) from error


def _open(how: _Scheme, place: str | Path | None, options: Mapping[str, Any]) -> Backend:
    opener = _opener(how)
    _check_options(how, options, opener)
    return opener(**options) if place is None else opener(place, **options)


def _opener(how: _Scheme) -> Callable[..., Backend]:
    if how.module == "remote":
        raise ConfigError("url", "http…", "this needs the store itself, not a server of it",
                          hint="Run it where the store is, with the store's own URL.")  # fmt: skip
    try:
        opener: Callable[..., Backend] = getattr(import_module(f"backlog_store.backends.{how.module}"), how.function)
    except ImportError as error:
        # psycopg without libpq raises a plain ImportError that names no module.
        if how.extra and (error.name is None or error.name.partition(".")[0] in how.drivers):
            raise ConfigError(
                "url", f"{how.module}…", f"the driver is not installed ({error})",
                hint=f"Run: pip install 'backlog-store[{how.extra}]'",
            ) from error  # fmt: skip
        raise
    return opener


def _check_options(how: _Scheme, options: Mapping[str, Any], opener: Callable[..., Backend]) -> None:
    parameters = inspect.signature(opener).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for name, value in options.items():
        if name not in known:
            nearest = _nearest(name, known, n=1)
            hint = f"Did you mean {nearest[0]}?" if nearest else f"Options: {', '.join(known) or 'none'}."
            raise ConfigError(name, str(value), f"{how.module} has no such option", hint=hint)


def _no_such(name: str) -> ConfigError:
    if name == _RESERVED:
        return ConfigError(
            "url", name, "auto needs the one truth behind it", hint="Write auto+postgresql://user@host/database.",
        )  # fmt: skip
    if name in SCHEMES:
        hint = f"{_FORMS} A folder of that name would be ./{name}."
        return ConfigError("url", name, "a backend's name alone is no URL", hint=hint)
    nearest = _nearest(name, SCHEMES, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]}://? {_FORMS}" if nearest else _FORMS
    # Only the scheme is shown: what follows may hold a password.
    return ConfigError("url", f"{name}:…", "there is no such backend", hint=hint)


def _nearest(word: str, known: Iterable[str], *, n: int, cutoff: float = 0.6) -> list[str]:
    from difflib import get_close_matches  # only a misspelt name pays for it

    return get_close_matches(word, list(known), n=n, cutoff=cutoff)


def _value(text: str) -> Any:
    """
    Return an option's text in a URL as the number or truth value that it looks like.
    """
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def path_url(scheme: str, path: Path) -> str:
    """
    Return the URL of a store at *path*.
    """
    from urllib.parse import quote

    text = quote(path.as_posix(), safe="/:~ ")
    # After three slashes a name alone counts as relative; see `place_of`.
    return f"{scheme}://{text}" if path.is_absolute() and text.count("/") > 1 else f"{scheme}:{text}"


def anchored(url: str, folder: Path) -> str:
    """
    Return a URL that was given in *folder* with its relative path made absolute.
    """
    try:
        path = place_of(url, base=folder)
    except ConfigError:
        return url  # told when the store is opened: what mends the file must run
    if path is None or path.is_absolute():
        return url
    if (named := re.match(r"\s*(sqlite|jsonl):", url, re.IGNORECASE)) is None:
        return str(folder / path)
    _, mark, options = url.strip().partition("?")
    return path_url(named[1].lower(), folder / path) + mark + options
