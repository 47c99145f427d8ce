"""
Writing one setting into a file of settings, everything else in it left as it stands.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from pathlib import Path

from backlog_store.backends.registry import check_url
from backlog_store.errors import ConfigError
from backlog_store.redacting import redacted
from backlog_store.settings import check_value

__all__ = ["refuse_password", "remove_setting", "write_setting"]

_TABLE = re.compile(r"\s*\[")


def refuse_password(url: str, where: str) -> None:
    """
    Refuse a password in *url*: what stands on a command line or in a shared file is read by others. `ConfigError`.
    """
    if redacted(url) != url:
        raise ConfigError(
            where, redacted(url), "it holds a password, which others can read there",
            hint="Put the URL with it into BACKLOG_URL, or the password into ~/.pgpass or PGPASSWORD.",
        )  # fmt: skip


def write_setting(path: Path, key: str, value: str) -> None:
    """
    Set *key* in a file of settings, which is made if it is not there.

    Raises `ConfigError` for a value that the setting cannot have, and a file that is not TOML or cannot be written.
    """
    check_value(key, value, where=key)
    if key == "url":
        check_url(value, base=path.parent)
    # A TOML basic string is written like a JSON one, surrogate pairs apart, which are not used here.
    _change(path, key, f"{key} = {json.dumps(value, ensure_ascii=False)}")


def remove_setting(path: Path, key: str) -> bool:
    """
    Remove *key*, whether or not there is such a setting, and tell whether it stood there. Raises as `write_setting`.
    """
    return _change(path, key, "")


def _change(path: Path, key: str, line: str) -> bool:
    path = path.resolve()  # a link stays a link
    try:
        text = _text(path)
        tomllib.loads(text)
        changed = _with(text, key, line)
        tomllib.loads(changed)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("file", str(path), f"is not TOML: {error}", hint="Mend it by hand.") from error
    except OSError as error:
        raise ConfigError("file", str(path), f"cannot be read: {error.strerror}") from error
    if changed == text:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, changed)
    except OSError as error:
        raise ConfigError("file", str(path), f"cannot be written: {error.strerror}",
                          hint="Nothing was changed. The file and its folder must be writable by this user.",
                          ) from error  # fmt: skip
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _with(text: str, key: str, line: str) -> str:
    name = re.escape(key)
    assignment = re.compile(rf"\s*(?:{name}|\"{name}\"|'{name}')\s*=")
    lines = text.splitlines()
    top = next((number for number, old in enumerate(lines) if _TABLE.match(old)), len(lines))
    for number in range(top):
        if assignment.match(lines[number]):
            end = next(end for end in range(number + 1, len(lines) + 1) if _is_toml(lines[number:end]))
            lines[number:end] = [line] if line else []
            return "\n".join(lines) + "\n"
    if not line:
        return text
    lines.insert(top, line)
    return "\n".join(lines) + "\n"


def _is_toml(lines: list[str]) -> bool:
    # A value may go over several lines; it ends where they are whole.
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, mode)  # noqa: PTH101  (the name is what mkstemp gives)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
